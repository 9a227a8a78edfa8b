"""The colour head: its evidence on simulated systems whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from tandemlens.base.tables import read_table
from tandemlens.features.colour import Colours, adjacent_colours
from tandemlens.heads.colour import DECLARATION, colour_evidence, fit, score, tail_probability

SEQUENCE = (np.array([1.5, 0.6]), 0.05**2 * np.eye(2))
FLOOR = 0.03


def population(rng, n=400):
    return rng.normal([0.7, 0.3], [0.4, 0.25], (n, 2))


def covariances(rng, n):
    return adjacent_colours(rng.normal(22, 1, (n, 3)), rng.uniform(0.02, 0.08, (n, 3))).covariance


def noisy(rng, value, covariance):
    root = np.linalg.cholesky(covariance)
    return Colours(value + np.einsum("nab,nb->na", root, rng.standard_normal(value.shape)), covariance)


def evidence(rng, colours, sequence=SEQUENCE, draws=400):
    return colour_evidence(colours, population(rng), sequence, FLOOR, draws, rng)


def chances(member_share):
    """p_chance of 400 systems of 3 to 6 arcs of no common source, a share of them foreground members."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        n = int(rng.integers(3, 7))
        covariance = covariances(rng, n)
        member = rng.uniform(size=(n, 1)) < member_share
        on = rng.normal(SEQUENCE[0], 0.05, (n, 2))
        value = np.where(member, noisy(rng, on, covariance).value, population(rng, n))
        found.append(evidence(rng, Colours(value, covariance))["p_chance"])
    return np.array(found)


def test_unrelated_arcs_have_uniform_chances():
    assert kstest(chances(0.0), "uniform").pvalue > 0.01


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_foreground_members_make_no_false_alarms(share):
    found = chances(share)
    for level in (0.01, 0.05, 0.2):
        # three binomial standard deviations of 400
        assert (found < level).mean() <= level + 3 * np.sqrt(level / 400)


def test_images_of_one_source_stand_out():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(30):
        covariance = covariances(rng, 5)
        value = population(rng, 5)
        value[:3] = [1.9, 1.2]
        result = evidence(rng, noisy(rng, value, covariance))
        found.append(result["color_evidence"])
        assert result["chosen"][:3].sum() >= 2
    assert np.median(found) > 2.5


def test_members_on_the_foreground_sequence_gain_nothing():
    rng = np.random.default_rng(2)
    covariance = covariances(rng, 5)
    members = noisy(rng, np.tile(SEQUENCE[0], (5, 1)), covariance)
    assert evidence(rng, members)["color_evidence"] < 1.0
    # The same agreement off the sequence is evidence.
    away = Colours(members.value + np.array([0.5, 0.6]), covariance)
    assert evidence(rng, away)["color_evidence"] > 3


def test_no_known_sequence_is_no_obstacle():
    rng = np.random.default_rng(3)
    colours = noisy(rng, np.tile([1.9, 1.2], (4, 1)), covariances(rng, 4))
    result = evidence(rng, colours, (np.full(2, np.nan), np.eye(2)))
    assert result["color_evidence"] > 2
    assert np.isnan(result["delta_rs_chosen"])


def test_evidence_grows_with_the_number_of_images():
    rng = np.random.default_rng(4)
    found = []
    for n in (2, 3, 5):
        covariance = np.tile(0.05**2 * np.eye(2), (n, 1, 1))
        colours = Colours(np.tile([0.9, 0.8], (n, 1)), covariance)
        found.append(np.median([evidence(rng, colours)["color_evidence"] for _ in range(9)]))
    assert found == sorted(found)


def test_tail_continues_the_counts():
    null = np.random.default_rng(5).exponential(2.0, 4000)
    for value in (1.0, 5.0, 10.0, 14.0, 20.0):
        assert np.log10(tail_probability(value, null)) == pytest.approx(-value / 2 / np.log(10), abs=0.35)
    beyond = [tail_probability(v, null) for v in (30, 40, 50)]
    assert beyond == sorted(beyond, reverse=True)
    assert beyond[-1] > 0


def tables(rng, n_targets=6, n_arcs=5):
    segments, photometry, targets = [], [], []
    for t in range(n_targets):
        target_id = f"t{t}-00000000"
        targets.append({"target_id": target_id, "group_id": target_id, "z": 0.3})
        for label in range(1, n_arcs + 21):
            kind = "arc" if label <= n_arcs else "member"
            segments.append({"target_id": target_id, "label": label, "kind": kind, "snr": 50.0 - label})
            flux = 1000 * 10 ** (0.4 * rng.normal(0, 0.3, 3))
            row = {"target_id": target_id, "label": label}
            for k, band in enumerate("gri"):
                row |= {f"flux_seg_{band}": flux[k], f"flux_seg_err_{band}": 30.0}
                row |= {f"mag_{band}": 31.4 - 2.5 * np.log10(flux[k]), f"mag_err_{band}": 1.0857 * 30 / flux[k]}
            for a, b in ("gr", "ri"):
                row |= {f"colour_{a}_{b}": row[f"mag_{a}"] - row[f"mag_{b}"]}
                row |= {f"colour_err_{a}_{b}": np.hypot(row[f"mag_err_{a}"], row[f"mag_err_{b}"])}
            photometry.append(row)
    features = pd.DataFrame({"target_id": [r["target_id"] for r in targets], "status": "ok"})
    return pd.DataFrame(targets), pd.DataFrame(segments), pd.DataFrame(photometry), features


