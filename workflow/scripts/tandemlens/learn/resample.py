"""Intervals of the metrics by bootstrap over groups; overall, per survey and against every contrast class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.errors import InputError
from tandemlens.learn.metrics import clopper_pearson, purity, tell_missing
from tandemlens.learn.ranking import Calibration, Ranking, checked, checked_weights, ranking_metric

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: false-positive rates at which TPR is told; the last is that of Metcalf's TPR10 with 50,000 negatives
FPRS = (0.1, 0.03, 1e-2, 1e-3, 2e-4)
#: lengths of the candidate list
TOPS = (10, 30, 100)
CALIBRATION = ("brier", "ece")
#: draws worked on at a time, so that their counts stay in the cache; fewer of samples so large that they never would
_CHUNK, _MOST = 25, 5_000_000
#: an interval needs this share of draws in which the metric is defined
_LEAST_DEFINED = 0.5


def group_draws(n_groups: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each group is drawn, with replacement, in every bootstrap sample.

    Parameters
    ----------
    n_groups, draws : int
    rng : numpy.random.Generator

    Returns
    -------
    (draws, n_groups) ndarray of int16
        A group is drawn once on average, so that these are enough.
    """
    counts = np.empty((draws, n_groups), np.int16)
    for row in counts:
        row[:] = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
    return counts


