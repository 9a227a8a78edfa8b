"""One continuous value a system from the scores of the heads: ways to weigh them, each a baseline of the others.

Every fuser is a weighted sum over heads of one view of their scores (`tandemlens.learn.evidence`):

========  ============  ======================================================================================
kind      view          weights
========  ============  ======================================================================================
equal     evidence      1/H: the mean logit
stack     evidence      L2-logistic regression, non-negative but for anomaly heads; lambda by grouped folds
rank      rank          1/H, rank among the training systems
sum       raw           those of the founding sketch (alpha p_mil + beta p_classic + gamma S_color + delta anomaly):
                        on the simplex, tuned on the training systems
mip       probability   `tandemlens.learn.mip.class_weights`, mean over the two classes
single    evidence      1 for the best head
========  ============  ======================================================================================
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from tandemlens.base.errors import InputError
from tandemlens.learn.evidence import SCORE_KINDS, Head, logistic
from tandemlens.learn.grouped import grouped_folds
from tandemlens.learn.mip import class_weights, recall_matrix
from tandemlens.learn.ranking import Ranking, ranking_metric

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

#: fewer positives do not tell weights apart
LEAST_POSITIVES = 30
#: figures by which fusers are compared; the second decides ties
CRITERIA = ("tpr_at_fpr_0.01", "auroc")
_LAMBDAS = np.logspace(-2, 3, 11)
_N_INNER = 5
_SUM_DRAWS = 300
_MOST_MIP_HEADS = 4


@dataclass(frozen=True)
class Fuser:
    """A weighted sum over heads of one view of their scores.

    Parameters
    ----------
    kind : str
        Of `FUSERS`.
    heads : dict of Head
    weights : dict of float
        One a head.
    note : str
        What the fit chose, in words; empty if there was nothing to choose.
    """

    kind: str
    heads: "dict[str, Head]"
    weights: dict[str, float]
    note: str = ""

    def fuse(self, scores: "pd.DataFrame") -> np.ndarray:
        """One continuous value a system.

        Parameters
        ----------
        scores : pandas.DataFrame
            (n, H), a column for each head and no other; NaN where a head has no score.

        Returns
        -------
        (n,) ndarray
            Finite; larger is more lens-like. Comparable only among values of this fuser.

        Raises
        ------
        InputError
            If a head is absent or unknown, or a score is outside the range of its kind.
        """
        _check_scores(scores, {name: head.scale.kind for name, head in self.heads.items()})
        return _columns(self.heads, scores, FUSERS[self.kind].view) @ np.array([self.weights[h] for h in self.heads])

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Fuser":
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If the kind is unknown.
        """
        _check_fuser(saved["kind"])
        heads = {name: Head.from_dict(head) for name, head in saved["heads"].items()}
        return cls(saved["kind"], heads, dict(saved["weights"]), saved["note"])


