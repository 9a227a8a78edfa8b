"""One simulated line of sight: a cluster, perhaps another behind it, the field, and what the lens makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.interpolate import RectBivariateSpline

from tandemlens.base.cosmology import efficiency, kpc_per_arcsec
from tandemlens.base.errors import DataError
from tandemlens.sky.field import draw_field
from tandemlens.sky.halo import draw_lens
from tandemlens.sky.images import (
    critical_lines,
    eigenvalues,
    einstein_radius,
    lens_map,
    may_be_strong,
    point_images,
)
from tandemlens.sky.lens import DeflectionField, Lens
from tandemlens.sky.paint import SummedDeflection
from tandemlens.sky.planes import TwoPlanes
from tandemlens.sky.population import draw_centre, draw_members

if TYPE_CHECKING:
    from tandemlens.sky.lens import Mass
    from tandemlens.sky.paint import Canvas, Deflection, Galaxy
    from tandemlens.sky.site import SeenLight, Site
    from tandemlens.sky.spectra import Spectra

#: members fainter than this many L* bend light by less than a few hundredths of an arcsec
LEAST_MASSIVE = 0.1
#: a source is strongly lensed if multiply imaged, or magnified and stretched at least this much (DESIGN section 6)
_LEAST_GAIN, _LEAST_STRETCH = 3.0, 3.0
#: images fainter than this fraction of the source do not count as further ones
_LEAST_IMAGE = 0.5
#: by which rays bent outwards may leave the cutout on the plane of a second cluster, arcsec
_ROOM = 20.0
#: farther from the target than this a second cluster shifts what lies behind it, and adds no image, arcsec
_NEAR = 25.0
#: redshift for which critical lines are given where nothing tells which
_Z_FAR = 2.0
_IMAGES = ["source", "x", "y", "magnification"]


@dataclass
class Second:
    """A cluster behind the lens.

    Parameters
    ----------
    z, richness : float
    offset : float, arcsec
        Of its unlensed centre from the target.
    galaxies : list of Galaxy
        At their unlensed places.
    lens : Lens
        Its own mass, for what lies behind it.
    alpha, fine_alpha : (2, n, n) ndarray or None, arcsec
        Its deflection where the rays of a scene's grid, and of its canvases, meet it, for D_ls / D_s = 1, once known.
    """

    z: float
    richness: float
    offset: float
    galaxies: "list[Galaxy]"
    lens: Lens
    alpha: np.ndarray | None = None
    fine_alpha: np.ndarray | None = None

    def may_image(self, galaxy: "Galaxy") -> bool:
        """Whether its mass may add images to a galaxy, beyond shifting those of the lens."""
        return bool(galaxy.z > self.z and np.hypot(galaxy.x, galaxy.y) < _NEAR)


@dataclass
class Scene:
    """What a canvas holds before a system is painted on it, and what its lens does on the canvas's grids.

    Parameters
    ----------
    lens : Lens
    galaxies : list of Galaxy
        At their unlensed places; none where the canvas is a real image.
    facts : dict
        Draws of the halo.
    site : Site
    """

    lens: Lens
    galaxies: "list[Galaxy]"
    facts: dict[str, float]
    site: "Site"
    alpha: np.ndarray = field(init=False)
    fine_alpha: np.ndarray = field(init=False)
    #: what the lens makes of `galaxies`, once somebody has looked
    census: "tuple[pd.DataFrame, pd.DataFrame, dict[int, SeenLight]] | None" = None

    def __post_init__(self) -> None:
        bend = DeflectionField(self.lens, self.site.size / 2 + 1)
        fine = self.site.canvas().axis
        #: deflection for D_ls / D_s = 1 on the site's grid and on that of its canvases
        self.alpha = bend.on_grid(self.site.axis, self.site.axis)
        self.fine_alpha = bend.on_grid(fine, fine).astype(np.float32)

    def paint(self, canvas: "Canvas", galaxies: "list[Galaxy]", second: Second | None = None) -> list[float]:
        """Paint galaxies in front of, in and behind the lens.

        Parameters
        ----------
        canvas : Canvas
        galaxies : list of Galaxy
        second : Second, optional
            Its mass bends the light of what lies behind it.

        Returns
        -------
        list of float
            Light on the canvas over unlensed light, 1 in front of the lens.
        """
        gains = []
        for galaxy in galaxies:
            alpha, bend = self.bending(galaxy.z, second)
            gains.append(canvas.add_lensed(galaxy, alpha, bend) if bend > 0 else 1.0)
            if bend == 0:
                canvas.add(galaxy)
        return gains

    def bending(self, z: float, second: Second | None = None) -> "tuple[Deflection, float]":
        """Deflection of what lies at a redshift.

        Parameters
        ----------
        z : float
        second : Second, optional

        Returns
        -------
        alpha : (2, n, n) float32 ndarray or SummedDeflection, arcsec
            On the grid of the site's canvases, for D_ls / D_s = 1.
        efficiency : float
            D_ls / D_s; 0 in front of the lens.
        """
        bend = efficiency(self.lens.z, z)
        if bend == 0 or second is None or z <= second.z:
            return self.fine_alpha, bend
        _, more = self._meet(second)
        return SummedDeflection(self.fine_alpha, more, efficiency(second.z, z) / bend), bend

    def lensed_images(
        self, galaxies: "Sequence[Galaxy]", second: Second | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """How the lens shows galaxies: number of images, magnification, stretch, and whether that is strong lensing.

        Parameters
        ----------
        galaxies : sequence of Galaxy
        second : Second, optional

        Returns
        -------
        summary : pandas.DataFrame
            One row per galaxy: n_images, gain (sum of the magnifications), stretch (axis ratio of the brightest image
            of a round source) and strong. Images fainter than half the source do not count.
        images : pandas.DataFrame
            One row per image: source (position in `galaxies`), x, y (arcsec) and magnification, signed by parity.
        """
        bends = np.array([efficiency(self.lens.z, g.z) for g in galaxies])
        plain = {"n_images": 1, "gain": 1.0, "stretch": 1.0, "strong": False}
        summary = pd.DataFrame(plain, index=range(len(galaxies)))
        deep = np.array([second is not None and second.may_image(g) for g in galaxies], bool)
        parts = [self._images_of(self.lens, self.alpha, galaxies, np.flatnonzero((bends > 0) & ~deep), bends)]
        if second is not None:
            for k in map(int, np.flatnonzero(deep)):
                planes = TwoPlanes(self.lens, second.lens, galaxies[k].z)
                alpha = bends[k] * self.alpha + efficiency(second.z, galaxies[k].z) * self._meet(second)[0]
                parts.append(self._images_of(planes, alpha, galaxies, np.array([k]), np.ones(len(galaxies))))
        images = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
        behind = np.flatnonzero(bends > 0)
        summary.loc[behind, ["n_images", "gain", "stretch"]] = 0, 0.0, np.nan
        bright = images[np.abs(images["magnification"]) > _LEAST_IMAGE]
        seen = bright.groupby("source")
        summary.loc[list(seen.groups), "n_images"] = seen.size()
        summary.loc[list(seen.groups), "gain"] = bright["magnification"].abs().groupby(bright["source"]).sum()
        summary.loc[list(seen.groups), "stretch"] = seen["stretch"].first()
        stretched = (summary["gain"] > _LEAST_GAIN) & (summary["stretch"] >= _LEAST_STRETCH)
        summary["strong"] = (summary["n_images"] > 1) | stretched
        return summary, images[_IMAGES]

    def worth_a_look(self, galaxies: "Sequence[Galaxy]") -> "list[Galaxy]":
        """Galaxies behind the lens that may be strongly lensed, as far as the grid tells.

        Parameters
        ----------
        galaxies : sequence of Galaxy

        Returns
        -------
        list of Galaxy
        """
        bends = np.array([efficiency(self.lens.z, g.z) for g in galaxies])
        places = np.array([(g.x, g.y) for g in galaxies]).reshape(-1, 2)
        hopeful = may_be_strong(self.site.axis, self.alpha, self.slopes, bends, places, _LEAST_GAIN)
        return [g for g, keep in zip(galaxies, hopeful & (bends > 0), strict=True) if keep]

    @cached_property
    def slopes(self) -> np.ndarray:
        """Derivatives of the deflection on the site's grid, (4, n, n)."""
        return np.array([d for a in self.alpha for d in np.gradient(a, self.site.scale)])

    def curves(self, z: float) -> tuple[float, pd.DataFrame]:
        """Einstein radius and critical lines.

        Parameters
        ----------
        z : float
            Redshift of the sources; NaN takes 2.

        Returns
        -------
        radius : float, arcsec
        lines : pandas.DataFrame
            Columns line (number), kind (tangential or radial), x, y (arcsec).
        """
        bend, step = efficiency(self.lens.z, z if np.isfinite(z) else _Z_FAR), self.site.scale
        values = eigenvalues(self.alpha, step, bend)
        found = [critical_lines(value, self.site.axis) for value in values]
        lines = [line for of_kind in found for line in of_kind]
        kinds = np.repeat(["tangential", "radial"], [len(of_kind) for of_kind in found])
        length = [len(line) for line in lines]
        x, y = np.concatenate([np.zeros((0, 2)), *lines]).T
        number = np.repeat(np.arange(len(lines)), length)
        table = pd.DataFrame({"x": x, "y": y, "line": number, "kind": np.repeat(kinds, length)})
        return einstein_radius(values[0], step), table

    def _meet(self, second: Second) -> tuple[np.ndarray, np.ndarray]:
        """The deflection of a second cluster where the rays of the grids meet it, which is calculated once."""
        if second.alpha is not None and second.fine_alpha is not None:
            return second.alpha, second.fine_alpha
        axis, fine = self.site.axis, self.site.canvas().axis
        behind = DeflectionField(second.lens, self.site.size / 2 + _ROOM)
        second.alpha = TwoPlanes(self.lens, second.lens, second.z).second_on_grid(behind, axis, axis, self.alpha)
        splines = [RectBivariateSpline(axis, axis, a) for a in second.alpha]
        second.fine_alpha = np.array([s(fine, fine) for s in splines], np.float32)
        return second.alpha, second.fine_alpha

    def _images_of(
        self,
        lens: Lens | TwoPlanes,
        alpha: np.ndarray,
        galaxies: "Sequence[Galaxy]",
        chosen: np.ndarray,
        bends: np.ndarray,
    ) -> pd.DataFrame:
        """Images of some galaxies, those of one source together and the brightest first."""
        if not len(chosen):
            return pd.DataFrame({name: pd.Series(dtype=float) for name in [*_IMAGES, "stretch"]})
        places = np.array([(galaxies[k].x, galaxies[k].y) for k in chosen])
        owner, images, gains = point_images(lens, self.site.axis, alpha, bends[chosen], places)
        owner = chosen[owner]
        slopes = np.linalg.svdvals(lens_map(lens, bends[owner], images)).reshape(-1, 2)
        stretch = slopes[:, 0] / np.maximum(slopes[:, 1], 1e-6)
        columns = {"source": owner, "x": images[:, 0], "y": images[:, 1], "magnification": gains, "stretch": stretch}
        return pd.DataFrame(columns)


