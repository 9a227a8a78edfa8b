"""Positive-unlabelled classifiers fitted fold by fold, so that every row has a score by one that has not seen it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut
from xgboost import XGBClassifier

from tandemlens.learn.matrix import Standard
from tandemlens.learn.pu import case_control_frequency, fit_pu

#: the simpler one first
LEARNERS = ("logistic", "trees")


@dataclass(frozen=True)
class Member:
    """A classifier, and what its features are standardised by.

    Parameters
    ----------
    standard : tandemlens.learn.matrix.Standard
    model : (k + 1,) ndarray or xgboost.Booster
        Weights of a logistic regression, the intercept last; or trees.
    """

    standard: Standard
    model: Any

    def margin(self, values: pd.DataFrame) -> np.ndarray:
        """Log odds, (n,), of rows with the features (n, k), NaN where missing."""
        x = self.standard(values)
        if isinstance(self.model, xgboost.Booster):
            return self.model.predict(xgboost.DMatrix(x), output_margin=True).astype(float)
        return x @ self.model[:-1] + self.model[-1]

    @classmethod
    def of(cls, standard: Standard, fitted: Any) -> "Member":
        """From a fitted classifier of `make_classifier`."""
        trees = isinstance(fitted, XGBClassifier)
        return cls(standard, fitted.get_booster() if trees else np.append(fitted.coef_[0], fitted.intercept_))


def make_classifier(learner: str, cfg: dict[str, Any]) -> Any:
    """Classifier of standardised features.

    Parameters
    ----------
    learner : str
        Of `LEARNERS`.
    cfg : dict
        Section ``pu`` of the settings, and ``seed`` and ``threads``.

    Returns
    -------
    sklearn-like classifier
        Not yet fitted.
    """
    if learner == "logistic":
        return LogisticRegression(C=1 / cfg["ridge"], max_iter=2000)
    return XGBClassifier(
        n_estimators=cfg["rounds"],
        max_depth=cfg["max_depth"],
        learning_rate=cfg["learning_rate"],
        min_child_weight=cfg["min_child_weight"],
        reg_lambda=cfg["reg_lambda"],
        subsample=0.8,
        colsample_bytree=0.8,
        random_state=cfg["seed"],
        n_jobs=cfg["threads"],
    )


def cross_fit(
    values: pd.DataFrame,
    s: np.ndarray,
    fold: np.ndarray,
    alpha: float,
    classifier: Any,
    known_negative: np.ndarray | bool = False,
) -> tuple[list[Member], np.ndarray]:
    """A member a fold, by `tandemlens.learn.pu.fit_pu` on all others.

    Parameters
    ----------
    values : (n, k) pandas.DataFrame
        Features, NaN where missing.
    s : (n,) ndarray of 0 and 1
        1 for labelled positives.
    fold : (n,) ndarray of int
        0 and up, which keep groups whole; three at least, since each member is calibrated on the others by turns.
    alpha : float
        Share of positives among the unlabelled.
    classifier : sklearn-like classifier
        Of `make_classifier`.
    known_negative : (n,) array of bool, optional
        Unlabelled rows that are known to be none.

    Returns
    -------
    members : list of Member
        In the order of the folds.
    margin : (n,) ndarray
        Log odds of every row by the member of its fold, which has not seen it.
    """
    members, margin = [], np.empty(len(s))
    known_negative = np.broadcast_to(known_negative, len(s))
    for inside, outside in LeaveOneGroupOut().split(values, s, fold):
        rows, known = values.iloc[inside], s[inside]
        standard = Standard.of(rows)
        frequency = case_control_frequency(int(known.sum()), int((known == 0).sum()), alpha)
        given = classifier, standard(rows), known, fold[inside], LeaveOneGroupOut()
        found = fit_pu(*given, frequency, known_negative[inside])
        members.append(Member.of(standard, found.model))
        margin[outside] = members[-1].margin(values.iloc[outside])
    return members, margin


def fit_plain(positives: pd.DataFrame, negatives: pd.DataFrame, classifier: Any) -> Member:
    """The same classifier on positives against negatives.

    Parameters
    ----------
    positives, negatives : (n, k), (m, k) pandas.DataFrame
    classifier : sklearn-like classifier
        Of `make_classifier`.

    Returns
    -------
    Member
    """
    values = pd.concat([positives, negatives])
    standard = Standard.of(values)
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    return Member.of(standard, classifier.fit(standard(values), labels))
