"""What of a stamp is lensed light and stays, and whether a variant of it still shows it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: S/N of a pixel, all bands together, above which it belongs to what is at a place
_SEEN = 2.0
#: S/N of a band, of all pixels together, above which its colours are compared
_COLOURED = 10.0
#: radius of what is kept where nothing is seen, pixel
_LEAST = 2.0


@dataclass(frozen=True)
class Acceptance:
    """How far a variant may be from its anchor.

    Parameters
    ----------
    flux : float
        Largest relative change of the flux of what stays.
    colour_mag : float, mag
        Largest change of a colour of neighbouring bands.
    length : float
        Largest relative change of the length and of the ratio of axes.
    turn_deg : float, deg
        Largest turn of the long axis, of what is longer than wide by half.
    """

    flux: float
    colour_mag: float
    length: float
    turn_deg: float


@dataclass(frozen=True)
class Light:
    """What is seen at the places of a stamp.

    Parameters
    ----------
    flux : (band,) ndarray
        In units of the scale.
    snr : (band,) ndarray
    length, ratio, angle : float
        Root of the larger second moment (pixel), over that of the smaller one, and direction of the long axis (rad).
    """

    flux: np.ndarray
    snr: np.ndarray
    length: float
    ratio: float
    angle: float


def pixel_snr(flux: np.ndarray, sigma: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """S/N of every pixel, all bands together.

    Parameters
    ----------
    flux, sigma : (band, s, s) ndarray
        asinh of flux over scale, linear noise over scale.
    mask : (band, s, s) bool ndarray

    Returns
    -------
    (s, s) float64 ndarray
        Of the sum weighted by inverse variances; 0 where no band is valid.
    """
    seen = mask & (sigma > 0)
    weight = np.where(seen, 1 / np.square(np.where(seen, sigma, 1), dtype=np.float64), 0)
    total = weight.sum(0)
    return (np.sinh(flux.astype(np.float64)) * weight).sum(0) / np.sqrt(np.where(total > 0, total, 1))


def light_pixels(snr: np.ndarray, places: np.ndarray, reach: float) -> np.ndarray:
    """Pixels of what is seen at some places.

    Parameters
    ----------
    snr : (s, s) ndarray
        From `pixel_snr`.
    places : (k, 2) ndarray, pixel
        (x, y), 0-based.
    reach : float, pixel
        Largest distance from a place that belongs to it.

    Returns
    -------
    (s, s) bool ndarray
        Connected to a place; a small disc where nothing is seen at it.
    """
    # a mean over 3 x 3 pixels holds faint arcs together
    labels, _ = ndimage.label(ndimage.uniform_filter(snr, 3, mode="constant") * 3 > _SEEN * 2)
    y, x = np.indices(snr.shape)
    found = np.zeros(snr.shape, bool)
    for place in np.reshape(places, (-1, 2)):
        distance = np.hypot(x - place[0], y - place[1])
        there = np.setdiff1d(labels[distance <= _LEAST], 0)
        found |= np.isin(labels, there) & (distance <= reach) if len(there) else distance <= _LEAST
    return found


def kept_pixels(light: np.ndarray) -> np.ndarray:
    """Light and one pixel around it.

    Parameters
    ----------
    light : (s, s) bool ndarray

    Returns
    -------
    (s, s) bool ndarray
    """
    return ndimage.binary_dilation(light, np.ones((3, 3), bool))


def measure(flux: np.ndarray, sigma: np.ndarray, mask: np.ndarray, light: np.ndarray) -> Light:
    """Measure what is seen.

    Parameters
    ----------
    flux, sigma : (band, s, s) ndarray
    mask : (band, s, s) bool ndarray
    light : (s, s) bool ndarray
        From `light_pixels`.

    Returns
    -------
    Light
    """
    inside = mask & light
    linear = np.where(inside, np.sinh(flux.astype(np.float64)), 0)
    total = linear.sum((1, 2))
    noise = np.sqrt(np.where(inside, np.square(sigma, dtype=np.float64), 0).sum((1, 2)))
    weight = np.maximum(linear.sum(0), 0)
    y, x = np.indices(weight.shape)
    norm = max(weight.sum(), 1e-12)
    dx, dy = x - (weight * x).sum() / norm, y - (weight * y).sum() / norm
    # the variance of a pixel, so that a single one has a size
    xx, yy, xy = (weight * dx * dx).sum() / norm + 1 / 12, (weight * dy * dy).sum() / norm + 1 / 12, (weight * dx * dy)
    moments, axes = np.linalg.eigh([[xx, xy.sum() / norm], [xy.sum() / norm, yy]])
    snr = total / np.where(noise > 0, noise, np.inf)
    return Light(
        total,
        snr,
        float(np.sqrt(moments[1])),
        float(np.sqrt(moments[1] / moments[0])),
        float(np.arctan2(*axes[::-1, 1])),
    )


def changes(before: Light, after: Light) -> dict[str, float]:
    """How far the light of a variant is from that of its anchor.

    Parameters
    ----------
    before, after : Light

    Returns
    -------
    dict of float
        flux and length (relative), colour_mag (mag), turn_deg (deg); infinite for light that is gone.
    """
    total, new = before.flux.sum(), after.flux.sum()
    told = before.snr > _COLOURED
    colours = np.zeros(0)
    if told.sum() > 1:
        positive = np.maximum(after.flux[told], 1e-12)
        colours = np.diff(-2.5 * np.log10(positive / before.flux[told]))
    turn = abs(np.degrees(after.angle - before.angle)) % 180
    longish = before.ratio > 1.5
    return {
        "flux": abs(new / total - 1) if total > 0 else np.inf,
        "colour_mag": float(np.abs(colours).max(initial=0)),
        "length": max(abs(after.length / before.length - 1), abs(after.ratio / before.ratio - 1)),
        "turn_deg": float(min(turn, 180 - turn)) if longish else 0.0,
    }


def refusals(found: dict[str, float], limits: Acceptance) -> list[str]:
    """Names of the changes that are too large.

    Parameters
    ----------
    found : dict of float
        From `changes`.
    limits : Acceptance

    Returns
    -------
    list of str
    """
    return [name for name, value in found.items() if not value <= getattr(limits, name)]
