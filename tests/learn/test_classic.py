"""The classic head on feature tables whose truth is known."""

import json

import numpy as np
import optuna
import pandas as pd
import pytest
import xgboost
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table
from tandemlens.heads.classic import Classic, fit, fit_classic, score
from tandemlens.learn.grouped import inner_folds
from tandemlens.learn.matrix import feature_names
from tandemlens.learn.trees import CONSTRAINTS, Trees, tuned

BANDS = ["g", "r", "i"]
NAMES = feature_names(BANDS)
#: the toys are made for so many features that tell nothing; the others are silent
LOUD = [name for name in NAMES if not name.startswith("second_")]
CFG = {
    "bands": BANDS,
    "seed": 3,
    "threads": 1,
    "trials": 0,
    "constraints": True,
    "rounds": 150,
    "patience": 30,
    "max_depth": 3,
    "learning_rate": 0.2,
    "min_child_weight": 5,
    "reg_lambda": 2.0,
}


def table(n=900, seed=0, crossed=True):
    """Features of which a few tell; `crossed` adds one that tells in the middle of its range, which no line can see."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, len(LOUD))), columns=LOUD)
    odds = 1.2 * frame["lw_max"] - 0.8 * frame["ring_thickness"] - 1.0
    odds += (2.0 - 3.0 * frame["arc_radius"].abs()) if crossed else 0
    labels = (rng.uniform(size=n) < 1 / (1 + np.exp(-odds.to_numpy()))).astype(int)
    frame = frame.mask(rng.uniform(size=frame.shape) < 0.05).reindex(columns=NAMES, fill_value=0.0)
    groups = np.array([f"g{k // 6}" for k in range(n)])
    roles = np.array(["train", "train", "train", "stop", "test"])[(np.arange(n) // 6) % 5]
    return frame, labels, groups, roles


@pytest.fixture(scope="module")
def fitted():
    features, labels, groups, roles = table()
    return fit_classic(features, labels, groups, roles, CFG), features, labels, roles


def test_trees_are_shipped_where_they_beat_the_line(fitted):
    head, features, labels, roles = fitted
    assert head.learner == "trees"
    unseen = roles == "test"
    area = roc_auc_score(labels[unseen], head.score(features[unseen]))
    line = Classic(**{**head.__dict__, "learner": "logistic"})
    assert area > roc_auc_score(labels[unseen], line.score(features[unseen])) + 0.03
    assert head.report["auroc"]["trees"] > head.report["auroc"]["logistic"]


@pytest.mark.parametrize("telling", [1, len(LOUD)])
def test_the_simpler_one_is_shipped_where_they_tie_or_it_wins(telling):
    """One feature is ranked alike by both; of what is spread thinly over all features, trees find less."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(0.0, index=range(600), columns=NAMES)
    frame[LOUD[:telling]] = rng.normal(size=(600, telling))
    weights = rng.normal(size=telling)
    odds = 2 * frame[LOUD[:telling]].to_numpy() @ (weights / np.hypot.reduce(weights)) - 1
    labels = (rng.uniform(size=600) < expit(odds)).astype(int)
    groups, roles = table(600)[2:]
    head = fit_classic(frame, labels, groups, roles, CFG)
    low = head.report["difference"][0]
    assert head.learner == "logistic"
    assert low <= 0
    assert (low > -0.02) == (telling == 1)


def test_every_constraint_holds_on_a_sweep(fitted):
    """Twenty rows, 200 places of each constrained feature: no step goes the wrong way."""
    head, features, _, _ = fitted
    rows = features.iloc[:20]
    for name, sign in CONSTRAINTS.items():
        sweep = np.linspace(-4, 4, 200)
        many = pd.concat([rows.assign(**{name: v}) for v in sweep])
        scores = head.score(many).reshape(200, 20)
        assert (sign * np.diff(scores, axis=0) >= -1e-5).all(), name


