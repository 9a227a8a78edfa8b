"""Graders whose reliability is known, and the cases that can be worked out by hand."""

import numpy as np
import pytest
from scipy.special import expit, logit

from tandemlens.base.errors import InputError
from tandemlens.learn.graders import PRIOR, Graders, fit_graders

UNKNOWN = np.nan
X, C, B, A = range(4)


def table(votes):
    """Grader, system and vote of every entry of a table (systems, graders)."""
    system, grader = np.indices(np.shape(votes))
    return grader.ravel(), system.ravel(), np.ravel(votes)


def drawn(chances, n, share, rng):
    """Truth of n systems and the votes (n, graders) of graders with these chances."""
    truth = rng.random(n) < share
    cumulative = np.cumsum(chances, axis=2)[:, truth.astype(int)]
    return truth, (rng.random((len(chances), n))[..., None] > cumulative).sum(axis=2).T


def dulled(*amounts):
    """Chances of graders who guess with these chances, and else vote as `PRIOR`."""
    return np.array([(1 - a) * PRIOR + a * PRIOR.mean(axis=0) for a in amounts])


def test_under_a_heavy_prior_it_is_the_rule_of_bayes():
    votes = [[A, A], [A, X], [B, C], [X, X]]
    found = fit_graders(*table(votes), np.full(4, UNKNOWN), 0.2, 1e12)
    odds = logit(0.2) + np.log(PRIOR[1] / PRIOR[0])[np.array(votes)].sum(axis=1)
    np.testing.assert_allclose(found.probability, expit(odds), rtol=1e-6)


def test_known_answers_count_as_votes_of_the_prior():
    """Of 30 tandems the grader calls 20 A and 10 X, of 60 others none A and 60 X."""
    votes = [[A]] * 20 + [[X]] * 70
    answer = np.repeat([1.0, 1.0, 0.0], [20, 10, 60])
    found = fit_graders(*table(votes), answer, 0.1, 10)
    np.testing.assert_allclose(found.chances[0, 1], (10 * PRIOR[1] + [10, 0, 0, 20]) / 40)
    np.testing.assert_allclose(found.chances[0, 0], (10 * PRIOR[0] + [60, 0, 0, 0]) / 70)
    # cases were chosen: they tell nothing of the share, and the answer stays out of what the votes say
    assert found.prevalence == pytest.approx(0.1)
    ratio = found.chances[0, 1, A] / found.chances[0, 0, A]
    assert found.probability[0] == pytest.approx(expit(logit(0.1) + np.log(ratio)))


def test_reliability_is_the_area_under_the_curve():
    def of(no, yes):
        return Graders(np.array([[no, yes]]), 0.1, np.array([]), []).reliability[0]

    assert of([1, 0, 0, 0], [0, 0, 0, 1]) == 1
    assert of([0, 1, 0, 0], [0, 1, 0, 0]) == 0.5
    assert of([0, 0, 0, 1], [0, 1, 0, 0]) == 0
    assert of([0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0]) == pytest.approx(0.5 + 0.5 * (0.5 + 0.5 * 0.5))


