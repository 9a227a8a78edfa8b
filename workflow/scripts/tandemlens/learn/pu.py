"""Positive-unlabelled learning after Elkan & Noto (2008): the label says "known", the question is "is one".

s = 1 marks the labelled rows, y the truth, g(x) = P(s=1|x), and e(x) = P(s=1|y=1,x) = g(x) / P(y=1|x) the chance that
a positive was labelled: one number c where labels fall at random, else a propensity (`tandemlens.learn.propensity`).

Own code, because pulearn divides by c what was trained without duplicated rows, and takes E[y] from whatever batch is
predicted.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from tandemlens.base.errors import InputError
from tandemlens.learn.calibrate import fit_calibrator

if TYPE_CHECKING:
    import pandas as pd

#: e3 is the largest g; this percentile stands for it, because a maximum follows one outlier
_E3_PERCENTILE = 99.9
#: scores are kept this far from 0 and 1, where a logit has no value
_EDGE = 1e-12


@dataclass(frozen=True)
class PuFit:
    """A classifier of y learnt from s.

    Parameters
    ----------
    model : classifier
        Fitted; its output is P(y=1|x) for the population of the training rows. Nothing is divided by c again.
    label_frequency : float or (n,) ndarray
        c, or the propensity e(x) of every training row.
    g : (n,) ndarray
        Out-of-fold, calibrated P(s=1|x) of the training rows.
    weight : (n,) ndarray
        P(y=1|x,s) of the training rows: 1 if labelled.
    prior : float
        P(y=1) among the training rows, labelled ones included. Where the labelled were added to a survey (case-control)
        this is not the survey's; carry probabilities over with `tandemlens.learn.prior.shift_prior`.
    """

    model: Any
    label_frequency: Any
    g: np.ndarray
    weight: np.ndarray
    prior: float

    def probability(self, x: "np.ndarray | pd.DataFrame") -> np.ndarray:
        """P(y=1|x).

        Parameters
        ----------
        x : (m, k) array or DataFrame

        Returns
        -------
        (m,) ndarray
        """
        return self.model.predict_proba(x)[:, 1]


def fit_pu(
    classifier: Any,
    x: "np.ndarray | pd.DataFrame",
    s: np.ndarray,
    groups: np.ndarray,
    splitter: Any,
    label_frequency: str | float | np.ndarray = "e3",
    known_negative: np.ndarray | bool = False,
) -> PuFit:
    """Learn P(y=1|x) from labelled and unlabelled rows (Elkan & Noto 2008).

    Parameters
    ----------
    classifier : sklearn-like classifier
        Left untouched; needs ``predict_proba`` and ``fit(..., sample_weight=)``.
    x : (n, k) array or DataFrame
    s : (n,) array of 0 and 1
    groups : (n,) array
        Rows of one group never stand on both sides of a split.
    splitter : sklearn splitter
        Grouped; its test sides must cover every row once.
    label_frequency : {"e1", "e2", "e3"}, float or (n,) array
        How c is estimated (see `label_frequencies`), or c itself (`case_control_frequency`), or e(x) of every row.
    known_negative : (n,) array of bool or False
        Unlabelled rows that are known to be none. They stay among the unlabelled, which are a fair sample only as a
        whole, and count as negatives alone.

    Returns
    -------
    PuFit
    """
    s = _labels(s)
    g = out_of_fold_g(classifier, x, s, groups, splitter)
    c = label_frequencies(g, s)[label_frequency] if isinstance(label_frequency, str) else label_frequency
    weight = label_weight(g, s, c, known_negative)
    return PuFit(retrain(classifier, x, s, weight), c, g, weight, float(weight.mean()))


def out_of_fold_g(
    classifier: Any, x: "np.ndarray | pd.DataFrame", s: np.ndarray, groups: np.ndarray, splitter: Any
) -> np.ndarray:
    """Calibrated P(s=1|x) of every row from models that saw no row of its group.

    Parameters
    ----------
    classifier, x, s, groups, splitter
        As in `fit_pu`.

    Returns
    -------
    (n,) ndarray
        Platt-scaled, because the scores of boosted trees and networks are no probabilities.
    """
    s, groups = _labels(s), np.asarray(groups)
    splits = list(splitter.split(x, s, groups))
    for fold, (train, test) in enumerate(splits):
        shared = np.intersect1d(groups[train], groups[test])
        if shared.size:
            raise InputError(f"fold {fold} has group {shared[0]!r} on both sides; use a grouped splitter")
        if s[train].min() == s[train].max():
            raise InputError(f"fold {fold} trains on s = {s[train][0]} only; use fewer folds or a stratified splitter")
    score = cross_val_predict(classifier, x, s, cv=splits, method="predict_proba")[:, 1]
    margin = logit(np.clip(score, _EDGE, 1 - _EDGE))
    return fit_calibrator(margin, s, "platt").probability(margin)


def label_frequencies(g: np.ndarray, s: np.ndarray) -> dict[str, float]:
    """Label frequency c = P(s=1|y=1) by the three estimators of Elkan & Noto (2008).

    Parameters
    ----------
    g : (n,) ndarray
        Held-out, calibrated P(s=1|x).
    s : (n,) array of 0 and 1

    Returns
    -------
    dict of float
        e1, the mean g of the labelled; e2, their share of the sum of g; e3, the largest g (99.9th percentile). e1 and
        e2 are right only where no positive looks like a negative, and too small otherwise; prefer e3.
    """
    s = _labels(s)
    labelled = g[s == 1]
    return {
        "e1": float(labelled.mean()),
        "e2": float(labelled.sum() / g.sum()),
        "e3": float(np.percentile(g, _E3_PERCENTILE)),
    }


def case_control_frequency(n_labelled: int, n_unlabelled: int, alpha: float) -> float:
    """Label frequency c where positives from elsewhere were added to a survey: set by the sampling, not by nature.

    Parameters
    ----------
    n_labelled, n_unlabelled : int
    alpha : float
        Fraction of positives among the unlabelled.

    Returns
    -------
    float
        n_L / (n_L + alpha n_U).
    """
    if not 0 < alpha < 1:
        raise InputError(f"the prior alpha is {alpha}; give the fraction of positives among the unlabelled, in (0, 1)")
    return n_labelled / (n_labelled + alpha * n_unlabelled)


def unlabelled_weight(g: np.ndarray, label_frequency: float | np.ndarray) -> np.ndarray:
    """P(y=1|x,s=0) = (1-e)/e g/(1-g), at most 1 (Elkan & Noto 2008; e may depend on x).

    Parameters
    ----------
    g : (n,) ndarray
    label_frequency : float or (n,) ndarray

    Returns
    -------
    (n,) ndarray
    """
    e = np.asarray(label_frequency, float)
    if not ((e > 0) & (e <= 1)).all():
        raise InputError(f"a label frequency of {e[(e <= 0) | (e > 1) | np.isnan(e)].flat[0]} is not in (0, 1]")
    return np.minimum((1 - e) / e * g / np.clip(1 - g, _EDGE, None), 1.0)


def label_weight(
    g: np.ndarray, s: np.ndarray, label_frequency: float | np.ndarray, known_negative: np.ndarray | bool = False
) -> np.ndarray:
    """P(y=1|x,s) of every row: 1 if labelled, 0 if known to be none, else `unlabelled_weight`.

    Parameters
    ----------
    g : (n,) ndarray
    s : (n,) array of 0 and 1
    label_frequency : float or (n,) ndarray
    known_negative : (n,) array of bool or False

    Returns
    -------
    (n,) ndarray
    """
    return np.where(s == 1, 1.0, np.where(known_negative, 0.0, unlabelled_weight(g, label_frequency)))


def retrain(classifier: Any, x: "np.ndarray | pd.DataFrame", s: np.ndarray, weight: np.ndarray) -> Any:
    """Fit on labelled rows once and on unlabelled rows twice: positive with weight w, negative with weight 1-w.

    Parameters
    ----------
    classifier, x, s
        As in `fit_pu`.
    weight : (n,) ndarray
        P(y=1|x,s) of the rows.

    Returns
    -------
    classifier
        A fitted clone.
    """
    labelled, unlabelled = np.flatnonzero(_labels(s) == 1), np.flatnonzero(_labels(s) == 0)
    index = np.concatenate([labelled, unlabelled, unlabelled])
    y = np.repeat([1, 0], [len(labelled) + len(unlabelled), len(unlabelled)])
    mass = np.concatenate([weight[labelled], weight[unlabelled], 1 - weight[unlabelled]])
    rows = x.iloc[index] if hasattr(x, "iloc") else np.asarray(x)[index]
    return clone(classifier).fit(rows, y, sample_weight=mass)


def placements(positive: np.ndarray, unlabelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each score stands among those of the other side; their means are the area under the ROC curve.

    Parameters
    ----------
    positive, unlabelled : (n,), (m,) ndarray
        Scores.

    Returns
    -------
    of_positive : (n,) ndarray
        Fraction of the unlabelled below, ties counted half.
    of_unlabelled : (m,) ndarray
        Fraction of the positives above.
    """
    n, m = len(positive), len(unlabelled)
    rank = rankdata(np.concatenate([positive, unlabelled]))
    return (rank[:n] - rankdata(positive)) / m, 1 - (rank[n:] - rankdata(unlabelled)) / n


