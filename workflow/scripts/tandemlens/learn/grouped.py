"""Inner folds of whole groups, by which a fit chooses among its own systems."""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from tandemlens.base.errors import InputError

_INNER_FOLDS = 4


def grouped_folds(
    labels: np.ndarray, groups: np.ndarray, n_folds: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds of whole groups, alike in their share of positives.

    Parameters
    ----------
    labels : (n,) ndarray of bool
    groups : (n,) ndarray
    n_folds : int
        Fewer where a class has fewer groups.
    rng : numpy.random.Generator

    Returns
    -------
    list of (rows to learn from, rows held out)

    Raises
    ------
    InputError
        If a class has fewer than two groups.
    """
    fewest = min(len(np.unique(groups[labels])), len(np.unique(groups[~labels])))
    if fewest < 2:
        raise InputError(f"a class has systems in {fewest} group; give lenses and non-lenses of two groups or more")
    splitter = StratifiedGroupKFold(min(n_folds, fewest), shuffle=True, random_state=int(rng.integers(2**31)))
    return list(splitter.split(labels, labels, groups))


def inner_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds in which both classes are on both sides.

    Parameters
    ----------
    labels : (n,) ndarray of {0, 1}
    groups : (n,) ndarray
    seed : int

    Returns
    -------
    list of (rows to learn from, rows held out)
        At most four.

    Raises
    ------
    InputError
        If there is none.
    """
    folds = grouped_folds(labels.astype(bool), groups, _INNER_FOLDS, np.random.default_rng(seed))
    usable = [pair for pair in folds if all(0 < labels[rows].sum() < len(rows) for rows in pair)]
    if not usable:
        raise InputError("no inner fold has tandems and others on both sides; enlarge the training sample")
    return usable
