"""Ensemble weights by class from recalls, as a small mixed-integer problem (Tertytchny et al. 2025, arXiv:2412.13439).

The model, as the authors' public code has it: with the recall v_ij of head i on class j, choose K heads (x_i) and
weights w_ij that maximise::

    (1/m) sum_ij v_ij w_ij - lambda [alpha sum_ij w_ij + (1 - alpha)/2 sum_ij w_ij^2]

with sum_i w_ij = 1 and w_ij <= x_i, so that every class is recalled better than the heads do on average. Since the
weights of a class sum to one, the alpha term is a constant and only the ridge q = lambda (1 - alpha)/2 acts. For a
given choice of heads the classes separate, and each optimum is a projection on the simplex: going through the choices
is exact. The weighted mean of single recalls is not the recall of the ensemble: a head that never says lens recalls all
non-lenses and earns weight. `best_combination` has the true figure, for few systems.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, brentq, milp

from tandemlens.base.errors import InputError

#: the authors' values
LAMBDA, ALPHA = 0.81, 0.92
#: an ensemble must beat the mean recall of its class by this much
_MARGIN = 1e-6
#: a chosen head has at least this total weight in the authors' model; it moves the optimum by no more than about this
_LEAST_WEIGHT = 1e-6
_MOST_CHOICES = 20000
_ROUNDING = 1e-12
#: gap between the two classes of `best_combination`, well above the solver's tolerance of 1e-6
_GAP = 1e-4
_MOST_SYSTEMS = 300
_MOST_MODELS = 4


@dataclass(frozen=True)
class Ensemble:
    """Weights of an ensemble.

    Parameters
    ----------
    weights : (n, m) ndarray
        Of head i for class j; every column sums to 1.
    selected : tuple of int
        Chosen heads, K of them; a chosen head may have no weight.
    objective : float
    """

    weights: np.ndarray
    selected: tuple[int, ...]
    objective: float


@dataclass(frozen=True)
class Combination:
    """A weighted mean of scores and its threshold.

    Parameters
    ----------
    weights : (n,) ndarray
        Non-negative, sum 1.
    threshold : float
        A system is called a lens where the weighted mean reaches it.
    value : float
        Balanced accuracy, or true positive rate, on the systems it was fitted to.
    optimal : bool
        Whether the solver proved that nothing is better.
    """

    weights: np.ndarray
    threshold: float
    value: float
    optimal: bool


def recall_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Recall of every head on the non-lenses and on the lenses.

    Parameters
    ----------
    probabilities : (n, h) ndarray
        Of being a lens, each given by a model that has not seen the system's group; above 0.5 is called a lens.
    labels : (n,) ndarray of bool

    Returns
    -------
    (h, 2) ndarray
        Columns non-lens and lens.

    Raises
    ------
    InputError
        If the shapes differ, a probability is missing or a class is empty.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels, bool)
    _check_systems(probabilities, labels)
    called = probabilities > 0.5
    return np.column_stack([1 - called[~labels].mean(0), called[labels].mean(0)])


def class_weights(recall: np.ndarray, n_select: int, lam: float = LAMBDA, alpha: float = ALPHA) -> Ensemble:
    """Exact optimum, by going through every choice of `n_select` heads.

    Parameters
    ----------
    recall : (n, m) ndarray
        Of head i on class j, in [0, 1].
    n_select : int
        K, from 1 to n.
    lam, alpha : float
        Strength >= 0 of the elastic net, and its share in [0, 1] that is the constant L1 term.

    Returns
    -------
    Ensemble

    Raises
    ------
    InputError
        If an argument is out of range, the choices are too many, or no choice recalls every class above average.

    References
    ----------
    Tertytchny et al. 2025, arXiv:2412.13439; the bound on the recall adds one multiplier to the projection, found as a
    root (own derivation from the KKT conditions).
    """
    recall, q = _check_model(recall, n_select, lam, alpha)
    n, m = recall.shape
    if comb(n, n_select) > _MOST_CHOICES:
        raise InputError(
            f"choosing {n_select} of {n} heads gives more than {_MOST_CHOICES} choices to go through; "
            "use class_weights_milp"
        )
    least = _least_recall(recall)
    best = None
    for chosen in combinations(range(n), n_select):
        weights = np.zeros((n, m))
        for j in range(m):
            column = _on_simplex(recall[list(chosen), j], least[j], m, q)
            if column is None:
                break
            weights[list(chosen), j] = column
        else:
            objective = _objective(weights, recall, lam, alpha)
            if best is None or objective > best.objective + _ROUNDING:
                best = Ensemble(weights, chosen, objective)
    if best is None:
        raise _no_choice(n_select)
    return best


def class_weights_milp(
    recall: np.ndarray, n_select: int, lam: float = LAMBDA, alpha: float = ALPHA, n_tangents: int = 40
) -> Ensemble:
    """The same problem as a linear one, each w^2 replaced by the highest of its tangents; solved by HiGHS.

    Parameters
    ----------
    recall, n_select, lam, alpha
        As in `class_weights`.
    n_tangents : int
        Tangents at 0, 1/n, ..., 1 leave each w^2 low by at most ``1 / (4 n_tangents^2)``.

    Returns
    -------
    Ensemble
        With the objective of the true problem at the weights found.

    Raises
    ------
    InputError
        As `class_weights`, but for the number of choices.
    """
    recall, q = _check_model(recall, n_select, lam, alpha)
    n, m = recall.shape
    size = n * m
    eye, chosen = np.eye(size), np.repeat(np.eye(n), m, axis=0)
    nothing = np.zeros
    rows = [  # variables: w (n m), t >= w^2 (n m), x (n)
        (np.hstack([-2 * b * eye, eye, nothing((size, n))]), np.full(size, -b * b), np.full(size, np.inf))
        for b in np.linspace(0, 1, n_tangents + 1)
    ]
    rows.append((np.hstack([eye, nothing((size, size)), -chosen]), np.full(size, -np.inf), np.zeros(size)))
    total = np.hstack([chosen.T, nothing((n, size)), -_LEAST_WEIGHT * np.eye(n)])
    rows.append((total, np.zeros(n), np.full(n, np.inf)))
    by_class = np.tile(np.eye(m), n)
    pad = nothing((m, size + n))
    rows.append((np.hstack([by_class, pad]), np.ones(m), np.ones(m)))
    rows.append((np.hstack([by_class * recall.ravel(), pad]), _least_recall(recall), np.full(m, np.inf)))
    rows.append((np.r_[nothing(2 * size), np.ones(n)][None], np.array([n_select]), np.array([n_select])))
    matrix, low, high = (np.concatenate(part) for part in zip(*rows, strict=True))
    solution = milp(
        np.r_[-recall.ravel() / m, np.full(size, q), np.zeros(n)],
        constraints=LinearConstraint(matrix, low, high),
        integrality=np.r_[np.zeros(2 * size), np.ones(n)],
        bounds=Bounds(0, np.r_[np.ones(size), np.full(size, np.inf), np.ones(n)]),
    )
    if solution.x is None:
        raise _no_choice(n_select)
    weights = solution.x[:size].reshape(n, m)
    selected = tuple(int(i) for i in np.flatnonzero(solution.x[2 * size :] > 0.5))
    return Ensemble(weights, selected, _objective(weights, recall, lam, alpha))


def best_combination(
    scores: np.ndarray, labels: np.ndarray, n_models: int, max_false: int | None = None, time_limit: float = 60.0
) -> Combination:
    """Weighted mean of few heads with the best balanced accuracy, or the most lenses at few false positives.

    It fits the very figure that is reported, so it overfits with few lenses: use it inside cross-validation.

    Parameters
    ----------
    scores : (n, h) ndarray
        In [0, 1], for at most 300 systems.
    labels : (n,) ndarray of bool
    n_models : int
        Most heads with a weight, from 1 to 4.
    max_false : int, optional
        Maximise the true positive rate with no more false positives than this, instead of the balanced accuracy.
    time_limit : float, s

    Returns
    -------
    Combination

    Raises
    ------
    InputError
        If the shapes differ, a score is missing or outside [0, 1], a class is empty, or the problem is too large.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels, bool)
    _check_systems(scores, labels)
    n, h = scores.shape
    if scores.min() < 0 or scores.max() > 1:
        raise InputError(f"scores lie in [{scores.min()}, {scores.max()}]; scale each head to [0, 1]")
    if not 1 <= n_models <= _MOST_MODELS or n > _MOST_SYSTEMS:
        raise InputError(
            f"{n} systems and {n_models} models make the problem too large to solve or to trust; "
            f"give at most {_MOST_SYSTEMS} systems and 1 to {_MOST_MODELS} models"
        )
    # variables: w (h), x (h), threshold, right (n); a system that is wrong frees its own row
    sign, reach = np.where(labels, 1.0, -1.0), 1 + _GAP
    right = np.hstack([sign[:, None] * scores, np.zeros((n, h)), -sign[:, None], -reach * np.eye(n)])
    single = np.hstack([np.eye(h), -np.eye(h), np.zeros((h, 1 + n))])
    constraints = [
        LinearConstraint(right, np.where(labels, 0.0, _GAP) - reach, np.inf),
        LinearConstraint(single, -np.inf, 0),
        LinearConstraint(np.r_[np.ones(h), np.zeros(h + 1 + n)], 1, 1),
        LinearConstraint(np.r_[np.zeros(h), np.ones(h), np.zeros(1 + n)], 0, n_models),
    ]
    worth = labels / labels.sum()
    if max_false is None:
        worth = (worth + ~labels / (~labels).sum()) / 2
    else:
        row = np.r_[np.zeros(2 * h + 1), ~labels]
        constraints.append(LinearConstraint(row, (~labels).sum() - max_false, np.inf))
    solution = milp(
        -np.r_[np.zeros(2 * h + 1), worth],
        constraints=constraints,
        integrality=np.r_[np.zeros(h), np.ones(h), 0, np.ones(n)],
        bounds=Bounds(0, np.r_[np.ones(2 * h), reach, np.ones(n)]),
        options={"time_limit": time_limit},
    )
    if solution.x is None:
        raise InputError(f"no combination was found in {time_limit} s ({solution.message}); raise time_limit")
    return Combination(solution.x[:h], float(solution.x[2 * h]), float(-solution.fun), bool(solution.status == 0))


