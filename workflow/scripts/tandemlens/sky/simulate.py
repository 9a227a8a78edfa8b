"""Shards of simulated cutouts: whole skies as a survey would deliver them, or systems painted into its images."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.columns import curves, fetch, images, systems, truth
from tandemlens.base.columns.registry import expand
from tandemlens.base.errors import DataError
from tandemlens.base.samples import CLASSES, release_name
from tandemlens.base.stack import read_stack, write_stack
from tandemlens.base.stage import run_targets, target_rng
from tandemlens.base.tables import empty_frame, read_table, write_table
from tandemlens.features.sequence import survey_bands
from tandemlens.image.extinction import asked_reddening, reddening, transmission
from tandemlens.sky.classes import LEAST_SNR, Painter
from tandemlens.sky.cosmos import read_cosmos
from tandemlens.sky.real import real_scene
from tandemlens.sky.scene import Scene, draw_scene
from tandemlens.sky.site import Telescope, inject, site_of
from tandemlens.sky.spectra import Spectra

if TYPE_CHECKING:
    from tandemlens.base.stack import Cutout, StackWriter
    from tandemlens.sky.classes import System
    from tandemlens.sky.paint import Canvas, Galaxy

log = logging.getLogger("tandemlens")
#: what a target without them gets
_REDSHIFTS, _RICHNESS = (0.2, 0.6), 40.0
#: field galaxies are drawn this much fainter than the depth of a point source, mag
_BEYOND_DEPTH = 1.0
_CANVAS_STREAM = 7


def render_shard(
    targets: pd.DataFrame,
    cfg: dict[str, Any],
    seds: dict[str, str],
    outputs: dict[str, str],
    progress: Callable[[int, int], None],
) -> None:
    """Render the cutouts of a shard.

    Parameters
    ----------
    targets : pandas.DataFrame
        Rows of the target table.
    cfg : dict
        ``survey`` (as checked by ``survey.schema.yaml``), ``bands``, ``size_arcsec``, ``seed``, ``ebv_map``,
        ``extinction`` (A over E(B-V) of every band) and ``simulate``, the section of the sample. Every canvas and every
        system draws from its own generator of the seed and its name, whatever its neighbours.
    seds : dict of str
        Name of a galaxy spectrum -> path.
    outputs : dict of str
        Paths ``stack``, ``table``, ``systems``, ``truth``, ``images`` and ``curves``.
    progress : callable
    """
    telescope = Telescope(cfg["survey"], cfg["bands"], cfg["size_arcsec"])
    shard = _Shard(targets, cfg, seds)

    def open_canvas(canvas_id: str, target: Mapping[str, Any], rng: np.random.Generator) -> _Canvas:
        site, facts = telescope.site(rng, shard.dim(target))
        z, richness = lens_facts(target, rng)
        faintest = max(facts[f"depth_{b}"] for b in cfg["bands"]) + _BEYOND_DEPTH
        scene = draw_scene(rng, z, richness, site, shard.spectra, faintest)
        return _Canvas(scene, facts, richness)

    def observe(
        canvas: _Canvas, clean: np.ndarray, saturated: np.ndarray, target: Mapping[str, Any], rng: np.random.Generator
    ) -> "tuple[Cutout, dict[str, Any]]":
        return telescope.observe(canvas.scene.site, clean, saturated, target["ra"], target["dec"], rng)

    with write_stack(outputs["stack"], cfg["bands"], (telescope.side, telescope.side), telescope.psf_size) as stack:
        status = shard.run(stack, open_canvas, observe, progress)
    facts: dict[str, Any] = {
        "bytes": 0,
        "sha256": "",
        "files": "[]",
        "tries": 0,
        "psf_source": "survey",
        "n_psf_stars": 0,
    }
    facts |= {"psf_quality": np.nan, "noise_ratio": np.nan}
    rows = [
        {"target_id": row.target_id, "band": band, "status": row.status, "reason": row.reason, **facts}
        | {"psf_fwhm": shard.facts(row.target_id, f"fwhm_{band}"), "coverage": shard.coverage(row.target_id, k)}
        for row in status.itertuples()
        for k, band in enumerate(cfg["bands"])
    ]
    shard.write(outputs, pd.DataFrame(rows), release_name(cfg["survey"]["release"], "simulated"))


def inject_shard(
    targets: pd.DataFrame,
    canvases_path: str,
    fetched_path: str,
    cfg: dict[str, Any],
    seds: dict[str, str],
    outputs: dict[str, str],
    progress: Callable[[int, int], None],
    dust_path: str | None = None,
) -> None:
    """Paint systems into the fetched cutouts of a shard.

    Parameters
    ----------
    targets, cfg, seds, outputs, progress
        As for `render_shard`.
    canvases_path, fetched_path : str
        cutouts.h5 and fetch.parquet of the canvases.
    dust_path : str, optional
        dust.parquet, where the dust service was asked.
    """
    shard, fetched = _Shard(targets, cfg, seds), read_table(fetched_path)
    asked = asked_reddening(dust_path)
    with read_stack(canvases_path) as canvases:
        index = {t: k for k, t in enumerate(canvases.target_ids)}

        def open_canvas(canvas_id: str, target: Mapping[str, Any], rng: np.random.Generator) -> _Canvas:
            if canvas_id not in index:
                raise DataError("fetch_failed", f"canvas {canvas_id} was not fetched; fetch.parquet says why")
            cutout = canvases[index[canvas_id]]
            dim = shard.dim(target, asked.get(target["target_id"], np.nan))
            site = site_of(cutout, target["ra"], target["dec"], cfg["survey"], canvas_id, dim)
            z, richness = lens_facts(target, rng)
            scene = real_scene(rng, z, richness, cutout, site, shard.spectra)
            return _Canvas(scene, {}, richness, cutout)

        def observe(
            canvas: _Canvas,
            clean: np.ndarray,
            saturated: np.ndarray,
            target: Mapping[str, Any],
            rng: np.random.Generator,
        ) -> "tuple[Cutout, dict[str, Any]]":
            assert canvas.cutout is not None  # as opened above
            return inject(canvas.scene.site, canvas.cutout, clean, saturated, rng), {}

        with write_stack(outputs["stack"], cfg["bands"], canvases.shape, canvases.psf_size) as stack:
            status = shard.run(stack, open_canvas, observe, progress)
    rows = targets[["target_id", "canvas"]].merge(fetched.rename(columns={"target_id": "canvas"}), on="canvas")
    rows = rows.drop(columns="canvas").merge(status, on="target_id", suffixes=("", "_paint"))
    late = (rows["status_paint"] != "ok") & (rows["status"] == "ok")
    rows.loc[late, "status"], rows.loc[late, "reason"] = rows["status_paint"][late], rows["reason_paint"][late]
    shard.write(outputs, rows, release_name(cfg["survey"]["release"], "injected"))


@dataclass
class _Canvas:
    """A line of sight before a system is painted on it."""

    scene: Scene
    facts: dict[str, Any]
    richness: float
    cutout: "Cutout | None" = None

    def __post_init__(self) -> None:
        site, lens = self.scene.site, self.scene.lens
        #: galaxies that no lens bends look the same in every system
        self.front = [not g.z > lens.z for g in self.scene.galaxies]
        self.plain = site.canvas()
        self.scene.paint(self.plain, [g for g, f in zip(self.scene.galaxies, self.front, strict=True) if f])
        centre = site.canvas()
        self.scene.paint(centre, [g for g in self.scene.galaxies if g.kind in ("bcg", "icl")])
        #: light of the central galaxy alone, what arcs are blended with
        self.centre = site.expose(centre) if self.scene.galaxies else None

    @cached_property
    def bent(self) -> "tuple[Canvas, list[float]]":
        """The canvas with all galaxies of the scene as the lens alone bends them, and their gains behind it."""
        drawing = self.scene.site.canvas()
        drawing.planes[:] = self.plain.planes
        return drawing, self.scene.paint(drawing, self.behind)

    @property
    def behind(self) -> "list[Galaxy]":
        """Galaxies of the scene that lie behind the lens."""
        return [g for g, f in zip(self.scene.galaxies, self.front, strict=True) if not f]


class _Shard:
    """The systems of a shard, and the tables of what was drawn for them."""

    def __init__(self, targets: pd.DataFrame, cfg: dict[str, Any], seds: dict[str, str]) -> None:
        self.cfg = cfg
        # twins follow each other, so that only one canvas is held at a time
        self._targets = targets.sort_values(["canvas", "target_id"]).set_index("target_id", drop=False)
        self.spectra = Spectra(seds, survey_bands(cfg["survey"], cfg["bands"]))
        simulate = cfg["simulate"]
        shapes, refused = read_cosmos(simulate["cosmos"]) if simulate["cosmos"] else ([], [])
        for sentence in refused:
            log.warning(sentence)
        self._painter = Painter(self.spectra, simulate, shapes)
        names = [name for name in CLASSES if name in simulate]
        self._names, shares = names, np.array([simulate[n]["share"] for n in names], float)
        self._shares = shares / shares.sum()
        self._rows: dict[str, dict[str, Any]] = {}
        self._tables: dict[str, list[pd.DataFrame]] = {"truth": [], "images": [], "curves": []}
        self._coverage: dict[str, np.ndarray] = {}

    def dim(self, target: Mapping[str, Any], service: float = np.nan) -> np.ndarray:
        """What the dust leaves of painted light, by the E(B-V) that its measurement will be corrected for."""
        ebv, _ = reddening(target["ra"], target["dec"], target["ebv"], self.cfg["ebv_map"], service)
        return transmission(ebv, self.cfg["extinction"])

    def run(
        self,
        stack: "StackWriter",
        open_canvas: Callable[[str, Mapping[str, Any], np.random.Generator], "_Canvas"],
        observe: "Callable[..., tuple[Cutout, dict[str, Any]]]",
        progress: Callable[[int, int], None],
    ) -> pd.DataFrame:
        """Paint every system; a canvas or system that cannot be becomes a row."""
        held: dict[str, _Canvas] = {}

        def work(index: int, target_id: str) -> None:
            target, seed = self._targets.loc[target_id], self.cfg["seed"]
            canvas_id = target["canvas"]
            if canvas_id not in held:
                held.clear()
                held[canvas_id] = open_canvas(canvas_id, target, target_rng(canvas_id, seed, _CANVAS_STREAM))
            canvas, rng = held[canvas_id], target_rng(target_id, seed)
            wanted = target["wanted"] or str(rng.choice(self._names, p=self._shares))
            system = self._painter.draw(rng, canvas.scene, wanted)
            clean, saturated, gains = self._expose(canvas, system)
            cutout, facts = observe(canvas, clean, saturated, target, rng)
            stack.append(target_id, cutout)
            self._coverage[target_id] = (cutout.mask == 0).mean((1, 2))
            self._note(target_id, wanted, canvas, system, gains, facts)

        return run_targets(list(self._targets["target_id"]), work, progress)

    def facts(self, target_id: str, name: str) -> float:
        """A fact of the site of a system; NaN where it was not drawn."""
        return self._rows.get(target_id, {}).get(name, np.nan)

    def coverage(self, target_id: str, band: int) -> float:
        """Fraction of valid pixels of a band."""
        return float(self._coverage[target_id][band]) if target_id in self._coverage else 0.0

    def write(self, outputs: dict[str, str], fetched: pd.DataFrame, release: str) -> None:
        """Write the tables of the shard."""
        fetched = fetched.assign(release=release)
        write_table(outputs["table"], fetched.reindex(columns=[c.name for c in fetch.COLUMNS]), fetch.COLUMNS)
        for name, module in (("truth", truth), ("images", images), ("curves", curves)):
            columns = expand(module.COLUMNS, self.cfg["bands"])
            parts = [p for p in self._tables[name] if len(p)]
            frame = pd.concat(parts, ignore_index=True) if parts else empty_frame(columns)
            write_table(outputs[name], frame[[c.name for c in columns]], columns)
        columns = expand(systems.COLUMNS, self.cfg["bands"])
        frame = pd.DataFrame(list(self._rows.values()), columns=[c.name for c in columns])
        write_table(outputs["systems"], frame, columns)

    @staticmethod
    def _expose(canvas: "_Canvas", system: "System") -> tuple[np.ndarray, np.ndarray, list[float]]:
        scene, drawing = canvas.scene, canvas.scene.site.canvas()
        # systems without a second mass share what the lens makes of the field
        if system.second is None:
            common, lensed = canvas.bent
            drawing.planes[:] = common.planes
        else:
            drawing.planes[:] = canvas.plain.planes
            lensed = scene.paint(drawing, canvas.behind, system.second)
        lensed = iter(lensed)
        gains = [1.0 if front else next(lensed) for front in canvas.front]
        gains += scene.paint(drawing, system.galaxies, system.second)
        clean = scene.site.expose(drawing)
        flags = np.zeros(clean.shape, bool)
        if system.artefact is not None:
            _, added, flags = system.artefact
            clean = clean + added
        return clean, flags, gains

    def _note(
        self,
        target_id: str,
        wanted: str,
        canvas: "_Canvas",
        system: "System",
        gains: list[float],
        facts: dict[str, Any],
    ) -> None:
        scene, second = canvas.scene, system.second
        z = second.z if second else next((g.z for g in system.galaxies if g.kind == "source"), np.nan)
        radius, lines = scene.curves(z)
        galaxies = [*scene.galaxies, *system.galaxies]
        row = {"target_id": target_id, "canvas": self._targets.loc[target_id, "canvas"], "wanted": wanted}
        row |= {"class": system.found, "label": system.found == "tandem", "why": system.why, "tries": system.tries}
        row |= {"z": scene.lens.z, "richness": canvas.richness, **scene.facts, **canvas.facts, **facts}
        row |= {"z_source": z, "theta_e": radius, "richness_behind": second.richness if second else np.nan}
        row |= {"offset_behind": second.offset if second else np.nan}
        row |= {"artefact": system.artefact[0] if system.artefact else ""}
        self._rows[target_id] = row | self._ideal(canvas, system, galaxies)
        painted = pd.DataFrame(
            [
                {"source": k, "kind": g.kind, "east": -g.x, "north": g.y, "z": g.z, "magnification": gain}
                | {"r_e": g.r_e, "n": g.n, "canvas": k < len(scene.galaxies)}
                | {f"flux_{b}": f * gain for b, f in zip(self.cfg["bands"], g.flux, strict=True)}
                for k, (g, gain) in enumerate(zip(galaxies, gains, strict=True))
            ]
        )
        census = system.census.reset_index(drop=True)
        self._tables["truth"].append(pd.concat([painted, census], axis=1).assign(target_id=target_id))
        for name, table in (("images", system.images), ("curves", lines)):
            places = {"east": -table["x"], "north": table["y"], "target_id": target_id}
            self._tables[name].append(table.assign(**places))

    @staticmethod
    def _ideal(canvas: "_Canvas", system: "System", galaxies: "list[Galaxy]") -> dict[str, Any]:
        """What the ideal observer sees of the lensed light behind: S/N of all, of the brightest, and its blending."""
        scene, snr = canvas.scene, system.census["snr"].to_numpy(float)
        kinds = np.array([g.kind for g in galaxies])
        wanted = np.flatnonzero(np.isfinite(snr) & ((kinds == "behind") if system.second else (kinds != "behind")))
        facts: dict[str, Any] = {"n_strong": len(wanted), "n_seen": int((snr[wanted] > LEAST_SNR).sum())}
        facts |= {"snr_arcs": 0.0, "snr_brightest": 0.0, "mag_brightest": np.nan, "blended": np.nan}
        if not len(wanted):
            return facts
        total = np.zeros((len(scene.site.names), scene.site.side, scene.site.side))
        for k in wanted:
            light, window = system.lights[int(k)]
            total[:, *window] += light
        best = wanted[np.argmax(snr[wanted])]
        light, window = system.lights[best]
        anchor = len(scene.site.names) // 2
        facts["snr_arcs"], facts["snr_brightest"] = scene.site.ideal_snr(total), float(snr[best])
        facts["mag_brightest"] = float(31.4 - 2.5 * np.log10(light[anchor].sum()))
        if canvas.centre is not None:
            under = canvas.centre[:, *window][anchor] > light[anchor]
            facts["blended"] = float(light[anchor][under].sum() / light[anchor].sum())
        return facts


def lens_facts(target: Mapping[str, Any], rng: np.random.Generator) -> tuple[float, float]:
    """Redshift and richness of a lens, drawn or 40 where the target has none.

    Parameters
    ----------
    target : mapping
    rng : numpy.random.Generator

    Returns
    -------
    z, richness : float
    """
    z = target["z"] if np.isfinite(target["z"]) else rng.uniform(*_REDSHIFTS)
    return z, target["richness"] if np.isfinite(target["richness"]) else _RICHNESS
