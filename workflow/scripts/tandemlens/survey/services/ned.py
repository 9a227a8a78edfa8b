"""Objects around a place in NED (facts and format: astroquery.ipac.ned and its recorded answers)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy.io.votable import parse

from tandemlens.base.warning_filters import warning_filters
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.objects import refuse_missing, with_separation
from tandemlens.survey.services.service import question

if TYPE_CHECKING:
    from pathlib import Path

    from tandemlens.survey.services.client import Client

HOST = "ned.ipac.caltech.edu"
_URL = f"https://{HOST}/cgi-bin/objsearch"
#: types of lensed images; those and clusters and groups are of interest
_LENSES = ("G_Lens", "Q_Lens")
_TYPES = ("GClstr", "GGroup", *_LENSES)
#: our name -> name of the column
_COLUMNS = {"name": "Object Name", "type": "Type", "ra": "RA(deg)", "dec": "DEC(deg)", "z": "Redshift"}


def ask_ned(client: "Client", target: dict[str, Any], radius_arcsec: float) -> pd.DataFrame:
    """Clusters, groups and lenses around a target.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    target : dict
        Keys ra, dec, deg.
    radius_arcsec : float

    Returns
    -------
    pandas.DataFrame
        name, type, ra, dec (deg), z, lens, separation (arcsec), the nearest first.

    Raises
    ------
    DataError
        If no good answer comes.
    """
    # a longitude without d would count hours
    params = {
        "search_type": "Near Position Search",
        "in_csys": "Equatorial",
        "in_equinox": "J2000.0",
        "lon": f"{target['ra']:.6f}d",
        "lat": f"{target['dec']:.6f}d",
        "radius": f"{radius_arcsec / 60:.4f}",
        "out_csys": "Equatorial",
        "out_equinox": "J2000.0",
        "of": "xml_main",
        "img_stamp": "NO",
        "extend": "no",
        "list_limit": "0",
    }
    key = question("ned", "objsearch", "objects", "", target, radius_arcsec)
    answer = client.get(Request(_URL, key, lambda path: read_ned(path, target, radius_arcsec), params, suffix=".xml"))
    return read_ned(answer.path, target, radius_arcsec)


def read_ned(path: "str | Path", target: dict[str, Any], radius_arcsec: float) -> pd.DataFrame:
    """Clusters, groups and lenses of an answer.

    Parameters
    ----------
    path : str or Path
    target, radius_arcsec
        As for `ask_ned`.

    Returns
    -------
    pandas.DataFrame
        As from `ask_ned`.

    Raises
    ------
    BadAnswer
        If it is no answer, says an error, or is for another place.
    """
    try:
        # units and UCDs of old standards, which change no number
        with warning_filters(ignore=Warning):
            tree = parse(path, verify="ignore", invalid="mask")
    except Exception as error:
        raise BadAnswer(f"the answer is no VOTable: {' '.join(str(error).split())[:80]}") from error
    tables = [table for table in tree.iter_tables() if len(table.fields)]
    if not tables:
        return _nothing(tree)
    table = tables[0].to_table(use_names_over_ids=True)
    refuse_missing(table, _COLUMNS.values())
    frame = pd.DataFrame({ours: _plain(table[theirs]) for ours, theirs in _COLUMNS.items()})
    frame = with_separation(frame, target, radius_arcsec)
    frame = frame[frame["type"].isin(_TYPES)].reset_index(drop=True)
    return frame.assign(lens=frame["type"].isin(_LENSES))


def _nothing(tree: Any) -> pd.DataFrame:
    """An answer without a table says why; that nothing lies there is none of its errors."""
    said = [" ".join(str(p.value).split()) for r in tree.resources for p in r.params if str(p.name) == "Error"]
    if not any(text.lower().startswith("no") and "found" in text.lower() for text in said):
        raise BadAnswer(f"NED says {'; '.join(said) or 'nothing'!r}")
    return pd.DataFrame(columns=[*_COLUMNS, "separation", "lens"]).astype({"lens": bool})


def _plain(column: Any) -> list[Any] | np.ndarray:
    text = column.dtype.kind in "OSU"
    values = np.ma.filled(column, "" if text else np.nan)
    return [str(v).strip() for v in values] if text else values
