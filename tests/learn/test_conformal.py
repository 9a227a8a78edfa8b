"""Methods, section 5: conformal p-values and lists of a stated false discovery rate."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from tandemlens.base.errors import InputError
from tandemlens.learn.conformal import candidate_list, conformal_p_values


def test_p_values_by_hand_count_ties_against():
    null = [0.1, 0.5, 0.5, 0.9]
    np.testing.assert_allclose(conformal_p_values([0.0, 0.5, 0.7, 0.9, 1.0], null), [1.0, 0.8, 0.4, 0.4, 0.2])


def test_p_values_of_non_lenses_take_every_step_equally_often():
    """Rank of one among n + 1 exchangeable draws: uniform on 1/(n+1) ... 1, here n = 9."""
    rng = np.random.default_rng(1)
    found = np.array([conformal_p_values(rng.normal(size=1), rng.normal(size=9))[0] for _ in range(20_000)])
    share = np.bincount(np.rint(found * 10).astype(int), minlength=11)[1:] / len(found)
    np.testing.assert_allclose(share, 0.1, atol=4 * np.sqrt(0.09 / len(found)))


def test_ties_only_make_p_values_larger():
    rng = np.random.default_rng(2)
    found = np.array([conformal_p_values(rng.integers(0, 4, 1), rng.integers(0, 4, 9))[0] for _ in range(20_000)])
    for bound in (0.1, 0.2, 0.5, 0.9):
        assert (found <= bound + 1e-9).mean() < bound + 4 * np.sqrt(bound * (1 - bound) / len(found))


def test_a_monotone_map_of_the_scores_changes_nothing():
    rng = np.random.default_rng(3)
    scores, null = rng.normal(1, 1, 300), rng.normal(size=500)
    np.testing.assert_array_equal(conformal_p_values(scores, null), conformal_p_values(np.exp(scores), np.exp(null)))


def lists(rng, n_null, m, n_lens, level, shape, n_lists=600):
    """False discovery proportion and share of the lenses found, per list; `shape` maps the scores."""
    lens = np.arange(m) < n_lens
    proportion, found = [], []
    for _ in range(n_lists):
        chosen = candidate_list(shape(rng.normal(size=m) + 3 * lens), shape(rng.normal(size=n_null)), level).selected
        proportion.append((chosen & ~lens).sum() / max(chosen.sum(), 1))
        found.append(chosen[lens].mean())
    return np.array(proportion), np.array(found)


@pytest.mark.parametrize(
    ("n_null", "m", "n_lens", "level"),
    [(2000, 400, 40, 0.1), (2000, 400, 40, 0.3), (500, 400, 8, 0.2), (20, 20, 10, 0.2)],
)
def test_realised_false_discovery_rate_is_the_stated_one_times_the_null_share(n_null, m, n_lens, level):
    """Benjamini-Hochberg with continuous scores: at most level (m - n_lens) / m, within the error of 600 lists."""
    proportion, found = lists(np.random.default_rng(4), n_null, m, n_lens, level, np.asarray)
    error = proportion.std() / np.sqrt(len(proportion))
    assert proportion.mean() < level * (1 - n_lens / m) + 3 * error
    assert found.mean() > 0.1


def test_realised_false_discovery_rate_stays_below_with_ties():
    proportion, found = lists(np.random.default_rng(5), 1000, 300, 30, 0.2, np.round)
    assert proportion.mean() < 0.2
    assert found.mean() > 0.1


def test_lenses_among_the_null_only_shorten_the_list():
    rng = np.random.default_rng(6)
    scores = rng.normal(size=400) + 3 * (np.arange(400) < 40)
    null = rng.normal(size=2000)
    clean = candidate_list(scores, null, 0.1).selected
    spoiled = candidate_list(scores, np.append(null, rng.normal(3, 1, 20)), 0.1).selected
    assert 0 < spoiled.sum() < clean.sum()
    assert not (spoiled & ~clean).any()


def test_list_is_that_of_the_textbook_procedure():
    """Sorted p_(k) <= k level / m for the largest k, written out."""
    rng = np.random.default_rng(7)
    scores, null = rng.normal(size=200) + 3 * (np.arange(200) < 30), rng.normal(size=999)
    p_values = conformal_p_values(scores, null)
    ordered = np.sort(p_values)
    last = np.flatnonzero(ordered <= 0.1 * np.arange(1, 201) / 200)[-1]
    found = candidate_list(scores, null, 0.1)
    np.testing.assert_array_equal(found.selected, p_values <= ordered[last])
    np.testing.assert_allclose(found.adjusted, false_discovery_control(p_values))
    assert found.message == ""


def test_shortest_list_is_sharp():
    """Against 99 non-lenses p >= 0.01, so 100 objects at a rate of 0.1 need 10 at the top: 9 list nothing."""
    null = np.linspace(0, 1, 99)
    for n_top, listed in ((9, 0), (10, 10), (11, 11)):
        found = candidate_list(np.r_[np.full(n_top, 2.0), np.full(100 - n_top, -1.0)], null, 0.1)
        assert found.shortest == 10
        assert found.selected.sum() == listed
    assert candidate_list(np.r_[2.0, np.full(99, -1.0)], np.linspace(0, 1, 999), 0.1).selected.sum() == 1


def test_the_message_says_what_would_help():
    nine = candidate_list(np.r_[np.full(9, 2.0), np.full(91, -1.0)], np.linspace(0, 1, 99), 0.1)
    assert "needs 10 at or near the smallest p-value; 999 non-lenses would allow a list of one" in nine.message
    few = candidate_list(np.full(5, 2.0), np.linspace(0, 1, 8), 0.1)
    assert few.shortest > 5
    assert "smallest p-value is 1/9; give 9 non-lenses or more" in few.message
    assert candidate_list(np.full(5, 2.0), np.linspace(0, 1, 9), 0.1).selected.all()
    assert candidate_list([], [0.5], 0.1).message == "no object was scored"


def test_tied_scores_list_fewer_lenses():
    """Why the raw score is used: on a coarse scale the top ties with non-lenses."""
    rng = np.random.default_rng(8)
    raw, raw_null = rng.normal(size=400) + 3 * (np.arange(400) < 40), rng.normal(size=4000)
    binned, binned_null = np.round(raw), np.round(raw_null)
    assert candidate_list(binned, binned_null, 0.05).selected.sum() < candidate_list(raw, raw_null, 0.05).selected.sum()


@pytest.mark.parametrize(
    ("scores", "null", "level", "match"),
    [
        ([np.nan], [0.1], 0.1, "1 of 1 scores are NaN"),
        ([0.1], [np.nan, 0.2], 0.1, "1 of 2 null_scores are NaN"),
        ([0.1], [], 0.1, "null_scores is empty"),
        ([0.1], [0.1], 0.0, "level is 0.0"),
        ([0.1], [0.1], 1.0, "level is 1.0"),
    ],
)
def test_refusals(scores, null, level, match):
    with pytest.raises(InputError, match=match):
        candidate_list(scores, null, level)
