"""Masses drawn for a cluster of given redshift and richness: halo, central galaxy, members, shear."""

from typing import TYPE_CHECKING

import numpy as np
from colossus.halo.concentration import concentration
from colossus.halo.mass_adv import changeMassDefinitionCModel
from scipy.special import ndtri

from tandemlens.base.cosmology import COSMOLOGY, kpc_per_arcsec
from tandemlens.sky.cosmology import set_colossus
from tandemlens.sky.lens import Lens, dpie, external_shear, nfw_halo, project_prolate

if TYPE_CHECKING:
    from tandemlens.base.units import Number
    from tandemlens.sky.lens import Mass

#: M200m = 3.081e14 Msun at richness 40 and z = 0.35 (McClintock et al. 2019, abstract); scatter of ln M
_PIVOT_MASS, _PIVOT_RICHNESS, _PIVOT_Z = 3.081e14, 40.0, 0.35
RICHNESS_SLOPE, _Z_SLOPE, MASS_SCATTER = 1.356, -0.30, 0.25
#: scatter of log10 c (methods 16)
_CONCENTRATION_SCATTER = 0.16
#: short over long axis of prolate halos: mean, scatter, bounds (after Jing & Suto 2002)
_AXIS_RATIO = (0.55, 0.12, 0.35, 0.95)
#: offset of the halo from the central galaxy: log-normal, median in kpc and scatter of log10 (Zitrin et al. 2012, MNRAS
#: 426, 2944, abstract: 10^-1.895 Mpc/h, 0.501); its upper tenth, misidentified central galaxies there, is left out
_OFFSET_KPC, _OFFSET_SCATTER, _OFFSET_SHARE = 10**-1.895 * 1000 / COSMOLOGY.h, 0.501, 0.9
#: dPIE of the central galaxy: velocity dispersion (km/s) and cut (kpc), both uniform; cores are negligible
_BCG_SIGMA, _BCG_CUT_KPC = (250.0, 350.0), (40.0, 120.0)
#: of a member of luminosity L*: log-normal around these; sigma ~ L^0.35, cut ~ L^0.5 (methods 16)
_MEMBER_SIGMA, _MEMBER_SIGMA_SCATTER = 160.0, 0.12
_MEMBER_CUT_KPC, _MEMBER_CUT_SCATTER = 25.0, 0.3
_CORE_KPC = 0.05
_SHEAR = 0.02


def mass_of_richness(richness: "Number", z: "Number") -> "Number":
    """Mean M200m of clusters of a richness (McClintock et al. 2019, abstract).

    Parameters
    ----------
    richness, z : float or ndarray

    Returns
    -------
    float or ndarray, Msun
    """
    in_richness = (richness / _PIVOT_RICHNESS) ** RICHNESS_SLOPE
    return _PIVOT_MASS * in_richness * ((1 + z) / (1 + _PIVOT_Z)) ** _Z_SLOPE


def draw_lens(
    rng: np.random.Generator, z: float, richness: float, x: np.ndarray, y: np.ndarray, luminosity: np.ndarray
) -> tuple[Lens, dict[str, float]]:
    """A lens of cluster mass with all its scatter.

    Parameters
    ----------
    rng : numpy.random.Generator
    z, richness : float
    x, y : (n,) ndarray, arcsec
        Members, relative to the central galaxy at the origin.
    luminosity : (n,) ndarray
        In units of L*.

    Returns
    -------
    lens : Lens
    facts : dict of float
        m200c (Msun), c200c, q, area, sigma_bcg (km/s), offset (arcsec), shear.
    """
    halo, facts = _draw_halo(rng, z, richness)
    bcg = dpie(
        z,
        facts["sigma_bcg"],
        _CORE_KPC / kpc_per_arcsec(z),
        rng.uniform(*_BCG_CUT_KPC) / kpc_per_arcsec(z),
        _potential_ellipticity(facts["q"], facts["angle"]),
    )
    sigma = _MEMBER_SIGMA * np.exp(rng.normal(0, _MEMBER_SIGMA_SCATTER, len(x))) * np.asarray(luminosity) ** 0.35
    cut = _MEMBER_CUT_KPC * np.exp(rng.normal(0, _MEMBER_CUT_SCATTER, len(x))) * np.asarray(luminosity) ** 0.5
    members = [
        dpie(z, s, _CORE_KPC / kpc_per_arcsec(z), c / kpc_per_arcsec(z), (0.0, 0.0), px, py)
        for s, c, px, py in zip(sigma, np.maximum(cut, 10 * _CORE_KPC), x, y, strict=True)
    ]
    shear = rng.normal(0, _SHEAR, 2)
    facts["shear"] = float(np.hypot(*shear))
    return Lens(z, [halo, bcg, *members, external_shear(*shear)]), facts


def _draw_halo(rng: np.random.Generator, z: float, richness: float) -> "tuple[Mass, dict[str, float]]":
    set_colossus()
    h = COSMOLOGY.h
    # the relation gives the mean of M, which lies above its median
    mean = mass_of_richness(richness, z) * np.exp(rng.normal(-(MASS_SCATTER**2) / 2, MASS_SCATTER))
    mass, _, _ = changeMassDefinitionCModel(mean * h, z, "200m", "200c", c_model="diemer19")
    typical = concentration(mass, "200c", z, model="diemer19")
    c = float(typical) * 10 ** rng.normal(0, _CONCENTRATION_SCATTER)
    ratio = float(np.clip(rng.normal(*_AXIS_RATIO[:2]), *_AXIS_RATIO[2:]))
    q, area = project_prolate(ratio, np.arccos(rng.uniform()))
    angle, way = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    offset = _OFFSET_KPC * 10 ** (_OFFSET_SCATTER * ndtri(rng.uniform(0, _OFFSET_SHARE))) / kpc_per_arcsec(z)
    facts = {"m200c": float(mass) / h, "c200c": c, "q": float(q), "area": float(area), "angle": angle}
    facts |= {"offset": float(offset), "sigma_bcg": rng.uniform(*_BCG_SIGMA)}
    place = offset * np.cos(way), offset * np.sin(way)
    return nfw_halo(z, facts["m200c"], c, q, angle, *place, area=area), facts


def _potential_ellipticity(q: float, angle: float) -> tuple[float, float]:
    """The central galaxy follows the halo; a potential is rounder than its mass by a third (small ellipticities)."""
    size = (1 - q) / (1 + q) / 3
    return size * np.cos(2 * angle), size * np.sin(2 * angle)
