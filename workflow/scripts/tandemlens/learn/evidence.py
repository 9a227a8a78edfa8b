"""The score of a head as evidence: one scale for probabilities, p-values, distances and missing scores.

Evidence is the log odds that a system is a lens, given the score, less those of any system. Scores are transformed as
their kind asks, and a line of two parameters (Platt 1999) turns them into log odds. A missing score is evidence too: it
takes the log odds of being a lens given that it is missing, shrunk towards none, so that a system without segments has
its rank like any other.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit, ndtri

#: what a score may be, and where it must lie
SCORE_KINDS = {
    "probability": (0, 1),
    "pvalue": (0, 1),
    **dict.fromkeys(("log_odds", "anomaly", "real"), (-np.inf, np.inf)),
}
#: slope of the evidence that a score is believed to have until enough systems tell another: log odds are what they say,
#: anything else is nothing; with its standard deviation, per unit of the transformed score
_SLOPE, _SLOPE_ERROR = {"probability": 1.0, "log_odds": 1.0}, 0.5
_P_EDGE = 1e-6
_MOST_KNOTS = 1001
#: systems of average behaviour added to each class when the share of missing scores is compared
_PSEUDO = 5.0


@dataclass(frozen=True)
class Ranks:
    """Rank of a value among a sample: strictly increasing, also beyond its ends, so that no ties arise there.

    Parameters
    ----------
    values, ranks : list of float
        Distinct values in order, at most 1001 of them, and their mid-ranks in (0, 1).
    spread : float
        Scale of the tails; ranks approach 0 and 1 as one over the distance.
    """

    values: list[float]
    ranks: list[float]
    spread: float

    @classmethod
    def of(cls, sample: np.ndarray) -> "Ranks":
        """Ranks among a sample, (n,) ndarray with one value or more."""
        values, counts = np.unique(sample, return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
        keep = np.unique(np.linspace(0, len(values) - 1, _MOST_KNOTS).astype(int))
        return cls(values[keep].tolist(), ranks[keep].tolist(), float(np.std(sample)) or 1.0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Ranks of x, NaN where x is."""
        below = np.maximum(self.values[0] - x, 0) / self.spread
        above = np.maximum(x - self.values[-1], 0) / self.spread
        found = np.interp(x, self.values, self.ranks)
        found = np.where(below > 0, self.ranks[0] / (1 + below), found)
        found = np.where(above > 0, 1 - (1 - self.ranks[-1]) / (1 + above), found)
        return np.clip(found, 1e-15, 1 - 1e-15)


