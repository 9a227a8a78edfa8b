"""Evaluation on the test systems: closed forms, counts by hand, and refusals in words."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from tandemlens.base.columns.evaluation import HELD_OUT, HELD_OUT_SCORES, TABLES
from tandemlens.base.errors import InputError
from tandemlens.base.tables import empty_frame, read_meta, read_table, write_table
from tandemlens.learn.evaluate import (
    COMPARED,
    FPRS,
    completeness_table,
    head_metrics,
    ideal_detection,
    is_expert,
    on_test,
    paired_table,
    shifted_counts,
    write_evaluation,
)
from tandemlens.learn.metrics import clopper_pearson, tpr_at_fpr
from tandemlens.learn.resample import paired_difference

CLASSES = np.array(["single_arc", "projected", "members"])


def held_out(n=120, positives=30, role="test", **columns):
    """Systems in pairs; the first `positives` are tandems."""
    label = np.arange(n) < positives
    frame = pd.DataFrame(
        {
            "target_id": [f"{role}{k:04d}" for k in range(n)],
            "role": role,
            "group": [f"{role}g{k // 2}" for k in range(n)],
            "class": np.where(label, "tandem", CLASSES[np.arange(n) % 3]),
            "label": label,
            "survey": "hsc",
            "theta_e": 5.0,
            "snr_brightest": 30.0,
            "mag_brightest": 22.5,
            "fwhm": 0.7,
            "probability": np.nan,
            "probability_low": np.nan,
            "probability_high": np.nan,
        }
    )
    return frame.assign(**columns)


def long(frame, **heads):
    parts = [
        pd.DataFrame({"target_id": frame["target_id"], "head": h, "score": np.asarray(s, float)})
        for h, s in heads.items()
    ]
    return pd.concat(parts, ignore_index=True)


def tables_of(tmp_path, frame, scores, seed=0):
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("held_out", "scores", *TABLES)}
    write_table(paths["held_out"], frame, HELD_OUT)
    write_table(paths["scores"], scores, HELD_OUT_SCORES)
    write_evaluation(paths["held_out"], paths["scores"], {name: paths[name] for name in TABLES}, seed)
    return {name: read_table(paths[name]) for name in TABLES}, {name: read_meta(paths[name]) for name in TABLES}


def test_perfect_scores_find_all():
    frame = held_out()
    test, scores = on_test(frame, long(frame, classic=frame["label"]))
    found = head_metrics(test, scores, 0)
    assert set(found["part"]) == {"overall", "survey", "contrast", "regime", "regime_contrast"}
    assert set(found.loc[found["part"] == "regime_contrast", "name"]) == set(CLASSES)
    rates = found[found["metric"].str.startswith("tpr") | (found["metric"] == "auroc")]
    assert (rates["value"] == 1).all()
    assert (completeness_table(test, scores).query("n > 0")["completeness"] == 1).all()


def test_random_scores_find_their_share():
    """Over systems, TPR at a rate is the rate, and chance lies within the intervals."""
    frame = held_out(4000, 1000)
    rng = np.random.default_rng(3)
    test, scores = on_test(frame, long(frame, classic=rng.normal(size=4000)))
    found = head_metrics(test, scores, 0).query("part == 'overall'").set_index("metric")
    for metric, chance in (("auroc", 0.5), ("tpr_at_fpr_0.1", 0.1), ("tpr_at_fpr_0.03", 0.03)):
        row = found.loc[metric]
        assert row["low"] < chance < row["high"]
        assert row["value"] == pytest.approx(chance, abs=0.03)


def test_only_test_systems_count():
    """Other roles, and rows of unknown systems, change nothing."""
    frame, other = held_out(), held_out(role="fuse")
    good = long(frame, classic=frame["label"])
    more = pd.concat([good, long(other, classic=~other["label"]), long(held_out(2, 1, "dropped"), classic=[0, 1])])
    test, scores = on_test(pd.concat([frame, other]), more)
    pd.testing.assert_frame_equal(head_metrics(test, scores, 0), head_metrics(*on_test(frame, good), 0))


def test_experts_are_cut_at_both_limits():
    snr, theta_e = [25, 24.999, 100, 100, np.nan], [1.2, 5, 1.19, 5, 5]
    frame = held_out(12, 5, fwhm=1.0)
    frame.loc[:4, "snr_brightest"], frame.loc[:4, "theta_e"] = snr, theta_e
    test, scores = on_test(frame, long(frame, classic=[5, 0, 0, -1, 0, 4, 3, 2, 1, 0.5, 0.2, 0.1]))
    assert is_expert(test)[:5].tolist() == [True, False, False, True, False]
    found = head_metrics(test, scores, 0)
    regime = found[found["part"] == "regime"]
    assert (regime["name"] == "expert").all()
    assert (regime[["n_pos", "n_neg"]].to_numpy() == (2, 7)).all()
    # one of the two lies above all others, one below
    assert regime.set_index("metric").loc[["auroc", "tpr0"], "value"].tolist() == [0.5, 0.5]


def test_contrast_is_against_one_class_alone():
    """Scores that find all but cannot tell a single-source arc from a tandem."""
    frame = held_out(120, 30)
    arc = frame["class"] == "single_arc"
    test, scores = on_test(frame, long(frame, classic=frame["label"] | arc))
    found = head_metrics(test, scores, 0).query("metric == 'tpr_at_fpr_0.1'").set_index(["part", "name"])["value"]
    assert found["contrast", "projected"] == found["regime_contrast", "members"] == 1
    assert found["contrast", "single_arc"] == found["regime_contrast", "single_arc"] == 0


def test_completeness_bins_by_hand():
    frame = held_out(110, 10, fwhm=1.0)
    frame.loc[:9, "theta_e"] = [1.0, 1.2, 2.0, 2.5, 3, 4, 4.9, 30, 30, np.nan]
    score = np.r_[[2.0, 2, 0, 2, 2, 0, 0, 2, 0, 2], np.linspace(-1, 1, 100)]
    # the 11th highest of the 100 others is 0.8, the 4th is 0.94: both leave the tandems above at 2 alone
    test, scores = on_test(frame, long(frame, classic=score))
    table = completeness_table(test, scores).query("quantity == 'theta_e_fwhm'")
    assert table["fpr"].unique().tolist() == list(FPRS)
    for _, at in table.groupby("fpr"):
        assert at["from"].tolist()[:-1] == [0, 1.2, 2.5, 5, 10, 20]
        assert at["n"].tolist() == [1, 2, 4, 0, 0, 2, 1]
        assert at["found"].tolist() == [1, 1, 2, 0, 0, 1, 1]
        np.testing.assert_allclose(at["completeness"], [1, 0.5, 0.5, np.nan, np.nan, 0.5, 1])
        low, high = clopper_pearson(at["found"], at["n"])
        np.testing.assert_allclose(at[["low", "high"]], np.column_stack([low, high]))


def test_all_bins_together_hold_the_true_positive_rate():
    rng = np.random.default_rng(5)
    n = 600
    columns = {"theta_e": 10 ** rng.normal(0.5, 0.5, n), "snr_brightest": rng.uniform(5, 400, n)}
    columns |= {"mag_brightest": rng.uniform(17, 27, n), "fwhm": rng.uniform(0.1, 2, n)}
    frame = held_out(n, 200, **columns)
    test, scores = on_test(frame, long(frame, classic=rng.normal(size=n) + frame["label"]))
    table = completeness_table(test, scores)
    for (fpr, _), part in table.groupby(["fpr", "quantity"]):
        assert part["n"].sum() == 200
        assert part["found"].sum() / 200 == pytest.approx(tpr_at_fpr(scores["classic"], test["label"], fpr))


def test_the_ideal_observer_is_a_matched_filter():
    """Closed form against draws of the filter's output, and its mean over a bin."""
    rng = np.random.default_rng(6)
    noise, arc = rng.normal(size=400_000), rng.normal(2.0, 1.0, 400_000)
    for fpr in FPRS:
        drawn = (arc > np.quantile(noise, 1 - fpr)).mean()
        assert ideal_detection(2.0, fpr) == pytest.approx(drawn, abs=0.004)
        assert ideal_detection(0.0, fpr) == pytest.approx(fpr)
    frame = held_out(40, 10, snr_brightest=np.r_[[1.0, 2, 30], np.full(37, 60.0)])
    test, scores = on_test(frame, long(frame, classic=frame["label"]))
    table = completeness_table(test, scores).query("quantity == 'snr_brightest' and fpr == 0.1")
    expected = norm.cdf(np.array([1, 2]) - norm.ppf(0.9)).mean()
    assert table["ideal"].iloc[0] == pytest.approx(expected)
    assert np.isnan(table["ideal"].iloc[1])


