"""Deflections against caustics, which shares no code with lenstronomy.

Both use M200c and c200c for NFW halos. A dPIE of isothermal dispersion s, core a and cut b has, in caustics, the total
mass ``pi s^2 (b - a) / G``. Its shear is that of the source, ours that for D_ls / D_s = 1.
"""

from dataclasses import replace

import numpy as np
import pytest
from astropy.constants import GM_sun
from lenstronomy.Util import constants as theirs

from tandemlens.base.cosmology import COSMOLOGY, efficiency, kpc_per_arcsec
from tandemlens.sky.lens import Lens, dpie, external_shear, nfw_halo
from tandemlens.sky.planes import TwoPlanes

#: lenstronomy's G times solar mass exceeds the measured product by 2.8e-4, and so do its NFW deflections
TOO_HEAVY = theirs.G * theirs.M_sun / GM_sun.value
#: the elliptical NFW is a sum of cored ellipsoids, good to 1e-4 (Oguri 2021)
RELATIVE = 1e-4
#: one hundredth of a fine pixel; two deflections of tens of arcsec, each good to RELATIVE, add up to some of it
ARCSEC = 1e-3
#: kpc (km/s)^2 / Msun
G = 4.30091e-6
Z, Z_BACK, Z_SOURCE = 0.3, 0.8, 2.0
ETA = efficiency(Z, Z_SOURCE)
FRONT, BACK = (7e14, 6.0), (3e14, 4.5)
SIGMA, CORE, CUT = 300.0, 0.1, 12.0
#: of the source plane
SHEAR = 0.03, -0.02

# caustics 1.7.1 hands a torch tensor to scipy, which numpy 2 deprecates in torch's array interface
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")


@pytest.fixture(autouse=True)
def _torch_works():
    """The pinned torch has a CUDA build on some machines, which needs libraries that only heads will bring."""
    try:
        import caustics  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"caustics cannot be imported: {error}")


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(6)
    radius, way = np.geomspace(0.2, 60, 200), rng.uniform(0, 2 * np.pi, 200)
    return radius * np.cos(way), radius * np.sin(way)


def double(value):
    import torch

    return torch.as_tensor(value, dtype=torch.float64)


def oracle(build):
    """A lens of caustics in double precision, in our cosmology."""
    import torch
    from caustics import FlatLambdaCDM

    density = COSMOLOGY.critical_density0.to_value("Msun / Mpc3")
    lens = build(FlatLambdaCDM(h0=COSMOLOGY.h, critical_density_0=density, Om0=COSMOLOGY.Om0))
    lens.to(dtype=torch.float64)
    return lens


def halo(cosmology, z, mass, concentration, **more):
    from caustics import NFW

    return NFW(cosmology=cosmology, z_l=z, x0=0.0, y0=0.0, mass=mass, c=concentration, **more)


def galaxy(cosmology, **source):
    from caustics import PseudoJaffe

    mass = np.pi * SIGMA**2 * (CUT - CORE) * kpc_per_arcsec(Z) / G
    return PseudoJaffe(cosmology=cosmology, z_l=Z, x0=1.0, y0=-0.5, mass=mass, Rc=CORE, Rs=CUT, **source)


def shear(cosmology, **source):
    from caustics import ExternalShear

    return ExternalShear(cosmology=cosmology, z_l=Z, x0=0.0, y0=0.0, gamma_1=SHEAR[0], gamma_2=SHEAR[1], **source)


def our_halo(z, mass, concentration):
    made = nfw_halo(z, mass, concentration)
    return replace(made, parameters={**made.parameters, "alpha_Rs": made.parameters["alpha_Rs"] / TOO_HEAVY})


OURS = [
    our_halo(Z, *FRONT),
    dpie(Z, SIGMA, CORE, CUT, x=1.0, y=-0.5),
    external_shear(SHEAR[0] / ETA, SHEAR[1] / ETA),
]


@pytest.mark.parametrize(
    ("mass", "build"),
    [
        (OURS[0], lambda cosmology: halo(cosmology, Z, *FRONT, z_s=Z_SOURCE)),
        (OURS[1], lambda cosmology: galaxy(cosmology, z_s=Z_SOURCE)),
        (OURS[2], lambda cosmology: shear(cosmology, z_s=Z_SOURCE)),
    ],
    ids=["nfw", "dpie", "shear"],
)
def test_one_mass_bends_as_in_caustics(points, mass, build):
    expected = oracle(build).reduced_deflection_angle(*map(double, points))
    found = ETA * np.array(Lens(Z, [mass]).deflection(*points))
    size = np.hypot(*found)
    assert np.all(np.hypot(*(found - np.array([e.numpy() for e in expected]))) < RELATIVE * size)


def test_two_planes_bend_as_in_caustics(points):
    from caustics import Multiplane

    def build(cosmology):
        front = [halo(cosmology, Z, *FRONT, name="front"), galaxy(cosmology), shear(cosmology)]
        return Multiplane(
            cosmology=cosmology, lenses=[*front, halo(cosmology, Z_BACK, *BACK, name="back")], z_s=Z_SOURCE
        )

    expected = [b.numpy() for b in oracle(build).raytrace(*map(double, points))]
    planes = TwoPlanes(Lens(Z, OURS), Lens(Z_BACK, [our_halo(Z_BACK, *BACK)]), Z_SOURCE)
    found = np.array(points) - planes.deflection(*points)
    assert np.abs(found - expected).max() < ARCSEC
    # the second plane is no small correction
    alone = np.array(points) - ETA * np.array(planes.front.deflection(*points))
    assert np.abs(found - alone).max() > 1
