"""The observer who is told the truth: what he is told, and what he makes of it."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from places import ROOT
from tandemlens.base.units import njy_per_unit
from tandemlens.features.mean_lens import expected_radius

sys.path.insert(0, str(ROOT / "benchmarks"))
import ideal_observer
from ideal_observer import DEPTHS, MEMBERS, observed, truth_told

SYSTEMS = pd.DataFrame(
    {"target_id": ["b", "a"], "z": [0.3, 0.4], "richness": [80.0, 30.0], "z_source": [0.9, 1.2], "theta_e": [20.0, 5.0]}
).assign(richness_behind=[15.0, 40.0])


def members(**places):
    """Members of magnitude 24.5 north of the lens, one system a keyword."""
    rows = [(system, 0.0, place, njy_per_unit(24.5)) for system, some in places.items() for place in some]
    return pd.DataFrame(rows, columns=["target_id", "east", "north", "flux_i"])


def test_places_are_in_units_of_the_mean_einstein_radius_and_to_a_depth():
    told = truth_told(SYSTEMS, members(a=[9.0, -3.0], b=[1.0]))
    assert len(told.columns) == 4 + MEMBERS * len(DEPTHS)
    assert told["richness_behind"].tolist() == [15.0, 40.0]
    # the innermost first; magnitude 24.5 is beyond the two shallower depths
    mean = [expected_radius(80.0, 0.3, 0.9), expected_radius(30.0, 0.4, 1.2)]
    np.testing.assert_allclose(told["place0_25.0"], np.log(np.array([1.0, 3.0]) / mean + 0.01))
    np.testing.assert_allclose(told["place1_25.0"], [np.nan, np.log(9.0 / mean[1] + 0.01)])
    assert told[[f"place0_{depth}" for depth in DEPTHS[:2]]].isna().all(axis=None)


def test_with_the_true_radius_only_ratios_to_it_count():
    near = truth_told(SYSTEMS, members(a=[2.0], b=[3.0]), radius=True)
    twice = SYSTEMS.assign(theta_e=2 * SYSTEMS["theta_e"])
    far = truth_told(twice, members(a=[4.0], b=[6.0]), radius=True)
    pd.testing.assert_frame_equal(near.drop(columns="theta_e"), far.drop(columns="theta_e"))
    assert near["theta_e"].tolist() == [20.0, 5.0]


@pytest.fixture
def scene():
    """Second clusters of one member each that are tandems where it lies within half of the mean radius."""
    rng, n = np.random.default_rng(3), 240
    frame = pd.DataFrame({"target_id": [f"t{k}" for k in range(n)], "z": 0.3, "richness": 60.0, "z_source": 1.0})
    place = rng.uniform(0, 1, n) * expected_radius(60.0, 0.3, 1.0)
    frame = frame.assign(richness_behind=20.0, theta_e=1.0, label=place < 0.5 * expected_radius(60.0, 0.3, 1.0))
    frame["class"] = np.where(frame["label"], "tandem", "projected")
    frame.loc[frame.index % 3 == 0, ["class", "label"]] = "members", False
    group = np.array([f"g{k // 4}" for k in range(n)])
    roles = np.full((n, 3), "train", dtype=object)
    for k in range(3):
        roles[np.arange(n) // 4 % 3 == k, k] = "test"
    bright = pd.DataFrame({"target_id": frame["target_id"], "east": place, "north": 0.0, "flux_i": 1e5})
    return frame, bright, group, roles


def told_of(frame, bright):
    return truth_told(frame[frame["class"].isin(ideal_observer.TOLD)], bright)


def test_what_is_told_separates_and_other_classes_are_granted(scene):
    frame, bright, group, roles = scene
    score = observed(frame, told_of(frame, bright), group, roles, 1)
    told = frame["class"].isin(ideal_observer.TOLD).to_numpy()
    assert roc_auc_score(frame["label"][told].to_numpy(bool), score[told]) > 0.97
    assert score[~told].max() < score[told].min()


def test_a_rotation_does_not_see_the_labels_that_it_is_tested_on(scene):
    frame, bright, group, roles = scene
    told = told_of(frame, bright)
    turned = frame.copy()
    first = roles[:, 0] == "test"
    seconds = first & frame["class"].isin(ideal_observer.TOLD).to_numpy()
    turned.loc[seconds, "label"] = ~turned.loc[seconds, "label"].astype(bool)
    turned.loc[seconds, "class"] = np.where(turned.loc[seconds, "label"].astype(bool), "tandem", "projected")
    plain, other = (observed(f, told, group, roles, 1) for f in (frame, turned))
    np.testing.assert_array_equal(plain[seconds], other[seconds])
    rest = ~first & frame["class"].isin(ideal_observer.TOLD).to_numpy()
    assert np.abs(plain[rest] - other[rest]).max() > 0.1
