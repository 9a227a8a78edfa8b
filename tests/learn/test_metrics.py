"""Methods, section 15: metrics against closed forms, scikit-learn and simulations."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression

from tandemlens.base.errors import InputError
from tandemlens.learn.metrics import (
    auroc,
    average_precision,
    brier,
    clopper_pearson,
    completeness,
    contamination,
    ece,
    precision_at,
    purity,
    ranking_value,
    reliability,
    roc,
    threshold_at_fpr,
    tpr0,
    tpr10,
    tpr_at_fpr,
)
from tandemlens.learn.ranking import Calibration, Ranking, ranking_metric

RANKED = ("auroc", "average_precision", "tpr0", "tpr10", "tpr_at_fpr_0.1", "tpr_at_fpr_0.03", "precision_at_20")


def draw(rng, n=400, step=0.0, shift=1.5, share=0.4):
    """Scores and labels; with ties if `step` is given."""
    labels = rng.random(n) < share
    scores = rng.normal(size=n) + shift * labels
    return (np.round(scores / step) * step if step else scores), labels


def above(scores, labels, allowed):
    """TPR by the definition of the methods: strictly above the first negative that is not allowed any more."""
    negatives = np.sort(scores[~labels])[::-1]
    return (scores[labels] > negatives[allowed]).mean()


def test_numbers_of_the_methods():
    scores, labels = np.array([0.9, 0.8, 0.3, 0.85, 0.1]), np.array([1, 1, 1, 0, 0])
    assert tpr0(scores, labels) == pytest.approx(1 / 3)
    assert auroc(scores, labels) == pytest.approx(4 / 6)


def test_constant_scores_know_nothing():
    scores, labels = np.full(60, 0.7), np.arange(60) % 3 == 0
    assert auroc(scores, labels) == 0.5
    assert tpr0(scores, labels) == tpr10(scores, labels) == tpr_at_fpr(scores, labels, 0.1) == 0
    assert precision_at(scores, labels, 20) == 0
    assert average_precision(scores, labels) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", RANKED)
def test_monotone_transforms_change_nothing(name):
    scores, labels = draw(np.random.default_rng(1), step=0.1)
    expected = ranking_value(name, scores, labels)
    for transform in (np.exp, np.arctan, lambda s: 3 * s - 7, lambda s: s**3):
        assert ranking_value(name, transform(scores), labels) == expected


def test_ten_tied_negatives_at_the_top():
    """The tie is all or nothing: the positives that share it are not found, those above it are."""
    negatives = np.concatenate([np.full(10, 5.0), np.zeros(90)])
    positives = np.array([6.0, 5.0, 5.0, 4.0])
    scores, labels = np.concatenate([negatives, positives]), np.arange(104) >= 100
    assert tpr10(scores, labels) == 0.25
    scores[0] = 0.0  # nine of them are allowed, and all that lies above the tenth negative counts
    assert tpr10(scores, labels) == 1.0


@pytest.mark.parametrize("step", [0.0, 0.25])
def test_strict_rates_follow_their_definition(step):
    rng = np.random.default_rng(2)
    for _ in range(40):
        scores, labels = draw(rng, step=step)
        assert tpr0(scores, labels) == pytest.approx(above(scores, labels, 0))
        assert tpr10(scores, labels) == pytest.approx(above(scores, labels, 9))
        for fpr in (0.1, 0.03, 1e-2, 1e-3):
            expected = above(scores, labels, int(fpr * (~labels).sum() + 1e-9))
            assert tpr_at_fpr(scores, labels, fpr) == pytest.approx(expected)
            threshold = threshold_at_fpr(scores, labels, fpr)
            assert (scores[labels] > threshold).mean() == pytest.approx(expected)
            assert (scores[~labels] > threshold).mean() <= fpr


def test_rounding_does_not_cost_a_false_positive():
    """0.29 * 100 is 28.999... in floating point; a rate of 0.29 allows 29 of 100 negatives."""
    scores = np.concatenate([np.arange(100.0), [70.5, 69.5]])
    labels = np.arange(102) >= 100
    assert tpr_at_fpr(scores, labels, 0.29) == 0.5
    assert threshold_at_fpr(scores, labels, 0.29) == 70


@pytest.mark.parametrize("step", [0.0, 0.25])
@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learn_agrees(step, weighted):
    rng = np.random.default_rng(3)
    for _ in range(20):
        scores, labels = draw(rng, step=step)
        weights = rng.uniform(0.1, 3, len(labels)) if weighted else None
        p = expit(scores)
        for own, other in (
            (auroc(scores, labels, weights), oracle.roc_auc_score(labels, scores, sample_weight=weights)),
            (
                average_precision(scores, labels, weights),
                oracle.average_precision_score(labels, scores, sample_weight=weights),
            ),
            (brier(p, labels, weights), oracle.brier_score_loss(labels, p, sample_weight=weights)),
        ):
            assert own == pytest.approx(other, abs=1e-12)
        fpr, tpr, threshold = oracle.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        np.testing.assert_allclose(roc(scores, labels, weights), np.column_stack([fpr, tpr, threshold]), atol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25))
@settings(deadline=None, max_examples=300, derandomize=True)
def test_weights_are_repetitions(rows):
    """Any metric with whole weights is that of the repeated rows, ties, zeros and undefined values included."""
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    again = np.repeat(np.arange(len(scores)), weights)
    for name in (*RANKED, "precision_at_3", "tpr_at_fpr_0.5"):
        weighted = ranking_value(name, scores, labels, weights)
        np.testing.assert_allclose(weighted, ranking_value(name, scores[again], labels[again]), atol=1e-12)


def test_one_sort_serves_many_weights():
    rng = np.random.default_rng(4)
    scores, labels = draw(rng, step=0.1)
    weights = rng.integers(0, 4, (7, len(labels)))
    ranking = Ranking(scores, labels)
    curve = ranking.curve(weights[:, ranking.order])
    for name in RANKED:
        each = [ranking_value(name, scores, labels, w) for w in weights]
        np.testing.assert_allclose(ranking_metric(name)(curve), each)


def test_precision_takes_the_negatives_of_a_tie_first():
    scores, labels = np.array([9, 5, 5, 5, 5, 1]), np.array([1, 1, 1, 0, 0, 1])
    expected = {1: 1, 2: 1 / 2, 3: 1 / 3, 4: 2 / 4, 5: 3 / 5, 6: 4 / 6}
    assert {n: precision_at(scores, labels, n) for n in expected} == pytest.approx(expected)
    assert precision_at(scores, labels, 50) == pytest.approx(4 / 6)


def test_no_score_is_never_found(caplog):
    scores = np.array([3.0, 2.0, np.nan, np.nan, 1.0, 0.0])
    labels = np.array([1, 0, 1, 0, 0, 1])
    with caplog.at_level(logging.WARNING, "tandemlens"):
        assert tpr_at_fpr(scores, labels, 1.0) == pytest.approx(2 / 3)
    assert "2 of 6 systems have no score and rank last" in caplog.text
    assert (scores[labels == 1] > threshold_at_fpr(scores, labels, 1.0)).mean() == pytest.approx(2 / 3)
    assert precision_at(scores, labels, 6) == pytest.approx(2 / 4)
    lowest = np.nan_to_num(scores, nan=-9)
    assert auroc(scores, labels) == oracle.roc_auc_score(labels, lowest)
    # The last step of scikit-learn's sum is that of the unscored positive, at a precision of one half.
    expected = oracle.average_precision_score(labels, lowest) - 1 / 3 * 3 / 6
    assert average_precision(scores, labels) == pytest.approx(expected)
    assert brier(np.array([np.nan, 1.0]), np.array([1, 1])) == 0.5


def test_metrics_without_a_meaning_are_nan():
    scores = np.arange(12.0)
    for labels in (np.ones(12), np.zeros(12)):
        assert np.isnan([ranking_value(name, scores, labels) for name in ("auroc", "tpr0", "tpr_at_fpr_0.1")]).all()
    assert np.isnan(tpr10(scores, np.arange(12) > 8))
    assert tpr10(scores, np.arange(12) > 9) == 1.0


def test_isotonic_ties_cost_the_strict_metrics():
    """Methods, section 5: TPR0 .118 -> 0 and TPR10 .31 -> 0 where AUROC only falls .983 -> .976."""
    rng = np.random.default_rng(3)

    def generate(n, share):
        y = (rng.random(n) < share).astype(int)
        return y, rng.normal(size=n) + 3 * y

    (y, z), (y_few, z_few) = generate(100_000, 0.5), generate(400, 0.1)
    binned = IsotonicRegression(out_of_bounds="clip").fit(expit(z_few - 1.5), y_few).predict(expit(z - 1.5))
    assert (auroc(z, y), auroc(binned, y)) == pytest.approx((0.983, 0.976), abs=5e-4)
    assert (tpr0(z, y), tpr10(z, y)) == pytest.approx((0.118, 0.31), abs=5e-3)
    assert tpr0(binned, y) == tpr10(binned, y) == 0


def test_no_false_positive_bounds_the_rate():
    """Methods: none in 500, 2000, 50000 negatives bounds FPR < 6e-3, 1.5e-3, 6e-5 at 95 per cent."""
    n = np.array([500, 2000, 50_000])
    high = clopper_pearson(0, n, level=0.9)[1]
    np.testing.assert_allclose(high, 1 - 0.05 ** (1 / n))
    np.testing.assert_allclose(high, [6e-3, 1.5e-3, 6e-5], rtol=0.01)


def test_clopper_pearson_covers_at_least_its_level():
    k = np.arange(13)
    low, high = clopper_pearson(k, 12)
    for p in np.linspace(0.01, 0.99, 99):
        assert binom.pmf(k, 12, p)[(low <= p) & (p <= high)].sum() >= 0.95
    assert (low[0], high[12]) == (0, 1)
    assert tuple(clopper_pearson(0, 0)) == (0, 1)


def test_purity_at_a_prevalence():
    """TPR .8: at FPR .1 and one lens in 100, 1000, 10000; contamination is the same in other words."""
    prevalence = np.array([1e-2, 1e-3, 1e-4])
    found = purity(0.8, 0.1, prevalence)
    np.testing.assert_allclose(found, [0.0747664, 0.0079444, 0.0007994], rtol=1e-4)
    np.testing.assert_allclose(contamination(0.8, 0.1, prevalence), 1 / found - 1)
    assert np.isnan(purity(0, 0, 0.1))
    assert np.isnan(contamination(0, 0.1, 0.1))


def test_completeness_bins_keep_every_positive():
    scores = np.array([5.0, 0.0, 5.0, 5.0, np.nan, 5.0, 5.0, 9.0])
    labels = np.array([1, 1, 1, 1, 1, 1, 1, 0])
    quantity = np.array([0.0, 0.5, 1.0, 1.9, 1.5, 2.0, np.nan, 0.5])
    table = completeness(scores, labels, quantity, [0, 1, 2], threshold=1)
    assert table["n"].tolist() == [2, 3, 2]
    assert table["found"].tolist() == [1, 2, 2]
    np.testing.assert_allclose(table["completeness"], [1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(table.loc[0, ["low", "high"]].astype(float), [0.012579, 0.987421], atol=1e-6)
    assert table.loc[2, ["from", "to"]].isna().all()
    empty = completeness(scores, labels, quantity, [7, 8], threshold=1)
    assert np.isnan(empty.loc[0, "completeness"])


def test_completeness_finds_a_known_curve():
    rng = np.random.default_rng(5)
    radius = rng.uniform(0.5, 4, 40_000)
    scores = rng.logistic(size=radius.size) + 2 * radius
    table = completeness(scores, np.ones(radius.size), radius, np.linspace(0.5, 4, 15), threshold=4).iloc[:-1]
    edges = table[["from", "to"]].to_numpy()
    truth = np.array([expit(2 * np.linspace(a, b, 101) - 4).mean() for a, b in edges])
    inside = (table["low"] <= truth) & (truth <= table["high"])
    assert inside.sum() >= 12


@pytest.mark.parametrize("equal_counts", [False, True])
def test_reliability_is_that_of_scikit_learn(equal_counts):
    rng = np.random.default_rng(6)
    p = rng.beta(1, 4, 3000)
    labels = rng.random(3000) < p
    table = reliability(p, labels, equal_counts=equal_counts)
    share, mean = calibration_curve(labels, p, n_bins=10, strategy="quantile" if equal_counts else "uniform")
    filled = table[table["n"] > 0]
    np.testing.assert_allclose(filled["share"], share)
    np.testing.assert_allclose(filled["mean_probability"], mean)
    assert table["n"].sum() == 3000
    if not equal_counts:
        gap = (filled["n"] * (filled["share"] - filled["mean_probability"]).abs()).sum() / 3000
        assert ece(p, labels) == pytest.approx(gap)


def test_ece_of_perfect_probabilities_is_binomial_noise():
    """E|gap| of a bin is sqrt(2 / pi) of its binomial error: the ECE has that mean, within five of its errors."""
    rng = np.random.default_rng(7)
    p = rng.random(20_000)
    found = [ece(p, rng.random(p.size) < p) for _ in range(50)]
    index = np.minimum((p * 10).astype(int), 9)
    error = np.sqrt(np.bincount(index, p * (1 - p))) / p.size
    expected = np.sqrt(2 / np.pi) * error.sum()
    spread = np.sqrt((1 - 2 / np.pi) * (error**2).sum())
    assert np.mean(found) == pytest.approx(expected, abs=5 * spread / np.sqrt(50))
    assert ece(np.clip(1.5 * p - 0.25, 0, 1), rng.random(p.size) < p) > 10 * expected


def test_calibration_takes_weights_as_repetitions():
    rng = np.random.default_rng(8)
    p = rng.random(200)
    labels = rng.random(200) < p
    weights = rng.integers(0, 4, (5, 200))
    calibration = Calibration(p, labels)
    for i, w in enumerate(weights):
        again = np.repeat(np.arange(200), w)
        assert calibration.ece(weights)[i] == pytest.approx(ece(p[again], labels[again]))
        assert calibration.brier(weights)[i] == pytest.approx(brier(p[again], labels[again]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auroc([1.0, 2.0], [1]), r"scores of shape \(2,\), labels of shape \(1,\)"),
        (lambda: auroc([1.0, 2.0], [1, 2]), "labels hold .*2.*; give true or false"),
        (lambda: auroc([1.0, 2.0], [1, 0], [1, -1]), "give each a finite one of 0 or more"),
        (lambda: brier([1.2, 0.1], [1, 0]), "1.2.*outside"),
        (lambda: ranking_metric("f1"), "no metric 'f1'; use one of auroc"),
        (lambda: ranking_metric("tpr_at_fpr_low"), "tpr_at_fpr_<number>"),
        (lambda: threshold_at_fpr([1.0], [1], 0.1), "no negatives"),
        (lambda: completeness([1.0], [1], [1.0], [2, 1], 0), "two or more, rising"),
        (lambda: completeness([1.0], [1], [1.0, 2.0], [1, 2], 0), "one per system"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
