"""What NED and SIMBAD know around targets: the nearest cluster, group or lens, and how many lenses there are."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord

from tandemlens.base.columns.crossmatch import OBJECTS
from tandemlens.base.errors import DataError
from tandemlens.survey.services.client import BadAnswer
from tandemlens.survey.services.service import ask_targets

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table

    from tandemlens.survey.services.client import Client

#: objects may lie this far beyond the radius, for the digits of the answer, arcsec
_ROUNDED = 1.0


def objects_shard(
    ask: Callable[..., Any],
    targets: "pd.DataFrame",
    settings: dict[str, Any],
    radius_arcsec: float,
    table_path: str,
    progress: Callable[[int, int], None],
) -> dict[str, str]:
    """Ask a service what is known around the targets of a shard.

    Parameters
    ----------
    ask : callable
        ``ask(client, target, radius_arcsec)``; gives a table with name, type, ra, dec (deg), z and lens (bool) of the
        clusters, groups and lenses, and raises `DataError`.
    targets : pandas.DataFrame
        Columns target_id, ra, dec.
    settings : dict
        Section ``fetch`` of the settings.
    radius_arcsec : float
    table_path : str
        Product: ned.parquet or simbad.parquet, one row a target.
    progress : callable

    Returns
    -------
    dict of str
        File of an answer -> SHA-256.
    """
    row = partial(_row, ask, radius_arcsec)
    return ask_targets(row, targets, OBJECTS, settings, table_path, progress)


def refuse_missing(table: "Table", wanted: Iterable[str]) -> None:
    """Refuse an answer without a column.

    Parameters
    ----------
    table : astropy.table.Table
    wanted : iterable of str

    Raises
    ------
    BadAnswer
        Naming the columns.
    """
    missing = [name for name in wanted if name not in table.colnames]
    if missing:
        raise BadAnswer(f"the answer has no column {', '.join(missing)}")


def with_separation(found: "pd.DataFrame", target: dict[str, Any], radius_arcsec: float) -> "pd.DataFrame":
    """Objects with their angle from a target, the nearest first.

    Parameters
    ----------
    found : pandas.DataFrame
        Columns ra, dec, deg.
    target : dict
        Keys ra, dec, deg.
    radius_arcsec : float

    Returns
    -------
    pandas.DataFrame
        With the column separation, arcsec.

    Raises
    ------
    BadAnswer
        If one lies beyond the radius: the answer is for another place.
    """
    place = SkyCoord(target["ra"], target["dec"], unit="deg")
    there = SkyCoord(found["ra"].to_numpy(float), found["dec"].to_numpy(float), unit="deg")
    found = found.assign(separation=place.separation(there).arcsec)
    far = found["separation"].max()
    if far > radius_arcsec + _ROUNDED:
        raise BadAnswer(
            f"the answer holds an object {far:.0f} arcsec from the target, {radius_arcsec:g} were asked for"
        )
    return found.sort_values(["separation", "name"], ignore_index=True)


def _row(ask: Callable[..., Any], radius_arcsec: float, client: "Client", target: dict[str, Any]) -> dict[str, Any]:
    row = {"name": "", "type": "", "z": np.nan, "separation": np.nan, "lenses": -1, "status": "ok", "reason": ""}
    try:
        found = ask(client, target, radius_arcsec)
    except DataError as error:
        return row | {"status": error.status, "reason": str(error)}
    nearest = found.iloc[0][["name", "type", "z", "separation"]].to_dict() if len(found) else {}
    return row | nearest | {"lenses": int(found["lens"].sum())}
