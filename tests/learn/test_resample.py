"""Methods, section 15: intervals by bootstrap over groups, by their coverage and against a plain loop."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as oracle

from tandemlens.base.errors import InputError
from tandemlens.learn.metrics import auroc, purity
from tandemlens.learn.resample import group_draws, paired_difference, summarise


def grouped(rng, n_groups=120, size=4, noise=0.5):
    """Groups whose members share label and most of their score."""
    labels = np.repeat(rng.random(n_groups) < 0.5, size)
    common = np.repeat(rng.normal(size=n_groups), size)
    return common + noise * rng.normal(size=len(labels)) + 1.2 * labels, labels, np.repeat(np.arange(n_groups), size)


def test_draws_take_whole_groups_with_replacement():
    counts = group_draws(40, 500, np.random.default_rng(9))
    assert counts.shape == (500, 40)
    assert (counts.sum(1) == 40).all()
    assert counts.var() == pytest.approx(1 - 1 / 40, rel=0.05)


def test_intervals_are_those_of_a_plain_bootstrap():
    """The same draws, one by one, with the rows repeated and scikit-learn's metrics."""
    rng = np.random.default_rng(10)
    scores, labels, groups = grouped(rng, n_groups=30)
    found = summarise(scores, labels, np.random.default_rng(1), groups, draws=200).set_index("metric")
    values = {"auroc": [], "average_precision": []}
    for count in group_draws(30, 200, np.random.default_rng(1)):
        rows = np.repeat(np.arange(len(labels)), count[groups])
        values["auroc"].append(oracle.roc_auc_score(labels[rows], scores[rows]))
        values["average_precision"].append(oracle.average_precision_score(labels[rows], scores[rows]))
    for name, drawn in values.items():
        expected = np.quantile(drawn, [0.025, 0.975])
        np.testing.assert_allclose(found.loc[name, ["low", "high"]].astype(float), expected, atol=1e-12)


def test_grouped_intervals_cover_and_plain_ones_do_not():
    """AUROC of 200 simulated samples of groups: the 95 per cent interval over groups holds the truth, that over
    systems does not."""
    rng = np.random.default_rng(11)
    truth = auroc(*grouped(rng, n_groups=100_000, size=1)[:2])
    covered = np.zeros(2)
    for _ in range(200):
        scores, labels, groups = grouped(rng)
        for i, by in enumerate((groups, None)):
            row = summarise(scores, labels, rng, by, fprs=(), tops=(), draws=200).iloc[0]
            covered[i] += row["low"] <= truth <= row["high"]
    assert covered[0] / 200 > 0.90
    assert covered[1] / 200 < 0.80


def test_summary_tells_every_part():
    rng = np.random.default_rng(12)
    scores, labels, groups = grouped(rng)
    scores[:12] = np.nan
    survey = np.where(groups % 2, "hsc", "kids")
    kind = np.where(labels, "tandem", np.where(groups % 3, "members", "spiral"))
    table = summarise(
        scores, labels, rng, groups, survey, kind, np.nan_to_num(expit(scores)), prevalence=1e-3, draws=100
    )
    assert list(table) == ["part", "name", "metric", "value", "low", "high", "n_pos", "n_neg"]
    parts = table[["part", "name", "n_pos", "n_neg"]].drop_duplicates()
    assert parts["part"].tolist() == ["overall", "survey", "survey", "contrast", "contrast"]
    assert parts["name"].tolist() == ["all", "hsc", "kids", "members", "spiral"]
    assert parts.loc[parts["part"] == "survey", ["n_pos", "n_neg"]].sum().tolist() == [
        labels.sum(),
        (~labels).sum(),
    ]
    against = parts[parts["part"] == "contrast"]
    assert (against["n_pos"] == labels.sum()).all()
    assert against["n_neg"].sum() == (~labels).sum()
    known = table.dropna()
    assert ((known["low"] <= known["value"]) & (known["value"] <= known["high"])).mean() > 0.97
    at = table.set_index(["part", "name", "metric"])["value"]
    assert at["overall", "all", "unscored"] == 12 / len(scores)
    members = labels | (kind == "members")
    assert at["contrast", "members", "auroc"] == pytest.approx(auroc(scores[members], labels[members]))
    rate = at["overall", "all", "tpr_at_fpr_0.01"]
    assert at["overall", "all", "purity_at_fpr_0.01"] == pytest.approx(float(purity(rate, 0.01, 1e-3)))
    assert ("overall", "all", "ece") in at.index
    assert ("contrast", "members", "ece") not in at.index


