"""Synthetic systems of a shard: variants of training systems of which the lensed light stays and the field is new.

Two pools, as FLARE (Alam et al. 2024) has them: *restored* keeps the pixels of centre, arcs and segments and lets the
generator fill in the rest; *generated* samples whole stamps by the condition and the look of the anchor, whose
bottleneck is mixed in. Either way a stamp is accepted only if flux, colours and shape of the light are those of the
anchor; a stamp that is not keeps the anchor's pixels.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from tandemlens.base.columns.synthetic import COLUMNS
from tandemlens.base.errors import InputError
from tandemlens.base.stage import target_rng
from tandemlens.base.tables import empty_frame, write_table
from tandemlens.learn.anchors import Acceptance, changes, kept_pixels, light_pixels, measure, pixel_snr, refusals
from tandemlens.learn.classifier import pick_device, reproducible
from tandemlens.learn.conditions import physical
from tandemlens.learn.diffusion import Sampling, sample
from tandemlens.learn.generator import load_generator, stamp_facts
from tandemlens.learn.sky_noise import SkyNoise, lit_pixels
from tandemlens.learn.stamps import open_stamps, write_stamps

if TYPE_CHECKING:
    from tandemlens.learn.generator import Generator
    from tandemlens.learn.stamps import StampFile, Stamps

log = logging.getLogger("tandemlens")
POOLS = ("restored", "generated")
OK, REJECTED, NO_GENERATOR = "ok", "rejected", "no_generator"
#: largest distance of light from the place of a segment in its stamp, as a share of the side; and in the wide stamp
_REACH, _REACH_WIDE = 0.4, 0.08
#: numbers that a seed is told apart by from others of the run
_STREAM = 7
#: S/N of 3 x 3 new pixels above which they are light: below it a network that was trained for minutes leaves a haze
_LIT = 5.0


@dataclass(frozen=True)
class Order:
    """A synthetic system to make.

    Parameters
    ----------
    target_id, anchor, pool : str
    index : int
        Row of the anchor in its file.
    """

    target_id: str
    anchor: str
    pool: str
    index: int


def augment_shard(
    stamps_path: str,
    systems: pd.DataFrame,
    folds: pd.DataFrame,
    generator_dir: str,
    out_stamps: str,
    out_table: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Make the synthetic systems of a shard.

    Parameters
    ----------
    stamps_path : str
        stamps.h5 of a shard of the training sample.
    systems, folds : pandas.DataFrame
        systems.parquet of the shard, and folds.parquet.
    generator_dir : str
        models/generator.
    out_stamps, out_table : str
        synthetic.h5, in the layout of stamps.h5, and synthetic.parquet, with a row for every system that was asked for.
    cfg : dict
        Section ``augment`` of the settings, and ``seed`` and ``threads``.
    progress : callable
        Called with systems done and systems in all.
    """
    device = pick_device(cfg["device"])
    limits, sampling = settings_of(cfg)
    role = folds.set_index("target_id")["role"]
    with open_stamps(stamps_path) as file:
        names = [name for name in file.target_ids if role.get(name) == "train"]
        orders = order_variants(names, file, cfg)
        try:
            generator = load_generator(generator_dir, stamps_path, file.format)
        except InputError as error:
            log.warning("there are no synthetic systems: %s", error)
            rows = [_row(order, NO_GENERATOR, 0, 0, str(error)) for order in orders]
            made: list[tuple[str, Stamps]] = []
        else:
            generator.denoiser.to(device)
            maker = Maker(generator, physical(systems), limits, sampling, cfg, file.centre_arcsec)
            rows, made = [], []
            with reproducible(device, cfg["threads"]):
                for k, order in enumerate(orders):
                    row, stamps = maker(order, file.system(order.index))
                    rows.append(row)
                    made += [(order.target_id, stamps)] if row["status"] == OK else []
                    progress(k + 1, len(orders))
            _tell(rows)
        write_stamps(out_stamps, stamps_path, made)
    table = pd.DataFrame(rows) if rows else empty_frame(COLUMNS)
    write_table(out_table, table, COLUMNS)


