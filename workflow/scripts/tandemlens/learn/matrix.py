"""The feature table as a matrix: its columns and rows, and how gaps are filled for models that cannot bear them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from tandemlens.base.columns.features import COLUMNS
from tandemlens.base.columns.registry import expand
from tandemlens.base.errors import InputError
from tandemlens.base.status import OK
from tandemlens.base.tables import read_table, thinned

#: columns of the feature table that are no measurement, or grow with depth whatever is there
_LEFT_OUT = ("target_id", "status", "reason", "n_segments", "n_arcs")
#: what `placed` takes from a target table
_PLACE = ["target_id", "ra", "dec", "group_id", "canvas"]


def feature_names(bands: list[str]) -> list[str]:
    """Features that a head looks at, in order.

    Parameters
    ----------
    bands : list of str

    Returns
    -------
    list of str
    """
    return [c.name for c in expand(COLUMNS, bands) if c.name not in _LEFT_OUT]


def feature_matrix(features: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Features as numbers, NaN where there is none.

    Parameters
    ----------
    features : pandas.DataFrame
    names : list of str

    Returns
    -------
    (n, k) pandas.DataFrame of float

    Raises
    ------
    InputError
        If a feature is missing.
    """
    missing = [name for name in names if name not in features]
    if missing:
        raise InputError(f"the feature table lacks {', '.join(missing)}; the head was fitted with other bands")
    values = features[names].astype(float)
    return values.where(np.isfinite(values))


def usable(features: pd.DataFrame) -> pd.DataFrame:
    """Rows with features, numbered anew; a target or training system without segments has none.

    Parameters
    ----------
    features : pandas.DataFrame
        Feature table, or with its columns.

    Returns
    -------
    pandas.DataFrame
        Those of status ok.
    """
    return features[features["status"] == OK].reset_index(drop=True)


def placed(features: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Features with the place and the field group of their targets.

    Parameters
    ----------
    features, targets : pandas.DataFrame
        Of one sample.

    Returns
    -------
    pandas.DataFrame
        Adds ra, dec (deg), group_id and canvas.
    """
    return features.merge(targets[_PLACE], on="target_id", validate="one_to_one")


def gather(features: list[str], targets: list[str], most: int, always: Collection[str] = ()) -> pd.DataFrame:
    """Placed features of the targets of all shards, or of some of them.

    Parameters
    ----------
    features, targets : list of str
        features.parquet and targets.parquet of every shard.
    most : int
        Of more rows than this, those of some targets are kept (`tandemlens.base.tables.thinned`).
    always : collection of str
        Targets that are kept whatever their number.

    Returns
    -------
    pandas.DataFrame
    """
    parts, rest = [], None
    for paths in zip(features, targets, strict=True):
        frame = placed(*map(read_table, paths))
        wanted = frame["target_id"].isin(always)
        if wanted.any():
            parts.append(frame[wanted])
            frame = frame[~wanted]
        rest = frame if rest is None else pd.concat([rest, frame], ignore_index=True)
        # now and then is enough to bound it
        if len(rest) > 2 * most:
            rest = thinned(rest, most)
    return pd.concat([thinned(rest, most), *parts], ignore_index=True)


@dataclass(frozen=True)
class Standard:
    """Fills gaps with the median (0 where all is missing) and gives every column mean 0 and scatter 1.

    Parameters
    ----------
    fill, centre, spread : (k,) ndarray
    """

    fill: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, values: pd.DataFrame) -> "Standard":
        """As the rows of `values`, (n, k) with NaN where missing, ask for."""
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        scaler = StandardScaler().fit(imputer.fit_transform(values))
        return cls(imputer.statistics_, scaler.mean_, scaler.scale_)

    @classmethod
    def from_lists(cls, saved: dict[str, Any]) -> "Standard":
        """Inverse of `lists`."""
        return cls(**{name: np.array(values, float) for name, values in saved.items()})

    def lists(self) -> dict[str, Any]:
        """As lists, to be written as JSON."""
        return {name: values.tolist() for name, values in vars(self).items()}

    def __call__(self, values: pd.DataFrame) -> np.ndarray:
        """Standardised features, (n, k) ndarray."""
        values = np.asarray(values, float)
        return (np.where(np.isnan(values), self.fill, values) - self.centre) / self.spread
