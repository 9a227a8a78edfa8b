"""Galaxies of clusters and of the field, and stars, drawn from stated distributions."""

import numpy as np
from scipy.special import exp1

from tandemlens.base.cosmology import COSMOLOGY, kpc_per_arcsec
from tandemlens.base.units import njy_per_unit
from tandemlens.features.sequence import read_sed, template_colours
from tandemlens.sky.paint import Galaxy

#: magnitudes are those of the band closest to this, Angstrom
_ANCHOR = 7600.0
_Z_GRID = np.arange(0.0, 3.001, 0.02)
#: richness counts red members above this many L*; luminosity function with faint slope -1 (Rykoff et al. 2014, eq. 8)
_RICHNESS_LIMIT, _FAINTEST, _BRIGHTEST = 0.2, 0.02, 6.0
#: share of members on the red sequence, its scatter, and that of the others, mag
_RED_SHARE, _RED_SCATTER, _BLUE_SCATTER = 0.8, 0.05, 0.12
#: half-light radius of L* galaxies (kpc), its slope with luminosity, early and late; scatter in dex (Shen et al. 2003)
_EARLY_SIZE, _LATE_SIZE, _SIZE_SCATTER = (5.0, 0.6), (5.5, 0.3), 0.13
#: central galaxy and intracluster light: luminosity in L*, half-light radius in kpc
_BCG_LIGHT, _BCG_KPC, _ICL_SHARE, _ICL_KPC = (3.0, 8.0), (12.0, 30.0), (0.15, 0.45), (60.0, 120.0)
#: field galaxies per arcmin^2 brighter than 25 in the anchor band, growth per magnitude, and share of old ones
_FIELD_DENSITY, _FIELD_SLOPE, _FIELD_FAINTEST, _FIELD_OLD = 40.0, 0.33, 25.0, 0.25
_STAR_DENSITY = 1.5
_SMALLEST = 0.1


class Spectra:
    """Fluxes of template galaxies in the bands of a survey.

    Parameters
    ----------
    paths : dict of str
        Spectra ``elliptical`` and ``spiral``.
    bands : tandemlens.features.sequence.Bands
    """

    def __init__(self, paths, bands):
        self.n_band = len(bands.names)
        self._anchor = int(np.argmin(np.abs(np.array(bands.wavelength) - _ANCHOR)))
        self._offset = {}
        for name, path in paths.items():
            colours = np.nan_to_num(template_colours(read_sed(path), _Z_GRID, bands))
            level = np.column_stack([np.zeros(len(colours)), -np.cumsum(colours, axis=1)])
            self._offset[name] = level - level[:, [self._anchor]]

    def flux(self, name, z, mag, scatter):
        """Flux of a galaxy.

        Parameters
        ----------
        name : str
            elliptical or spiral.
        z : float
        mag : float
            In the anchor band.
        scatter : (band - 1,) ndarray, mag
            Added to the adjacent colours.

        Returns
        -------
        (band,) ndarray, nJy
        """
        offset = np.array([np.interp(z, _Z_GRID, column) for column in self._offset[name].T])
        moved = np.concatenate([[0.0], -np.cumsum(scatter)])
        return njy_per_unit(0.0) * 10 ** (-0.4 * (mag + offset + moved - moved[self._anchor]))


def star_magnitude(z):
    """Magnitude m* of an L* cluster galaxy in i (Rykoff et al. 2014, eq. 9; extrapolated beyond z = 0.7).

    Parameters
    ----------
    z : float

    Returns
    -------
    float
    """
    x = np.log(z)
    return 22.44 + 3.36 * x + 0.273 * x**2 - 0.0618 * x**3 - 0.0227 * x**4


def draw_members(rng, z, richness, reach, spectra, kind, centre=(0.0, 0.0)):
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
    galaxies = [
        _member(rng, z, light, x, y, spectra, kind)
        for light, (x, y) in zip(luminosity[inside], places[inside], strict=True)
    ]
    return galaxies, luminosity[inside]