def draws_of(counts: np.ndarray, code: np.ndarray) -> Iterator[np.ndarray]:
    """How often each system is drawn, some draws at a time.

    Parameters
    ----------
    counts : (draws, n_groups) ndarray
        From `group_draws`.
    code : (n,) ndarray of int
        Group of every system.

    Yields
    ------
    (at most 25, n) ndarray
    """
    step = max(1, min(_CHUNK, _MOST // max(len(code), 1)))
    for start in range(0, len(counts), step):
        yield counts[start : start + step, code]


def summarise(
    scores: "ArrayLike",
    labels: "ArrayLike",
    rng: np.random.Generator,
    groups: "ArrayLike | None" = None,
    survey: "ArrayLike | None" = None,
    contrast: "ArrayLike | None" = None,
    probabilities: "ArrayLike | None" = None,
    weights: "ArrayLike | None" = None,
    prevalence: float | None = None,
    fprs: Sequence[float] = FPRS,
    tops: Sequence[float] = TOPS,
    draws: int = 1000,
    level: float = 0.95,
) -> pd.DataFrame:
    """All metrics in one tidy table, with percentile intervals by bootstrap over groups.

    Parameters
    ----------
    scores : (n,) array_like
        Larger is more lens-like, not binned; NaN if there is none.
    labels : (n,) array_like of bool
    rng : numpy.random.Generator
    groups : (n,) array_like, optional
        Groups as in `tandemlens.learn.folds`; without them each system is one, which is honest only for unrelated ones.
    survey : (n,) array_like of str, optional
        Adds a part per survey.
    contrast : (n,) array_like of str, optional
        Class; adds a part per class of negatives: all positives against the negatives of that class.
    probabilities : (n,) array_like, optional
        Calibrated; adds Brier score and ECE, except against one contrast class, where no prevalence is meant.
    weights : (n,) array_like, optional
    prevalence : float, optional
        Adds the purity ``purity_at_fpr_<fpr>`` at that share of lenses, if the FPR is as large as allowed.
    fprs, tops : sequence of float
        False-positive rates and lengths of the list.
    draws : int
    level : float

    Returns
    -------
    pandas.DataFrame
        Columns part (overall, survey or contrast), name, metric, value, low, high, n_pos, n_neg (systems, not
        weights); ``unscored`` is the share of systems without a score. NaN where a metric is not defined, or in an
        interval where it is not in half of the draws. Where all draws of a TPR or precision agree on 0 or 1, the
        interval is that of Clopper and Pearson with one trial per group.

    Notes
    -----
    The bootstrap is not consistent for extremes (from memory): intervals of tpr0 and tpr10 rest on the few highest
    negatives that happened to be seen, and are too short. All parts share the draws.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(f"the prevalence is {prevalence}; give the share of lenses among what is searched, in (0, 1)")
    names = ["auroc", "average_precision", *(f"tpr_at_fpr_{fpr}" for fpr in fprs), "tpr0", "tpr10"]
    names += [f"precision_at_{n}" for n in tops]
    tell_missing(scores)
    sample = _sample(scores, labels, groups, weights)
    probabilities = None if probabilities is None else _each(probabilities, float, sample.labels)
    parts = [("overall", "all", np.arange(len(sample.labels)))]
    parts += [("survey", name, rows) for name, rows in _rows_of(survey, sample.labels)]
    parts += [("contrast", name, rows) for name, rows in _rows_against(contrast, sample.labels)]
    counts = group_draws(sample.n_groups, draws, rng)
    tables = []
    for part, name, rows in parts:
        table = _Measure(sample, rows, names, None if part == "contrast" else probabilities).table(counts, level)
        table = table if prevalence is None else pd.concat([table, _purities(table, fprs, prevalence)])
        n_pos = int(sample.labels[rows].sum())
        table = table.assign(part=part, name=name, n_pos=n_pos, n_neg=len(rows) - n_pos)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)[["part", "name", "metric", "value", "low", "high", "n_pos", "n_neg"]]


def paired_difference(
    scores_a: "ArrayLike",
    scores_b: "ArrayLike",
    labels: "ArrayLike",
    metric: str,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    draws: int = 1000,
    level: float = 0.95,
) -> dict[str, Any]:
    """Difference of one metric between two scores of the same systems, by bootstrap over groups.

    Parameters
    ----------
    scores_a, scores_b : (n,) array_like
        Probabilities if `metric` is brier or ece.
    labels : (n,) array_like of bool
    metric : str
        As for `tandemlens.learn.ranking.ranking_metric`, or brier or ece.
    rng : numpy.random.Generator
    groups, weights, draws, level
        As for `summarise`.

    Returns
    -------
    dict
        metric, a, b, difference (a - b), low, high, p_value (two-sided: twice the smaller share of draws on either side
        of 0, those at 0 counting on both, and one more on each), n_groups.
    """
    measures = []
    for scores in (scores_a, scores_b):
        sample = _sample(scores, labels, groups, weights)
        names, use = ([], np.asarray(scores, float)) if metric in CALIBRATION else ([metric], None)
        measures.append(_Measure(sample, np.arange(len(sample.labels)), names, use))
    counts = group_draws(sample.n_groups, draws, rng)
    column = measures[0].names.index(metric)
    a, b = (measure.value()[column] for measure in measures)
    drawn_a, drawn_b = (measure.drawn(counts)[:, column] for measure in measures)
    difference = drawn_a - drawn_b
    low, high = _interval(difference[:, None], level)
    known = difference[np.isfinite(difference)]
    rarer = min((known <= 0).sum(), (known >= 0).sum())
    return {
        "metric": metric,
        "a": float(a),
        "b": float(b),
        "difference": float(a - b),
        "low": float(low[0]),
        "high": float(high[0]),
        "p_value": min(1.0, 2 * (1 + int(rarer)) / (1 + len(known))),
        "n_groups": sample.n_groups,
    }


@dataclass(frozen=True)
class _Sample:
    scores: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    code: np.ndarray
    n_groups: int


class _Measure:
    """Several metrics of the same rows of a sample, for the sample itself and for draws of its groups."""

    def __init__(self, sample: _Sample, rows: np.ndarray, names: list[str], probabilities: np.ndarray | None) -> None:
        ranking = Ranking(sample.scores[rows], sample.labels[rows])
        rows = rows[ranking.order]
        self._ranking, self._code, self._weights = ranking, sample.code[rows], sample.weights[rows]
        self._metrics = [ranking_metric(name) for name in names]
        self._unscored = sample.scores[rows] == -np.inf
        self._calibration = None if probabilities is None else Calibration(probabilities[rows], sample.labels[rows])
        self.names = [*names, "unscored", *(() if probabilities is None else CALIBRATION)]

    def value(self) -> np.ndarray:
        return self._evaluate(self._weights[None])[0]

    def drawn(self, counts: np.ndarray) -> np.ndarray:
        parts = [self._evaluate(chunk * self._weights) for chunk in draws_of(counts, self._code)]
        return np.concatenate(parts)

    def table(self, counts: np.ndarray, level: float) -> pd.DataFrame:
        value = self.value()
        low, high = _interval(self.drawn(counts), level)
        # If all that was seen is found, no draw can lose any: there the exact interval for one trial per group stands.
        for i in np.flatnonzero((low == high) & np.isin(value, (0, 1))):
            trials = self._trials(self.names[i])
            if trials:
                low[i], high[i] = clopper_pearson(value[i] * trials, trials, level)
        return pd.DataFrame({"metric": self.names, "value": value, "low": low, "high": high})

    def _trials(self, name: str) -> int:
        """Groups that a share of systems rests on; 0 for another metric."""
        if name.startswith("precision_at"):
            return len(np.unique(self._code[: int(float(name.rpartition("_")[2]))]))
        return len(np.unique(self._code[self._ranking.labels])) if name.startswith("tpr") else 0

    def _evaluate(self, weights: np.ndarray) -> np.ndarray:
        curve = self._ranking.curve(weights)
        values = [metric(curve) for metric in self._metrics]
        total = weights.sum(1)
        values.append(np.divide(weights @ self._unscored, total, out=np.full(len(total), np.nan), where=total > 0))
        if self._calibration is not None:
            values += [getattr(self._calibration, name)(weights) for name in CALIBRATION]
        return np.column_stack(values)


def _sample(
    scores: np.ndarray | pd.Series,
    labels: np.ndarray | pd.Series,
    groups: "ArrayLike | None",
    weights: "ArrayLike | None",
) -> _Sample:
    scores, labels = checked(scores, labels)
    groups = np.arange(len(scores)) if groups is None else np.asarray(groups)
    if groups.shape != scores.shape:
        raise InputError(f"{len(scores)} scores but groups of shape {groups.shape}; give the group of every system")
    code, names = pd.factorize(groups)
    if len(names) < 2 or (code < 0).any():
        raise InputError(
            f"{len(names)} groups and {(code < 0).sum()} systems without one cannot be resampled; give two groups or "
            "more, and one to every system"
        )
    return _Sample(scores, labels, checked_weights(weights, len(scores)), code, len(names))


def _each(values: pd.Series, kind: type, labels: np.ndarray) -> np.ndarray:
    values = np.asarray(values, kind)
    if values.shape != labels.shape:
        raise InputError(
            f"{len(labels)} systems but probabilities, surveys or classes of shape {values.shape}; give one per system"
        )
    return values


def _rows_of(names: pd.Series | None, labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Rows of every name."""
    if names is None:
        return []
    names = _each(names, str, labels)
    return [(name, np.flatnonzero(names == name)) for name in sorted(set(names))]


def _rows_against(contrast: pd.Series, labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Rows of all positives and of the negatives of every class that has some."""
    rows_of = [(name, rows[~labels[rows]]) for name, rows in _rows_of(contrast, labels)]
    positive = np.flatnonzero(labels)
    return [(name, np.sort(np.concatenate([positive, rows]))) for name, rows in rows_of if len(rows)]


def _purities(table: pd.DataFrame, fprs: Sequence[float], prevalence: float) -> pd.DataFrame:
    """Purity rises with TPR at a given FPR, so its interval is that of the TPR, transformed."""
    rows = table.set_index("metric")
    return pd.DataFrame(
        {
            "metric": f"purity_at_fpr_{fpr}",
            **{c: float(purity(rows.at[f"tpr_at_fpr_{fpr}", c], fpr, prevalence)) for c in ("value", "low", "high")},
        }
        for fpr in fprs
    )


def _interval(drawn: np.ndarray, level: float) -> np.ndarray:
    """Percentile interval of every column of (d, k) values."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    enough = np.isfinite(drawn).mean(0) >= _LEAST_DEFINED
    interval = np.full((2, drawn.shape[1]), np.nan)
    if enough.any():
        interval[:, enough] = np.nanquantile(drawn[:, enough], tails, axis=0)
    return interval
