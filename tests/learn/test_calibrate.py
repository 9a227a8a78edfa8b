"""Methods, section 5: calibrators and shifts of prevalence against closed forms, libraries and simulated truth."""

import json
import warnings

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from tandemlens.base.errors import InputError
from tandemlens.learn.calibrate import SMOOTH, STEPS, Calibrator, choose_method, fit_calibrator
from tandemlens.learn.prior import expected_counts, shift_prior


def gaussian(rng, n, prevalence):
    """Scores N(0, 1) and, for lenses, N(3, 1): logit p = 3 z - 4.5 + logit(prevalence)."""
    labels = (rng.random(n) < prevalence).astype(int)
    return rng.normal(size=n) + 3 * labels, labels


def true_probability(scores, prevalence):
    return expit(3 * scores - 4.5 + logit(prevalence))


def tpr_at(labels, scores, false_positives):
    """Highest TPR with at most so many false positives, ties counted against (Metcalf et al. 2019)."""
    threshold = np.sort(scores[labels == 0])[::-1][false_positives]
    return (scores[labels == 1] > threshold).mean()


def calibration_error(p, labels, n_bins=15):
    """Expected calibration error in bins of equal counts, and its mean if every p were right."""
    bins = np.array_split(np.argsort(p), n_bins)
    gap = sum(abs(labels[b].mean() - p[b].mean()) * len(b) for b in bins) / len(p)
    chance = sum(np.sqrt(2 / np.pi * (p[b] * (1 - p[b])).sum()) for b in bins) / len(p)
    return gap, chance


def calibrator(rng, method, n=20_000, prevalence=0.2):
    return fit_calibrator(*gaussian(rng, n, prevalence), method)


def test_temperature_is_recovered():
    """Logits generated with T = 2.5, 2e5 points: methods gives 2.53, 2 sigma off, for the same draws."""
    rng = np.random.default_rng(0)
    rng.normal(size=(7, 2))
    z = rng.normal(size=200_000) * 3
    labels = rng.random(200_000) < expit(z / 2.5)
    slope = fit_calibrator(z, labels, "temperature").parameters["coefficients"][0]
    error = 2.5**2 / np.sqrt((expit(z / 2.5) * expit(-z / 2.5) * z**2).sum())
    assert 1 / slope == pytest.approx(2.53, abs=5e-3)
    assert 1 / slope == pytest.approx(2.5, abs=3 * error)
    assert error < 0.02


