"""Which detector of anomalies to use: the one that finds classes that were left out of its training, one after another.

No lens is looked at. A class of non-lenses that a detector has never seen stands in for what it is to find; the
simplest detector is used unless another finds such classes better by more than the error, to which the luck of a
network's first weights belongs as well as that of the sample.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.errors import InputError
from tandemlens.learn.detectors import CHECKS, METHODS, fit_detector
from tandemlens.learn.matrix import Standard
from tandemlens.learn.pu import placements

if TYPE_CHECKING:
    from tandemlens.learn.detectors import HypersphereSettings

#: fewest held-out systems of a class that is left out, systems that are left to train on, and field groups held out
LEAST_CLASS, LEAST_TRAIN, LEAST_GROUPS = 3, 30, 2
#: detectors fitted with other first weights, for the scatter between them
REPEATS = 3


@dataclass(frozen=True)
class NonLenses:
    """Systems that are no lens.

    Parameters
    ----------
    values : (n, k) pandas.DataFrame
        Features, NaN where missing.
    classes, groups : (n,) ndarray of str
    train, held_out : (n,) ndarray of bool
        Rows to fit on, and rows to judge by.
    """

    values: pd.DataFrame
    classes: np.ndarray
    groups: np.ndarray
    train: np.ndarray
    held_out: np.ndarray


def find_left_out(
    sample: NonLenses, settings: "HypersphereSettings", seed: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """Scores of held-out systems by detectors that have not seen one class.

    Parameters
    ----------
    sample : NonLenses
    settings : tandemlens.learn.detectors.HypersphereSettings
    seed : int

    Returns
    -------
    scores : dict of str to dict of str to (REPEATS, m) ndarray
        Per class that can be left out and method, of all m held-out systems; repeats differ for networks alone.
    refused : dict of str to str
        Methods that cannot be fitted, and why.
    """
    names, counts = np.unique(sample.classes[sample.held_out], return_counts=True)
    scores: dict[str, dict[str, np.ndarray]] = {}
    refused: dict[str, str] = {}
    for name in names[(counts >= LEAST_CLASS) & (counts < counts.sum())]:
        inside = sample.train & (sample.classes != name)
        if inside.sum() < LEAST_TRAIN:
            continue
        standard = Standard.of(sample.values[inside])
        x, held_out = standard(sample.values[inside]), standard(sample.values[sample.held_out])
        scores[str(name)] = {}
        for method in METHODS:
            seeds = [seed] if method in CHECKS else [[seed, k] for k in range(REPEATS)]
            try:
                fitted = [fit_detector(method, x, settings, np.random.default_rng(s)) for s in seeds]
            except InputError as error:
                refused[method] = str(error)
            else:
                found = [detector.score(held_out) for detector in fitted]
                scores[str(name)][method] = np.broadcast_to(found, (REPEATS, sample.held_out.sum()))
    return scores, refused


def choose_detector(
    scores: dict[str, Any], refused: dict[str, Any], classes: np.ndarray, groups: np.ndarray
) -> tuple[str, dict[str, Any]]:
    """The simplest method, unless a later one beats it by more than the error; that one must then be beaten.

    Parameters
    ----------
    scores, refused : dict
        From `find_left_out`.
    classes, groups : (m,) ndarray of str
        Of the held-out systems.

    Returns
    -------
    method : str
        Of `METHODS`.
    report : dict
        ``auroc`` (of every method for every class), ``mean_auroc``, ``trials`` (what was compared with what), and
        ``note`` where nothing could be.
    """
    if not scores or len(np.unique(groups)) < LEAST_GROUPS:
        note = (
            f"{len(scores)} classes in {len(np.unique(groups))} field groups can be left out; comparing detectors "
            f"needs one class and {LEAST_GROUPS} groups"
        )
        return METHODS[0], {"auroc": {}, "mean_auroc": {}, "trials": [], "note": note}
    methods = [method for method in METHODS if method not in refused]
    areas = {name: {m: _area(of[m], classes == name) for m in methods} for name, of in scores.items()}
    chosen, trials = methods[0], []
    for method in methods[1:]:
        pairs = [{name: (of[method][k], of[chosen][k]) for name, of in scores.items()} for k in range(REPEATS)]
        gains, errors = np.transpose([mean_gain(pair, classes, groups) for pair in pairs])
        gained, error = float(gains.mean()), float(np.hypot(errors.mean(), gains.std(ddof=1)))
        trials.append({"method": method, "against": chosen, "gain": gained, "error": error})
        if gained > error:
            chosen = method
    mean = {method: float(np.mean([area[method] for area in areas.values()])) for method in methods}
    return chosen, {"auroc": areas, "mean_auroc": mean, "trials": trials, "note": ""}


def _area(scores: np.ndarray, found: np.ndarray) -> float:
    """Area under the ROC curve, the mean over repeats."""
    return float(np.mean([placements(score[found], score[~found])[0] for score in scores]))


def mean_gain(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]], classes: np.ndarray, groups: np.ndarray
) -> tuple[float, float]:
    """Difference of two scores in the area under the ROC curve, the mean over classes that are left out.

    Parameters
    ----------
    pairs : dict of str to pair of (m,) ndarray
        Per class, both scores of all systems.
    classes, groups : (m,) ndarray of str

    Returns
    -------
    difference : float
        First less second.
    error : float
        Its standard error, with systems of one group counted as one (DeLong et al. 1988; Obuchowski 1997): what every
        system adds is summed over its group and over the classes, to which it belongs once as what is to be found and
        else as what is ordinary.
    """
    difference, added = 0.0, np.zeros(len(classes))
    for name, (first, second) in pairs.items():
        sides = classes == name, classes != name
        ours, theirs = (placements(score[sides[0]], score[sides[1]]) for score in (first, second))
        difference += (ours[0] - theirs[0]).mean() / len(pairs)
        for rows, a, b in zip(sides, ours, theirs, strict=True):
            added[rows] += (a - b - (a - b).mean()) / len(a) / len(pairs)
    code, names = pd.factorize(groups)
    per_group = np.bincount(code, added)
    return float(difference), float(np.sqrt((per_group**2).sum() * len(names) / (len(names) - 1)))
