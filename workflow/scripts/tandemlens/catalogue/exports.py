r"""The candidate catalogue in the formats people open: Parquet, FITS, VOTable, CSV and DS9 regions.

All hold the same rows and values. Parquet and CSV hold text byte for byte. FITS holds printable ASCII alone: there text
is escaped as in Python source (``é`` becomes ``\xe9``, a line end ``\n``, a backslash two). VOTable holds all text but
control characters, which XML forbids or changes; only those are escaped.
"""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
from astropy.io.votable.tree import CooSys, Field, Info, Resource, TableElement, VOTableFile

from tandemlens.base.atomic import atomic_path
from tandemlens.base.status import SCORED
from tandemlens.base.tables import write_table
from tandemlens.catalogue.fits_table import write_fits

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tandemlens.base.columns.registry import Column

#: what XML forbids, and the carriage return, which its readers turn into a line feed
_NOT_IN_XML = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")
#: rows of a VOTable that are in memory as text at a time
_ROWS = 10_000
#: radius of the circles for DS9, arcsec
_CIRCLE = 30


def write_exports(
    frame: "pd.DataFrame", columns: "Sequence[Column]", meta: dict[str, str], outputs: dict[str, str]
) -> None:
    """Write one table in every format.

    Parameters
    ----------
    frame : pandas.DataFrame
    columns : sequence of Column
        Their unit, UCD and description go into every format that has room for them.
    meta : dict of str
        Facts of the run.
    outputs : dict of str
        Paths ``parquet``, ``fits``, ``votable``, ``csv`` and ``regions``; only those given are written.
    """
    writers = {
        "parquet": write_table,
        "fits": write_fits,
        "votable": _write_votable,
        "csv": _write_csv,
        "regions": _write_regions,
    }
    for name, path in outputs.items():
        writers[name](path, frame, columns, meta)


def _write_csv(path: "str | Path", frame: "pd.DataFrame", columns: "Sequence[Column]", meta: dict[str, str]) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, columns=[c.name for c in columns])


def _write_votable(
    path: "str | Path", frame: "pd.DataFrame", columns: "Sequence[Column]", meta: dict[str, str]
) -> None:
    votable, resource = VOTableFile(version="1.4"), Resource()
    votable.resources.append(resource)
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    resource.infos.extend(Info(ID=f"info_{key}", name=key, value=str(value)) for key, value in meta.items())
    table = TableElement(votable, ID="candidates", name="candidates", nrows=len(frame))
    resource.tables.append(table)
    table.fields.extend(_field(votable, column) for column in columns)
    table.create_arrays(1)
    head = io.BytesIO()
    votable.to_xml(head, tabledata_format="tabledata")
    before, after = re.split(r"(?<=<TABLEDATA>\n).*(?=\n *</TABLEDATA>)", head.getvalue().decode(), flags=re.DOTALL)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as handle:
        handle.write(before)
        for start in range(0, len(frame), _ROWS):
            part = frame.iloc[start : start + _ROWS]
            cells = [_xml_cells(part[c.name], c.dtype) for c in columns]
            # one row at a time in Python: the writer of astropy takes six times as long
            handle.writelines(f"<TR><TD>{'</TD><TD>'.join(row)}</TD></TR>\n" for row in zip(*cells, strict=True))
        handle.write(after.lstrip("\n"))


def _field(votable: VOTableFile, column: "Column") -> Field:
    kinds = {"float64": "double", "float32": "float", "int64": "long", "int32": "int", "bool": "boolean"}
    size = {"datatype": "unicodeChar", "arraysize": "*"} if column.dtype == "str" else {"datatype": kinds[column.dtype]}
    ref = "icrs" if column.ucd.startswith("pos.eq.") else None
    field = Field(
        votable, ID=column.name, name=column.name, unit=column.unit or None, ucd=column.ucd or None, ref=ref, **size
    )
    field.description = column.description
    return field


def _xml_cells(values: "pd.Series", dtype: str) -> list[str]:
    if dtype == "str":
        return [escape(_NOT_IN_XML.sub(_escaped, value)) for value in _text(values)]
    numbers = values.to_numpy(dtype=dtype)
    cells = list(map(repr, numbers.tolist()))
    if dtype == "bool":
        return [cell.lower() for cell in cells]
    for k in np.flatnonzero(~np.isfinite(numbers)):
        cells[k] = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[cells[k]]
    return cells


def _write_regions(
    path: "str | Path", frame: "pd.DataFrame", columns: "Sequence[Column]", meta: dict[str, str]
) -> None:
    """Circles around all rows with a place; those on the list of candidates bold, those without a score dashed."""
    columns = ["rank", "target_id", "ra", "dec", "status"]
    placed = frame.loc[frame["ra"].notna() & frame["dec"].notna(), [*columns, *{"listed"} & set(frame)]]
    listed = placed["listed"] if "listed" in placed else np.zeros(len(placed), bool)
    rows = zip(*(placed[name] for name in columns), listed, strict=True)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as handle:
        handle.write('# Region file format: DS9\nglobal color=green font="helvetica 10 normal"\nicrs\n')
        for rank, target_id, ra, dec, status, on_list in rows:
            style = " color=red width=2" if on_list else "" if status == SCORED else " color=cyan dash=1"
            handle.write(f'circle({ra!r},{dec!r},{_CIRCLE}") # text={{{rank} {target_id}}}{style} tag={{{status}}}\n')


def _text(values: "pd.Series") -> Any:
    """Cells of a text column; an empty one where there is none."""
    return values.astype(object).where(values.notna(), "").tolist()


def _escaped(match: Any) -> Any:
    return match.group().encode("unicode_escape").decode()
