"""The encoder of a run, trained without labels on stamps of the training sample and of the targets of the search."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.errors import InputError
from tandemlens.learn.checkpoint import fingerprint
from tandemlens.learn.classifier import pick_device
from tandemlens.learn.encoders import new_encoder, save_encoder, save_reason
from tandemlens.learn.galaxies import write_galaxies
from tandemlens.learn.lens_pairs import LensPairs
from tandemlens.learn.positives import Positives
from tandemlens.learn.pretext import PretextSettings, create_pretext
from tandemlens.learn.pretrain_task import PretrainTask, TaskSettings, run_task
from tandemlens.learn.probe import probe, system_features
from tandemlens.learn.stamps import stamp_blocks
from tandemlens.learn.stream import StampStream
from tandemlens.survey.targets import field_groups

if TYPE_CHECKING:
    import torch

    from tandemlens.learn.encoders import Encoder

log = logging.getLogger("tandemlens")

#: method -> weight decay. AdamW for all: the recipes of SimSiam and Fast-MoCo, with SGD, are for networks with batch
#: normalisation, which these encoders do not have
_DECAY = {"moco": 0.1, "fast_moco": 0.1, "clsp": 0.1, "mae": 0.05, "simsiam": 0.05, "lensiam": 0.05}
#: systems of which pairs of one lens are drawn, and stamps that go to a probe together
_MOST_PAIRED, _PROBE_BATCH = 4000, 256


@dataclass(frozen=True)
class Sample:
    """What may be learnt from.

    Parameters
    ----------
    folds : pandas.DataFrame
        target_id, role and group of the training sample.
    systems : pandas.DataFrame
        systems.parquet of the training sample.
    places, search : pandas.DataFrame
        target_id, ra and dec (deg) of the targets of the samples train and search.
    train_paths, search_paths : list of str
        stamps.h5 of their shards.
    positives : sequence of str
        positives.h5 of the shards of the training sample, for the method clsp.
    """

    folds: pd.DataFrame
    systems: pd.DataFrame
    places: pd.DataFrame
    search: pd.DataFrame
    train_paths: list[str]
    search_paths: list[str]
    positives: Sequence[str] = ()


def pretrain(
    sample: Sample,
    folder: str | Path,
    checkpoint: str | Path,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Train the encoder of a run.

    Parameters
    ----------
    sample : Sample
    folder : str or Path
        Gets the encoder; where nothing can be learnt from the sample, the reason.
    checkpoint : str or Path
        File of the last epoch that was done, from which training goes on if it was stopped; removed at the end.
    cfg : dict
        Section ``pretrain`` of the settings, and ``encoder`` and ``views`` (sections), ``bands``, ``radius_arcmin`` (of
        the folds), ``softening`` (of the stamps), ``seed``, ``threads`` and ``code`` (digest).
    progress : callable
        Called with epochs done and epochs at most.

    Raises
    ------
    InputError
        If a setting cannot be used, a file is not as declared, or the device is lost.
    """
    folder, checkpoint = Path(folder), Path(checkpoint)
    for place in (folder, checkpoint.parent):
        place.mkdir(parents=True, exist_ok=True)
    # how GPUs are counted: in the usual way no process could be forked for several of them
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    device, rng = pick_device(cfg["device"]), np.random.default_rng(cfg["seed"])
    wanted = pretraining_targets(sample.folds, sample.places, sample.search, cfg["radius_arcmin"], cfg["transductive"])
    paths = [*sample.train_paths, *sample.search_paths]
    _, form = stamp_blocks(paths, _PROBE_BATCH, wanted)
    encoder = new_encoder(form, cfg["encoder"], rng, paths, wanted)
    pretext = create_pretext(cfg["method"], encoder, _pick(PretextSettings, cfg), rng)
    facts = {name: cfg[name] for name in ("method", "transductive")} | {
        "bands": form.bands,
        "systems": len(wanted),
        "galaxies": 0,
    }
    galaxies = checkpoint.with_name("galaxies.h5")
    if cfg["galaxies"]["file"]:
        names = write_galaxies(cfg["galaxies"], galaxies, form, cfg["softening"])
        wanted, paths, facts["galaxies"] = wanted | set(names), [*paths, str(galaxies)], len(names)
    try:
        task = _task(pretext, sample, paths, wanted, cfg, progress)
    except InputError as error:
        _give_up(folder, str(error), facts)
        return
    run_task(task, device, checkpoint, _settings(cfg), cfg["threads"])
    facts |= {"stamps": task.n_stamps, "ended": task.ended, "curve": task.curve}
    if task.failed:
        _give_up(folder, task.ended, facts)
    else:
        save_encoder(encoder, folder, facts)
    for path in (checkpoint, galaxies):
        path.unlink(missing_ok=True)


