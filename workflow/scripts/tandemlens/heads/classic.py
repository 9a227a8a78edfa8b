"""The classic head: boosted trees on the feature table, checked against a penalised logistic regression on the same.

The trees are an ensemble over inner folds. The simpler one is shipped unless they beat it, on groups of the training
sample that neither has seen, by more than the error of the difference.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.registry import Column
from tandemlens.base.errors import InputError
from tandemlens.base.tables import write_table
from tandemlens.heads.declaration import Declaration
from tandemlens.learn.grouped import inner_folds
from tandemlens.learn.linear import Line
from tandemlens.learn.matrix import feature_matrix, feature_names, usable
from tandemlens.learn.resample import paired_difference
from tandemlens.learn.sample import refuse_dropped
from tandemlens.learn.trees import Trees, tuned

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

DECLARATION = Declaration(
    name="classic",
    score="classic",
    kind="log_odds",
    bands=2,
    columns=(
        Column(
            "classic",
            "float64",
            "",
            "log odds of a tandem at the prior of the training sample; NaN if none was trained",
            ucd="stat.likelihood",
        ),
        Column(
            "classic_by",
            "str",
            "",
            "trees, logistic, or none where the training sample is too small",
            ucd="meta.code.class;meta.modelled",
        ),
        Column(
            "drivers",
            "str",
            "",
            "the five features that moved the score most, each with what it added",
            ucd="meta.note",
        ),
    ),
    fit_on={"run": ("folds",), "train": ("systems", "features")},
    score_on=("features",),
    # below some 10,000 systems two threads of XGBoost take as long as one
    threads=1,
)
log = logging.getLogger("tandemlens")
#: both are learnt from: the boosters leave out and end on folds of their own
_ROLES = ("train", "stop")
#: fewest positives in them
LEAST = 12
_LEARNERS = ("trees", "logistic")
_ONE_SIGMA = 0.683
#: features that are named as what moved a score
_DRIVERS = 5
_HEAD, _TREES, _NONE = "classic.json", "trees.json", "none"


def fit(table: pd.DataFrame, model_dir: str, cfg: dict[str, Any]) -> None:
    """Train the head.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tandemlens.learn.sample.training_table`.
    model_dir : str
        Gets the head and ``trials.db``. Where the sample is too small, a head that scores nothing and says why.
    cfg : dict
        As for `fit_classic`.
    """
    folder = Path(model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        refuse_dropped(table["role"], table["reason_role"])
        storage = str(folder / "trials.db") if cfg["trials"] else None
        head = fit_classic(table, table["label"], table["group"], table["role"], cfg, storage)
    except InputError as error:
        log.warning("the classic head is not trained: %s", error)
        write_text(folder / _HEAD, json.dumps({"learner": _NONE, "reason": str(error)}))
    else:
        head.save(folder)


def score(features: pd.DataFrame, model_dir: str, out_path: str) -> None:
    """Score a shard.

    Parameters
    ----------
    features : pandas.DataFrame
        Feature table of the shard; only rows of status ok are scored.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/classic.parquet.
    """
    rows = usable(features)
    out = pd.DataFrame({"target_id": rows["target_id"], "classic": np.nan, "classic_by": _NONE, "drivers": ""})
    if json.loads((Path(model_dir) / _HEAD).read_text())["learner"] != _NONE and len(rows):
        head = Classic.load(model_dir)
        out["classic"], out["classic_by"] = head.score(rows), head.learner
        out["drivers"] = _drivers(head.contributions(rows).drop(columns="bias"))
    write_table(out_path, out.astype({"target_id": "str"}), DECLARATION.table)


def _drivers(parts: pd.DataFrame) -> list[str]:
    """The features that moved each score most, as text."""
    order = np.argsort(-np.abs(parts.to_numpy()), axis=1)[:, :_DRIVERS]
    names = parts.columns.to_numpy()
    return [
        " ".join(f"{names[k]}:{row[k]:+.2f}" for k in top) for row, top in zip(parts.to_numpy(), order, strict=True)
    ]


@dataclass
class Classic:
    """A fitted head.

    Parameters
    ----------
    names : list of str
        Features.
    learner : str
        trees or logistic; the one that scores.
    trees : tandemlens.learn.trees.Trees
    line : tandemlens.learn.linear.Line
    report : dict
        What was tried and how it did.
    """

    names: list[str]
    learner: str
    trees: Trees
    line: Line
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def _model(self) -> Trees | Line:
        return self.trees if self.learner == "trees" else self.line

    def contributions(self, features: pd.DataFrame) -> pd.DataFrame:
        """What every feature adds to the score.

        Parameters
        ----------
        features : pandas.DataFrame

        Returns
        -------
        pandas.DataFrame
            One column a feature, and ``bias``; a row sums to the score.
        """
        parts = self._model.contributions(feature_matrix(features, self.names))
        return pd.DataFrame(parts, columns=[*self.names, "bias"], index=features.index)

    def score(self, features: pd.DataFrame) -> np.ndarray:
        """Log odds of a tandem at the prior of the training sample; larger is more like one.

        Parameters
        ----------
        features : pandas.DataFrame

        Returns
        -------
        (n,) float ndarray
        """
        return self._model.score(feature_matrix(features, self.names))

    def save(self, folder: str | Path) -> None:
        """Write the head.

        Parameters
        ----------
        folder : str or Path
            Gets ``trees.json`` (a list of boosters in XGBoost's own format) and ``classic.json``.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / _TREES, self.trees.to_json())
        facts = {name: getattr(self, name) for name in ("names", "learner", "report")}
        write_text(folder / _HEAD, json.dumps({**facts, "line": self.line.to_dict()}, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> "Classic":
        """Read a head.

        Parameters
        ----------
        folder : str or Path

        Returns
        -------
        Classic
        """
        facts = json.loads((Path(folder) / _HEAD).read_text())
        line, trees = Line.from_dict(facts.pop("line")), Trees.from_json((Path(folder) / _TREES).read_text())
        return cls(trees=trees, line=line, **facts)


def fit_classic(
    features: pd.DataFrame,
    labels: np.ndarray,
    groups: "ArrayLike",
    roles: np.ndarray,
    cfg: dict[str, Any],
    storage: str | None = None,
    names: list[str] | None = None,
) -> Classic:
    """Fit trees and logistic regression, and choose.

    Parameters
    ----------
    features : pandas.DataFrame
        Columns of the feature table.
    labels : (n,) bool or {0, 1} array_like
    groups : (n,) array_like
        Field groups, which inner folds keep whole.
    roles : (n,) array of str
        Systems of ``train`` and ``stop`` are learnt from; inner folds of both end the boosting and choose.
    cfg : dict
        Section ``classic`` of the settings, and ``bands``, ``seed`` and ``threads``.
    storage : str, optional
        SQLite file in which the search for hyperparameters is kept and resumed.
    names : list of str, optional
        Features to look at; all by default.

    Returns
    -------
    Classic

    Raises
    ------
    InputError
        If labels, groups or roles do not allow it.
    """
    names = feature_names(cfg["bands"]) if names is None else names
    rows = np.isin(np.asarray(roles), _ROLES)
    values, labels, groups = feature_matrix(features, names)[rows], _labels(labels)[rows], np.asarray(groups)[rows]
    _check(labels, groups)
    chosen = tuned(values, labels, groups, cfg, storage)
    trees = Trees.fit(values, labels, groups, chosen, cfg)
    line = Line.fit(values, labels, groups, cfg["seed"])
    learner, compared = _choose(values, labels, groups, chosen, cfg)
    counts = {"systems": len(labels), "positives": int(labels.sum()), "rounds": trees.rounds}
    return Classic(names, learner, trees, line, {**counts, **compared, "hyperparameters": chosen})


def _choose(
    values: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, chosen: dict[str, float], cfg: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Trees only if their AUROC is larger by more than its error over groups, on folds that neither has seen."""
    scores = {learner: np.full(len(labels), np.nan) for learner in _LEARNERS}
    # the folds are not those that the hyperparameters of the trees were tuned on
    for inside, outside in inner_folds(labels, groups, cfg["seed"] + 1):
        part, rest = (values.iloc[inside], labels[inside], groups[inside]), values.iloc[outside]
        scores["trees"][outside] = Trees.fit(*part, chosen, cfg).score(rest)
        scores["logistic"][outside] = Line.fit(*part, cfg["seed"]).score(rest)
    seen = np.isfinite(scores["trees"])
    scores, labels, groups = {k: v[seen] for k, v in scores.items()}, labels[seen], groups[seen]
    areas = {learner: float(roc_auc_score(labels, s)) for learner, s in scores.items()}
    rng = np.random.default_rng(cfg["seed"])
    found = paired_difference(scores["trees"], scores["logistic"], labels, "auroc", rng, groups, level=_ONE_SIGMA)
    learner = "trees" if found["low"] > 0 else "logistic"
    return learner, {"auroc": areas, "difference": [found["low"], found["high"]]}


def _labels(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    found = set(np.unique(labels).tolist())
    if not found <= {0, 1}:
        raise InputError(f"labels are {sorted(found)}; 0 and 1 are allowed")
    return labels.astype(int)


def _check(labels: np.ndarray, groups: np.ndarray) -> None:
    positives = int(labels.sum())
    if positives < LEAST or positives == len(labels):
        raise InputError(
            f"roles train and stop have {positives} positives of {len(labels)} systems; the classic head needs {LEAST} "
            "and some negatives: enlarge the training sample (samples.train)"
        )
    if len(np.unique(groups)) < 2:
        raise InputError("the training systems are one field group; inner folds need two: enlarge the training sample")
