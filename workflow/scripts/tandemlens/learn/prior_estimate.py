"""The fraction alpha of positives among unlabelled objects, from the data or from expected numbers, and when to refuse.

Three published estimators, each with a bootstrap interval. All take what looks like a positive for one, so where the
classes overlap they only bound alpha from above; and where alpha is below about one over the number of labelled
positives no data can tell it from zero. `_judge` says so instead of handing out a number. For a blind search alpha
comes from `prior_from_counts`, never from a decree.

Own code from the published definitions: pulearn has none of the three, and the authors' repositories are scripts of
their experiments (BBE, DEDPUL) or work bit by bit in interpreted loops on global state (TIcE).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, gaussian_kde
from sklearn.isotonic import IsotonicRegression

from tandemlens.base.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_LEVEL = 0.95
#: the purest part of the ranking, as a fraction of the labelled, in which unlabelled positives must show
_TOP = 0.1
#: classes overlap where there are, beyond doubt, that many times more unlabelled per labelled just below it
_RISE = 1.25
#: expected counts are swept over these priors: nobody knows the cluster mass function's tail better
SWEEP = (1e-6, 1e-3)


@dataclass(frozen=True)
class PriorEstimate:
    """A fraction of positives among the unlabelled.

    Parameters
    ----------
    method : str
        bbe, dedpul, tice or counts.
    alpha : float
        The estimate; NaN where it cannot be estimated.
    raw : float
        What the method says, whether or not it can be believed.
    low, high : float
        95 per cent bootstrap interval of `raw`; it holds no bias from overlapping classes.
    bound : float
        95 per cent upper limit of alpha.
    reason : str
        One sentence why alpha is NaN, empty otherwise.
    """

    method: str
    alpha: float
    raw: float
    low: float
    high: float
    bound: float
    reason: str = ""


def bbe(
    score_p: np.ndarray,
    score_u: np.ndarray,
    rng: np.random.Generator,
    gamma: float = 0.01,
    delta: float = 0.1,
    n_bootstrap: int = 200,
) -> PriorEstimate:
    """Best bin estimation: q_U/q_P above the threshold with the smallest upper bound (Garg et al. 2021).

    Parameters
    ----------
    score_p, score_u : (n_p,), (n_u,) ndarray
        Held-out scores of labelled positives and of unlabelled objects, larger is more positive.
    rng : numpy.random.Generator
    gamma, delta : float
        Slack and confidence of the bound.
    n_bootstrap : int

    Returns
    -------
    PriorEstimate
    """
    thresholds, in_p = np.unique(_finite("score_p", score_p), return_counts=True)
    # a bin is [threshold, next threshold); the first holds what lies below all of them
    in_u = np.bincount(np.searchsorted(thresholds, _finite("score_u", score_u), side="right"))
    in_u = np.pad(in_u, (0, len(thresholds) + 1 - len(in_u)))

    def estimate(counts_p: np.ndarray, counts_u: np.ndarray) -> float:
        n_p, n_u = counts_p.sum(), counts_u.sum()
        q_p = np.cumsum(counts_p[::-1])[::-1] / n_p
        q_u = np.cumsum(counts_u[::-1])[::-1][1:] / n_u
        slack = (1 + gamma) * (np.sqrt(np.log(4 / delta) / (2 * n_u)) + np.sqrt(np.log(4 / delta) / (2 * n_p)))
        seen = q_p > 0
        best = np.argmin((q_u[seen] + slack) / q_p[seen])
        return min(float((q_u[seen] / q_p[seen])[best]), 1.0)

    raw = estimate(in_p, in_u)
    return _judge("bbe", raw, _resampled(estimate, in_p, in_u, rng, n_bootstrap), _top(score_p, score_u))


def dedpul(
    margin_p: np.ndarray,
    margin_u: np.ndarray,
    rng: np.random.Generator,
    bandwidth_p: float = 0.1,
    bandwidth_u: float = 0.05,
    n_grid: int = 1000,
    n_bootstrap: int = 50,
) -> PriorEstimate:
    """Ratio of score densities, then expectation maximisation over alpha (Ivanov 2020, by the author's code).

    The ratio r = f_P/f_U is taken by kernel density at `n_grid` quantiles of the unlabelled, smoothed by a running
    median over a tenth of them and made monotone by isotonic regression, in place of the author's two heuristics.
    Positives then have P(y=1|x) = min(1, alpha r); alpha falls from 1 until it is the mean of that. Where the fall
    does not stop before zero, the knee of alpha - mean(min(1, alpha r)) is the estimate, as in the author's code.

    Parameters
    ----------
    margin_p, margin_u : (n_p,), (n_u,) ndarray
        Held-out scores on a logit scale.
    rng : numpy.random.Generator
    bandwidth_p, bandwidth_u : float
        Kernel width over the standard deviation of the margins.
    n_grid, n_bootstrap : int

    Returns
    -------
    PriorEstimate
    """
    margin_p, margin_u = _finite("margin_p", margin_p), _finite("margin_u", margin_u)
    pooled = np.concatenate([margin_p, margin_u])
    edges = np.linspace(pooled.min(), pooled.max(), 513)
    middle = (edges[1:] + edges[:-1]) / 2

    def estimate(counts_p: np.ndarray, counts_u: np.ndarray) -> float:
        at = np.interp((np.arange(n_grid) + 0.5) / n_grid, np.cumsum(counts_u) / counts_u.sum(), edges[1:])
        f_p = gaussian_kde(middle, bandwidth_p, weights=counts_p)(at)
        f_u = gaussian_kde(middle, bandwidth_u, weights=counts_u)(at)
        ratio = _running_median(f_p / f_u, n_grid // 20)
        return _expectation_maximisation(IsotonicRegression().fit_transform(np.arange(n_grid), ratio))

    in_p, in_u = np.histogram(margin_p, edges)[0], np.histogram(margin_u, edges)[0]
    raw = estimate(in_p, in_u)
    return _judge("dedpul", raw, _resampled(estimate, in_p, in_u, rng, n_bootstrap), _top(margin_p, margin_u))


def tice(
    x_p: np.ndarray,
    x_u: np.ndarray,
    rng: np.random.Generator,
    folds: int = 5,
    max_splits: int = 500,
    n_bootstrap: int = 20,
) -> PriorEstimate:
    """Tree induction for c: the label frequency is that of the purest leaf (Bekker & Davis 2018, by their code).

    A tree, grown on one fold towards many labels, cuts every feature into four equal parts of its range; on the other
    folds each of its nodes gives c >= L/T - sqrt(c (1-c) (1-d) / (d T)), and the largest counts. c starts from 0.5 and
    is replaced once. Being a lower limit of c it is an upper limit of alpha = n_L (1/c - 1) / n_U.

    Parameters
    ----------
    x_p, x_u : (n_p, k), (n_u, k) ndarray
        Features of labelled positives and of unlabelled objects.
    rng : numpy.random.Generator
    folds, max_splits, n_bootstrap : int

    Returns
    -------
    PriorEstimate
    """
    x = np.concatenate([_finite("x_p", x_p), _finite("x_u", x_u)])
    span = np.ptp(x, axis=0)
    part = np.minimum((x - x.min(axis=0)) / np.where(span > 0, span, 1) * 4, 3).astype(int)
    labelled = np.arange(len(x)) < len(x_p)
    fold = rng.permutation(len(x)) % folds

    def estimate(rows: np.ndarray) -> tuple[float, tuple[int, int]]:
        c, purest = _tice_frequency(part[rows], labelled[rows], fold[rows], folds, max_splits)
        n_p = labelled[rows].sum()
        return min(float(n_p * (1 / c - 1) / (len(rows) - n_p)), 1.0), purest

    raw, purest = estimate(np.arange(len(x)))
    again = [estimate(rng.integers(len(x), size=len(x)))[0] for _ in range(n_bootstrap)]
    return _judge("tice", raw, again, _Top(purest[0], purest[1], len(x_p), len(x_u)))


def prior_from_counts(
    expected: "pd.DataFrame", rng: np.random.Generator, n_bootstrap: int = 1000, sweep_points: int = 7
) -> tuple[PriorEstimate, np.ndarray]:
    """Prior from the simulated number of tandems per target, and the priors to sweep around it.

    Parameters
    ----------
    expected : pandas.DataFrame
        As `tandemlens.base.columns.expected.COLUMNS`.
    rng : numpy.random.Generator
    n_bootstrap, sweep_points : int

    Returns
    -------
    estimate : PriorEstimate
        Mean of ``expected``, with the scatter from target to target. Where no draw gave a tandem alpha is NaN and the
        bound is that of three tandems among all draws (rule of three).
    sweep : (m,) ndarray
        `SWEEP` in equal steps of the logarithm, and alpha, ascending.
    """
    value = expected["expected"].to_numpy(float)
    if len(value) == 0 or not np.isfinite(value).all():
        raise InputError(f"{len(value)} targets, not all with an expected number; rerun the stage that simulates it")
    sweep = np.geomspace(*SWEEP, sweep_points)
    alpha = float(value.mean())
    if alpha == 0:
        bound = float(3 * expected["clusters"].sum() / max(expected["draws"].sum(), 1) / len(value))
        reason = f"none of {expected['draws'].sum()} simulated second clusters is a tandem; simulate more"
        return PriorEstimate("counts", np.nan, 0.0, 0.0, bound, bound, reason), sweep
    means = value[rng.integers(len(value), size=(n_bootstrap, len(value)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return PriorEstimate("counts", alpha, alpha, float(low), float(high), float(high)), np.unique([*sweep, alpha])


@dataclass(frozen=True)
class _Top:
    """Labelled and unlabelled in the purest part of a ranking, all of either, and whether purity still rises there."""

    labelled: int
    unlabelled: int
    n_p: int
    n_u: int
    rising: bool = False


def _top(score_p: np.ndarray, score_u: np.ndarray) -> "_Top":
    """The part above the score that a tenth of the labelled reach, against that between a tenth and a half."""
    tenth, half = np.quantile(score_p, [1 - _TOP, 0.5])
    top_p, top_u = (score_p >= tenth).sum(), (score_u >= tenth).sum()
    band_p, band_u = (score_p >= half).sum() - top_p, (score_u >= half).sum() - top_u
    # two parts without negatives have equal odds; half a count keeps the logarithm of empty ones finite
    counts = np.array([band_u, top_p, band_p, top_u]) + 0.5
    excess = np.log(counts[0] * counts[1] / (counts[2] * counts[3])) - 1.96 * np.sqrt((1 / counts).sum())
    return _Top(int(top_p), int(top_u), len(score_p), len(score_u), bool(excess > np.log(_RISE)))


def _judge(method: str, raw: float, again: list[float], top: "_Top") -> "PriorEstimate":
    """Refuse what the purest part of the ranking does not show: no positives there, or fewer than `raw` promises."""
    low, high = np.quantile(again, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    # exact for two Poisson counts: given their sum the share is binomial, and its odds are their ratio
    share = binomtest(top.unlabelled, top.unlabelled + top.labelled).proportion_ci(_LEVEL, method="exact")
    top_low, top_high = (s / max(1 - s, 1e-12) * top.n_p / top.n_u for s in share)
    reason = ""
    if top_low <= 1 / top.n_p:
        reason = (
            f"{top.unlabelled} unlabelled beside {top.labelled} labelled in the purest part are no evidence for more "
            f"than 1/n_P = {1 / top.n_p:.2g}; take the prior from expected numbers"
        )
    elif raw > top_high or top.rising:
        reason = (
            f"the estimate {raw:.3g} is only an upper limit, since the purest part allows {top_high:.3g} at most or is "
            "not pure itself; take the prior from expected numbers"
        )
    bound = min(1.0, max(min(high, top_high), 1 / top.n_p))
    return PriorEstimate(method, np.nan if reason else raw, raw, float(low), float(high), float(bound), reason)


def _resampled(
    estimate: Callable[[np.ndarray, np.ndarray], float],
    in_p: np.ndarray,
    in_u: np.ndarray,
    rng: np.random.Generator,
    n_bootstrap: int,
) -> list[float]:
    n_p, n_u = in_p.sum(), in_u.sum()
    return [estimate(rng.multinomial(n_p, in_p / n_p), rng.multinomial(n_u, in_u / n_u)) for _ in range(n_bootstrap)]


def _running_median(values: np.ndarray, half: int) -> np.ndarray:
    """Median over `half` neighbours on either side, fewer at the ends and always as many on both."""
    reach = np.minimum(np.minimum(np.arange(len(values)), np.arange(len(values))[::-1]), half)
    return np.array([np.median(values[i - k : i + k + 1]) for i, k in enumerate(reach)])


def _expectation_maximisation(
    ratio: np.ndarray, step: float = 0.001, tolerance: float = 1e-5, near: float = 0.05
) -> float:
    alpha = 1.0
    for _ in range(1000):
        mean = np.minimum(alpha * ratio, 1).mean()
        if abs(mean - alpha) < tolerance or alpha * ratio.max() < 1:
            break
        alpha = mean
    grid = np.arange(step, 1, step)
    excess = grid - np.minimum(grid[:, None] * ratio, 1).mean(axis=1)
    bend = np.where(excess[1:-1] < near, np.diff(excess, 2), -np.inf)
    knee = grid[1:-1][np.argmax(bend)]
    overshoots = (excess < 0).sum() > 1 and alpha > step
    return float(alpha if knee <= alpha or overshoots else knee)


def _tice_frequency(
    part: np.ndarray, labelled: np.ndarray, fold: np.ndarray, folds: int, max_splits: int
) -> tuple[float, tuple[int, int]]:
    """Lower limit of c, and labelled and unlabelled of the node that gave it."""
    c, purest = 0.5, (0, 0)
    for _ in range(2):
        limits = []
        for held in range(folds):
            grow, measure = np.flatnonzero(fold == held), np.flatnonzero(fold != held)
            delta = max(0.025, 1 / (1 + 0.004 * len(measure)))
            # the whole sample is a leaf too, and needs no correction for having been chosen
            n_l = int(labelled[measure].sum())
            best = (n_l / len(measure), n_l, len(measure) - n_l)
            for node in _tice_nodes(part, labelled, grow, measure, delta, c, max_splits):
                n_l, n = int(labelled[node].sum()), len(node)
                if n >= 10:
                    best = max(best, (_tice_limit(n_l, n, delta, c), n_l, n - n_l))
            limits.append(best)
        c = min(max(float(np.mean([limit[0] for limit in limits])), 1e-6), 1 - 1e-6)
        _, found, others = max(limits)
        purest = found, others
    return c, purest


def _tice_limit(n_labelled: int, n: int, delta: float, c: float) -> float:
    return n_labelled / n - np.sqrt(c * (1 - c) * (1 - delta) / (delta * n))


def _tice_nodes(
    part: np.ndarray,
    labelled: np.ndarray,
    grow: np.ndarray,
    measure: np.ndarray,
    delta: float,
    c: float,
    max_splits: int,
) -> Iterator[np.ndarray]:
    """Nodes of the tree as rows to measure with, the most promising split first."""
    queue: list[tuple[float, np.ndarray, np.ndarray, Sequence[int]]] = [
        (_tice_limit(labelled[grow].sum(), len(grow), delta, c), grow, measure, range(part.shape[1]))
    ]
    yield measure
    for _ in range(max_splits):
        if not queue:
            return
        _, grow, measure, features = queue.pop(max(range(len(queue)), key=lambda i: queue[i][0]))
        counts = [_quarters(part[grow, f], labelled[grow]) for f in features]
        if not counts:
            continue
        # the largest biased estimate of the label share among the four parts (max-bepp, k = 5)
        chosen = int(np.argmax([(n_l / (n + 5)).max() for n_l, n in counts]))
        feature = features[chosen]
        rest = [f for f in features if f != feature]
        for quarter in range(4):
            inner = grow[part[grow, feature] == quarter]
            outer = measure[part[measure, feature] == quarter]
            yield outer
            if len(inner) > 10 and 0 < labelled[inner].sum() < len(inner):
                queue.append((_tice_limit(labelled[inner].sum(), len(inner), delta, c), inner, outer, rest))


def _quarters(part: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.bincount(part, labelled, minlength=4), np.bincount(part, minlength=4)


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    if len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"{name} holds {len(values)} rows, of which some are not finite or none exist; leave them out")
    return values
