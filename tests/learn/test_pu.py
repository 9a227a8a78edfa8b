"""Methods, section 6.1 and 6.4: Elkan-Noto and its evaluation against Gaussians whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from xgboost import XGBClassifier

from tandemlens.base.errors import InputError
from tandemlens.learn.prior import shift_prior
from tandemlens.learn.propensity import (
    fit_propensity,
    propensity_by_em,
    propensity_weights,
    sensitivity_sweep,
    strengthen,
)
from tandemlens.learn.pu import (
    case_control_frequency,
    fit_pu,
    label_frequencies,
    label_weight,
    out_of_fold_g,
    retrain,
    true_auc,
    true_rates,
    unlabelled_weight,
)

PRIOR, FREQUENCY = 0.2, 0.3


class Gaussians:
    """Positives `separation` sigma from negatives, a fraction FREQUENCY of them labelled at random."""

    def __init__(self, n, separation, seed):
        rng = np.random.default_rng(seed)
        self.y = (rng.random(n) < PRIOR).astype(int)
        self.x = rng.normal(size=(n, 1)) + separation * self.y[:, None]
        self.s = ((rng.random(n) < FREQUENCY) & (self.y == 1)).astype(int)
        self.groups = rng.integers(n // 10, size=n)
        self.posterior = posterior(self.x[:, 0], separation)
        self.g = FREQUENCY * self.posterior


def posterior(x, separation):
    positive = PRIOR * norm.pdf(x, separation)
    return positive / (positive + (1 - PRIOR) * norm.pdf(x))


def polynomial():
    """Logistic regression that can follow g, which is no sigmoid: it levels off at c."""
    return Weighted(make_pipeline(PolynomialFeatures(4), StandardScaler(), LogisticRegression(C=1e6, max_iter=2000)))


class Weighted(LogisticRegression):
    """A pipeline that takes sample_weight as every classifier does."""

    def __init__(self, pipeline=None):
        super().__init__()
        self.pipeline = pipeline

    def fit(self, x, y, sample_weight=None):
        self.pipeline.fit(x, y, logisticregression__sample_weight=sample_weight)
        self.classes_ = self.pipeline.classes_
        return self

    def predict_proba(self, x):
        return self.pipeline.predict_proba(x)


def founding_sketch(classifier, x, s, prior_estimate=0.1):
    """The sketch's wrapper, line by line: c by decree, weights of whole numbers, c dividing twice."""
    c = prior_estimate
    f = np.clip(classifier.fit(x, s).predict_proba(x)[:, 1] / c, 0, 1)
    weights = np.ones_like(s)
    weights[s == 1] = 1.0 / c
    weights[s == 0] = (1 - f[s == 0]) / (1 - c)
    classifier.fit(x, s, sample_weight=weights)
    return np.clip(classifier.predict_proba(x)[:, 1] / c, 0, 1), weights


class Oracle(LogisticRegression):
    """Knows g and learns nothing."""

    def __init__(self, separation=0.0):
        super().__init__()
        self.separation = separation

    def fit(self, x, y, sample_weight=None):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, x):
        g = FREQUENCY * posterior(x[:, 0], self.separation)
        return np.column_stack([1 - g, g])


@pytest.mark.parametrize(("separation", "n"), [(1.5, 1_500_000), (3.0, 300_000), (5.0, 300_000)])
def test_oracle_identities(separation, n):
    """With the true g and c: g/c, w and the prior are exact to 1e-3."""
    data = Gaussians(n, separation, 1)
    splitter = StratifiedGroupKFold(2)
    fit = fit_pu(Oracle(separation), data.x, data.s, data.groups % 50, splitter, FREQUENCY)
    given_unlabelled = data.posterior * (1 - FREQUENCY) / (1 - FREQUENCY * data.posterior)
    assert np.abs(fit.g / FREQUENCY - data.posterior).mean() < 1e-3
    assert np.abs(fit.weight - given_unlabelled)[data.s == 0].mean() < 1e-3
    assert fit.prior == pytest.approx(PRIOR, abs=1e-3)
    np.testing.assert_allclose(unlabelled_weight(data.g, FREQUENCY), given_unlabelled, atol=1e-12)
    # and w is what it says: among the unlabelled, in every range of x, it averages to the truth
    for part in np.array_split(np.argsort(data.x[:, 0]), 5):
        free = part[data.s[part] == 0]
        assert fit.weight[free].mean() == pytest.approx(data.y[free].mean(), abs=5e-3)


