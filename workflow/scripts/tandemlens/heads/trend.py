"""The head of trends: how predictions change over epochs, where that says more than their mean.

An ablation. A small network learns simulated tandems against the targets that are searched, as if these held no tandem
(HolisticPU, Wang et al. 2023); two scores are read from its predictions after every epoch, the trend and a Hawkes
process of their jumps. The better one is used if it beats the mean prediction on simulated tandems that the network has
not seen; if neither does the head scores nothing, and says by how much they fell short.
"""

import json
import logging
from dataclasses import dataclass, field
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
from tandemlens.learn.classifier import reproducible
from tandemlens.learn.matrix import Standard, feature_matrix, feature_names, usable
from tandemlens.learn.nnpu import small_network
from tandemlens.learn.pu import placements
from tandemlens.learn.sample import refuse_dropped
from tandemlens.learn.trend import (
    PhaseSettings,
    fit_hawkes_score,
    hawkes_features,
    hawkes_or_mean,
    train_snapshots,
    trajectories,
    trend_or_mean,
    trend_score,
)
from tandemlens.learn.weights import save_weights

DECLARATION = Declaration(
    name="trend",
    score="trend",
    kind="real",
    bands=2,
    columns=(
        Column(
            "trend",
            "float64",
            "",
            "score by the predictions over epochs; NaN if the head is not used",
            ucd="stat.likelihood",
        ),
        Column(
            "trend_by",
            "str",
            "",
            "trend, hawkes, mean (without guard only), or none where the head is not used",
            ucd="meta.code.class;meta.modelled",
        ),
    ),
    fit_on={"run": ("folds",), "train": ("systems", "features"), "search": ("features",)},
    score_on=("features",),
    environment="deep",
)
log = logging.getLogger("tandemlens")
#: fewest tandems to learn from and to judge by, and targets
LEAST_TRAIN, LEAST_STOP, LEAST_SEARCH = 10, 10, 20
_HEAD, _SNAPSHOTS, _NONE, _MEAN = "trend.json", "snapshots.safetensors", "none", "mean"
_FACTS = ("by", "reason", "names", "widths", "least_jump", "hawkes", "report")
_PHASE = ("epochs", "steps", "batch", "learning_rate", "momentum", "weight_decay", "smoothing", "ema")


def fit(train: pd.DataFrame, search: pd.DataFrame, model_dir: str, cfg: dict[str, Any]) -> None:
    """Train the head and judge whether it is to be used.

    Parameters
    ----------
    train : pandas.DataFrame
        From `tandemlens.learn.sample.training_table`.
    search : pandas.DataFrame
        Feature table of the search sample.
    model_dir : str
        Gets ``trend.json`` and the network after every epoch. Where a sample is too small, a head that scores nothing
        and says why.
    cfg : dict
        Section ``trend`` of the settings, and ``bands``, ``seed`` and ``threads``.
    """
    try:
        with reproducible(torch.device("cpu"), cfg["threads"]):
            head = fit_head(train, search, cfg)
    except InputError as error:
        log.warning("the trend head is not trained: %s", error)
        head = Head(reason=str(error))
    head.save(model_dir)


def score(features: pd.DataFrame, model_dir: str, out_path: str) -> None:
    """Score a shard.

    Parameters
    ----------
    features : pandas.DataFrame
        Feature table of the shard; only rows of status ok are scored.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/trend.parquet.
    """
    head, rows = Head.load(model_dir), usable(features)
    out = pd.DataFrame({"target_id": rows["target_id"], "trend": np.nan, "trend_by": head.by})
    if head.by != _NONE and len(rows):
        with reproducible(torch.device("cpu"), 1):
            out["trend"] = head.score(rows)
    write_table(out_path, out.astype({"target_id": "str", "trend_by": "str"}), DECLARATION.table)


