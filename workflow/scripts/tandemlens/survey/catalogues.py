"""Reading cluster catalogues in any usual format under the names of this project."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy.io.votable import parse_single_table
from astropy.table import Table

from tandemlens.base.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: our name -> usual names in catalogues, compared without case
_USUAL = {
    "name": ("name", "id", "cluster", "target", "mem_match_id", "objid", "object"),
    "ra": ("ra", "raj2000", "ra_icrs", "ra_deg", "alpha", "alpha_j2000", "radeg"),
    "dec": ("dec", "dej2000", "dec_icrs", "de_icrs", "decj2000", "dec_deg", "delta", "delta_j2000", "dedeg"),
    "z": ("z", "redshift", "z_lambda", "zlambda", "zphot", "photz", "best_z", "z_spec", "zspec"),
    "richness": ("richness", "lambda", "lambda_chisq", "lambdachisq", "rich"),
    "ebv": ("ebv", "e_bv", "e(b-v)", "ebmv"),
}
_SEXAGESIMAL = re.compile(r"([+-]?)\s*(\d{1,3})[:\s]\s*(\d{1,2})[:\s]\s*(\d{1,2}(?:\.\d*)?)", re.ASCII)
_SUFFIXES = {
    ".csv": "csv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
}


def read_catalogue(
    path: str | Path, columns: dict[str, Any] | None = None, kind: str = "auto", hdu: int = 1
) -> pd.DataFrame:
    """Read a cluster catalogue.

    Parameters
    ----------
    path : str or Path
    columns : dict, optional
        Our name (name, ra, dec, z, richness, ebv) -> name in the file; usual names are recognised without it.
    kind : {"auto", "csv", "fits", "votable", "parquet"}
        Format; auto goes by the suffix (``.gz`` is looked through).
    hdu : int
        Table HDU of a FITS file.

    Returns
    -------
    pandas.DataFrame
        Columns name, ra, dec, z, richness, ebv: name as text, the others as found (numbers or text).

    Raises
    ------
    SettingsError
        If the file, its format or a mapped column is not there.
    """
    table = _read(Path(path), kind, hdu)
    mapping = _mapping(path, list(table.columns), columns or {})
    out = pd.DataFrame(index=range(len(table)))
    for name in _USUAL:
        found = table[mapping[name]].to_numpy() if name in mapping else np.full(len(table), np.nan)
        out[name] = found
    out["name"] = [_text(value) for value in out["name"]] if "name" in mapping else ""
    return out


def numbers(values: "ArrayLike") -> np.ndarray:
    """Numbers of a column that may hold text; NaN where there is none.

    Parameters
    ----------
    values : array_like

    Returns
    -------
    (n,) float ndarray
    """
    return np.array(pd.to_numeric(pd.Series(values, dtype=object), errors="coerce"), float)


def degrees(values: Iterable[Any], hours: bool) -> np.ndarray:
    """Degrees of a column of numbers or of sexagesimal text.

    Parameters
    ----------
    values : iterable of float or str
        Decimal degrees, or ``hh:mm:ss`` (`hours`) or ``dd:mm:ss``, with colons or, as in VizieR, blanks.
    hours : bool
        Sexagesimal text counts hours.

    Returns
    -------
    (n,) float ndarray, deg
        NaN where the value cannot be read.
    """
    values = list(values)
    out = numbers(values)
    for k in np.flatnonzero(~np.isfinite(out)):
        if isinstance(values[k], str):
            out[k] = _sexagesimal(values[k]) * (15 if hours else 1)
    return out


def _sexagesimal(text: str) -> float:
    match = _SEXAGESIMAL.fullmatch(text.strip())
    if not match:
        return np.nan
    sign, *parts = match.groups()
    first, minutes, seconds = map(float, parts)
    # 60 s is what rounding leaves of 59.99
    value = first + minutes / 60 + seconds / 3600 if minutes < 60 and seconds <= 60 else np.nan
    return -value if sign == "-" else value


def _read(path: Path, kind: str, hdu: int) -> pd.DataFrame:
    if not path.is_file():
        raise SettingsError(f"catalogue {path} does not exist; check the path and DATA")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind == "auto" and suffix.lower() not in _SUFFIXES:
        raise SettingsError(
            f"catalogue {path} has the unknown suffix {suffix!r}; set format to csv, fits, votable or parquet"
        )
    kind = _SUFFIXES[suffix.lower()] if kind == "auto" else kind
    try:
        if kind == "csv":
            return pd.read_csv(path, comment="#", dtype=object, keep_default_na=True, skipinitialspace=True)
        if kind == "parquet":
            return pd.read_parquet(path)
        if kind == "votable":
            # names, not IDs: an ID cannot hold what some columns are called; a value that is none becomes a missing one
            table = parse_single_table(path, invalid="mask").to_table(use_names_over_ids=True)
        else:
            table = Table.read(path, hdu=hdu)
    except Exception as error:
        raise SettingsError(
            f"catalogue {path} cannot be read as {kind}: {error}; check the file and its format"
        ) from error
    flat = [name for name in table.colnames if table[name].ndim == 1]
    return table[flat].to_pandas()


def _mapping(path: str | Path, names: list[str], given: dict[str, str]) -> dict[str, str]:
    unknown = [f"{ours} -> {theirs}" for ours, theirs in given.items() if theirs not in names]
    if unknown:
        raise SettingsError(
            f"catalogue {path} lacks the mapped columns {', '.join(unknown)}; it has {', '.join(names)}"
        )
    lower: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.strip().lower(), name)
    mapping = {}
    for ours, usual in _USUAL.items():
        found = [lower[name] for name in usual if name in lower]
        if ours in given or found:
            mapping[ours] = given.get(ours) or found[0]
    missing = [name for name in ("ra", "dec") if name not in mapping]
    if missing:
        raise SettingsError(
            f"catalogue {path} has no column for {', '.join(missing)}; map it, it has {', '.join(names)}"
        )
    return mapping


def _text(value: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)