def test_the_sweep_finds_what_is_not_monotone():
    """The documentation's example: 5 x + sin(10 pi x), fitted without constraints, goes down somewhere."""
    rng = np.random.default_rng(1)
    x = rng.uniform(size=(2000, 1))
    y = 5 * x[:, 0] + np.sin(10 * np.pi * x[:, 0])
    sweep = xgboost.DMatrix(np.linspace(0, 1, 200)[:, None])
    steps = {}
    for sign in (0, 1):
        booster = xgboost.train({"monotone_constraints": (sign,), "nthread": 1}, xgboost.DMatrix(x, y), 50)
        steps[sign] = np.diff(booster.predict(sweep)).min()
    assert steps[0] < -0.05
    assert steps[1] >= -1e-6


@pytest.mark.parametrize("learner", ["trees", "logistic"])
def test_contributions_add_up_to_the_score(fitted, learner):
    head, features, _, _ = fitted
    head = Classic(**{**head.__dict__, "learner": learner})
    parts = head.contributions(features.iloc[:50])
    np.testing.assert_allclose(parts.sum(axis=1), head.score(features.iloc[:50]), atol=1e-4)
    assert (
        parts.drop(columns="bias").abs().mean().nlargest(3).index.isin(["lw_max", "ring_thickness", "arc_radius"]).sum()
        >= 2
    )


def test_every_booster_left_other_groups_out(fitted):
    """Each is the fit of XGBoost on three quarters of the groups, cut where the loss on the fourth is least."""
    head, features, labels, roles = fitted
    rows = np.isin(roles, ("train", "stop"))
    values, inside_labels, groups = features[rows], labels[rows], table()[2][rows]
    folds = inner_folds(inside_labels, groups, CFG["seed"])
    assert len(folds) == len(head.trees.boosters) == 4
    assert sorted(np.concatenate([outside for _, outside in folds])) == list(range(rows.sum()))
    margins = []
    for booster, (inside, outside) in zip(head.trees.boosters, folds, strict=True):
        assert not set(groups[inside]) & set(groups[outside])
        margin = booster.predict(xgboost.DMatrix(values.iloc[outside]), output_margin=True)
        assert log_loss(inside_labels[outside], expit(margin)) == pytest.approx(
            float(booster.attr("best_score")), abs=1e-5
        )
        assert booster.num_boosted_rounds() < CFG["rounds"]
        margins.append(booster.predict(xgboost.DMatrix(features), output_margin=True))
    np.testing.assert_allclose(head.trees.score(features), np.mean(margins, axis=0), atol=1e-5)


def test_the_mean_of_boosters_is_better_than_each(fitted):
    """Jensen: the loss of a mean of margins is at most the mean of their losses."""
    head, features, labels, roles = fitted
    unseen = roles == "test"
    losses = [
        log_loss(labels[unseen], expit(trees.score(features[unseen])))
        for trees in (head.trees, *(Trees([booster]) for booster in head.trees.boosters))
    ]
    assert losses[0] < np.mean(losses[1:])


def test_a_head_is_read_back_as_it_was(fitted, tmp_path):
    head, features, _, _ = fitted
    head.save(tmp_path)
    again = Classic.load(tmp_path)
    np.testing.assert_array_equal(again.score(features), head.score(features))
    assert again.report == head.report


def test_two_fits_are_the_same(fitted):
    head, features, _, _ = fitted
    again = fit_classic(*table(), CFG)
    np.testing.assert_array_equal(again.score(features), head.score(features))


def test_only_training_and_stopping_groups_are_looked_at():
    features, labels, groups, roles = table()
    head = fit_classic(features, labels, groups, roles, CFG)
    other = roles == "test"
    features[other], labels[other] = 7.0, 1 - labels[other]
    again = fit_classic(features, labels, groups, roles, CFG)
    seen = features[~other]
    np.testing.assert_array_equal(again.score(seen), head.score(seen))


def test_a_search_is_kept_and_goes_on(tmp_path):
    """From settings that learn nothing at all every search finds better ones."""
    features, labels, groups, roles = table(600)
    train = roles == "train"
    poor = {**CFG, "trials": 3, "rounds": 60, "min_child_weight": 1000}
    parts = features[train], labels[train], groups[train]
    storage = tmp_path / "trials.db"
    first = tuned(*parts, poor, storage)
    assert tuned(*parts, poor, storage) == first
    more = tuned(*parts, {**poor, "trials": 5}, storage)
    study = optuna.load_study(study_name="classic", storage=f"sqlite:///{storage}")
    assert len(study.trials) == 5
    assert more == study.best_params
    assert 2 <= more["max_depth"] <= 4


