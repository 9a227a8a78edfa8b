"""Features of stamps by a frozen encoder, kept in memory: training on top of it is a matter of seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tandemlens.learn.bags import bag_loader
from tandemlens.learn.views import plain_view, turn_directions

if TYPE_CHECKING:
    from tandemlens.learn.bags import Bags
    from tandemlens.learn.encoders import Encoder
    from tandemlens.learn.views import Views


class Given(nn.Identity):
    """Stands in for an encoder whose features are at hand.

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


@dataclass(frozen=True)
class FrozenBags:
    """Features of the stamps of bags, in several views of them.

    Parameters
    ----------
    features : (v, n, width) float32 Tensor
        The first view is the stamps as they are.
    geometry : (v, n, g) float32 Tensor
        With azimuths as the view has them.
    start : (b + 1,) int ndarray
        Bag k has the stamps start[k] to start[k + 1], at least one.
    """

    features: torch.Tensor
    geometry: torch.Tensor
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    def batch(
        self, rows: np.ndarray, rng: np.random.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features, geometry and places of some bags, as `tandemlens.learn.pooling.BagEmbedding.embed` takes them.

        Parameters
        ----------
        rows : (b,) int ndarray
        rng : numpy.random.Generator, optional
            Draws a view of every bag; without it the first one is taken.

        Returns
        -------
        features : (m, width) Tensor
        geometry : (m, g) Tensor
        valid : (b, k) bool Tensor
        """
        counts = np.diff(self.start)[rows]
        stamps = np.concatenate([np.arange(self.start[row], self.start[row + 1]) for row in rows])
        view = np.zeros(len(rows), int) if rng is None else rng.integers(len(self.features), size=len(rows))
        view = np.repeat(view, counts)
        valid = torch.arange(int(counts.max())) < torch.tensor(counts)[:, None]
        return self.features[view, stamps], self.geometry[view, stamps], valid

    def plain_means(self) -> np.ndarray:
        """Features of the first stamp of every bag, its centre, and the mean of its others, (b, 2 width) ndarray."""
        first, parts = self.features[0].double().numpy(), []
        for low, high in zip(self.start[:-1], self.start[1:], strict=True):
            others = first[low + 1 : high]
            parts.append(np.concatenate([first[low], others.mean(0) if len(others) else np.zeros(first.shape[1])]))
        return np.array(parts).reshape(len(self), 2 * first.shape[1])


@torch.no_grad()
def freeze_bags(
    encoder: "Encoder",
    bags: "Bags",
    rows: np.ndarray,
    batch: int,
    device: torch.device,
    draws: "Sequence[Views]" = (),
    workers: int = 0,
) -> FrozenBags:
    """Features of bags by an encoder.

    Parameters
    ----------
    encoder : tandemlens.learn.encoders.Encoder
        Is left on the device, in use.
    bags : tandemlens.learn.bags.Bags
    rows : (b,) int ndarray
        Of bags that are filled.
    batch : int
        Bags of one pass.
    device : torch.device
    draws : sequence of tandemlens.learn.views.Views
        One for every view beside the plain one.
    workers : int
        Processes that read ahead.

    Returns
    -------
    FrozenBags
        On the CPU, in the order of the rows.
    """
    encoder.to(device).eval()
    features, geometry, counts = [], [], []
    for some in bag_loader(bags, [rows[k : k + batch] for k in range(0, len(rows), batch)], workers):
        there = some.to(device)
        seen = [plain_view(there.flux, there.sigma, there.mask)]
        seen += [draw(there.flux, there.sigma, there.mask, there.bag) for draw in draws]
        features.append(torch.stack([encoder(view.x).cpu() for view in seen]))
        turned = [turn_directions(there.geometry, bags.format.geometry, view.turn).cpu() for view in seen]
        geometry.append(torch.stack(turned))
        counts.append(some.valid.sum(1).numpy())
    empty = torch.zeros(1 + len(draws), 0, encoder.width), torch.zeros(1 + len(draws), 0, len(bags.format.geometry))
    start = np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, int), *counts]))]).astype(int)
    return FrozenBags(torch.cat([empty[0], *features], 1), torch.cat([empty[1], *geometry], 1), start)
