"""Hyperspheres around a sample: a map without biases, whitening, and the losses of Deep SVDD, DOHSC and DO2HSC.

Deep SVDD (Ruff et al. 2018) learns a map that brings the sample close to a fixed point; DOHSC and DO2HSC (Zhang et al.
2024, arXiv:2302.06430) whiten what is mapped, and enclose it in a sphere or between two. A map with biases could take
everything to the point, so this one has none; a whitened sample cannot shrink.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from tandemlens.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np

#: coordinates of a fixed centre stay this far from 0, which a network without biases reaches by weights of 0
_OFF_ZERO = 0.1
#: smallest share of the largest variance, given the other dimensions, that can be divided by
_FLAT = 1e-12


def projection(n_features: int, widths: Sequence[int], rng: "np.random.Generator | None" = None) -> torch.nn.Sequential:
    """Multi-layer perceptron without biases, for a bias could map every row to one point.

    Parameters
    ----------
    n_features : int
    widths : sequence of int
        Layers; a leaky ReLU, which is unbounded, stands between them.
    rng : numpy.random.Generator, optional
        Draws the seed of the weights, 0 without; torch's own random state is left as it was.

    Returns
    -------
    torch.nn.Sequential
        In double precision.
    """
    layers, size = [], n_features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0 if rng is None else int(rng.integers(2**62)))
        for width in widths:
            layers += [nn.Linear(size, width, bias=False, dtype=torch.float64), nn.LeakyReLU(0.1)]
            size = width
    return nn.Sequential(*layers[:-1])


def fixed_centre(mapped: torch.Tensor) -> torch.Tensor:
    """Mean of what is mapped, with coordinates off zero.

    Parameters
    ----------
    mapped : (n, d) Tensor

    Returns
    -------
    (d,) Tensor
    """
    mean = mapped.mean(dim=0)
    return torch.copysign(mean.abs().clamp(min=_OFF_ZERO), mean)


def whiten(mapped: torch.Tensor) -> torch.Tensor:
    """Rows less their mean, with the unit matrix as covariance.

    The gradient goes through the whitening. If that is taken for given, as in the authors' code, a step shrinks what is
    mapped and the next whitening undoes it, until dimensions are lost: in a check with 64 of them after a few epochs.

    Parameters
    ----------
    mapped : (n, d) Tensor
        At least d + 1 rows.

    Returns
    -------
    (n, d) Tensor

    Raises
    ------
    InputError
        If the rows span fewer than d dimensions.
    """
    centred = mapped - mapped.mean(dim=0)
    return centred @ inverse_root(centred.T @ centred / len(centred))


def inverse_root(covariance: torch.Tensor) -> torch.Tensor:
    """Matrix W with W^T C W = 1, by the Cholesky factor of C; another differs by a rotation, which no distance sees.

    Parameters
    ----------
    covariance : (d, d) Tensor
        C.

    Returns
    -------
    (d, d) Tensor

    Raises
    ------
    InputError
        If C is not finite or does not have full rank.
    """
    if not torch.isfinite(covariance).all():
        raise InputError("training diverged: what is mapped is not finite; lower anomaly.learning_rate")
    factor, failed = torch.linalg.cholesky_ex(covariance)
    spread = factor.diagonal().square()
    if failed or spread.min() <= _FLAT * spread.max():
        raise InputError(
            f"the sample does not fill the {len(covariance)} dimensions in which it is to be whitened; lower the last "
            "one of anomaly.widths, or look why features are constant"
        )
    return torch.linalg.solve_triangular(factor, torch.eye(len(factor), dtype=factor.dtype), upper=False).T


def quantile_radius(squared: torch.Tensor, share: float) -> torch.Tensor:
    """Radius that so large a share of rows stays within.

    Parameters
    ----------
    squared : (n,) Tensor
        Squared distances.
    share : float

    Returns
    -------
    Tensor
    """
    return squared.detach().sqrt().quantile(share)


def soft_boundary_loss(squared: torch.Tensor, radius: float | torch.Tensor, nu: float) -> torch.Tensor:
    """R^2 + mean(max(0, d^2 - R^2)) / nu (Ruff et al. 2018).

    Parameters
    ----------
    squared : (n,) Tensor
        Squared distances.
    radius : float or Tensor
        R.
    nu : float

    Returns
    -------
    Tensor
    """
    return radius**2 + torch.relu(squared - radius**2).mean() / nu


def shell_loss(squared: torch.Tensor, inner: float | torch.Tensor, outer: float | torch.Tensor) -> torch.Tensor:
    """Mean of max(d^2, R_max^2) - min(d^2, R_min^2), less its least value; 0 if all rows are within the shell.

    Parameters
    ----------
    squared : (n,) Tensor
        Squared distances.
    inner, outer : float or Tensor
        R_min and R_max.

    Returns
    -------
    Tensor
    """
    return (torch.relu(squared - outer**2) + torch.relu(inner**2 - squared)).mean()


def effective_rank(mapped: torch.Tensor) -> float:
    """Number of dimensions in which rows scatter: squared trace of their covariance over that of its square.

    Parameters
    ----------
    mapped : (n, d) Tensor

    Returns
    -------
    float
        From 1, a line, to d; 0 where all are one point.
    """
    variance = torch.linalg.eigvalsh(torch.cov(mapped.T, correction=0).reshape(mapped.shape[1], -1))
    return float(variance.sum() ** 2 / variance.square().sum()) if variance.max() > 0 else 0.0
