"""Methods, section 14: fusers of head scores, and the choice among them."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit, ndtri
from scipy.stats import norm, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tandemlens.base.errors import InputError
from tandemlens.learn.evidence import Head, Ranks, Scale, logistic
from tandemlens.learn.fusers import FUSERS, Fuser, Training, fit_fuser
from tandemlens.learn.fusion import choose_fusion

KINDS = {"mil": "probability", "classic": "probability", "colour": "pvalue", "anomaly": "anomaly", "trend": "real"}


def labels_and_groups(rng, n, share=0.1):
    return rng.random(n) < share, rng.integers(max(n // 20, 8), size=n)


def probability(rng, labels, distance, shared=0.0):
    return expit(-2.5 + 1.5 * (distance * labels + shared + rng.standard_normal(len(labels))))


def toy(rng, n=1500):
    """Heads of every kind; the colour head lacks more non-lenses than lenses, as systems without arcs would."""
    labels, groups = labels_and_groups(rng, n)
    shared = 0.5 * rng.standard_normal(n)
    scores = pd.DataFrame(
        {
            "mil": probability(rng, labels, 1.6, shared),
            "classic": probability(rng, labels, 1.3, shared),
            "colour": norm.sf(labels + rng.standard_normal(n)),
            "anomaly": np.exp(0.7 * labels + rng.standard_normal(n)),
            "trend": 40 + 5 * (0.8 * labels + rng.standard_normal(n)),
        }
    )
    scores.loc[rng.random(n) < np.where(labels, 0.1, 0.4), "colour"] = np.nan
    return scores, labels, groups


def halves(groups):
    first = groups < np.median(groups)
    return first, ~first


@pytest.mark.parametrize("kind", FUSERS)
def test_a_copy_of_a_head_changes_nothing(kind):
    """Two redundant copies of one head give the same fused score as one; the ridge alone sees a difference."""
    rng = np.random.default_rng(0)
    labels, groups = labels_and_groups(rng, 1500)
    one = pd.DataFrame({"mil": probability(rng, labels, 1.5)})
    two = one.assign(copy=one["mil"])
    alone, twice = (
        fit_fuser(kind, s, labels, groups, np.random.default_rng(1), dict.fromkeys(s, "probability")).fuse(s)
        for s in (one, two)
    )
    assert np.abs(alone - twice).max() < (0.005 if kind == "stack" else 1e-9) * alone.std()
    assert spearmanr(alone, twice).statistic > 1 - 1e-12


def test_a_copy_does_not_count_twice_in_the_stack():
    rng = np.random.default_rng(2)
    labels, groups = labels_and_groups(rng, 3000)
    scores = pd.DataFrame({"a": probability(rng, labels, 1.5), "b": probability(rng, labels, 1.5)})
    more = scores.assign(c=scores["a"], d=scores["a"])
    fused = {
        (kind, s.shape[1]): fit_fuser(kind, s, labels, groups, rng, dict.fromkeys(s, "probability")).fuse(s)
        for kind in ("stack", "equal")
        for s in (scores, more)
    }
    assert spearmanr(fused["stack", 2], fused["stack", 4]).statistic > 0.999
    assert spearmanr(fused["equal", 2], fused["equal", 4]).statistic < 0.98


def test_noise_gets_no_weight():
    """Effect of a head per standard deviation of its evidence, against its standard error from the Fisher matrix."""
    effects, errors = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        labels, groups = labels_and_groups(rng, 1500)
        scores = pd.DataFrame({"mil": probability(rng, labels, 1.5), "noise": rng.random(len(labels))})
        training = Training(scores, labels, groups, rng, dict.fromkeys(scores, "probability"))
        fuser = training.fit("stack")
        evidence = training.view("evidence")
        z = evidence @ np.array(list(fuser.weights.values()))
        offset, (slope,) = logistic(z[:, None], labels, 0.0, np.array([False]))
        p = expit(offset + slope * z)
        x = logit(scores.to_numpy())
        design = np.column_stack([np.ones(len(z)), (x - x.mean(0)) / x.std(0)])
        errors.append(np.sqrt(np.diag(np.linalg.inv((design.T * (p * (1 - p))) @ design)))[1:])
        effects.append(evidence.std(0) * np.array(list(fuser.weights.values())))
    effects, errors = np.array(effects), np.array(errors)
    assert (effects[:, 1] < 3 * errors[:, 1]).all()
    assert effects[:, 1].mean() < errors[:, 1].mean()
    assert (effects[:, 0] > 8 * errors[:, 0]).all()


@pytest.mark.parametrize("kind", FUSERS)
def test_fusion_is_no_worse_than_the_best_head(kind):
    """AUROC on held-out groups, at least that of the best head there less 0.01."""
    scores, labels, groups = toy(np.random.default_rng(3), 4000)
    learn, held = halves(groups)
    rng = np.random.default_rng(4)
    fuser = fit_fuser(kind, scores[learn], labels[learn], groups[learn], rng, KINDS)
    fused = roc_auc_score(labels[held], fuser.fuse(scores[held]))
    heads = [roc_auc_score(labels[held], fuser.heads[h].evidence(scores[h].to_numpy())[held]) for h in scores]
    assert fused >= max(heads) - 0.01
    assert kind in ("single", "mip") or fused > max(heads) + 0.01


def test_equal_is_the_mean_log_odds():
    """Heads that are independent, calibrated and never missing: their evidence is their log odds less the prior's."""
    rng = np.random.default_rng(5)
    labels = rng.random(200000) < 0.2
    ratio = 2 * (labels[:, None] + 0.7 * rng.standard_normal((len(labels), 2)) - 0.5) / 0.98
    prior = np.log(labels.sum() / (~labels).sum())
    scores = pd.DataFrame(expit(ratio + prior), columns=["a", "b"])
    groups = np.arange(len(labels)) % 10
    fuser = fit_fuser("equal", scores, labels, groups, rng, dict.fromkeys(scores, "probability"))
    for head in fuser.heads.values():
        assert head.slope == pytest.approx(1, abs=0.02)
        assert head.offset == pytest.approx(-prior, abs=0.03)
    np.testing.assert_allclose(fuser.fuse(scores), ratio.mean(1), atol=0.15)


