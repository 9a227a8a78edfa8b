"""What every metric is read from: the ranked list and the binned probabilities, for many sets of weights at once.

A system counts as found if its score lies *above* the threshold, so that ties with a negative count against. A system
without a score (NaN) ranks last and is never found. Counts are sums of weights. scikit-learn's metrics take one set of
weights a call, sort again for each, and know no strict ties; hence own code, with them as the oracle of the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tandemlens.base.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

#: a limit on false positives may be missed by this much in relative terms: 0.1 * 30 is not 3 in floating point
ROUNDING = 1e-9
#: of the reliability table and ECE
N_BINS = 10


@dataclass(frozen=True)
class Curve:
    """True and false positives as the list grows by one score at a time, for several sets of weights.

    Parameters
    ----------
    tp, fp : (d, m + 1) ndarray
        Found positives and negatives above each of the m distinct scores, 0 first; d sets of weights.
    scored : int
        Last column that holds systems with a score.
    """

    tp: np.ndarray
    fp: np.ndarray
    scored: int

    @property
    def n_pos(self) -> np.ndarray:
        """Positives of each set, (d,)."""
        return self.tp[:, -1]

    @property
    def n_neg(self) -> np.ndarray:
        """Negatives of each set, (d,)."""
        return self.fp[:, -1]

    def column(self, reached: np.ndarray) -> np.ndarray:
        """Last column within the scored ones at which ``reached`` still holds, (d,) int."""
        return np.minimum(reached.sum(1) - 1, self.scored)


class Ranking:
    """Scores in descending order; every ranking metric is read from it, for any weights.

    Parameters
    ----------
    scores : (n,) array_like
        Larger is more lens-like; NaN if there is none.
    labels : (n,) array_like of bool

    Attributes
    ----------
    order : (n,) ndarray
        Rows from the best to the worst score.
    labels : (n,) ndarray of bool
        In that order.
    thresholds : (m,) ndarray
        The distinct scores, descending.
    """

    def __init__(self, scores: "ArrayLike", labels: "ArrayLike") -> None:
        scores, labels = checked(scores, labels)
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.labels = labels[self.order]
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, int)
        self.thresholds = ranked[self._ends]
        self._scored = int((self.thresholds > -np.inf).sum())

    def curve(self, weights: np.ndarray) -> Curve:
        """Counts along the list.

        Parameters
        ----------
        weights : (d, n) ndarray
            In the order of the list.

        Returns
        -------
        Curve
        """
        return Curve(self._count(weights * self.labels), self._count(weights * ~self.labels), self._scored)

    def _count(self, weights: np.ndarray) -> np.ndarray:
        found = np.zeros((len(weights), len(self._ends) + 1))
        if len(self._ends) == weights.shape[1]:
            np.cumsum(weights, axis=1, out=found[:, 1:])
        else:
            found[:, 1:] = np.cumsum(weights, axis=1)[:, self._ends]
        return found


class Calibration:
    """Probabilities beside their labels; Brier score and ECE for any weights.

    Parameters
    ----------
    probabilities : (n,) array_like
        In [0, 1]; NaN counts as 0.
    labels : (n,) array_like of bool
    n_bins : int
        Bins of equal width for the ECE.
    """

    def __init__(self, probabilities: "ArrayLike", labels: "ArrayLike", n_bins: int = N_BINS) -> None:
        p, y = checked_probabilities(probabilities, labels)
        self._square = (p - y) ** 2
        self._excess = np.zeros((len(p), n_bins))
        self._excess[np.arange(len(p)), probability_bins(p, np.linspace(0, 1, n_bins + 1))] = y - p

    def brier(self, weights: np.ndarray) -> np.ndarray:
        """Mean squared difference of probability and label, (d,), for (d, n) weights."""
        return ratio(weights @ self._square, weights.sum(1))

    def ece(self, weights: np.ndarray) -> np.ndarray:
        """Mean over bins of |share of positives - mean probability| (Guo et al. 2017, eq. 3, from memory), (d,)."""
        return ratio(np.abs(weights @ self._excess).sum(1), weights.sum(1))


def ranking_metric(name: str) -> Callable[..., Any]:
    """Metric of a `Curve` by its name.

    Parameters
    ----------
    name : str
        auroc, average_precision, tpr0, tpr10, ``tpr_at_fpr_<fpr>`` or ``precision_at_<n>``.

    Returns
    -------
    callable
        ``metric(curve)`` gives (d,) values, NaN where not defined.

    Raises
    ------
    InputError
        If there is no such metric.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    stem, _, number = name.rpartition("_")
    try:
        return partial(_AT[stem], at=float(number))
    except (KeyError, ValueError):
        known = [*_PLAIN, *(f"{stem}_<number>" for stem in _AT)]
        raise InputError(f"there is no metric {name!r}; use one of {', '.join(known)}") from None


