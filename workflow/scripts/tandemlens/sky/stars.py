"""Stars of the field at high galactic latitude: counts, and colours along the stellar locus."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tandemlens.features.sequence import Bands
from tandemlens.sky.paint import Galaxy

if TYPE_CHECKING:
    from tandemlens.sky.spectra import Spectra

#: columns g-i, u-g, g-r, r-i, i-z (AB), z-J, J-H, H-Ks (J, H, Ks in Vega) of the median stellar locus
#: (Covey et al. 2007, AJ 134, 2398, table 1, every tenth to fifteenth row)
LOCUS = np.array(
    [
        (0.10, 1.05, 0.09, 0.02, -0.03, 0.76, 0.23, 0.12),
        (0.30, 1.07, 0.24, 0.06, 0.00, 0.79, 0.23, 0.08),
        (0.50, 1.14, 0.37, 0.13, 0.03, 0.84, 0.31, 0.07),
        (0.70, 1.40, 0.51, 0.19, 0.06, 0.91, 0.38, 0.08),
        (0.90, 1.73, 0.66, 0.24, 0.11, 0.98, 0.46, 0.09),
        (1.10, 2.04, 0.80, 0.30, 0.14, 1.04, 0.53, 0.11),
        (1.30, 2.28, 0.94, 0.35, 0.18, 1.09, 0.58, 0.12),
        (1.60, 2.53, 1.15, 0.45, 0.24, 1.14, 0.64, 0.14),
        (1.90, 2.61, 1.31, 0.59, 0.32, 1.19, 0.67, 0.16),
        (2.20, 2.61, 1.41, 0.79, 0.43, 1.25, 0.65, 0.20),
        (2.50, 2.59, 1.41, 1.08, 0.57, 1.32, 0.62, 0.23),
        (2.80, 2.62, 1.43, 1.36, 0.72, 1.41, 0.60, 0.26),
        (3.10, 2.62, 1.50, 1.60, 0.85, 1.51, 0.59, 0.28),
    ]
)
#: effective wavelengths of u g r i z J H Ks, Angstrom, and AB minus Vega of the last three
#: (Blanton & Roweis 2007, from memory)
_WAVELENGTHS = np.array([3551.0, 4686.0, 6166.0, 7480.0, 8932.0, 12350.0, 16620.0, 21590.0])
_VEGA = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.91, 1.39, 1.85])
_FILTERS = (*(f"sdss2010-{b}" for b in "ugriz"), *(f"twomass-{b}" for b in ("J", "H", "Ks")))
_OWN_BANDS = Bands(_FILTERS, tuple(_WAVELENGTHS), (0.0,) * len(_FILTERS), _FILTERS)
#: stars per deg^2 and mag in i at galactic latitudes near 60 deg, from memory of star-count models; 4200 per deg^2 at
#: 15 < i < 21.3, where SDSS has 7400 to r = 21.5 over all its latitudes (48 million in 6500 deg^2, Juric et al. 2008,
#: from memory)
COUNTS = np.array(
    [
        (15.0, 180.0),
        (16.0, 290.0),
        (17.0, 430.0),
        (18.0, 600.0),
        (19.0, 800.0),
        (20.0, 1000.0),
        (21.0, 1250.0),
        (22.0, 1550.0),
        (23.0, 1800.0),
        (24.0, 2000.0),
        (27.0, 2300.0),
    ]
)
#: share of M dwarfs at i = 16 and 23, g - i of them and of the others, scatter around the locus, mag (from memory of
#: Ivezic et al. 2008; width of the locus: Covey et al. 2007, table 1)
_M_SHARE, _M_COLOUR, _F_COLOUR, _SCATTER = (0.25, 0.65), (2.3, 0.45), (0.65, 0.2), 0.03


def locus_magnitudes(bands: Bands) -> np.ndarray:
    """Magnitudes of stars of the locus, relative to i of SDSS.

    Parameters
    ----------
    bands : tandemlens.features.sequence.Bands

    Returns
    -------
    (k, band) float ndarray, mag
        One row per row of `LOCUS`; between the bands of the locus linear in the logarithm of wavelength.
    """
    return _seen(_spectra(), bands) - _seen(_spectra(), _OWN_BANDS)[:, [3]]


@cache
def _spectra() -> np.ndarray:
    """AB magnitudes at the wavelengths of the locus, whose spectra have the colours of the locus in its own filters."""
    vega = np.column_stack([np.cumsum(LOCUS[:, :0:-1], axis=1)[:, ::-1], np.zeros(len(LOCUS))])
    wanted = vega + _VEGA
    spectra = wanted
    # a filter sees more than the magnitude at its middle where a spectrum is steep, as those of M dwarfs are
    for _ in range(10):
        spectra = spectra + wanted - _seen(spectra, _OWN_BANDS)
    return spectra


def _seen(spectra: np.ndarray, bands: Bands) -> np.ndarray:
    out = np.empty((len(spectra), len(bands.names)))
    for j, (seen, response) in enumerate(bands.curves()):
        shape = np.array([np.interp(np.log(seen), np.log(_WAVELENGTHS), row) for row in spectra])
        weight = response / seen
        light = np.trapezoid(10 ** (-0.4 * shape) * weight, seen, axis=1)
        out[:, j] = -2.5 * np.log10(light / np.trapezoid(weight, seen))
    return out


def draw_stars(rng: np.random.Generator, size: float, spectra: "Spectra", magnitudes: np.ndarray) -> list[Galaxy]:
    """Stars of a square around the target.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : float, arcsec
        Side of the square.
    spectra : tandemlens.sky.spectra.Spectra
    magnitudes : (n,) ndarray
        Magnitudes of the stars in i.

    Returns
    -------
    list of Galaxy
        Of kind ``star``.
    """
    count = len(magnitudes)
    dwarf = rng.uniform(size=count) < np.interp(magnitudes, (16, 23), _M_SHARE)
    colour = np.where(dwarf, rng.normal(*_M_COLOUR, count), rng.normal(*_F_COLOUR, count))
    colour = np.clip(colour, LOCUS[0, 0], LOCUS[-1, 0])
    flux = spectra.star_flux(colour, magnitudes, rng.normal(0, _SCATTER, (count, spectra.n_band - 1)))
    places = rng.uniform(-size / 2, size / 2, (count, 2))
    return [Galaxy("star", x, y, np.nan, 0.0, 0.0, 1.0, 0.0, f) for (x, y), f in zip(places, flux, strict=True)]
