"""Data of the inspection page as scripts: a page from disk may not fetch files, but may include scripts.

Each file is one call ``TL.receive(name, data)``. Everything but ASCII, and every ``<``, is escaped.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tandemlens.base.atomic import write_text

if TYPE_CHECKING:
    import pandas as pd


def write_script(folder: str | Path, name: str, data: dict[str, Any] | list[Any]) -> None:
    """Write data that the page takes by a name.

    Parameters
    ----------
    folder : str or Path
        Of the page's data.
    name : str
        Path below the folder, without ``.js``.
    data : dict or list
        Of plain types.
    """
    write_text(Path(folder, f"{name}.js"), script(name, data))


def script(name: str, data: dict[str, Any] | list[Any]) -> str:
    """Data as a script.

    Parameters
    ----------
    name : str
    data : dict or list
        Of plain types.

    Returns
    -------
    str
    """
    text = json.dumps([name, data], separators=(",", ":"), allow_nan=False)[1:-1]
    # `<` stands in strings only; escaped, no text can close a script or open a comment, wherever the file is put
    return f"TL.receive({text.replace('<', chr(92) + 'u003c')});\n"


def plain(values: "pd.Series", digits: int | None = None) -> list[Any]:
    """Values of a column as plain types; what is missing or not finite is None.

    Parameters
    ----------
    values : pandas.Series
    digits : int, optional
        Significant digits of floats; all if absent.

    Returns
    -------
    list
    """
    if values.dtype.kind == "f":
        numbers = values.tolist() if digits is None else [float(f"{v:.{digits}g}") for v in values.tolist()]
        return [v if ok else None for v, ok in zip(numbers, np.isfinite(values), strict=True)]
    if values.dtype.kind in "iub":
        return values.tolist()
    return [v if isinstance(v, str) else None for v in values.tolist()]