def test_the_best_trial_is_not_used_where_it_is_luck():
    """Where no feature tells anything no hyperparameters do better than others."""
    features, _, groups, roles = table(600)
    train = roles == "train"
    labels = np.random.default_rng(8).integers(2, size=600)
    parts = features[train], labels[train], groups[train]
    found = tuned(*parts, {**CFG, "trials": 4, "rounds": 40})
    assert found == {name: CFG[name] for name in ("max_depth", "learning_rate", "min_child_weight", "reg_lambda")}


def test_missing_and_constant_features_are_borne():
    features, labels, groups, roles = table()
    features["tau"], features["x2"], features["delta_rs"] = np.nan, 3.0, np.inf
    head = fit_classic(features, labels, groups, roles, CFG)
    assert np.isfinite(head.score(features)).all()
    for learner in ("trees", "logistic"):
        weights = Classic(**{**head.__dict__, "learner": learner}).contributions(features.iloc[:9])
        assert (weights[["tau", "x2"]].abs() < 1e-6).all().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(labels=np.where(d["labels"] == 1, 2, 0)), r"labels are \[0, 2\]; 0 and 1 are allowed"),
        (
            lambda d: d.update(labels=np.zeros_like(d["labels"])),
            "roles train and stop have 0 positives of 720 systems; the classic head needs 12 and some negatives",
        ),
        (
            lambda d: d.update(labels=np.ones_like(d["labels"])),
            "roles train and stop have 720 positives of 720 systems",
        ),
        (lambda d: d.update(groups=np.full_like(d["groups"], "one")), "are one field group; inner folds need two"),
        (lambda d: d.update(features=d["features"].drop(columns="tau")), "the feature table lacks tau"),
    ],
)
def test_what_cannot_be_learnt_is_refused(change, said):
    data = dict(zip(("features", "labels", "groups", "roles"), table(), strict=True))
    change(data)
    with pytest.raises(InputError, match=said):
        fit_classic(**data, cfg=CFG)


def training(n=900, **more):
    """What `training_table` gives."""
    features, labels, groups, roles = table(n)
    facts = {
        "target_id": [f"t{k}" for k in range(n)],
        "group": groups,
        "role": roles,
        "reason_role": "",
        "status": "ok",
    }
    kinds = np.where(labels == 1, "tandem", np.where(np.arange(n) % 2, "projected", "members"))
    return features.assign(**facts, label=labels == 1, **{"class": kinds}, **more)


def test_a_trained_head_scores_shards(tmp_path):
    whole = training()
    fit(whole, tmp_path, CFG)
    shard = whole.head(50).assign(status=["ok"] * 49 + ["no_segments"])
    score(shard, tmp_path, tmp_path / "scores.parquet")
    scores = read_table(tmp_path / "scores.parquet")
    assert len(scores) == 49
    np.testing.assert_allclose(scores["classic"], Classic.load(tmp_path).score(shard.head(49)))
    assert scores["drivers"].str.contains("lw_max:[+-]").mean() > 0.7


@pytest.mark.parametrize(
    "change",
    [{"role": "dropped", "reason_role": "2 groups for 5 roles"}, {"label": False}],
)
def test_a_sample_that_is_too_small_leaves_rows_without_a_score(tmp_path, change):
    fit(training(60).assign(**change), tmp_path, CFG)
    said = json.loads((tmp_path / "classic.json").read_text())["reason"]
    assert said.startswith("2 groups" if "role" in change else "roles train and stop have 0 positives")
    score(training(60), tmp_path, tmp_path / "scores.parquet")
    scores = read_table(tmp_path / "scores.parquet")
    assert len(scores) == 60
    assert scores["classic"].isna().all()
    assert set(scores["classic_by"]) == {"none"}
