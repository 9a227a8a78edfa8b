"""Pairs of simulated systems with the same lens and other sources behind it, the views of LenSiam.

Only a simulator can make them (Chang et al. 2023, arXiv:2311.10100). A network that learns from them alone is told to
look away from the source, so they are mixed with views of one and the same stamp.
"""

from typing import TYPE_CHECKING

import numpy as np

from tandemlens.base.errors import InputError
from tandemlens.learn.stamps import Stamps, open_stamps

if TYPE_CHECKING:
    import pandas as pd

#: columns of systems.parquet that make a lens
LENS = ["canvas", "m200c", "c200c", "q", "angle", "shear"]


class LensPairs:
    """The stamps of the centres of systems that share their lens with others, held in memory.

    Parameters
    ----------
    paths : list of str
        stamps.h5 of the training sample.
    systems : pandas.DataFrame
        target_id and the columns `LENS` of the systems that may be looked at.
    most : int
        Largest number of systems held.

    Raises
    ------
    InputError
        If no two systems with a stamp share a lens.
    """

    def __init__(self, paths: list[str], systems: "pd.DataFrame", most: int) -> None:
        lens = dict(zip(systems["target_id"], systems.groupby(LENS, dropna=False).ngroup(), strict=True))
        parts: list[Stamps] = []
        lenses: list[int] = []
        for path in paths:
            if len(lenses) >= most:
                break
            with open_stamps(path) as file:
                for k, name in enumerate(file.target_ids):
                    if name not in lens or len(lenses) >= most:
                        continue
                    stamps = file.system(k)
                    if len(stamps):
                        parts.append(stamps[stamps.label == 0])
                        lenses += [lens[name]] * len(parts[-1])
        numbers, counts = np.unique(lenses, return_counts=True)
        shared = numbers[counts > 1]
        if not len(shared):
            raise InputError(
                f"none of {len(lenses)} systems shares its lens with another: pretrain.method lensiam needs a "
                "simulated sample train with several classes of one canvas; enlarge it or take simsiam"
            )
        self._stamps = Stamps.concatenate(parts)
        self._rows = [np.flatnonzero(np.array(lenses) == number) for number in shared]

    def __len__(self) -> int:
        """Number of lenses with more than one system."""
        return len(self._rows)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Stamps, Stamps]:
        """Pairs of systems, each of one lens.

        Parameters
        ----------
        n : int
        rng : numpy.random.Generator

        Returns
        -------
        first, second : tandemlens.learn.stamps.Stamps
        """
        chosen = [rng.choice(self._rows[k], 2, replace=False) for k in rng.integers(len(self._rows), size=n)]
        first, second = np.array(chosen, int).reshape(n, 2).T
        return self._stamps[first], self._stamps[second]
