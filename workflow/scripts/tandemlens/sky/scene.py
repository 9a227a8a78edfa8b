"""One simulated line of sight: a cluster, perhaps another behind it, the field, and what the lens makes of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tandemlens.base.cosmology import efficiency, kpc_per_arcsec
from tandemlens.sky.halo import draw_lens
from tandemlens.sky.images import eigenvalues, einstein_radius, lens_map, point_images
from tandemlens.sky.lens import DeflectionField
from tandemlens.sky.population import draw_centre, draw_field, draw_members

#: members fainter than this many L* bend light by less than a few hundredths of an arcsec
_LEAST_MASSIVE = 0.1
#: a second cluster behind: least step in redshift, farthest redshift, richness with its slope, farthest offset
_STEP_Z, _FARTHEST_Z = 0.15, 1.4
_RICHNESS_BEHIND, _RICHNESS_SLOPE = (15.0, 120.0), -2.5
_FARTHEST_KPC = 150.0
#: a source is strongly lensed if multiply imaged, or magnified and stretched at least this much (DESIGN section 6)
_LEAST_GAIN, _LEAST_STRETCH = 3.0, 3.0
#: images fainter than this fraction of the source do not count as further ones
_LEAST_IMAGE = 0.5


@dataclass
class Scene:
    """What a line of sight holds.

    Parameters
    ----------
    lens : Lens
    galaxies : list of Galaxy
        Places are unlensed ones.
    field : DeflectionField
    facts : dict
        Draws of the halo, ``z_behind``, ``richness_behind``, ``offset_behind`` (NaN without a second cluster).
    """

    lens: object
    galaxies: list
    field: object
    facts: dict


def draw_scene(rng, z, richness, behind, size, spectra):
    """Draw a line of sight.

    Parameters
    ----------
    rng : numpy.random.Generator
    z, richness : float
        Of the cluster in front.
    behind : bool
        Whether a second cluster lies behind it; its redshift is uniform up to 1.4, its richness follows a power law of
        slope -2.5 from 15 to 120, its centre is uniform in a circle of 150 kpc around the first.
    size : float, arcsec
        Side of the cutout.
    spectra : Spectra

    Returns
    -------
    Scene
    """
    reach = size / 2 + 5
    members, luminosity = draw_members(rng, z, richness, reach, spectra, "member")
    heavy = luminosity > _LEAST_MASSIVE
    x, y = (np.array([getattr(m, a) for m in members])[heavy] for a in "xy")
    lens, facts = draw_lens(rng, z, richness, x, y, luminosity[heavy])
    galaxies = [*draw_centre(rng, z, spectra, "bcg", q=facts["q"], angle=facts["angle"]), *members]
    facts |= {"z_behind": np.nan, "richness_behind": np.nan, "offset_behind": np.nan}
    if behind:
        second, more = _draw_behind(rng, z, reach, spectra)
        galaxies += second
        facts |= more
    galaxies += draw_field(rng, size, spectra)
    return Scene(lens, galaxies, DeflectionField(lens, size / 2 + 1), facts)


def critical_radius(scene, axis, alpha):
    """Einstein radius of a scene for the redshift of the second cluster, else for z = 2.

    Parameters
    ----------
    scene, axis, alpha
        As for `lensed_images`.

    Returns
    -------
    float, arcsec
    """
    behind = scene.facts["z_behind"]
    bend = efficiency(scene.lens.z, behind if np.isfinite(behind) else 2.0)
    step = axis[1] - axis[0]
    return einstein_radius(eigenvalues(alpha, step, bend)[0], step)


def lensed_images(scene, galaxies, axis, alpha):
    """How a lens shows galaxies: number of images, magnification, stretch, and whether that is strong lensing.

    Parameters
    ----------
    scene : Scene
    galaxies : sequence of Galaxy
    axis : (n,) ndarray, arcsec
        Grid both ways on which images are looked for.
    alpha : (2, n, n) ndarray, arcsec
        Deflection on it for D_ls / D_s = 1.

    Returns
    -------
    pandas.DataFrame
        One row per galaxy: n_images, gain (sum of the magnifications), stretch (axis ratio of the brightest image of a
        round source) and strong. Images fainter than half the source do not count.
    """
    bends = np.array([efficiency(scene.lens.z, g.z) for g in galaxies])
    found = pd.DataFrame({"n_images": 1, "gain": 1.0, "stretch": 1.0, "strong": False}, index=range(len(galaxies)))
    behind = np.flatnonzero(bends > 0)
    if not len(behind):
        return found
    places = np.array([(galaxies[k].x, galaxies[k].y) for k in behind])
    owner, images, gains = point_images(scene.lens, axis, alpha, bends[behind], places)
    bright = np.abs(gains) > _LEAST_IMAGE
    owner, images, gains = behind[owner[bright]], images[bright], np.abs(gains[bright])
    found.loc[behind, ["n_images", "gain", "stretch"]] = 0, 0.0, np.nan
    if not len(owner):
        return found
    number = np.bincount(owner, minlength=len(galaxies))
    total = np.bincount(owner, gains, len(galaxies))
    seen, first = np.unique(owner, return_index=True)
    slopes = np.linalg.svd(lens_map(scene.lens, bends[seen], images[first]), compute_uv=False)
    found.loc[seen, "n_images"], found.loc[seen, "gain"] = number[seen], total[seen]
    found.loc[seen, "stretch"] = slopes[:, 0] / np.maximum(slopes[:, 1], 1e-6)
    stretched = (found["gain"] > _LEAST_GAIN) & (found["stretch"] >= _LEAST_STRETCH)
    found["strong"] = (found["n_images"] > 1) | stretched
    return found


def _draw_behind(rng, z, reach, spectra):
    far = rng.uniform(z + _STEP_Z, max(_FARTHEST_Z, z + 2 * _STEP_Z))
    low, high = (r ** (_RICHNESS_SLOPE + 1) for r in _RICHNESS_BEHIND)
    richness = (low + rng.uniform() * (high - low)) ** (1 / (_RICHNESS_SLOPE + 1))
    offset = _FARTHEST_KPC * np.sqrt(rng.uniform()) / kpc_per_arcsec(z)
    way = rng.uniform(0, 2 * np.pi)
    centre = np.array([offset * np.cos(way), offset * np.sin(way)])
    galaxies, _ = draw_members(rng, far, richness, reach, spectra, "behind", centre)
    # intracluster light of the second cluster is too faint to matter
    galaxies.append(draw_centre(rng, far, spectra, "behind", tuple(centre))[0])
    return galaxies, {"z_behind": far, "richness_behind": richness, "offset_behind": offset}
