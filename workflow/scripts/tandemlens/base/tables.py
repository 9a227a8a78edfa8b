"""Parquet tables with unit and description in each field's metadata."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.util import hash_array

from tandemlens.base.atomic import atomic_path
from tandemlens.base.columns.registry import Column
from tandemlens.base.errors import InputError

_ARROW = {
    "float64": pa.float64(),
    "float32": pa.float32(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "bool": pa.bool_(),
    "str": pa.string(),
}
#: rows that are written at a time, a row group of the file
_ROWS = 200_000


def write_table(
    path: str | Path, frame: pd.DataFrame, columns: Sequence[Column], meta: dict[str, str] | None = None
) -> None:
    """Write `frame` to Parquet (zstd) in the order of `columns`, atomically.

    Parameters
    ----------
    path : str or Path
    frame : pandas.DataFrame
        Must hold exactly the columns of the registry.
    columns : sequence of Column
        Already expanded to the bands of the run.
    meta : dict of str, optional
        Extra key-value metadata of the file.

    Raises
    ------
    InputError
        If a column is missing, unknown or outside its registered range.
    """
    names = [c.name for c in columns]
    missing, unknown = [n for n in names if n not in frame], [n for n in frame if n not in names]
    if missing or unknown:
        raise InputError(
            f"table {path} lacks the columns {missing} and has the unregistered columns {unknown}; "
            "register them in tandemlens.base.columns or drop them"
        )
    for column in columns:
        _check_range(path, frame[column.name], column)
    fields = [
        pa.field(c.name, _ARROW[c.dtype], metadata={"unit": c.unit, "description": c.description, "ucd": c.ucd})
        for c in columns
    ]
    schema = pa.schema(fields, metadata=meta or {})
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for start in range(0, max(len(frame), 1), _ROWS):
            part = frame.iloc[start : start + _ROWS]
            arrays = [_array(part[column.name], column) for column in columns]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _array(values: pd.Series, column: Column) -> pa.Array:
    text = column.dtype == "str"
    values = values.to_numpy(dtype=object if text else column.dtype)
    return pa.array(values, type=_ARROW[column.dtype], from_pandas=text)


def read_table(
    path: str | Path, columns: Sequence[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
) -> pd.DataFrame:
    """Read a Parquet table written by `write_table`.

    Parameters
    ----------
    path : str or Path
    columns : sequence of str, optional
        Only these.
    filters : list of tuple, optional
        As in `pyarrow.parquet.read_table`.

    Returns
    -------
    pandas.DataFrame
    """
    return pq.read_table(path, columns=columns, filters=filters).to_pandas()


def thinned(frame: pd.DataFrame, most: int, kind: Any = None) -> pd.DataFrame:
    """At most so many rows, those of targets whose names have the smallest digests.

    Which rows are kept depends neither on their order nor, for most of them, on targets that come later, so that a
    table can be gathered part by part.

    Parameters
    ----------
    frame : pandas.DataFrame
        Column target_id.
    most : int
    kind : (n,) array, optional
        As many of every value of it.

    Returns
    -------
    pandas.DataFrame
        In the order of `frame`.
    """
    digest = pd.Series(hash_array(frame["target_id"].to_numpy(object)))
    place = digest.groupby(np.zeros(len(frame)) if kind is None else np.asarray(kind)).rank(method="first")
    return frame[(place <= most).to_numpy()]


def read_columns(path: str | Path) -> list[Column]:
    """Columns of a table written by `write_table`, without their ranges.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    list of Column
    """
    dtypes = {kind: name for name, kind in _ARROW.items()}
    columns = []
    for field in pq.read_schema(path):
        facts = {k: field.metadata[k.encode()].decode() for k in ("unit", "description", "ucd")}
        columns.append(Column(field.name, dtypes[field.type], **facts))
    return columns


def read_meta(path: str | Path) -> dict[str, str]:
    """File-level metadata of a table.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str
    """
    meta = pq.read_schema(path).metadata or {}
    return {k.decode(): v.decode() for k, v in meta.items()}


def empty_frame(columns: Sequence[Column]) -> pd.DataFrame:
    """A table without rows but with the registered types.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    pandas.DataFrame
    """
    return pd.DataFrame(np.zeros(0, [(c.name, "O" if c.dtype == "str" else c.dtype) for c in columns]))


def _check_range(path: str | Path, series: pd.Series, column: Column) -> None:
    if column.dtype in ("str", "bool") or (column.low is None and column.high is None) or len(series) == 0:
        return
    values = series.to_numpy(dtype=float)
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    bad = (values < low) | (values > high)
    if bad.any():
        raise InputError(
            f"table {path} column {column.name} row {int(np.flatnonzero(bad)[0])} holds {values[bad][0]!r} "
            f"outside its registered range [{low}, {high}]; fix the stage that wrote it or the registry"
        )
