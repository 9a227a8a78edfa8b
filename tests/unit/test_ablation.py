"""The table of what each component adds, on systems whose truth is known; and the road without PSF matching."""

from dataclasses import replace
from fnmatch import fnmatchcase
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from places import ROOT
from tandemlens.base.columns.evaluation import ABLATION
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.errors import InputError
from tandemlens.base.stack import Cutout, header_text, read_stack, write_stack
from tandemlens.base.tables import read_table, write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.catalogue.ablation import (
    BEHIND,
    COLOUR,
    METRICS,
    SEQUENCE,
    UNMATCHED,
    Bench,
    Road,
    Variant,
    ablation_table,
)
from tandemlens.image.match import match_shard, match_system
from tandemlens.image.photometry import measure_shard
from tandemlens.image.segment import segment_shard
from tandemlens.learn.fusers import FUSERS
from tandemlens.learn.matrix import feature_names
from tandemlens.learn.ranking import Calibration
from tandemlens.learn.resample import CALIBRATION
from tandemlens.learn.trees import CONSTRAINTS
from tandemlens.survey.psf import moffat

BANDS = ["g", "r", "i"]
NAMES = feature_names(BANDS)
KINDS = {"colour": "pvalue", "pu": "real"}


def settings(name, **given):
    return validate_settings(given, load_schema(ROOT / f"config/schemas/{name}.schema.yaml"))


CFG = {
    "classic": settings("heads/classic", rounds=100, patience=20, learning_rate=0.2, trials=0),
    "calibration": "platt",
    "bands": BANDS,
    "seed": 3,
    "threads": 1,
}
EXPECTED = pd.Series({"colour evidence": "+15% precision"})


