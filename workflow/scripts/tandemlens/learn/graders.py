"""How reliable graders are and what their votes say together, without knowing the truth (Dawid & Skene 1979).

A system is a tandem or none; a grader calls it X, C, B or A with chances that depend on that alone. Systems, graders
and the share of tandems are fitted together by expectation and maximisation. Priors make it bear few votes: the chances
of every grader start from those of `PRIOR`, in which a better grade speaks more for a tandem. Own code, because
crowd-kit asks for as many grades as truths, has no priors, and brings transformers along.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from tandemlens.base.errors import InputError

#: chances of X, C, B, A (columns) of what is no tandem and of a tandem (rows) for a grader of whom nothing is known;
#: set by hand: one tandem in ten is missed, and one in a hundred of the others is called certain
PRIOR = np.array([[0.80, 0.14, 0.05, 0.01], [0.10, 0.20, 0.30, 0.40]])
#: the fit ends where no probability moves by more
_STILL = 1e-9
_STEPS = 2000


@dataclass(frozen=True)
class Graders:
    """What was fitted.

    Parameters
    ----------
    chances : (n_graders, 2, 4) ndarray
        Of X, C, B and A for what is no tandem and for a tandem.
    prevalence : float
        Share of tandems among the systems whose answer is not known.
    probability : (n_systems,) ndarray
        Of being a tandem by the votes alone, also where the answer is known.
    log_posterior : list of float
        After every step; never falls.
    """

    chances: np.ndarray
    prevalence: float
    probability: np.ndarray
    log_posterior: list[float]

    @property
    def reliability(self) -> np.ndarray:
        """Chance that a tandem gets the better grade than what is none, ties counted half, (n_graders,)."""
        other, lens = self.chances[:, 0], self.chances[:, 1]
        below = np.cumsum(other, axis=1) - other
        return (lens * (below + other / 2)).sum(axis=1)


def fit_graders(
    grader: np.ndarray, system: np.ndarray, vote: np.ndarray, answer: np.ndarray, prevalence: float, weight: float
) -> Graders:
    """Fit graders, systems and the share of tandems.

    Parameters
    ----------
    grader, system : (n,) ndarray of int
        Who voted on what; 0 and up.
    vote : (n,) ndarray of int
        0 for X to 3 for A.
    answer : (n_systems,) ndarray of float
        1 for a known tandem, 0 for what is known to be none, NaN elsewhere.
    prevalence : float
        Share of tandems that is expected before any vote, in (0, 1).
    weight : float
        Votes that the prior of a grader weighs, for either truth, and systems that `prevalence` weighs; above 0.

    Returns
    -------
    Graders

    Raises
    ------
    InputError
        If a vote or a prior is out of range.
    """
    grader, system, vote = (np.asarray(values, int) for values in (grader, system, vote))
    if not 0 < prevalence < 1 or not weight > 0:
        raise InputError(
            f"the prior has prevalence {prevalence} and weight {weight}; give one in (0, 1) and one above 0"
        )
    if vote.size and not (vote.min() >= 0 and vote.max() < PRIOR.shape[1]):
        raise InputError(f"votes run from {vote.min()} to {vote.max()}; give 0 for X to {PRIOR.shape[1] - 1} for A")
    answer = np.asarray(answer, float)
    known, n = np.isfinite(answer), len(answer)
    shape = (int(grader.max(initial=-1)) + 1, *PRIOR.shape)
    chances, share = np.broadcast_to(PRIOR, shape).copy(), prevalence
    probability, course = np.full(n, prevalence), []
    for _ in range(_STEPS):
        # what every vote adds to the log likelihood of either truth
        said = np.log(chances)[grader, :, vote]
        no, yes = (np.bincount(system, said[:, truth], minlength=n) for truth in (0, 1))
        no, yes = no + np.log1p(-share), yes + np.log(share)
        moved, probability = probability, expit(yes - no)
        prior = weight * ((PRIOR * np.log(chances)).sum() + prevalence * np.log(share))
        prior += weight * (1 - prevalence) * np.log1p(-share)
        # where the answer is known its own likelihood counts, without the share: these were chosen, not drawn
        of_known = np.where(answer[known] == 1, yes[known] - np.log(share), no[known] - np.log1p(-share))
        course.append(float(np.logaddexp(no, yes)[~known].sum() + of_known.sum() + prior))
        if np.abs(probability - moved).max(initial=0) < _STILL:
            break
        belief = np.where(known, answer, probability)
        share = (weight * prevalence + belief[~known].sum()) / (weight + (~known).sum())
        counts = np.zeros(shape)
        np.add.at(counts[:, 0], (grader, vote), 1 - belief[system])
        np.add.at(counts[:, 1], (grader, vote), belief[system])
        counts += weight * PRIOR
        chances = counts / counts.sum(axis=2, keepdims=True)
    return Graders(chances, float(share), probability, course)
