"""The baseline head: a ResNet-18 on the whole cutout, what one would do without the rest of this project.

It sees the same systems in the same folds as the other heads, and takes no part in the ranking. The network is that of
the search for cluster-scale lenses in the Legacy Surveys by Zhang et al. (2026).
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.registry import Column
from tandemlens.base.errors import InputError
from tandemlens.base.tables import write_table
from tandemlens.heads.declaration import Declaration
from tandemlens.learn.classifier import TrainingSettings, pick_device, reproducible, score_images, train_classifier
from tandemlens.learn.cutouts import Framing, noise_levels, read_images
from tandemlens.learn.sample import learnt_systems
from tandemlens.learn.vision import create_network
from tandemlens.learn.weights import save_weights

DECLARATION = Declaration(
    name="baseline",
    score="baseline",
    kind="real",
    bands=1,
    columns=(
        Column(
            "baseline",
            "float64",
            "",
            "log odds of a tandem by a network on the whole cutout, at the prior of the training sample; NaN if "
            "none was trained or no pixel is valid",
            ucd="stat.likelihood",
        ),
    ),
    fit_on={"run": ("folds",), "train": ("systems", "cutouts")},
    score_on=("cutouts",),
    environment="deep",
    fused=False,
)
log = logging.getLogger("tandemlens")
#: fewest positives in the training and in the early-stopping groups
LEAST_TRAIN, LEAST_STOP = 10, 2
_FACTS, _WEIGHTS = "baseline.json", "weights.safetensors"
_NETWORK = "resnet18"


def fit(
    systems: pd.DataFrame,
    folds: pd.DataFrame,
    cutout_paths: list[str],
    model_dir: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Train the head.

    Parameters
    ----------
    systems : pandas.DataFrame
        Columns target_id and label, of the whole training sample.
    folds : pandas.DataFrame
        Columns target_id, role and reason (`tandemlens.learn.sample.write_folds`); only the roles train and stop are
        looked at.
    cutout_paths : list of str
        cutouts.h5 of every shard of the training sample.
    model_dir : str
        Gets the head. Where the sample cannot be learnt from, one that scores nothing and says why.
    cfg : dict
        Section ``baseline`` of the settings, and ``bands``, ``seed`` and ``threads``.
    progress : callable
        Called with epochs done and epochs at most.

    Raises
    ------
    InputError
        If there is no such device.
    """
    device, folder = pick_device(cfg["device"]), Path(model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"bands": list(cfg["bands"]), "side_arcsec": cfg["side_arcsec"], "pixels": cfg["pixels"]}
    try:
        used = learnt_systems(systems, folds)
        _check(used)
        sample = _read_sample(used, cutout_paths, facts, cfg)
        network, report = _train(sample, facts, cfg, device, progress)
    except InputError as error:
        log.warning("the baseline head is not trained: %s", error)
        write_text(folder / _FACTS, json.dumps({"trained": False, "reason": str(error), **facts}, indent=1))
        return
    save_weights(folder / _WEIGHTS, network.state_dict())
    write_text(folder / _FACTS, json.dumps({"trained": True, **facts, **sample.counts(), **report}, indent=1))


def score(cutouts_path: str, model_dir: str, out_path: str, cfg: dict[str, Any]) -> None:
    """Score a shard.

    Parameters
    ----------
    cutouts_path : str
        cutouts.h5 of the shard.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/baseline.parquet: every system of the stack; NaN where no pixel is valid, and where none was trained.
    cfg : dict
        Keys batch, device and threads.

    Raises
    ------
    InputError
        If the cutouts hold other bands than the head was fitted with, or there is no such device.
    """
    facts = json.loads((Path(model_dir) / _FACTS).read_text())
    framing = Framing(facts["side_arcsec"], facts["pixels"])
    scale = facts.get("scale", np.ones(len(facts["bands"])))
    target_ids, images, valid = read_images([cutouts_path], facts["bands"], framing, scale)
    scores = np.full(len(target_ids), np.nan)
    if facts["trained"] and valid.any():
        device = pick_device(cfg["device"])
        network = _network(facts, np.random.default_rng(0))
        network.load_state_dict(load_file(Path(model_dir) / _WEIGHTS))
        with reproducible(device, cfg["threads"]):
            scores[valid] = score_images(network, torch.from_numpy(images[valid]), cfg["batch"], device)
    table = pd.DataFrame({"target_id": target_ids, "baseline": scores})
    write_table(out_path, table.astype({"target_id": "str"}), DECLARATION.table)


@dataclass
class _Sample:
    images: np.ndarray
    labels: np.ndarray
    roles: np.ndarray
    without: int

    def counts(self) -> dict[str, Any]:
        """How many systems of each role, and how many of them tandems."""
        out: dict[str, Any] = {"without_image": self.without}
        for role in ("train", "stop"):
            rows = self.roles == role
            out[role] = {"systems": int(rows.sum()), "positives": int(self.labels[rows].sum())}
        return out


def _read_sample(used: pd.DataFrame, paths: list[str], facts: dict[str, Any], cfg: dict[str, Any]) -> _Sample:
    """Images of the systems that have one; the scale of every band goes to the facts."""
    framing = Framing(cfg["side_arcsec"], cfg["pixels"])
    noise = noise_levels(paths, cfg["bands"], framing, set(used.loc[used["role"] == "train", "target_id"]))
    facts["scale"] = (cfg["softening"] * noise).tolist()
    target_ids, images, valid = read_images(paths, cfg["bands"], framing, facts["scale"], set(used["target_id"]))
    rows = used.set_index("target_id").loc[np.array(target_ids, object)[valid]]
    _check(rows)
    labels, roles = rows["label"].to_numpy(bool), rows["role"].to_numpy(object)
    return _Sample(images[valid], labels, roles, len(used) - len(rows))


def _train(
    sample: _Sample,
    facts: dict[str, Any],
    cfg: dict[str, Any],
    device: torch.device,
    progress: Callable[[int, int], None],
) -> tuple[torch.nn.Module, dict[str, Any]]:
    rng = np.random.default_rng(cfg["seed"])
    settings = TrainingSettings(**{field.name: cfg[field.name] for field in fields(TrainingSettings)})
    train, stop = (np.flatnonzero(sample.roles == role) for role in ("train", "stop"))
    network = _network(facts, rng)
    with reproducible(device, cfg["threads"]):
        images = torch.from_numpy(sample.images)
        report = train_classifier(network, images, sample.labels, train, stop, settings, rng, device, progress)
    return network, report


def _network(facts: dict[str, Any], rng: np.random.Generator) -> torch.nn.Module:
    return create_network(_NETWORK, rng, in_chans=len(facts["bands"]), num_classes=1)


def _check(rows: pd.DataFrame) -> None:
    for role, least in (("train", LEAST_TRAIN), ("stop", LEAST_STOP)):
        labels = rows.loc[rows["role"] == role, "label"]
        positives = int(labels.sum())
        if positives < least or positives == len(labels):
            raise InputError(
                f"role {role} has {positives} positives of {len(labels)} systems with an image; the baseline head "
                f"needs {least} and some negatives: enlarge the training sample (samples.train)"
            )
