"""A system with the light of its lens cancelled, on its matched images (`tandemlens.features.behind`)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tandemlens.features import behind, sequence
from tandemlens.features.arcs import magnitudes
from tandemlens.features.colour import adjacent_colours, bridged_colours

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.base.stack import Cutout
    from tandemlens.features.behind import Contrast
    from tandemlens.features.sequence import Bands

#: redshifts of the template of old stars
Z_STEP = 0.02
_Z = np.arange(0.02, 1.6, Z_STEP)
#: fewest valid pixels of a band that is looked at
_LEAST_VALID = 0.3


class Sky:
    """What all systems of a survey share.

    Parameters
    ----------
    bands : tandemlens.features.sequence.Bands
    path : str
        Spectrum of an old galaxy.
    young : sequence of str
        Spectra of young ones.
    every : int
        Of the spectra behind the lens, at steps in redshift, only every so manieth is looked for.
    """

    def __init__(self, bands: "Bands", path: str, young: Sequence[str] = (), every: int = 1) -> None:
        self.bands, self.path = bands, path
        self.template = sequence.sequence_colours(path, bands, _Z)
        self.behind = behind.Templates.of(path, young, bands, _Z[-1])[::every]


def lens_contrast(
    frame: "pd.DataFrame", target: "pd.Series", cutout: "Cutout", dim: np.ndarray, sky: Sky, scale: float
) -> "Contrast | None":
    """Significance of every spectrum behind the lens of one system.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its segments with their photometry.
    target : pandas.Series
        Its z.
    cutout : Cutout
        Matched.
    dim : (band,) ndarray
        Extinction as a factor, at least 1.
    sky : Sky
    scale : float, arcsec

    Returns
    -------
    tandemlens.features.behind.Contrast or None
        None without a redshift, with fewer than two bands, or where nothing can be told from the lens.
    """
    valid = cutout.mask == 0
    used = valid.mean(axis=(1, 2)) >= _LEAST_VALID
    if not np.isfinite(target["z"]) or used.sum() < 2:
        return None
    expected = bridged_colours(sequence.sequence_colours(sky.path, sky.bands, target["z"]), used)
    if not np.isfinite(expected).all():
        return None
    central = frame[frame["kind"] == "bcg"].iloc[:1]
    names = [band for band, ok in zip(sky.bands.names, used, strict=True) if ok]
    colours = adjacent_colours(*magnitudes(central, names)).value
    lens = behind.lens_flux(colours[0] if len(colours) else np.full(len(expected), np.nan), expected)
    factor = dim[used, None, None]
    return behind.contrast(
        cutout.flux[used] * factor,
        np.where(valid, cutout.variance, 0.0)[used] * factor**2,
        valid[used],
        lens,
        sky.behind.behind(target["z"]).in_bands(used),
        float(cutout.extra["fwhm"]) / scale,
        scale,
    )


def contrast_maps(found: "Contrast | None", shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The most significant spectrum of each kind on every pixel.

    Parameters
    ----------
    found : tandemlens.features.behind.Contrast or None
    shape : (int, int)
        Of the cutout.

    Returns
    -------
    snr : (kind, y, x) float32 ndarray
        In the order of `tandemlens.features.behind.KINDS`; 0 where invalid.
    valid : (kind, y, x) bool ndarray
        False everywhere for a kind that cannot be told from the lens.
    """
    if found is None:
        nothing = np.zeros((len(behind.KINDS), *shape), np.float32)
        return nothing, nothing > 0
    told = np.isin(behind.KINDS, found.templates.kind)
    return found.snr, told[:, None, None] & found.valid