def test_known_negatives_count_as_negatives_alone():
    g, s = np.array([0.2, 0.2, 0.2, 0.9]), np.array([0, 0, 1, 1])
    none, known = label_weight(g, s, 0.5), label_weight(g, s, 0.5, np.array([True, False, False, False]))
    np.testing.assert_allclose(none, [0.25, 0.25, 1, 1])
    np.testing.assert_allclose(known, [0, 0.25, 1, 1])
    # of overlapping classes the positives become rarer where it is known that some are none, and g stays as it is
    data = Gaussians(20_000, 1.5, 1)
    splitter = StratifiedGroupKFold(3, shuffle=True, random_state=0)
    negative = (data.y == 0) & (data.x[:, 0] > np.median(data.x[:, 0]))
    rows = polynomial(), data.x, data.s, data.groups, splitter, FREQUENCY
    free, told = fit_pu(*rows), fit_pu(*rows, negative)
    np.testing.assert_array_equal(free.g, told.g)
    assert (told.weight[negative] == 0).all()
    assert told.probability(data.x)[negative].mean() < 0.7 * free.probability(data.x)[negative].mean()


@pytest.mark.parametrize(
    ("separation", "e1", "e3", "prior_e1"),
    [(1.5, 0.136, 0.292, 0.372), (3.0, 0.244, 0.300, 0.218), (5.0, 0.294, 0.300, 0.200)],
)
def test_label_frequencies(separation, e1, e3, prior_e1):
    """Methods 6.1: e1 is biased by overlap, and with it the prior (.37 for a true .20); e3 is not."""
    data = Gaussians(200_000, separation, 1)
    found = label_frequencies(data.g, data.s)
    assert found["e1"] == pytest.approx(e1, abs=1e-3)
    assert found["e2"] == pytest.approx(e1, abs=4e-3)
    assert found["e3"] == pytest.approx(e3, abs=1e-3)
    weight = np.where(data.s == 1, 1, unlabelled_weight(data.g, found["e1"]))
    assert weight.mean() == pytest.approx(prior_e1, abs=1e-3)


def test_fit_beats_the_founding_sketch():
    """Methods 6.1: the sketch's mean P is .87 for a prior of .20 and its error .67; with e1 the error is .17."""
    data = Gaussians(60_000, 1.5, 1)
    splitter = StratifiedGroupKFold(3, shuffle=True, random_state=0)
    fits = {c: fit_pu(polynomial(), data.x, data.s, data.groups, splitter, c) for c in ("e1", "e3", FREQUENCY)}
    error = {c: np.abs(fit.probability(data.x) - data.posterior).mean() for c, fit in fits.items()}
    assert error["e1"] == pytest.approx(0.17, abs=0.02)
    assert error["e3"] < 0.03
    assert error[FREQUENCY] < 0.02
    assert fits[FREQUENCY].prior == pytest.approx(PRIOR, abs=0.01)
    # the output is P(y=1|x) itself: its mean is the prior, and dividing by c once more would not be
    assert fits[FREQUENCY].probability(data.x).mean() == pytest.approx(PRIOR, abs=0.01)

    sketch, weights = founding_sketch(polynomial(), data.x, data.s)
    assert set(np.unique(weights)) == {0, 1, 10}
    assert sketch.mean() == pytest.approx(0.87, abs=0.02)
    assert np.abs(sketch - data.posterior).mean() == pytest.approx(0.67, abs=0.02)


def test_case_control():
    """Labelled positives from elsewhere: c follows from alpha, and the survey's prior comes back by a logit shift."""
    rng = np.random.default_rng(3)
    alpha, n_p, n_u = 0.1, 4000, 20_000
    y = np.r_[np.ones(n_p, int), (rng.random(n_u) < alpha).astype(int)]
    x = rng.normal(size=(len(y), 1)) + 2 * y[:, None]
    s = np.r_[np.ones(n_p, int), np.zeros(n_u, int)]
    c = case_control_frequency(n_p, n_u, alpha)
    assert c == pytest.approx(4000 / 6000)
    fit = fit_pu(polynomial(), x, s, np.arange(len(y)), StratifiedGroupKFold(3), c)
    assert fit.prior == pytest.approx(6000 / 24_000, abs=0.01)
    survey = shift_prior(fit.probability(x[s == 0]), fit.prior, alpha)
    truth = alpha * norm.pdf(x[s == 0, 0], 2)
    truth /= truth + (1 - alpha) * norm.pdf(x[s == 0, 0])
    assert np.abs(survey - truth).mean() < 0.01