def draw_scene(
    rng: np.random.Generator, z: float, richness: float, site: "Site", spectra: "Spectra", faintest: float
) -> Scene:
    """Draw a cluster and the field around and behind it.

    Parameters
    ----------
    rng : numpy.random.Generator
    z, richness : float
    site : Site
    spectra : Spectra
    faintest : float, mag
        Of the field galaxies.

    Returns
    -------
    Scene
    """
    lens, galaxies, facts = draw_cluster(rng, z, richness, site, spectra)
    return Scene(lens, galaxies + draw_field(rng, site.size, spectra, faintest), facts, site)


def draw_cluster(
    rng: np.random.Generator, z: float, richness: float, site: "Site", spectra: "Spectra"
) -> "tuple[Lens, list[Galaxy], dict[str, float]]":
    """Draw the cluster in front.

    Parameters
    ----------
    rng, z, richness, site, spectra
        As for `draw_scene`.

    Returns
    -------
    lens : Lens
    galaxies : list of Galaxy
    facts : dict of float
        Draws of the halo.
    """
    members, luminosity = draw_members(rng, z, richness, site.size / 2 + 5, spectra, "member")
    heavy = luminosity > LEAST_MASSIVE
    x, y = (np.array([getattr(m, a) for m in members])[heavy] for a in "xy")
    lens, facts = draw_lens(rng, z, richness, x, y, luminosity[heavy])
    return lens, [*draw_centre(rng, z, spectra, "bcg", q=facts["q"], angle=facts["angle"]), *members], facts


