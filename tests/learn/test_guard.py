"""When one score beats another, and features as a matrix."""

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tandemlens.base.errors import InputError
from tandemlens.learn.guard import gain
from tandemlens.learn.matrix import Standard, feature_matrix, feature_names, placed, usable


def pair(rng, n=60, m=300, candidate=1.0, plain=1.0):
    """Two scores of the same objects with a common part, the positives moved by so many sigma."""
    shared = rng.normal(size=n + m)
    positive = np.arange(n + m) < n
    both = [shared + rng.normal(size=n + m) + shift * positive for shift in (candidate, plain)]
    return [(score[positive], score[~positive]) for score in both]


def test_areas_are_those_of_the_roc_curve():
    (p, u), plain = pair(np.random.default_rng(0), candidate=2.0)
    found = gain((p, u), plain)
    assert found.auc_candidate == pytest.approx(roc_auc_score(np.repeat([1, 0], [len(p), len(u)]), np.r_[p, u]))
    assert found.kept
    assert not gain(plain, (p, u)).kept


def test_the_error_is_the_scatter_of_the_difference():
    rng = np.random.default_rng(1)
    found = [gain(*pair(rng)) for _ in range(400)]
    differences = [f.auc_candidate - f.auc_plain for f in found]
    # the scatter of 400 draws is known to 3.5 per cent
    assert np.mean([f.error for f in found]) == pytest.approx(np.std(differences), rel=0.12)
    # equal scores: one standard error is exceeded in 16 per cent
    assert np.mean([f.kept for f in found]) == pytest.approx(0.16, abs=0.06)


def test_a_score_does_not_beat_itself_and_a_constant_is_one_half():
    scores, _ = pair(np.random.default_rng(2))
    assert gain(scores, scores).error == 0
    assert not gain(scores, scores).kept
    assert gain(scores, [np.zeros(len(part)) for part in scores]).auc_plain == 0.5


def test_standardised_features_are_those_of_the_pipeline():
    rng = np.random.default_rng(3)
    values = pd.DataFrame(rng.gamma(2.0, size=(80, 5))).mask(rng.random((80, 5)) < 0.2)
    values[3], values[4] = np.nan, 7.0
    pipeline = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    standard = Standard.of(values)
    np.testing.assert_allclose(standard(values), pipeline.fit_transform(values), atol=1e-12)
    np.testing.assert_array_equal(Standard.from_lists(standard.lists())(values), standard(values))


def test_a_matrix_has_no_infinities_and_tells_what_it_lacks():
    names = feature_names(["g", "r"])
    assert "colour_gradient_g_r" in names
    assert not {"target_id", "status", "reason", "n_arcs"} & set(names)
    frame = pd.DataFrame(1, index=range(3), columns=names).assign(tau=[1.0, np.inf, np.nan])
    assert feature_matrix(frame, names)["tau"].isna().tolist() == [False, True, True]
    with pytest.raises(InputError, match="the feature table lacks x2, tau; the head was fitted with other bands"):
        feature_matrix(frame.drop(columns=["tau", "x2"]), names)


def test_rows_without_features_are_left_out_and_the_rest_has_its_place():
    features = pd.DataFrame({"target_id": ["a", "b", "c"], "status": ["ok", "no_segments", None]})
    assert usable(features)["target_id"].tolist() == ["a"]
    places = {"ra": 1.0, "dec": 2.0, "group_id": "g", "canvas": "a", "name": "x"}
    targets = pd.DataFrame({"target_id": ["b", "a", "z", "c"], **places})
    found = placed(features, targets)
    assert found["target_id"].tolist() == ["a", "b", "c"]
    assert set(found) == {"target_id", "status", "ra", "dec", "group_id", "canvas"}
