"""Boosted trees on the feature table: the mean of boosters that each left other groups out, and how they are tuned."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import xgboost
from scipy.stats import sem

from tandemlens.learn.grouped import inner_folds

if TYPE_CHECKING:
    import pandas as pd
    from xgboost import Booster

#: signs that lensing by a second cluster dictates (methods 4); arc_excess_z, seeing and curvature itself have none
CONSTRAINTS = {
    "lw_max": 1,
    "lambda_bg_sigma": 1,
    "curvature_mismatch": -1,
    "ring_thickness": -1,
    "s_color_best": 1,
}
_TUNED = ("max_depth", "learning_rate", "min_child_weight", "reg_lambda")


@dataclass(frozen=True, eq=False)
class Trees:
    """The mean margin of boosters, each fitted without one fold of groups, on which it ended.

    So all systems are learnt from, and the mean scatters less than a booster that ended on one small set. Margins add
    up: the TreeSHAP contributions of their mean are the mean of the contributions.

    Parameters
    ----------
    boosters : list of xgboost.Booster
        Each cut where it did best.
    """

    boosters: list[xgboost.Booster]

    @classmethod
    def fit(
        cls, values: "pd.DataFrame", labels: np.ndarray, groups: np.ndarray, chosen: dict[str, Any], cfg: dict[str, Any]
    ) -> "Trees":
        """Fit one booster a fold.

        Parameters
        ----------
        values : (n, k) pandas.DataFrame
            NaN where missing.
        labels : (n,) ndarray of {0, 1}
        groups : (n,) ndarray
        chosen : dict
            Hyperparameters: max_depth, learning_rate, min_child_weight and reg_lambda.
        cfg : dict
            ``rounds``, ``patience``, ``constraints``, ``seed`` and ``threads``.

        Returns
        -------
        Trees
        """
        folds = inner_folds(labels, groups, cfg["seed"])
        return cls([_boost(values, labels, *fold, chosen, cfg) for fold in folds])

    @property
    def losses(self) -> np.ndarray:
        """Log loss of every booster on the groups that it left out, (fold,) ndarray."""
        return np.array([float(booster.attr("best_score") or np.nan) for booster in self.boosters])

    @property
    def rounds(self) -> float:
        """Mean number of trees in a booster."""
        return float(np.mean([booster.num_boosted_rounds() for booster in self.boosters]))

    def score(self, values: "pd.DataFrame") -> np.ndarray:
        """Log odds, (n,) ndarray."""
        return self._mean(values, output_margin=True)

    def contributions(self, values: "pd.DataFrame") -> np.ndarray:
        """What every feature adds to the log odds, and the bias last, (n, k + 1) ndarray.

        Exact TreeSHAP (Lundberg et al. 2020, Nat. Mach. Intell. 2, 56).
        """
        return self._mean(values, pred_contribs=True)

    def _mean(self, values: "pd.DataFrame", **what: Any) -> np.ndarray:
        rows = xgboost.DMatrix(values)
        return np.mean([booster.predict(rows, **what) for booster in self.boosters], axis=0, dtype=float)

    def to_json(self) -> str:
        """The boosters in XGBoost's own format, as one list."""
        return f"[{','.join(booster.save_raw('json').decode() for booster in self.boosters)}]"

    @classmethod
    def from_json(cls, text: str) -> "Trees":
        """Inverse of `to_json`."""
        return cls([xgboost.Booster(model_file=bytearray(json.dumps(saved).encode())) for saved in json.loads(text)])


def tuned(
    values: "pd.DataFrame", labels: np.ndarray, groups: np.ndarray, cfg: dict[str, Any], storage: str | None = None
) -> dict[str, Any]:
    """Hyperparameters of the least log loss on folds left out (Optuna, seeded; a search that is kept goes on).

    The best of many trials is partly luck. It is used only where it beats the hyperparameters of `cfg` by more than the
    standard error of the difference over the folds (Breiman et al. 1984, section 3.4.3).

    Parameters
    ----------
    values, labels, groups
        As for `Trees.fit`.
    cfg : dict
        As for `Trees.fit`; ``trials`` is the budget, and 0 takes those of ``cfg``.
    storage : str, optional
        SQLite file in which the search is kept.

    Returns
    -------
    dict
    """
    start = {name: cfg[name] for name in _TUNED}
    if not cfg["trials"]:
        return start
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def loss(trial: Any) -> float:
        chosen = {
            "max_depth": trial.suggest_int("max_depth", 2, 4),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "min_child_weight": trial.suggest_float("min_child_weight", 5, 50, log=True),
            "reg_lambda": trial.suggest_float("reg_lambda", 1, 10, log=True),
        }
        losses = Trees.fit(values, labels, groups, chosen, cfg).losses
        trial.set_user_attr("losses", losses.tolist())
        return float(losses.mean())

    study = optuna.create_study(
        study_name="classic",
        storage=f"sqlite:///{storage}" if storage else None,
        sampler=optuna.samplers.TPESampler(seed=cfg["seed"]),
        load_if_exists=True,
    )
    done = sum(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials)
    study.optimize(loss, n_trials=max(cfg["trials"] - done, 0))
    best = study.best_trial
    gain = Trees.fit(values, labels, groups, start, cfg).losses - best.user_attrs["losses"]
    return best.params if gain.mean() > sem(gain) else start


def _boost(
    values: "pd.DataFrame",
    labels: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    chosen: dict[str, float],
    cfg: dict[str, Any],
) -> "Booster":
    """Trees, ended where the log loss of groups outside has not fallen for a while."""
    constraints = {name: sign for name, sign in CONSTRAINTS.items() if cfg["constraints"] and name in values}
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
    train, end = (xgboost.DMatrix(values.iloc[rows], labels[rows]) for rows in (inside, outside))
    booster = xgboost.train(
        settings,
        train,
        num_boost_round=cfg["rounds"],
        evals=[(end, "stop")],
        early_stopping_rounds=cfg["patience"],
        verbose_eval=False,
    )
    best = booster[: booster.best_iteration + 1]
    best.set_attr(best_score=str(booster.best_score))
    return best