def true_auc(score: np.ndarray, s: np.ndarray, alpha: float, weight: np.ndarray | None = None) -> float:
    """Area under the ROC curve against the truth, from labelled and unlabelled: (AUC_PU - alpha/2) / (1 - alpha).

    Parameters
    ----------
    score : (n,) ndarray
        Held-out.
    s : (n,) array of 0 and 1
    alpha : float
        Fraction of positives among the unlabelled.
    weight : (n,) ndarray, optional
        1/e(x) where labels do not fall at random; read for labelled rows only.

    Returns
    -------
    float
        Scatters beyond 1 by its sampling error.
    """
    s = _labels(s)
    above, _ = placements(score[s == 1], score[s == 0])
    auc_pu = np.average(above, weights=None if weight is None else weight[s == 1])
    return float((auc_pu - alpha / 2) / (1 - alpha))


def true_rates(
    score: np.ndarray, s: np.ndarray, threshold: float, alpha: float, weight: np.ndarray | None = None
) -> tuple[float, float]:
    """True and false positive rate above a threshold; those of the unlabelled hold alpha TPR + (1 - alpha) FPR.

    Parameters
    ----------
    score, s, alpha, weight
        As in `true_auc`.
    threshold : float
        A score of at least this is a detection.

    Returns
    -------
    tpr, fpr : float
        The false positive rate scatters below 0 by its sampling error; it is not clipped, so that means stay unbiased.
    """
    s = _labels(s)
    found = score >= threshold
    tpr = np.average(found[s == 1], weights=None if weight is None else weight[s == 1])
    return float(tpr), float((found[s == 0].mean() - alpha * tpr) / (1 - alpha))


def _labels(s: np.ndarray) -> np.ndarray:
    s = np.asarray(s)
    if set(np.unique(s)) != {0, 1}:
        raise InputError(
            f"the labels s hold {np.unique(s)[:5].tolist()}; give 1 for labelled and 0 for unlabelled rows"
        )
    return s.astype(int)