def test_simulated_graders_are_recovered():
    rng = np.random.default_rng(0)
    chances = dulled(0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
    truth, votes = drawn(chances, 3000, 0.2, rng)
    found = fit_graders(*table(votes), np.full(3000, UNKNOWN), 0.1, 10)
    wanted = Graders(chances, 0.2, truth, []).reliability
    # six votes tell a system well, not surely: the error of a share of 600 tandems is 0.02, and that of the truth adds
    np.testing.assert_allclose(found.reliability, wanted, atol=0.05)
    np.testing.assert_allclose(found.chances, chances, atol=0.1)
    assert found.prevalence == pytest.approx(0.2, abs=0.04)
    # probabilities are what they say
    for low, high in ((0, 0.1), (0.1, 0.9), (0.9, 1)):
        rows = (found.probability >= low) & (found.probability <= high)
        assert truth[rows].mean() == pytest.approx(found.probability[rows].mean(), abs=0.06)


def test_a_reliable_grader_weighs_more_than_three_who_guess():
    rng = np.random.default_rng(1)
    _, votes = drawn(dulled(0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 2000, 0.2, rng)
    split = np.array([[A, A, A, X, X, X], [X, X, X, A, A, A]])
    found = fit_graders(*table(np.concatenate([split, votes])), np.full(2002, UNKNOWN), 0.1, 10)
    assert found.probability[0] > 0.95
    assert found.probability[1] < 0.05


@pytest.mark.parametrize(("vote", "low", "high"), [(A, 0.999999, 1), (B, 0.999, 1), (C, 0.01, 0.3), (X, 0, 1e-5)])
def test_unanimous_graders_are_believed(vote, low, high):
    found = fit_graders(*table([[vote] * 6]), [UNKNOWN], 0.1, 10)
    assert low <= found.probability[0] <= high


def test_one_grader_alone():
    """Better grades are worth more, and what is made of one vote is what is assumed of graders."""
    votes = [[vote] for vote in (X,) * 14 + (C,) * 4 + (B, A)]
    found = fit_graders(*table(votes), np.full(20, UNKNOWN), 0.1, 10)
    probability = found.probability[[0, 14, 18, 19]]
    assert (np.diff(probability) > 0).all()
    assert probability[0] < 0.05
    assert 0.5 < probability[-1] < 0.95
    single = fit_graders([0], [0], [A], [UNKNOWN], 0.1, 1e12).probability[0]
    assert single == pytest.approx(0.4 / (0.4 + 9 * 0.01))


def test_a_grader_to_whom_all_is_a_lens_tells_nothing():
    found = fit_graders(*table([[A]] * 500), np.full(500, UNKNOWN), 0.1, 10)
    assert (found.probability < 0.1).all()
    assert found.reliability[0] < 0.75


def test_all_x_leaves_nothing():
    found = fit_graders(*table([[X, X]] * 200), np.full(200, UNKNOWN), 0.1, 10)
    assert (found.probability < 1e-3).all()
    assert found.prevalence == pytest.approx(0.1 * 10 / 210, rel=0.1)


def test_the_order_of_votes_graders_and_systems_does_not_matter():
    rng = np.random.default_rng(2)
    _, votes = drawn(dulled(0.1, 0.4, 0.8), 60, 0.3, rng)
    grader, system, vote = table(votes)
    first = fit_graders(grader, system, vote, np.full(60, UNKNOWN), 0.1, 10)
    other, names = rng.permutation(180), rng.permutation(60)
    again = fit_graders(2 - grader[other], names[system[other]], vote[other], np.full(60, UNKNOWN), 0.1, 10)
    np.testing.assert_allclose(again.probability[names], first.probability, atol=1e-7)
    np.testing.assert_allclose(again.reliability[::-1], first.reliability, atol=1e-7)


def test_no_step_makes_it_worse():
    rng = np.random.default_rng(3)
    _, votes = drawn(dulled(0.1, 0.4, 0.8), 60, 0.3, rng)
    answer = np.full(60, UNKNOWN)
    answer[:5], answer[5:10] = 1, 0
    course = fit_graders(*table(votes), answer, 0.1, 10).log_posterior
    assert len(course) > 10
    assert np.diff(course).min() > -1e-9


def test_a_system_without_votes_keeps_the_prior():
    found = fit_graders([], [], [], [UNKNOWN] * 2, 0.1, 10)
    np.testing.assert_allclose(found.probability, 0.1)


@pytest.mark.parametrize(
    ("vote", "prevalence", "weight", "said"),
    [
        (4, 0.1, 10, "votes run from 4 to 4; give 0 for X to 3 for A"),
        (-1, 0.1, 10, "votes run from -1 to -1; give"),
        (0, 0.0, 10, "prevalence 0.0 and weight 10; give one in"),
        (0, 0.1, 0, "prevalence 0.1 and weight 0; give one in"),
    ],
)
def test_what_is_out_of_range_is_refused(vote, prevalence, weight, said):
    with pytest.raises(InputError, match=said):
        fit_graders([0], [0], [vote], [UNKNOWN], prevalence, weight)
