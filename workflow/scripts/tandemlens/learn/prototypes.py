"""Prototypes of classes, distances to them, and the odds that follow.

Prototypical networks are of Snell, Swersky & Zemel (2017, arXiv:1703.05175), SimpleShot is of Wang et al. (2019,
arXiv:1911.04623). Neither is taken from easyfsl, whose distance is not squared, and whose sampler draws from the
global random state.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import nn
from torch.nn.functional import normalize

#: of cosines, before it is learnt: a softmax of plain cosines is almost flat
_SCALE = 10.0


class Closeness(nn.Module):
    """How close vectors are to prototypes, as logits.

    Parameters
    ----------
    distance : str
        ``squared``: minus the squared Euclidean distance; ``cosine``: the cosine over a learnt temperature.
    """

    def __init__(self, distance: str) -> None:
        super().__init__()
        self.cosine = distance == "cosine"
        if self.cosine:
            self.log_scale = nn.Parameter(torch.tensor(_SCALE).log())

    def forward(self, vectors: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        """Logits.

        Parameters
        ----------
        vectors : (n, d) Tensor
        prototypes : (k, d) Tensor

        Returns
        -------
        (n, k) Tensor
        """
        if self.cosine:
            return self.log_scale.exp() * normalize(vectors, dim=1) @ normalize(prototypes, dim=1).T
        return -(vectors[:, None] - prototypes).square().sum(-1)


def many_prototypes(vectors: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Prototypes of what has many faces, by k-means.

    Parameters
    ----------
    vectors : (n, d) ndarray
    most : int
        Prototypes; fewer where there are fewer vectors that differ.
    seed : int

    Returns
    -------
    prototypes : (k, d) float32 ndarray
    share : (k,) float ndarray
        Of the vectors that belong to each.
    """
    count = min(most, len(np.unique(vectors, axis=0)))
    found = KMeans(count, n_init=10, random_state=seed).fit(vectors)
    share = np.bincount(found.labels_, minlength=count) / len(vectors)
    return found.cluster_centers_.astype(np.float32), share


def lens_log_odds(
    closeness: Closeness, vectors: torch.Tensor, lens: torch.Tensor, others: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """Log odds of the lens prototype against all others, at equal shares of both.

    With squared distances these are the odds of Gaussian clouds of variance 1/2 around the prototypes.

    Parameters
    ----------
    closeness : Closeness
    vectors : (n, d) Tensor
    lens : (d,) Tensor
    others : (k, d) Tensor
    share : (k,) Tensor
        Of each among the others.

    Returns
    -------
    (n,) Tensor
    """
    near = closeness(vectors, torch.cat([lens[None], others]))
    return near[:, 0] - torch.logsumexp(near[:, 1:] + share.to(near).log(), 1)


def centred(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Vectors less the mean of the training sample, of length 1: CL2N of SimpleShot.

    Parameters
    ----------
    vectors : (n, d) ndarray
    centre : (d,) ndarray

    Returns
    -------
    (n, d) float32 ndarray
    """
    moved = np.asarray(vectors, np.float64) - centre
    return (moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def support_mean(vectors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The prototype of weighted examples.

    Parameters
    ----------
    vectors : (n, d) Tensor
    weights : (n,) Tensor

    Returns
    -------
    (d,) Tensor
    """
    return (vectors * weights[:, None]).sum(0) / weights.sum()
