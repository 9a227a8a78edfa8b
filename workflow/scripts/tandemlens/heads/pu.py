"""The head of positive-unlabelled learning: simulated tandems against the sample that is searched.

A classifier that learns from simulated contrasts knows the sky as it is simulated. This one learns what targets really
look like, at the price that a few of them are tandems (Elkan & Noto 2008, with the label frequency that the sampling
sets). It is used only if it beats the same classifier trained on simulated contrasts, on simulated tandems that neither
has seen against targets that it has not seen; and if it still tells tandems from contrasts that were simulated alike,
which a classifier that has learnt to see the paint cannot.

Targets that people have graded (`tandemlens.learn.grades`) are labels too: those that are lenses stand beside the
simulated tandems, those that are none stay among the targets and count as negatives. What was graded was mostly ranked
high before; the sweep over the strength of selection tells what that could move.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xgboost
from scipy.special import logit
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.preprocessing import scale

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.grades import LENS, NO_LENS
from tandemlens.base.columns.registry import Column
from tandemlens.base.columns.scores import PU_FOLDS
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table, write_table
from tandemlens.heads.declaration import Declaration
from tandemlens.learn.crossfit import LEARNERS, Member, cross_fit, fit_plain, make_classifier
from tandemlens.learn.folds import DEFAULTS, link_groups
from tandemlens.learn.grouped import grouped_folds
from tandemlens.learn.guard import gain
from tandemlens.learn.matrix import Standard, feature_matrix, feature_names, placed, usable
from tandemlens.learn.prior_estimate import dedpul, prior_from_counts
from tandemlens.learn.propensity import propensity_by_em, sensitivity_sweep
from tandemlens.learn.pu import case_control_frequency, label_weight, out_of_fold_g, placements, retrain, true_auc
from tandemlens.learn.sample import refuse_dropped

DECLARATION = Declaration(
    name="pu",
    score="pu",
    kind="log_odds",
    bands=2,
    columns=(
        Column(
            "pu",
            "float64",
            "",
            "log odds of a tandem in the sample of the fit; NaN if the head is not used",
            ucd="stat.likelihood",
        ),
        Column(
            "pu_by",
            "str",
            "",
            "trees, logistic, or none where the head is not used",
            ucd="meta.code.class;meta.modelled",
        ),
        Column(
            "pu_fold",
            "int32",
            "",
            "fold whose model, which has not seen the group, scored it; -1 for all of them",
            -1,
            ucd="meta.id.part;meta.modelled",
        ),
        Column(
            "pu_label",
            "str",
            "",
            "lens or no_lens where the head has learnt from its grade; empty elsewhere",
            ucd="meta.code.class;meta.modelled",
        ),
    ),
    fit_on={
        "run": ("folds", "expected", "grades"),
        "train": ("targets", "systems", "features"),
        "search": ("targets", "features"),
    },
    score_on=("targets", "features"),
)
log = logging.getLogger("tandemlens")
#: fewest tandems to learn from and to judge by, contrasts to judge by, and targets
LEAST_TRAIN, LEAST_STOP, LEAST_SEARCH = 10, 10, 20
#: a model a fold, each calibrated on the folds that are left by turns
LEAST_FOLDS = 3
#: what decides whether a tandem is noticed, and is therefore no feature
_CONTEXT = ["n_segments", "n_arcs"]
#: length of the list whose change a sweep tells
_TOP = 10
#: probabilities are kept this far from 0 and 1, where a logit has no value
_EDGE = 1e-12
_HEAD, _TREES, _FOLDS, _NONE = "pu.json", "trees_{}.json", "folds.parquet", "none"
_FACTS = ("used", "reason", "learner", "names", "report", "labels")


def fit(
    train: pd.DataFrame,
    search: pd.DataFrame,
    expected: pd.DataFrame | None,
    model_dir: str,
    cfg: dict[str, Any],
    labels: pd.Series | None = None,
) -> None:
    """Train the head and judge whether it is to be used.

    Parameters
    ----------
    train : pandas.DataFrame
        From `tandemlens.learn.sample.training_table` and `tandemlens.learn.matrix.placed`.
    search : pandas.DataFrame
        Features of the search sample, placed.
    expected : pandas.DataFrame or None
        Expected number of tandems of every target.
    model_dir : str
        Gets ``pu.json``, ``folds.parquet`` and the trees. Where a sample is too small, a head that scores nothing and
        says why.
    cfg : dict
        Section ``pu`` of the settings, and ``bands``, ``seed`` and ``threads``.
    labels : pandas.Series of bool, optional
        Graded targets, from `tandemlens.learn.grades.labelled_targets`.
    """
    try:
        head = fit_head(train, search, expected, cfg, labels)
    except InputError as error:
        log.warning("the pu head is not trained: %s", error)
        head = Head(reason=str(error))
    head.save(model_dir)


def score(targets: pd.DataFrame, features: pd.DataFrame, model_dir: str, out_path: str) -> None:
    """Score a shard.

    Parameters
    ----------
    targets, features : pandas.DataFrame
        Of the shard; only rows with features are scored.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/pu.parquet.
    """
    head, rows = Head.load(model_dir), usable(placed(features, targets))
    out = pd.DataFrame({"target_id": rows["target_id"], "pu": np.nan, "pu_by": _NONE, "pu_fold": -1})
    out["pu_label"] = [head.labels.get(target, "") for target in rows["target_id"]]
    if head.used and len(rows):
        out["pu"], out["pu_fold"] = head.score(rows, rows["group_id"])
        out["pu_by"] = head.learner
    write_table(out_path, out.astype({"target_id": "str"}), DECLARATION.table)


@dataclass
class Head:
    """A fitted head, or the reason why there is none.

    Parameters
    ----------
    used : bool
        Whether it scores.
    reason : str
        Why not.
    learner : str
        logistic or trees.
    names : list of str
        Features.
    members : list of Member
        One a fold, which has not seen the groups of that fold.
    folds : pandas.Series
        Fold of every field group.
    report : dict
        What was compared.
    labels : dict of str
        lens or no_lens of the graded targets that it has learnt from, by target_id.
    """

    used: bool = False
    reason: str = ""
    learner: str = _NONE
    names: list[str] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    folds: pd.Series = field(default_factory=lambda: pd.Series(dtype="int64"))
    report: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def score(self, features: pd.DataFrame, group_ids: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Log odds by the model that has not seen the group; the mean of all where none has.

        Parameters
        ----------
        features : (n, k) pandas.DataFrame
        group_ids : (n,) pandas.Series of str

        Returns
        -------
        margin : (n,) ndarray
        fold : (n,) ndarray of int
            -1 where none has.
        """
        values = feature_matrix(features, self.names)
        fold = group_ids.map(self.folds).fillna(-1).astype(int).to_numpy()
        margins = np.array([member.margin(values) for member in self.members])
        return np.where(fold < 0, margins.mean(axis=0), margins[fold, np.arange(len(fold))]), fold

    def save(self, folder: str | Path) -> None:
        """Write the head into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for k, member in enumerate(self.members):
            line = {"standard": member.standard.lists()}
            if self.learner == "trees":
                write_text(folder / _TREES.format(k), member.model.save_raw("json").decode())
            else:
                line["weights"] = member.model.tolist()
            lines.append(line)
        facts = {name: getattr(self, name) for name in _FACTS}
        write_text(folder / _HEAD, json.dumps({**facts, "members": lines}, indent=1))
        table = pd.DataFrame({"group_id": self.folds.index.astype(str), "fold": self.folds.to_numpy()})
        write_table(folder / _FOLDS, table, PU_FOLDS)

    @classmethod
    def load(cls, folder: str | Path) -> "Head":
        """Read a head from a folder."""
        folder = Path(folder)
        facts = json.loads((folder / _HEAD).read_text())
        members = []
        for k, line in enumerate(facts.pop("members")):
            if facts["learner"] == "trees":
                model = xgboost.Booster(model_file=folder / _TREES.format(k))
            else:
                model = np.array(line["weights"])
            members.append(Member(Standard.from_lists(line["standard"]), model))
        folds = read_table(folder / _FOLDS).set_index("group_id")["fold"]
        return cls(**facts, members=members, folds=folds)


def fit_head(
    train: pd.DataFrame,
    search: pd.DataFrame,
    expected: pd.DataFrame,
    cfg: dict[str, Any],
    labels: pd.Series | None = None,
) -> Head:
    """Fit a model a fold by either learner, choose one, and judge it.

    Parameters
    ----------
    train, search, expected, cfg, labels
        As for `fit`.

    Returns
    -------
    Head

    Raises
    ------
    InputError
        If a sample does not allow it.
    """
    labels = pd.Series(dtype=bool) if labels is None else labels
    refuse_dropped(train["role"], train["reason_role"])
    train, search = usable(train), usable(search)
    names, rng = feature_names(cfg["bands"]), np.random.default_rng(cfg["seed"])
    part = {
        (role, tandem): train[(train["role"] == role) & (train["label"] == tandem)]
        for role in ("train", "stop")
        for tandem in (True, False)
    }
    _check(part, search)
    sample = _sample(part["train", True], search, labels, names, cfg, rng)
    values = {key: feature_matrix(rows, names) for key, rows in part.items()}
    prior = _prior(expected, sample, cfg, rng)
    members, margins = {}, {}
    for learner in LEARNERS:
        rows = sample.values, sample.s, sample.fold
        members[learner], held_out = cross_fit(*rows, prior["prior"], make_classifier(learner, cfg), sample.negative)
        margins[learner] = _margins(members[learner], held_out[sample.s == 0], values)
    # the simpler one, unless it is beaten
    chosen = "trees" if gain(margins["trees"][0], margins["logistic"][0]).kept else "logistic"
    plain = fit_plain(values["train", True], values["train", False], make_classifier(chosen, cfg))
    margins["plain"] = _margins([plain], plain.margin(sample.values[sample.s == 0]), values)
    verdict = _verdict(margins, chosen, prior["prior"])
    report = {
        **verdict,
        **prior,
        "tandems": {role: len(part[role, True]) for role in ("train", "stop")},
        "targets": len(search),
        "graded": {LENS: int(labels.sum()), NO_LENS: int((~labels).sum())},
        "sensitivity": _sensitivity(sample, prior["label_frequency"], chosen, cfg),
    }
    used = verdict["kept"] or not cfg["guard"]
    reason, learnt = ("", labels.map({True: LENS, False: NO_LENS}).to_dict()) if used else (_refusal(verdict), {})
    return Head(used, reason, chosen, names, members[chosen], sample.folds, report, learnt)


@dataclass(frozen=True)
class _Sample:
    """Rows to learn from: tandems (s = 1), then targets (0, graded lenses 1); and the fold of every row and group."""

    rows: pd.DataFrame
    values: pd.DataFrame
    s: np.ndarray
    fold: np.ndarray
    negative: np.ndarray

    @property
    def folds(self) -> pd.Series:
        return pd.Series(self.fold, self.rows["group_id"], name="fold").groupby(level=0).first()


def _sample(
    tandems: pd.DataFrame,
    search: pd.DataFrame,
    labels: pd.Series,
    names: list[str],
    cfg: dict[str, Any],
    rng: np.random.Generator,
) -> "_Sample":
    """A simulated tandem and a target of the same sky, or of groups that are linked, stand in one fold."""
    rows = pd.concat([tandems.assign(cluster=tandems["group"]), search.assign(cluster="")], ignore_index=True)
    lenses, others = (search["target_id"].isin(labels.index[labels == lens]) for lens in (True, False))
    s = np.concatenate([np.ones(len(tandems), int), lenses.astype(int)])
    negative = np.concatenate([np.zeros(len(tandems), bool), others])
    splits = grouped_folds(s == 1, link_groups(rows, DEFAULTS["radius_arcmin"]), cfg["folds"], rng)
    if len(splits) < LEAST_FOLDS:
        raise InputError(
            f"tandems or targets lie in {len(splits)} field groups alone; the pu head needs {LEAST_FOLDS}: enlarge the "
            "sample"
        )
    fold = np.empty(len(rows), int)
    for k, (_, outside) in enumerate(splits):
        fold[outside] = k
    values = pd.concat([feature_matrix(part, names) for part in (tandems, search)], ignore_index=True)
    return _Sample(rows, values, s, fold, negative)


def _check(part: dict[tuple[str, bool], pd.DataFrame], search: pd.DataFrame) -> None:
    least = {"train": LEAST_TRAIN, "stop": LEAST_STOP}
    for (role, tandem), rows in part.items():
        if len(rows) < least[role]:
            raise InputError(
                f"role {role} has {len(rows)} {'tandems' if tandem else 'contrasts'} with features; the pu head needs "
                f"{least[role]}: enlarge the training sample (samples.train)"
            )
    if len(search) < LEAST_SEARCH:
        raise InputError(
            f"the search sample has {len(search)} targets with features; the pu head needs {LEAST_SEARCH}: search more "
            "or leave the head out (heads)"
        )


def _prior(
    expected: pd.DataFrame | None, sample: _Sample, cfg: dict[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """Share of tandems among the targets, at most one half, and how it was found."""
    if expected is not None and len(expected):
        estimate, _ = prior_from_counts(expected, rng)
    else:
        x = Standard.of(sample.values)(sample.values)
        classifier = make_classifier("logistic", cfg)
        g = out_of_fold_g(classifier, x, sample.s, sample.fold, LeaveOneGroupOut())
        margin = logit(np.clip(g, _EDGE, 1 - _EDGE))
        # of the estimators the one that overestimates least where classes overlap
        estimate = dedpul(margin[sample.s == 1], margin[sample.s == 0], rng)
    known = bool(np.isfinite(estimate.alpha))
    alpha = min(estimate.alpha if known else estimate.bound, 0.5)
    frequency = case_control_frequency(int(sample.s.sum()), int((sample.s == 0).sum()), alpha)
    facts = {"method": estimate.method, "is_upper_limit": not known, "reason": estimate.reason}
    return {"prior": alpha, "label_frequency": frequency, "prior_from": facts}


#: of tandems and targets, and of tandems and contrasts
_Margins: TypeAlias = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _margins(members: list[Member], of_targets: np.ndarray, values: dict[tuple[str, bool], pd.DataFrame]) -> _Margins:
    """Margins of tandems of role stop and of targets, and of the same tandems and contrasts of role stop."""
    tandems, contrasts = (np.mean([m.margin(values["stop", y]) for m in members], axis=0) for y in (True, False))
    return (tandems, of_targets), (tandems, contrasts)


def _verdict(margins: dict[str, _Margins], chosen: str, alpha: float) -> dict[str, Any]:
    (on_targets, on_contrasts), (plain, plain_on_contrasts) = margins[chosen], margins["plain"]
    found = gain(on_targets, plain)
    # against a constant the gain is what exceeds one half
    paint = gain(on_contrasts, (np.zeros(len(on_contrasts[0])), np.zeros(len(on_contrasts[1]))))
    s = np.repeat([1, 0], [len(margin) for margin in plain])
    return {
        "kept": found.kept and paint.kept,
        "auroc": {name: true_auc(np.concatenate(both), s, alpha) for name, (both, _) in margins.items()},
        "error_of_gain": found.error / (1 - alpha),
        "auroc_on_contrasts": {"pu": paint.auc_candidate, "plain": float(placements(*plain_on_contrasts)[0].mean())},
        "error_on_contrasts": paint.error,
        "chosen": chosen,
    }


def _refusal(verdict: dict[str, Any]) -> str:
    area, contrasts = verdict["auroc"], verdict["auroc_on_contrasts"]
    return (
        f"its AUROC is {area[verdict['chosen']]:.3f} on targets, where simulated contrasts teach {area['plain']:.3f} "
        f"(error of the difference {verdict['error_of_gain']:.3f}), and {contrasts['pu']:.3f} on simulated contrasts "
        f"(error {verdict['error_on_contrasts']:.3f}); it is used where it beats the one and one half by the error"
    )


def _sensitivity(sample: _Sample, frequency: float, learner: str, cfg: dict[str, Any]) -> dict[str, Any]:
    """How the order of the targets changes if bright tandems in deep images are the likelier ones to be labelled."""
    classifier, s = make_classifier(learner, cfg), sample.s
    standard = Standard.of(sample.values)
    x, context = standard(sample.values), scale(sample.rows[_CONTEXT].to_numpy(float))
    propensity, _ = propensity_by_em(x, context, s, frequency)
    g = out_of_fold_g(classifier, x, s, sample.fold, LeaveOneGroupOut())

    def refit(e: np.ndarray) -> np.ndarray:
        weight = label_weight(g, s, e, sample.negative)
        return Member.of(standard, retrain(classifier, x, s, weight)).margin(sample.values[s == 0])

    sweep = sensitivity_sweep(refit, propensity, s, frequency)
    first = [set(np.argsort(-line, kind="stable")[:_TOP].tolist()) for line in sweep.scores]
    return {
        "context": _CONTEXT,
        "strengths": sweep.strengths.tolist(),
        "rank_spread_median": float(np.median(sweep.rank_spread)),
        "rank_spread_largest": float(sweep.rank_spread.max()),
        f"always_in_first_{_TOP}": len(set.intersection(*first)),
    }
