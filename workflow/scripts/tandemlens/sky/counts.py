"""How many cluster-cluster lenses the sky holds: the prevalence that every probability rests on."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from astropy.constants import c as light_speed
from colossus.lss.mass_function import massFunction
from scipy.interpolate import RectBivariateSpline

from tandemlens.base.cosmology import COSMOLOGY, kpc_per_arcsec
from tandemlens.sky.cosmology import SIGMA_8, set_colossus
from tandemlens.sky.halo import MASS_SCATTER, RICHNESS_SLOPE, mass_of_richness

if TYPE_CHECKING:
    from colossus.cosmology.cosmology import Cosmology

    from tandemlens.base.units import Number

_C = light_speed.to_value("km/s")
#: nodes of the mass function: log10 of M200m in Msun/h, and redshift; richness 1 to 1000 between redshifts 0 and 2
_MASSES, _REDSHIFTS = np.linspace(11.5, 16.3, 97), np.linspace(0.0, 2.0, 41)
#: nothing is richer than this, and its density is integrated in so many steps
_RICHEST, _STEPS = 1000.0, 400


def sis_dispersion(mass: np.ndarray, z: float, cosmology: "Cosmology") -> np.ndarray:
    """Velocity dispersion of a halo (Evrard et al. 2008, eq. 6: 1082.9 km/s at h(z) M200c = 1e15 Msun, slope 0.3361).

    Parameters
    ----------
    mass : ndarray, Msun/h
        M200c.
    z : float
    cosmology : colossus.cosmology.cosmology.Cosmology

    Returns
    -------
    ndarray, km/s
    """
    return 1082.9 * (cosmology.Ez(z) * mass / 1e15) ** 0.3361


def expected_pairs(
    lens_mass: float,
    source_mass: float,
    sigma_8: float = SIGMA_8,
    z_lens: tuple[float, float] = (0.05, 1.5),
    z_source: tuple[float, float] = (0.1, 3.0),
    step: float = 0.05,
) -> tuple[float, float, float]:
    """All-sky number of clusters whose centre lies within the Einstein radius of a cluster in front.

    Number of lenses times the number of sources behind in ``pi theta_E^2``, with Tinker et al. (2008) mass functions
    and singular isothermal lenses. Real clusters have smaller cross sections by 6-11 for the most massive (methods 16),
    and "some member is lensed" happens far more often than "the centre is lensed".

    Parameters
    ----------
    lens_mass, source_mass : float, Msun/h
        Least M200c.
    sigma_8 : float
    z_lens, z_source : (float, float)
    step : float
        In lens redshift; sources are counted in twice that.

    Returns
    -------
    pairs, lenses, sources : float
    """
    cosmology = set_colossus(sigma_8)
    near, far = np.arange(z_lens[0], z_lens[1], step), np.arange(z_source[0], z_source[1] + step / 2, 2 * step)
    distance = cosmology.comovingDistance(0.0, far)
    density = np.array([_density(source_mass, z)[0] for z in far])
    sources = density * _volume(far, cosmology) * 2 * step
    pairs = lenses = 0.0
    for z in near:
        count, mass, per_log_mass = _density(lens_mass, z)
        shell = _volume(z, cosmology) * step
        lenses += count * shell
        behind = far > z + step
        # D_ls / D_s of a flat cosmology
        bend = 1 - cosmology.comovingDistance(0.0, z) / distance[behind]
        radius = 4 * np.pi * (sis_dispersion(mass, z, cosmology) / _C) ** 2
        area = np.trapezoid(per_log_mass * np.pi * radius**2, np.log(mass))
        pairs += float(area * shell * (bend**2 * sources[behind]).sum() / (4 * np.pi))
    return pairs, float(lenses), float(sources.sum())


def richness_density(z: np.ndarray, richness: np.ndarray) -> np.ndarray:
    """Clusters on the sky per square degree, unit redshift and unit richness.

    It is the density whose masses, log-normal with mean `mass_of_richness`, have the mass function f of Tinker et al.
    (2008): a scatter s of ln M turns a density into itself times ``exp(s^2/2 f''/f)`` (exact for a power law;
    derivatives in ln M), which is divided out. The relation was measured at richness 20 and more and redshifts of 0.2
    to 0.65 (McClintock et al. 2019), and is extrapolated beyond. The SDSS holds half as many clusters above richness
    20 and 0.6 as many above 50: lensing masses and sigma_8 = 0.8 disagree (Abbott et al. 2020).

    Parameters
    ----------
    z, richness : ndarray
        Broadcast together; redshifts up to 2, richness up to 1000.

    Returns
    -------
    ndarray, deg^-2
    """
    z, richness = np.broadcast_arrays(np.asarray(z, float), np.asarray(richness, float))
    # median mass: the relation gives the mean of M
    log_mass = np.log(mass_of_richness(richness, z) * COSMOLOGY.h) - MASS_SCATTER**2 / 2
    spline = _mass_function()
    level, slope, bend = (spline.ev(log_mass, z, dx=k) for k in range(3))
    per_log_mass = np.exp(level - MASS_SCATTER**2 / 2 * (bend + slope**2))
    volume = COSMOLOGY.differential_comoving_volume(z).to_value("Mpc3 / deg2") * COSMOLOGY.h**3
    return per_log_mass * RICHNESS_SLOPE / richness * volume


def clusters_behind(z: np.ndarray, least_richness: float) -> np.ndarray:
    """Clusters on the sky above a richness, per square degree and unit redshift.

    Parameters
    ----------
    z : ndarray
    least_richness : float

    Returns
    -------
    ndarray, deg^-2
    """
    richness = np.geomspace(least_richness, _RICHEST, _STEPS)
    per_log = richness * richness_density(np.asarray(z, float)[..., None], richness)
    return np.trapezoid(per_log, np.log(richness), axis=-1)


def proposal_weight(
    z_behind: np.ndarray,
    richness_behind: np.ndarray,
    z_lens: float,
    z_range: tuple[float, float],
    richness_range: tuple[float, float],
    richness_slope: float,
    radius_kpc: float,
) -> np.ndarray:
    """Clusters expected behind a lens for each one drawn there, so that weights turn draws into numbers.

    A draw has a uniform redshift, a richness from a power law, and a centre uniform in a circle around the lens. The
    mean over draws of weight times anything is the expected number of clusters per lens with it.

    Parameters
    ----------
    z_behind, richness_behind : (n,) ndarray
        The draws.
    z_lens : float
    z_range, richness_range : (float, float)
        Limits of the draws.
    richness_slope : float
        Of the power law, not -1.
    radius_kpc : float, kpc
        Of the circle, proper at the lens.

    Returns
    -------
    (n,) ndarray

    Raises
    ------
    ValueError
        If a draw lies outside the limits.
    """
    z, richness = np.asarray(z_behind, float), np.asarray(richness_behind, float)
    for name, value, (low, high) in (("redshift", z, z_range), ("richness", richness, richness_range)):
        if value.size and not (low <= value.min() and value.max() <= high):
            raise ValueError(f"a {name} between {value.min()} and {value.max()} was not drawn from {low} to {high}")
    low, high = (r ** (richness_slope + 1) for r in richness_range)
    proposal = (richness_slope + 1) * richness**richness_slope / (high - low) / (z_range[1] - z_range[0])
    area = np.pi * (radius_kpc / kpc_per_arcsec(z_lens) / 3600) ** 2
    return richness_density(z, richness) * area / proposal


@lru_cache(maxsize=1)
def _mass_function() -> RectBivariateSpline:
    """Spline of ln dn/dlnM, (Mpc/h)^-3, over ln M200m (Msun/h) and redshift."""
    set_colossus()
    table = [massFunction(10**_MASSES, z, mdef="200m", model="tinker08", q_out="dndlnM") for z in _REDSHIFTS]
    return RectBivariateSpline(_MASSES * np.log(10), _REDSHIFTS, np.log(np.transpose(table)), kx=5, ky=3)


def _density(least: float, z: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Comoving number of halos above a mass, (Mpc/h)^-3, and the mass function behind it."""
    mass = np.geomspace(least, 10**15.8, 60)
    per_log_mass = massFunction(mass, z, mdef="200c", model="tinker08", q_out="dndlnM")
    return np.trapezoid(per_log_mass, np.log(mass)), mass, per_log_mass


def _volume(z: "Number", cosmology: "Cosmology") -> "Number":
    """Comoving volume of the sky per unit redshift, (Mpc/h)^3."""
    return 4 * np.pi * cosmology.comovingDistance(0.0, z) ** 2 * _C / (100 * cosmology.Ez(z))
