"""Penalised logistic regression on the feature table, its strength chosen by folds of groups."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegressionCV

from tandemlens.learn.grouped import inner_folds
from tandemlens.learn.matrix import Standard

if TYPE_CHECKING:
    import pandas as pd

#: inverse strengths of the ridge that cross-validation chooses from
_RIDGES = 10.0 ** np.arange(-4, 3)
#: standardised features end here: a line knows no bounds, and one feature of an artefact would outdo all others
_BOUND = 4.0


@dataclass(frozen=True, eq=False)
class Line:
    """Log odds that are linear in standardised features.

    Parameters
    ----------
    weights : (k,) ndarray
    intercept : float
    standard : tandemlens.learn.matrix.Standard
    """

    weights: np.ndarray
    intercept: float
    standard: Standard

    @classmethod
    def fit(cls, values: "pd.DataFrame", labels: np.ndarray, groups: np.ndarray, seed: int) -> "Line":
        """Fit weights, and the ridge by the log loss of groups held out.

        Parameters
        ----------
        values : (n, k) pandas.DataFrame
            NaN where missing.
        labels : (n,) ndarray of {0, 1}
        groups : (n,) ndarray
        seed : int

        Returns
        -------
        Line
        """
        standard = Standard.of(values)
        ridge = LogisticRegressionCV(
            Cs=_RIDGES,
            cv=inner_folds(labels, groups, seed),
            scoring="neg_log_loss",
            max_iter=2000,
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        ).fit(_bounded(standard, values), labels)
        return cls(ridge.coef_[0], float(ridge.intercept_[0]), standard)

    def score(self, values: "pd.DataFrame") -> np.ndarray:
        """Log odds, (n,) ndarray."""
        return _bounded(self.standard, values) @ self.weights + self.intercept

    def contributions(self, values: "pd.DataFrame") -> np.ndarray:
        """What every feature adds to the log odds, and the intercept last, (n, k + 1) ndarray."""
        parts = _bounded(self.standard, values) * self.weights
        return np.column_stack([parts, np.full(len(parts), self.intercept)])

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as what JSON can hold."""
        return {"weights": self.weights.tolist(), "intercept": self.intercept, "standard": self.standard.lists()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Line":
        """Inverse of `to_dict`."""
        return cls(np.array(saved["weights"]), saved["intercept"], Standard.from_lists(saved["standard"]))


def _bounded(standard: Standard, values: "pd.DataFrame") -> np.ndarray:
    return np.clip(standard(values), -_BOUND, _BOUND)
