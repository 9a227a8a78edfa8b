"""The classic head: boosted trees on the feature table, checked against a penalised logistic regression on the same.

The head that is shipped is the simpler one unless the trees beat it, on groups of the training sample that neither has
seen, by more than the error of the difference.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import xgboost
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.scores import CLASSIC
from tandemlens.base.errors import InputError
from tandemlens.base.tables import write_table
from tandemlens.heads.declaration import Declaration
from tandemlens.learn.fusers import grouped_folds
from tandemlens.learn.matrix import feature_matrix, feature_names, usable
from tandemlens.learn.resample import paired_difference
from tandemlens.learn.sample import refuse_dropped

DECLARATION = Declaration(
    name="classic",
    score="classic",
    kind="log_odds",
    bands=2,
    fit_on={"run": ("folds",), "train": ("systems", "features")},
    score_on=("features",),
    # below some 10,000 systems two threads of XGBoost take as long as one
    threads=1,
)
log = logging.getLogger("tandemlens")
#: signs that lensing by a second cluster dictates (methods 4); arc_excess_z, seeing and curvature itself have none
CONSTRAINTS = {
    "lw_max": 1,
    "lambda_bg_sigma": 1,
    "curvature_mismatch": -1,
    "ring_thickness": -1,
    "s_color_best": 1,
}
#: strengths of the ridge that inner cross-validation chooses from
_RIDGES = 10.0 ** np.arange(-4, 3)
_INNER_FOLDS = 4
#: standardised features of the ridge end here
_BOUND = 4.0
#: fewest positives in the training and in the early-stopping groups
LEAST_TRAIN, LEAST_STOP = 10, 2
_LEARNERS = ("trees", "logistic")
_ONE_SIGMA = 0.683
#: features that are named as what moved a score
_DRIVERS = 5
_HEAD, _TREES, _NONE = "classic.json", "trees.json", "none"


def fit(table, model_dir, cfg):
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
        storage = folder / "trials.db" if cfg["trials"] else None
        head = fit_classic(table, table["label"], table["group"], table["role"], cfg, storage)
    except InputError as error:
        log.warning("the classic head is not trained: %s", error)
        write_text(folder / _HEAD, json.dumps({"learner": _NONE, "reason": str(error)}))
    else:
        head.save(folder)


def score(features, model_dir, out_path):
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
    write_table(out_path, out.astype({"target_id": "str"}), CLASSIC)


def _drivers(parts):
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
        trees or logistic.
    booster : xgboost.Booster
    weights, centre, spread, fill : (feature,) ndarray
        Of the logistic regression: on standardised features within +-4, whose missing values are filled.
    intercept : float
    report : dict
        What was tried and how it did.
    """

    names: list
    learner: str
    booster: xgboost.Booster
    weights: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    fill: np.ndarray
    intercept: float
    report: dict = field(default_factory=dict)

    def contributions(self, features):
        """What every feature adds to the score (exact TreeSHAP: Lundberg et al. 2020, Nat. Mach. Intell. 2, 56).

        Parameters
        ----------
        features : pandas.DataFrame

        Returns
        -------
        pandas.DataFrame
            One column a feature, and ``bias``; a row sums to the score.
        """
        values = feature_matrix(features, self.names)
        columns = [*self.names, "bias"]
        if self.learner == "trees":
            parts = self.booster.predict(xgboost.DMatrix(values), pred_contribs=True)
            return pd.DataFrame(parts.astype(float), columns=columns, index=features.index)
        parts = self._standardised(values) * self.weights
        return pd.DataFrame(parts, columns=self.names, index=features.index).assign(bias=self.intercept)

    def score(self, features):
        """Log odds of a tandem at the prior of the training sample; larger is more like one.

        Parameters
        ----------
        features : pandas.DataFrame

        Returns
        -------
        (n,) float ndarray
        """
        values = feature_matrix(features, self.names)
        if self.learner == "trees":
            return self.booster.predict(xgboost.DMatrix(values), output_margin=True).astype(float)
        return self._standardised(values) @ self.weights + self.intercept

    def _standardised(self, values):
        values = values.to_numpy(float)
        return _bounded((np.where(np.isnan(values), self.fill, values) - self.centre) / self.spread)

    def save(self, folder):
        """Write the head.

        Parameters
        ----------
        folder : str or Path
            Gets ``trees.json`` (XGBoost's own format) and ``classic.json``.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / _TREES, self.booster.save_raw("json").decode())
        line = {name: getattr(self, name).tolist() for name in ("weights", "centre", "spread", "fill")}
        facts = {
            "names": self.names,
            "learner": self.learner,
            "intercept": self.intercept,
            "report": self.report,
            **line,
        }
        write_text(folder / _HEAD, json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder):
        """Read a head.

        Parameters
        ----------
        folder : str or Path

        Returns
        -------
        Classic
        """
        facts = json.loads((Path(folder) / _HEAD).read_text())
        line = {name: np.array(facts.pop(name), float) for name in ("weights", "centre", "spread", "fill")}
        booster = xgboost.Booster()
        booster.load_model(Path(folder) / _TREES)
        return cls(booster=booster, **line, **facts)


def fit_classic(features, labels, groups, roles, cfg, storage=None, names=None):
    """Fit trees and logistic regression, and choose.

    Parameters
    ----------
    features : pandas.DataFrame
        Columns of the feature table.
    labels : (n,) bool or {0, 1} array_like
    groups : (n,) array_like
        Field groups, which inner folds keep whole.
    roles : (n,) array of str
        ``train`` to fit and to compare, ``stop`` to end boosting; other rows are not looked at.
    cfg : dict
        Section ``classic`` of the settings, and ``bands`` and ``seed``.
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
    values, labels, groups, roles = (
        feature_matrix(features, names),
        _labels(labels),
        np.asarray(groups),
        np.asarray(roles),
    )
    train, stop = (np.flatnonzero(roles == role) for role in ("train", "stop"))
    _check(labels, groups, train, stop)
    parts, end = (values.iloc[train], labels[train], groups[train]), (values.iloc[stop], labels[stop])
    found = tuned(*parts, cfg, storage) if cfg["trials"] else {}
    chosen = {**_start(cfg), **found}
    booster = _boost(*parts[:2], *end, chosen, cfg)
    learner, compared = _choose(*parts, end, chosen, cfg)
    head = Classic(names, learner, booster, **_as_line(_logistic(*parts, cfg["seed"])))
    rounds = booster.num_boosted_rounds()
    counts = {"train": len(train), "positives": int(labels[train].sum()), "rounds": rounds}
    head.report = {**counts, **compared, "hyperparameters": chosen}
    return head


