"""Episodes for learning from few examples: many simulated classes, a few of them at a time."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tandemlens.base.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

#: edges of the bins of the Einstein radius, arcsec, and of the number of lensed images that are seen
_RADII, _SEEN = (4.0, 8.0), (1, 2, 3)


class Episode(NamedTuple):
    """Rows of one episode.

    Parameters
    ----------
    support : (ways, shots) int ndarray
    query : (ways, queries) int ndarray
        Way k of both is of one class, and no row is in both.
    """

    support: np.ndarray
    query: np.ndarray


class EpisodeSampler:
    """Draws episodes; of one generator, so that a seed tells them all.

    Parameters
    ----------
    classes : (n,) str ndarray
        Class of every row; empty for a row that is in no episode.
    ways, shots, queries : int
        Classes of an episode, and examples of each that are given and asked for.

    Attributes
    ----------
    rows : dict of (k,) int ndarray
        Of the classes that can be drawn.
    left_out : dict of int
        Members of the classes that have too few.

    Raises
    ------
    InputError
        If fewer classes than `ways` have enough members.
    """

    def __init__(self, classes: np.ndarray, ways: int, shots: int, queries: int) -> None:
        self.ways, self.shots, self.queries = ways, shots, queries
        names = [name for name in np.unique(classes) if name]
        rows = {name: np.flatnonzero(classes == name) for name in names}
        self.rows = {name: found for name, found in rows.items() if len(found) >= shots + queries}
        self.left_out = {name: len(rows[name]) for name in names if name not in self.rows}
        if len(self.rows) < ways:
            few = ", ".join(f"{name} {n}" for name, n in [*self.left_out.items()][:6]) or "none"
            raise InputError(
                f"{len(self.rows)} classes have the {shots} + {queries} members that an episode of {ways} takes "
                f"(too few: {few}); lower proto.ways, shots or queries, or enlarge the training sample (samples.train)"
            )

    def draw(self, rng: np.random.Generator) -> Episode:
        """One episode.

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        Episode
        """
        names = rng.choice(list(self.rows), self.ways, replace=False)
        drawn = [rng.choice(self.rows[name], self.shots + self.queries, replace=False) for name in names]
        support, query = np.split(np.array(drawn), [self.shots], axis=1)
        return Episode(support, query)


def fine_classes(systems: "pd.DataFrame", least: int) -> np.ndarray:
    """Classes of simulated systems divided by what makes them look different.

    Two classes leave nothing to be learnt about learning classes. So those of the simulation are divided by the kind of
    the artefact, the Einstein radius (below 4 arcsec, below 8, above) and the number of lensed images that are seen
    (0, 1, 2, more), each as far as enough members are left; what is too few stays with the class above.

    Parameters
    ----------
    systems : pandas.DataFrame
        Columns class, artefact, theta_e (arcsec) and n_seen.
    least : int
        Members of a division.

    Returns
    -------
    (n,) object ndarray of str
        ``class/artefact/radius/images`` or the first parts of it.
    """
    radius, seen = np.digitize(systems["theta_e"], _RADII), np.digitize(systems["n_seen"], _SEEN)
    parts = list(zip(systems["class"], systems["artefact"].fillna(""), radius, seen, strict=True))
    names = np.full(len(parts), "", dtype=object)
    for depth in range(4, 0, -1):
        divided = np.array(["/".join(map(str, part[:depth])) for part in parts], dtype=object)
        found, inverse, counts = np.unique(divided[names == ""], return_inverse=True, return_counts=True)
        enough = (counts >= least) | (depth == 1)
        names[names == ""] = np.where(enough, found, "")[inverse]
    return names