def test_perfect_scores_are_not_certain():
    """All draws agree on 1: the interval is that of twelve groups found out of twelve."""
    labels, groups = np.repeat([True, False], 60), np.repeat(np.arange(24), 5)
    table = summarise(labels * 1.0, labels, np.random.default_rng(13), groups, tops=(10,), draws=50)
    row = table.set_index("metric").loc["tpr0"]
    assert (row["value"], row["high"]) == (1, 1)
    assert row["low"] == pytest.approx(0.025 ** (1 / 12))


def test_a_part_without_positives_is_told():
    labels = np.arange(80) % 2 == 0
    survey = np.where(labels, "hsc", "kids")
    table = summarise(np.arange(80.0), labels, np.random.default_rng(14), survey=survey, draws=20)
    kids = table[table["name"] == "kids"].set_index("metric")
    assert (kids["n_pos"] == 0).all()
    assert kids.loc[["auroc", "tpr0", "tpr10"], ["value", "low", "high"]].isna().all(axis=None)


def test_the_paired_difference_is_sharper_than_its_parts():
    rng = np.random.default_rng(15)
    scores, labels, groups = grouped(rng)
    worse = scores + 0.3 * rng.normal(size=len(scores))
    found = paired_difference(scores, worse, labels, "auroc", np.random.default_rng(2), groups)
    assert found["difference"] == pytest.approx(auroc(scores, labels) - auroc(worse, labels))
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p_value"] < 0.05
    assert found["n_groups"] == 120
    row = summarise(scores, labels, np.random.default_rng(2), groups).iloc[0]
    assert found["high"] - found["low"] < (row["high"] - row["low"]) / 2


def test_the_paired_difference_of_equal_scores_is_nothing():
    rng = np.random.default_rng(16)
    scores, labels, groups = grouped(rng)
    for metric, score in (("tpr10", scores), ("tpr_at_fpr_0.03", scores), ("ece", expit(scores))):
        found = paired_difference(score, score, labels, metric, rng, groups, draws=100)
        assert (found["difference"], found["low"], found["high"], found["p_value"]) == (0, 0, 0, 1)


def test_p_values_of_equal_heads_are_fair():
    """150 pairs of equally good scores: about one in twenty below 0.05 (binomial 99.9 per cent: at most 17)."""
    rng = np.random.default_rng(17)
    small = 0
    for _ in range(150):
        scores, labels, groups = grouped(rng, n_groups=80)
        a, b = (scores + rng.normal(size=len(scores)) for _ in range(2))
        small += paired_difference(a, b, labels, "auroc", rng, groups, draws=199)["p_value"] < 0.05
    assert small <= 17


def test_same_generator_same_table():
    scores, labels, groups = grouped(np.random.default_rng(18))
    tables = [summarise(scores, labels, np.random.default_rng(3), groups, draws=30) for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)


def test_ten_thousand_systems_are_quick():
    """All metrics, three surveys, seven contrast classes, 1000 draws: below 20 s of one core."""
    rng = np.random.default_rng(19)
    labels = rng.random(10_000) < 0.4
    scores = rng.normal(size=10_000) + 1.5 * labels
    groups = rng.integers(0, 3000, 10_000)
    kind, survey = rng.integers(0, 7, 10_000), rng.integers(0, 3, 10_000)
    start = time.process_time()
    table = summarise(scores, labels, rng, groups, survey, kind, expit(scores), prevalence=1e-3)
    assert time.process_time() - start < 20
    assert table.groupby(["part", "name"]).ngroups == 11


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summarise([1.0, 2.0], [1, 0], None, groups=["a", "a"]), "1 groups and 0 systems without one"),
        (lambda: summarise([1.0, 2.0], [1, 0], None, groups=["a"]), "give the group of every system"),
        (lambda: summarise([1.0, 2.0], [1, 0], None, prevalence=2), "prevalence is 2"),
        (lambda: summarise([1.0, 2.0], [1, 0], None, survey=["hsc"]), "give one per system"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
