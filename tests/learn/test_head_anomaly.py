"""The anomaly head: what it finds unseen, how it chooses, and that later rows are scored as those of the fit were."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from learn.bag_toy import system, write_stamps
from learn.pu_toy import BANDS, LOUD, ROLES, features
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table
from tandemlens.heads import anomaly as module
from tandemlens.heads.anomaly import DECLARATION, Head, fit, score
from tandemlens.heads.anomaly import fit_head as fit_names
from tandemlens.learn.detectors import METHODS, HypersphereSettings
from tandemlens.learn.encoders import create_encoder, save_encoder, save_reason
from tandemlens.learn.evidence import SCORE_KINDS
from tandemlens.learn.guard import gain
from tandemlens.learn.left_out import REPEATS, NonLenses, choose_detector, find_left_out, mean_gain

CFG = {
    "bands": BANDS,
    "seed": 4,
    "threads": 1,
    "features": "table",
    "method": "auto",
    "widths": [8, 4],
    "epochs": 2,
    "warm_up": 1,
    "batch": 64,
    "learning_rate": 0.001,
    "weight_decay": 1e-6,
    "nu": 0.1,
    "neighbours": 5,
}
#: by how many sigma the classes differ; tandems are like none of the others, also in few dimensions
SHIFTS = {
    "members": {},
    "single_arc": {"lw_max": 2.0},
    "artefact": {"coherence_raw": 4.0, "coverage": 4.0},
    "tandem": dict.fromkeys(LOUD[20:60], 3.0),
}


def systems(n=60, seed=1):
    """One system of each class on each of n canvases."""
    rng, tables = np.random.default_rng(seed), []
    canvas = np.array([f"c{k:03}" for k in range(n)], object)
    for name, shifts in SHIFTS.items():
        facts = {"target_id": canvas + "-" + name, "class": name, "label": name == "tandem", "group": canvas}
        role = np.array(ROLES, object)[np.arange(n) % len(ROLES)]
        tables.append(features(n, rng, **shifts).assign(**facts, role=role, reason_role=""))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(autouse=True)
def _only_loud_features(monkeypatch):
    monkeypatch.setattr(module, "feature_names", lambda bands: LOUD)


@pytest.fixture(scope="module")
def toy():
    return systems()


def fit_head(table, cfg):
    return fit_names(table, cfg, LOUD)


def scored(table, model, tmp_path):
    score(table, model, tmp_path / "anomaly.parquet")
    return read_table(tmp_path / "anomaly.parquet")


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_what_no_training_class_is_like_is_found(tmp_path, method):
    table = systems(150)
    fit(table, tmp_path, {**CFG, "method": method})
    test = table[table["role"] == "test"]
    found = scored(test, tmp_path, tmp_path)["anomaly"]
    assert roc_auc_score(test["label"], found) > (0.8 if method in METHODS[2:] else 0.95)
    # ranks among non-lenses that were not trained on
    others = found[~test["label"].to_numpy()]
    assert others.between(0, 1, inclusive="neither").all()
    assert others.mean() == pytest.approx(0.5, abs=0.15)


def test_a_score_is_the_rank_among_held_out_non_lenses(toy):
    head = fit_head(toy, CFG)
    stop = toy[(toy["role"] == "stop") & ~toy["label"]]
    distance = head.distance(stop)
    below = [(distance < d).mean() + (distance == d).mean() / 2 for d in distance]
    np.testing.assert_allclose(head.score(stop), below)
    # beyond all of them no two are alike
    far = head.score(stop.assign(x2=50.0 + np.arange(len(stop))))
    assert len(set(far)) == len(far)
    assert far.min() > head.score(stop).max()


def test_a_class_that_was_left_out_is_found(toy):
    """The artefact, far from what is left; and the numbers are those of a fit without it."""
    settings = {**CFG, "method": "mahalanobis"}
    report = fit_head(toy, settings).report
    assert set(report["auroc"]) == {"members", "single_arc", "artefact"}
    assert report["auroc"]["artefact"]["mahalanobis"] > 0.9
    assert report["auroc"]["members"]["mahalanobis"] < 0.6
    without = toy[~((toy["class"] == "artefact") & (toy["role"] == "train"))]
    head = fit_head(without, settings)
    stop = toy[(toy["role"] == "stop") & ~toy["label"]]
    area = roc_auc_score(stop["class"] == "artefact", head.distance(stop))
    assert area == pytest.approx(report["auroc"]["artefact"]["mahalanobis"])


def test_the_choice_follows_the_numbers(toy):
    head = fit_head(toy, {**CFG, "epochs": 10})
    expected, report = "mahalanobis", head.report
    for trial in report["trials"]:
        assert trial["against"] == expected
        means = report["mean_auroc"]
        assert trial["gain"] == pytest.approx(means[trial["method"]] - means[expected])
        if trial["gain"] > trial["error"]:
            expected = trial["method"]
    assert [trial["method"] for trial in report["trials"]] == list(METHODS[1:])
    assert (head.by, report["chosen"]) == (expected, expected)


def thrice(score):
    return np.repeat(score[None], REPEATS, axis=0)


def test_the_simplest_stays_unless_it_is_beaten_by_the_error():
    rng = np.random.default_rng(0)
    classes, groups = np.repeat(["a", "b"], 200), np.tile(np.arange(200), 2).astype(str)
    noise = rng.normal(size=(3, 400))
    told = {name: noise + 0.8 * (classes == name) for name in ("a", "b")}
    scores = {
        name: {"mahalanobis": thrice(of[0]), "knn": thrice(of[1] - 0.2 * (classes == name))}
        for name, of in told.items()
    }
    assert choose_detector(scores, dict.fromkeys(METHODS[2:], "no"), classes, groups)[0] == "mahalanobis"
    for name, of in scores.items():
        of["svdd"] = thrice(told[name][2] + 0.8 * (classes == name))
    method, report = choose_detector(scores, dict.fromkeys(METHODS[3:], "no"), classes, groups)
    assert method == "svdd"
    first = report["trials"][1]
    assert first["gain"] > 2 * first["error"]
    # a network that is better by the luck of one draw, and worse in two, is not to be relied on
    for name, of in scores.items():
        of["svdd"][1:] = rng.normal(size=(2, 400)) + 0.6 * (classes == name)
        of["svdd"][0] += 9.0 * (classes == name)
    method, report = choose_detector(scores, dict.fromkeys(METHODS[3:], "no"), classes, groups)
    assert method == "mahalanobis"
    assert 0 < report["trials"][1]["gain"] < report["trials"][1]["error"]


def test_the_error_of_one_class_and_unrelated_systems_is_that_of_delong():
    rng = np.random.default_rng(2)
    classes, pair = np.repeat(["a", "b"], [40, 90]), rng.normal(size=(2, 130))
    of_a = classes == "a"
    found, error = mean_gain({"a": tuple(pair)}, classes, np.arange(130).astype(str))
    expected = gain(*((s[of_a], s[~of_a]) for s in pair))
    assert found == pytest.approx(expected.auc_candidate - expected.auc_plain)
    assert error == pytest.approx(expected.error * np.sqrt(130 / 129))


def test_the_error_is_the_scatter_of_the_gain_over_samples():
    """Groups of three that share most of their noise, two classes left out; independent samples of 60 groups."""
    rng, found = np.random.default_rng(3), []
    classes, groups = np.tile(["a", "b", "c"], 60), np.repeat(np.arange(60), 3).astype(str)
    for _ in range(300):
        pair = 1.5 * np.repeat(rng.normal(size=(2, 60)), 3, axis=1) + rng.normal(size=(2, 180))
        found.append(mean_gain({name: tuple(pair + (classes == name)) for name in "ab"}, classes, groups))
    differences, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(differences.std(), rel=0.15)
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(300)


def test_classes_of_few_systems_are_not_left_out_and_methods_that_fail_are_named(toy):
    rows = toy[~toy["label"] & (toy["class"] != "single_arc")]
    rows = pd.concat([rows, toy[(toy["class"] == "single_arc") & (toy["role"] == "stop")].head(2)])
    sample = NonLenses(
        rows[["lw_max", "x2"]],
        rows["class"].to_numpy(str),
        rows["group"].to_numpy(str),
        (rows["role"] == "train").to_numpy(),
        (rows["role"] == "stop").to_numpy(),
    )
    scores, refused = find_left_out(sample, HypersphereSettings(widths=(30,)), 0)
    assert set(scores) == {"members", "artefact"}
    assert set(refused) == {"dohsc", "do2hsc"}
    assert refused["dohsc"].startswith("batches of 36 systems cannot be whitened in 30 dimensions")


@pytest.mark.parametrize("change", [{"class": "members"}, {"group": "one"}])
def test_where_nothing_can_be_compared_the_simplest_is_used(toy, change):
    head = fit_head(toy.assign(**change), CFG)
    assert head.by == "mahalanobis"
    assert head.report["note"].endswith("comparing detectors needs one class and 2 groups")


@pytest.mark.parametrize("method", METHODS)
def test_a_row_is_scored_later_as_the_fit_scored_it(toy, tmp_path, method):
    head = fit_head(toy, {**CFG, "method": method})
    head.save(tmp_path)
    found = scored(toy, tmp_path, tmp_path)
    np.testing.assert_array_equal(found["anomaly"], head.score(toy))
    assert set(found["anomaly_by"]) == {method}
    np.testing.assert_allclose(scored(toy.head(3), tmp_path, tmp_path)["anomaly"], head.score(toy)[:3], rtol=1e-6)
    assert len(scored(toy.head(3).assign(status="no_segments"), tmp_path, tmp_path)) == 0
    assert len(scored(toy.head(0), tmp_path, tmp_path)) == 0


def test_two_fits_are_the_same(toy, tmp_path):
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        fit(toy, tmp_path / name, {**CFG, "method": "do2hsc", "seed": seed})
    texts = [(tmp_path / name / "anomaly.json").read_text() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
    files = [(tmp_path / name / "detector.safetensors").read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]


def test_only_non_lenses_of_train_and_stop_are_learnt_from(toy):
    unseen = toy["label"] | ~toy["role"].isin(["train", "stop"])
    changed = toy.copy()
    changed.loc[unseen, ["lw_max", "x2"]] = 9.0
    first, again = (fit_head(rows, {**CFG, "method": "svdd"}) for rows in (toy, changed))
    # the last digits may follow the layout in memory
    np.testing.assert_allclose(first.score(toy), again.score(toy), rtol=1e-9)
    told = [head.report["mean_auroc"] for head in (first, again)]
    assert told[0] == pytest.approx(told[1])
    seen = changed.copy()
    seen.loc[(seen["role"] == "train") & ~seen["label"], "x2"] += 1.0
    assert (fit_head(seen, CFG).score(toy) != fit_head(toy, CFG).score(toy)).any()


def test_how_training_went_is_told(toy):
    head = fit_head(toy, {**CFG, "method": "svdd"})
    report, stop = head.report, toy[toy["role"] == "stop"]
    assert report["auroc_tandem"] == pytest.approx(roc_auc_score(stop["label"], head.distance(stop)))
    assert report["training"]["last_loss"] < report["training"]["first_loss"]
    assert 1 <= report["training"]["effective_rank"] <= CFG["widths"][-1]
    assert report["non_lenses"] == {"train": 108, "stop": 36}
    assert fit_head(toy, {**CFG, "method": "mahalanobis"}).report["training"] == {}
    assert fit_head(toy[~toy["label"]], CFG).report["auroc_tandem"] is None


def test_features_without_values_are_borne(toy):
    rows = toy.assign(lambda_bg_z=np.nan, s_color=np.inf, tau=3.0)
    for method in ("mahalanobis", "do2hsc"):
        assert np.isfinite(fit_head(rows, {**CFG, "method": method}).score(rows)).all()


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (lambda t: t.assign(role="dropped", reason_role="2 groups for 5 roles"), {}, "2 groups for 5 roles"),
        (lambda t: t.head(0), {}, "the training sample is empty"),
        (lambda t: t.assign(label=True), {}, "role train has 0 non-lenses with features; the anomaly head needs 30"),
        (lambda t: t[t["role"] != "stop"], {}, "role stop has 0 non-lenses with features; the anomaly head needs 10"),
        (lambda t: t.assign(status="no_segments"), {}, "role train has 0 non-lenses with features"),
        (lambda t: t.drop(columns="tau"), {}, "the feature table lacks tau"),
        (lambda t: t, {"method": "dohsc", "widths": [90]}, "cannot be whitened in 90 dimensions"),
        (lambda t: t, {"method": "knn", "neighbours": 999}, "108 systems have no 999 neighbours; lower anomaly.neigh"),
    ],
)
def test_what_cannot_be_learnt_is_said_and_scores_nothing(toy, tmp_path, change, settings, said):
    fit(change(toy), tmp_path, {**CFG, **settings})
    facts = json.loads((tmp_path / "anomaly.json").read_text())
    assert said in facts["reason"]
    assert facts["by"] == "none"
    found = scored(toy, tmp_path, tmp_path)
    assert len(found) == len(toy)
    assert found["anomaly"].isna().all()
    assert set(found["anomaly_by"]) == {"none"}
    assert Head.load(tmp_path).detector is None


def write_all(folder, table, side=16):
    """stamps.h5 in which an artefact is bright, and everything else noise."""
    rng, systems = np.random.default_rng(6), {}
    for target_id, kind in zip(table["target_id"], table["class"], strict=True):
        systems[target_id] = system(False, rng, 2)[0]
        systems[target_id]["flux"][:] = rng.normal(0, 0.3, (2, 2, side, side)) + 3.0 * (kind == "artefact")
    systems[table["target_id"].iloc[0]] = None
    return write_stamps(folder / "stamps.h5", systems)


def test_features_of_an_encoder_stand_in_for_the_table(toy, tmp_path):
    encoder = create_encoder("vit_mini_patch8", 2, 16, np.random.default_rng(0))
    (tmp_path / "encoder").mkdir()
    save_encoder(encoder, tmp_path / "encoder", {"bands": BANDS[:2]})
    cfg = {**CFG, "features": "encoder", "method": "mahalanobis", "bands": BANDS[:2]}
    path, model = write_all(tmp_path, toy), tmp_path / "model"
    without = toy[~((toy["class"] == "artefact") & (toy["role"] == "train"))]
    fit(without, model, cfg, tmp_path / "encoder", [path])
    facts = json.loads((model / "anomaly.json").read_text())
    assert facts["names"] == [f"encoder_{k}" for k in range(2 * encoder.width)]
    test = toy[toy["role"].isin(["test", "train"])]
    score(test, model, tmp_path / "a.parquet", path)
    found = read_table(tmp_path / "a.parquet").set_index("target_id")["anomaly"]
    # the first has no stamp
    assert toy["target_id"].iloc[0] not in found.index
    told = test[(test["role"] == "test") & test["target_id"].isin(found.index)]
    assert roc_auc_score(told["class"] == "artefact", found[told["target_id"]]) > 0.95
    three = write_stamps(tmp_path / "gi.h5", {"t": None}, ["g", "i"])
    with pytest.raises(InputError, match=r"takes stamps of 16 pixels in the bands .* and these have 16 in g, i"):
        score(toy, model, tmp_path / "a.parquet", three)


def test_without_an_encoder_its_features_are_refused(toy, tmp_path):
    cfg = {**CFG, "features": "encoder"}
    with pytest.raises(InputError, match=r"anomaly\.features is encoder but this run has no stage pretrain; set it to"):
        fit(toy, tmp_path, cfg)
    (tmp_path / "encoder").mkdir()
    save_reason(tmp_path / "encoder", "training collapsed", {})
    fit(toy, tmp_path / "model", cfg, tmp_path / "encoder", [write_all(tmp_path, toy)])
    facts = json.loads((tmp_path / "model/anomaly.json").read_text())
    assert facts["by"] == "none"
    assert facts["reason"].endswith("encoder: training collapsed")


def test_an_unfit_network_does_not_lose_the_head(toy, monkeypatch):
    """Networks that cannot be trained are named, and the distance that needs none is used."""
    head = fit_head(toy, {**CFG, "learning_rate": 1e300})
    assert head.by in ("mahalanobis", "knn")
    assert set(head.report["refused"]) == set(METHODS[2:])
    monkeypatch.setattr(module, "choose_detector", lambda *a: ("svdd", {}))
    with pytest.raises(InputError, match="training diverged"):
        fit_head(toy, {**CFG, "learning_rate": 1e300})


def test_the_declaration_is_one_of_an_anomaly_score():
    assert DECLARATION.kind == "anomaly"
    assert DECLARATION.kind in SCORE_KINDS
    assert DECLARATION.fused
    assert DECLARATION.trained
