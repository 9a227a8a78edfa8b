"""How far a system lies from the training sample: by Mahalanobis distance, by neighbours, or in a learnt hypersphere.

Own code. pyod has Deep SVDD alone. The authors' code of DOHSC whitens every batch that is scored by itself, so that a
score depends on its neighbours, and for tables it multiplies by the singular values where it ought to divide. Here the
whitening is fixed when training ends.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from torch import nn

from tandemlens.base.errors import InputError
from tandemlens.learn.hypersphere import (
    fixed_centre,
    inverse_root,
    projection,
    quantile_radius,
    shell_loss,
    soft_boundary_loss,
    whiten,
)

#: distances without a network, which a network must beat; the simpler one first
CHECKS = ("mahalanobis", "knn")
METHODS = (*CHECKS, "svdd", "soft_svdd", "dohsc", "do2hsc")
#: rows of a batch per dimension that is whitened
_ROWS_PER_DIMENSION = 2


@dataclass(frozen=True)
class HypersphereSettings:
    """How a detector is fitted.

    Parameters
    ----------
    widths : tuple of int
        Layers of the network; the last is the dimension of the hypersphere.
    epochs : int
        Passes over the sample.
    warm_up : int
        Those before the radius is told by quantiles (soft_svdd) or the shell replaces the sphere (do2hsc).
    batch : int
        Rows a step, at most.
    learning_rate, weight_decay : float
        Of Adam.
    nu : float
        Share of the sample outside of the sphere; of the shell, on either side.
    neighbours : int
        Of knn.
    """

    widths: tuple[int, ...] = (32, 16)
    epochs: int = 40
    warm_up: int = 10
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    nu: float = 0.05
    neighbours: int = 5


class Hypersphere(nn.Module):
    """Distances from a centre after a map; the empty network with a whitening is the Mahalanobis distance.

    Parameters
    ----------
    network : torch.nn.Sequential
        (n, k) to (n, d), without biases.
    width : int
        d.
    shell : bool
        Whether what lies too close is unlike the sample too.

    Attributes
    ----------
    centre : (d,) Tensor
    whitening : (d, d) Tensor
        Applied from the right to what is mapped, less the centre.
    radii : (2,) Tensor
        Of the inner and the outer sphere.
    losses : list of float
        Mean of every epoch.
    """

    def __init__(self, network: torch.nn.Sequential, width: int, shell: bool = False) -> None:
        super().__init__()
        self.network, self.shell = network, shell
        self.losses: list[float] = []
        self.register_buffer("centre", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("whitening", torch.eye(width, dtype=torch.float64))
        self.register_buffer("radii", torch.zeros(2, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Squared distances, (n,), of rows (n, k)."""
        return ((self.network(x) - self.centre) @ self.whitening).square().sum(-1)

    @torch.no_grad()
    def score(self, x: np.ndarray) -> np.ndarray:
        """Scores, (n,) ndarray, of standardised features, (n, k) ndarray; larger is more unlike the sample."""
        distance = self(as_double(x)).sqrt()
        if self.shell:
            return ((distance - self.radii[1]) * (distance - self.radii[0])).numpy()
        return distance.numpy()


