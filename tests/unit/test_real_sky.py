"""Alignment of features, target lists and groups of the benchmark of the step to real images."""

import sys

import numpy as np
import pandas as pd
import pytest

from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import real_sky


def test_quantile_mapping_undoes_a_monotonic_change_and_shifts_what_lies_beyond():
    rng = np.random.default_rng(1)
    goal, source = rng.normal(size=4000), np.exp(rng.normal(size=4000))
    values = np.array([0.3, 1.0, 2.0])
    assert real_sky.quantiles(values, source, goal) == pytest.approx(np.log(values), abs=0.06)
    far = real_sky.quantiles(np.array([source.max() + 5]), source, goal)
    assert far == pytest.approx(goal.max() + 5)
    steps = np.repeat([0.0, 1.0], 50)
    assert np.isfinite(real_sky.quantiles(np.array([0.0, 1.0, np.nan]), steps, goal)).tolist() == [True, True, False]


def test_location_and_scale_are_those_of_the_goal_and_a_constant_feature_is_only_shifted():
    rng = np.random.default_rng(2)
    goal = rng.normal(size=4000)
    moved = real_sky.location_and_scale(3 + 2 * goal, 3 + 2 * goal, goal)
    assert moved == pytest.approx(goal)
    assert real_sky.location_and_scale(np.array([5.0]), np.full(9, 4.0), goal) == pytest.approx(np.median(goal) + 1)


def test_alignment_looks_at_real_targets_of_other_rotations_and_at_no_painted_system():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"kind": np.repeat(["mock", "injected", "real"], 40), "x": rng.normal(size=120)})
    roles = np.tile(np.repeat(["train", "test"], 20), 3)
    bare = pd.DataFrame({"x": rng.normal(size=40)})
    frame.loc[frame["kind"] == "real", "x"] += 7
    out = real_sky.aligned(frame, roles, bare, ["x"], real_sky.location_and_scale)
    same = frame["kind"] == "mock"
    assert out.loc[same, "x"].tolist() == frame.loc[same, "x"].tolist()
    assert abs(out.loc[frame["kind"] == "real", "x"].median()) < 1
    unseen = (frame["kind"] == "injected") | ((frame["kind"] == "real") & (roles == "test"))
    other = frame.assign(x=frame["x"].where(~unseen, 99.0))
    again = real_sky.aligned(other, roles, bare, ["x"], real_sky.location_and_scale)
    seen = (frame["kind"] == "real") & (roles != "test")
    assert again.loc[seen, "x"].tolist() == out.loc[seen, "x"].tolist()


def test_runs_of_a_field_are_prepared_with_redshifts_of_the_colours(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    rows = {"name": ["A", "B", "C"], "ra": 352.3, "dec": [-31.7, -31.8, -31.9], "g_r": [0.8, 1.25, 1.49]}
    pd.DataFrame(rows).to_csv(tmp_path / "targets.csv", index=False)
    real_sky.prepare("kids", tmp_path, tmp_path / "work")
    for seed, n in ((1, 3), (2, 34)):
        found = pd.read_csv(tmp_path / f"work/kids_injected_{seed}.csv")
        # the red sequence: g - r of 1.25 at z = 0.2, 1.49 at 0.3
        assert len(found) == n
        assert seed == 2 or found["z"].tolist() == pytest.approx([0.15, 0.2, 0.3], abs=0.01)
        assert found["richness"].between(60, 200).all()
    fields = pd.read_csv(tmp_path / "work/kids_mock_train.csv")
    places = np.radians(fields[["ra", "dec"]].to_numpy())
    # farther apart than 30 arcmin, so that each is a group
    step = np.hypot(
        (places[:, None, 0] - places[None, :, 0]) * np.cos(places[:, None, 1]), places[:, None, 1] - places[:, 1]
    )
    assert np.degrees(step[~np.eye(len(fields), dtype=bool)]).min() > 0.5
    settings = real_sky.load_yaml(tmp_path / "work/kids_wide.yaml")
    assert settings["samples"]["search"]["survey"] == "kids_viking_wide"
    assert settings["samples"]["train"]["simulate"]["twins"]
    wide = real_sky.load_yaml(tmp_path / "work/kids_viking_wide.yaml")
    assert wide["bands"]["g"]["mock"]["depth_scatter"] == real_sky.WIDE["depth_scatter"]
