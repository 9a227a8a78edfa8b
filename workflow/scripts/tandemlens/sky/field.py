"""Galaxies and stars of the field, by published counts, redshifts, sizes and shares of types."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammainc, gammaincinv

from tandemlens.base.errors import InputError
from tandemlens.sky import stars
from tandemlens.sky.paint import Galaxy
from tandemlens.sky.spectra import Z_MAX

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tandemlens.sky.spectra import Spectra

#: log10 of galaxies per deg^2 and mag at magnitudes of the i band. From 19.25: COSMOS2020, Farmer (Weaver et al. 2022,
#: ApJS 258, 11, table 2, as copied in a public code). Brighter: 92 deg^-2 at r < 17.77 (Strauss et al. 2002, from
#: memory) with r - i = 0.4 and a slope of 0.55 around it, then the slope of 0.6 of SDSS (Yasuda et al. 2001, AJ 122,
#: 1104)
_BRIGHT = [(15.0, 0.66), (16.0, 1.26), (17.37, 2.07), (18.0, 2.40)]
_COSMOS = [3.01, 3.23, 3.44, 3.64, 3.85, 4.03, 4.21, 4.38, 4.54, 4.71, 4.86, 4.97, 5.08, 5.20, 5.29, 5.35]
COUNTS = np.array([*_BRIGHT, *zip(np.arange(19.25, 27, 0.5), _COSMOS, strict=True)])
#: where the counts start, and where they stop whatever is asked: fainter ones are below the noise of every survey here
BRIGHTEST, FAINTEST = 15.0, 26.5
#: mean redshift by magnitude. From 20: mean 3 z0 of z^2 exp(-z / z0), z0 = 0.0417 i - 0.744 for all brighter than i
#: (LSST Science Book, section 3.7), turned into that of galaxies at i with the slope of the counts; brighter: SDSS and
#: GAMA, from memory. A gamma distribution of shape 3 at every magnitude, cut at z = 3
_REDSHIFT = np.array([(15.0, 0.05), (17.0, 0.11), (18.0, 0.17), (20.0, 0.38), (22.0, 0.68), (24.0, 0.94), (27.0, 1.32)])
_SHAPE, _Z_MIN = 3.0, 0.02
#: shares by magnitude of elliptical, early_spiral, spiral, irregular and the rest, starburst. Bright ones: from memory
#: of spectral types in COSMOS (Ilbert et al. 2009) and zCOSMOS; faint ones set so that median g - r and r - i at i = 24
#: and 25 lie within 0.1 mag of those of 46 galaxies of COSMOS with HSC magnitudes. Old galaxies thin out from the first
#: to the second of two redshifts (Weaver et al. 2023, from memory)
TYPES = ("elliptical", "early_spiral", "spiral", "irregular", "starburst")
_SHARES = np.array(
    [
        (18, 0.45, 0.30, 0.20, 0.05),
        (20, 0.38, 0.26, 0.25, 0.09),
        (22, 0.24, 0.20, 0.30, 0.18),
        (24, 0.11, 0.13, 0.30, 0.28),
        (26, 0.04, 0.06, 0.23, 0.33),
    ]
)
_OLD_THIN = (1.0, 2.0)
#: scatter of adjacent colours, old and other galaxies, mag
_COLOUR_SCATTER = (0.05, 0.12)
#: ln of the half-light diameter (arcsec) is normal: mean 5.02 - 0.24 i, width 0.778 - 0.0136 i (the galaxies of the
#: star-galaxy model of the Rubin simulations; halves agree with 100 galaxies of COSMOS in F814W at 22 < i < 25 within
#: 0.04 arcsec)
_LN_SIZE, _LN_WIDTH = (5.02, -0.24), (0.778, -0.0136)
_SMALLEST, _LARGEST = 0.05, 5.0
#: half-light radii of old galaxies relative to others of their magnitude (from memory)
_OLD_SIZE = 0.75
#: range of the thickness of discs, seen from all sides; mean and width of the axis ratios of old galaxies (Padilla &
#: Strauss 2008, from memory)
_DISC_Q, _OLD_Q = (0.15, 0.45), (0.72, 0.15)
_MINUTE2 = 3600.0


def density(mag: "ArrayLike") -> float | np.ndarray:
    """Field galaxies per arcmin^2 and mag.

    Parameters
    ----------
    mag : float or (n,) array_like
        AB, i band.

    Returns
    -------
    float or (n,) ndarray
    """
    return 10 ** np.interp(np.asarray(mag), COUNTS[:, 0], COUNTS[:, 1]) / _MINUTE2


def draw_field(rng: np.random.Generator, size: float, spectra: "Spectra", faintest: float = 25.0) -> list[Galaxy]:
    """Field galaxies and stars of a square around the target.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : float, arcsec
        Side of the square.
    spectra : Spectra
    faintest : float, mag
        In i; a magnitude below the depth of the survey. Nothing is drawn beyond 26.5.

    Returns
    -------
    list of Galaxy
        Galaxies of kind ``field``, then stars of kind ``star``.
    """
    area, limit = (size / 60) ** 2, min(faintest, FAINTEST)
    mag = _magnitudes(rng, density, limit, area)
    places = rng.uniform(-size / 2, size / 2, (len(mag), 2))
    galaxies = _galaxies(rng, mag, _redshifts(rng, mag, _Z_MIN, Z_MAX), places, spectra)
    bright = _magnitudes(rng, lambda m: np.interp(m, *stars.COUNTS.T) / _MINUTE2, limit, area)
    return galaxies + stars.draw_stars(rng, size, spectra, bright)


def draw_sources(
    rng: np.random.Generator, count: int, z_min: float, z_max: float, spectra: "Spectra", faintest: float = 25.0
) -> list[Galaxy]:
    """Field galaxies between two redshifts, at the place of the target.

    Parameters
    ----------
    rng : numpy.random.Generator
    count : int
    z_min, z_max : float
        The latter at most 3.
    spectra : Spectra
    faintest : float, mag
        Unlensed, in i.

    Returns
    -------
    list of Galaxy
        Magnitudes follow the counts of galaxies at those redshifts.

    Raises
    ------
    InputError
        If no redshift is left between the two.
    """
    if not z_min < z_max <= Z_MAX:
        raise InputError(
            f"sources between z = {z_min:g} and {z_max:g} cannot be drawn; give two, rising, up to {Z_MAX:g}"
        )
    grid = np.arange(BRIGHTEST, min(faintest, FAINTEST), 0.02)
    low, high = (_below(grid, z) for z in (z_min, z_max))
    mag = _inverse(rng, grid, density(grid) * (high - low), count)
    return _galaxies(rng, mag, _redshifts(rng, mag, z_min, z_max), np.zeros((count, 2)), spectra)


def _magnitudes(rng: np.random.Generator, counts: Callable[..., Any], faintest: float, area: float) -> np.ndarray:
    grid = np.arange(BRIGHTEST, faintest, 0.02)
    return _inverse(rng, grid, counts(grid), rng.poisson(np.trapezoid(counts(grid), grid) * area))


def _inverse(rng: np.random.Generator, grid: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    """Values that follow a tabulated density."""
    total = np.concatenate([[0.0], np.cumsum((weight[1:] + weight[:-1]) / 2)])
    return np.interp(rng.uniform(0, total[-1], count), total, grid)


def _scale(mag: np.ndarray) -> np.ndarray:
    return np.interp(mag, *_REDSHIFT.T) / _SHAPE


def _below(mag: np.ndarray, z: float) -> np.ndarray:
    """Share of the galaxies of a magnitude below a redshift."""
    return gammainc(_SHAPE, z / _scale(mag))


def _redshifts(rng: np.random.Generator, mag: np.ndarray, z_min: float, z_max: float) -> np.ndarray:
    low, high = _below(mag, z_min), _below(mag, z_max)
    z = gammaincinv(_SHAPE, low + rng.uniform(size=len(mag)) * (high - low)) * _scale(mag)
    return np.clip(z, z_min, z_max)


def _galaxies(
    rng: np.random.Generator, mag: np.ndarray, z: np.ndarray, places: np.ndarray, spectra: "Spectra"
) -> list[Galaxy]:
    kinds = _types(rng, mag, z)
    old = kinds == 0
    scatter = rng.normal(size=(len(mag), spectra.n_band - 1)) * np.where(old, *_COLOUR_SCATTER)[:, None]
    flux = np.empty((len(mag), spectra.n_band))
    for k, name in enumerate(TYPES):
        of = kinds == k
        flux[of] = spectra.flux(name, z[of], mag[of], scatter[of])
    size = np.exp(rng.normal(_LN_SIZE[0] + _LN_SIZE[1] * mag, _LN_WIDTH[0] + _LN_WIDTH[1] * mag)) / 2
    thick2 = rng.uniform(*_DISC_Q, len(mag)) ** 2
    disc = np.sqrt(thick2 + (1 - thick2) * rng.uniform(size=len(mag)) ** 2)
    q = np.where(old, np.clip(rng.normal(*_OLD_Q, len(mag)), 0.3, 1.0), disc)
    # sizes are those of circles of equal area, radii those along the major axis
    radius = np.clip(size * np.where(old, _OLD_SIZE, 1.0) / np.sqrt(q), _SMALLEST, _LARGEST)
    angle = rng.uniform(0, np.pi, len(mag))
    rows = zip(places, z, radius, np.where(old, 4.0, 1.0), q, angle, flux, strict=True)
    return [
        Galaxy("field", float(x), float(y), float(far), float(r_e), float(n), float(ratio), float(way), light)
        for (x, y), far, r_e, n, ratio, way, light in rows
    ]


def _types(rng: np.random.Generator, mag: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Index of `TYPES` of each galaxy."""
    edges = np.stack([np.interp(mag, _SHARES[:, 0], column) for column in np.cumsum(_SHARES[:, 1:], axis=1).T])
    kinds = (rng.uniform(size=len(mag)) > edges).sum(0)
    start, end = _OLD_THIN
    gone = (kinds == 0) & (rng.uniform(size=len(mag)) < (z - start) / (end - start))
    # what is not yet old there still forms stars
    return np.where(gone, 2, kinds)
