"""From head scores to probabilities: calibrators that are fitted once and kept as plain numbers.

Scores are real numbers on a logit-like scale, larger is more lens-like; give the logit of a head that yields
probabilities. Rank on the raw score, never on a calibrated one of isotonic or Venn-Abers kind: their steps tie objects
and with them TPR0 and TPR10 fall to nothing. Calibrated probabilities are for purity and expected counts, at the
prevalence of the calibration set; `tandemlens.learn.prior.shift_prior` carries them to another.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, log_expit, logit
from sklearn.isotonic import IsotonicRegression

from tandemlens.base.errors import InputError
from tandemlens.learn.prior import shift_prior

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SMOOTH = ("temperature", "platt", "beta")
STEPS = ("isotonic", "weighted_isotonic", "venn_abers")
#: objects of the rarer class below which a method is not used
LEAST = {"beta": 50, "isotonic": 1000, "weighted_isotonic": 1000}


@dataclass(frozen=True)
class Calibrator:
    """A fitted map from score to probability, by one of `SMOOTH` or `STEPS`.

    Parameters
    ----------
    method : str
        The one used, which is not the one asked for where `message` says so.
    parameters : dict of list of float
        ``coefficients`` of a smooth method; knots ``score`` and values ``p``, or ``p0`` and ``p1``, of steps.
    n_positive, n_negative : int
        Objects it was fitted on; their share is the prevalence that the probabilities hold at, unless weighted.
    message : str
        Anything a reader of the probabilities must know; empty if nothing.
    """

    method: str
    parameters: dict[str, Any]
    n_positive: int
    n_negative: int
    message: str = ""

    @property
    def keeps_order(self) -> bool:
        """Whether `log_odds` rises strictly with the score, so that ranks and AUROC are those of the raw score."""
        if self.method not in SMOOTH:
            return False
        return min(_slopes(self.method, self.parameters["coefficients"])) > 0

    def log_odds(self, scores: "ArrayLike") -> np.ndarray:
        """Logit of the probability; unlike the probability it does not saturate at 1 in double precision.

        Parameters
        ----------
        scores : (n,) array_like

        Returns
        -------
        (n,) ndarray
        """
        scores = _checked_scores(scores)
        if self.method in SMOOTH:
            return _design(self.method, scores) @ np.array(self.parameters["coefficients"])
        return logit(self._step_probability(scores))

    def probability(self, scores: "ArrayLike") -> np.ndarray:
        """Probability of being a lens at the prevalence of the calibration set.

        Parameters
        ----------
        scores : (n,) array_like

        Returns
        -------
        (n,) ndarray
            For Venn-Abers ``p1 / (1 - p0 + p1)``, the minimax choice between its two.
        """
        return (
            expit(self.log_odds(scores)) if self.method in SMOOTH else self._step_probability(_checked_scores(scores))
        )

    def interval(self, scores: "ArrayLike") -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper probability; their distance is the honest uncertainty of the calibration.

        Parameters
        ----------
        scores : (n,) array_like

        Returns
        -------
        p0, p1 : (n,) ndarray
            NaN for every method but Venn-Abers, since no other gives one.
        """
        scores = _checked_scores(scores)
        if self.method != "venn_abers":
            return np.full(scores.shape, np.nan), np.full(scores.shape, np.nan)
        knots, p0, p1 = (np.array(self.parameters[name]) for name in ("score", "p0", "p1"))
        # Between two knots a test object of label 0 pools with the lower and one of label 1 with the upper.
        lower = np.append(0.0, p0)[np.searchsorted(knots, scores, side="right")]
        return lower, np.append(p1, 1.0)[np.searchsorted(knots, scores, side="left")]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings that `from_dict` reads back exactly, also through JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Calibrator":
        """Read what `to_dict` gave.

        Parameters
        ----------
        content : dict

        Returns
        -------
        Calibrator
        """
        _check_method(content["method"])
        return cls(**content)

    def _step_probability(self, scores: np.ndarray) -> np.ndarray:
        if self.method == "venn_abers":
            p0, p1 = self.interval(scores)
            return p1 / (1 - p0 + p1)
        return np.interp(scores, self.parameters["score"], self.parameters["p"])


