"""Methods, section 5: the change of prevalence, and the counts that probabilities promise."""

import numpy as np
import pytest
from scipy.special import expit, logit

from tandemlens.base.errors import InputError
from tandemlens.learn.prior import expected_counts, shift_prior


def test_prior_shift_round_trips_and_is_bayes():
    rng = np.random.default_rng(12)
    p = rng.random(1000)
    np.testing.assert_allclose(shift_prior(shift_prior(p, 0.3, 1e-5), 1e-5, 0.3), p, rtol=1e-9)
    # N(0, 1) against N(3, 1): the likelihood ratio is exp(3 z - 4.5) at every prevalence
    odds = 3 * rng.normal(1, 2, 1000) - 4.5
    shifted = shift_prior(expit(odds + logit(0.3)), 0.3, 1e-4)
    np.testing.assert_allclose(shifted, expit(odds + logit(1e-4)), rtol=1e-9)
    np.testing.assert_array_equal(shift_prior([0.0, 1.0], 0.5, 1e-6), [0.0, 1.0])


@pytest.mark.parametrize("alpha", [(0.5, 0.5), (0.02, 2.0), (3.0, 0.1)])
def test_interval_of_counts_is_that_of_the_exact_law(alpha):
    """Against the Poisson-binomial law: content above nominal, ends within 1 of the exact quantiles."""
    p = np.random.default_rng(13).beta(*alpha, 400)
    mean, low, high = expected_counts(p, 0.9)
    law = np.ones(1)
    for one in p:
        law = np.convolve(law, [1 - one, one])
    below = np.cumsum(law)
    assert mean == pytest.approx(p.sum())
    assert abs(low - np.searchsorted(below, 0.05)) <= 1
    assert abs(high - np.searchsorted(below, 0.95)) <= 1
    assert law[int(low) : int(high) + 1].sum() > 0.9


def test_certain_objects_do_not_scatter():
    assert expected_counts([1.0, 1.0, 0.0]) == (2, 2, 2)
    assert expected_counts([]) == (0, 0, 0)


def test_refused_probabilities_and_prevalences():
    with pytest.raises(InputError, match=r"1 of 2 probabilities lie outside \[0, 1\], the first 1.2"):
        expected_counts([0.1, 1.2])
    with pytest.raises(InputError, match="pi_to is 0; give a prevalence"):
        shift_prior([0.1], 0.2, 0)
    with pytest.raises(InputError, match="level is 95"):
        expected_counts([0.1], 95)
