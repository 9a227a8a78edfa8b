"""How well scores find lenses: one number for a ranking or for probabilities, curves, and shares with intervals.

Strictness, missing scores and weights are as in `tandemlens.learn.ranking`. Precision and average precision hold for
the share of positives in the sample; see `purity` for any other.
"""

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import beta

from tandemlens.base.errors import InputError
from tandemlens.learn.ranking import (
    N_BINS,
    ROUNDING,
    Calibration,
    Ranking,
    checked,
    checked_probabilities,
    checked_weights,
    probability_bins,
    ranking_metric,
    ratio,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

log = logging.getLogger("tandemlens")


def ranking_value(name: str, scores: "ArrayLike", labels: "ArrayLike", weights: "ArrayLike | None" = None) -> float:
    """One metric of one ranking.

    Parameters
    ----------
    name : str
        As for `ranking_metric`.
    scores : (n,) array_like
    labels : (n,) array_like of bool
    weights : (n,) array_like, optional

    Returns
    -------
    float
    """
    metric, ranking = ranking_metric(name), Ranking(scores, labels)
    tell_missing(scores)
    weights = checked_weights(weights, len(ranking.labels))
    return float(metric(ranking.curve(weights[ranking.order][None]))[0])


def auroc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the (FPR, TPR) curve, end points included; ties count half. See `ranking_value`."""
    return ranking_value("auroc", scores, labels, weights)


def average_precision(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Sum over the list of precision times the step in recall; unscored positives add nothing. See `ranking_value`."""
    return ranking_value("average_precision", scores, labels, weights)


def tpr_at_fpr(scores: np.ndarray, labels: np.ndarray, fpr: float, weights: np.ndarray | None = None) -> float:
    """Largest TPR with a false-positive rate of at most `fpr`. See `ranking_value`."""
    return ranking_value(f"tpr_at_fpr_{fpr}", scores, labels, weights)


def tpr0(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """TPR before a single false positive (Metcalf et al. 2019); falls as negatives are added. See `ranking_value`."""
    return ranking_value("tpr0", scores, labels, weights)


def tpr10(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """TPR with fewer than ten false positives (Metcalf et al. 2019); NaN below ten negatives. See `ranking_value`."""
    return ranking_value("tpr10", scores, labels, weights)


def precision_at(scores: "ArrayLike", labels: "ArrayLike", n: int, weights: "ArrayLike | None" = None) -> float:
    """Share of positives among the best `n`, or among all scored if fewer; of ties, negatives go first.

    Parameters
    ----------
    scores : (n,) array_like
    labels : (n,) array_like of bool
    n : int
    weights : (n,) array_like, optional

    Returns
    -------
    float
    """
    return ranking_value(f"precision_at_{n}", scores, labels, weights)


def roc(scores: "ArrayLike", labels: "ArrayLike", weights: "ArrayLike | None" = None) -> pd.DataFrame:
    """Points of the ROC curve.

    Parameters
    ----------
    scores : (n,) array_like
    labels : (n,) array_like of bool
    weights : (n,) array_like, optional

    Returns
    -------
    pandas.DataFrame
        Columns fpr, tpr and threshold (found is a score of this or more), from (0, 0) to (1, 1).
    """
    ranking = Ranking(scores, labels)
    tell_missing(scores)
    curve = ranking.curve(checked_weights(weights, len(ranking.labels))[ranking.order][None])
    thresholds = np.concatenate([[np.inf], ranking.thresholds])
    fpr, tpr = ratio(curve.fp[0], curve.n_neg), ratio(curve.tp[0], curve.n_pos)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": thresholds})


def threshold_at_fpr(scores: "ArrayLike", labels: "ArrayLike", fpr: float) -> float:
    """Score above which at most a share `fpr` of the negatives lies.

    Parameters
    ----------
    scores : (n,) array_like
    labels : (n,) array_like of bool
        At least one negative.
    fpr : float

    Returns
    -------
    float
        ``mean(s_pos > threshold)`` is `tpr_at_fpr`; -inf if all negatives are allowed.
    """
    scores, labels = checked(scores, labels)
    negatives = np.sort(scores[~labels])[::-1]
    if not len(negatives):
        raise InputError("there are no negatives to set a false-positive rate by; give some")
    allowed = int(fpr * len(negatives) * (1 + ROUNDING))
    return float(negatives[allowed]) if allowed < len(negatives) else -np.inf


def clopper_pearson(k: "ArrayLike", n: "ArrayLike", level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Exact central interval of a binomial share (Clopper & Pearson 1934).

    Parameters
    ----------
    k, n : array_like of int
        Successes and trials.
    level : float

    Returns
    -------
    low, high : ndarray
        0 and 1 where n is 0. For k = 0, ``high`` at level 0.9 is the one-sided 95 per cent bound.
    """
    k, n = np.asarray(k, float), np.asarray(n, float)
    tail = (1 - level) / 2
    # The quantile is NaN for a shape of 0, which is where the bound is the end of the range.
    low = np.where(k > 0, beta.ppf(tail, np.maximum(k, 1), n - k + 1), 0.0)
    high = np.where(k < n, beta.ppf(1 - tail, k + 1, np.maximum(n - k, 1)), 1.0)
    return low, high


def purity(tpr: "ArrayLike", fpr: "ArrayLike", prevalence: "ArrayLike") -> np.ndarray:
    """Share of lenses among what is found, if lenses are a share `prevalence` of what is searched.

    ``tpr pi / (tpr pi + fpr (1 - pi))``

    Parameters
    ----------
    tpr, fpr, prevalence : array_like
        NaN where nothing is found.

    Returns
    -------
    ndarray
    """
    true, false = np.multiply(tpr, prevalence), np.multiply(fpr, 1 - np.asarray(prevalence))
    return ratio(true, true + false)


def contamination(tpr: "ArrayLike", fpr: "ArrayLike", prevalence: "ArrayLike") -> np.ndarray:
    """False finds per true find, ``(fpr / tpr) (1 - pi) / pi`` (Metcalf et al. 2019); NaN if no lens is found.

    Parameters
    ----------
    tpr, fpr : array_like
    prevalence : array_like
        Share of lenses, pi.

    Returns
    -------
    ndarray
    """
    return ratio(np.multiply(fpr, 1 - np.asarray(prevalence)), np.multiply(tpr, prevalence))


def completeness(
    scores: "ArrayLike",
    labels: "ArrayLike",
    quantity: "ArrayLike",
    edges: "ArrayLike",
    threshold: float,
    level: float = 0.95,
) -> pd.DataFrame:
    """Share of the positives above a threshold, in bins of a quantity.

    Parameters
    ----------
    scores : (n,) array_like
    labels : (n,) array_like of bool
    quantity : (n,) array_like
        Einstein radius over seeing, arc magnitude, S/N, ...
    edges : (b + 1,) array_like
        Rising; a bin holds its lower edge.
    threshold : float
        From `threshold_at_fpr`.
    level : float
        Of the Clopper-Pearson interval, which takes systems as independent: for grouped ones it is too short.

    Returns
    -------
    pandas.DataFrame
        Columns from, to, n, found, completeness, low, high; the last row, from and to NaN, holds the positives that
        lie in no bin.
    """
    edges = np.asarray(edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"the edges of the bins are {edges.tolist()}; give two or more, rising")
    tell_missing(scores)
    scores, labels = checked(scores, labels)
    value = np.asarray(quantity, float)
    if value.shape != scores.shape:
        raise InputError(f"{len(scores)} scores but {value.shape} values of the quantity; give one per system")
    inside = (value >= edges[0]) & (value < edges[-1])
    n_bins = len(edges) - 1
    index = np.where(inside, np.searchsorted(edges, value, side="right") - 1, n_bins)
    n = np.bincount(index[labels], minlength=n_bins + 1)
    found = np.bincount(index[labels & (scores > threshold)], minlength=n_bins + 1)
    low, high = clopper_pearson(found, n, level)
    columns = {"from": np.append(edges[:-1], np.nan), "to": np.append(edges[1:], np.nan), "n": n, "found": found}
    return pd.DataFrame({**columns, "completeness": ratio(found, n), "low": low, "high": high})


def reliability(
    probabilities: "ArrayLike",
    labels: "ArrayLike",
    n_bins: int = N_BINS,
    equal_counts: bool = False,
    level: float = 0.95,
) -> pd.DataFrame:
    """Share of positives against the mean probability, in bins of probability.

    Parameters
    ----------
    probabilities : (n,) array_like
        In [0, 1]; NaN counts as 0.
    labels : (n,) array_like of bool
    n_bins : int
    equal_counts : bool
        Bins at quantiles instead of equal width; for rare lenses, whose probabilities are nearly all small.
    level : float
        Of the Clopper-Pearson interval.

    Returns
    -------
    pandas.DataFrame
        Columns from, to, n, n_pos, mean_probability, share, low, high; empty bins have NaN.
    """
    p, y = checked_probabilities(probabilities, labels)
    tell_missing(probabilities)
    if equal_counts and len(p):
        edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)))
        edges = edges if len(edges) > 1 else np.array([0.0, 1.0])
    else:
        edges = np.linspace(0, 1, n_bins + 1)
    index = probability_bins(p, edges)
    n, n_pos, total = (np.bincount(index, w, minlength=len(edges) - 1) for w in (None, y, p))
    low, high = clopper_pearson(n_pos, n, level)
    table = {"from": edges[:-1], "to": edges[1:], "n": n, "n_pos": n_pos.astype(int)}
    return pd.DataFrame(
        {**table, "mean_probability": ratio(total, n), "share": ratio(n_pos, n), "low": low, "high": high}
    )


def brier(probabilities: "ArrayLike", labels: "ArrayLike", weights: "ArrayLike | None" = None) -> float:
    """Brier score of probabilities. See `Calibration`."""
    return _calibration_value("brier", probabilities, labels, weights)


def ece(probabilities: "ArrayLike", labels: "ArrayLike", weights: "ArrayLike | None" = None) -> float:
    """Expected calibration error in ten bins of equal width; above 0 even for perfect ones. See `Calibration`."""
    return _calibration_value("ece", probabilities, labels, weights)


def tell_missing(scores: "ArrayLike") -> None:
    """Log how many systems have no score.

    Parameters
    ----------
    scores : (n,) array_like
    """
    scores = np.asarray(scores, float)
    missing = int(np.isnan(scores).sum())
    if missing:
        log.warning("%d of %d systems have no score and rank last", missing, len(scores))


def _calibration_value(
    name: str, probabilities: "ArrayLike", labels: "ArrayLike", weights: "ArrayLike | None"
) -> float:
    calibration = Calibration(probabilities, labels)
    tell_missing(probabilities)
    return float(getattr(calibration, name)(checked_weights(weights, np.size(labels))[None])[0])
