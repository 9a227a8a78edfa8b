"""Methods, section 12: the ensemble weights against closed forms, a general QP solver, HiGHS and brute force."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from tandemlens.base.errors import InputError
from tandemlens.learn.mip import (
    best_combination,
    class_weights,
    class_weights_milp,
    recall_matrix,
    simplex_projection,
)

#: heads 0 and 2 know class 0, head 1 knows class 1; two of them must be head 1 and another
LOPSIDED = np.array([[0.95, 0.5], [0.6, 0.9], [0.94, 0.47]])


@pytest.fixture
def recall():
    return np.random.default_rng(0).uniform(0.4, 0.95, (8, 2))


def quadratic(recall, chosen, lam, alpha):
    """The optimum for a given choice by SLSQP, dominance included."""
    m, v = recall.shape[1], recall[list(chosen)]
    q = lam * (1 - alpha) / 2

    def loss(w):
        return q * w @ w - w @ v.ravel() / m

    limits = [{"type": "eq", "fun": lambda w: w.reshape(v.shape).sum(0) - 1}]
    limits.append({"type": "ineq", "fun": lambda w: (w.reshape(v.shape) * v).sum(0) - recall.mean(0) - 1e-6})
    start = np.full(v.size, 1 / len(v))
    found = minimize(
        loss,
        start,
        jac=lambda w: 2 * q * w - v.ravel() / m,
        method="SLSQP",
        bounds=[(0, 1)] * v.size,
        constraints=limits,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return -found.fun - lam * alpha * m, found.x.reshape(v.shape)


def test_anchor(recall):
    """checks/t3.py: objective -.638292 with heads {2, 4, 6}."""
    found = class_weights(recall, 3)
    assert found.objective == pytest.approx(-0.638292, abs=1e-6)
    assert found.selected == (2, 4, 6)
    np.testing.assert_allclose(found.weights.sum(0), 1)
    np.testing.assert_array_equal(np.flatnonzero(found.weights.sum(1)), found.selected)


@pytest.mark.parametrize("n_select", [2, 3, 4, 8])
def test_linear_problem_agrees(recall, n_select):
    exact, linear = class_weights(recall, n_select), class_weights_milp(recall, n_select)
    assert -1e-5 < exact.objective - linear.objective < 1e-4
    assert len(linear.selected) == n_select
    np.testing.assert_allclose(linear.weights, exact.weights, atol=0.03)  # tangents are 1/40 apart


def test_linear_problem_agrees_where_dominance_binds():
    exact, linear = class_weights(LOPSIDED, 2, 8.0), class_weights_milp(LOPSIDED, 2, 8.0, n_tangents=200)
    assert -1e-5 < exact.objective - linear.objective < 1e-4
    assert linear.selected == exact.selected == (0, 1)


def test_no_ridge_gives_a_vertex(recall):
    found = class_weights(recall, 2, alpha=1.0)
    best = recall.argmax(0)
    expected = np.zeros_like(recall)
    expected[best, [0, 1]] = 1
    np.testing.assert_array_equal(found.weights, expected)


def test_strong_ridge_gives_equal_weights(recall):
    found = class_weights(recall, 8, lam=1e6)
    np.testing.assert_allclose(found.weights, 1 / 8, atol=1e-5)


@pytest.mark.parametrize("lam", [8.0, 30.0, 1e3])
def test_dominance_binds_and_agrees_with_a_general_solver(lam):
    """Equal weights of heads 0 and 1 recall 0.775 of class 0, below the mean of 0.83: the bound must act."""
    found = class_weights(LOPSIDED, 2, lam)
    gain = (found.weights * LOPSIDED).sum(0) - LOPSIDED.mean(0)
    assert gain[0] == pytest.approx(1e-6, abs=1e-9)
    assert gain.min() > 0.9e-6
    best = max((quadratic(LOPSIDED, c, lam, 0.92) for c in [(0, 1), (1, 2)]), key=lambda r: r[0])
    assert found.objective == pytest.approx(best[0], abs=1e-7 * lam)
    np.testing.assert_allclose(found.weights[list(found.selected)], best[1], atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_free_optimum_agrees_with_a_general_solver(seed):
    table = np.random.default_rng(seed).uniform(0.4, 0.95, (4, 3))
    found = class_weights(table, 4, 4.0, 0.5)
    objective, weights = quadratic(table, range(4), 4.0, 0.5)
    assert found.objective == pytest.approx(objective, abs=1e-8)
    np.testing.assert_allclose(found.weights, weights, atol=1e-4)


def test_no_choice_dominates():
    with pytest.raises(InputError, match=r"no choice of 1 heads .* raise n_select"):
        class_weights([[0.9, 0.5], [0.5, 0.9]], 1)
    with pytest.raises(InputError, match="no choice of 1 heads"):
        class_weights_milp([[0.9, 0.5], [0.5, 0.9]], 1)


def test_identical_heads_share(recall):
    found = class_weights(np.tile(recall[:1], (3, 1)), 3)
    np.testing.assert_allclose(found.weights, 1 / 3)


def test_projection_meets_its_optimality_conditions():
    rng = np.random.default_rng(1)
    for point in [rng.normal(0, 1, 6) for _ in range(50)] + [np.array([1e9, 1e9 + 0.5, -1e9])]:
        w = simplex_projection(point)
        assert w.sum() == pytest.approx(1)
        assert w.min() >= 0
        shift = point - w
        # one multiplier where the weight is free, and no more than it elsewhere
        assert np.ptp(shift[w > 0]) < 1e-6
        assert (shift[w == 0] <= shift[w > 0].max() + 1e-9).all()


def test_recalls_by_hand():
    probabilities = np.array([[0.9, 0.2], [0.6, 0.4], [0.1, 0.7], [0.5, 0.5]])
    labels = np.array([True, True, False, False])
    np.testing.assert_allclose(recall_matrix(probabilities, labels), [[1.0, 1.0], [0.5, 0.0]])


def combinations_by_brute_force(scores, labels, max_false):
    """Best figure over the orders that a weighted mean of two heads can give: they change where two systems tie."""
    a, b = scores.T
    da, db = a[:, None] - a, b[:, None] - b
    with np.errstate(all="ignore"):
        ties = db / (db - da)
    ties = np.unique(np.r_[0, ties[(ties > 0) & (ties < 1)], 1])
    best = 0.0
    for w in [0.0, 1.0, *((x + y) / 2 for x, y in pairwise(ties))]:
        fused = w * a + (1 - w) * b
        for threshold in np.r_[fused, 2.0]:
            called = fused >= threshold
            tpr, false = called[labels].mean(), called[~labels].sum()
            if max_false is None:
                best = max(best, (tpr + 1 - false / (~labels).sum()) / 2)
            elif false <= max_false:
                best = max(best, tpr)
    return best


@pytest.mark.parametrize("max_false", [None, 0, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_best_combination_is_that_of_brute_force(max_false, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(24) < 9
    scores = np.clip(0.5 + 0.12 * labels[:, None] + rng.normal(0, 0.12, (24, 2)), 0, 1)
    found = best_combination(scores, labels, 2, max_false)
    assert found.optimal
    assert found.value == pytest.approx(combinations_by_brute_force(scores, labels, max_false))
    called = scores @ found.weights >= found.threshold - 1e-5
    tpr, fpr = called[labels].mean(), called[~labels].mean()
    assert found.value == pytest.approx((tpr + 1 - fpr) / 2 if max_false is None else tpr)
    assert max_false is None or called[~labels].sum() <= max_false


def test_best_combination_keeps_to_its_number_of_models():
    rng = np.random.default_rng(3)
    labels = np.arange(30) < 10
    scores = np.clip(0.5 + 0.1 * labels[:, None] + rng.normal(0, 0.15, (30, 4)), 0, 1)
    values = []
    for n_models in (1, 2, 4):
        found = best_combination(scores, labels, n_models)
        assert (found.weights > 1e-6).sum() <= n_models
        assert found.weights.sum() == pytest.approx(1)
        values.append(found.value)
    assert values == sorted(values)
    assert values[-1] > values[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_select": 9}, "n_select is 9 for 8 heads"),
        ({"lam": -1.0}, "lam is -1.0"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"recall": np.full((2, 2), np.nan), "n_select": 1}, r"recall of shape \(2, 2\)"),
        ({"recall": np.full((30, 2), 0.5), "n_select": 10}, "more than 20000 choices"),
    ],
)
def test_bad_models_are_refused(recall, change, message):
    with pytest.raises(InputError, match=message):
        class_weights(**{"recall": recall, "n_select": 3, **change})


@pytest.mark.parametrize(
    ("scores", "labels", "n_models", "message"),
    [
        (np.full((4, 2), np.nan), [1, 0, 1, 0], 2, "without missing values"),
        (np.full((4, 2), 0.5), [1, 0, 1], 2, r"labels of shape \(3,\)"),
        (np.full((4, 2), 0.5), [1, 1, 1, 1], 2, "all 4 systems are of one class"),
        (np.full((4, 2), 1.5), [1, 0, 1, 0], 2, "scale each head"),
        (np.full((4, 2), 0.5), [1, 0, 1, 0], 5, "5 models make the problem too large"),
        (np.full((400, 2), 0.5), [1, 0] * 200, 2, "400 systems"),
    ],
)
def test_bad_systems_are_refused(scores, labels, n_models, message):
    with pytest.raises(InputError, match=message):
        best_combination(scores, labels, n_models)