def road(n=2400, seed=0, worse=False):
    """Light behind, colour and the head pu tell of a tandem; the second red sequence tells nothing.

    On the worse road colours tell nothing either.
    """
    rng = np.random.default_rng(seed)
    label = rng.uniform(size=n) < 0.3
    table = pd.DataFrame(rng.normal(size=(n, len(NAMES))), columns=NAMES)
    table["behind_match"] += 2.2 * label
    table["s_color"] += 0 if worse else 1.5 * label
    groups = np.array([f"g{k // 4}" for k in range(n)])
    role = np.array(["train", "train", "stop", "calibrate", "fuse", "test", "test", "test"])[(np.arange(n) // 4) % 8]
    table = table.assign(target_id=[f"t{k}" for k in range(n)], status="ok", label=label, group=groups, role=role)
    table.loc[::50, ["status", *NAMES]] = ["no_segments", *[np.nan] * len(NAMES)]
    p = rng.uniform(size=n) ** (1 if worse else np.where(label, 6, 1))
    colour = np.where(table["status"] == "ok", p, np.nan)
    return Road(table, pd.DataFrame({"colour": colour, "pu": rng.normal(size=n) + 2.2 * label}))


def ablated(roads, kind="stack"):
    fusion = SimpleNamespace(fuser=SimpleNamespace(kind=kind)) if kind else None
    return ablation_table(roads, KINDS, fusion, CFG, EXPECTED)


@pytest.fixture(scope="module")
def table():
    return ablated({"": road(), UNMATCHED: road(worse=True)})


@pytest.fixture(scope="module")
def bench():
    return Bench({"": road(), UNMATCHED: road()}, KINDS, CFG)


def row(table, component, metric="tpr_at_fpr_0.01"):
    return table[(table["component"] == component) & (table["metric"] == metric)].squeeze()


@pytest.mark.parametrize("component", ["light behind", "colour evidence", "head pu", "fusion of heads", "PSF matching"])
def test_what_tells_adds(table, component):
    found = row(table, component)
    assert found["difference"] > 0.05
    assert found["low"] > 0
    assert found["p_value"] < 0.05
    assert found["difference"] == pytest.approx(found["with"] - found["without"])


@pytest.mark.parametrize("metric", METRICS)
def test_what_tells_nothing_adds_nothing(table, metric):
    found = row(table, "second red sequence", metric)
    assert found["low"] <= 0 <= found["high"]
    assert abs(found["difference"]) < 0.1


def test_what_is_taken_from_the_features_is_judged_without_heads_that_saw_it(table):
    for component in ("light behind", "colour evidence", "second red sequence", "PSF matching"):
        assert row(table, component)["note"].startswith("heads colour, classic; classic by ")
    assert row(table, "head pu")["note"].startswith("heads colour, classic, pu; ")
    assert row(table, "monotone constraints")["note"].endswith("classic by trees")
    assert row(table, "boosted trees")["note"].endswith("classic by trees with and logistic without")


def test_one_booster_instead_of_all_is_worse(bench):
    all_of_them = Variant(("classic",), "equal", learner="trees")
    ensemble, one, _ = bench.pair(all_of_them, replace(all_of_them, ensemble=False))
    test = bench.role == "test"
    areas = [roc_auc_score(bench.labels[test], score[test]) for score in (ensemble, one)]
    assert areas[0] > areas[1]


def test_every_row_is_of_the_test_systems_and_can_be_written(table, tmp_path):
    """Components once each, in every metric; the systems are those of role test."""
    test = road().table.query("role == 'test'")
    assert (table["n_pos"] == test["label"].sum()).all()
    assert (table["n_neg"] == (~test["label"]).sum()).all()
    assert (table["n_groups"] == test["group"].nunique()).all()
    assert not table.duplicated(["component", "metric"]).any()
    assert {f"fusion {kind}" for kind in FUSERS if kind != "equal"} <= set(table["component"])
    assert row(table, "colour evidence")["expected"] == "+15% precision"
    assert row(table, "light behind")["expected"] == ""
    write_table(tmp_path / "a.parquet", table, ABLATION)
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet"), table)


def test_the_same_seed_gives_the_same_table_and_an_absent_ingredient_is_told(table):
    again = ablated({"": road()})
    matching = table["component"] == "PSF matching"
    pd.testing.assert_frame_equal(again[~matching], table[~matching])
    for component, said in (
        ("PSF matching", "give the results folder of a run of the same samples and seed with match.common_psf false"),
        ("joint loss of mil", "no head of the run looks at stamps and has scores (setting heads: mil, proto)"),
        ("head trend", "head trend has no score for any system of the role fuse: the run is without it"),
    ):
        for metric in METRICS:
            found = row(again, component, metric)
            assert found[["with", "without", "difference", "low", "high", "p_value"]].isna().all()
            assert said in found["note"]


def test_the_joint_loss_is_the_scores_of_another_run():
    """A head mil that knows less than that of the other run, and one that is not there."""
    main, kinds = road(), {**KINDS, "mil": "real"}
    label, rng = main.table["label"].to_numpy(), np.random.default_rng(5)
    main.scores["mil"] = rng.normal(size=len(label))
    name = "joint loss of mil"
    joint = Road(main.table, main.scores.assign(mil=main.scores["mil"] + 3 * label))
    plain = Variant(("colour", "mil"), "stack")
    with_it, without, _ = Bench({"": main, name: joint}, kinds, CFG).other_run(plain, name)
    test = (main.table["role"] == "test").to_numpy()
    assert roc_auc_score(label[test], with_it[test]) > roc_auc_score(label[test], without[test]) + 0.05
    with pytest.raises(InputError, match=r"such a run as ablation\.others\.joint_loss: a run with weights of"):
        Bench({"": main}, kinds, CFG).other_run(plain, name)


def test_the_test_systems_are_never_learnt_from(bench):
    """With the labels of the test systems turned, every score stays."""
    base, variant = road(), Variant(("colour", "classic", "pu"), "stack")
    label = base.table["label"] ^ (base.table["role"] == "test")
    turned = Bench({"": Road(base.table.assign(label=label), base.scores)}, KINDS, CFG)
    np.testing.assert_array_equal(turned.pair(variant, variant)[0], bench.pair(variant, variant)[0])


def test_taking_nothing_away_is_nothing(bench):
    """Another road of the same pixels gives the same scores; so does a pattern that no feature has."""
    variant = Variant(bench.heads, "stack")
    for same in (replace(variant, road=UNMATCHED), replace(variant, left_out=("nothing*",))):
        one, other, _ = bench.pair(variant, same)
        np.testing.assert_array_equal(one, other)


def test_a_system_without_features_has_no_score_of_classic(bench):
    """With that head alone all of them are told the same by its absence."""
    one, _, _ = bench.pair(*[Variant(("classic",), "equal")] * 2)
    bare = road().table["status"] == "no_segments"
    assert len(np.unique(one[bare])) == 1
    assert len(np.unique(one[~bare])) > 1000


@pytest.mark.parametrize(("kind", "used"), [("equal", "equal"), ("rank", "stack")])
def test_calibration_takes_a_bias_away(bench, kind, used):
    """Evidence of equal weights is the mean over heads, too shy by far; and ranks are no evidence."""
    calibrated, plain, note = bench.calibration(Variant(bench.heads, kind), "platt")
    test = bench.role == "test"
    for name in CALIBRATION:
        one, other = (
            getattr(Calibration(p[test], bench.labels[test]), name)(np.ones((1, test.sum())))[0]
            for p in (calibrated, plain)
        )
        assert one < other or used == "stack"
    assert note == f"platt against the evidence of fuser {used} as it is; less is better"


def test_a_silent_head_is_told_and_the_others_are_fused():
    base = road()
    bench = Bench({"": Road(base.table, base.scores.assign(pu=np.nan))}, KINDS, CFG)
    assert bench.heads == ("colour", "classic")
    with pytest.raises(InputError, match="head pu has no score for any system of the role fuse: its fit says why"):
        bench.pair(*[Variant(("pu",), "equal")] * 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"role": "train"}, "no training system has the role test"),
        ({"label": False}, "0 of [0-9]+ test systems are tandems"),
        ({"group": "one"}, "all test systems that are no tandem are one group"),
    ],
)
def test_without_test_systems_every_row_says_why(change, said):
    base = road(320)
    table = ablated({"": Road(base.table.assign(**change), base.scores)}, None)
    assert len(table) > 10
    assert table["difference"].isna().all()
    assert table["note"].str.contains(said).all()