def draw_second(
    rng: np.random.Generator, z: float, site: "Site", spectra: "Spectra", settings: dict[str, Any]
) -> Second:
    """Draw a second cluster: redshift uniform, richness by a power law, centre uniform in a circle around the first.

    Parameters
    ----------
    rng : numpy.random.Generator
    z : float
        Of the lens.
    site : Site
    spectra : Spectra
    settings : dict
        Section ``behind`` of a class.

    Returns
    -------
    Second

    Raises
    ------
    DataError
        With status cannot_paint, where no redshift is left behind the lens.
    """
    if settings["z_max"] <= z + settings["dz_min"]:
        raise DataError(
            "cannot_paint",
            f"behind.z_max {settings['z_max']} leaves no redshift behind a lens at {z:.3f} with dz_min "
            f"{settings['dz_min']}; raise z_max",
        )
    far = rng.uniform(z + settings["dz_min"], settings["z_max"])
    power = settings["richness_slope"] + 1
    low, high = (settings[f"richness_{end}"] ** power for end in ("min", "max"))
    richness = (low + rng.uniform() * (high - low)) ** (1 / power)
    offset = settings["offset_kpc"] * np.sqrt(rng.uniform()) / kpc_per_arcsec(z)
    way = rng.uniform(0, 2 * np.pi)
    centre = float(offset * np.cos(way)), float(offset * np.sin(way))
    galaxies, _ = draw_members(rng, far, richness, site.size / 2 + 5, spectra, "behind", centre)
    # intracluster light of the second cluster is too faint to matter
    galaxies.append(draw_centre(rng, far, spectra, "behind", centre)[0])
    mass, _ = draw_lens(rng, far, richness, *np.zeros((3, 0)))
    moved = [_moved(m, centre) for m in mass.masses if m.compact]
    return Second(far, richness, float(offset), galaxies, Lens(far, moved))


def _moved(mass: "Mass", centre: tuple[float, float]) -> "Mass":
    places = {f"center_{a}": mass.parameters[f"center_{a}"] + c for a, c in zip("xy", centre, strict=True)}
    return replace(mass, parameters={**mass.parameters, **places})
