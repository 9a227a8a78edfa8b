"""Which way to fuse the heads: nested grouped cross-validation, where `equal` stands until it is clearly beaten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tandemlens.base.errors import InputError
from tandemlens.learn.fusers import FUSERS, Fuser, Training, check_training, figures
from tandemlens.learn.grouped import grouped_folds
from tandemlens.learn.resample import draws_of, group_draws

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: what all others must beat
BASELINE = "equal"
#: standard errors by which it must be beaten: the best of seven kinds beats it by one error without being better
_CLEAR = 2.0
_N_FOLDS = 5
_N_DRAWS = 500
_LEVEL = 0.95


@dataclass(frozen=True)
class Choice:
    """The fuser that was chosen and what it was chosen by.

    Parameters
    ----------
    kind : str
        Of `tandemlens.learn.fusers.FUSERS`.
    fuser : Fuser
        Of that kind, fitted to all systems.
    report : pandas.DataFrame
        One row a kind, best first; see `choose_fusion`.
    n_positive, n_negative, n_groups : int
        Systems and groups it rests on. Below 100 negatives a false-positive rate of 1e-2 means none at all.
    """

    kind: str
    fuser: Fuser
    report: pd.DataFrame
    n_positive: int
    n_negative: int
    n_groups: int


def choose_fusion(
    scores: pd.DataFrame,
    labels: "ArrayLike",
    groups: "ArrayLike",
    rng: np.random.Generator,
    kinds: dict[str, str],
    fusers: Sequence[str] = tuple(FUSERS),
) -> Choice:
    """Compare fusers on groups that they have not seen, and fit the best to all systems.

    The criterion is the TPR at a false-positive rate of at most 1e-2; equal TPRs are told apart by the area under the
    ROC curve. A fuser is preferred to ``equal`` if it is better by two standard errors of the difference, from
    a bootstrap over groups that is paired: all kinds share the draws. Whatever a kind tunes is tuned by folds within
    the systems it learns from.

    Parameters
    ----------
    scores : pandas.DataFrame
        (n, H), one column a head, NaN where a head has no score. Out-of-fold: of models that have not seen the group.
    labels : (n,) array_like of bool
    groups : (n,) array_like
    rng : numpy.random.Generator
    kinds : dict of str
        Kind of every head's score, of `tandemlens.learn.evidence.SCORE_KINDS`.
    fusers : sequence of str
        Kinds of fusers to compare; ``equal`` is always among them.

    Returns
    -------
    Choice
        Its report has the columns kind, tpr, tpr_low, tpr_high, auroc, auroc_low, auroc_high (95 per cent intervals
        over groups), gain and gain_error (of tpr over ``equal``, with standard error), beats_equal, chosen, weights
        (dict, of the fit to all systems) and note.

    Raises
    ------
    InputError
        As `tandemlens.learn.fusers.fit_fuser`, and if a fuser is unknown.

    Notes
    -----
    The figures of the chosen kind are those of the best of several and a little optimistic; report those of a test set.
    """
    unknown = [kind for kind in fusers if kind not in FUSERS]
    if unknown:
        raise InputError(f"fuser {unknown[0]!r} is unknown; use some of {list(FUSERS)}")
    labels, groups = check_training(scores, labels, groups, kinds)
    fusers = list(dict.fromkeys([BASELINE, *fusers]))
    fold_rng, draw_rng, fit_rng = rng.spawn(3)
    held_out = _held_out(fusers, scores, labels, groups, fold_rng, kinds)
    report = _compare(held_out, labels, groups, draw_rng)
    training = Training(scores, labels, groups, fit_rng, kinds)
    fitted = {kind: training.fit(kind) for kind in fusers}
    report["weights"] = [fitted[kind].weights for kind in report["kind"]]
    report["note"] = [fitted[kind].note for kind in report["kind"]]
    kind = report.loc[report["chosen"], "kind"].item()
    n_positive = int(labels.sum())
    return Choice(kind, fitted[kind], report, n_positive, len(labels) - n_positive, len(np.unique(groups)))


def _held_out(
    fusers: Sequence[str],
    scores: pd.DataFrame,
    labels: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
    kinds: dict[str, str],
) -> dict[str, np.ndarray]:
    """Fused values of every kind from fits that have not seen the group.

    Values of different folds come from different fits; they are put on one scale by the mean and spread of the
    non-lenses that the fit learned from, which leaves the order within a fold as it is.
    """
    fused = {kind: np.empty(len(labels)) for kind in fusers}
    for learn, held in grouped_folds(labels, groups, _N_FOLDS, rng):
        training = Training(scores.iloc[learn], labels[learn], groups[learn], rng, kinds)
        null = scores.iloc[learn[~labels[learn]]]
        for kind in fusers:
            fuser = training.fit(kind)
            reference = fuser.fuse(null)
            fused[kind][held] = (fuser.fuse(scores.iloc[held]) - reference.mean()) / (reference.std() or 1.0)
    return fused


def _compare(
    held_out: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Report without weights, best first."""
    code, names = pd.factorize(groups)
    counts = group_draws(len(names), _N_DRAWS, rng)
    value = {kind: figures(fused, labels)[0] for kind, fused in held_out.items()}
    drawn = {kind: _drawn(fused, labels, counts, code) for kind, fused in held_out.items()}
    tails = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
    rows = []
    for kind in held_out:
        gain = value[kind] - value[BASELINE]
        error = np.nanstd(drawn[kind] - drawn[BASELINE], axis=0)
        decisive = 0 if gain[0] != 0 else 1
        row = {"kind": kind}
        for i, name in enumerate(("tpr", "auroc")):
            low, high = np.nanquantile(drawn[kind][:, i], tails)
            row |= {name: value[kind][i], f"{name}_low": low, f"{name}_high": high}
        beats = bool(gain[decisive] > _CLEAR * error[decisive])
        rows.append(row | {"gain": gain[0], "gain_error": error[0], "beats_equal": beats})
    report = pd.DataFrame(rows).sort_values(["tpr", "auroc"], ascending=False, kind="stable", ignore_index=True)
    candidates = report.index[report["beats_equal"]]
    best = candidates[0] if len(candidates) else report.index[report["kind"] == BASELINE][0]
    return report.assign(chosen=report.index == best)


def _drawn(fused: np.ndarray, labels: np.ndarray, counts: np.ndarray, code: np.ndarray) -> np.ndarray:
    return np.concatenate([figures(fused, labels, chunk) for chunk in draws_of(counts, code)])