def test_too_few_tandems_to_train_on_are_told():
    base = road(320)
    learnt = base.table["role"].isin(("train", "stop"))
    few = base.table.assign(label=base.table["label"] & ~learnt)
    table = ablated({"": Road(few, base.scores)}, None)
    assert "the classic head needs 12" in row(table, "light behind")["note"]


def test_constraints_bind_the_trees():
    """A feature that may only raise the score but lowers it is silenced by its constraint."""
    base, test = road(), road().table["role"] == "test"
    turned = Road(base.table.assign(lw_max=base.table["lw_max"] - 3.0 * base.table["label"]), base.scores)
    assert CONSTRAINTS["lw_max"] == 1
    free = Variant(("classic",), "equal", constraints=False, learner="trees")
    bound, loose, _ = Bench({"": turned}, KINDS, CFG).pair(replace(free, constraints=True), free)
    areas = [roc_auc_score(base.table["label"][test], score[test]) for score in (bound, loose)]
    assert areas[1] > areas[0] + 0.02


@pytest.mark.parametrize("pattern", [*COLOUR, *BEHIND, *SEQUENCE])
def test_every_pattern_names_a_feature(pattern):
    assert any(fnmatchcase(name, pattern) for name in NAMES)


def test_expected_gains_are_of_components(table):
    expected = pd.read_csv(ROOT / "resources/expected_gains.csv")
    assert set(expected["component"]) <= set(table["component"])
    assert list(expected.columns) == ["component", "expected", "source"]
    assert expected.notna().all(axis=None)