def simplex_projection(point: np.ndarray) -> np.ndarray:
    """Nearest point with non-negative entries of sum 1.

    Parameters
    ----------
    point : (n,) ndarray

    Returns
    -------
    (n,) ndarray

    References
    ----------
    Duchi et al. 2008, ICML, figure 1 (from memory).
    """
    # the projection does not change with a common shift, which keeps large entries exact
    point = point - point.max()
    ordered = np.sort(point)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(point) + 1)
    return np.maximum(point - excess[np.flatnonzero(ordered > excess)[-1]], 0)


def _on_simplex(v: np.ndarray, least: float, m: int, q: float) -> np.ndarray | None:
    """Weights on the simplex that maximise v.w/m - q w.w with v.w >= least; None if there are none."""
    if v.max() < least - _ROUNDING:
        return None
    if q == 0:
        return np.eye(len(v))[np.argmax(v)]

    def at(push: float) -> np.ndarray:
        return simplex_projection(v * (1 / m + push) / (2 * q))

    def short(push: float) -> float:
        return v @ at(push) - least + _ROUNDING

    if short(0) >= 0:
        return at(0)
    high = 1.0
    while short(high) < 0:
        high *= 2
    return at(brentq(short, 0, high, xtol=1e-14 * high, rtol=1e-14))


