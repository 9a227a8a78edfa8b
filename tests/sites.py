"""Small sites and lenses on which systems are painted in tests."""

import numpy as np

from tandemlens.sky.lens import Lens, dpie
from tandemlens.sky.paint import Galaxy
from tandemlens.sky.scene import Scene
from tandemlens.sky.site import Site
from tandemlens.survey.psf import moffat

SCALE, SIDE = 0.3, 160
Z_LENS = 0.3


def site(sigma=10.0, side=SIDE, shift=((0.0, 0.0), (0.0, 0.0))):
    """Two bands of 0.9 arcsec seeing."""
    fine = np.array([moffat(61, SCALE / 2, 0.9)] * 2)
    return Site(("g", "r"), side, SCALE, fine, np.array(shift), np.full(2, sigma), np.full(2, 1e4))


def scene(sigma_v=900.0, galaxies=(), **kwargs):
    """An isothermal sphere, whose Einstein radius is 14.9 arcsec for sources at z = 1."""
    return Scene(Lens(Z_LENS, [dpie(Z_LENS, sigma_v, 1e-4, 1e5)]), list(galaxies), {}, site(**kwargs))


def galaxy(kind, x, y, z, flux=3000.0, r_e=0.4):
    """A round disc of equal flux in both bands."""
    return Galaxy(kind, x, y, z, r_e, 1.0, 1.0, 0.0, np.array([flux, flux]))
