"""The form of a column fact; every table lists its own in a module beside this one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise


@dataclass(frozen=True)
class Column:
    """One column of a product table.

    Parameters
    ----------
    name : str
        Column name; ``{band}`` is replaced by each band, ``{colour}`` by each adjacent pair ``b1_b2``.
    dtype : str
        ``float64``, ``float32``, ``int64``, ``int32``, ``bool`` or ``str``.
    unit : str
        Unit in the FITS/VOUnits spelling, ``""`` if dimensionless.
    description : str
        Meaning in one sentence, with the sign convention or null value where it has one.
    low, high : float or None
        Closed range of valid values; NaN is always allowed for floats.
    ucd : str
        IVOA UCD1+ word, ``""`` if none fits.
    """

    name: str
    dtype: str
    unit: str
    description: str
    low: float | None = None
    high: float | None = None
    ucd: str = ""


#: first column of every table with one row per target
TARGET = Column("target_id", "str", "", "target")


def adjacent_pairs(bands: Sequence[str]) -> list[str]:
    """Names of the colours between neighbouring bands.

    Parameters
    ----------
    bands : sequence of str
        In wavelength order.

    Returns
    -------
    list of str
        ``b1_b2``, bluer first.
    """
    return [f"{a}_{b}" for a, b in pairwise(bands)]


def expand(columns: Sequence[Column], bands: Sequence[str]) -> list[Column]:
    """Replace the ``{band}`` and ``{colour}`` templates by the bands of a run.

    Parameters
    ----------
    columns : sequence of Column
    bands : sequence of str
        In wavelength order; adjacent pairs make the colours.

    Returns
    -------
    list of Column
    """
    pairs = adjacent_pairs(bands)
    out = []
    for column in columns:
        if "{band}" in column.name:
            out += [_fill(column, "{band}", band) for band in bands]
        elif "{colour}" in column.name:
            out += [_fill(column, "{colour}", pair) for pair in pairs]
        else:
            out.append(column)
    return out


def _fill(column: Column, template: str, value: str) -> Column:
    return replace(
        column,
        name=column.name.replace(template, value),
        description=column.description.replace(template, value.replace("_", "-")),
    )
