"""The generator of synthetic stamps, trained on stamps of role train."""

import copy
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from tandemlens.base.atomic import write_text
from tandemlens.base.errors import InputError
from tandemlens.learn.checkpoint import fingerprint
from tandemlens.learn.classifier import pick_device
from tandemlens.learn.conditions import LOOKS, Conditions, physical
from tandemlens.learn.diffusion import Denoiser, denoising_loss, noise_schedule
from tandemlens.learn.pretrain_task import PretrainTask, TaskSettings, run_task
from tandemlens.learn.sky_noise import SkyNoise, lit_pixels
from tandemlens.learn.stamps import Stamps, open_stamps, refuse_format
from tandemlens.learn.stream import StampStream
from tandemlens.learn.views import Views
from tandemlens.learn.weights import save_weights

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.learn.stamps import Format
    from tandemlens.learn.stream import StampBatch

log = logging.getLogger("tandemlens")
_FACTS, _WEIGHTS = "generator.json", "weights.safetensors"
#: of a condition that is left open in training, as a whole and in its look alone
_OPEN, _LOOK_OPEN = 0.1, 0.3
#: slowest pace of the mean of the weights, which is what samples
_PACE = 0.999
#: stamps that looks are learnt from, at most
_MOST = 4000
#: turns and mirror images: what else views do would be learnt as the look of the sky
_VIEWS = {
    **{"dihedral": True, "rotation": False, "shift_pixels": 0, "blur_pixels": 0},
    **{"noise": 1, "background": 0, "band_dropout": 0},
}


