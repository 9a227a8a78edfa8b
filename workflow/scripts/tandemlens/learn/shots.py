"""Ranking systems by prototypes: of an embedding trained through episodes, or of plain features (SimpleShot)."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tandemlens.learn.prototypes import Closeness, centred, lens_log_odds, many_prototypes, support_mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tandemlens.learn.frozen import FrozenBags
    from tandemlens.learn.pooling import BagEmbedding


class Ranking(nn.Module):
    """Log odds of a lens by prototypes; fitted with `fit`.

    Parameters
    ----------
    closeness : tandemlens.learn.prototypes.Closeness
    width : int
        Of the vectors that systems become.
    """

    def __init__(self, closeness: Closeness, width: int) -> None:
        super().__init__()
        self.closeness, self.width = closeness, width
        self.register_buffer("lens", torch.zeros(width))
        self.register_buffer("others", torch.zeros(0, width))
        self.register_buffer("share", torch.zeros(0))

    def vectors(self, bags: "FrozenBags") -> torch.Tensor:
        """Vectors, (b, width) Tensor, of `tandemlens.learn.frozen.FrozenBags`."""
        raise NotImplementedError

    def place(self, lens: "ArrayLike", others: "ArrayLike", share: "ArrayLike") -> None:
        """Put the prototypes: (width,), (k, width) and (k,) array_like."""
        self.lens, self.others, self.share = (
            torch.as_tensor(np.asarray(x), dtype=torch.float32) for x in (lens, others, share)
        )

    @torch.no_grad()
    def forward(self, bags: "FrozenBags") -> np.ndarray:
        """Log odds, (b,) float64 ndarray, of some bags."""
        self.eval()
        if not len(bags):
            return np.zeros(0)
        return lens_log_odds(self.closeness, self.vectors(bags), self.lens, self.others, self.share).double().numpy()

    @torch.no_grad()
    def vectors_of(self, bags: "FrozenBags") -> np.ndarray:
        """Vectors as (b, width) ndarray."""
        self.eval()
        return self.vectors(bags).numpy() if len(bags) else np.zeros((0, self.width), np.float32)


class Episodes(Ranking):
    """By an embedding that was trained through episodes; what is no lens has prototypes by k-means.

    Parameters
    ----------
    network : tandemlens.learn.pooling.BagEmbedding
    closeness : tandemlens.learn.prototypes.Closeness
    width : int
    """

    def __init__(self, network: "BagEmbedding", closeness: Closeness, width: int) -> None:
        super().__init__(closeness, width)
        self.network = network

    def vectors(self, bags: "FrozenBags") -> torch.Tensor:
        """See `Ranking.vectors`; a portion at a time."""
        portions = np.array_split(np.arange(len(bags)), -(-len(bags) // 256))
        return torch.cat([self.network.embed(*bags.batch(rows))[0] for rows in portions])

    def fit(self, lens: np.ndarray, others: np.ndarray, most: int, seed: int) -> None:
        """Place the prototypes.

        Parameters
        ----------
        lens : (width,) ndarray
        others : (n, width) ndarray
            Vectors of systems that are no lens.
        most : int
            Of their prototypes.
        seed : int
        """
        found, share = many_prototypes(others, most, seed)
        self.place(lens, found, share)


class SimpleShot(Ranking):
    """By features of the encoder as they are, less their mean and of length 1; one prototype a class.

    Parameters
    ----------
    width : int
        Of `tandemlens.learn.frozen.FrozenBags.plain_means`.
    """

    def __init__(self, width: int) -> None:
        super().__init__(Closeness("squared"), width)
        self.register_buffer("centre", torch.zeros(width, dtype=torch.float64))

    def vectors(self, bags: "FrozenBags") -> torch.Tensor:
        """See `Ranking.vectors`."""
        return torch.from_numpy(centred(bags.plain_means(), self.centre.numpy()))

    def fit(self, lens: np.ndarray, others: np.ndarray, classes: np.ndarray) -> None:
        """Place the prototypes.

        Parameters
        ----------
        lens : (width,) ndarray
        others : (n, width) ndarray
        classes : (n,) str ndarray
            Of the others.
        """
        names, counts = np.unique(classes, return_counts=True)
        self.place(lens, [others[classes == name].mean(0) for name in names], counts / counts.sum())


def lens_prototype(simulated: np.ndarray, graded: np.ndarray, share: float, least: int) -> np.ndarray:
    """The prototype of lenses: simulated ones, and graded candidates where there are enough.

    Parameters
    ----------
    simulated, graded : (n, width), (m, width) ndarray
    share : float
        Of the graded ones in it.
    least : int
        Graded ones that it takes for them to have a share.

    Returns
    -------
    (width,) ndarray
    """
    if len(graded) < least:
        return simulated.mean(0)
    weights = np.repeat([(1 - share) / len(simulated), share / len(graded)], [len(simulated), len(graded)])
    return support_mean(np.concatenate([simulated, graded]), weights)