def test_few_positives_mean_equal_weights():
    rng = np.random.default_rng(6)
    scores, labels, groups = toy(rng)
    few = np.flatnonzero(labels)[29:]
    labels[few] = False
    stack = fit_fuser("stack", scores, labels, groups, rng, KINDS)
    assert "29 positives are fewer than 30" in stack.note
    assert set(stack.weights.values()) == {1 / 5}
    labels[few[0]] = True
    assert "lambda" in fit_fuser("stack", scores, labels, groups, rng, KINDS).note


def test_weights_of_the_stack_are_not_negative_unless_free():
    """Section 14: a head that speaks against lenses is left out, but for the anomaly head, whose sign is free."""
    rng = np.random.default_rng(7)
    labels, groups = labels_and_groups(rng, 1500)
    against = -1.5 * labels + rng.standard_normal(len(labels))
    scores = pd.DataFrame({"mil": probability(rng, labels, 1.0), "odd": against})
    real = fit_fuser("stack", scores, labels, groups, rng, {"mil": "probability", "odd": "real"})
    assert real.heads["odd"].slope == real.weights["odd"] * real.heads["odd"].slope == 0
    free = fit_fuser("stack", scores, labels, groups, rng, {"mil": "probability", "odd": "anomaly"})
    assert free.heads["odd"].slope < -1
    assert free.weights["odd"] > 0.5
    assert roc_auc_score(labels, free.fuse(scores)) > roc_auc_score(labels, real.fuse(scores)) + 0.05


def test_logistic_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(8)
    labels = rng.random(500) < 0.3
    x = labels[:, None] * [1.0, 0.5] + rng.standard_normal((500, 2))
    offset, weights = logistic(x, labels, 3.0, np.array([False, False]))
    expected = LogisticRegression(C=1 / 3.0, tol=1e-10).fit(x, labels)
    np.testing.assert_allclose(weights, expected.coef_[0], atol=1e-5)
    assert offset == pytest.approx(expected.intercept_[0], abs=1e-5)


def test_transforms_by_hand():
    null = np.array([1.0, 3.0])
    np.testing.assert_allclose(Scale.of(null, "probability")(np.array([0.5, 0.0, 1.0])), [0, -13.815510, 13.815510])
    np.testing.assert_allclose(Scale.of(null, "pvalue")(np.array([1.0, 0.01, 1e-9])), [0, 2, 6])
    np.testing.assert_allclose(Scale.of(null, "real")(np.array([2.0, 4.0])), [0, 2])
    np.testing.assert_allclose(Scale.of(null, "anomaly")(np.array([2.0, 1.0])), [0, ndtri(0.25)], atol=1e-12)


def test_ranks_never_tie_beyond_the_sample():
    sample = np.random.default_rng(9).standard_normal(5000)
    ranks = Ranks.of(sample)
    x = np.r_[-1e6, -50, -8, np.sort(sample)[::100], 8, 50, 1e6]
    assert (np.diff(ranks(x)) > 0).all()
    np.testing.assert_allclose(ranks(ndtri([0.1, 0.5, 0.99])), [0.1, 0.5, 0.99], atol=0.015)
    assert np.isnan(ranks(np.array([np.nan]))).all()
    assert Ranks.of(np.zeros(4))(0.0) == 0.5