def order_variants(names: list[str], file: "StampFile", cfg: dict[str, Any]) -> list[Order]:
    """Which synthetic systems to make: as many of every class, so that being synthetic is no clue.

    Parameters
    ----------
    names : list of str
        Anchors.
    file : tandemlens.learn.stamps.StampFile
    cfg : dict
        ``variants``, ``pools`` (weights) and ``seed``.

    Returns
    -------
    list of Order
        Anchors without stamps are left out.
    """
    index = {name: k for k, name in enumerate(file.target_ids)}
    weights = np.array([cfg["pools"][pool] for pool in POOLS], float)
    if not weights.sum():
        raise InputError("augment.pools gives no weight to either pool; give one to restored or generated")
    orders = []
    for name in names:
        k, rng = index[name], target_rng(name, cfg["seed"], _STREAM)
        # a fraction of a variant is a chance of one
        n = int(cfg["variants"] + rng.uniform()) if file.start[k + 1] > file.start[k] else 0
        pools = rng.choice(POOLS, n, p=weights / weights.sum())
        orders += [Order(f"{name}.{pool}{i}", name, str(pool), k) for i, pool in enumerate(pools)]
    return orders


def settings_of(cfg: dict[str, Any]) -> tuple[Acceptance, Sampling]:
    """What is accepted and how is sampled.

    Parameters
    ----------
    cfg : dict
        ``accept`` and ``sampling``.

    Returns
    -------
    limits : tandemlens.learn.anchors.Acceptance
    sampling : tandemlens.learn.diffusion.Sampling
    """
    limits = Acceptance(**{f.name: cfg["accept"][f.name] for f in fields(Acceptance)})
    return limits, Sampling(**{f.name: cfg["sampling"][f.name] for f in fields(Sampling)})


