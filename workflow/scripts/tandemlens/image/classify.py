"""What a segment looks like, by stated rules that read nothing but its shape, S/N and place."""

from typing import TYPE_CHECKING, Any

import numpy as np
import sep

from tandemlens.survey.psf import growth_curve

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("arc", "member", "star", "artefact", "bcg", "other")
#: point-like sources have the PSF's compactness within this, sharper ones are no light from the sky; noise is added
_STAR_TOLERANCE, _SHARP_TOLERANCE = 0.05, 0.15
_STAR_MIN_SNR = 15.0
#: and are this round, minor over major second moment
_STAR_ROUND = 0.7
_MEMBER_MIN_SNR = 10.0
#: an arc is at least this long, and not wider than this, in FWHM
_ARC_MIN_LENGTH = 1.5
_ARC_MAX_WIDTH = 3.0
#: closer to the centre than this, in FWHM, what is left is the light model's own residual
_CORE = 2.0


def compactness(image: np.ndarray, x: np.ndarray, y: np.ndarray, fwhm: float) -> np.ndarray:
    """Flux within half a FWHM over flux within one FWHM: the same for all point sources, whatever their S/N.

    Parameters
    ----------
    image : (y, x) float32 ndarray
    x, y : (n,) ndarray, pixel
    fwhm : float, pixel

    Returns
    -------
    (n,) ndarray
    """
    inner, outer = (sep.sum_circle(image, x, y, r * fwhm, subpix=5)[0] for r in (0.5, 1.0))
    return np.divide(inner, outer, out=np.zeros_like(inner), where=outer > 0)


def classify(
    shapes: "pd.DataFrame",
    snr: np.ndarray,
    spoiled: np.ndarray,
    compact: np.ndarray,
    psf: np.ndarray,
    fwhm: float,
    distance: np.ndarray,
    scale: float,
    cfg: dict[str, Any],
) -> np.ndarray:
    """Class guess of every segment.

    The first rule that fits wins: *artefact* where a fifth of the pixels touch invalid ones or the segment is sharper
    than the PSF; *star* (or any point source) where it is round and as compact as the PSF; *arc* where length over
    width, S/N, length and distance pass the settings, it is at most three FWHM wide and not in the core; *member* (of
    some cluster, or a field galaxy) where its S/N is above 10; else *other*.

    Parameters
    ----------
    shapes : pandas.DataFrame
        From `tandemlens.image.shape.measure_shapes`.
    snr : (n,) ndarray
    spoiled : (n,) ndarray
        Fraction of a segment's pixels that touch invalid ones.
    compact : (n,) ndarray
        From `compactness`.
    psf : (k, k) ndarray
    fwhm : float, pixel
    distance : (n,) ndarray, arcsec
        From the centre.
    scale : float, arcsec
    cfg : dict
        Section ``segment`` of the settings.

    Returns
    -------
    (n,) ndarray of str
    """
    width, length = shapes["width"].to_numpy(), shapes["length"].to_numpy()
    beam = fwhm * scale
    expected = np.divide(*growth_curve(psf.astype(float), [0.5 * fwhm, fwhm]))
    excess, noise = compact / expected - 1, 1.5 / np.maximum(snr, 1)
    artefact = (spoiled > 0.2) | (excess > _SHARP_TOLERANCE + 3 * noise)
    round_ = (shapes["var_across"] >= _STAR_ROUND * shapes["var_along"]).to_numpy()
    star = (snr >= _STAR_MIN_SNR) & round_ & (np.abs(excess) < _STAR_TOLERANCE + noise)
    arc = (
        (length >= cfg["arc_min_lw"] * width)
        & (snr >= cfg["arc_min_snr"])
        & (length >= _ARC_MIN_LENGTH * beam)
        & (width <= _ARC_MAX_WIDTH * beam)
        & (distance <= cfg["arc_radius_arcsec"])
        & (distance >= _CORE * beam)
    )
    member = snr >= _MEMBER_MIN_SNR
    return np.select([artefact, star, arc, member], ["artefact", "star", "arc", "member"], "other")