def choose_method(n_positive: int, intervals: bool = False) -> str:
    """Method for a number of positives: the fewer there are, the fewer parameters.

    Parameters
    ----------
    n_positive : int
        Objects of the rarer class, which is that of the lenses.
    intervals : bool
        Whether a lower and an upper probability are wanted.

    Returns
    -------
    str
        platt below 50 (temperature has no intercept and needs scores that are logits at the prevalence already), beta
        below 300, venn_abers below 1000 or for intervals, isotonic above (the advice of scikit-learn's guide).
    """
    if intervals:
        return "venn_abers"
    if n_positive < LEAST["beta"]:
        return "platt"
    if n_positive < 300:
        return "beta"
    return "venn_abers" if n_positive < LEAST["isotonic"] else "isotonic"


def fit_calibrator(
    scores: "ArrayLike", labels: "ArrayLike", method: str | None = None, *, weights: "ArrayLike | None" = None
) -> Calibrator:
    """Fit a calibrator on objects that the model was not fitted to.

    With z the score and s = sigmoid(z)::

        temperature        logit p = z / T
        platt              logit p = a z + b
        beta               logit p = a ln s - b ln(1 - s) + c
        isotonic           non-decreasing least squares (PAV)
        weighted_isotonic  the same with classes of equal weight, then carried back to the prevalence of the data
        venn_abers         two isotonic fits per score, with the test object in as a 0 and as a 1

    The slopes a, b and 1/T are >= 0 and the smooth methods minimise the log loss. All but Venn-Abers are fitted to
    Platt's targets (n_+ + 1) / (n_+ + 2) and 1 / (n_- + 2) instead of 1 and 0: separable scores give finite slopes, and
    isotonic steps do not reach 0 or 1, which no change of prevalence could move.

    The isotonic fits agree with each other: the class weights change every pool's odds by one factor, so PAV pools the
    same objects, and the change of prevalence takes the factor out. Without that step the mean probability is wrong by
    a multiple (0.114 instead of 0.020 in the check of the tests).

    Parameters
    ----------
    scores : (n,) array_like
    labels : (n,) array_like
        1 or True for a lens.
    method : str or None
        None for `choose_method`. With fewer objects of the rarer class than `LEAST`, that choice is taken instead and
        the calibrator's message says so.
    weights : (n,) array_like or None
        Positive weights of the objects, scaled to mean 1 here. Venn-Abers is valid without weights only.

    Returns
    -------
    Calibrator

    Raises
    ------
    InputError
        If shapes differ, a score is not finite, a label is not 0 or 1, a class is missing or the method is unknown.

    References
    ----------
    Platt 1999 (Advances in Large Margin Classifiers); Guo et al. 2017 (ICML 70, 1321); Kull, Silva Filho and Flach
    2017 (AISTATS 54, 623); Vovk, Petej and Fedorova 2015 (NIPS 28, arXiv:1511.00213), all from memory.
    """
    scores, labels, weights = _checked(scores, labels, weights)
    n_positive, n_negative = int(labels.sum()), int((1 - labels).sum())
    rarer = min(n_positive, n_negative)
    used, messages = method or choose_method(rarer), []
    _check_method(used)
    if rarer < LEAST.get(used, 0):
        enough = choose_method(rarer)
        messages.append(f"{used} needs {LEAST[used]} objects of each class and has {rarer}: {enough} used")
        used = enough
    if used == "venn_abers":
        parameters = _venn_abers(scores, labels, weights)
    elif used in STEPS:
        parameters = _isotonic(scores, labels, weights, balanced=used == "weighted_isotonic")
    else:
        parameters = {"coefficients": _fit_smooth(used, scores, labels, weights)}
        if max(_slopes(used, parameters["coefficients"])) == 0:
            messages.append("the score does not rise with the label: every probability is the same")
    return Calibrator(used, parameters, n_positive, n_negative, "; ".join(messages))


def _design(method: str, scores: np.ndarray) -> np.ndarray:
    """Columns whose weighted sum is the logit: the rising ones, then the intercept."""
    if method == "temperature":
        return scores[:, None]
    one = np.ones(len(scores))
    if method == "platt":
        return np.column_stack([scores, one])
    return np.column_stack([log_expit(scores), -log_expit(-scores), one])


def _slopes(method: str, coefficients: list[float]) -> list[float]:
    return coefficients if method == "temperature" else coefficients[:-1]


