"""How many cluster-cluster lenses the sky holds: the prevalence that every probability rests on."""

import numpy as np
from astropy.constants import c as light_speed
from colossus.lss.mass_function import massFunction

from tandemlens.sky.cosmology import SIGMA_8, set_colossus

_C = light_speed.to_value("km/s")


def sis_dispersion(mass, z, cosmology):
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


def expected_pairs(lens_mass, source_mass, sigma_8=SIGMA_8, z_lens=(0.05, 1.5), z_source=(0.1, 3.0), step=0.05):
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


def _density(least, z):
    """Comoving number of halos above a mass, (Mpc/h)^-3, and the mass function behind it."""
    mass = np.geomspace(least, 10**15.8, 60)
    per_log_mass = massFunction(mass, z, mdef="200c", model="tinker08", q_out="dndlnM")
    return np.trapezoid(per_log_mass, np.log(mass)), mass, per_log_mass


def _volume(z, cosmology):
    """Comoving volume of the sky per unit redshift, (Mpc/h)^3."""
    return 4 * np.pi * cosmology.comovingDistance(0.0, z) ** 2 * _C / (100 * cosmology.Ez(z))