def checked(scores: "ArrayLike", labels: "ArrayLike") -> tuple[np.ndarray, np.ndarray]:
    """Scores with -inf for none, and labels as bool.

    Parameters
    ----------
    scores, labels : (n,) array_like

    Returns
    -------
    scores, labels : (n,) ndarray

    Raises
    ------
    InputError
        If the shapes differ or a label is not 0 or 1.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise InputError(f"scores of shape {scores.shape}, labels of shape {labels.shape}; give one of each per system")
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"labels hold {labels[~np.isin(labels, (0, 1))][0]!r}; give true or false to every system")
    return np.where(np.isnan(scores), -np.inf, scores), labels.astype(bool)


def checked_weights(weights: "ArrayLike | None", n: int) -> np.ndarray:
    """Weights of n systems, 1 if None.

    Parameters
    ----------
    weights : (n,) array_like or None
    n : int

    Returns
    -------
    (n,) ndarray

    Raises
    ------
    InputError
        If they are of another shape, negative or not finite.
    """
    weights = np.ones(n) if weights is None else np.asarray(weights, float)
    if weights.shape != (n,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError(f"weights of shape {weights.shape} for {n} systems; give each a finite one of 0 or more")
    return weights


def checked_probabilities(
    probabilities: "np.ndarray | pd.Series", labels: "np.ndarray | pd.Series"
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with 0 for none, and labels as 0.0 and 1.0; see `checked`."""
    p, y = checked(probabilities, labels)
    p = np.where(p == -np.inf, 0.0, p)
    if ((p < 0) | (p > 1)).any():
        bad = p[(p < 0) | (p > 1)][0]
        raise InputError(f"probabilities hold {bad!r}, outside [0, 1]; calibrate the scores first")
    return p, y.astype(float)


def probability_bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of every value; an inner edge belongs to the bin below it, as in scikit-learn's `calibration_curve`.

    Parameters
    ----------
    values : (n,) ndarray
    edges : (b + 1,) ndarray

    Returns
    -------
    (n,) int ndarray
    """
    return np.searchsorted(edges[1:-1], values)


def ratio(top: "ArrayLike", bottom: "ArrayLike") -> np.ndarray:
    """``top / bottom``, NaN where `bottom` is not above 0.

    Parameters
    ----------
    top, bottom : array_like

    Returns
    -------
    ndarray
    """
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _auroc(curve: Curve) -> np.ndarray:
    return ratio(np.trapezoid(curve.tp, curve.fp, axis=1), curve.n_pos * curve.n_neg)


def _average_precision(curve: Curve) -> np.ndarray:
    tp, fp = (count[:, : curve.scored + 1] for count in (curve.tp, curve.fp))
    precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp > 0)
    return ratio((np.diff(tp) * precision[:, 1:]).sum(1), curve.n_pos)


def _tpr_below(curve: Curve, limit: np.ndarray) -> np.ndarray:
    """TPR at the end of the list that has at most `limit` (d,) false positives."""
    at = curve.column(curve.fp <= limit[:, None])
    return ratio(curve.tp[np.arange(len(at)), at], np.where(curve.n_neg > 0, curve.n_pos, 0))


def _tpr0(curve: Curve) -> np.ndarray:
    return _tpr_below(curve, np.zeros(len(curve.fp)))


def _tpr10(curve: Curve) -> np.ndarray:
    below_ten = np.full(len(curve.fp), 10 * (1 - ROUNDING))
    return np.where(curve.n_neg >= 10 * (1 - ROUNDING), _tpr_below(curve, below_ten), np.nan)


def _tpr_at_fpr(curve: Curve, at: float) -> np.ndarray:
    return _tpr_below(curve, at * curve.n_neg * (1 + ROUNDING))


def _precision_at(curve: Curve, at: float) -> np.ndarray:
    rows, length = np.arange(len(curve.tp)), curve.tp + curve.fp
    n = np.minimum(at, length[:, curve.scored])
    before = curve.column(length <= n[:, None])
    after = np.minimum(before + 1, curve.scored)
    # Of the tied scores at which the list ends, the negatives are taken first.
    negatives = curve.fp[rows, after] - curve.fp[rows, before]
    hits = curve.tp[rows, before] + np.maximum(n - length[rows, before] - negatives, 0)
    return ratio(hits, n)


_PLAIN = {"auroc": _auroc, "average_precision": _average_precision, "tpr0": _tpr0, "tpr10": _tpr10}
_AT = {"tpr_at_fpr": _tpr_at_fpr, "precision_at": _precision_at}
