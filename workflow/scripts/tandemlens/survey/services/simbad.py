"""Objects around a place in SIMBAD, by its TAP service (columns: astroquery.simbad and its recorded list of them)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyvo.dal.tap import TAPResults

from tandemlens.survey.services.client import Request
from tandemlens.survey.services.objects import refuse_missing, with_separation
from tandemlens.survey.services.service import question
from tandemlens.survey.services.votables import read_votable

if TYPE_CHECKING:
    from pathlib import Path

    from tandemlens.survey.services.client import Client

HOST = "simbad.cds.unistra.fr"
_URL = f"https://{HOST}/simbad/sim-tap/sync"
#: types of lenses, lens systems and lensed images, then of clusters and groups; with a question mark: candidates
_LENSES = ("gLS", "gLe", "LeI", "LeG", "LeQ", "LS?", "Le?", "LI?")
_TYPES = ("ClG", "C?G", "GrG", "Gr?", "CGG", *_LENSES)
#: our name -> name of the column
_COLUMNS = {"name": "main_id", "type": "otype", "ra": "ra", "dec": "dec", "z": "rvz_redshift"}
_MOST = 5000


def ask_simbad(client: "Client", target: dict[str, Any], radius_arcsec: float) -> pd.DataFrame:
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
    place = f"{target['ra']:.6f}, {target['dec']:.6f}"
    types = ", ".join(f"'{name}'" for name in _TYPES)
    query = (
        f"SELECT {', '.join(_COLUMNS.values())} FROM basic WHERE otype IN ({types}) AND "
        f"CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {place}, {radius_arcsec / 3600:.7f})) = 1"
    )
    params = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable", "MAXREC": _MOST, "QUERY": query}
    key = question("simbad", "basic", "objects", "", target, radius_arcsec)
    answer = client.get(
        Request(_URL, key, lambda path: read_simbad(path, target, radius_arcsec), params, suffix=".vot")
    )
    return read_simbad(answer.path, target, radius_arcsec)


def read_simbad(path: "str | Path", target: dict[str, Any], radius_arcsec: float) -> pd.DataFrame:
    """Clusters, groups and lenses of an answer.

    Parameters
    ----------
    path : str or Path
    target, radius_arcsec
        As for `ask_simbad`.

    Returns
    -------
    pandas.DataFrame
        As from `ask_simbad`.

    Raises
    ------
    BadAnswer
        If it is no answer, says an error, was cut short, or is for another place.
    """
    table = read_votable(path, TAPResults).to_table()
    refuse_missing(table, _COLUMNS.values())
    frame = pd.DataFrame({ours: table[theirs].tolist() for ours, theirs in _COLUMNS.items()}).astype({"type": str})
    frame["z"] = frame["z"].astype(float).where(frame["z"].notna(), np.nan)
    frame = with_separation(frame, target, radius_arcsec)
    return frame.assign(lens=frame["type"].isin(_LENSES))