@dataclass
class Head:
    """A fitted head, or the reason why there is none.

    Parameters
    ----------
    by : str
        trend, hawkes or mean, by which it scores; none if it does not.
    reason : str
        Why not.
    names : list of str
        Features.
    widths : list of int
        Hidden layers.
    least_jump : float
        As in `tandemlens.learn.trend.jump_times`.
    hawkes : list of float
        As from `tandemlens.learn.trend.fit_hawkes_score`.
    report : dict
        What was compared.
    standard : tandemlens.learn.matrix.Standard
    snapshots : list of torch.nn.Module
        The network after every epoch.
    """

    by: str = _NONE
    reason: str = ""
    names: list[str] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    least_jump: float = 0.0
    hawkes: list[float] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    standard: Standard | None = None
    snapshots: list[torch.nn.Module] = field(default_factory=list)

    def score(self, features: pd.DataFrame) -> np.ndarray:
        """Scores, (n,) ndarray, of rows with features; larger is more like a tandem."""
        assert self.standard is not None  # a head without snapshots says so, and is not asked
        path = trajectories(self.snapshots, self.standard(feature_matrix(features, self.names)))
        if self.by == "trend":
            return trend_score(path)
        if self.by == "hawkes":
            return hawkes_features(path, self.least_jump) @ np.array(self.hawkes)
        return path.mean(axis=1)

    def save(self, folder: str | Path) -> None:
        """Write the head into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        facts = {name: getattr(self, name) for name in _FACTS}
        if self.standard is not None:
            facts["standard"] = self.standard.lists()
            weights = {f"{k}.{n}": v for k, m in enumerate(self.snapshots) for n, v in m.state_dict().items()}
            save_weights(folder / _SNAPSHOTS, weights)
        write_text(folder / _HEAD, json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> "Head":
        """Read a head from a folder."""
        folder = Path(folder)
        facts = json.loads((folder / _HEAD).read_text())
        if "standard" not in facts:
            return cls(**facts)
        facts["standard"] = Standard.from_lists(facts["standard"])
        weights, snapshots = load_file(folder / _SNAPSHOTS), []
        for k in range(len({name.partition(".")[0] for name in weights})):
            network = small_network(len(facts["names"]), facts["widths"], np.random.default_rng(0))
            network.load_state_dict({n: weights[f"{k}.{n}"] for n in network.state_dict()})
            snapshots.append(network)
        return cls(**facts, snapshots=snapshots)


def fit_head(train: pd.DataFrame, search: pd.DataFrame, cfg: dict[str, Any]) -> Head:
    """Train the network, and judge both scores.

    Parameters
    ----------
    train, search, cfg
        As for `fit`.

    Returns
    -------
    Head

    Raises
    ------
    InputError
        If a sample does not allow it.
    """
    refuse_dropped(train["role"], train["reason_role"])
    tandems, search = usable(train[train["label"].astype(bool)]), usable(search)
    parts = {role: tandems[tandems["role"] == role] for role in ("train", "stop")}
    _check(parts, search)
    names, rng = feature_names(cfg["bands"]), np.random.default_rng(cfg["seed"])
    values = {part: feature_matrix(rows, names) for part, rows in {**parts, "search": search}.items()}
    standard = Standard.of(pd.concat([values["train"], values["search"]]))
    x = {part: standard(rows) for part, rows in values.items()}
    phase = PhaseSettings(**{name: cfg[name] for name in _PHASE}, widths=tuple(cfg["widths"]))
    snapshots = train_snapshots(x["train"], x["search"], phase, rng)
    paths = trajectories(snapshots, x["stop"]), trajectories(snapshots, x["search"])
    judged = {"trend": trend_or_mean(*paths), "hawkes": hawkes_or_mean(*paths, cfg["least_jump"], rng)}
    kept = [name for name, found in judged.items() if found.kept]
    best = max(kept, key=lambda name: judged[name].auc_candidate, default=_MEAN)
    report = {
        "kept": kept,
        "auc": {
            **{name: found.auc_candidate for name, found in judged.items()},
            _MEAN: judged["trend"].auc_mean,
            "last": float(placements(*(path[:, -1] for path in paths))[0].mean()),
        },
        "error_of_gain": {name: found.error for name, found in judged.items()},
        "tandems": {role: len(rows) for role, rows in parts.items()},
        "targets": len(search),
    }
    used = bool(kept) or not cfg["guard"]
    return Head(
        by=best if used else _NONE,
        reason="" if used else _refusal(report),
        names=names,
        widths=list(cfg["widths"]),
        least_jump=cfg["least_jump"],
        hawkes=fit_hawkes_score(*paths, cfg["least_jump"]).tolist(),
        report=report,
        standard=standard,
        snapshots=snapshots,
    )


def _check(parts: dict[str, pd.DataFrame], search: pd.DataFrame) -> None:
    for role, least in (("train", LEAST_TRAIN), ("stop", LEAST_STOP)):
        if len(parts[role]) < least:
            raise InputError(
                f"role {role} has {len(parts[role])} tandems with features; the trend head needs {least}: enlarge the "
                "training sample (samples.train)"
            )
    if len(search) < LEAST_SEARCH:
        raise InputError(
            f"the search sample has {len(search)} targets with features; the trend head needs {LEAST_SEARCH}: search "
            "more or leave the head out (heads)"
        )


def _refusal(report: dict[str, Any]) -> str:
    area, error = report["auc"], report["error_of_gain"]
    said = [f"that of the {name} is {area[name]:.3f} (error of the difference {error[name]:.3f})" for name in error]
    return f"the AUROC of the mean prediction is {area[_MEAN]:.3f}; {', '.join(said)}; neither is better by its error"