def pretraining_targets(
    folds: pd.DataFrame, places: pd.DataFrame, search: pd.DataFrame, radius_arcmin: float, transductive: bool
) -> set[str]:
    """Systems whose stamps an encoder may see.

    Parameters
    ----------
    folds : pandas.DataFrame
        target_id and role of the training sample.
    places, search : pandas.DataFrame
        target_id, ra and dec (deg) of the targets of the samples train and search.
    radius_arcmin : float
        Targets closer than this are of one field.
    transductive : bool
        Whether it may see all stamps, without their labels: also those on which heads are stopped, calibrated, fused
        and tested.

    Returns
    -------
    set of str
        Else those of role train, and of the search those in no field of the other roles.
    """
    if transductive:
        return {*places["target_id"], *search["target_id"]}
    seen = set(folds.loc[folds["role"] == "train", "target_id"])
    both = pd.concat([places, search], ignore_index=True)
    field = field_groups(both["ra"].to_numpy(), both["dec"].to_numpy(), np.arange(len(both)), radius_arcmin)
    kept_back = np.zeros(len(both), bool)
    kept_back[: len(places)] = ~places["target_id"].isin(seen)
    free = ~np.isin(field, field[kept_back])
    return seen | set(both["target_id"][len(places) :][free[len(places) :]])


def _task(
    pretext: "torch.nn.Module",
    sample: Sample,
    paths: list[str],
    wanted: set[str],
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> PretrainTask:
    pairs = None
    if cfg["method"] == "lensiam":
        pairs = LensPairs(sample.train_paths, sample.systems[sample.systems["target_id"].isin(wanted)], _MOST_PAIRED)
        log.info("%d lenses have several systems", len(pairs))
    positives = Positives(sample.train_paths, sample.positives) if cfg["method"] == "clsp" else None
    stream = partial(_open_stream, paths, cfg["batch"], cfg["seed"], wanted)
    # the copy of the galaxies is made anew every time
    galaxies = cfg["galaxies"]["file"]
    files = [*paths[: len(paths) - bool(galaxies)], *filter(None, [galaxies]), *sample.positives]
    told = fingerprint(cfg, files, sorted(wanted))
    given = pretext, stream, _settings(cfg), cfg["views"], cfg["seed"], told, progress
    return PretrainTask(*given, pairs, _probes(sample, cfg), positives)


def _open_stream(paths: list[str], batch: int, seed: int, wanted: set[str], part: tuple[int, int]) -> StampStream:
    return StampStream(paths, batch, seed, wanted=wanted, drop_last=True, part=part)


def _probes(sample: Sample, cfg: dict[str, Any]) -> Any:
    """What probes an encoder on systems of the roles train and stop, not more than are asked for of each."""
    rng, chosen = np.random.default_rng(cfg["seed"]), []
    systems = sample.systems[["target_id", "label", "theta_e"]]
    table = sample.folds[["target_id", "role", "group"]].merge(systems, on="target_id")
    for role in ("train", "stop"):
        rows = np.flatnonzero(table["role"] == role)
        chosen.append(rng.permutation(rows)[: cfg["probe_systems"]])
    table = table.iloc[np.sort(np.concatenate(chosen))].set_index("target_id")

    def probes(encoder: "Encoder", device: "torch.device") -> dict[str, float | None]:
        names, features = system_features(encoder, sample.train_paths, set(table.index), _PROBE_BATCH, device)
        rows = table.loc[names]
        fit = (rows["role"] == "train").to_numpy()
        labels, radii = rows["label"].to_numpy(bool), rows["theta_e"].to_numpy(float)
        return probe(features, labels, radii, rows["group"].to_numpy(), fit, ~fit)

    return probes


def _settings(cfg: dict[str, Any]) -> Any:
    stamps = cfg["batch"] * cfg["accumulate"] * cfg["devices"]
    given = {
        "learning_rate": cfg["learning_rate"] * stamps / 256,
        "weight_decay": _DECAY[cfg["method"]] if cfg["weight_decay"] is None else cfg["weight_decay"],
    }
    return _pick(TaskSettings, cfg | given)


def _pick(kind: type[Any], cfg: dict[str, Any]) -> Any:
    return kind(**{field.name: cfg[field.name] for field in fields(kind)})


def _give_up(folder: str | Path, reason: str, facts: dict[str, Any]) -> None:
    log.warning("the encoder is not trained: %s", reason)
    save_reason(folder, reason, facts)
