"""The head of trends: what its guard keeps, and that later rows are scored as those of the fit were."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from learn.pu_toy import BANDS, samples
from tandemlens.base.tables import read_table
from tandemlens.heads import trend as module
from tandemlens.heads.trend import Head, fit, fit_head, score
from tandemlens.learn.trend import Guarded, hawkes_features, trajectories, trend_score

CFG = {
    "bands": BANDS,
    "seed": 4,
    "threads": 1,
    "guard": True,
    "widths": [16],
    "epochs": 8,
    "steps": 10,
    "batch": 32,
    "learning_rate": 0.003,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "smoothing": 0.1,
    "ema": None,
    "least_jump": 0.005,
}
#: enough steps for the mean prediction to tell
TRAINED = {"learning_rate": 0.006, "steps": 30}
TANDEM = {"lw_max": 1.8, "x2": 2.2}


@pytest.fixture(scope="module")
def toy():
    return samples(1, TANDEM, {}, {})


def path_of(head, rows):
    return trajectories(head.snapshots, head.standard(rows[head.names]))


def test_the_mean_and_the_trend_tell_tandems(toy):
    train, search, truth = toy
    head = fit_head(train, search, {**CFG, "guard": False, **TRAINED})
    path = path_of(head, search)
    assert path.shape == (len(search), CFG["epochs"])
    assert roc_auc_score(truth, path.mean(axis=1)) > 0.75
    assert roc_auc_score(truth, trend_score(path)) > 0.75
    stop = path_of(head, train[train["label"] & (train["role"] == "stop")])
    labelled = np.repeat([1, 0], [len(stop), len(path)])
    for name, read in (("mean", lambda p: p.mean(axis=1)), ("last", lambda p: p[:, -1]), ("trend", trend_score)):
        area = roc_auc_score(labelled, np.concatenate([read(stop), read(path)]))
        assert head.report["auc"][name] == pytest.approx(area)


def test_the_choice_follows_the_numbers(toy):
    """A network that has hardly learnt, and one that has: what is used beats the mean by its error, or nothing is."""
    train, search, _ = toy
    seen = set()
    for settings in ({}, TRAINED, {"learning_rate": 0.05, "steps": 60}):
        head = fit_head(train, search, {**CFG, **settings})
        area, error = head.report["auc"], head.report["error_of_gain"]
        better = [name for name in ("trend", "hawkes") if area[name] - area["mean"] > error[name]]
        assert head.report["kept"] == better
        assert head.by == (max(better, key=area.get) if better else "none")
        assert ("neither is better by its error" in head.reason) == (not better)
        seen.add(head.by)
    assert seen == {"trend", "none"}


@pytest.mark.parametrize("by", ["trend", "hawkes", "mean"])
def test_a_row_is_scored_later_as_the_fit_scored_it(toy, tmp_path, by):
    train, search, _ = toy
    head = fit_head(train, search, {**CFG, "guard": False})
    head.by = by
    head.save(tmp_path)
    score(search, tmp_path, tmp_path / "trend.parquet")
    found = read_table(tmp_path / "trend.parquet")
    path = path_of(head, search)
    expected = {
        "trend": trend_score(path),
        "hawkes": hawkes_features(path, CFG["least_jump"]) @ np.array(head.hawkes),
        "mean": path.mean(axis=1),
    }
    np.testing.assert_array_equal(found["trend"], expected[by])
    assert set(found["trend_by"]) == {by}
    # a shard of few rows is scored as a shard of many
    score(search.head(3), tmp_path, tmp_path / "few.parquet")
    np.testing.assert_allclose(read_table(tmp_path / "few.parquet")["trend"], expected[by][:3], atol=1e-6)
    score(search.head(3).assign(status="no_segments"), tmp_path, tmp_path / "no.parquet")
    assert len(read_table(tmp_path / "no.parquet")) == 0


def test_what_beats_the_mean_is_used(toy, tmp_path, monkeypatch):
    """A trend that is the truth itself, while the mean is a guess, is kept; a head without it scores nothing."""
    train, search, _ = toy
    monkeypatch.setattr(module, "trend_or_mean", lambda held, unl: fake(True, 0.95))
    monkeypatch.setattr(module, "hawkes_or_mean", lambda held, unl, jump, rng: fake(True, 0.9))
    assert fit_head(train, search, CFG).by == "trend"
    monkeypatch.setattr(module, "trend_or_mean", lambda held, unl: fake(False, 0.6))
    assert fit_head(train, search, CFG).by == "hawkes"
    monkeypatch.setattr(module, "hawkes_or_mean", lambda held, unl, jump, rng: fake(False, 0.7))
    fit(train, search, tmp_path, CFG)
    facts = json.loads((tmp_path / "trend.json").read_text())
    assert facts["by"] == "none"
    assert facts["reason"].startswith("the AUROC of the mean prediction is 0.800; that of the trend is 0.600 (error")
    score(search, tmp_path, tmp_path / "trend.parquet")
    found = read_table(tmp_path / "trend.parquet")
    assert len(found) == len(search)
    assert found["trend"].isna().all()
    # the numbers are kept, and so is the network: a comparison can be made later
    assert len(Head.load(tmp_path).snapshots) == CFG["epochs"]
    assert fit_head(train, search, {**CFG, "guard": False}).by == "mean"


def fake(kept, area):
    return Guarded(np.zeros(1), kept, area, 0.8, 0.02)


def test_two_fits_are_the_same(toy):
    train, search, _ = toy
    first, again = (fit_head(train, search, {**CFG, "guard": False}) for _ in range(2))
    assert first.report == again.report
    np.testing.assert_array_equal(first.score(search), again.score(search))
    other = fit_head(train, search, {**CFG, "guard": False, "seed": 5})
    assert (other.score(search) != first.score(search)).any()


def test_only_tandems_of_role_train_and_targets_are_learnt_from(toy):
    train, search, _ = toy
    changed = train.copy()
    unseen = ~(train["label"] & train["role"].isin(["train", "stop"]))
    changed.loc[unseen, "lw_max"] = 9.0
    first, again = (fit_head(rows, search, {**CFG, "guard": False}) for rows in (train, changed))
    np.testing.assert_array_equal(first.score(search), again.score(search))


def test_features_without_values_are_borne(toy):
    train, search, _ = toy
    parts = [rows.assign(lambda_bg_z=np.nan, s_color=np.inf, tau=3.0) for rows in (train, search)]
    head = fit_head(*parts, {**CFG, "guard": False, "ema": 0.9})
    assert np.isfinite(head.score(parts[1])).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, s: (t.assign(role="dropped", reason_role="2 groups for 5 roles"), s), "2 groups for 5 roles"),
        (lambda t, s: (t.head(0), s), "the training sample is empty"),
        (lambda t, s: (t.assign(label=False), s), "role train has 0 tandems with features; the trend head needs 10"),
        (lambda t, s: (t[t["role"] != "stop"], s), "role stop has 0 tandems with features; the trend head needs 10"),
        (lambda t, s: (t, s.assign(status="no_segments")), "the search sample has 0 targets with features"),
        (lambda t, s: (t, s.drop(columns="tau")), "the feature table lacks tau"),
    ],
)
def test_what_cannot_be_learnt_is_said_and_scores_nothing(toy, tmp_path, change, said):
    train, search, _ = toy
    fit(*change(train, search), tmp_path, CFG)
    assert said in json.loads((tmp_path / "trend.json").read_text())["reason"]
    score(search, tmp_path, tmp_path / "trend.parquet")
    found = read_table(tmp_path / "trend.parquet")
    assert len(found) == len(search)
    assert found["trend"].isna().all()
    assert set(found["trend_by"]) == {"none"}
    pd.testing.assert_series_equal(found["target_id"], search["target_id"])
