"""Graded targets as labels of heads."""

import logging

import pandas as pd

from tandemlens.base.columns.grades import LENS
from tandemlens.base.tables import read_table
from tandemlens.learn.folds import DEFAULTS, link_groups

log = logging.getLogger("tandemlens")
#: roles whose systems judge heads
_JUDGES = ("stop", "calibrate", "fuse", "test")
_PLACE = ["target_id", "ra", "dec", "group_id", "canvas"]


def labelled_targets(path: str, search: pd.DataFrame, systems: pd.DataFrame) -> pd.Series:
    """Targets that heads may take as labelled.

    A target on the sky of a training system that judges heads (role stop, calibrate, fuse or test) is left out: the
    system's score would rest on a label of its own pixels.

    Parameters
    ----------
    path : str
        catalogue/grades.parquet; empty where nothing was graded.
    search : pandas.DataFrame
        Targets of the search that a head can learn from: target_id, ra, dec (deg), group_id and canvas
        (`tandemlens.learn.matrix.placed`).
    systems : pandas.DataFrame
        Training systems: the same columns, and role.

    Returns
    -------
    pandas.Series of bool
        Whether it is a lens, by target_id.
    """
    if not path:
        return pd.Series(dtype=bool)
    grades = read_table(path)
    label = grades[grades["label"] != ""].set_index("target_id")["label"] == LENS
    mine = search.loc[search["target_id"].isin(label.index), _PLACE]
    judges = systems.loc[systems["role"].isin(_JUDGES), _PLACE]
    groups = link_groups(pd.concat([mine, judges], ignore_index=True), DEFAULTS["radius_arcmin"])
    apart = ~pd.Series(groups[: len(mine)]).isin(groups[len(mine) :]).to_numpy()
    if (~apart).any():
        log.warning("%d graded targets share sky with systems that judge heads and are no labels", (~apart).sum())
    return label[mine.loc[apart, "target_id"]].rename("label")
