"""The one cosmology of the simulated sky: flat, H0 = 70 km/s/Mpc, Omega_m = 0.3, sigma_8 = 0.8, n_s = 0.96."""

from functools import lru_cache

from astropy.cosmology import FlatLambdaCDM
from colossus.cosmology import cosmology as colossus

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.045)
SIGMA_8 = 0.8


def set_colossus(sigma_8=SIGMA_8):
    """Make the cosmology that of colossus, whose functions read a global one.

    Parameters
    ----------
    sigma_8 : float

    Returns
    -------
    colossus.cosmology.cosmology.Cosmology
    """
    name = f"tandemlens-{sigma_8}"
    if colossus.current_cosmo is not None and colossus.current_cosmo.name == name:
        return colossus.current_cosmo
    parameters = {"flat": True, "H0": 70, "Om0": 0.3, "Ob0": 0.045, "sigma8": sigma_8, "ns": 0.96, "relspecies": False}
    # without persistence: colossus would keep tables in the home folder
    return colossus.setCosmology(name, **parameters, persistence="")


@lru_cache(maxsize=4096)
def efficiency(z_lens, z_source):
    """Lensing efficiency D_ls / D_s of one source redshift behind one lens.

    Parameters
    ----------
    z_lens, z_source : float

    Returns
    -------
    float
        0 for a source in front of the lens or at its redshift.
    """
    if z_source <= z_lens:
        return 0.0
    between = COSMOLOGY.angular_diameter_distance(z_lens, z_source)
    return float(between / COSMOLOGY.angular_diameter_distance(z_source))


@lru_cache(maxsize=4096)
def kpc_per_arcsec(z):
    """Proper transverse size of one arcsec.

    Parameters
    ----------
    z : float

    Returns
    -------
    float
    """
    return float(COSMOLOGY.kpc_proper_per_arcmin(z).value / 60)
