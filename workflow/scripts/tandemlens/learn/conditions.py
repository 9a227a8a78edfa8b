"""What synthetic stamps are conditioned on: the physics of a system, the place of a stamp in it, and its look."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tandemlens.base.errors import InputError

log = logging.getLogger("tandemlens")
#: of a system: Einstein radius (arcsec), redshifts of lens and source, mean seeing (arcsec) and depth (mag)
PHYSICAL = ("theta_e", "z", "z_source", "seeing", "depth")
#: numbers of an anchor's look, and pixels along the stamps that it is told by
LOOKS, _COARSE = 16, 12


def physical(systems: pd.DataFrame) -> pd.DataFrame:
    """The physical vectors of systems.

    Parameters
    ----------
    systems : pandas.DataFrame
        systems.parquet; NaN where it does not know.

    Returns
    -------
    pandas.DataFrame
        Columns `PHYSICAL`, by target_id.
    """
    frame = systems.set_index("target_id")
    means = {
        name: frame[[c for c in frame if c.startswith(f"{column}_")]].mean(axis=1)
        for name, column in (("seeing", "fwhm"), ("depth", "depth"))
    }
    return frame.assign(**means)[list(PHYSICAL)].astype(float)


@dataclass
class Conditions:
    """Scales of the conditions, from the training sample.

    Parameters
    ----------
    mean, spread, low, high : (k,) float64 ndarray
        Of the physics and the geometry.
    centre : (m,) float64 ndarray
    axes : (LOOKS, m) float64 ndarray
        Principal axes of coarse stamps, each over the spread along it. They tell an anchor's look, rather than an
        encoder: that may itself be trained on synthetic stamps.
    """

    mean: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, facts: np.ndarray, images: np.ndarray) -> "Conditions":
        """Measure the scales.

        Parameters
        ----------
        facts : (n, k) ndarray
            Physics and geometry of stamps.
        images : (n, band, s, s) ndarray
            0 where not valid.

        Returns
        -------
        Conditions

        Raises
        ------
        InputError
            If there are fewer stamps than numbers of a look.
        """
        if len(images) <= LOOKS:
            raise InputError(
                f"{len(images)} stamps are too few to learn their looks from, more than {LOOKS} are needed; enlarge "
                "the training sample (samples.train)"
            )
        known = pd.DataFrame(facts)
        flat = coarse_looks(images)
        centre = flat.mean(0)
        _, size, axes = np.linalg.svd(flat - centre, full_matrices=False)
        size = np.maximum(size[:LOOKS] / np.sqrt(len(flat)), 1e-6)
        spread = known.std(ddof=0).fillna(0).to_numpy()
        return cls(
            known.mean().fillna(0).to_numpy(),
            np.where(spread > 1e-6, spread, 1.0),
            known.min().to_numpy(),
            known.max().to_numpy(),
            centre,
            axes[:LOOKS] / size[:, None],
        )

    @property
    def width(self) -> int:
        """Numbers of a condition."""
        return len(self.mean) + len(self.axes)

    def __call__(self, facts: np.ndarray, images: np.ndarray | None = None) -> np.ndarray:
        """Conditions of stamps.

        Parameters
        ----------
        facts : (n, k) ndarray
            NaN for what is unknown. What lies outside the range of the training sample is moved to its edge, and told:
            a network cannot extrapolate.
        images : (n, band, s, s) ndarray, optional
            Anchors; without them the look is left open.

        Returns
        -------
        (n, width) float32 ndarray
        """
        within = np.clip(facts, self.low, self.high)
        moved = np.isfinite(facts) & (within != facts)
        if moved.any():
            log.warning(
                "conditions of %d of %d stamps lie outside the range of the training sample and are moved to its edge",
                moved.any(axis=1).sum(),
                len(facts),
            )
        looks = np.full((len(facts), len(self.axes)), np.nan)
        if images is not None and len(images):
            looks = (coarse_looks(images) - self.centre) @ self.axes.T
        return np.concatenate([(within - self.mean) / self.spread, looks], 1).astype(np.float32)


def coarse_looks(images: np.ndarray) -> np.ndarray:
    """Stamps averaged to 12 pixels along a side.

    Parameters
    ----------
    images : (n, band, s, s) ndarray

    Returns
    -------
    (n, m) float64 ndarray
    """
    n, band, side, _ = images.shape
    edges = np.linspace(0, side, _COARSE + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(images.astype(float), edges, axis=2), edges, axis=3)
    counts = np.diff(np.append(edges, side))
    return (sums / (counts[:, None] * counts)).reshape(n, band * _COARSE**2)