def test_boosted_trees_are_calibrated_out_of_fold():
    data = Gaussians(20_000, 2.0, 5)
    frame = pd.DataFrame(data.x, columns=["x"])
    trees = XGBClassifier(n_estimators=60, max_depth=3, learning_rate=0.3, n_jobs=1)
    splitter = StratifiedGroupKFold(3, shuffle=True, random_state=0)
    g = out_of_fold_g(trees, frame, data.s, data.groups, splitter)
    assert g.mean() == pytest.approx(data.s.mean(), rel=0.02)
    assert np.abs(g - data.g).mean() < 0.02
    probability = fit_pu(trees, frame, data.s, data.groups, splitter, FREQUENCY).probability(frame)
    assert probability.mean() == pytest.approx(PRIOR, abs=0.01)


def test_platt_agrees_with_sklearn():
    data = Gaussians(5000, 2.0, 6)
    model, splitter = LogisticRegression(), StratifiedGroupKFold(4)
    g = out_of_fold_g(model, data.x, data.s, data.groups, splitter)
    splits = list(splitter.split(data.x, data.s, data.groups))
    oracle = CalibratedClassifierCV(model, method="sigmoid", cv=splits, ensemble=False).fit(data.x, data.s)
    margin = cross_val_predict(model, data.x, data.s, cv=splits, method="decision_function")
    expected = oracle.calibrated_classifiers_[0].calibrators[0].predict(margin)
    np.testing.assert_allclose(g, expected, atol=1e-4)


def test_permuted_labels_give_the_label_rate():
    """Labels that mean nothing: c_hat ~ label rate, since every row is then as likely a positive."""
    data = Gaussians(20_000, 3.0, 7)
    s = np.random.default_rng(8).permutation(data.s)
    # trees this deep learn single rows, so a g that had seen its own row would not be flat
    trees = XGBClassifier(n_estimators=30, max_depth=8, n_jobs=1)
    g = out_of_fold_g(trees, data.x, s, data.groups, StratifiedGroupKFold(3))
    for name, tolerance in (("e1", 0.03), ("e2", 0.03), ("e3", 0.15)):
        assert label_frequencies(g, s)[name] == pytest.approx(s.mean(), rel=tolerance)


def test_retraining_counts_every_unlabelled_row_twice():
    class Recorder(LogisticRegression):
        def fit(self, x, y, sample_weight=None):
            self.seen = sorted(zip(x[:, 0].tolist(), y.tolist(), sample_weight.tolist(), strict=True))
            return self

    x, s = np.array([[1.0], [2.0], [3.0]]), np.array([1, 0, 0])
    seen = retrain(Recorder(), x, s, np.array([1.0, 0.25, 0.0])).seen
    assert seen == [(1, 1, 1), (2, 0, 0.75), (2, 1, 0.25), (3, 0, 1), (3, 1, 0)]


def test_true_auc_and_rates():
    """Methods 6.4: .8583 from labels against .8582 from the truth; FPR seen on U overstates."""
    data = Gaussians(200_000, 1.5, 1)
    free = data.s == 0
    alpha = data.y[free].mean()
    assert true_auc(data.g, data.s, alpha) == pytest.approx(roc_auc_score(data.y, data.g), abs=3e-3)
    auc_pu = roc_auc_score(data.s, data.g)
    assert true_auc(data.g, data.s, alpha) == pytest.approx((auc_pu - alpha / 2) / (1 - alpha))
    assert auc_pu < 0.82
    threshold = np.quantile(data.g, 0.9)
    tpr, fpr = true_rates(data.g, data.s, threshold, alpha)
    found = data.g >= threshold
    assert tpr == pytest.approx(found[data.y == 1].mean(), abs=0.01)
    assert fpr == pytest.approx(found[data.y == 0].mean(), abs=2e-3)
    assert found[free].mean() > 1.5 * fpr


