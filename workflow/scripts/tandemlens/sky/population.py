"""Galaxies of clusters, drawn from stated distributions."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import exp1

from tandemlens.base.cosmology import COSMOLOGY, kpc_per_arcsec
from tandemlens.base.galaxies import star_magnitude
from tandemlens.sky.paint import Galaxy

if TYPE_CHECKING:
    from tandemlens.sky.spectra import Spectra

#: richness counts members above this many L*: here all of them, where Rykoff et al. (2014) count red ones; luminosity
#: function with faint slope -1 (their eq. 8)
_RICHNESS_LIMIT, _FAINTEST, _BRIGHTEST = 0.2, 0.02, 6.0
#: share of members on the red sequence, its scatter, and that of the others, mag
_RED_SHARE, _RED_SCATTER, _BLUE_SCATTER = 0.8, 0.05, 0.12
#: half-light radius of L* galaxies (kpc), its slope with luminosity, early and late; scatter in dex (Shen et al. 2003)
_EARLY_SIZE, _LATE_SIZE, _SIZE_SCATTER = (5.0, 0.6), (5.5, 0.3), 0.13
#: central galaxy and intracluster light: luminosity in L*, half-light radius in kpc
_BCG_LIGHT, _BCG_KPC, _ICL_SHARE, _ICL_KPC = (3.0, 8.0), (12.0, 30.0), (0.15, 0.45), (60.0, 120.0)
_SMALLEST = 0.1


def draw_members(
    rng: np.random.Generator,
    z: float,
    richness: float,
    reach: float,
    spectra: "Spectra",
    kind: str,
    centre: tuple[float, float] = (0.0, 0.0),
) -> tuple[list[Galaxy], np.ndarray]:
    """Members of a cluster but its central galaxy.

    Their number above 0.2 L* has the richness as mean, inside ``R = (richness / 100)^0.2 Mpc / h`` (Rykoff et al. 2014,
    eq. 4); NFW profile with a scale radius of 0.15 Mpc / h; Schechter luminosities of faint slope -1.

    Parameters
    ----------
    rng : numpy.random.Generator
    z, richness : float
    reach : float, arcsec
        Members farther west, east, north or south than this are left out.
    spectra : Spectra
    kind : str
    centre : (x, y), arcsec

    Returns
    -------
    galaxies : list of Galaxy
    luminosity : (n,) ndarray
        In L*.
    """
    count = rng.poisson(richness * (exp1(_FAINTEST) - exp1(_BRIGHTEST)) / (exp1(_RICHNESS_LIMIT) - exp1(_BRIGHTEST)))
    places = _nfw_places(rng, count, z, richness) + centre
    luminosity = _schechter(rng, count)
    inside = (np.abs(places) < reach).all(1)
    galaxies = _members(rng, z, luminosity[inside], places[inside], spectra, kind)
    return galaxies, luminosity[inside]


def _members(
    rng: np.random.Generator, z: float, light: np.ndarray, places: np.ndarray, spectra: "Spectra", kind: str
) -> list[Galaxy]:
    """Galaxies of given luminosities, red or not."""
    count = len(light)
    red = rng.uniform(size=count) < _RED_SHARE
    early, late = (kpc * light**slope for kpc, slope in (_EARLY_SIZE, _LATE_SIZE))
    radius = np.where(red, early, late) * 10 ** rng.normal(0, _SIZE_SCATTER, count) / kpc_per_arcsec(z)
    scatter = rng.normal(size=(count, spectra.n_band - 1)) * np.where(red, _RED_SCATTER, _BLUE_SCATTER)[:, None]
    mag = star_magnitude(z) - 2.5 * np.log10(light)
    templates = (spectra.flux(name, np.full(count, z), mag, scatter) for name in ("elliptical", "spiral"))
    flux = np.where(red[:, None], *templates)
    q, angle = rng.uniform(np.where(red, 0.5, 0.25), 1.0), rng.uniform(0, np.pi, count)
    rows = zip(places, np.maximum(radius, _SMALLEST), np.where(red, 4.0, 1.0), q, angle, flux, strict=True)
    return [
        Galaxy(kind, float(x), float(y), z, float(r_e), float(n), float(ratio), float(way), light)
        for (x, y), r_e, n, ratio, way, light in rows
    ]


def draw_centre(
    rng: np.random.Generator,
    z: float,
    spectra: "Spectra",
    kind: str,
    centre: tuple[float, float] = (0.0, 0.0),
    q: float = 0.7,
    angle: float = 0.0,
) -> list[Galaxy]:
    """Central galaxy and intracluster light.

    Parameters
    ----------
    rng, z, spectra, kind, centre
        As for `draw_members`; the light around has the kind ``icl``.
    q, angle : float
        Shape of the halo, which both follow with scatter.

    Returns
    -------
    list of Galaxy
    """
    light, share = rng.uniform(*_BCG_LIGHT), rng.uniform(*_ICL_SHARE)
    out = []
    parts = (kind, "central", 1 - share, _BCG_KPC, 4.0), ("icl", "elliptical", share, _ICL_KPC, 1.0)
    for name, sed, part, kpc, n in parts:
        mag = star_magnitude(z) - 2.5 * np.log10(light * part)
        flux = spectra.flux(sed, z, mag, rng.normal(0, _RED_SCATTER, spectra.n_band - 1))
        shape = float(np.clip(q + rng.normal(0, 0.1), 0.4, 1.0)), angle + rng.normal(0, 0.2)
        out.append(Galaxy(name, *centre, z, rng.uniform(*kpc) / kpc_per_arcsec(z), n, *shape, flux))
    return out


def _schechter(rng: np.random.Generator, count: int) -> np.ndarray:
    """Luminosities with density ~ exp(-L) / L between the limits, by inversion."""
    grid = np.geomspace(_FAINTEST, _BRIGHTEST, 400)
    share = (exp1(_FAINTEST) - exp1(grid)) / (exp1(_FAINTEST) - exp1(_BRIGHTEST))
    return np.interp(rng.uniform(size=count), share, grid)


def _nfw_places(rng: np.random.Generator, count: int, z: float, richness: float) -> np.ndarray:
    """Projected places (count, 2) of an NFW number profile, arcsec."""
    edge, scale = (1000 / COSMOLOGY.h * s for s in ((richness / 100) ** 0.2, 0.15))
    grid = np.linspace(0, edge / scale, 400)
    inside = np.log1p(grid) - grid / (1 + grid)
    radius = np.interp(rng.uniform(size=count), inside / inside[-1], grid) * scale / kpc_per_arcsec(z)
    way = rng.normal(size=(count, 3))
    return radius[:, None] * (way / np.linalg.norm(way, axis=1, keepdims=True))[:, :2]