def _least_recall(recall: np.ndarray) -> np.ndarray:
    """The bound on every class; heads that all have the same recall cannot beat their mean and need not."""
    return np.minimum(recall.mean(0) + _MARGIN, recall.max(0))


def _objective(weights: np.ndarray, recall: np.ndarray, lam: float, alpha: float) -> float:
    penalty = alpha * weights.sum() + (1 - alpha) / 2 * (weights**2).sum()
    return float((weights * recall).sum() / recall.shape[1] - lam * penalty)


def _check_model(recall: np.ndarray, n_select: int, lam: float, alpha: float) -> tuple[np.ndarray, float]:
    recall = np.asarray(recall, float)
    if recall.ndim != 2 or recall.size == 0 or not ((recall >= 0) & (recall <= 1)).all():
        raise InputError(f"recall of shape {recall.shape} must be a table of heads by classes with values in [0, 1]")
    if not 1 <= n_select <= len(recall):
        raise InputError(f"n_select is {n_select} for {len(recall)} heads; give 1 to {len(recall)}")
    if not (lam >= 0 and 0 <= alpha <= 1):
        raise InputError(f"lam is {lam} and alpha is {alpha}; give lam >= 0 and alpha in [0, 1]")
    return recall, lam * (1 - alpha) / 2


def _check_systems(scores: np.ndarray, labels: np.ndarray) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not np.isfinite(scores).all():
        raise InputError(
            f"scores of shape {scores.shape} and labels of shape {labels.shape} must be systems by heads, "
            "without missing values"
        )
    if labels.all() or not labels.any():
        raise InputError(f"all {len(labels)} systems are of one class; give lenses and non-lenses")


def _no_choice(n_select: int) -> InputError:
    return InputError(
        f"no choice of {n_select} heads recalls every class better than the heads do on average; raise n_select"
    )