class Maker:
    """Makes variants of systems.

    Parameters
    ----------
    generator : tandemlens.learn.generator.Generator
    known : pandas.DataFrame
        From `tandemlens.learn.conditions.physical`.
    limits : Acceptance
    sampling : Sampling
    cfg : dict
        ``centre``, ``varied``, ``tries`` and ``seed``.
    centre_arcsec : float, arcsec
        Side of the wide stamp.
    """

    def __init__(
        self,
        generator: "Generator",
        known: pd.DataFrame,
        limits: Acceptance,
        sampling: Sampling,
        cfg: dict[str, Any],
        centre_arcsec: float,
    ) -> None:
        self.generator, self.known, self.limits, self.sampling = generator, known, limits, sampling
        self.cfg, self.wide_scale = cfg, centre_arcsec / generator.format.pixels
        self.device = next(generator.denoiser.parameters()).device
        columns = generator.format.geometry
        self.arc = columns.index("is_arc")
        self.place = [columns.index(name) for name in ("radius_arcsec", "cos_azimuth", "sin_azimuth")]
        self.snr_column = columns.index("log_snr")

    def __call__(self, order: Order, stamps: "Stamps") -> "tuple[dict[str, Any], Stamps]":
        """A row of synthetic.parquet, and the stamps of the variant."""
        rows, light = self.choose(stamps)
        rng = target_rng(order.target_id, self.cfg["seed"], _STREAM)
        torch_rng = self.torch_rng(rng)
        failed: Counter[str] = Counter()
        flux, rejected, noise = stamps.flux.copy(), 0, self.noise(stamps)
        todo = rows
        for _ in range(self.cfg["tries"] if len(rows) else 0):
            new = self.draw(order.anchor, order.pool, stamps[todo], light[np.isin(rows, todo)], noise, torch_rng)
            left = []
            for row, image in zip(todo, new, strict=True):
                bad = self.refused(stamps[row], image)
                failed.update(bad)
                rejected += bool(bad)
                if bad:
                    left.append(row)
                else:
                    flux[row] = image
            todo = np.array(left, int)
            if not len(todo):
                break
        varied = len(rows) - len(todo)
        told = ", ".join(f"{name} {n}" for name, n in sorted(failed.items())) if len(rows) else "no segment to vary"
        return _row(order, OK if varied else REJECTED, varied, rejected, told), replace(stamps, flux=flux)

    def torch_rng(self, rng: np.random.Generator) -> torch.Generator:
        """Random numbers of torch that follow from others."""
        return torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))

    def choose(self, stamps: "Stamps") -> tuple[np.ndarray, np.ndarray]:
        """Rows of the stamps that are varied, the most significant segments, arcs first, and their light."""
        arcs = stamps.geometry[:, self.arc] > 0
        order = np.lexsort((-stamps.geometry[:, self.snr_column], ~arcs, stamps.label != 0))
        order = order[self.cfg["centre"] | (stamps.label[order] != 0)]
        rows = np.sort(order[: self.cfg["varied"]])
        light = [self.light(stamps[row], stamps) for row in rows]
        return rows, np.reshape(light, (len(rows), *stamps.flux.shape[2:])).astype(bool)

    def light(self, stamp: "Stamps", system: "Stamps | None" = None) -> np.ndarray:
        """Pixels of the light that stays of a stamp: what is at its middle; in the wide one arcs as well."""
        side, snr = stamp.flux.shape[-1], pixel_snr(stamp.flux, stamp.sigma, stamp.mask)
        middle = (side - 1) / 2
        if stamp.label != 0:
            return light_pixels(snr, np.array([[middle, middle]]), _REACH * side)
        places = [[0.0, 0.0]]
        if system is not None:
            geometry = system.geometry[system.geometry[:, self.arc] > 0]
            radius, cos, sin = geometry[:, self.place].T
            places += np.column_stack([radius * cos, radius * sin]).tolist()
        return light_pixels(snr, np.array(places) / self.wide_scale + middle, _REACH_WIDE * side)

    def noise(self, stamps: "Stamps") -> SkyNoise:
        """Noise of a system's sky, which seeing smooths; that of the training where it shows too little sky."""
        wide = stamps.label == 0
        return SkyNoise.fit(stamps.flux, stamps.sigma, stamps.mask, wide, self.generator.noise)

    def draw(
        self,
        anchor: str,
        pool: str,
        stamps: "Stamps",
        light: np.ndarray | None,
        noise: SkyNoise,
        torch_rng: torch.Generator,
    ) -> np.ndarray:
        """New pixels of some stamps of one system, (n, band, s, s) float16 ndarray."""
        generator, n = self.generator, len(stamps)
        facts = stamp_facts(self.known, np.repeat(anchor, n), stamps.geometry)
        images = np.where(stamps.mask, stamps.flux, 0).astype(np.float32)
        condition = torch.from_numpy(generator.conditions(facts, images)).to(self.device)
        anchors = torch.from_numpy(images).to(self.device) / generator.unit
        options, keep = {"anchor": anchors}, np.zeros(images.shape, bool)
        if pool == "restored" and light is not None:
            keep = np.array([kept_pixels(pixels) for pixels in light])[:, None] & np.ones(images.shape, bool)
            options = {"known": anchors, "keep": torch.from_numpy(keep).to(self.device)}
        new = sample(generator.denoiser, condition, images.shape[1:], self.sampling, torch_rng, **options)
        new = self.on_sky((new * generator.unit).cpu().numpy(), stamps, noise, torch_rng).astype(np.float16)
        return np.where(stamps.mask, np.where(keep, stamps.flux, new), np.float16(0))

    def on_sky(self, new: np.ndarray, stamps: "Stamps", noise: SkyNoise, torch_rng: torch.Generator) -> np.ndarray:
        """New light with the noise of the sky where it shows none, which the generator has not seen."""
        white = torch.randn(new.shape, generator=torch_rng, device=self.device).cpu().numpy()
        dark = np.arcsinh(noise.draw(white, stamps.sigma, stamps.label == 0))
        return np.where(lit_pixels(new, stamps.sigma, stamps.mask, _LIT)[:, None], new, dark)

    def refused(self, stamp: "Stamps", image: np.ndarray) -> list[str]:
        """Tests that new pixels of a stamp fail, by what is seen at its middle."""
        if not np.isfinite(image).all():
            return ["finite"]
        found = []
        for flux in (stamp.flux, image):
            light = self.light(replace(stamp, flux=flux))
            found.append(measure(flux, stamp.sigma, stamp.mask, light))
        return refusals(changes(*found), self.limits)


def _row(order: Order, status: str, varied: int, rejected: int, reason: str) -> dict[str, Any]:
    facts = {"status": status, "varied": varied, "rejected": rejected, "reason": reason}
    return {"target_id": order.target_id, "anchor": order.anchor, "pool": order.pool, **facts}


def _tell(rows: list[dict[str, Any]]) -> None:
    """Say how many were accepted; none at all is a warning."""
    ok = sum(row["status"] == OK for row in rows)
    if rows and not ok:
        log.warning(
            "all %d synthetic systems were rejected (%s): train the generator longer, or widen augment.accept",
            len(rows),
            rows[0]["reason"],
        )
    varied, rejected = (sum(row[name] for row in rows) for name in ("varied", "rejected"))
    log.info("%d of %d synthetic systems; %d stamps accepted, %d rejected", ok, len(rows), varied, rejected)