class Denoising(nn.Module):
    """A denoiser in training, and the running mean of its weights.

    Parameters
    ----------
    denoiser : tandemlens.learn.diffusion.Denoiser
    unit : float
        Spread of the stamps, by which they are divided.
    """

    monitored = False

    def __init__(self, denoiser: Denoiser, unit: float) -> None:
        super().__init__()
        self.encoder, self.unit = denoiser, unit
        self.mean = copy.deepcopy(denoiser).requires_grad_(False)
        self._schedule = noise_schedule()

    def forward(
        self, x: torch.Tensor, valid: torch.Tensor, condition: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Loss of stamps, some of them without their condition or without their look."""
        draws = torch.rand(2, len(x), 1, generator=generator, device=x.device)
        look = torch.arange(condition.shape[1], device=x.device) >= condition.shape[1] - LOOKS
        opened = (draws[0] < _OPEN) | (look & (draws[1] < _LOOK_OPEN))
        condition = torch.where(opened, torch.nan, condition)
        return denoising_loss(self.encoder, self._schedule, x / self.unit, valid, condition, generator)

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Let the mean follow."""
        pace = min(_PACE, (1 + step) / (10 + step))
        for mean, weight in zip(self.mean.parameters(), self.encoder.parameters(), strict=True):
            mean.lerp_(weight, 1 - pace)


class GeneratorTask(PretrainTask):
    """Training of a `Denoising`, as `PretrainTask` but with a condition in place of a second view.

    Parameters
    ----------
    conditions : (n, c) float32 Tensor
        Of all stamps of the stream, by their number.
    lit : (n, 1, s, s) bool Tensor
        Their pixels that show light; all others are learnt to be dark (`tandemlens.learn.sky_noise`).
    """

    def __init__(self, *given: Any, conditions: torch.Tensor, lit: torch.Tensor) -> None:
        super().__init__(*given)
        self._conditions, self._lit = conditions, lit

    def training_step(self, batch: "StampBatch", number: int) -> torch.Tensor:
        """Loss of a batch."""
        rng = np.random.default_rng([self._seed, self.current_epoch, number, self.global_rank])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        condition, lit = (table[batch.number.cpu()].to(self.device) for table in (self._conditions, self._lit))
        view = Views(_VIEWS, generator)(batch.flux * lit, batch.sigma, batch.mask)
        loss = self.pretext(view.x, view.valid, condition, generator)
        self._sums += torch.stack([loss.detach(), torch.zeros_like(loss), torch.ones_like(loss)]).double()
        return loss


def fit_generator(
    systems: "pd.DataFrame",
    folds: "pd.DataFrame",
    paths: list[str],
    folder: str | Path,
    checkpoint: str | Path,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Train the generator on stamps of role train.

    Parameters
    ----------
    systems, folds : pandas.DataFrame
        systems.parquet of all shards, and folds.parquet.
    paths : list of str
        stamps.h5 of every shard of the training sample.
    folder : str or Path
        Gets the generator; where nothing can be learnt from the sample, the reason.
    checkpoint : str or Path
        File of the last epoch that was done, from which training goes on if it was stopped; removed at the end.
    cfg : dict
        Section ``generator`` of the settings, and ``seed``, ``threads`` and ``code`` (digest).
    progress : callable
        Called with epochs done and epochs at most.

    Raises
    ------
    InputError
        If there is no such device, or it is lost.
    """
    folder, checkpoint = Path(folder), Path(checkpoint)
    for place in (folder, checkpoint.parent):
        place.mkdir(parents=True, exist_ok=True)
    device, rng = pick_device(cfg["device"]), np.random.default_rng(cfg["seed"])
    wanted = set(folds.loc[folds["role"] == "train", "target_id"])
    try:
        task, besides, form = _task(systems, paths, wanted, cfg, rng, progress)
    except InputError as error:
        log.warning("the generator is not trained: %s", error)
        write_text(folder / _FACTS, json.dumps({"trained": False, "reason": str(error)}, indent=1))
        return
    run_task(task, device, checkpoint, _settings(cfg), cfg["threads"])
    curve = [{"epoch": entry["epoch"], "loss": entry["loss"]} for entry in task.curve]
    facts = {"trained": not task.failed, "ended": task.ended, "curve": curve, "stamps": task.n_stamps}
    if task.failed:
        facts["reason"] = task.ended
    else:
        facts |= {"format": asdict(form), "unit": task.pretext.unit, "systems": len(wanted)}
        facts |= {name: cfg[name] for name in ("channels", "patch")}
        scales = {f"{part}.{name}": torch.tensor(x) for part, of in besides.items() for name, x in vars(of).items()}
        weights = {f"denoiser.{name}": value for name, value in task.pretext.mean.state_dict().items()}
        save_weights(folder / _WEIGHTS, scales | weights)
    write_text(folder / _FACTS, json.dumps(facts, indent=1))
    checkpoint.unlink(missing_ok=True)


class Generator:
    """A trained generator, from `load_generator`.

    Parameters
    ----------
    denoiser : tandemlens.learn.diffusion.Denoiser
    conditions : tandemlens.learn.conditions.Conditions
    noise : tandemlens.learn.sky_noise.SkyNoise
    unit : float
        Of stamps that it takes and gives.
    format : tandemlens.learn.stamps.Format
    """

    def __init__(
        self, denoiser: Denoiser, conditions: Conditions, noise: SkyNoise, unit: float, form: "Format"
    ) -> None:
        self.denoiser, self.conditions, self.noise = denoiser, conditions, noise
        self.unit, self.format = unit, form


def load_generator(folder: str | Path, path: str, form: "Format") -> Generator:
    """The generator of the run.

    Parameters
    ----------
    folder : str or Path
        models/generator.
    path : str
        Of the stamps that it is used on.
    form : tandemlens.learn.stamps.Format
        Theirs.

    Returns
    -------
    Generator
        On the CPU.

    Raises
    ------
    InputError
        If none was trained, which says why, or it is for other stamps.
    """
    facts = json.loads((Path(folder) / _FACTS).read_text())
    if not facts["trained"]:
        raise InputError(f"there is no generator in {folder}: {facts['reason']}")
    refuse_format(path, form, facts["format"], "generator's")
    state = load_file(Path(folder) / _WEIGHTS)
    conditions = Conditions(**{f.name: state[f"conditions.{f.name}"].numpy() for f in fields(Conditions)})
    noise = SkyNoise(**{f.name: state[f"noise.{f.name}"].numpy() for f in fields(SkyNoise)})
    denoiser = _denoiser(form, conditions, facts, np.random.default_rng(0))
    names = [name for name in state if name.startswith("denoiser.")]
    denoiser.load_state_dict({name.removeprefix("denoiser."): state[name] for name in names})
    return Generator(denoiser.eval(), conditions, noise, facts["unit"], form)


def stamp_facts(known: "pd.DataFrame", target_ids: np.ndarray, geometry: np.ndarray) -> np.ndarray:
    """Physics and geometry of stamps.

    Parameters
    ----------
    known : pandas.DataFrame
        From `tandemlens.learn.conditions.physical`.
    target_ids : (n,) str ndarray
        Of their systems; one that is not known gets NaN.
    geometry : (n, g) ndarray

    Returns
    -------
    (n, k) float64 ndarray
    """
    return np.concatenate([known.reindex(target_ids).to_numpy(float), geometry], axis=1)


def _task(
    systems: "pd.DataFrame",
    paths: list[str],
    wanted: set[str],
    cfg: dict[str, Any],
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> "tuple[GeneratorTask, dict[str, Any], Format]":
    """The training, what it rests on besides, and the format of its stamps."""
    stream = partial(_open_stream, paths, cfg["batch"], cfg["seed"], wanted)
    form = stream((0, 1)).format
    facts, stamps, lit, rows = _stamps(physical(systems), paths, wanted)
    images = np.where(stamps.mask, stamps.flux, 0)
    some = np.sort(rng.permutation(rows)[:_MOST])
    conditions, used = Conditions.fit(facts[some], images[some]), stamps[some]
    noise = SkyNoise.fit(used.flux, used.sigma, used.mask, used.label == 0)
    light = images[some].astype(np.float32) * lit[some, None]
    unit = float(np.sqrt(np.mean(np.square(light, dtype=np.float64)))) or 1.0
    table = np.full((len(facts), conditions.width), np.nan, np.float32)
    table[rows] = conditions(facts[rows], images[rows])
    denoising = Denoising(_denoiser(form, conditions, cfg, rng), unit)
    given = (denoising, stream, _settings(cfg), _VIEWS, cfg["seed"], fingerprint(cfg, paths, sorted(wanted)), progress)
    told = {"conditions": torch.from_numpy(table), "lit": torch.from_numpy(lit[:, None])}
    return GeneratorTask(*given, **told), {"conditions": conditions, "noise": noise}, form


def _stamps(
    known: "pd.DataFrame", paths: list[str], wanted: set[str]
) -> tuple[np.ndarray, Stamps, np.ndarray, np.ndarray]:
    """Facts and pixels of all stamps of the files, those that show light, and the rows of the wanted stamps."""
    facts, parts, lit, rows, first = [], [], [], [], 0
    for path in paths:
        with open_stamps(path) as file:
            stamps, names = file.read(0, len(file)), np.array(file.target_ids, object)
        mine = names[stamps.target]
        facts.append(stamp_facts(known, mine, stamps.geometry))
        parts.append(stamps)
        lit.append(lit_pixels(stamps.flux, stamps.sigma, stamps.mask))
        rows.append(first + np.flatnonzero([name in wanted for name in mine]))
        first += len(stamps)
    return np.concatenate(facts), Stamps.concatenate(parts), np.concatenate(lit), np.concatenate(rows)


def _denoiser(form: "Format", conditions: Conditions, settings: dict[str, Any], rng: np.random.Generator) -> Denoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        given = len(form.bands), form.pixels, conditions.width, settings["channels"], settings["patch"]
        return Denoiser(*given)


def _open_stream(paths: list[str], batch: int, seed: int, wanted: set[str], part: tuple[int, int]) -> StampStream:
    return StampStream(paths, batch, seed, wanted=wanted, drop_last=True, part=part)


def _settings(cfg: dict[str, Any]) -> TaskSettings:
    fixed = {"accumulate": 1, "same_lens": 0.0, "probe_every": 0, "devices": 1, "precision": "full", "compile": False}
    return TaskSettings(**{field.name: (cfg | fixed)[field.name] for field in fields(TaskSettings)})
