"""Classes of simulated systems (DESIGN section 6): what is painted for each, its label and the reason.

A system is drawn again only until it is of the class that was asked for; nothing else is rejected. What it is of is
told by rule from all that lies on the canvas, the field included, whatever was asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.sky.artefacts import draw_artefact
from tandemlens.sky.field import draw_sources
from tandemlens.sky.population import draw_members
from tandemlens.sky.scene import Second, draw_second
from tandemlens.sky.shapes import draw_merger, draw_ring, draw_spiral
from tandemlens.survey.psf import fwhm

if TYPE_CHECKING:
    from tandemlens.sky.cosmos import Morphology
    from tandemlens.sky.paint import Galaxy
    from tandemlens.sky.scene import Scene
    from tandemlens.sky.site import SeenLight
    from tandemlens.sky.spectra import Spectra

    Census = tuple[pd.DataFrame, pd.DataFrame, dict[int, SeenLight]]

#: a tandem has at least this many strongly lensed members of one cluster behind, each of at least this ideal S/N
LEAST_MEMBERS, LEAST_SNR = 2, 5.0
#: contaminants: magnitudes in the anchor band, and how far in front of the cluster they may lie
_CONTAMINANT_MAG, _NEAREST = (16.5, 21.0), 0.03
#: a single source is drawn this far beyond the Einstein radius too, arcsec: galaxies have a size
_BEYOND = 1.5


@dataclass
class System:
    """What is painted on a canvas.

    Parameters
    ----------
    galaxies : list of Galaxy
        Beyond those of the scene, at their unlensed places.
    second : Second or None
        A cluster behind; its members are among `galaxies`.
    artefact : (str, ndarray, ndarray) or None
        From `draw_artefact`.
    found : str
        Class.
    why : str
    tries : int
    census : pandas.DataFrame
        One row per galaxy of scene and system, as from `Scene.lensed_images`, with snr of the strongly lensed ones.
    images : pandas.DataFrame
        Of the strongly lensed ones; `source` counts rows of `census`.
    lights : dict
        Row of `census` -> light of a strongly lensed one, and the window that holds it (`Site.lensed_light`).
    """

    galaxies: "list[Galaxy]"
    second: Second | None = None
    artefact: tuple[str, np.ndarray, np.ndarray] | None = None
    found: str = "members"
    why: str = ""
    tries: int = 1
    census: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: pd.DataFrame = field(default_factory=pd.DataFrame)
    lights: dict[int, "SeenLight"] = field(default_factory=dict)


class Painter:
    """Draws systems of every class.

    Parameters
    ----------
    spectra : Spectra
    settings : dict
        Section ``simulate`` of a sample.
    shapes : list of Morphology
        Of lensed sources; empty takes Sersic profiles.
    """

    def __init__(self, spectra: "Spectra", settings: dict[str, Any], shapes: "Sequence[Morphology]" = ()) -> None:
        self._spectra, self._settings, self._shapes = spectra, settings, list(shapes)

    def draw(self, rng: np.random.Generator, scene: "Scene", wanted: str) -> System:
        """A system of the class that is wanted, or after the last try the canvas as it is.

        Parameters
        ----------
        rng : numpy.random.Generator
        scene : Scene
        wanted : str
            One of `tandemlens.base.samples.CLASSES`.

        Returns
        -------
        System

        Raises
        ------
        DataError
            With status cannot_paint, where no redshift is left behind the lens.
        """
        attempt = {
            "tandem": self._two_clusters,
            "projected": self._two_clusters,
            "single_arc": self._one_source,
            "members": self._members,
            "spiral_ring_merger": self._contaminant,
            "artefact": self._artefact,
        }[wanted]
        for tries in range(1, self._settings["tries"] + 1):
            system = attempt(rng, scene, wanted)
            if system is not None:
                return classed(scene, replace(system, tries=tries))
        return classed(scene, System([], tries=self._settings["tries"]))

    def _two_clusters(self, rng: np.random.Generator, scene: "Scene", wanted: str) -> System | None:
        second = draw_second(rng, scene.lens.z, scene.site, self._spectra, self._settings[wanted]["behind"])
        second.galaxies = [self._shaped(rng, g) for g in second.galaxies]
        right = (seen_members(scene, second) >= LEAST_MEMBERS) == (wanted == "tandem")
        return System(second.galaxies, second) if right else None

    def _one_source(self, rng: np.random.Generator, scene: "Scene", wanted: str) -> System | None:
        z_max = self._settings[wanted]["z_max"]
        source = self._shaped(rng, draw_sources(rng, 1, scene.lens.z, z_max, self._spectra)[0])
        radius = scene.curves(source.z)[0] + _BEYOND
        place = radius * np.sqrt(rng.uniform()) * np.exp(2j * np.pi * rng.uniform())
        source = replace(source, kind="source", x=place.real, y=place.imag)
        strong = scene.lensed_images([source])[0]["strong"].iloc[0]
        return System([source]) if strong and _snr(scene, source) > LEAST_SNR else None

    def _members(self, rng: np.random.Generator, scene: "Scene", wanted: str) -> System:
        count = 1 + rng.poisson(max(self._settings[wanted]["count"] - 1, 0))
        galaxies: list[Galaxy] = []
        while len(galaxies) < count:
            more, _ = draw_members(rng, scene.lens.z, 40.0, scene.site.size / 2, self._spectra, "added")
            galaxies += [more[k] for k in rng.permutation(len(more))[: count - len(galaxies)]]
        return System(galaxies)

    def _contaminant(self, rng: np.random.Generator, scene: "Scene", wanted: str) -> System:
        draw = (draw_spiral, draw_ring, draw_merger)[rng.integers(3)]
        radius = min(self._settings[wanted]["radius_arcsec"], scene.site.size / 2)
        place = radius * np.sqrt(rng.uniform()) * np.exp(2j * np.pi * rng.uniform())
        z = rng.uniform(min(_NEAREST, scene.lens.z), scene.lens.z)
        return System(draw(rng, z, rng.uniform(*_CONTAMINANT_MAG), self._spectra, place.real, place.imag))

    def _artefact(self, rng: np.random.Generator, scene: "Scene", wanted: str) -> System:
        site = scene.site
        widths = [fwhm(psf) * site.scale / 2 if psf.any() else 1.0 for psf in site.fine_psf]
        sigma = np.where(np.isfinite(site.sigma), site.sigma, 0.0)
        return System([], artefact=draw_artefact(rng, site.side, site.scale, sigma, np.array(widths)))

    def _shaped(self, rng: np.random.Generator, galaxy: "Galaxy") -> "Galaxy":
        """A lensed source with the shape of a real galaxy, where there are any."""
        if not self._shapes:
            return galaxy
        shape = self._shapes[rng.integers(len(self._shapes))]
        return replace(galaxy, picture=shape.sized(galaxy.r_e * np.sqrt(galaxy.q)))


def seen_members(scene: "Scene", second: Second) -> int:
    """Number of members of a second cluster that are strongly lensed and seen.

    Parameters
    ----------
    scene : Scene
    second : Second

    Returns
    -------
    int
        0 where fewer than two are strongly lensed, whatever is seen of one.
    """
    hopeful = scene.worth_a_look(second.galaxies)
    if len(hopeful) < LEAST_MEMBERS:
        return 0
    strong = scene.lensed_images(hopeful)[0]["strong"].to_numpy()
    chosen = [g for g, s in zip(hopeful, strong, strict=True) if s]
    return sum(_snr(scene, g) > LEAST_SNR for g in chosen) if len(chosen) >= LEAST_MEMBERS else 0


def classed(scene: "Scene", system: System) -> System:
    """A system with its class and the reason, from a census of all that is lensed.

    Parameters
    ----------
    scene : Scene
    system : System

    Returns
    -------
    System
    """
    galaxies = [*scene.galaxies, *system.galaxies]
    census, images, lights = _census(scene, system)
    seen = (census["snr"] > LEAST_SNR).to_numpy()
    behind = np.array([g.kind == "behind" for g in galaxies], bool)
    members, others = int((seen & behind).sum()), int((seen & ~behind).sum())
    why = f"strongly lensed above S/N {LEAST_SNR:g}: {members} members of a second cluster, {others} others"
    return replace(system, found=_rule(system, members, others), why=why, census=census, images=images, lights=lights)


def _census(scene: "Scene", system: System) -> "Census":
    """What the lens makes of all galaxies, with the S/N and light of the strongly lensed ones, and their images."""
    first, own = _of_the_scene(scene, system.second), _with_snr(scene, system.galaxies, system.second)
    start = len(scene.galaxies)
    lights = first[2] | {start + k: light for k, light in own[2].items()}
    images = [first[1], own[1].assign(source=own[1]["source"] + start)]
    images = pd.concat([part for part in images if len(part)] or images[:1], ignore_index=True)
    return pd.concat([first[0], own[0]], ignore_index=True), images, lights


def _of_the_scene(scene: "Scene", second: Second | None) -> "Census":
    """The census of the galaxies of a scene: looked at once, but for those that a second mass may image anew."""
    if scene.census is None:
        scene.census = _with_snr(scene, scene.galaxies)
    if second is None:
        return scene.census
    galaxies, (census, images, lights) = scene.galaxies, scene.census
    moved = [k for k, g in enumerate(galaxies) if second.may_image(g)]
    again, more, seen = _with_snr(scene, [galaxies[k] for k in moved], second)
    census = pd.concat([census.drop(index=moved), again.set_axis(moved)]).sort_index()
    more = more.assign(source=np.array(moved, int)[more["source"]])
    images = pd.concat([part for part in (images[~images["source"].isin(moved)], more) if len(part)] or [images[:0]])
    lights = {k: v for k, v in lights.items() if k not in moved} | {moved[k]: v for k, v in seen.items()}
    # farther out it shifts what lies behind it
    for k in lights:
        if galaxies[k].z > second.z and k not in moved:
            lights[k] = _light(scene, galaxies[k], second)
            census.loc[k, "snr"] = scene.site.ideal_snr(lights[k][0])
    return census, images, lights


def _with_snr(scene: "Scene", galaxies: "list[Galaxy]", second: Second | None = None) -> "Census":
    census, images = scene.lensed_images(galaxies, second)
    lights = {k: _light(scene, galaxies[k], second) for k in map(int, np.flatnonzero(census["strong"]))}
    census["snr"] = pd.Series({k: scene.site.ideal_snr(light) for k, (light, _) in lights.items()}, dtype=float)
    return census, images[images["source"].isin(lights)], lights


def _rule(system: System, members: int, others: int) -> str:
    if system.artefact is not None:
        return "artefact"
    if any(g.kind in ("spiral", "ring", "merger") for g in system.galaxies):
        return "spiral_ring_merger"
    if members >= LEAST_MEMBERS:
        return "tandem"
    if system.second is not None:
        return "projected"
    return "single_arc" if others else "members"


def _light(scene: "Scene", galaxy: "Galaxy", second: Second | None = None) -> "SeenLight":
    return scene.site.lensed_light(galaxy, *scene.bending(galaxy.z, second))


def _snr(scene: "Scene", galaxy: "Galaxy") -> float:
    """Ideal S/N of a lensed galaxy."""
    return scene.site.ideal_snr(_light(scene, galaxy)[0])