CFG = {
    "floor_mag": FLOOR,
    "min_snr": 5,
    "max_segments": 8,
    "null_draws": 200,
    "population": 20000,
    "bands": ["g", "r", "i"],
    "wavelength": [4800, 6200, 7500],
    "filter": [None] * 3,
    "width": [1300, 1300, 1300],
    "seed": 1,
}
SED = "resources/seds/elliptical.csv"


def run(folder, frames, cfg=CFG):
    from places import ROOT

    targets, segments, photometry, features = frames
    fit([(targets, segments, photometry)], folder / "model", cfg)
    score(targets, segments, photometry, features, str(ROOT / SED), folder / "model", folder / "s.parquet", cfg)
    return read_table(folder / "s.parquet")


def test_the_head_gives_what_it_declares(tmp_path):
    found = run(tmp_path, tables(np.random.default_rng(6)))
    assert list(found.columns) == [c.name for c in DECLARATION.table]
    # the ranking score is the declared chance, larger for a smaller one
    np.testing.assert_allclose(found["color_evidence"], -np.log10(found[DECLARATION.score]))
    assert len(found) == 6
    assert set(found["population"]) == {"galaxies of other groups"}
    # 25 galaxies in each of the five other groups.
    assert set(found["n_population"]) == {125}


def test_a_system_is_not_part_of_its_own_population(tmp_path):
    frames = tables(np.random.default_rng(7))
    frames[0]["group_id"] = "one"
    found = run(tmp_path, frames)
    assert set(found["population"]) == {"galaxies of every group, this one included"}


def test_arcs_of_other_targets_come_before_galaxies(tmp_path):
    frames = tables(np.random.default_rng(7), n_arcs=8)
    frames[0]["group_id"] = "one"
    found = run(tmp_path, frames)
    assert set(found["population"]) == {"arcs of other targets of the group"}
    assert set(found["n_population"]) == {40}


def test_scores_repeat_and_do_not_depend_on_order(tmp_path):
    frames = tables(np.random.default_rng(8))
    first = run(tmp_path / "a", frames)
    turned = [f.iloc[::-1].reset_index(drop=True) for f in frames]
    second = run(tmp_path / "b", turned).set_index("target_id").loc[first["target_id"]].reset_index()
    again = run(tmp_path / "c", frames)
    pd.testing.assert_frame_equal(first, again)
    np.testing.assert_allclose(first["log_bayes"], second["log_bayes"])


def test_the_population_is_gathered_shard_by_shard(tmp_path):
    """Whole, it is that of all tables together; thinned, it has so many of both kinds, whatever the order of shards."""
    targets, segments, photometry, _ = tables(np.random.default_rng(10))
    shards = [tuple(f[f["target_id"].isin(ids)] for f in (targets, segments, photometry))
              for ids in (targets["target_id"][:2], targets["target_id"][2:])]  # fmt: skip
    kept = {}
    for name, parts in {"one": [(targets, segments, photometry)], "two": shards, "turned": shards[::-1]}.items():
        for most in (20000, 12):
            fit(parts, tmp_path / name, {**CFG, "population": most})
            kept[name, most] = read_table(tmp_path / name / "population.parquet")
    pd.testing.assert_frame_equal(kept["one", 20000], kept["two", 20000])
    for frame in (kept["one", 12], kept["two", 12], kept["turned", 12]):
        assert frame["kind"].value_counts().to_dict() == {"arc": 12, "member": 12}
        # five arcs a target: those of three targets, the last of them not whole
        assert frame[frame["kind"] == "arc"]["target_id"].nunique() == 3
    assert set(kept["one", 12]["target_id"]) == set(kept["turned", 12]["target_id"])


def test_a_band_that_is_missing_is_bridged(tmp_path):
    frames = tables(np.random.default_rng(9))
    gone = frames[2]["target_id"] == "t0-00000000"
    for column in [c for c in frames[2] if c.endswith("_r") or "_r_" in c or "_g_r" in c]:
        frames[2].loc[gone, column] = np.nan
    found = run(tmp_path, frames).set_index("target_id")
    assert np.isfinite(found.loc["t0-00000000", "color_evidence"])
