"""Candidate lists of a stated false discovery rate: conformal p-values against known non-lenses."""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from tandemlens.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_ROUNDING = 1e-12


@dataclass(frozen=True)
class CandidateList:
    """Objects listed at a false discovery rate.

    Parameters
    ----------
    selected : (m,) bool ndarray
    adjusted : (m,) ndarray
        Smallest rate at which each object would be listed (Benjamini-Hochberg adjusted p-value).
    shortest : int
        Objects that a list must hold at the least, since no p-value lies below ``1 / (n_null + 1)``; more than m
        where no list can reach the rate.
    message : str
        Why the list is empty and what would help; empty if something is listed.
    """

    selected: np.ndarray
    adjusted: np.ndarray
    shortest: int
    message: str


def conformal_p_values(scores: "ArrayLike", null_scores: "ArrayLike") -> np.ndarray:
    """Chance that a non-lens scores as high: ``(1 + #{null >= s}) / (n_null + 1)``.

    Valid for every head and every law of the scores, ties included, if the non-lenses here and those in the survey
    are exchangeable, which no model may have been trained on. Lenses among the null only make the p-values larger.

    Parameters
    ----------
    scores : (m,) array_like
        Raw ranking scores, larger is more lens-like. Calibrated ones with ties lose candidates.
    null_scores : (n_null,) array_like
        Scores of the non-lenses of the calibration fold.

    Returns
    -------
    (m,) ndarray

    Raises
    ------
    InputError
        If a score is NaN or there is no non-lens.

    References
    ----------
    Bates, Candes, Lei, Romano and Sesia 2023, Annals of Statistics 51, 149 (arXiv:2104.08279).
    """
    scores, null_scores = np.asarray(scores, float), np.asarray(null_scores, float)
    for name, values in (("scores", scores), ("null_scores", null_scores)):
        if np.isnan(values).any():
            raise InputError(f"{np.isnan(values).sum()} of {values.size} {name} are NaN; leave those objects out")
    if null_scores.size == 0:
        raise InputError("null_scores is empty; give the scores of at least one non-lens of the calibration fold")
    below = np.searchsorted(np.sort(null_scores), scores, side="left")
    return (1 + null_scores.size - below) / (null_scores.size + 1)


def candidate_list(scores: "ArrayLike", null_scores: "ArrayLike", level: float) -> CandidateList:
    """List candidates so that at most a share `level` of them are non-lenses, on average over lists.

    Benjamini-Hochberg on the conformal p-values, which depend on each other positively, so that the rate holds
    (Bates et al. 2023, theorem 2 from memory): it is an average over calibration sets and lists, no bound on one list.

    Parameters
    ----------
    scores, null_scores : array_like
        As for `conformal_p_values`; the m scores are those of all objects searched, not of a preselection.
    level : float
        False discovery rate, in (0, 1).

    Returns
    -------
    CandidateList

    Raises
    ------
    InputError
        If the level or a score is refused.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}; give a false discovery rate between 0 and 1, both excluded")
    p_values = conformal_p_values(scores, null_scores)
    n_null, m = np.size(null_scores), len(p_values)
    adjusted = false_discovery_control(p_values) if m else p_values
    # Conformal p-values are fractions that often equal the bound; rounding must not decide.
    selected = adjusted <= level * (1 + _ROUNDING)
    # k objects at the smallest p-value pass if 1 / (n_null + 1) <= k level / m.
    shortest = max(_up(m / (level * (n_null + 1))), 1)
    message = "" if selected.any() else _why_empty(m, n_null, level, shortest)
    return CandidateList(selected, adjusted, shortest, message)


def _up(value: float) -> int:
    return ceil(value * (1 - _ROUNDING))


def _why_empty(m: int, n_null: int, level: float, shortest: int) -> str:
    if m == 0:
        return "no object was scored"
    if shortest > m:
        return (
            f"no list of {m} objects reaches a false discovery rate of {level} against {n_null} non-lenses: "
            f"the smallest p-value is 1/{n_null + 1}; give {_up(1 / level) - 1} non-lenses or more"
        )
    return (
        f"no candidate at a false discovery rate of {level}: against {n_null} non-lenses a list of {m} objects needs "
        f"{shortest} at or near the smallest p-value; {_up(m / level) - 1} non-lenses would allow a list of one"
    )