def test_missing_scores_by_hand():
    """40 of 100 non-lenses and 1 of 20 lenses lack a score: its evidence, shrunk by 5 systems."""
    rng = np.random.default_rng(10)
    labels = np.arange(120) < 20
    values = rng.random(120)
    values[19:60] = np.nan
    share = 41 / 120
    expected = np.log((1 + 5 * share) / 25) - np.log((40 + 5 * share) / 105)
    head = Head.fit(values, labels, "probability")
    assert head.missing == pytest.approx(expected)
    assert head.evidence(np.array([np.nan]))[0] == pytest.approx(expected)
    # fewer systems say less
    assert expected < -1.1 < np.log((1 / 20) / (40 / 100)) * 0.5
    assert Head.fit(rng.random(120), labels, "probability").missing == 0


@pytest.mark.parametrize("kind", FUSERS)
def test_systems_without_scores_keep_their_rank(kind):
    scores, labels, groups = toy(np.random.default_rng(11))
    fuser = fit_fuser(kind, scores, labels, groups, np.random.default_rng(12), KINDS)
    bare = scores.iloc[:3].copy()
    bare["colour"] = np.nan
    bare.iloc[2] = np.nan
    fused = fuser.fuse(bare)
    assert np.isfinite(fused).all()
    ranked = np.sort(fuser.fuse(scores))
    assert ranked[0] < fused[2] < ranked[-1]


def test_missing_at_random_says_nothing_and_informative_missing_does():
    rng = np.random.default_rng(13)
    labels, _ = labels_and_groups(rng, 20000)
    values = probability(rng, labels, 1.0)
    at_random = Head.fit(np.where(rng.random(20000) < 0.3, np.nan, values), labels, "probability")
    telling = Head.fit(np.where(rng.random(20000) < np.where(labels, 0.1, 0.4), np.nan, values), labels, "probability")
    assert abs(at_random.missing) < 0.1
    assert telling.missing == pytest.approx(np.log(0.1 / 0.4), abs=0.15)
    # having a score is then evidence for a lens, at every score
    grid = np.linspace(0.01, 0.9, 20)
    np.testing.assert_allclose(telling.evidence(grid) - at_random.evidence(grid), np.log(0.9 / 0.6), atol=0.25)


@pytest.mark.parametrize("kind", FUSERS)
def test_json_round_trip(kind):
    scores, labels, groups = toy(np.random.default_rng(14), 800)
    fuser = fit_fuser(kind, scores, labels, groups, np.random.default_rng(15), KINDS)
    again = Fuser.from_dict(json.loads(json.dumps(fuser.to_dict(), allow_nan=False)))
    assert again == fuser
    np.testing.assert_array_equal(again.fuse(scores), fuser.fuse(scores))
    assert len(fuser.fuse(scores.iloc[:0])) == 0


def test_the_sketch_sums_raw_scores():
    scores, labels, groups = toy(np.random.default_rng(16))
    fuser = fit_fuser("sum", scores, labels, groups, np.random.default_rng(17), KINDS)
    weights = np.array(list(fuser.weights.values()))
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0
    whole = scores[scores["colour"].notna()]
    expected = whole.assign(colour=1 - whole["colour"]).to_numpy() @ weights
    np.testing.assert_allclose(fuser.fuse(whole), expected)


def test_equal_stands_where_heads_are_alike():
    """Nothing beats the mean of two heads alike; that something seems to, by one standard error, is rare."""
    chosen = []
    for seed in range(5):
        rng = np.random.default_rng(100 + seed)
        labels, groups = labels_and_groups(rng, 1500)
        alike = pd.DataFrame({"a": probability(rng, labels, 1.5), "b": probability(rng, labels, 1.5)})
        chosen.append(choose_fusion(alike, labels, groups, rng, dict.fromkeys(alike, "probability")).kind)
    assert chosen.count("equal") >= 4


def test_stack_wins_where_copies_drown_a_strong_head():
    rng = np.random.default_rng(18)
    labels, groups = labels_and_groups(rng, 2500)
    weak = probability(rng, labels, 0.8)
    drowned = pd.DataFrame({"strong": probability(rng, labels, 2.5)}).assign(**{f"weak{i}": weak for i in range(7)})
    choice = choose_fusion(drowned, labels, groups, rng, dict.fromkeys(drowned, "probability"), ["stack", "rank"])
    assert choice.kind == choice.fuser.kind == "stack"
    report = choice.report.set_index("kind")
    assert set(report.index) == {"equal", "stack", "rank"}
    assert report.loc["stack", "gain"] > 3 * report.loc["stack", "gain_error"] > 0
    assert report["chosen"].sum() == 1
    assert (report["tpr_low"] <= report["tpr"]).all()
    assert (report["tpr"] <= report["tpr_high"]).all()
    assert choice.n_positive + choice.n_negative == 2500
    assert report.loc["stack", "weights"] == choice.fuser.weights


