"""The training sample as the heads see it: systems of all shards, with their roles."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from tandemlens.base.columns.folds import COLUMNS
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table, write_table
from tandemlens.learn.folds import DROPPED, assign_folds

log = logging.getLogger("tandemlens")


def write_folds(
    systems_paths: list[str], targets_paths: list[str], survey: str, settings: dict[str, Any], seed: int, out_path: str
) -> None:
    """Give every system of the training sample its role.

    A sample that cannot be dealt to the roles, mostly because it is too small, is not lost and stops nothing: all of it
    is dropped, with the reason, and the heads then say that they could not be trained, and why.

    Parameters
    ----------
    systems_paths, targets_paths : list of str
        systems.parquet and targets.parquet of every shard.
    survey : str
    settings : dict
        Section ``folds`` of the settings.
    seed : int
    out_path : str
        folds.parquet.
    """
    systems = pd.concat(map(read_table, systems_paths), ignore_index=True)
    targets = pd.concat(map(read_table, targets_paths), ignore_index=True)
    places = targets[["target_id", "ra", "dec", "group_id"]]
    frame = systems.merge(places, on="target_id", how="left", validate="one_to_one").assign(survey=survey)
    try:
        folds = assign_folds(frame, settings, np.random.default_rng(seed))
    except InputError as error:
        log.warning("no head can be trained: %s", error)
        facts = {"group": frame["group_id"], "block": 0, "fold": -1, "role": DROPPED, "reason": str(error)}
        folds = pd.DataFrame({"target_id": frame["target_id"], **facts})
    write_table(out_path, folds, COLUMNS)


def training_table(folds_path: str, systems_paths: list[str], features_paths: list[str]) -> pd.DataFrame:
    """Systems with features, class, label and role.

    Parameters
    ----------
    folds_path : str
        folds.parquet.
    systems_paths, features_paths : list of str
        Of every shard of the training sample.

    Returns
    -------
    pandas.DataFrame
        Columns of the feature table, and class, label, group, role, reason_role; systems without features (status
        no_segments) have them all missing, and stay.
    """
    systems = pd.concat(map(read_table, systems_paths), ignore_index=True)[["target_id", "class", "label"]]
    features = pd.concat(map(read_table, features_paths), ignore_index=True)
    folds = read_table(folds_path)[["target_id", "group", "role", "reason"]].rename(columns={"reason": "reason_role"})
    return systems.merge(folds, on="target_id", validate="one_to_one").merge(features, on="target_id", how="left")


def refuse_dropped(roles: pd.Series, reasons: pd.Series) -> None:
    """Refuse a training sample of which no system has a role.

    Parameters
    ----------
    roles, reasons : pandas.Series of str
        Of all its systems, as from folds.parquet.

    Raises
    ------
    InputError
        With the reason why all were dropped, or for an empty sample.
    """
    if (roles == DROPPED).all():
        raise InputError(reasons.iloc[0] if len(reasons) else "the training sample is empty")


def learnt_systems(systems: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """Systems that a fit may look at.

    Parameters
    ----------
    systems : pandas.DataFrame
        Columns target_id, class and label.
    folds : pandas.DataFrame
        folds.parquet.

    Returns
    -------
    pandas.DataFrame
        Those of the roles train and stop, with the columns of both.

    Raises
    ------
    InputError
        As `refuse_dropped`.
    """
    table = systems[["target_id", "class", "label"]].merge(folds, on="target_id", validate="one_to_one")
    refuse_dropped(table["role"], table["reason"])
    return table[table["role"].isin(("train", "stop"))]