def _fit_smooth(method: str, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> list[float]:
    """Log-loss fit with slopes >= 0.

    Own, since scikit-learn's sigmoid lets the order be reversed and is hidden in a classifier, and betacal clips the
    scores, which ties them, and switches the warnings of the whole process off.
    """
    target, design = _squeeze(labels, labels, weights), _design(method, scores)
    has_intercept = method != "temperature"
    # Columns of mean 0, where an intercept can take up the mean, and size 1 suit scores of any unit.
    middle = design.mean(0) * has_intercept
    size = np.sqrt(((design - middle) ** 2).mean(0))
    size = np.where(size > 1e-12 * np.abs(middle), size, 1.0)
    to_unit = np.diag(1 / size)
    to_unit[-1, :-1] = -(middle / size)[:-1]
    unit = design @ to_unit

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        odds = unit @ coefficients
        value = weights @ (np.logaddexp(0, odds) - target * odds)
        return value / len(target), unit.T @ (weights * (expit(odds) - target)) / len(target)

    bounds = [(0, None)] * (design.shape[1] - has_intercept) + [(None, None)] * has_intercept
    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000}
    found = minimize(loss, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B", options=options).x
    return (to_unit @ found).tolist()


def _isotonic(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, balanced: Any) -> dict[str, Any]:
    prevalence = np.average(labels, weights=weights)
    balance = np.where(labels == 1, prevalence, 1 - prevalence) if balanced else 1.0
    fitted = IsotonicRegression().fit(scores, labels, weights / balance)
    p = np.clip(fitted.y_thresholds_, 0, 1)
    if balanced:
        p = shift_prior(p, 0.5, prevalence)
    # Isotonic regression commutes with a linear map of the labels, so the targets may come after the fit.
    return {"score": fitted.X_thresholds_.tolist(), "p": _squeeze(p, labels, weights).tolist()}


def _venn_abers(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Isotonic values of a test object tied with each distinct calibration score, labelled 0 and labelled 1.

    Own, since the venn-abers package silences numpy's warnings for the process. Costs the square of distinct scores.
    """
    knots, place = np.unique(scores, return_inverse=True)
    total, positive = np.bincount(place, weights), np.bincount(place, weights * labels)
    values = np.empty((2, len(knots)))
    for i in range(len(knots)):
        total[i] += 1
        values[0, i] = isotonic_regression(positive / total, weights=total).x[i]
        positive[i] += 1
        values[1, i] = isotonic_regression(positive / total, weights=total).x[i]
        total[i] -= 1
        positive[i] -= 1
    # Both rise with the score but for rounding.
    p0, p1 = np.maximum.accumulate(np.clip(values, 0, 1), axis=1).tolist()
    return {"score": knots.tolist(), "p0": p0, "p1": p1}


def _squeeze(p: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Map [0, 1] onto Platt's targets."""
    low = 1 / (weights @ (1 - labels) + 2)
    high = (weights @ labels + 1) / (weights @ labels + 2)
    return low + (high - low) * p


def _check_method(method: str) -> None:
    if method not in SMOOTH + STEPS:
        raise InputError(f"calibration method {method!r} is unknown; choose one of {', '.join(SMOOTH + STEPS)}")


def _checked_scores(scores: "ArrayLike") -> np.ndarray:
    scores = np.asarray(scores, float)
    if scores.ndim != 1:
        raise InputError(f"scores have the shape {scores.shape}; give one number per object")
    if not np.isfinite(scores).all():
        raise InputError(f"{(~np.isfinite(scores)).sum()} of {scores.size} scores are not finite; leave those out")
    return scores


def _checked(
    scores: "ArrayLike", labels: "ArrayLike", weights: "ArrayLike | None"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = _checked_scores(scores)
    labels = np.asarray(labels, float)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, float)
    for name, values in (("labels", labels), ("weights", weights)):
        if values.shape != scores.shape:
            raise InputError(f"{name} have the shape {values.shape} and scores {scores.shape}; give one per object")
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"labels hold {labels[~np.isin(labels, (0, 1))][0]}; use 1 for a lens and 0 for none")
    if not 0 < labels.sum() < len(labels):
        raise InputError(f"{int(labels.sum())} of {len(labels)} objects are lenses; a calibrator needs both classes")
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise InputError(f"weights reach down to {weights.min()}; give positive finite numbers")
    return scores, labels, weights / weights.mean()