def test_nothing_is_learned_from_noise():
    """Nested folds: no kind may beat chance on held-out groups, though `sum` and `single` tune on theirs."""
    rng = np.random.default_rng(19)
    labels, groups = labels_and_groups(rng, 2000)
    noise = pd.DataFrame(rng.random((2000, 4)), columns=list("abcd"))
    report = choose_fusion(noise, labels, groups, rng, dict.fromkeys(noise, "probability")).report
    assert len(report) == len(FUSERS)
    assert (report["auroc"] < 0.55).all()
    assert (report["tpr"] < 0.04).all()


def test_choice_repeats_with_its_seed():
    scores, labels, groups = toy(np.random.default_rng(20), 800)
    first, second = (choose_fusion(scores, labels, groups, np.random.default_rng(21), KINDS) for _ in range(2))
    pd.testing.assert_frame_equal(first.report, second.report)
    assert first.fuser == second.fuser


def test_intervals_are_over_groups():
    """The same systems in groups of twins give a wider interval than as if each stood alone."""
    rng = np.random.default_rng(22)
    labels, _ = labels_and_groups(rng, 400, 0.3)
    scores = pd.DataFrame({"mil": probability(rng, labels, 1.0)})
    twins, which = pd.concat([scores] * 8, ignore_index=True), np.tile(np.arange(400), 8)
    widths = []
    for groups in (which, np.arange(3200)):
        choice = choose_fusion(twins, np.tile(labels, 8), groups, rng, {"mil": "probability"}, ["equal"])
        widths.append((choice.report["auroc_high"] - choice.report["auroc_low"]).item())
    assert widths[0] > 2 * widths[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(800)}, r"labels hold \[0.0\]; give both"),
        ({"labels": np.ones(3)}, r"800 rows of scores come with labels of shape \(3,\)"),
        ({"labels": np.full(800, 2)}, r"labels hold \[2\]"),
        ({"kinds": {**KINDS, "proto": "real"}}, r"lack the heads \['proto'\]"),
        ({"kinds": {"mil": "probability"}}, r"unknown heads \['classic', 'colour', 'anomaly', 'trend'\]"),
        ({"kinds": {**KINDS, "mil": "logit"}}, "head 'mil' declares scores of kind 'logit'"),
        ({"kinds": {**KINDS, "trend": "probability"}}, r"head 'trend' has the probability score .* in \[0, 1\]"),
        ({"groups": np.zeros(800)}, "in 1 group; give lenses and non-lenses of two groups"),
    ],
)
def test_bad_input_is_refused(change, message):
    scores, labels, groups = toy(np.random.default_rng(23), 800)
    given = {"scores": scores, "labels": labels, "groups": groups, "kinds": KINDS, **change}
    with pytest.raises(InputError, match=message):
        choose_fusion(rng=np.random.default_rng(0), **given)
    with pytest.raises(InputError, match=message):
        fit_fuser("stack", rng=np.random.default_rng(0), **given)


def test_heads_without_scores_and_infinite_scores_are_refused():
    rng = np.random.default_rng(24)
    scores, labels, groups = toy(rng, 800)
    with pytest.raises(InputError, match="head 'mil' has no score for any of 800 systems"):
        fit_fuser("equal", scores.assign(mil=np.nan), labels, groups, rng, KINDS)
    with pytest.raises(InputError, match=r"head 'trend' has the real score inf in row 0"):
        fit_fuser("equal", scores.assign(trend=np.inf), labels, groups, rng, KINDS)
    with pytest.raises(InputError, match="fuser 'median' is unknown"):
        fit_fuser("median", scores, labels, groups, rng, KINDS)
    with pytest.raises(InputError, match="fuser 'median' is unknown"):
        choose_fusion(scores, labels, groups, rng, KINDS, ["median"])
    fuser = fit_fuser("equal", scores, labels, groups, rng, KINDS)
    with pytest.raises(InputError, match=r"lack the heads \['mil'\] and hold the unknown heads \['cnn'\]"):
        fuser.fuse(scores.rename(columns={"mil": "cnn"}))
    with pytest.raises(InputError, match="fuser 'median' is unknown"):
        Fuser.from_dict({**fuser.to_dict(), "kind": "median"})


def test_a_head_that_is_mute_in_a_fold_says_nothing():
    """Scores for one group of lenses alone: folds without it must not fail."""
    rng = np.random.default_rng(25)
    scores, labels, groups = toy(rng, 800)
    rare = np.full(800, np.nan)
    rare[np.flatnonzero(labels)[0]] = 0.9
    choice = choose_fusion(scores.assign(rare=rare), labels, groups, rng, {**KINDS, "rare": "probability"})
    assert choice.fuser.heads["rare"].slope == 0
    assert np.isfinite(choice.report["tpr"]).all()