class Training:
    """Training systems whose heads are read once, for fusers of every kind.

    Parameters
    ----------
    scores : pandas.DataFrame
        (n, H), one column a head, NaN where a head has no score. Of models that have not seen the system's group.
    labels : (n,) ndarray of bool
    groups : (n,) ndarray
        Systems of one group are never parted.
    rng : numpy.random.Generator
    kinds : dict of str
        Kind of every head's score, of `SCORE_KINDS`.
    """

    def __init__(
        self,
        scores: "pd.DataFrame",
        labels: np.ndarray,
        groups: np.ndarray,
        rng: np.random.Generator,
        kinds: dict[str, str],
    ) -> None:
        self.scores, self.labels, self.groups, self.kinds = scores, labels, groups, kinds
        self._fold_rng, self.draw_rng = rng.spawn(2)
        self.heads = _fit_heads(scores, labels, kinds)

    def view(self, what: str) -> np.ndarray:
        """(n, H) ndarray of one view of all scores."""
        return _columns(self.heads, self.scores, what)

    @cached_property
    def inner(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Evidence by grouped folds, as tuples (rows to learn from, their evidence, rows held out, their evidence)."""
        parts = []
        for learn, held in grouped_folds(self.labels, self.groups, _N_INNER, self._fold_rng):
            heads = _fit_heads(self.scores.iloc[learn], self.labels[learn], self.kinds)
            evidence = _columns(heads, self.scores, "evidence")
            parts.append((learn, evidence[learn], held, evidence[held]))
        return parts

    def fit(self, kind: str) -> Fuser:
        """The Fuser of a kind."""
        weights, note = FUSERS[kind].weigh(self)
        return Fuser(kind, self.heads, dict(zip(self.heads, map(float, weights), strict=True)), note)


def fit_fuser(
    kind: str,
    scores: "pd.DataFrame",
    labels: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
    kinds: dict[str, str],
) -> Fuser:
    """Fit a fuser of one kind.

    Parameters
    ----------
    kind : str
        Of `FUSERS`.
    scores, labels, groups, rng, kinds
        As for `Training`; labels may be 0 and 1.

    Returns
    -------
    Fuser
        With fewer than 30 positives the kind ``stack`` has equal weights, and its note says so.

    Raises
    ------
    InputError
        If shapes differ, labels are of one class, a head is unknown or has no score at all, a score is out of range,
        or there are too few groups.
    """
    _check_fuser(kind)
    labels, groups = check_training(scores, labels, groups, kinds)
    return Training(scores, labels, groups, rng, kinds).fit(kind)


def figures(fused: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """What fusers are compared by: TPR at a false-positive rate of at most 1e-2, then the area under the ROC curve.

    Parameters
    ----------
    fused : (n,) ndarray
    labels : (n,) ndarray of bool
    weights : (d, n) ndarray, optional
        How often every system counts, for d samples.

    Returns
    -------
    (d, 2) ndarray
        TPR and AUROC; ties count against the TPR. d is 1 without weights.
    """
    ranking = Ranking(fused, labels)
    weights = np.ones((1, len(labels))) if weights is None else weights
    curve = ranking.curve(weights[:, ranking.order])
    return np.column_stack([ranking_metric(name)(curve) for name in CRITERIA])


def check_training(
    scores: "pd.DataFrame", labels: "ArrayLike", groups: "ArrayLike", kinds: dict[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bool and groups as an array, if all can be used.

    Parameters
    ----------
    scores, labels, groups, kinds
        As for `fit_fuser`.

    Returns
    -------
    labels : (n,) ndarray of bool
    groups : (n,) ndarray

    Raises
    ------
    InputError
        As `fit_fuser`.
    """
    _check_scores(scores, kinds)
    labels, groups = np.asarray(labels), np.asarray(groups)
    if labels.shape != (len(scores),) or groups.shape != labels.shape:
        raise InputError(
            f"{len(scores)} rows of scores come with labels of shape {labels.shape} and groups of shape "
            f"{groups.shape}; give one of each a row"
        )
    values = set(labels.tolist())
    if values != {0, 1}:
        raise InputError(f"labels hold {sorted(values)[:5]}; give both lenses (1 or True) and non-lenses (0 or False)")
    empty = [name for name in kinds if scores[name].isna().all()]
    if empty:
        raise InputError(f"head {empty[0]!r} has no score for any of {len(scores)} systems; leave it out or score it")
    return labels.astype(bool), groups


def _check_scores(scores: "pd.DataFrame", kinds: dict[str, str]) -> None:
    absent, unknown = [h for h in kinds if h not in scores], [h for h in scores if h not in kinds]
    if absent or unknown or not kinds:
        raise InputError(
            f"scores lack the heads {absent} and hold the unknown heads {unknown}; give a column for each of "
            f"{list(kinds)} and no other, NaN where a head has no score"
        )
    for name, kind in kinds.items():
        if kind not in SCORE_KINDS:
            raise InputError(f"head {name!r} declares scores of kind {kind!r}; use one of {list(SCORE_KINDS)}")
        low, high = SCORE_KINDS[kind]
        values = scores[name].to_numpy(float)
        bad = np.isinf(values) | (values < low) | (values > high)
        if bad.any():
            raise InputError(
                f"head {name!r} has the {kind} score {values[bad][0]} in row {int(np.flatnonzero(bad)[0])}; "
                f"give finite values in [{low}, {high}], or NaN where there is no score"
            )


def _check_fuser(kind: str) -> None:
    if kind not in FUSERS:
        raise InputError(f"fuser {kind!r} is unknown; use one of {list(FUSERS)}")


def _fit_heads(scores: "pd.DataFrame", labels: np.ndarray, kinds: dict[str, str]) -> dict[str, Head]:
    return {name: Head.fit(scores[name].to_numpy(float), labels, kind) for name, kind in kinds.items()}


def _columns(heads: dict[str, Head], scores: "pd.DataFrame", what: str) -> np.ndarray:
    return np.column_stack([head.view(scores[name].to_numpy(float), what) for name, head in heads.items()])


def _equal(training: Training) -> tuple[np.ndarray, str]:
    return np.full(len(training.heads), 1 / len(training.heads)), ""


def _stack(training: Training) -> tuple[np.ndarray, str]:
    n_positive = int(training.labels.sum())
    if n_positive < LEAST_POSITIVES:
        return _equal(training)[0], f"equal weights: {n_positive} positives are fewer than {LEAST_POSITIVES}"
    free = np.array([kind == "anomaly" for kind in training.kinds.values()])
    losses = np.zeros(len(_LAMBDAS))
    for learn, x, held, x_held in training.inner:
        for i, lam in enumerate(_LAMBDAS):
            offset, weights = logistic(x, training.labels[learn], lam, free)
            z = offset + x_held @ weights
            losses[i] += np.logaddexp(0, z).sum() - training.labels[held] @ z
    lam = _LAMBDAS[np.argmin(losses)]
    return logistic(training.view("evidence"), training.labels, lam, free)[1], f"lambda {lam:.3g}"


def _standing(fused: np.ndarray, training: Training) -> tuple[float, float]:
    return tuple(figures(fused, training.labels)[0])


def _sum(training: Training) -> tuple[np.ndarray, str]:
    raw = training.view("raw")
    n_heads = raw.shape[1]
    draws = training.draw_rng.dirichlet(np.full(n_heads, 0.5), _SUM_DRAWS)
    trials = np.vstack([np.full(n_heads, 1 / n_heads), np.eye(n_heads), draws])
    return max(trials, key=lambda w: _standing(raw @ w, training)), ""


def _mip(training: Training) -> tuple[np.ndarray, str]:
    probabilities = np.empty((len(training.labels), len(training.heads)))
    for _, _, held, evidence in training.inner:
        probabilities[held] = expit(evidence)
    n_select = min(_MOST_MIP_HEADS, len(training.heads))
    found = class_weights(recall_matrix(probabilities, training.labels), n_select)
    # argmax_j sum_i w_ij p_ij of two classes asks whether sum_i (w_i0 + w_i1) p_i > 1: the mean of both ranks
    chosen = ", ".join(np.array(list(training.heads))[list(found.selected)])
    return found.weights.mean(1), f"chosen: {chosen}"


def _single(training: Training) -> tuple[np.ndarray, str]:
    evidence = training.view("evidence")
    best = max(range(evidence.shape[1]), key=lambda h: _standing(evidence[:, h], training))
    return np.eye(evidence.shape[1])[best], list(training.heads)[best]


@dataclass(frozen=True)
class _Recipe:
    """What a kind of fuser sums, and how it finds its weights."""

    view: str
    weigh: Callable[..., Any]


FUSERS = {
    "equal": _Recipe("evidence", _equal),
    "stack": _Recipe("evidence", _stack),
    "rank": _Recipe("rank", _equal),
    "sum": _Recipe("raw", _sum),
    "mip": _Recipe("probability", _mip),
    "single": _Recipe("evidence", _single),
}