def calibrated_draw(rng, n=1000, share=0.3):
    """Test and calibration systems with the true probability of every one, at the share of tandems that the calibration
    systems happen to have; groups of two share half of their scatter."""
    labels = {role: rng.random(n) < share for role in ("calibrate", "test")}
    parts = []
    for role, label in labels.items():
        noise = np.sqrt(0.5) * (rng.normal(size=n // 2).repeat(2) + rng.normal(size=n))
        # two normal laws of unit variance: the log odds are a line
        log_odds = 1.5 * (noise + 1.5 * label) - 1.5**2 / 2 + logit(labels["calibrate"].mean())
        parts.append(held_out(n, 0, role, label=label, probability=expit(log_odds)))
    return pd.concat(parts, ignore_index=True)


def test_perfect_probabilities_count_right_at_every_prevalence():
    """Of 100 draws, the excess in sigma has mean 0 and spread 1 at every prevalence: 2 sigma hold nearly all."""
    rng = np.random.default_rng(7)
    excess = np.array([shifted_counts(calibrated_draw(rng), k)["excess"] for k in range(100)])
    assert np.abs(excess.mean(0)).max() < 0.3
    assert ((excess.std(0) > 0.8) & (excess.std(0) < 1.25)).all()
    assert (np.abs(excess) < 2).mean(0).min() > 0.88


def test_present_is_the_weighted_number_and_inflated_probabilities_count_too_many():
    frame = calibrated_draw(np.random.default_rng(8))
    counts = shifted_counts(frame, 0)
    share = frame.loc[frame["role"] == "test", "label"].mean()
    assert counts["prevalence"].iloc[0] == share
    np.testing.assert_allclose(counts["present"], 1000 * counts["prevalence"])
    assert ((counts["low"] < counts["expected"]) & (counts["expected"] < counts["high"])).all()
    assert counts[["calibration_low", "calibration_high"]].isna().all(axis=None)
    inflated = frame.assign(probability=expit(logit(frame["probability"]) + 1), probability_low=frame["probability"])
    more = shifted_counts(inflated, 0)
    assert (more["excess"] > 3).all()
    np.testing.assert_allclose(more["calibration_low"], counts["expected"])


def test_certain_and_right_probabilities_have_no_scatter():
    frame = pd.concat([held_out(role="calibrate"), held_out()], ignore_index=True)
    counts = shifted_counts(frame.assign(probability=frame["label"].astype(float)), 0)
    np.testing.assert_allclose(counts["expected"], counts["present"])
    assert (counts["sigma"] < 1e-9).all()


def test_pairs_are_those_of_the_library_and_every_head_is_compared():
    rng = np.random.default_rng(9)
    frame = held_out()
    heads = {h: rng.normal(size=120) + s * frame["label"] for h, s in {"fused": 3, "classic": 2, "baseline": 1}.items()}
    test, scores = on_test(frame, long(frame, **heads, silent=np.full(120, np.nan)))
    table = paired_table(test, scores, 4)
    pairs = list(dict.fromkeys(zip(table["a"], table["b"], strict=True)))
    assert pairs == [("fused", "baseline"), ("fused", "classic"), ("classic", "baseline")]
    assert table["metric"].tolist() == list(COMPARED) * 3
    row = table.query("a == 'classic' and metric == 'auroc'").iloc[0]
    direct = paired_difference(
        heads["classic"], heads["baseline"], frame["label"], "auroc", np.random.default_rng(4), frame["group"]
    )
    assert row[["low", "high", "p_value"]].tolist() == [direct[k] for k in ("low", "high", "p_value")]
    assert row["difference"] == pytest.approx(row["value_a"] - row["value_b"])
    assert (table["n_pos"] == 30).all()


def test_all_tables_are_written_and_a_silent_head_is_told(tmp_path, caplog):
    frame = calibrated_draw(np.random.default_rng(10), 200)
    score = logit(frame["probability"]).where(np.arange(400) % 10 != 9)
    both = long(frame, fused=score, silent=np.full(400, np.nan))
    tables, metas = tables_of(tmp_path, frame, both)
    assert all(len(t) for name, t in tables.items() if name != "paired")
    assert all(meta["reason"] == "" for meta in metas.values())
    assert not len(tables["paired"])
    silent = tables["metrics"].query("head == 'silent'")
    assert silent[["metric", "value"]].to_numpy().tolist() == [["unscored", 1.0]]
    metrics = tables["metrics"].query("head == 'fused' and part == 'overall'").set_index("metric")["value"]
    assert metrics["unscored"] == 0.1
    assert {"brier", "ece"} <= set(metrics.index)
    assert tables["reliability"]["n"].sum() == 200
    assert "fused: 20 of 200 test systems have no score and rank last" in caplog.text
    again, _ = tables_of(tmp_path, frame, both)
    assert all(again[name].equals(tables[name]) for name in TABLES)


@pytest.mark.parametrize(
    ("frame", "table", "said"),
    [
        (empty_frame(HELD_OUT), "metrics", "no training system has the role test"),
        (held_out(role="fuse"), "metrics", "no training system has the role test"),
        (held_out(20, 20), "completeness", "20 of 20 test systems are tandems"),
        (held_out(20, 0), "paired", "0 of 20 test systems are tandems"),
        (held_out(20, 5, group="one"), "metrics", "are one group; intervals need two"),
        (held_out(), "reliability", "no test system has a calibrated probability"),
        (held_out(), "counts", "no test system has a calibrated probability"),
        (held_out(probability=0.5), "counts", "no system here has calibrated anything: the models are of another"),
        (
            held_out(20, 0, probability=0.5),
            "counts",
            "no system here has calibrated anything: the models are of another",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_an_empty_table_with_a_reason(tmp_path, frame, table, said):
    tables, metas = tables_of(tmp_path, frame, long(frame, classic=np.arange(len(frame))))
    assert not len(tables[table])
    assert said in metas[table]["reason"]


def test_without_any_score_the_reason_is_told(tmp_path):
    frame = held_out()
    for scores in (empty_frame(HELD_OUT_SCORES), long(frame, classic=np.full(120, np.nan))):
        tables, metas = tables_of(tmp_path, frame, scores)
        assert not len(tables["metrics"])
        assert metas["metrics"]["reason"] == "no head has scored a test system; the fits say why"


def test_no_tandem_of_the_expert_regime_is_no_failure():
    frame = held_out(snr_brightest=10.0)
    test, scores = on_test(frame, long(frame, classic=frame["label"]))
    regime = head_metrics(test, scores, 0).query("part == 'regime' and metric == 'auroc'")
    assert (regime["n_pos"] == 0).all()
    assert regime["value"].isna().all()


def test_a_system_that_stands_twice_is_refused():
    frame = held_out(4, 2)
    scores = long(frame, classic=range(4))
    with pytest.raises(InputError, match="target_id 'test0000' in two rows; write one"):
        on_test(pd.concat([frame, frame[:1]]), scores)
    with pytest.raises(InputError, match="target_id 'test0000' and head 'classic' in two rows"):
        on_test(frame, pd.concat([scores, scores[:1]]))
