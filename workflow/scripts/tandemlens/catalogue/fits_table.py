"""A FITS table written a part at a time, whatever its length (FITS standard 4.0: 4.4.2.7, 7.3, appendix J)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import fits

from tandemlens.base.atomic import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import h5py
    import pandas as pd

    from tandemlens.base.columns.registry import Column

#: text columns that would be larger than this as fixed fields are stored at their true lengths, byte
_WIDE = 1 << 28
#: rows in memory as they are written
_ROWS = 50_000
_BLOCK = 2880
#: bytes that are summed at a time, whole blocks
_SUMMED = 2048 * _BLOCK
_NUMBERS = {"float64": ("D", ">f8"), "float32": ("E", ">f4"), "int64": ("K", ">i8"), "int32": ("J", ">i4")}
#: text that stands in FITS as it is: printable, without the backslash of escapes, and with no blank at its end
_AS_IT_IS = r"^([ -\[\]-~]*[!-\[\]-~])?$"
#: characters that the checksum must not hold
_NOT_IN_CHECKSUM = (*range(0x3A, 0x41), *range(0x5B, 0x61))


def write_fits(path: "str | Path", frame: "pd.DataFrame", columns: "Sequence[Column]", meta: dict[str, str]) -> None:
    """Write a table with units, UCDs (TUCD), descriptions (TCOMM) and checksums.

    Parameters
    ----------
    path : str or Path
    frame : pandas.DataFrame
    columns : sequence of Column
    meta : dict of str
        Header cards.
    """
    fields = [_field(frame[c.name], c) for c in columns]
    heap = sum(field.heap for field in fields)
    # descriptors of 64 bit where those of 32 do not reach
    letter, integer = ("P", ">i4") if heap < 1 << 31 else ("Q", ">i8")
    header = _header(fields, columns, meta, letter)
    layout = np.dtype([(f.name, (integer, 2) if f.wide else f.kind) for f in fields])
    header["NAXIS1"], header["NAXIS2"], header["PCOUNT"] = layout.itemsize, len(frame), heap
    with atomic_path(path) as temporary, open(temporary, "w+b") as handle, open(temporary, "r+b") as beyond:
        handle.write(fits.PrimaryHDU().header.tostring().encode())
        start = handle.tell()
        data = start + len(header.tostring())
        handle.seek(data)
        beyond.seek(data + layout.itemsize * len(frame))
        place = 0
        for row in range(0, len(frame), _ROWS):
            part = frame.iloc[row : row + _ROWS]
            rows = np.zeros(len(part), layout)
            for field in fields:
                cells = _cells(part[field.name], field)
                if field.wide:
                    lengths = np.fromiter(map(len, cells), np.int64, len(cells))
                    rows[field.name] = np.column_stack([lengths, place + np.cumsum(lengths) - lengths])
                    beyond.write("".join(cells).encode())
                    place += int(lengths.sum())
                else:
                    rows[field.name] = cells
            handle.write(rows.tobytes())
        beyond.flush()
        size = layout.itemsize * len(frame) + heap
        handle.seek(data + size)
        handle.write(bytes(-size % _BLOCK))
        handle.seek(data)
        header["DATASUM"] = str(_sum(handle)), "data unit checksum"
        text = header.tostring().encode()
        whole = _add(int(header["DATASUM"]), text)
        header["CHECKSUM"] = _checksum(whole), "HDU checksum"
        handle.seek(start)
        handle.write(header.tostring().encode())


@dataclass(frozen=True)
class _Field:
    """How a column is stored.

    Parameters
    ----------
    name, form, kind : str
        Format in FITS, and of a cell in memory.
    text : bool
    plain : bool
        Text of which no cell is escaped.
    wide : bool
        Text at its true length.
    heap : int
        Bytes of such text.
    longest : int
        Of them in one cell.
    """

    name: str
    form: str
    kind: str
    text: bool = False
    plain: bool = False
    wide: bool = False
    heap: int = 0
    longest: int = 0


def _field(values: "pd.Series", column: "Column") -> "_Field":
    if column.dtype == "bool":
        return _Field(column.name, "L", "S1")
    if column.dtype != "str":
        return _Field(column.name, *_NUMBERS[column.dtype])
    cells = pa.array(values, pa.large_string(), from_pandas=True).fill_null("")
    plain = bool(pc.all(pc.match_substring_regex(cells, _AS_IT_IS)).as_py() in (True, None))
    lengths = pc.binary_length(cells) if plain else pa.array(map(len, map(_ascii, cells.to_pylist())), pa.int64())
    # FITS has no strings of length zero
    longest = pc.max(lengths).as_py() or 1
    if longest * len(cells) > _WIDE:
        return _Field(column.name, "PA", "", True, plain, True, pc.sum(lengths).as_py(), longest)
    return _Field(column.name, f"{longest}A", f"S{longest}", True, plain)


def _header(fields: "list[_Field]", columns: "Sequence[Column]", meta: dict[str, str], letter: str) -> fits.Header:
    made = [
        fits.Column(f.name, f"{letter}A()" if f.wide else f.form, c.unit or None)
        for f, c in zip(fields, columns, strict=True)
    ]
    header = fits.BinTableHDU.from_columns(made, name="CANDIDATES").header
    header["LONGSTRN"] = ("OGIP 1.0", "texts may go on in CONTINUE cards")
    for number, (field, column) in enumerate(zip(fields, columns, strict=True), 1):
        if field.wide:
            header[f"TFORM{number}"] = f"{letter}A({field.longest})"
        header[f"TCOMM{number}"] = _ascii(column.description)
        if column.ucd:
            header[f"TUCD{number}"] = column.ucd
    for key, value in meta.items():
        header[f"HIERARCH {key.upper()}"] = _ascii(value)
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    # as long as any, so that the header keeps its length
    header["DATASUM"] = ("0" * 10, "data unit checksum")
    return header


def _cells(values: "pd.Series", field: "_Field") -> Any:
    if field.kind == "S1" and not field.text:
        return np.where(values.to_numpy(dtype=bool), b"T", b"F")
    if not field.text:
        return values.to_numpy(dtype=np.dtype(field.kind).newbyteorder("="))
    cells = values.astype(object).where(values.notna(), "").tolist()
    return cells if field.plain else list(map(_ascii, cells))


def _ascii(text: str) -> str:
    """Printable ASCII, from which ``.encode().decode("unicode_escape")`` makes the text again."""
    escaped = str(text).encode("unicode_escape").decode()
    # blanks at the end of a cell mean nothing in FITS
    return f"{escaped[:-1]}\\x20" if escaped.endswith(" ") else escaped


def _sum(handle: "h5py.File") -> Any:
    """Sum of the rest of a file in ones' complement."""
    total = 0
    while block := handle.read(_SUMMED):
        total = _add(total, block)
    return total


def _add(total: Any, block: Any) -> Any:
    total += int(np.frombuffer(block, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _checksum(total: Any) -> str:
    """The text that makes the sum of the whole zero."""
    text = bytearray(16)
    for place, byte in enumerate((total ^ 0xFFFFFFFF).to_bytes(4, "big")):
        four = [byte // 4 + 0x30] * 4
        four[0] += byte % 4
        while any(letter in _NOT_IN_CHECKSUM for letter in four):
            for k in (0, 2):
                if four[k] in _NOT_IN_CHECKSUM or four[k + 1] in _NOT_IN_CHECKSUM:
                    four[k], four[k + 1] = four[k] + 1, four[k + 1] - 1
        text[place::4] = bytes(four)
    return (text[-1:] + text[:-1]).decode()
