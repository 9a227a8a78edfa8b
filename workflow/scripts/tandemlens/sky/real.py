"""The lens of a real cutout: a halo on the target, and the mass of the galaxies that are seen on the red sequence."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import sep

from tandemlens.base.galaxies import star_magnitude
from tandemlens.base.units import njy_per_unit
from tandemlens.features.sequence import SCATTER, TEMPLATE_ERROR
from tandemlens.sky.halo import draw_lens
from tandemlens.sky.scene import LEAST_MASSIVE, Scene

if TYPE_CHECKING:
    from tandemlens.base.stack import Cutout
    from tandemlens.sky.site import Site
    from tandemlens.sky.spectra import Spectra

#: detection threshold in sigma; only galaxies far brighter than that carry mass worth a profile
_THRESHOLD = 5.0
#: a member is this close to the sequence, in units of its scatter and the template's error
_NEAR = 3.0
#: the central galaxy has its own profile, arcsec
_CENTRE = 2.0
#: a galaxy brighter than this many L* is a star or in front, whatever its colour
_BRIGHTEST = 8.0


def real_scene(
    rng: np.random.Generator, z: float, richness: float, cutout: "Cutout", site: "Site", spectra: "Spectra"
) -> Scene:
    """The line of sight of a real cutout.

    Parameters
    ----------
    rng : numpy.random.Generator
    z, richness : float
        Of the cluster, whose centre is the target.
    cutout : Cutout
    site : Site
        Of that cutout.
    spectra : Spectra
        Tells the colours of the red sequence at z.

    Returns
    -------
    Scene
        Without galaxies: those of the sky are on the image already.
    """
    x, y, luminosity = _seen_members(z, cutout, site, spectra)
    lens, facts = draw_lens(rng, z, richness, x, y, luminosity)
    return Scene(lens, [], facts, site)


def _seen_members(
    z: float, cutout: "Cutout", site: "Site", spectra: "Spectra"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (arcsec) and luminosities (L*) of galaxies on the red sequence at z."""
    usable = np.flatnonzero(cutout.usable())
    anchor = usable[np.argmin(np.abs(usable - spectra.anchor))]
    image = np.ascontiguousarray(cutout.flux[anchor], np.float32)
    bad = cutout.mask[anchor] != 0
    found = sep.extract(image, _THRESHOLD * site.sigma[anchor], mask=bad, minarea=9, deblend_cont=0.001)
    radius = 2.5 * found["a"] * np.sqrt(found["b"] / np.maximum(found["a"], 1e-6)) + 2
    red = spectra.flux("elliptical", z, 0.0, np.zeros(spectra.n_band - 1))
    flux, near = {}, np.ones(len(found), bool)
    for k in usable:
        moved = site.shift[k] - site.shift[anchor]
        band = np.ascontiguousarray(cutout.flux[k], np.float32)
        place = found["x"] + moved[0], found["y"] + moved[1]
        flux[k] = sep.sum_circle(band, *place, radius, mask=cutout.mask[k] != 0)[0]
    for a, b in pairwise(usable):
        colour = -2.5 * np.log10(np.maximum(flux[a], 1e-3) / np.maximum(flux[b], 1e-3))
        near &= np.abs(colour + 2.5 * np.log10(red[a] / red[b])) < _NEAR * np.hypot(SCATTER, TEMPLATE_ERROR)
    magnitude = -2.5 * np.log10(np.maximum(flux[anchor], 1e-3) / njy_per_unit(0.0))
    luminosity = 10 ** (0.4 * (star_magnitude(z) - magnitude))
    middle = (site.side - 1) / 2 + site.shift[anchor]
    x, y = ((found[n] - m) * site.scale for n, m in zip("xy", middle, strict=True))
    keep = near & (luminosity > LEAST_MASSIVE) & (luminosity < _BRIGHTEST) & (np.hypot(x, y) > _CENTRE)
    return x[keep], y[keep], luminosity[keep]