def draw_centre(rng, z, spectra, kind, centre=(0.0, 0.0), q=0.7, angle=0.0):
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
    for name, part, kpc, n in ((kind, 1 - share, _BCG_KPC, 4.0), ("icl", share, _ICL_KPC, 1.0)):
        mag = star_magnitude(z) - 2.5 * np.log10(light * part)
        flux = spectra.flux("elliptical", z, mag, rng.normal(0, _RED_SCATTER, spectra.n_band - 1))
        shape = float(np.clip(q + rng.normal(0, 0.1), 0.4, 1.0)), angle + rng.normal(0, 0.2)
        out.append(Galaxy(name, *centre, z, rng.uniform(*kpc) / kpc_per_arcsec(z), n, *shape, flux))
    return out


def draw_field(rng, size, spectra):
    """Field galaxies and stars of a square around the target.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : float, arcsec
        Side of the square.
    spectra : Spectra

    Returns
    -------
    list of Galaxy
    """
    area, out = (size / 60) ** 2, []
    for _ in range(rng.poisson(_FIELD_DENSITY * area)):
        mag = _FIELD_FAINTEST + np.log10(rng.uniform(1e-3, 1)) / _FIELD_SLOPE
        z = float(np.clip(rng.gamma(3.0, 0.1 + 0.12 * max(mag - 20, 0) / 3), 0.05, 2.9))
        sed, n = ("elliptical", 4.0) if rng.uniform() < _FIELD_OLD else ("spiral", 1.0)
        r_e = float(np.clip(10 ** (-0.12 * (mag - 22) - 0.3 + rng.normal(0, 0.15)), _SMALLEST, 3.0))
        flux = spectra.flux(sed, z, mag, rng.normal(0, _BLUE_SCATTER, spectra.n_band - 1))
        place = rng.uniform(-size / 2, size / 2, 2)
        out.append(Galaxy("field", *place, z, r_e, n, rng.uniform(0.3, 1), rng.uniform(0, np.pi), flux))
    for _ in range(rng.poisson(_STAR_DENSITY * area)):
        flux = spectra.flux("spiral", 0.05, rng.uniform(17, 23), rng.normal(0, 0.3, spectra.n_band - 1))
        out.append(Galaxy("star", *rng.uniform(-size / 2, size / 2, 2), np.nan, 0.0, 0.0, 1.0, 0.0, flux))
    return out


def _member(rng, z, light, x, y, spectra, kind):
    red = rng.uniform() < _RED_SHARE
    (kpc, slope), n = (_EARLY_SIZE, 4.0) if red else (_LATE_SIZE, 1.0)
    r_e = kpc * light**slope * 10 ** rng.normal(0, _SIZE_SCATTER) / kpc_per_arcsec(z)
    scatter = rng.normal(0, _RED_SCATTER if red else _BLUE_SCATTER, spectra.n_band - 1)
    mag = star_magnitude(z) - 2.5 * np.log10(light)
    flux = spectra.flux("elliptical" if red else "spiral", z, mag, scatter)
    q = rng.uniform(0.5 if red else 0.25, 1.0)
    return Galaxy(kind, x, y, z, max(r_e, _SMALLEST), n, q, rng.uniform(0, np.pi), flux)


def _schechter(rng, count):
    """Luminosities with density ~ exp(-L) / L between the limits, by inversion."""
    grid = np.geomspace(_FAINTEST, _BRIGHTEST, 400)
    share = (exp1(_FAINTEST) - exp1(grid)) / (exp1(_FAINTEST) - exp1(_BRIGHTEST))
    return np.interp(rng.uniform(size=count), share, grid)


def _nfw_places(rng, count, z, richness):
    """Projected places (count, 2) of an NFW number profile, arcsec."""
    edge, scale = (1000 / COSMOLOGY.h * s for s in ((richness / 100) ** 0.2, 0.15))
    grid = np.linspace(0, edge / scale, 400)
    inside = np.log1p(grid) - grid / (1 + grid)
    radius = np.interp(rng.uniform(size=count), inside / inside[-1], grid) * scale / kpc_per_arcsec(z)
    way = rng.normal(size=(count, 3))
    return radius[:, None] * (way / np.linalg.norm(way, axis=1, keepdims=True))[:, :2]
