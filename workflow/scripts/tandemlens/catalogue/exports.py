"""The candidate catalogue in the formats people open: Parquet, FITS and CSV."""

import numpy as np
from astropy.io import fits
from astropy.table import Table

from tandemlens.base.atomic import atomic_path
from tandemlens.base.tables import write_table


def write_exports(frame, columns, meta, outputs):
    """Write one table under three names.

    Parameters
    ----------
    frame : pandas.DataFrame
    columns : sequence of Column
        Their unit and description go into every format that has room for them.
    meta : dict of str
        Facts of the run.
    outputs : dict of str
        Paths ``parquet``, ``fits`` and ``csv``.
    """
    write_table(outputs["parquet"], frame, columns, meta)
    table = fits_table(frame, columns)
    with atomic_path(outputs["fits"]) as temporary:
        hdu = fits.table_to_hdu(table)
        for number, column in enumerate(columns, 1):
            hdu.header[f"TCOMM{number}"] = _ascii(column.description)
            if column.ucd:
                hdu.header[f"TUCD{number}"] = column.ucd
        for key, value in meta.items():
            hdu.header[f"HIERARCH {key.upper()}"] = _ascii(value)
        hdu.name = "CANDIDATES"
        # astropy's own checksum comment holds the hour of writing, which would make equal runs differ
        hdu.add_checksum(when="HDU checksum")
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary)
    with atomic_path(outputs["csv"]) as temporary:
        frame.to_csv(temporary, index=False)


def fits_table(frame, columns):
    """The catalogue as an astropy table of plain types with units.

    Parameters
    ----------
    frame : pandas.DataFrame
    columns : sequence of Column

    Returns
    -------
    astropy.table.Table
    """
    table = Table()
    for column in columns:
        values = frame[column.name]
        if column.dtype == "str":
            data = np.array([_ascii(v) if isinstance(v, str) else "" for v in values], dtype="S")
            # FITS has no strings of length zero.
            data = data if data.dtype.itemsize else data.astype("S1")
        else:
            data = values.to_numpy(dtype=column.dtype)
        table[column.name] = data
        if column.unit:
            table[column.name].unit = column.unit
    return table


def _ascii(text):
    """FITS holds printable ASCII alone; other letters are escaped, not lost."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in str(text))
