"""The one cosmology as colossus needs it: with sigma_8 = 0.8 and n_s = 0.96."""

from typing import TYPE_CHECKING

from colossus.cosmology import cosmology as colossus

from tandemlens.base.cosmology import COSMOLOGY

if TYPE_CHECKING:
    from colossus.cosmology.cosmology import Cosmology

SIGMA_8 = 0.8


def set_colossus(sigma_8: float = SIGMA_8) -> "Cosmology":
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
    parameters = {"flat": True, "H0": COSMOLOGY.H0.value, "Om0": COSMOLOGY.Om0, "Ob0": COSMOLOGY.Ob0}
    parameters |= {"sigma8": sigma_8, "ns": 0.96, "relspecies": False}
    # without persistence: colossus would keep tables in the home folder
    return colossus.setCosmology(name, **parameters, persistence="")
