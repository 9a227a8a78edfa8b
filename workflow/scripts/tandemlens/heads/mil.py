"""The head of bags of stamps: an encoder for every stamp of a system, and attention over them.

A system is the wider stamp of its centre and one of every segment; which of them matter is learnt from the label of the
system alone, and how much each does is kept beside the score. The score is no calibrated probability: the fusion
calibrates, on systems that no head has been fitted to.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.registry import Column
from tandemlens.base.errors import InputError
from tandemlens.base.tables import write_table
from tandemlens.heads.declaration import Declaration
from tandemlens.learn.bags import Bags
from tandemlens.learn.checkpoint import CheckpointFile, fingerprint, saying_lost_gpu
from tandemlens.learn.classifier import VIEWS, pick_device, reproducible
from tandemlens.learn.encoders import create_encoder, load_encoder, new_encoder
from tandemlens.learn.joint import JointLoss
from tandemlens.learn.mil_training import BagRows, BagTraining, score_bags, train_bags
from tandemlens.learn.pooling import create_classifier
from tandemlens.learn.sample import learnt_systems
from tandemlens.learn.stamps import Format, refuse_format
from tandemlens.learn.views import MIRRORED
from tandemlens.learn.weights import save_weights

if TYPE_CHECKING:
    import torch

    from tandemlens.learn.encoders import Encoder
    from tandemlens.learn.pooling import BagClassifier

DECLARATION = Declaration(
    name="mil",
    score="mil",
    kind="real",
    bands=1,
    columns=(
        Column(
            "mil",
            "float64",
            "",
            "log odds of a tandem by attention over its stamps, all classes weighed alike if so set; NaN if the head "
            "was not trained or the target has no stamp",
            ucd="stat.likelihood",
        ),
        Column(
            "mil_by",
            "str",
            "",
            "encoder of the stamps, or none where there is no score",
            ucd="meta.code.class;meta.modelled",
        ),
        Column(
            "attention",
            "str",
            "",
            "label:attention of every segment, the largest first; label 0 is the centre",
            ucd="stat.weight",
        ),
    ),
    fit_on={"run": ("folds",), "train": ("systems", "stamps"), "search": ("stamps",)},
    score_on=("stamps",),
    environment="deep",
)
log = logging.getLogger("tandemlens")
#: fewest positives in the training and in the early-stopping groups, and unlabelled systems
LEAST_TRAIN, LEAST_STOP, LEAST_UNLABELLED = 10, 2, 20
_FACTS, _WEIGHTS, _NONE = "mil.json", "weights.safetensors", "none"
#: settings that the network is made by
_NETWORK = ("width", "layers", "dropout")
_LOST = "run again, or set mil.device to cpu or a smaller mil.batch"


def fit(
    systems: pd.DataFrame,
    folds: pd.DataFrame,
    train_paths: list[str],
    search_paths: list[str],
    encoder_dir: str | None,
    model_dir: str,
    checkpoint: str | Path,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Train the head.

    Parameters
    ----------
    systems : pandas.DataFrame
        Columns target_id, class and label, of the whole training sample.
    folds : pandas.DataFrame
        Columns target_id, role and reason (`tandemlens.learn.sample.write_folds`); only the roles train and stop are
        looked at.
    train_paths, search_paths : list of str
        stamps.h5 of every shard of the training sample and of the search; the latter are read only if unlabelled
        systems have a share of the loss.
    encoder_dir : str or None
        models/encoder, for the setting ``pretrained``.
    model_dir : str
        Gets the head. Where a sample cannot be learnt from, or nothing was pretrained, one that scores nothing and
        says why.
    checkpoint : str or Path
        File of the last epoch that was done, from which training goes on if it was stopped; removed at the end.
    cfg : dict
        Section ``mil`` of the settings, and ``encoder`` and ``views`` (sections), ``bands``, ``seed``, ``threads`` and
        ``code`` (digest).
    progress : callable
        Called with epochs done and epochs at most.

    Raises
    ------
    InputError
        If there is no such device or encoder, its weight file is not as declared, or the device is lost.
    """
    device, folder = pick_device(cfg["device"]), Path(model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    _check_settings(cfg, encoder_dir)
    rng = np.random.default_rng(cfg["seed"])
    try:
        used = learnt_systems(systems, folds).set_index("target_id")
        bags = Bags(train_paths, set(used.index), search_paths if cfg["unlabelled_weight"] else ())
        rows, counts = _rows(bags, used, cfg)
        form = bags.format
        pretrained = load_encoder(encoder_dir, form.bands, form.pixels) if cfg["pretrained"] and encoder_dir else None
    except InputError as error:
        _refuse(folder, str(error))
        return
    learnt_from = {bags.target_ids[row] for row in rows.train}
    encoder = pretrained or new_encoder(bags.format, cfg["encoder"], rng, train_paths, learnt_from)
    # what was drawn at random is not worth keeping
    learnt = cfg["pretrained"] or cfg["encoder"]["weights"] == "file"
    frozen = encoder.freeze_blocks(cfg["frozen"] if learnt else 0)
    last = CheckpointFile(Path(checkpoint), _fingerprint(used, train_paths, search_paths, encoder_dir, cfg))
    network, report = _train(encoder, bags, rows, len(counts["classes"]), cfg, rng, device, progress, last)
    if not report["best_epoch"]:
        _refuse(folder, report["ended"])
        last.remove()
        return
    save_weights(folder / _WEIGHTS, network.state_dict())
    made = {
        "encoder": encoder.name,
        "pretrained": cfg["pretrained"],
        "frozen": frozen,
        **{name: cfg[name] for name in _NETWORK},
    }
    facts = {"trained": True, **made, "format": asdict(bags.format), **counts, **report}
    write_text(folder / _FACTS, json.dumps(facts, indent=1))
    last.remove()


def score(stamps_path: str, model_dir: str, out_path: str, cfg: dict[str, Any]) -> None:
    """Score a shard.

    Parameters
    ----------
    stamps_path : str
        stamps.h5 of the shard.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/mil.parquet: every target of the file; NaN where it has no stamp that can be used, and where no head was
        trained.
    cfg : dict
        Keys all_views, batch, device, threads and workers.

    Raises
    ------
    InputError
        If the stamps are of another make than those that the head was fitted to, or there is no such device or it is
        lost.
    """
    facts, bags = json.loads((Path(model_dir) / _FACTS).read_text()), Bags([stamps_path])
    table = pd.DataFrame({"target_id": bags.target_ids, "mil": np.nan, "mil_by": _NONE, "attention": ""})
    rows = np.flatnonzero(bags.filled)
    if facts["trained"]:
        refuse_format(stamps_path, bags.format, facts["format"], "mil")
        device = pick_device(cfg["device"])
        views = VIEWS if cfg["all_views"] else VIEWS[:1]
        with reproducible(device, cfg["threads"]), saying_lost_gpu(device, lambda: "while scoring", _LOST):
            network = _load(facts, Path(model_dir) / _WEIGHTS)
            found, attention = score_bags(network, bags, rows, cfg["batch"], device, views, cfg["workers"])
        table.loc[rows, "mil"], table.loc[rows, "mil_by"] = found, facts["encoder"]
        table.loc[rows, "attention"] = [_text(bags.labels[k], a) for k, a in zip(rows, attention, strict=True)]
    write_table(out_path, table.astype({"target_id": "str", "mil_by": "str", "attention": "str"}), DECLARATION.table)


def _check_settings(cfg: dict[str, Any], encoder_dir: str | None) -> None:
    if cfg["pretrained"] and not encoder_dir:
        raise InputError("mil.pretrained is true but this run has no stage pretrain; set it to false")
    joint = cfg["joint"]
    if joint["agreement"] + joint["hypersphere"] >= 1:
        raise InputError(
            f"mil.joint gives {joint['agreement']:g} to agreement and {joint['hypersphere']:g} to hypersphere, which "
            "leaves nothing for the labels; let the two be less than 1 together"
        )


def _refuse(folder: Path, reason: str) -> None:
    log.warning("the mil head is not trained: %s", reason)
    write_text(folder / _FACTS, json.dumps({"trained": False, "reason": reason}, indent=1))


def _fingerprint(
    used: pd.DataFrame, train_paths: list[str], search_paths: list[str], encoder_dir: str | None, cfg: dict[str, Any]
) -> str:
    """Digest of all that decides the weights."""
    files = [*train_paths, *(search_paths if cfg["unlabelled_weight"] else ())]
    files += sorted(map(str, Path(encoder_dir).iterdir())) if cfg["pretrained"] and encoder_dir else []
    return fingerprint(cfg, files, sorted(zip(used.index, used["role"], used["class"], strict=True)))


def _rows(bags: Bags, used: pd.DataFrame, cfg: dict[str, Any]) -> tuple[BagRows, dict[str, Any]]:
    """Which bags play which role, and how many there are."""
    known = used.reindex(bags.target_ids)
    labels = known["label"].eq(True).to_numpy() & ~bags.other
    role = {name: known["role"].eq(name).to_numpy() & ~bags.other for name in ("train", "stop")}
    rows = {name: np.flatnonzero(chosen & bags.filled) for name, chosen in role.items()}
    for name, least in (("train", LEAST_TRAIN), ("stop", LEAST_STOP)):
        positives, n = int(labels[rows[name]].sum()), len(rows[name])
        if positives < least or positives == n:
            raise InputError(
                f"role {name} has {positives} positives of {n} systems with stamps; the mil head needs {least} and "
                "some negatives: enlarge the training sample (samples.train)"
            )
    unlabelled = np.flatnonzero(bags.other & bags.filled)
    if cfg["unlabelled_weight"] and len(unlabelled) < LEAST_UNLABELLED:
        raise InputError(
            f"the search has {len(unlabelled)} systems with stamps; the mil head needs {LEAST_UNLABELLED} to learn "
            "from them: set mil.unlabelled_weight to 0"
        )
    counts: dict[str, Any] = {n: {"systems": len(rows[n]), "positives": int(labels[rows[n]].sum())} for n in rows}
    counts |= {"unlabelled": len(unlabelled), "without_stamps": len(used) - len(rows["train"]) - len(rows["stop"])}
    # tandems are class 0, and all other systems one class, or each its own
    every = known["class"] if cfg["classes"] else pd.Series("other", index=known.index)
    names = every.where(~labels & ~bags.other if cfg["classes"] else ~labels)
    numbers, others = pd.factorize(names, sort=True)
    return BagRows(numbers + 1, rows["train"], rows["stop"], unlabelled), {"classes": ["tandem", *others], **counts}


def _train(
    encoder: "Encoder",
    bags: Bags,
    rows: BagRows,
    classes: int,
    cfg: dict[str, Any],
    rng: np.random.Generator,
    device: "torch.device",
    progress: Callable[[int, int], None],
    checkpoint: CheckpointFile,
) -> "tuple[BagClassifier, dict[str, Any]]":
    settings = BagTraining(**{field.name: cfg[field.name] for field in fields(BagTraining)})
    geometry = np.concatenate([bags.geometry[k] for k in rows.train])
    network = create_classifier(encoder, geometry, cfg, classes, rng)
    shares = cfg["joint"]["agreement"], cfg["joint"]["hypersphere"]
    joint = JointLoss(network, *shares, rng) if any(shares) else None
    views = MIRRORED if cfg["augment"] == "mirrored" else cfg["views"]
    with reproducible(device, cfg["threads"]):
        report = train_bags(network, bags, rows, settings, views, rng, device, progress, joint, checkpoint)
    return network, report


def _load(facts: dict[str, Any], path: str | Path) -> "BagClassifier":
    form, rng = Format(**facts["format"]), np.random.default_rng(0)
    # the weights that are drawn are all replaced
    encoder = create_encoder(facts["encoder"], len(form.bands), form.pixels, rng)
    network = create_classifier(encoder, np.zeros((1, len(form.geometry))), facts, len(facts["classes"]), rng)
    network.load_state_dict(load_file(path))
    return network


def _text(labels: np.ndarray, attention: np.ndarray) -> str:
    """Segments with their attention, the largest first."""
    order = np.argsort(-attention, kind="stable")
    return " ".join(f"{labels[k]}:{attention[k]:.3f}" for k in order)