class Identity(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision function is its only feature."""

    classes_ = np.array([0, 1])

    def fit(self, features, labels):
        return self

    def decision_function(self, features):
        return features[:, 0]

    def predict(self, features):
        return (features[:, 0] > 0).astype(int)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize(("method", "name"), [("platt", "sigmoid"), ("temperature", "temperature")])
def test_platt_and_temperature_agree_with_scikit_learn(method, name):
    """Its temperature is fitted to 0 and 1 instead of Platt's targets; 10,000 lenses make the two the same."""
    scores, labels = gaussian(np.random.default_rng(1), 50_000, 0.2)
    theirs = CalibratedClassifierCV(FrozenEstimator(Identity()), method=name).fit(scores[:, None], labels)
    p = fit_calibrator(scores, labels, method).probability(scores)
    np.testing.assert_allclose(p, theirs.predict_proba(scores[:, None])[:, 1], atol=2e-4)


def test_beta_agrees_with_betacal():
    """The package fits 0 and 1 instead of Platt's targets; 4,000 lenses make the two the same."""
    scores, labels = gaussian(np.random.default_rng(2), 20_000, 0.2)
    # it switches warnings off for good
    with warnings.catch_warnings():
        from betacal import BetaCalibration

        theirs = BetaCalibration().fit(expit(scores), labels).predict(expit(scores))
    np.testing.assert_allclose(fit_calibrator(scores, labels, "beta").probability(scores), theirs, atol=2e-3)


def test_beta_recovers_its_own_law():
    rng = np.random.default_rng(3)
    s = rng.beta(0.4, 0.4, 200_000)
    labels = rng.random(200_000) < expit(0.7 * np.log(s) - 1.6 * np.log(1 - s) - 0.4)
    found = fit_calibrator(logit(s), labels, "beta").parameters["coefficients"]
    np.testing.assert_allclose(found, [0.7, 1.6, -0.4], atol=0.06)


def test_venn_abers_is_two_isotonic_fits_per_object():
    """The definition, with scikit-learn's isotonic regression: add (s, 0), then (s, 1), and read the value at s."""
    rng = np.random.default_rng(4)
    scores, labels = gaussian(rng, 120, 0.3)
    scores = np.round(scores, 1)
    labels[[scores.argmax(), scores.argmin()]] = 0, 1
    asked = np.r_[scores[:20], rng.uniform(-4, 7, 40), -9, 9]
    p0, p1 = fit_calibrator(scores, labels, "venn_abers").interval(asked)
    for added, found in ((0, p0), (1, p1)):
        for s, value in zip(asked, found, strict=True):
            fit = IsotonicRegression().fit(np.append(scores, s), np.append(labels, added))
            assert value == pytest.approx(fit.predict([s])[0], abs=1e-9)


def test_venn_abers_agrees_with_its_package():
    scores, labels = gaussian(np.random.default_rng(5), 800, 0.3)
    asked = np.linspace(-3, 6, 200)
    both = [np.column_stack([1 - expit(x), expit(x)]) for x in (scores, asked)]
    # so does this one with numpy's
    with np.errstate(all="ignore"):
        from venn_abers import VennAbers

        package = VennAbers()
        package.fit(both[0], labels)
        theirs, bounds = package.predict_proba(both[1])
    ours = fit_calibrator(scores, labels, "venn_abers")
    np.testing.assert_allclose(ours.probability(asked), theirs[:, 1], atol=1e-9)
    np.testing.assert_allclose(np.column_stack(ours.interval(asked)), bounds, atol=1e-9)


def test_venn_abers_bounds_hold_and_narrow():
    rng = np.random.default_rng(6)
    asked = np.linspace(-6, 9, 400)
    widths = []
    for n in (100, 1600):
        fitted = calibrator(rng, "venn_abers", n)
        (p0, p1), p = fitted.interval(asked), fitted.probability(asked)
        assert (p0 <= p).all()
        assert (p <= p1).all()
        assert ((p > 0) & (p < 1)).all()
        widths.append((p1 - p0).mean())
    assert widths[1] < widths[0] / 2
    assert np.isnan(calibrator(rng, "platt").interval(asked)).all()


@pytest.mark.parametrize("method", SMOOTH)
def test_smooth_methods_keep_ranks_and_auroc(method):
    """Strictly rising on distinct scores, far into the tails where probabilities saturate."""
    rng = np.random.default_rng(7)
    fitted = calibrator(rng, method)
    assert fitted.keeps_order
    assert (np.diff(fitted.log_odds(np.linspace(-30, 30, 10_001))) > 0).all()
    scores, labels = gaussian(rng, 20_000, 0.5)
    calibrated = fitted.log_odds(scores)
    assert (np.argsort(scores) == np.argsort(calibrated)).all()
    assert roc_auc_score(labels, fitted.probability(scores)) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert tpr_at(labels, calibrated, 0) == tpr_at(labels, scores, 0)


@pytest.mark.parametrize("method", STEPS)
def test_steps_tie_objects_and_say_so(method):
    rng = np.random.default_rng(8)
    fitted = calibrator(rng, method, n=6000)
    assert not fitted.keeps_order
    p = fitted.probability(np.linspace(-3, 6, 5000))
    assert (np.diff(p) >= 0).all()
    assert (np.diff(p) == 0).any()


def test_isotonic_ties_cost_tpr0_and_the_rule_avoids_it():
    """Methods: 400 calibration points, TPR0 0.118 -> 0, TPR10 0.31 -> 0, AUROC 0.983 -> 0.976; the same draws."""
    rng = np.random.default_rng(3)
    scores, labels = gaussian(rng, 100_000, 0.5)
    few_scores, few_labels = gaussian(rng, 400, 0.1)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(few_scores, few_labels).predict(scores)
    assert tpr_at(labels, scores, 0) == pytest.approx(0.118, abs=5e-4)
    assert tpr_at(labels, scores, 9) == pytest.approx(0.31, abs=5e-3)
    assert tpr_at(labels, isotonic, 0) == tpr_at(labels, isotonic, 9) == 0
    assert roc_auc_score(labels, scores) == pytest.approx(0.983, abs=5e-4)
    assert roc_auc_score(labels, isotonic) == pytest.approx(0.976, abs=2e-3)
    ours = fit_calibrator(few_scores, few_labels, "isotonic")
    assert ours.method == "platt"
    assert f"isotonic needs 1000 objects of each class and has {few_labels.sum()}: platt used" in ours.message
    assert tpr_at(labels, ours.log_odds(scores), 0) == tpr_at(labels, scores, 0)


def test_weighted_isotonic_needs_the_prior_correction():
    """Methods: at prevalence 0.0203 the class-weighted fit has mean p 0.114, corrected 0.02007; the same draws."""
    rng = np.random.default_rng(3)
    gaussian(rng, 100_000, 0.5)
    gaussian(rng, 400, 0.1)
    scores, labels = gaussian(rng, 200_000, 0.02)
    asked, truth = gaussian(rng, 200_000, 0.02)
    assert truth.mean() == pytest.approx(0.0203, abs=5e-5)
    weights = np.where(labels == 1, 1 / 0.02, 1 / 0.98)
    sketch = IsotonicRegression(out_of_bounds="clip").fit(scores, labels, weights).predict(asked)
    assert sketch.mean() == pytest.approx(0.114, abs=5e-4)
    assert shift_prior(np.clip(sketch, 0, 1), 0.5, 0.02).mean() == pytest.approx(0.02007, abs=5e-5)
    ours = fit_calibrator(scores, labels, "weighted_isotonic").probability(asked)
    assert ours.mean() == pytest.approx(0.02007, abs=1e-5)
    # The class weights drop out altogether.
    np.testing.assert_allclose(ours, fit_calibrator(scores, labels, "isotonic").probability(asked), atol=1e-12)


@pytest.mark.parametrize("method", [*SMOOTH, *STEPS])
def test_held_out_calibration_error(method):
    """Simulated problem, training prior 0.2: ECE below 0.03 where the raw score read as a logit has 0.2 or more."""
    rng = np.random.default_rng(9)
    z, labels = gaussian(rng, 6000, 0.2)
    # Over-confident by 2.5; temperature knows no offset, so its logits have the right one.
    distort = (lambda s: 2.5 * logit(true_probability(s, 0.2))) if method == "temperature" else (lambda s: s + 1)
    fitted = fit_calibrator(distort(z), labels, method)
    asked, truth = gaussian(rng, 50_000, 0.2)
    gap, _ = calibration_error(fitted.probability(distort(asked)), truth)
    raw, _ = calibration_error(expit(distort(asked)), truth)
    assert gap < 0.03
    assert gap < raw / 2


@pytest.mark.parametrize("method", SMOOTH)
def test_calibrated_data_stay_calibrated(method):
    """Logits that are right already: ECE stays at its expectation from binomial scatter."""
    rng = np.random.default_rng(10)
    z, labels = gaussian(rng, 200_000, 0.3)
    fitted = fit_calibrator(logit(true_probability(z, 0.3)), labels, method)
    asked, truth = gaussian(rng, 30_000, 0.3)
    gap, chance = calibration_error(fitted.probability(logit(true_probability(asked, 0.3))), truth)
    assert chance / 2 < gap < 1.6 * chance


@pytest.mark.parametrize("method", ["platt", "beta"])
@pytest.mark.parametrize("prevalence", [0.2, 0.02, 0.002])
def test_expected_counts_at_a_shifted_prevalence(method, prevalence):
    """Trained at 0.2: 40 surveys of 30,000 objects; 95 per cent lie within 2 sigma if the calibration has no error."""
    rng = np.random.default_rng(11)
    pull = []
    for _ in range(40):
        fitted = calibrator(rng, method, 100_000)
        scores, truth = gaussian(rng, 30_000, prevalence)
        p = shift_prior(fitted.probability(scores), 0.2, prevalence)
        pull.append((expected_counts(p)[0] - truth.sum()) / np.sqrt((p * (1 - p)).sum()))
    assert abs(np.mean(pull)) < 3 / np.sqrt(40)
    assert (np.abs(pull) < 2).mean() >= 0.9


@pytest.mark.parametrize("prevalence", [0.2, 0.02, 0.002])
def test_venn_abers_bounds_hold_the_count_at_a_shifted_prevalence(prevalence):
    """Trained at 0.2 on 4,000: the count lies between the lower and the upper expectation, 2.5 per cent off each."""
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(10):
        fitted = calibrator(rng, "venn_abers", 4000)
        scores, truth = gaussian(rng, 30_000, prevalence)
        lower, upper = (expected_counts(shift_prior(p, 0.2, prevalence)) for p in fitted.interval(scores))
        assert lower[0] < upper[0] < 2 * lower[0]
        held += lower[1] <= truth.sum() <= upper[2]
    assert held >= 9


@pytest.mark.parametrize("method", [m for m in (*SMOOTH, *STEPS) if m != "venn_abers"])
def test_weights_count_as_copies(method):
    """Whole-number weights fit what repeated objects fit, up to the targets, which count objects of mean weight 1."""
    scores, labels = gaussian(np.random.default_rng(14), 8000, 0.3)
    weights = 1 + 2 * labels
    asked = np.linspace(-2, 5, 50)
    weighted = fit_calibrator(scores, labels, method, weights=weights).probability(asked)
    copied = fit_calibrator(np.repeat(scores, weights), np.repeat(labels, weights), method).probability(asked)
    np.testing.assert_allclose(weighted, copied, atol=1e-3)
    assert np.abs(weighted - fit_calibrator(scores, labels, method).probability(asked)).max() > 0.05


@pytest.mark.parametrize("method", [*SMOOTH, *STEPS])
def test_equal_weights_are_none(method):
    scores, labels = gaussian(np.random.default_rng(14), 4000, 0.3)
    weighted, plain = (fit_calibrator(scores, labels, method, weights=w) for w in (np.full(4000, 7.0), None))
    np.testing.assert_allclose(weighted.probability(scores), plain.probability(scores), atol=1e-9)


@pytest.mark.parametrize("method", [*SMOOTH, *STEPS])
def test_plain_numbers_restore_the_calibrator_exactly(method):
    rng = np.random.default_rng(15)
    fitted = calibrator(rng, method, 6000)
    again = Calibrator.from_dict(json.loads(json.dumps(fitted.to_dict())))
    asked = rng.normal(1, 3, 500)
    assert again == fitted
    np.testing.assert_array_equal(again.probability(asked), fitted.probability(asked))


def test_choice_of_method():
    chosen = [choose_method(n) for n in (1, 49, 50, 299, 300, 999, 1000)]
    assert chosen == ["platt", "platt", "beta", "beta", "venn_abers", "venn_abers", "isotonic"]
    assert choose_method(5, intervals=True) == choose_method(5000, intervals=True) == "venn_abers"


@pytest.mark.parametrize(
    ("method", "n_lens", "used"),
    [("beta", 49, "platt"), ("beta", 50, "beta"), ("isotonic", 200, "beta"), ("weighted_isotonic", 400, "venn_abers")],
)
def test_too_few_positives_fall_back_with_a_message(method, n_lens, used):
    rng = np.random.default_rng(16)
    labels = np.arange(3000) < n_lens
    fitted = fit_calibrator(rng.normal(size=3000) + 3 * labels, labels, method)
    assert fitted.method == used
    assert (f"and has {n_lens}: {used} used" in fitted.message) == (method != used)


@pytest.mark.parametrize("method", [*SMOOTH, *STEPS])
def test_separable_scores_stay_finite_and_short_of_certain(method):
    """Slopes would run to infinity against labels of 0 and 1."""
    scores = np.r_[np.linspace(-9, -1, 2000), np.linspace(1, 9, 1200)]
    fitted = fit_calibrator(scores, scores > 0, method)
    assert np.abs(fitted.log_odds(scores)).max() < 30
    p = fitted.probability(scores)
    assert 0 < p.min() < 0.001
    assert 0.999 < p.max() < 1


@pytest.mark.parametrize("method", SMOOTH)
def test_a_score_that_falls_with_the_label_gives_one_probability(method):
    scores, labels = gaussian(np.random.default_rng(17), 2000, 0.2)
    fitted = fit_calibrator(-(scores - scores.mean()), labels, method)
    assert not fitted.keeps_order
    assert "does not rise" in fitted.message
    assert np.ptp(fitted.probability(scores)) == 0


@pytest.mark.parametrize("method", SMOOTH)
def test_a_constant_score_gives_the_prevalence(method):
    fitted = fit_calibrator(np.full(3000, 0.1), np.arange(3000) < 600, method)
    assert not fitted.keeps_order
    assert fitted.probability([0.1, 5.0]) == pytest.approx(0.5 if method == "temperature" else 0.2, abs=1e-3)


@pytest.mark.parametrize("method", ["platt", "isotonic", "venn_abers"])
def test_units_of_the_score_do_not_matter(method):
    scores, labels = gaussian(np.random.default_rng(18), 6000, 0.2)
    p = fit_calibrator(scores, labels, method).probability(scores)
    again = fit_calibrator(1e5 * scores - 3e6, labels, method).probability(1e5 * scores - 3e6)
    np.testing.assert_allclose(again, p, atol=1e-6)


@pytest.mark.parametrize(
    ("scores", "labels", "method", "weights", "match"),
    [
        ([0.1, np.inf], [0, 1], "platt", None, "1 of 2 scores are not finite"),
        ([[0.1], [0.2]], [0, 1], "platt", None, r"scores have the shape \(2, 1\)"),
        ([0.1, 0.2], [0, 1, 1], "platt", None, r"labels have the shape \(3,\) and scores \(2,\)"),
        ([0.1, 0.2], [0, 2], "platt", None, "labels hold 2.0"),
        ([0.1, 0.2], [0, 0], "platt", None, "0 of 2 objects are lenses"),
        ([0.1, 0.2], [0, 1], "sigmoid", None, "method 'sigmoid' is unknown; choose one of temperature, platt"),
        ([0.1, 0.2], [0, 1], "platt", [1.0, 0.0], "weights reach down to 0.0"),
    ],
)
def test_refusals(scores, labels, method, weights, match):
    with pytest.raises(InputError, match=match):
        fit_calibrator(scores, labels, method, weights=weights)
