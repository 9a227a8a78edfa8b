"""The head of positive-unlabelled learning, on skies that are as simulated, and on skies that are not."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from learn.pu_toy import BANDS, NAMES, samples
from tandemlens.base.tables import read_table
from tandemlens.heads.pu import Head, fit, fit_head, score
from tandemlens.learn.crossfit import LEARNERS, cross_fit, make_classifier
from tandemlens.learn.matrix import gather

CFG = {
    "bands": BANDS,
    "seed": 4,
    "threads": 1,
    "guard": True,
    "folds": 4,
    "ridge": 10.0,
    "rounds": 25,
    "max_depth": 2,
    "learning_rate": 0.2,
    "min_child_weight": 5,
    "reg_lambda": 2.0,
}
TANDEM = {"lw_max": 1.0, "x2": 1.5}
#: real clusters have as long arcs as simulated tandems, and are bluer than anything simulated
SKY = {"lw_max": 2.0, "tau": 1.5}
EXPECTED = pd.DataFrame({"target_id": ["a", "b"], "expected": [0.04, 0.06], "clusters": 1.0, "draws": 100})


def test_targets_are_gathered_shard_by_shard(tmp_path):
    """All of few, in their order; of many the same whatever the shards, and those that were graded always."""
    _, search, _ = samples(7, TANDEM, {}, SKY)
    search = search.head(90)
    paths = [(tmp_path / f"f{k}.parquet", tmp_path / f"t{k}.parquet") for k in range(3)]
    for (features, targets), rows in zip(paths, np.array_split(np.arange(90), 3), strict=True):
        features_of(search.iloc[rows]).to_parquet(features)
        targets_of(search.iloc[rows]).to_parquet(targets)
    features, targets = zip(*paths, strict=True)
    pd.testing.assert_frame_equal(gather(features, targets, 90)[list(search)], search, check_dtype=False)
    some, turned = gather(features, targets, 30), gather(features[::-1], targets[::-1], 30)
    assert len(some) == 30
    assert set(some["target_id"]) == set(turned["target_id"])
    graded = [t for t in search["target_id"] if t not in set(some["target_id"])][:2]
    more = set(gather(features, targets, 30, graded)["target_id"])
    assert more == set(some["target_id"]) | set(graded)


def targets_of(frame):
    return frame[["target_id", "ra", "dec", "group_id", "canvas"]]


def features_of(frame):
    return frame.drop(columns=["ra", "dec", "group_id", "canvas"])


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """A head that was fitted where the sky is not as simulated."""
    train, search, truth = samples(1, TANDEM, {}, SKY)
    folder = tmp_path_factory.mktemp("pu")
    fit(train, search, EXPECTED, folder, CFG)
    return train, search, truth, folder


def test_targets_teach_what_simulated_contrasts_cannot(shifted, tmp_path):
    _, search, truth, folder = shifted
    report = json.loads((folder / "pu.json").read_text())["report"]
    assert report["kept"]
    area = report["auroc"]
    assert area[report["chosen"]] > area["plain"] + 0.04
    assert 0.5 < report["auroc_on_contrasts"]["pu"] < report["auroc_on_contrasts"]["plain"]
    score(targets_of(search), features_of(search), folder, tmp_path / "pu.parquet")
    scores = read_table(tmp_path / "pu.parquet")
    true = roc_auc_score(truth, scores["pu"])
    assert true > 0.9
    # from 30 stop tandems and the targets alone, without the truth: errors of 0.03 on either side
    assert area[report["chosen"]] == pytest.approx(true, abs=0.1)
    assert set(scores["pu_by"]) == {report["chosen"]}


def test_the_prior_is_that_of_the_expected_counts(shifted):
    report = json.loads((shifted[3] / "pu.json").read_text())["report"]
    assert report["prior_from"]["method"] == "counts"
    assert report["prior"] == pytest.approx(0.05)
    # 90 tandems of role train against 400 targets
    assert report["label_frequency"] == pytest.approx(90 / (90 + 0.05 * 400))


def test_where_the_sky_is_as_simulated_the_guard_mostly_refuses():
    kept = []
    for seed in range(8):
        train, search, _ = samples(seed, TANDEM, {}, {}, n_search=120)
        head = fit_head(train, search, EXPECTED, {**CFG, "folds": 3, "rounds": 10})
        kept.append(head.used)
        assert ("its AUROC is" in head.reason) != head.used
    assert np.mean(kept) < 0.4


def test_a_classifier_of_the_paint_is_refused(tmp_path):
    """Simulated tandems look like simulated contrasts, and all that is simulated unlike the sky."""
    paint = {"tau": 3.0}
    train, search, _ = samples(2, paint, paint, {})
    fit(train, search, EXPECTED, tmp_path, CFG)
    facts = json.loads((tmp_path / "pu.json").read_text())
    area = facts["report"]["auroc"]
    assert area[facts["report"]["chosen"]] > area["plain"] + 0.2
    assert facts["report"]["auroc_on_contrasts"]["pu"] == pytest.approx(0.5, abs=0.12)
    assert not facts["used"]
    assert "it is used where it beats the one and one half by the error" in facts["reason"]
    score(targets_of(search), features_of(search), tmp_path, tmp_path / "pu.parquet")
    scores = read_table(tmp_path / "pu.parquet")
    assert len(scores) == len(search)
    assert scores["pu"].isna().all()
    assert set(scores["pu_by"]) == {"none"}
    unguarded = fit_head(train, search, EXPECTED, {**CFG, "guard": False})
    assert unguarded.used
    assert not unguarded.report["kept"]
    assert np.isfinite(unguarded.score(search, search["group_id"])[0]).all()


def test_a_target_is_scored_by_the_model_of_its_fold(shifted):
    _, search, _, folder = shifted
    head = Head.load(folder)
    margin, fold = head.score(search, search["group_id"])
    assert set(fold) == {0, 1, 2, 3}
    for k, member in enumerate(head.members):
        np.testing.assert_array_equal(margin[fold == k], member.margin(search.loc[fold == k, NAMES]))


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_model_of_a_fold_has_not_seen_it(learner):
    """Its rows may change: what its model says of any rows stays as it is, and the other models do change."""
    train, search, _ = samples(1, TANDEM, {}, SKY, n_search=100)
    tandems = train[train["label"]]
    values = pd.concat([tandems, search])[NAMES]
    s, fold = np.repeat([1, 0], [len(tandems), len(search)]), np.arange(len(values)) % 4
    changed = values.copy()
    changed[fold == 2] = 3.0
    fits = [cross_fit(rows, s, fold, 0.05, make_classifier(learner, CFG)) for rows in (values, changed)]
    (first, margin), (again, _) = fits
    np.testing.assert_array_equal(margin[fold == 2], first[2].margin(values[fold == 2]))
    for k in range(4):
        moved = np.abs(first[k].margin(values) - again[k].margin(values)).max()
        assert moved < 1e-6 if k == 2 else moved > 0.05


def test_groups_stand_in_one_fold_whole_and_across_samples():
    train, search, _ = samples(3, TANDEM, {}, SKY, n_search=200)
    search["group_id"] = [f"g{k // 4}" for k in range(len(search))]
    # the first ten targets are the very sky that the first ten canvases were painted on
    search.loc[:9, ["ra", "dec"]] = train.loc[:9, ["ra", "dec"]].to_numpy()
    folds = fit_head(train, search, EXPECTED, CFG).folds
    painted = train[train["label"] & (train["role"] == "train")].set_index("canvas").index
    for k in range(10):
        if f"c{k:03}" in painted:
            assert folds[f"c{k:03}"] == folds[f"g{k // 4}"]
    assert folds.index.is_unique
    assert set(folds) == {0, 1, 2, 3}


def test_a_stranger_takes_the_mean_of_all_models(shifted):
    _, search, _, folder = shifted
    head = Head.load(folder)
    margins, fold = head.score(search.head(30), pd.Series(["stranger"] * 30))
    assert (fold == -1).all()
    values = search.head(30)[NAMES]
    np.testing.assert_allclose(margins, np.mean([m.margin(values) for m in head.members], axis=0))


def test_without_expected_counts_the_prior_is_estimated():
    """Two targets in five are tandems that stand apart."""
    train, search, _ = samples(5, {"lw_max": 4.0, "x2": 4.0}, {}, {}, alpha=0.4)
    report = fit_head(train, search, EXPECTED.head(0), CFG).report
    assert report["prior_from"] == {"method": "dedpul", "is_upper_limit": False, "reason": ""}
    assert report["prior"] == pytest.approx(0.4, abs=0.08)


def test_a_prior_that_cannot_be_told_is_an_upper_limit():
    train, search, _ = samples(6, TANDEM, {}, {}, alpha=0.0)
    report = fit_head(train, search, None, CFG).report
    assert report["prior_from"]["is_upper_limit"]
    assert "take the prior from expected numbers" in report["prior_from"]["reason"]
    none_drawn = EXPECTED.assign(expected=0.0)
    report = fit_head(train, search, none_drawn, CFG).report
    # three of 200 draws, each standing for a hundredth of a cluster
    assert report["prior"] == pytest.approx(3 * 2 / 200 / 2)
    assert "none of 200 simulated second clusters" in report["prior_from"]["reason"]


def test_the_sweep_tells_what_selection_could_move(shifted):
    train, search, _, folder = shifted
    sweep = json.loads((folder / "pu.json").read_text())["report"]["sensitivity"]
    assert sweep["context"] == ["n_segments", "n_arcs"]
    assert sweep["strengths"] == [0, 0.5, 1, 1.5, 2]
    assert 0 <= sweep["rank_spread_median"] <= sweep["rank_spread_largest"] < len(search)
    assert 0 <= sweep["always_in_first_10"] <= 10
    # labels that are all in deep images can be selected for depth: more is uncertain
    deep = train.assign(n_segments=np.where(train["label"], 60, train["n_segments"]))
    selected = fit_head(deep, search, EXPECTED, CFG).report["sensitivity"]
    assert selected["rank_spread_median"] > sweep["rank_spread_median"]


def test_two_fits_are_the_same_and_a_head_is_read_back_as_it_was(shifted, tmp_path):
    train, search, _, folder = shifted
    head = fit_head(train, search, EXPECTED, CFG)
    read = Head.load(folder)
    assert read.report == head.report
    first, again = (h.score(search, search["group_id"]) for h in (head, read))
    np.testing.assert_array_equal(first, again)
    # the other learner is kept as well as the one that was chosen here
    crossed = fit_head(*crossed_samples(), EXPECTED, {**CFG, "guard": False, "rounds": 60})
    assert crossed.learner == "trees"
    crossed.save(tmp_path)
    search = crossed_samples()[1]
    np.testing.assert_array_equal(
        Head.load(tmp_path).score(search, search["group_id"]), crossed.score(search, search["group_id"])
    )


def graded(search, truth, n_lens, n_other):
    """Labels of the first targets of either kind."""
    lens, other = search["target_id"][truth][:n_lens], search["target_id"][~truth][:n_other]
    return pd.concat([pd.Series(True, lens), pd.Series(False, other)])


def test_grades_teach_what_is_not_simulated():
    """Real tandems differ in a feature of which the simulation knows nothing; judged on targets without a grade."""
    gains = []
    for seed in (0, 2):
        train, search, truth = samples(seed, TANDEM, {}, SKY, n_search=300, alpha=0.1)
        search.loc[truth, "s_color"] -= 3.0
        labels = graded(search, truth, 12, 30)
        rest = ~search["target_id"].isin(labels.index)
        areas = []
        for known in (None, labels):
            head = fit_head(train, search, EXPECTED, {**CFG, "guard": False}, known)
            areas.append(roc_auc_score(truth[rest], head.score(search[rest], search.loc[rest, "group_id"])[0]))
        gains.append(areas[1] - areas[0])
        assert head.report["graded"] == {"lens": 12, "no_lens": 30}
    assert np.mean(gains) > 0.05


def test_graded_targets_are_marked_where_they_taught(tmp_path):
    train, search, truth = samples(1, TANDEM, {}, SKY)
    labels = graded(search, truth, 3, 5)
    fit(train, search, EXPECTED, tmp_path, CFG, labels)
    score(targets_of(search), features_of(search), tmp_path, tmp_path / "pu.parquet")
    scores = read_table(tmp_path / "pu.parquet").set_index("target_id")
    assert scores["pu"].notna().all()
    marked = scores["pu_label"][scores["pu_label"] != ""]
    assert (marked == "lens").to_dict() == labels.to_dict()
    # the model that scores a target has not seen its field, and so not its label
    head = Head.load(tmp_path)
    assert (scores["pu_fold"] == scores.index.map(head.folds)).all()


def test_a_refused_head_marks_nothing(tmp_path):
    paint = {"tau": 3.0}
    train, search, truth = samples(3, paint, paint, {})
    fit(train, search, EXPECTED, tmp_path, CFG, graded(search, truth, 2, 5))
    assert json.loads((tmp_path / "pu.json").read_text())["labels"] == {}
    score(targets_of(search), features_of(search), tmp_path, tmp_path / "pu.parquet")
    assert set(read_table(tmp_path / "pu.parquet")["pu_label"]) == {""}


def crossed_samples():
    """Tandems are told by a feature in the middle of its range, which no line can see."""
    train, search, _ = samples(7, {}, {}, {}, alpha=0.0)
    for frame, middle in ((train, train["label"].to_numpy()), (search, np.zeros(len(search), bool))):
        frame["arc_radius"] = np.where(middle, 0.2, 2.0) * frame["arc_radius"]
    return train, search


def test_a_feature_without_a_value_is_borne():
    train, search, _ = samples(8, TANDEM, {}, SKY, n_search=200)
    for frame in (train, search):
        frame["lambda_bg_z"], frame["s_color"] = np.nan, np.inf
    head = fit_head(train, search, EXPECTED, CFG)
    assert np.isfinite(head.score(search, search["group_id"])[0]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, s: (t.assign(role="dropped", reason_role="2 groups for 5 roles"), s), "2 groups for 5 roles"),
        (lambda t, s: (t.head(0), s), "the training sample is empty"),
        (lambda t, s: (t.assign(label=False), s), "role train has 0 tandems with features; the pu head needs 10"),
        (lambda t, s: (t[(t["role"] != "stop") | t["label"]], s), "role stop has 0 contrasts with features"),
        (lambda t, s: (t, s.assign(status="no_segments")), "the search sample has 0 targets with features"),
        (lambda t, s: (t, s.head(19)), "19 targets with features; the pu head needs 20: search more"),
        (lambda t, s: (t, s.assign(group_id="one")), "a class has systems in 1 group"),
        (lambda t, s: (t, s.assign(group_id=["one", "two"] * 20)), "lie in 2 field groups alone; the pu head needs 3"),
        (lambda t, s: (t, s.drop(columns="tau")), "the feature table lacks tau"),
    ],
)
def test_what_cannot_be_learnt_is_said_and_scores_nothing(tmp_path, change, said):
    train, search, _ = samples(9, TANDEM, {}, SKY, n=60, n_search=40)
    fit(*change(train, search), EXPECTED, tmp_path, CFG)
    facts = json.loads((tmp_path / "pu.json").read_text())
    assert not facts["used"]
    assert pd.Series([facts["reason"]]).str.contains(said).all(), facts["reason"]
    score(targets_of(search), features_of(search), tmp_path, tmp_path / "pu.parquet")
    assert read_table(tmp_path / "pu.parquet")["pu"].isna().all()


def test_a_shard_without_features_has_no_rows(shifted, tmp_path):
    search = shifted[1].head(5).assign(status="no_segments")
    score(targets_of(search), features_of(search), shifted[3], tmp_path / "pu.parquet")
    assert len(read_table(tmp_path / "pu.parquet")) == 0