@dataclass(frozen=True)
class Scale:
    """Transform of a score as its kind asks, with what it takes from training non-lenses.

    Parameters
    ----------
    kind : str
        ``probability``: logit, clipped at 1e-6. ``pvalue``: -log10 p, capped at 6; a small p speaks for a lens.
        ``log_odds``: as it is. ``anomaly``: probit of the rank among non-lenses. ``real``: standardised on non-lenses.
    mean, spread : float
        Of the scores of training non-lenses.
    null : Ranks
        Their ranks.
    """

    kind: str
    mean: float
    spread: float
    null: Ranks

    @classmethod
    def of(cls, null: np.ndarray, kind: str) -> "Scale":
        """From the scores of non-lenses, (n,) ndarray with one value or more."""
        return cls(kind, float(null.mean()), float(null.std()) or 1.0, Ranks.of(null))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Transformed scores, NaN where missing."""
        if self.kind == "probability":
            return logit(np.clip(values, _P_EDGE, 1 - _P_EDGE))
        if self.kind == "pvalue":
            return -np.log10(np.maximum(values, _P_EDGE))
        if self.kind == "log_odds":
            return np.asarray(values, float)
        if self.kind == "anomaly":
            return ndtri(self.null(values))
        return (values - self.mean) / self.spread

    def raw(self, values: np.ndarray) -> np.ndarray:
        """Scores as they are, but 1 - p for p-values as the founding sketch has S_color; the mean where missing."""
        values = np.where(np.isfinite(values), values, self.mean)
        return 1 - values if self.kind == "pvalue" else values


@dataclass(frozen=True)
class Head:
    """How the score of a head is read.

    Parameters
    ----------
    scale : Scale
    slope, offset : float
        Evidence is ``slope * transformed + offset``; only the slope of an anomaly head may be negative.
    missing : float
        Evidence of a missing score.
    ranks : Ranks or None
        Of the evidence among training systems.
    """

    scale: Scale
    slope: float
    offset: float
    missing: float
    ranks: Ranks | None = None

    @classmethod
    def fit(cls, values: np.ndarray, labels: np.ndarray, kind: str) -> "Head":
        """From the scores of training systems, (n,) ndarray with NaN where missing, and (n,) labels, bool."""
        seen = np.isfinite(values)
        positive, negative = values[seen & labels], values[seen & ~labels]
        scale = Scale.of(negative if len(negative) else np.zeros(1), kind)
        slope = offset = 0.0
        if len(positive) and len(negative):
            slope, offset = _platt(scale(values[seen]), labels[seen], kind)
            offset -= np.log(labels.sum() / (~labels).sum())
        head = cls(scale, slope, offset, _missing_evidence(seen, labels))
        return replace(head, ranks=Ranks.of(head.evidence(values)))

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Head":
        """Inverse of `dataclasses.asdict`."""
        scale = {**saved["scale"], "null": Ranks(**saved["scale"]["null"])}
        return cls(**{**saved, "scale": Scale(**scale), "ranks": Ranks(**saved["ranks"])})

    def evidence(self, values: np.ndarray) -> np.ndarray:
        """Log odds of a lens given the score, less those of any training system."""
        return np.where(np.isfinite(values), self.slope * self.scale(values) + self.offset, self.missing)

    def view(self, values: np.ndarray, what: str) -> np.ndarray:
        """Evidence, its rank, its probability at equal numbers of lenses and non-lenses, or the raw score."""
        if what == "raw":
            return self.scale.raw(values)
        evidence = self.evidence(values)
        return {"evidence": lambda e: e, "rank": self.ranks, "probability": expit}[what](evidence)


def logistic(
    x: np.ndarray, target: np.ndarray, lam: float, free: np.ndarray, expected: float = 0.0
) -> tuple[float, np.ndarray]:
    """Intercept and weights of an L2-logistic regression with bounds, which scikit-learn's does not know.

    Minimises ``sum_i [ln(1 + exp z_i) - y_i z_i] + lam/2 |w - expected|^2`` with ``z = intercept + x.w``.

    Parameters
    ----------
    x : (n, h) ndarray
    target : (n,) ndarray
        y, in [0, 1].
    lam : float
    free : (h,) ndarray of bool
        Weights that may be negative.
    expected : float
        What the weights are shrunk to.

    Returns
    -------
    intercept : float
    weights : (h,) ndarray
    """
    n = len(x)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = theta[0] + x @ theta[1:]
        error, away = expit(z) - target, np.r_[0, theta[1:] - expected]
        value = np.logaddexp(0, z).sum() - target @ z + lam * away @ away / 2
        return value / n, (np.r_[error.sum(), error @ x] + lam * away) / n

    bounds = [(None, None), *((None if f else 0, None) for f in free)]
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    theta = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return theta[0], theta[1:]


def _missing_evidence(seen: np.ndarray, labels: np.ndarray) -> float:
    """Ln of the share of lenses without a score over that of non-lenses, both shrunk to the share of all systems."""
    share = (~seen).mean()
    if share == 0:
        return 0.0
    lens, other = (((~seen[of]).sum() + _PSEUDO * share) / (of.sum() + _PSEUDO) for of in (labels, ~labels))
    return float(np.log(lens / other))


def _platt(x: np.ndarray, labels: np.ndarray, kind: str) -> tuple[float, float]:
    """Slope and offset of the log odds, with the softened targets of Platt (1999)."""
    positive, negative = labels.sum(), (~labels).sum()
    target = np.where(labels, (positive + 1) / (positive + 2), 1 / (negative + 2))
    center, spread = x.mean(), x.std() or 1.0
    # in units of the spread a slope of 1 is the spread itself
    lam, expected = 1 / (_SLOPE_ERROR * spread) ** 2, _SLOPE.get(kind, 0.0) * spread
    offset, (slope,) = logistic((x[:, None] - center) / spread, target, lam, np.array([kind == "anomaly"]), expected)
    return float(slope / spread), float(offset - slope * center / spread)
