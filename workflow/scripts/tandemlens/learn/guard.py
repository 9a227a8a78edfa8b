"""Whether a score beats a simpler one, where only labelled positives and unlabelled objects are at hand."""

from dataclasses import dataclass

import numpy as np

from tandemlens.learn.pu import placements


@dataclass(frozen=True)
class Gain:
    """Two scores of the same objects compared.

    Parameters
    ----------
    auc_candidate, auc_plain : float
        Area under the ROC curve of positives against the others. Where these are unlabelled it is linear in the true
        area (`tandemlens.learn.pu.true_auc`), so it ranks scores alike, whatever the prior.
    error : float
        Standard error of their difference (DeLong et al. 1988).
    """

    auc_candidate: float
    auc_plain: float
    error: float

    @property
    def kept(self) -> bool:
        """Whether the candidate is better by more than the error: better by chance is not better."""
        return self.auc_candidate - self.auc_plain > self.error


def gain(candidate: tuple[np.ndarray, np.ndarray], plain: tuple[np.ndarray, np.ndarray]) -> Gain:
    """Compare two scores on held-out objects.

    Parameters
    ----------
    candidate, plain : pair of (n,), (m,) ndarray
        Scores of the positives and of the others, the same objects in both.

    Returns
    -------
    Gain
    """
    of_p, of_u = placements(*candidate)
    plain_p, plain_u = placements(*plain)
    error = np.sqrt((of_p - plain_p).var() / len(of_p) + (of_u - plain_u).var() / len(of_u))
    return Gain(float(of_p.mean()), float(plain_p.mean()), float(error))
