"""The one cosmology: flat, H0 = 70 km/s/Mpc, Omega_m = 0.3."""

from functools import lru_cache

from astropy.cosmology import FlatLambdaCDM

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.045)


@lru_cache(maxsize=4096)
def efficiency(z_lens: float, z_source: float) -> float:
    """Lensing efficiency D_ls / D_s of one source redshift behind one lens.

    Parameters
    ----------
    z_lens, z_source : float

    Returns
    -------
    float
        0 for a source in front of the lens, at its redshift or without one (NaN).
    """
    if not z_source > z_lens:
        return 0.0
    between = COSMOLOGY.angular_diameter_distance(z_lens, z_source)
    return float(between / COSMOLOGY.angular_diameter_distance(z_source))


@lru_cache(maxsize=4096)
def kpc_per_arcsec(z: float) -> float:
    """Proper transverse size of one arcsec.

    Parameters
    ----------
    z : float

    Returns
    -------
    float
    """
    return float(COSMOLOGY.kpc_proper_per_arcmin(z).value / 60)