SIDE, SCALE = 201, 0.3
SEEING = {"g": 1.6, "r": 1.0, "i": 0.7}


@pytest.fixture(scope="module")
def cutout():
    """Five galaxies in three bands of different seeing."""
    y, x = np.mgrid[:SIDE, :SIDE]
    places, rng = [(100, 100, 6), (60, 60, 3), (140, 70, 3), (70, 150, 3), (150, 140, 3)], np.random.default_rng(1)
    light = sum(4000 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for a, b, s in places)
    flux = (light * np.array([1, 1.5, 2])[:, None, None] + rng.normal(0, 20, (3, SIDE, SIDE))).astype(np.float32)
    wcs = (header_text(tangent_wcs(150.0, 2.0, (SIDE, SIDE), SCALE)),) * 3
    psf = np.array([moffat(63, SCALE, width) for width in SEEING.values()], np.float32)
    return Cutout(tuple(SEEING), flux, np.full(flux.shape, 400, np.float32), np.zeros(flux.shape, np.uint16), psf, wcs)


def test_without_a_common_psf_every_band_stays_as_it_is(cutout):
    cfg = {**settings("match"), "pixel_scale": SCALE}
    matched, _ = match_system(cutout, "t0", cfg)
    own, facts = match_system(cutout, "t0", {**cfg, "common_psf": False})
    for name in ("flux", "variance", "mask", "psf"):
        np.testing.assert_array_equal(getattr(own, name), getattr(cutout, name))
    assert not np.array_equal(matched.flux[1:], own.flux[1:])
    np.testing.assert_allclose(own.extra["band_fwhm"], list(SEEING.values()), rtol=0.05)
    # the worst band's, as with matching
    assert own.extra["fwhm"] == matched.extra["fwhm"] == own.extra["band_fwhm"][0]
    assert [fact["kernel_residual"] for fact in facts] == [0, 0, 0]
    # noise of its own is white
    np.testing.assert_allclose(own.extra["noise_factor"], 1, atol=0.15)
    assert (matched.extra["noise_factor"][2] > 1.2).any()


def test_what_follows_works_without_a_common_psf(cutout, tmp_path):
    """Segments are found and measured, and a band that is sharper puts more of its light into the aperture."""
    targets = pd.DataFrame([{"target_id": "t0", "ra": 150.0, "dec": 2.0, "ebv": np.nan}])
    with write_stack(tmp_path / "in.h5", cutout.bands, (SIDE, SIDE), 63) as stack:
        stack.append("t0", cutout)
    cfg = {**settings("match", common_psf=False), "pixel_scale": SCALE}
    measure = {**settings("measure"), "extinction": [0.0, 0.0, 0.0]}
    paths = {name: tmp_path / name for name in ("in.h5", "m.h5", "m.parquet", "s.parquet", "s.h5", "st.parquet")}

    def silent(done, total):
        pass

    match_shard(paths["in.h5"], paths["m.h5"], paths["m.parquet"], cfg, silent)
    with read_stack(paths["m.h5"]) as reader:
        np.testing.assert_allclose(reader[0].psf, cutout.psf, atol=1e-6)
    given = (paths["m.h5"], targets, paths["s.parquet"], paths["s.h5"], paths["st.parquet"])
    segment_shard(*given, {**settings("segment"), "pixel_scale": SCALE}, silent)
    given = (paths["m.h5"], paths["s.h5"], paths["s.parquet"], targets, tmp_path / "p.parquet", tmp_path / "t.parquet")
    measure_shard(*given, measure, silent)
    assert read_table(tmp_path / "t.parquet")["status"].tolist() == ["ok"]
    assert len(read_table(tmp_path / "p.parquet")) >= 5
