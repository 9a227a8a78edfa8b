"""The fusion as the workflow runs it: from tables of scores to a model, held-out rows and scores of shards."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from tandemlens.base.columns.expected import COLUMNS as EXPECTED
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table
from tandemlens.learn.fuse import (
    Fusion,
    fit_fusion,
    head_scores,
    score_fused,
    survey_prevalence,
    unseen_systems,
    write_fusion,
)

KINDS = {"colour": "pvalue", "classic": "real"}
SETTINGS = {"fusers": ["equal", "stack", "single"], "calibration": None, "prevalence": None}
CFG = {**SETTINGS, "survey": "mock", "seed": 3}
SHARE = 0.25


def systems(n=1200, seed=0, roles=("calibrate", "fuse", "test")):
    """Systems of three roles in groups of four, and scores of two heads that tell; one lacks a tenth of them."""
    rng = np.random.default_rng(seed)
    label = rng.random(n) < SHARE
    facts = {
        "target_id": [f"s{k:04}" for k in range(n)],
        "role": np.array(roles)[np.arange(n) // 4 % len(roles)],
        "group": [f"g{k // 4}" for k in range(n)],
        "class": np.where(label, "tandem", "projected"),
        "label": label,
        "theta_e": rng.uniform(1, 10, n),
        "snr_brightest": rng.uniform(5, 100, n),
        "mag_brightest": rng.uniform(20, 26, n),
        "fwhm": rng.uniform(0.6, 1.2, n),
    }
    classic = 1.5 * label + rng.standard_normal(n)
    chance = np.clip(rng.random(n) ** np.where(label, 4, 1), 1e-12, 1)
    scores = pd.DataFrame({"colour": chance, "classic": np.where(rng.random(n) < 0.1, np.nan, classic)})
    return pd.DataFrame(facts), scores


def expected(numbers, draws=100):
    frame = pd.DataFrame({"target_id": [f"t{k}" for k in range(len(numbers))], "expected": numbers})
    facts = {"z": 0.3, "richness": 40.0, "theta_e": 10.0, "draws": draws, "clusters": 2.0}
    frame = frame.assign(**facts, tandems=(frame["expected"] > 0).astype(int))
    return frame[[c.name for c in EXPECTED]]


@pytest.fixture(scope="module")
def fitted():
    facts, scores = systems()
    return *fit_fusion(scores, facts, KINDS, SETTINGS, np.random.default_rng(1), (0.01, "here")), facts, scores


def test_probabilities_are_calibrated_at_the_prior_of_training(fitted):
    """On the role that nothing was fitted to."""
    fusion, _, facts, scores = fitted
    unseen = (facts["role"] == "test").to_numpy()
    label = facts["label"].to_numpy()[unseen]
    found = fusion.probabilities(fusion.fuse(scores[unseen]), fusion.prior)
    calibrating = (facts["role"] == "calibrate").to_numpy()
    assert fusion.prior == pytest.approx(facts["label"][calibrating].mean())
    # three binomial standard deviations of the sum
    p = found["probability"].to_numpy()
    for part in (p < 0.2, p >= 0.2, p >= 0.5):
        error = np.sqrt((p[part] * (1 - p[part])).sum())
        assert label[part].sum() == pytest.approx(p[part].sum(), abs=3 * error)
    assert np.average(p[label]) > np.average(p[~label]) + 0.3


def test_the_interval_holds_the_probability(fitted):
    fusion, _, _, scores = fitted
    for prevalence in (fusion.prior, 0.01, 1e-4):
        found = fusion.probabilities(fusion.fuse(scores), prevalence)
        assert (found["probability_low"] <= found["probability"]).all()
        assert (found["probability"] <= found["probability_high"]).all()
        assert found.min(axis=None) >= 0
        assert found.max(axis=None) <= 1
        assert (found["probability_high"] - found["probability_low"] > 0).mean() > 0.9


def test_a_rarer_tandem_is_less_probable_by_the_ratio_of_odds(fitted):
    fusion, _, _, scores = fitted
    fused = fusion.fuse(scores)
    here, there = (fusion.probabilities(fused, p)["probability"] for p in (fusion.prior, 0.001))
    shift = logit(0.001) - logit(fusion.prior)
    np.testing.assert_allclose(there, expit(logit(here) + shift))
    assert there.mean() < 0.05 < here.mean()


def test_null_scores_are_the_non_lenses_of_the_calibration(fitted):
    fusion, report, facts, scores = fitted
    null = ((facts["role"] == "calibrate") & ~facts["label"]).to_numpy()
    np.testing.assert_allclose(fusion.null_scores, np.sort(fusion.fuse(scores[null])))
    assert (fusion.prevalence, fusion.prevalence_by) == (0.01, "here")
    assert set(report["kind"]) == set(SETTINGS["fusers"])
    assert report["chosen"].sum() == 1


def test_no_role_is_looked_at_beyond_its_part(fitted):
    """Systems of role test may be anything; the fuser sees those of role fuse, the calibrator those of its own."""
    fusion, _, facts, scores = fitted
    rng = np.random.default_rng(5)
    other = facts.assign(label=np.where(facts["role"] == "test", rng.random(len(facts)) < 0.5, facts["label"]))
    again, _ = fit_fusion(scores, other, KINDS, SETTINGS, np.random.default_rng(1), (0.01, "here"))
    assert again == fusion
    other = facts.assign(label=np.where(facts["role"] == "calibrate", ~facts["label"], facts["label"]))
    again, _ = fit_fusion(scores, other, KINDS, SETTINGS, np.random.default_rng(1), (0.01, "here"))
    assert again.fuser == fusion.fuser
    assert again.calibrator != fusion.calibrator


def test_a_fusion_is_read_back_as_it_was(fitted, tmp_path):
    fusion, _, _, scores = fitted
    fusion.save(tmp_path)
    again = Fusion.load(tmp_path)
    assert again == fusion
    np.testing.assert_array_equal(again.fuse(scores), fusion.fuse(scores))


def test_a_silent_head_is_left_out():
    facts, scores = systems(600)
    scores["trend"] = np.nan
    # one that speaks, but of no system that the fuser learns from, tells as little
    scores["pu"] = np.where(facts["role"] == "fuse", np.nan, 1.0)
    kinds = {**KINDS, "trend": "real", "pu": "real"}
    fusion, _ = fit_fusion(scores, facts, kinds, SETTINGS, np.random.default_rng(1))
    assert set(fusion.fuser.heads) == set(KINDS)
    alone, _ = fit_fusion(scores[list(KINDS)], facts, KINDS, SETTINGS, np.random.default_rng(1))
    np.testing.assert_array_equal(fusion.fuse(scores), alone.fuse(scores))
    with pytest.raises(InputError, match="no head has a score for any of the 200 systems of role fuse; nothing is"):
        fit_fusion(scores * np.nan, facts, kinds, SETTINGS, np.random.default_rng(1))


def test_a_survey_of_unknown_prevalence_takes_that_of_training():
    facts, scores = systems(600)
    fusion, _ = fit_fusion(scores, facts, KINDS, SETTINGS, np.random.default_rng(1))
    assert fusion.prevalence == fusion.prior
    assert "nothing is known of the survey" in fusion.prevalence_by


def test_prevalence_of_a_survey():
    rng = np.random.default_rng(0)
    assert survey_prevalence(0.02, expected([0.1]), rng) == (0.02, "fusion.prevalence")
    assert survey_prevalence(None, None, rng) == (None, "")
    assert survey_prevalence(None, expected([]), rng) == (None, "")
    value, source = survey_prevalence(None, expected([0.001, 0.003]), rng)
    assert value == pytest.approx(0.002)
    assert source == "expected counts (simulated)"
    # three tandems among 300 draws of 2 clusters a target at the most
    value, source = survey_prevalence(None, expected([0.0, 0.0, 0.0]), rng)
    assert value == pytest.approx(3 * 2 / 300)
    assert source.startswith("upper bound of the expected counts: ")
    assert survey_prevalence(None, expected([2.0]), rng)[0] == 0.5


def write(folder, facts, scores, kinds=KINDS, expected_counts=None, **cfg):
    paths = [folder / name for name in ("model", "held_out.parquet", "scores.parquet")]
    write_fusion(facts, scores, kinds, expected_counts, {**CFG, **cfg}, *map(str, paths))
    return json.loads((paths[0] / "fusion.json").read_text()), read_table(paths[1]), read_table(paths[2])


def test_held_out_systems_are_written(tmp_path):
    facts, scores = systems(600)
    kinds, scores = KINDS, scores.assign(baseline=0.0)
    saved, held_out, long = write(tmp_path, facts, scores, kinds, expected([0.002, 0.004]))
    assert saved["used"]
    assert saved["prevalence"] == pytest.approx(0.003)
    assert list(held_out["target_id"]) == list(facts["target_id"])
    assert set(held_out["survey"]) == {"mock"}
    fusion = Fusion.load(tmp_path / "model")
    # probabilities of the evaluation are those of the training sample
    np.testing.assert_allclose(
        held_out["probability"], fusion.probabilities(fusion.fuse(scores), fusion.prior)["probability"]
    )
    wide = long.pivot(index="target_id", columns="head", values="score").loc[facts["target_id"]]
    # one that is compared alone is there, and has no weight
    assert set(wide.columns) == {"colour", "classic", "baseline", "fused"}
    assert "baseline" not in fusion.fuser.heads
    np.testing.assert_allclose(wide["colour"], -np.log10(scores["colour"]))
    np.testing.assert_array_equal(wide["classic"], scores["classic"])
    np.testing.assert_allclose(wide["fused"], fusion.fuse(scores))
    report = read_table(tmp_path / "model/report.parquet")
    assert set(json.loads(report.loc[report["chosen"], "weights"].item())) == set(kinds)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"role": "test"}, "no head has a score for any of the 0 systems of role fuse"),
        ({"label": False}, "give both lenses"),
    ],
)
def test_what_cannot_be_fused_says_why_and_scores_nothing(tmp_path, change, said):
    facts, scores = systems(240)
    saved, held_out, long = write(tmp_path, facts.assign(**change), scores)
    assert not saved["used"]
    assert said in saved["reason"]
    assert Fusion.load(tmp_path / "model") is None
    assert len(held_out) == 240
    assert held_out["probability"].isna().all()
    assert set(long["head"]) == set(KINDS)
    assert len(read_table(tmp_path / "model/report.parquet")) == 0
    features = pd.DataFrame({"target_id": ["a", "b"], "status": ["ok", "no_segments"]})
    score_fused(features, scores.head(2), tmp_path / "model", tmp_path / "fused.parquet")
    found = read_table(tmp_path / "fused.parquet")
    assert list(found["target_id"]) == ["a", "b"]
    assert found[["fused", "probability"]].isna().all(axis=None)


def test_too_few_groups_to_compare_give_equal_weights(tmp_path):
    facts, scores = systems(240)
    few = (facts["role"] == "fuse") & (facts.index >= 36)
    facts = facts.assign(role=facts["role"].mask(few, "test"))
    saved, held_out, _ = write(tmp_path, facts, scores)
    assert facts["group"][facts["role"] == "fuse"].nunique() == 3
    assert saved["used"]
    assert saved["fuser"]["weights"] == dict.fromkeys(KINDS, 0.5)
    assert held_out["probability"].notna().all()
    report = read_table(tmp_path / "model/report.parquet")
    assert list(report["kind"]) == ["equal"]
    assert report["note"][0].startswith("nothing compared, fewer than 4 groups of a class")


def test_no_calibration_systems_leave_the_heads_unfused(tmp_path):
    facts, scores = systems(240, roles=("fuse", "test"))
    saved, held_out, _ = write(tmp_path, facts, scores)
    assert not saved["used"]
    assert "0 of 0 objects are lenses; a calibrator needs both classes" in saved["reason"]
    assert len(held_out) == 240


def test_shards_are_scored(tmp_path):
    """A target without segments has a score by what its missing ones tell; one that left the road has none."""
    facts, scores = systems(600)
    # non-lenses lack their scores more often
    lost = (np.random.default_rng(2).random(600) < 0.4) & ~facts["label"].to_numpy()
    scores = scores.mask(np.repeat(lost[:, None], 2, axis=1))
    write(tmp_path, facts, scores, prevalence=0.01)
    features = pd.DataFrame(
        {"target_id": list("abcd"), "status": ["ok", "no_segments", "stage_failed", "ok"], "n_segments": [5, 0, 0, 9]}
    )
    heads = pd.DataFrame({"colour": [1e-8, np.nan, np.nan, 0.5], "classic": [4.0, np.nan, np.nan, -1.0]})
    score_fused(features, heads, tmp_path / "model", tmp_path / "fused.parquet")
    found = read_table(tmp_path / "fused.parquet").set_index("target_id")
    assert list(found.index) == ["a", "b", "d"]
    assert np.isfinite(found).all(axis=None)
    assert found["fused"].idxmax() == "a"
    assert found.loc["b", "fused"] < 0
    fusion = Fusion.load(tmp_path / "model")
    rows = [0, 1, 3]
    pd.testing.assert_frame_equal(
        found[["probability", "probability_low", "probability_high"]].reset_index(drop=True),
        fusion.probabilities(fusion.fuse(heads.iloc[rows]), 0.01),
    )
    score_fused(features.iloc[:0], heads.iloc[:0], tmp_path / "model", tmp_path / "none.parquet")
    assert len(read_table(tmp_path / "none.parquet")) == 0


def test_two_fits_are_the_same(tmp_path):
    facts, scores = systems(600)
    first, second = (write(tmp_path / name, facts, scores) for name in ("a", "b"))
    assert first[0] == second[0]
    for one, other in zip(first[1:], second[1:], strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_scores_of_heads_stand_side_by_side(tmp_path):
    parts = [
        pd.DataFrame({"target_id": ["b", "a"], "score": [2.0, 1.0]}),
        pd.DataFrame({"target_id": ["d"], "score": 4.0}),
    ]
    for k, part in enumerate(parts):
        part.to_parquet(tmp_path / f"{k}.parquet")
    parts[0].assign(score=[0.2, 0.1]).rename(columns={"score": "p"}).to_parquet(tmp_path / "p.parquet")
    tables = {"x": [tmp_path / "0.parquet", tmp_path / "1.parquet"], "y": [tmp_path / "p.parquet"]}
    found = head_scores(pd.Series(["a", "b", "c", "d"]), tables, {"x": "score", "y": "p"})
    np.testing.assert_array_equal(found["x"], [1, 2, np.nan, 4])
    np.testing.assert_array_equal(found["y"], [0.1, 0.2, np.nan, np.nan])


def test_unseen_systems_are_those_of_three_roles():
    facts, _ = systems(60, roles=("train", "stop", "calibrate", "fuse", "test", "dropped"))
    folds = facts[["target_id", "role", "group"]].assign(block="b", fold=0, reason="")
    truth = facts.drop(columns=["role", "group", "fwhm"]).iloc[::-1]
    measured = facts[["target_id", "fwhm"]].iloc[1:]
    found = unseen_systems(folds, truth, measured)
    assert set(found["role"]) == {"calibrate", "fuse", "test"}
    wanted = facts[facts["role"].isin(("calibrate", "fuse", "test"))].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[wanted.columns], wanted)
    # a system that could not be measured is held out like any other
    assert unseen_systems(folds, truth, measured.iloc[:0])["fwhm"].isna().all()