class Neighbours(nn.Module):
    """Mean distance to the nearest rows of the sample.

    Parameters
    ----------
    rows : (n, k) Tensor
        The sample.
    count : int Tensor
        How many are averaged over.
    """

    def __init__(self, rows: torch.Tensor, count: torch.Tensor) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.register_buffer("rows", rows)
        self.register_buffer("count", count)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Scores, (n,) ndarray, of standardised features, (n, k) ndarray, none of which is of the sample."""
        found = NearestNeighbors(n_neighbors=int(self.count)).fit(self.rows.numpy())
        return found.kneighbors(as_double(x).numpy())[0].mean(axis=1)


def as_double(x: np.ndarray) -> torch.Tensor:
    """Features as a double-precision tensor.

    Parameters
    ----------
    x : (n, k) ndarray
        Standardised and without NaN.

    Returns
    -------
    Tensor

    Raises
    ------
    InputError
        If a value is not finite.
    """
    x = np.asarray(x, float)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise InputError(f"row {row} of the features is not finite; fill gaps before looking for anomalies")
    return torch.tensor(x)


def fit_detector(
    method: str, x: np.ndarray, settings: HypersphereSettings, rng: np.random.Generator
) -> Hypersphere | Neighbours:
    """Fit a detector to a sample of what is ordinary.

    Parameters
    ----------
    method : str
        Of `METHODS`.
    x : (n, k) ndarray
        Standardised features without NaN.
    settings : HypersphereSettings
    rng : numpy.random.Generator

    Returns
    -------
    Hypersphere or Neighbours

    Raises
    ------
    InputError
        If the sample is too small, or training ends in numbers that are not finite or in one point.
    """
    rows = as_double(x)
    if method == "knn":
        if len(rows) < settings.neighbours:
            raise InputError(f"{len(rows)} systems have no {settings.neighbours} neighbours; lower anomaly.neighbours")
        return Neighbours(rows, torch.tensor(settings.neighbours))
    if method == "mahalanobis":
        sphere = Hypersphere(nn.Sequential(), rows.shape[1])
    else:
        sphere = Hypersphere(projection(rows.shape[1], settings.widths, rng), settings.widths[-1], method == "do2hsc")
        losses = _SvddLoss(sphere, rows, settings, method) if "svdd" in method else _WhiteLoss(sphere, rows, settings)
        _train(sphere, rows, losses, settings, rng)
    if "svdd" not in method:
        _fix_whitening(sphere, rows)
    with torch.no_grad():
        radii = [quantile_radius(sphere(rows), share) for share in (settings.nu, 1 - settings.nu)]
    sphere.radii.copy_(torch.stack(radii))
    return sphere


def restore_detector(method: str, state: dict[str, torch.Tensor]) -> Hypersphere | Neighbours:
    """A detector from its numbers.

    Parameters
    ----------
    method : str
        Of `METHODS`.
    state : dict of str to Tensor
        ``state_dict()`` of what `fit_detector` returned.

    Returns
    -------
    Hypersphere or Neighbours
    """
    if method == "knn":
        return Neighbours(state["rows"], state["count"])
    weights = [value for name, value in state.items() if name.startswith("network.")]
    network = projection(weights[0].shape[1], [w.shape[0] for w in weights]) if weights else nn.Sequential()
    sphere = Hypersphere(network, len(state["centre"]), method == "do2hsc")
    sphere.load_state_dict(state)
    return sphere


class _SvddLoss:
    """Loss of Deep SVDD; the soft boundary is a point until the warm-up ends."""

    def __init__(self, sphere: Hypersphere, rows: torch.Tensor, settings: HypersphereSettings, method: str) -> None:
        self._sphere, self._settings, self._soft = sphere, settings, method == "soft_svdd"
        with torch.no_grad():
            sphere.centre.copy_(fixed_centre(sphere.network(rows)))

    def __call__(self, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        squared = self._sphere(rows)
        if not self._soft:
            return squared.mean()
        warm = epoch >= self._settings.warm_up
        radius = quantile_radius(squared, 1 - self._settings.nu) if warm else 0.0
        return soft_boundary_loss(squared, radius, self._settings.nu)


class _WhiteLoss:
    """Loss of DOHSC, and of DO2HSC after its warm-up, whose radii are then told by the whole sample."""

    def __init__(self, sphere: Hypersphere, rows: torch.Tensor, settings: HypersphereSettings) -> None:
        smallest = len(rows) // -(-len(rows) // settings.batch)
        width = len(sphere.centre)
        if smallest < _ROWS_PER_DIMENSION * width:
            raise InputError(
                f"batches of {smallest} systems cannot be whitened in {width} dimensions; take {_ROWS_PER_DIMENSION} "
                "for each: a larger sample or anomaly.batch, or a smaller last one of anomaly.widths"
            )
        self._sphere, self._rows, self._settings = sphere, rows, settings
        self._radii: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        squared, nu = self._squared(rows), self._settings.nu
        if not self._sphere.shell or epoch < self._settings.warm_up:
            return soft_boundary_loss(squared, quantile_radius(squared, 1 - nu), nu)
        if self._radii is None:
            with torch.no_grad():
                whole = self._squared(self._rows)
            self._radii = quantile_radius(whole, nu), quantile_radius(whole, 1 - nu)
        return shell_loss(squared, *self._radii)

    def _squared(self, rows: torch.Tensor) -> torch.Tensor:
        return whiten(self._sphere.network(rows)).square().sum(-1)


def _train(
    sphere: Hypersphere,
    rows: torch.Tensor,
    loss_of: Callable[[torch.Tensor, int], torch.Tensor],
    settings: HypersphereSettings,
    rng: np.random.Generator,
) -> None:
    optimiser = torch.optim.Adam(
        sphere.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    n_steps = -(-len(rows) // settings.batch)
    for epoch in range(settings.epochs):
        losses = []
        for batch in np.array_split(rng.permutation(len(rows)), n_steps):
            loss = loss_of(rows[batch], epoch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        sphere.losses.append(float(np.mean(losses)))
    if not np.isfinite(sphere.losses[-1]):
        raise InputError(
            f"training diverged: the loss is {sphere.losses[-1]} after {settings.epochs} epochs; lower "
            f"anomaly.learning_rate, now {settings.learning_rate:g}"
        )


@torch.no_grad()
def _fix_whitening(sphere: Hypersphere, rows: torch.Tensor) -> None:
    """Centre and whitening of the whole sample, by its shrunk covariance (Ledoit & Wolf 2004)."""
    found = LedoitWolf().fit(sphere.network(rows).numpy())
    sphere.centre.copy_(torch.from_numpy(found.location_))
    sphere.whitening.copy_(inverse_root(torch.from_numpy(found.covariance_)))
