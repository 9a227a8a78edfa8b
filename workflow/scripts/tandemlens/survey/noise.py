"""Variance at the door: from whatever map a survey gives, or from the sky, and a check of what the map really is."""

import numpy as np
import sep

from tandemlens.base.errors import DataError
from tandemlens.base.robust import lower_sigma

#: mesh on which the sky and its noise are followed, pixel
_MESH = 64
#: the check of a noise map follows the light closely and looks at the darkest part of the cutout
_FINE_MESH, _DARK_SHARE = 16, 0.4
#: blank pixels scattering less or more than this times the map's sigma refute what the map is said to be
_IMPOSSIBLE = (0.02, 8.0)


def sky_model(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sky level and pixel noise on a mesh.

    Parameters
    ----------
    image : (y, x) ndarray
    valid : (y, x) bool ndarray

    Returns
    -------
    level, sigma : (y, x) float32 ndarray
        In the unit of the image.
    """
    clean = np.ascontiguousarray(np.where(valid, image, 0), np.float32)
    mesh = int(max(8, min(_MESH, min(image.shape) // 3)))
    background = sep.Background(clean, mask=~valid, bw=mesh, bh=mesh)
    level, sigma = background.back(), background.rms()
    # On small or crowded cutouts the mesh sees mostly objects; the lower half of the histogram does not.
    floor = lower_sigma((clean - level)[valid])[0] if valid.any() else np.nan
    typical = np.median(sigma)
    if np.isfinite(floor) and floor > 0 and typical > 1.5 * floor:
        sigma = np.full_like(sigma, floor)
    return level, sigma


def to_variance(values: np.ndarray, kind: str) -> np.ndarray:
    """Variance from a noise map.

    Parameters
    ----------
    values : (y, x) ndarray
        In units of the image (squared, inverse squared, ...).
    kind : str
        variance, invvar, rms or weight.

    Returns
    -------
    (y, x) float ndarray
        Inf where the map gives no weight; for weight in arbitrary units.
    """
    values = np.asarray(values, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = {
            "variance": lambda v: v,
            "rms": lambda v: v**2,
            "invvar": lambda v: 1 / v,
            "weight": lambda v: 1 / v,
        }[kind](values)
    return np.where(np.isfinite(variance) & (variance > 0) & (values > 0), variance, np.inf)


def noise_ratio(image: np.ndarray, variance: np.ndarray) -> float:
    """Scatter of blank pixels over what the variance says.

    Parameters
    ----------
    image, variance : (y, x) ndarray
        Variance inf where invalid.

    Returns
    -------
    float
        1 for white noise and a true map; below 1 for noise that resampling has correlated; NaN if too few pixels.
    """
    valid = np.isfinite(variance) & np.isfinite(image)
    if valid.sum() < 200:
        return np.nan
    clean = np.ascontiguousarray(np.where(valid, image, 0), np.float32)
    level = sep.Background(clean, mask=~valid, bw=_FINE_MESH, bh=_FINE_MESH).back()
    # A large galaxy fills a small cutout: only the darkest part of it is sky.
    dark = valid & (level <= np.quantile(level[valid], _DARK_SHARE))
    pulls = ((image - level)[dark] / np.sqrt(variance[dark])).astype(float)
    return lower_sigma(pulls)[0]


def checked_variance(image: np.ndarray, values: np.ndarray, kind: str, where: str) -> tuple[np.ndarray, float]:
    """Variance of a stated map after a look at the pixels.

    A map whose blank pixels scatter more than it says is raised to what they show; one whose pixels scatter less is
    left alone, because correlated noise looks small pixel by pixel. A map that cannot be what it is said to be is
    refused, and the message says what it would fit.

    Parameters
    ----------
    image : (y, x) ndarray
    values : (y, x) ndarray
        The map as read.
    kind : str
        variance, invvar, rms or weight.
    where : str
        Band and file, for messages.

    Returns
    -------
    variance : (y, x) ndarray
    ratio : float
        Of blank pixels over the stated sigma before correction.

    Raises
    ------
    DataError
        With status bad_variance.
    """
    variance = to_variance(values, kind)
    if not np.isfinite(variance).any():
        raise DataError("bad_variance", f"{where}: no pixel of the {kind} map has a positive finite value")
    ratio = noise_ratio(image, variance)
    if kind == "weight":
        if not np.isfinite(ratio):
            raise DataError("bad_variance", f"{where}: too few valid pixels to measure the scale of the weights")
        return variance * ratio**2, np.nan
    if not np.isfinite(ratio):
        return variance, ratio
    if not _IMPOSSIBLE[0] <= ratio <= _IMPOSSIBLE[1]:
        others = {k: noise_ratio(image, to_variance(values, k)) for k in ("variance", "invvar", "rms") if k != kind}
        told = ", ".join(f"{r:.3g} times as {k}" for k, r in others.items())
        raise DataError(
            "bad_variance",
            f"{where}: blank pixels scatter {ratio:.3g} times what the map says as {kind} ({told}); set variance.kind",
        )
    return variance * max(ratio, 1.0) ** 2, ratio