def tuned(values, labels, groups, cfg, storage=None):
    """Hyperparameters of the least inner cross-validated log loss (Optuna, seeded; a search that is kept goes on).

    Parameters
    ----------
    values : pandas.DataFrame
    labels : (n,) int ndarray
    groups : (n,) ndarray
    cfg : dict
        As for `fit_classic`; ``trials`` is the budget.
    storage : str, optional

    Returns
    -------
    dict
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folds = _inner(labels, groups, cfg["seed"])

    def loss(trial):
        chosen = {
            "max_depth": trial.suggest_int("max_depth", 2, 4),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "min_child_weight": trial.suggest_float("min_child_weight", 5, 50, log=True),
            "reg_lambda": trial.suggest_float("reg_lambda", 1, 10, log=True),
        }
        losses = []
        for inside, outside in folds:
            booster = _boost(
                values.iloc[inside],
                labels[inside],
                values.iloc[outside],
                labels[outside],
                {**_start(cfg), **chosen},
                cfg,
            )
            losses.append(float(booster.attr("best_score")))
        return float(np.mean(losses))

    study = optuna.create_study(
        study_name="classic",
        storage=f"sqlite:///{storage}" if storage else None,
        sampler=optuna.samplers.TPESampler(seed=cfg["seed"]),
        load_if_exists=True,
    )
    done = sum(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials)
    study.optimize(loss, n_trials=max(cfg["trials"] - done, 0))
    return study.best_params


def _start(cfg):
    return {
        "max_depth": cfg["max_depth"],
        "learning_rate": cfg["learning_rate"],
        "min_child_weight": cfg["min_child_weight"],
        "reg_lambda": cfg["reg_lambda"],
    }


def _boost(inside, labels, outside, outside_labels, chosen, cfg):
    """Trees, ended where the log loss of groups outside has not fallen for a while."""
    constraints = {name: sign for name, sign in CONSTRAINTS.items() if cfg["constraints"] and name in inside}
    settings = {
        **chosen,
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "seed": cfg["seed"],
        "nthread": cfg["threads"],
        "monotone_constraints": constraints,
    }
    booster = xgboost.train(
        settings,
        xgboost.DMatrix(inside, labels),
        num_boost_round=cfg["rounds"],
        evals=[(xgboost.DMatrix(outside, outside_labels), "stop")],
        early_stopping_rounds=cfg["patience"],
        verbose_eval=False,
    )
    best = booster[: booster.best_iteration + 1]
    best.set_attr(best_score=str(booster.best_score))
    return best


def _logistic(values, labels, groups, seed):
    folds = _inner(labels, groups, seed)
    ridge = LogisticRegressionCV(
        Cs=_RIDGES, cv=folds, scoring="neg_log_loss", max_iter=2000, l1_ratios=(0.0,), use_legacy_attributes=False
    )
    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(filled, StandardScaler(), FunctionTransformer(_bounded), ridge).fit(values, labels)


def _bounded(standardised):
    """A line knows no bounds: one feature of an artefact would outdo all others."""
    return np.clip(standardised, -_BOUND, _BOUND)


def _as_line(pipeline):
    """Numbers of a fitted pipeline."""
    imputer, scaler, _, ridge = (step for _, step in pipeline.steps)
    return {
        "weights": ridge.coef_[0],
        "intercept": float(ridge.intercept_[0]),
        "centre": scaler.mean_,
        "spread": scaler.scale_,
        "fill": imputer.statistics_,
    }


def _choose(values, labels, groups, end, chosen, cfg):
    """Trees only if their AUROC is larger by more than its error over groups, on inner folds that neither has seen."""
    scores = {learner: np.full(len(labels), np.nan) for learner in _LEARNERS}
    # the folds are not those that the hyperparameters of the trees were tuned on
    for inside, outside in _inner(labels, groups, cfg["seed"] + 1):
        part, rest = (values.iloc[inside], labels[inside]), values.iloc[outside]
        scores["trees"][outside] = _boost(*part, *end, chosen, cfg).predict(xgboost.DMatrix(rest), output_margin=True)
        scores["logistic"][outside] = _logistic(*part, groups[inside], cfg["seed"]).decision_function(rest)
    seen = np.isfinite(scores["trees"])
    scores, labels, groups = {k: v[seen] for k, v in scores.items()}, labels[seen], groups[seen]
    areas = {learner: float(roc_auc_score(labels, s)) for learner, s in scores.items()}
    rng = np.random.default_rng(cfg["seed"])
    found = paired_difference(scores["trees"], scores["logistic"], labels, "auroc", rng, groups, level=_ONE_SIGMA)
    learner = "trees" if found["low"] > 0 else "logistic"
    return learner, {"auroc": areas, "difference": [found["low"], found["high"]]}


def _inner(labels, groups, seed):
    folds = grouped_folds(labels.astype(bool), groups, _INNER_FOLDS, np.random.default_rng(seed))
    usable = [pair for pair in folds if all(0 < labels[rows].sum() < len(rows) for rows in pair)]
    if not usable:
        raise InputError("no inner fold has tandems and others on both sides; enlarge the training sample")
    return usable


def _labels(labels):
    labels = np.asarray(labels)
    found = set(np.unique(labels).tolist())
    if not found <= {0, 1}:
        raise InputError(f"labels are {sorted(found)}; 0 and 1 are allowed")
    return labels.astype(int)


def _check(labels, groups, train, stop):
    for name, rows, least in (("train", train, LEAST_TRAIN), ("stop", stop, LEAST_STOP)):
        positives = int(labels[rows].sum())
        if positives < least or positives == len(rows):
            raise InputError(
                f"role {name} has {positives} positives of {len(rows)} systems; the classic head needs {least} and "
                "some negatives: enlarge the training sample (samples.train)"
            )
    if len(np.unique(groups[train])) < 2:
        raise InputError("the training systems are one field group; inner folds need two: enlarge the training sample")
