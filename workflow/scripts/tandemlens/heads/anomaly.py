"""The anomaly head: how unlike all simulated non-lenses a system is, whatever it may be instead.

It has seen no tandem, and so may find one that no simulation foresaw; satellite trails and mergers it finds as well.
The Mahalanobis distance on the feature table is used unless neighbours or a hypersphere find classes that were left out
of the training better, by more than the error.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.registry import Column
from tandemlens.base.errors import InputError
from tandemlens.base.status import OK
from tandemlens.base.tables import write_table
from tandemlens.heads.declaration import Declaration
from tandemlens.learn.classifier import reproducible
from tandemlens.learn.detectors import (
    Hypersphere,
    HypersphereSettings,
    Neighbours,
    as_double,
    fit_detector,
    restore_detector,
)
from tandemlens.learn.encoders import load_encoder, save_encoder
from tandemlens.learn.evidence import Ranks
from tandemlens.learn.hypersphere import effective_rank
from tandemlens.learn.left_out import LEAST_TRAIN, NonLenses, choose_detector, find_left_out
from tandemlens.learn.matrix import Standard, feature_matrix, feature_names, usable
from tandemlens.learn.probe import system_features
from tandemlens.learn.pu import placements
from tandemlens.learn.sample import refuse_dropped
from tandemlens.learn.stamps import stamp_blocks
from tandemlens.learn.weights import save_weights

if TYPE_CHECKING:
    from tandemlens.learn.encoders import Encoder

DECLARATION = Declaration(
    name="anomaly",
    score="anomaly",
    kind="anomaly",
    bands=2,
    columns=(
        Column(
            "anomaly",
            "float64",
            "",
            "rank among held-out simulated non-lenses of how unlike those it is; NaN if the head was not trained",
            0,
            1,
            "stat.percentile",
        ),
        Column(
            "anomaly_by",
            "str",
            "",
            "how that is measured (tandemlens.learn.detectors), or none",
            ucd="meta.code.class;meta.modelled",
        ),
    ),
    fit_on={"run": ("folds",), "train": ("systems", "features")},
    score_on=("features",),
    environment="deep",
)
log = logging.getLogger("tandemlens")
#: fewest non-lenses by which scores become ranks
LEAST_STOP = 10
_HEAD, _DETECTOR, _NONE, _AUTO = "anomaly.json", "detector.safetensors", "none", "auto"
#: stamps that an encoder takes together
_BATCH = 256
_FACTS = ("by", "reason", "names", "report")


def fit(
    table: pd.DataFrame, model_dir: str, cfg: dict[str, Any], encoder_dir: str | None = None, stamps: Sequence[str] = ()
) -> None:
    """Choose and fit a detector on the non-lenses of role train, with ranks from those of role stop.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tandemlens.learn.sample.training_table`.
    model_dir : str
        Gets ``anomaly.json`` and ``detector.safetensors``, and the encoder if it is used. Where the sample is too
        small, or nothing was pretrained, a head that scores nothing and says why.
    cfg : dict
        Section ``anomaly`` of the settings, and ``bands``, ``seed`` and ``threads``.
    encoder_dir : str, optional
        models/encoder, whose features replace those of the table if the setting ``features`` says so.
    stamps : sequence of str
        stamps.h5 of the shards of the training sample, for the encoder.

    Raises
    ------
    InputError
        If features of an encoder are asked for and there is none.
    """
    if cfg["features"] == "encoder" and not encoder_dir:
        raise InputError("anomaly.features is encoder but this run has no stage pretrain; set it to table")
    names = feature_names(cfg["bands"])
    try:
        with reproducible(torch.device("cpu"), cfg["threads"]):
            if cfg["features"] == "encoder" and encoder_dir:
                table, names = _encode_sample(table, model_dir, encoder_dir, stamps)
            head = fit_head(table, cfg, names)
    except InputError as error:
        log.warning("the anomaly head is not trained: %s", error)
        head = Head(reason=str(error))
    head.save(model_dir)


def score(features: pd.DataFrame, model_dir: str, out_path: str, stamps: str | None = None) -> None:
    """Score a shard.

    Parameters
    ----------
    features : pandas.DataFrame
        Feature table of the shard; only rows of status ok are scored.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/anomaly.parquet.
    stamps : str, optional
        stamps.h5 of the shard, for a head that was fitted to features of an encoder; what has no stamp is not scored.

    Raises
    ------
    InputError
        If the stamps are not as the encoder takes them.
    """
    head = Head.load(model_dir)
    if stamps and head.by != _NONE:
        form = stamp_blocks([stamps], _BATCH)[1]
        features = encoded(load_encoder(model_dir, form.bands, form.pixels), [stamps], set(features["target_id"]))
    rows = usable(features)
    out = pd.DataFrame({"target_id": rows["target_id"], "anomaly": np.nan, "anomaly_by": head.by})
    if head.by != _NONE and len(rows):
        with reproducible(torch.device("cpu"), 1):
            out["anomaly"] = head.score(rows)
    write_table(out_path, out.astype({"target_id": "str", "anomaly_by": "str"}), DECLARATION.table)


def encoded(encoder: "Encoder", paths: Sequence[str], wanted: set[str]) -> pd.DataFrame:
    """Features of an encoder in place of the feature table.

    Parameters
    ----------
    encoder : tandemlens.learn.encoders.Encoder
    paths : list of str
        stamps.h5 of the shards.
    wanted : set of str

    Returns
    -------
    pandas.DataFrame
        target_id, status ok and columns ``encoder_*`` (`tandemlens.learn.probe.system_features`), of those with stamps.
    """
    target_ids, features = system_features(encoder, paths, wanted, _BATCH, torch.device("cpu"))
    columns = {f"encoder_{k}": values for k, values in enumerate(features.T)}
    return pd.DataFrame({"target_id": pd.Series(target_ids, dtype="str"), "status": OK, **columns})


def _encode_sample(
    table: pd.DataFrame, model_dir: str, encoder_dir: str, stamps: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The training sample with features of the encoder, which is kept beside the head; and their names."""
    form = stamp_blocks(stamps, _BATCH)[1]
    encoder = load_encoder(encoder_dir, form.bands, form.pixels)
    Path(model_dir).mkdir(parents=True, exist_ok=True)
    save_encoder(encoder, model_dir, {"bands": form.bands})
    found = encoded(encoder, stamps, set(table["target_id"]))
    facts = table[["target_id", "class", "label", "group", "role", "reason_role"]]
    names = [name for name in found if name.startswith("encoder_")]
    return facts.merge(found, on="target_id", how="left"), names


@dataclass
class Head:
    """A fitted head, or the reason why there is none.

    Parameters
    ----------
    by : str
        Of `tandemlens.learn.detectors.METHODS`; none if it does not score.
    reason : str
        Why not.
    names : list of str
        Features.
    report : dict
        What was compared, and how training went.
    standard : tandemlens.learn.matrix.Standard
    null : tandemlens.learn.evidence.Ranks
        Of the distances of held-out non-lenses.
    detector : Hypersphere or Neighbours
    """

    by: str = _NONE
    reason: str = ""
    names: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    standard: Standard | None = None
    null: Ranks | None = None
    detector: Hypersphere | Neighbours | None = None

    def distance(self, features: pd.DataFrame) -> np.ndarray:
        """Distances, (n,) ndarray, of rows with features from the training sample, as the detector measures them."""
        assert self.detector is not None  # a head without says so, and is not asked
        assert self.standard is not None
        return self.detector.score(self.standard(feature_matrix(features, self.names)))

    def score(self, features: pd.DataFrame) -> np.ndarray:
        """Ranks, (n,) ndarray in (0, 1), of rows with features among held-out non-lenses."""
        assert self.null is not None  # as above
        return self.null(self.distance(features))

    def save(self, folder: str | Path) -> None:
        """Write the head into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        facts = {name: getattr(self, name) for name in _FACTS}
        if self.detector is not None and self.standard is not None and self.null is not None:
            facts |= {"standard": self.standard.lists(), "null": asdict(self.null)}
            save_weights(folder / _DETECTOR, self.detector.state_dict())
        write_text(folder / _HEAD, json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> "Head":
        """Read a head from a folder."""
        folder = Path(folder)
        facts = json.loads((folder / _HEAD).read_text())
        if "standard" not in facts:
            return cls(**facts)
        facts |= {"standard": Standard.from_lists(facts["standard"]), "null": Ranks(**facts["null"])}
        return cls(**facts, detector=restore_detector(facts["by"], load_file(folder / _DETECTOR)))


def fit_head(table: pd.DataFrame, cfg: dict[str, Any], names: list[str]) -> Head:
    """Compare the detectors, and fit the one that is chosen.

    Parameters
    ----------
    table, cfg
        As for `fit`.
    names : list of str
        Columns of features.

    Returns
    -------
    Head

    Raises
    ------
    InputError
        If the sample does not allow it.
    """
    refuse_dropped(table["role"], table["reason_role"])
    used = usable(table[table["role"].isin(("train", "stop"))])
    lens = used["label"].to_numpy(bool)
    sample = _non_lenses(used[~lens], names)
    settings = HypersphereSettings(**{f.name: cfg[f.name] for f in fields(HypersphereSettings)})
    scores, refused = find_left_out(sample, settings, cfg["seed"])
    held_out = sample.classes[sample.held_out], sample.groups[sample.held_out]
    chosen, compared = choose_detector(scores, refused, *held_out)
    by = chosen if cfg["method"] == _AUTO else cfg["method"]
    standard = Standard.of(sample.values[sample.train])
    x = standard(sample.values[sample.train])
    head = Head(by=by, names=names, standard=standard)
    head.detector = fit_detector(by, x, settings, np.random.default_rng(cfg["seed"]))
    null = head.distance(sample.values[sample.held_out])
    head.null = Ranks.of(null)
    head.report = {
        "chosen": chosen,
        **compared,
        "refused": refused,
        "non_lenses": {"train": len(x), "stop": len(null)},
        "training": _training(head.detector, x),
        "auroc_tandem": _area_of_tandems(head, used[lens & (used["role"] == "stop").to_numpy()], null),
    }
    return head


def _non_lenses(used: pd.DataFrame, names: list[str]) -> NonLenses:
    roles = used["role"].to_numpy(object)
    for role, least in (("train", LEAST_TRAIN), ("stop", LEAST_STOP)):
        count = int((roles == role).sum())
        if count < least:
            raise InputError(
                f"role {role} has {count} non-lenses with features; the anomaly head needs {least}: enlarge the "
                "training sample (samples.train)"
            )
    classes, groups = (used[name].to_numpy(object).astype(str) for name in ("class", "group"))
    return NonLenses(feature_matrix(used, names), classes, groups, roles == "train", roles == "stop")


def _training(detector: Hypersphere | Neighbours, x: np.ndarray) -> dict[str, Any]:
    """First and last loss of a network, and in how many dimensions it keeps the sample; nothing where there is none."""
    if isinstance(detector, Neighbours) or not detector.losses:
        return {}
    with torch.no_grad():
        kept = effective_rank(detector.network(as_double(x)))
    return {"first_loss": detector.losses[0], "last_loss": detector.losses[-1], "effective_rank": kept}


def _area_of_tandems(head: Head, tandems: pd.DataFrame, null: np.ndarray) -> float | None:
    """Area under the ROC curve of held-out tandems, told and not used; None without any."""
    return float(placements(head.distance(tandems), null)[0].mean()) if len(tandems) else None
