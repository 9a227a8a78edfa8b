"""Methods, section 6.3: class-prior estimators on Gaussians of known prior, and what they refuse to say."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from scipy.stats import norm

from tandemlens.base.errors import InputError
from tandemlens.learn.prior_estimate import bbe, dedpul, prior_from_counts, tice

PRIOR, FREQUENCY = 0.2, 0.3


def check_sample(separation, n=200_000):
    """The sample of methods 6.3: g of labelled and unlabelled, their x, and the true alpha (.1485)."""
    rng = np.random.default_rng(1)
    y = (rng.random(n) < PRIOR).astype(int)
    x = rng.normal(size=(n, 1)) + separation * y[:, None]
    s = ((rng.random(n) < FREQUENCY) & (y == 1)).astype(int)
    positive = PRIOR * norm.pdf(x[:, 0], separation)
    g = FREQUENCY * positive / (positive + (1 - PRIOR) * norm.pdf(x[:, 0]))
    return g[s == 1], g[s == 0], x[s == 1], x[s == 0], y[s == 0].mean()


def two_samples(n_p, n_u, alpha, separation, seed):
    rng = np.random.default_rng(seed)
    hidden = rng.random(n_u) < alpha
    return rng.normal(size=n_p) + separation, rng.normal(size=n_u) + separation * hidden


@pytest.mark.parametrize(("separation", "expected"), [(3.0, 0.1533), (5.0, 0.1497)])
def test_bbe_where_classes_are_apart(separation, expected):
    g_p, g_u, _, _, alpha = check_sample(separation)
    assert alpha == pytest.approx(0.1485, abs=1e-4)
    found = bbe(g_p, g_u, np.random.default_rng(0))
    assert found.alpha == pytest.approx(expected, abs=1e-3)
    assert found.low < found.raw < found.high
    assert found.low < alpha < found.bound
    assert found.reason == ""


def test_bbe_overestimates_and_says_so():
    """Methods: .194 at 1.5 sigma for a true .1485, which no bootstrap interval covers."""
    g_p, g_u, _, _, alpha = check_sample(1.5)
    found = bbe(g_p, g_u, np.random.default_rng(0))
    assert found.raw == pytest.approx(0.194, abs=1e-3)
    assert found.low > alpha
    assert np.isnan(found.alpha)
    assert "only an upper limit" in found.reason
    assert alpha < found.bound < found.raw


def test_bbe_is_the_published_minimum():
    """Against the definition, written out, over every labelled score as a threshold."""
    score_p, score_u = two_samples(300, 2000, 0.3, 2.0, 3)
    smallest = np.inf
    for t in score_p:
        q_p, q_u = (score_p >= t).mean(), (score_u >= t).mean()
        limit = q_u / q_p + 1.01 / q_p * (np.sqrt(np.log(40) / 4000) + np.sqrt(np.log(40) / 600))
        if limit < smallest:
            smallest, expected = limit, q_u / q_p
    assert bbe(score_p, score_u, np.random.default_rng(0)).raw == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("separation", "tolerance"), [(3.0, 0.004), (5.0, 0.003)])
def test_dedpul(separation, tolerance):
    g_p, g_u, x_p, x_u, alpha = check_sample(separation)
    rng = np.random.default_rng(0)
    assert dedpul(logit(g_p), logit(g_u), rng, n_bootstrap=5).alpha == pytest.approx(alpha, abs=tolerance)
    assert dedpul(x_p[:, 0], x_u[:, 0], rng, n_bootstrap=5).alpha == pytest.approx(alpha, abs=tolerance)


def test_dedpul_overestimates_less_than_bbe_where_classes_overlap():
    _, _, x_p, x_u, alpha = check_sample(1.5)
    rng = np.random.default_rng(0)
    found = dedpul(x_p[:, 0], x_u[:, 0], rng, n_bootstrap=5)
    assert alpha < found.raw < bbe(x_p[:, 0], x_u[:, 0], rng, n_bootstrap=5).raw


def test_tice_bounds():
    """c is a lower limit, so alpha is an upper one, closer the better the tree finds a pure part."""
    raw = {}
    for separation in (1.5, 3.0, 5.0):
        _, _, x_p, x_u, alpha = check_sample(separation)
        found = tice(x_p, x_u, np.random.default_rng(0), n_bootstrap=2)
        assert alpha < found.bound < found.raw
        raw[separation] = found.raw
    assert raw[5.0] < raw[3.0] < raw[1.5]
    assert raw[5.0] == pytest.approx(alpha, rel=0.2)


def test_tice_finds_the_feature_that_tells():
    rng = np.random.default_rng(4)
    n_p, n_u, alpha = 3000, 20_000, 0.3
    hidden = rng.random(n_u) < alpha
    # only the corner of high second and low third feature is pure
    pure = np.r_[np.ones(n_p, bool), hidden]
    x = rng.random((n_p + n_u, 4))
    x[pure, 1] = 0.5 + x[pure, 1] / 2
    x[pure, 2] /= 4
    found = tice(x[:n_p], x[n_p:], rng, n_bootstrap=3)
    useless = tice(x[:n_p, [0, 3]], x[n_p:][:, [0, 3]], rng, n_bootstrap=3)
    # a fraction (0.5 * 0.25) of the negatives shares the corner
    corner = alpha + (1 - alpha) / 8
    assert corner < found.raw < 1.25 * corner
    assert useless.raw > 0.9


@pytest.mark.parametrize("separation", [1.5, 3.0, 6.0])
def test_a_prior_below_one_over_n_p_is_refused(separation):
    """alpha = 1e-5 with 1000 labelled: every estimator returns noise, so none may return a number."""
    alpha, n_p = 1e-5, 1000
    score_p, score_u = two_samples(n_p, 20_000, alpha, separation, 5)
    rng = np.random.default_rng(6)
    estimates = [
        bbe(score_p, score_u, rng),
        dedpul(score_p, score_u, rng, n_bootstrap=10),
        tice(score_p[:, None], score_u[:, None], rng, n_bootstrap=3),
    ]
    for found in estimates:
        assert np.isnan(found.alpha), found
        assert found.bound >= 1 / n_p
        assert "take the prior from expected numbers" in found.reason


def test_the_refusal_is_not_deaf():
    """Where a tenth of the unlabelled are positives and stand apart, 100 labelled are enough."""
    score_p, score_u = two_samples(100, 3000, 0.1, 5.0, 7)
    found = bbe(score_p, score_u, np.random.default_rng(8))
    assert found.alpha == pytest.approx(0.1, abs=0.02)


def test_the_bound_covers():
    """The 95 per cent limit lies above the truth in almost all of 60 samples, refused or not."""
    rng = np.random.default_rng(9)
    covered = [
        bbe(*two_samples(200, 3000, alpha, separation, seed), rng, n_bootstrap=50).bound >= alpha
        for seed in range(15)
        for alpha in (0.001, 0.1)
        for separation in (1.5, 4.0)
    ]
    assert np.mean(covered) > 0.9


def test_prior_from_counts():
    expected = pd.DataFrame({"expected": [0.0, 1e-5, 3e-5], "clusters": 2.0, "draws": 1000})
    found, sweep = prior_from_counts(expected, np.random.default_rng(0))
    assert found.alpha == pytest.approx(4e-5 / 3)
    assert found.low < found.alpha < found.high == found.bound
    assert sweep[0] == pytest.approx(1e-6)
    assert sweep[-1] == pytest.approx(1e-3)
    assert found.alpha in sweep
    assert (np.diff(sweep) > 0).all()


def test_no_tandem_drawn_is_a_bound():
    expected = pd.DataFrame({"expected": [0.0, 0.0], "clusters": 2.0, "draws": 1000})
    found, sweep = prior_from_counts(expected, np.random.default_rng(0))
    assert np.isnan(found.alpha)
    # 3 of 2000 draws, each standing for 2/1000 of a cluster per target
    assert found.bound == pytest.approx(3 * 2 / 1000 / 2)
    assert "none of 2000" in found.reason
    assert len(sweep) == 7


def test_refusals():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="score_u holds 2 rows"):
        bbe(np.ones(3), np.array([1.0, np.nan]), rng)
    with pytest.raises(InputError, match="x_p holds 0 rows"):
        tice(np.empty((0, 2)), np.ones((3, 2)), rng)
    with pytest.raises(InputError, match="0 targets"):
        prior_from_counts(pd.DataFrame({"expected": [], "clusters": [], "draws": []}), rng)
