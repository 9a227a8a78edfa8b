"""Probabilities at another prevalence, and the number of lenses they promise."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit
from scipy.stats import poisson

from tandemlens.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def shift_prior(p: "ArrayLike", pi_from: float, pi_to: float) -> np.ndarray:
    """Carry probabilities from the prevalence of the calibration set to that of a survey.

    ``logit p' = logit p + logit pi_to - logit pi_from``: Bayes' rule where the scores of each class keep their law
    and only the share of the classes changes (Saerens, Latinne and Decaestecker 2002, eq. 2.4, from memory).

    Parameters
    ----------
    p : array_like
        Probabilities at `pi_from`, in [0, 1]; 0 and 1 are certain at every prevalence and stay.
    pi_from, pi_to : float
        Prevalences, in (0, 1).

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        If a probability or a prevalence is out of its range.
    """
    for name, value in (("pi_from", pi_from), ("pi_to", pi_to)):
        if not 0 < value < 1:
            raise InputError(f"{name} is {value}; give a prevalence between 0 and 1, both excluded")
    return expit(logit(_checked(p)) + logit(pi_to) - logit(pi_from))


def expected_counts(p: "ArrayLike", level: float = 0.95) -> tuple[float, float, float]:
    """Number of lenses that probabilities promise, with the interval of a sum of independent yes-or-no draws.

    The sum has mean ``sum p`` and variance ``sum p (1 - p)``. Its law is taken as ``m + Poisson(sum p - m)`` with
    ``m = floor(sum p^2)``, which keeps the mean and, within 1, the variance (translated Poisson of Roellin 2007, from
    memory): a Poisson law for rare lenses and no scatter for certain ones, at a cost that is linear in the number of
    objects.

    Parameters
    ----------
    p : (n,) array_like
        Probabilities at the prevalence that is asked about, see `shift_prior`. The interval holds the scatter of the
        draws alone; for the error of the calibration call it with the lower and the upper probabilities in turn.
    level : float
        Probability content of the interval, in (0, 1).

    Returns
    -------
    mean, low, high : float

    Raises
    ------
    InputError
        If a probability or the level is out of its range.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}; give the content of the interval, between 0 and 1, both excluded")
    p = _checked(p)
    mean, certain = p.sum(), np.floor((p**2).sum())
    low, high = certain + poisson.ppf([(1 - level) / 2, (1 + level) / 2], mean - certain)
    return float(mean), float(low), float(high)


def _checked(p: "ArrayLike") -> np.ndarray:
    p = np.asarray(p, float)
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        raise InputError(f"{wrong.sum()} of {p.size} probabilities lie outside [0, 1], the first {p[wrong][0]}")
    return p
