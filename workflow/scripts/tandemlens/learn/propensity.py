"""Labels that do not fall at random: known lenses are the bright ones in the deep surveys.

The propensity e(x) = P(s=1|y=1,x) is a model of context columns (depth, seeing, brightness). It can be told from
P(y=1|x) only where those columns do not tell lenses apart, and never fully; so every use comes with a sweep over its
strength. Equations after Bekker & Davis (2018, 2020) and Bekker, Robberechts & Davis (2019), from memory. Own code: the
authors' package (SAR-PU) is not kept up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from tandemlens.base.errors import InputError
from tandemlens.learn.pu import retrain

#: a propensity is kept this far from 0 and 1 before its logit is scaled
_EDGE = 1e-6


def fit_propensity(context: np.ndarray, s: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Chance that a positive with this context was labelled: the M step of SAR-EM (Bekker, Robberechts & Davis 2019).

    Parameters
    ----------
    context : (n, k) ndarray
        Standardised context columns.
    s : (n,) array of 0 and 1
    weight : (n,) ndarray
        P(y=1|x,s), as `tandemlens.learn.pu.PuFit.weight`: 1 if labelled.

    Returns
    -------
    (n,) ndarray
        e(x): logistic in the context, each row counting by its chance of being positive.
    """
    if not np.isfinite(context).all():
        row = int(np.flatnonzero(~np.isfinite(context).all(axis=1))[0])
        raise InputError(f"context row {row} is not finite; fill it or leave the column out")
    return LogisticRegression().fit(context, s, sample_weight=weight).predict_proba(context)[:, 1]


def propensity_by_em(
    x: np.ndarray, context: np.ndarray, s: np.ndarray, label_frequency: float, rounds: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Propensity where y is unknown: P(y=1|x) and e(context) take turns (SAR-EM of the same paper).

    Labelled rows are positive, unlabelled ones with P(y=1|x,s=0) = f (1-e) / (1 - f e); f is fitted with these weights
    to every unlabelled row twice, e as in `fit_propensity`. Both are logistic; it is this form that tells them apart,
    so take the result as one end of a sweep and not as a measurement.

    Parameters
    ----------
    x : (n, k) ndarray
        Standardised features of the object, without the context columns.
    context : (n, j) ndarray
    s : (n,) array of 0 and 1
    label_frequency : float
        c to start from.
    rounds : int

    Returns
    -------
    propensity : (n,) ndarray
        e(x).
    probability : (n,) ndarray
        f, P(y=1|x).
    """
    s = np.asarray(s)
    e = np.full(len(s), float(label_frequency))
    f = np.clip(LogisticRegression().fit(x, s).predict_proba(x)[:, 1] / label_frequency, 0, 1)
    for _ in range(rounds):
        weight = np.where(s == 1, 1.0, f * (1 - e) / np.maximum(1 - f * e, _EDGE))
        f = retrain(LogisticRegression(), x, s, weight).predict_proba(x)[:, 1]
        e = fit_propensity(context, s, weight)
    return e, f


def propensity_weights(propensity: np.ndarray, floor: float = 0.05) -> np.ndarray:
    """How many positives each labelled one stands for: 1/e(x), truncated.

    Parameters
    ----------
    propensity : (n,) ndarray
    floor : float
        Propensities below count as this, so that one odd label cannot outweigh all others.

    Returns
    -------
    (n,) ndarray
        In [1, 1/floor].
    """
    return 1 / np.clip(propensity, floor, 1.0)


def strengthen(propensity: np.ndarray, s: np.ndarray, strength: float, label_frequency: float) -> np.ndarray:
    """Scale the dependence of a propensity on its context, at a fixed number of positives.

    Parameters
    ----------
    propensity : (n,) ndarray
    s : (n,) array of 0 and 1
    strength : float
        0 labels at random, 1 as fitted, 2 twice as selective (in the logit).
    label_frequency : float
        c; the offset is chosen so that the labelled stand for n_L / c positives, the sum of 1/e over them.

    Returns
    -------
    (n,) ndarray
    """
    if not 0 < label_frequency < 1:
        raise InputError(f"the label frequency is {label_frequency}; give a value in (0, 1)")
    slope = strength * logit(np.clip(propensity, _EDGE, 1 - _EDGE))
    labelled = slope[np.asarray(s) == 1]
    # 1/e = 1 + exp(-(offset + slope)), so the condition on the mean of 1/e has a closed form
    offset = np.log(np.exp(-labelled).mean() / (1 / label_frequency - 1))
    return expit(slope + offset)


@dataclass(frozen=True)
class Sensitivity:
    """What a sweep over the strength of the propensity does to the scores of m objects.

    Parameters
    ----------
    strengths : (k,) ndarray
    scores : (k, m) ndarray
    score_spread : (m,) ndarray
        Largest minus smallest score.
    rank_spread : (m,) ndarray
        Largest minus smallest rank; 0 where selection cannot move the object.
    """

    strengths: np.ndarray
    scores: np.ndarray
    score_spread: np.ndarray
    rank_spread: np.ndarray


def sensitivity_sweep(
    refit: Callable[..., Any],
    propensity: np.ndarray,
    s: np.ndarray,
    label_frequency: float,
    strengths: Sequence[float] = (0.0, 0.5, 1.0, 1.5, 2.0),
) -> Sensitivity:
    """Refit with propensities of several strengths.

    Parameters
    ----------
    refit : callable
        Takes e(x) of the training rows, (n,), and returns the scores (m,) of whatever is ranked.
    propensity, s, label_frequency
        As in `strengthen`.
    strengths : sequence of float

    Returns
    -------
    Sensitivity
    """
    scores = np.array([refit(strengthen(propensity, s, k, label_frequency)) for k in strengths])
    ranks = rankdata(-scores, axis=1)
    return Sensitivity(np.asarray(strengths, float), scores, np.ptp(scores, axis=0), np.ptp(ranks, axis=0))