class Selected:
    """Positives labelled by depth: e(x) = sigmoid(2 depth - 1.5); lenses themselves do not know the depth."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.y = (rng.random(n) < 0.3).astype(int)
        self.depth = rng.normal(size=n)
        self.e = 1 / (1 + np.exp(1.5 - 2 * self.depth))
        self.s = ((rng.random(n) < self.e) & (self.y == 1)).astype(int)
        # deep images also show a brighter arc, so that selection distorts the scores
        self.x = rng.normal(size=n) + (2 + 0.7 * self.depth) * self.y


def test_propensity_is_recovered_and_its_weights_undo_the_selection():
    data = Selected(100_000, 11)
    found = fit_propensity(data.depth[:, None], data.s, data.y.astype(float))
    assert np.abs(found - data.e).mean() < 0.01
    weight = propensity_weights(found, floor=0.005)
    detected = (data.x > 2.5).astype(float)
    truth = detected[data.y == 1].mean()
    naive, _ = true_rates(detected, data.s, 0.5, 0.2)
    corrected, _ = true_rates(detected, data.s, 0.5, 0.2, weight)
    assert abs(naive - truth) > 0.1
    assert corrected == pytest.approx(truth, abs=0.03)
    assert propensity_weights(np.array([1e-9, 0.5]), floor=0.05).tolist() == [20, 2]


def test_propensity_by_em_finds_selection_and_prior_without_the_truth():
    """Where the object does not know the depth and both laws are logistic; labels at random would be off by .23."""
    data = Selected(20_000, 15)
    x = np.random.default_rng(16).normal(size=(20_000, 2))
    x[:, 0] += 2 * data.y
    e, f = propensity_by_em(x, data.depth[:, None], data.s, 0.3)
    assert np.abs(e - data.e).mean() < 0.03
    assert np.abs(data.s.sum() / data.y.sum() - data.e).mean() > 0.2
    assert f.mean() == pytest.approx(data.y.mean(), abs=0.03)


def test_unlabelled_weight_takes_a_propensity():
    data = Selected(400_000, 12)
    # g = e f: with the truth binned in depth and x, w must be the fraction of positives among the unlabelled
    near = (np.abs(data.depth - 0.5) < 0.1) & (np.abs(data.x - 1.5) < 0.2)
    w = unlabelled_weight(np.full(1, data.s[near].mean()), data.e[near].mean())[0]
    assert w == pytest.approx(data.y[near & (data.s == 0)].mean(), abs=0.04)


def test_strength_keeps_the_number_of_positives():
    data = Selected(20_000, 13)
    c = data.s.sum() / data.y.sum()
    for strength in (0.0, 1.0, 2.0):
        e = strengthen(data.e, data.s, strength, c)
        assert (1 / e[data.s == 1]).sum() == pytest.approx(data.s.sum() / c)
    np.testing.assert_allclose(strengthen(data.e, data.s, 0.0, c), c)


def test_sensitivity_sweep_moves_what_selection_can_move():
    data = Selected(5000, 14)
    x = np.c_[data.x, data.depth]
    g = out_of_fold_g(LogisticRegression(), x, data.s, np.arange(5000), StratifiedGroupKFold(3))
    c = data.s.sum() / data.y.sum()

    def refit(e):
        weight = np.where(data.s == 1, 1.0, unlabelled_weight(g, e))
        return retrain(LogisticRegression(), x, data.s, weight).predict_proba(x)[:, 1]

    still = sensitivity_sweep(refit, data.e, data.s, c, strengths=(1.0, 1.0))
    assert still.score_spread.max() == 0
    assert still.rank_spread.max() == 0
    swept = sensitivity_sweep(refit, data.e, data.s, c)
    assert swept.scores.shape == (5, 5000)
    assert np.median(swept.rank_spread) > 50


def test_refusals():
    data = Gaussians(200, 2.0, 20)
    model = LogisticRegression()
    twice = np.arange(200) // 2

    class Blind(KFold):
        def split(self, x, y=None, groups=None):
            return super().split(x, y)

    with pytest.raises(InputError, match="on both sides"):
        out_of_fold_g(model, data.x, data.s, twice, Blind(3, shuffle=True, random_state=0))
    with pytest.raises(InputError, match="trains on s = 0 only"):
        out_of_fold_g(model, data.x, np.r_[np.ones(10), np.zeros(190)], np.arange(200) // 10, GroupKFold(20))
    with pytest.raises(InputError, match="labels s hold"):
        out_of_fold_g(model, data.x, data.s * 2, twice, GroupKFold(3))
    with pytest.raises(InputError, match=r"not in \(0, 1\]"):
        unlabelled_weight(data.g, 0.0)
    with pytest.raises(InputError, match="prior alpha is 0"):
        case_control_frequency(10, 100, 0)
    with pytest.raises(InputError, match="context row 1"):
        fit_propensity(np.array([[1.0], [np.nan]]), np.array([0, 1]), np.ones(2))
    with pytest.raises(InputError, match="label frequency is 1"):
        strengthen(data.g, data.s, 1.0, 1.0)
