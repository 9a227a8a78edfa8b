"""The community list of lenses, lenscat, cleaned: one row a system, and every row that went, with the reason.

As published (version 1.1.3, 32,838 rows) it is no list of lenses: 13,678 rows cite only catalogues of galaxy clusters.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky

from tandemlens.base.errors import SettingsError
from tandemlens.survey.catalogues import numbers
from tandemlens.survey.targets import field_groups

if TYPE_CHECKING:
    from pathlib import Path

#: from the largest
TYPES = ("cluster", "group", "galaxy")
_GRADES = ("confident", "probable")
_COLUMNS = ("name", "RA [deg]", "DEC [deg]", "zlens", "type", "grading", "ref")
#: papers of cluster catalogues: a row that cites nothing else is a cluster, not a lens
_CLUSTER_PAPERS = (
    "Lopes et al. (2004)",
    "Gonzalez et al. (2001)",
    "Gioia et al. (1990)",
    "Gladders et al. (2005)",
    'B\\"ohringer et al.',
    "Olsen et al. (2006)",
    "Menanteau et al. (2010)",
    "Popesso et al. (2004)",
    "Ebeling et al.",
)
#: name in the list -> what is wrong there: column, value as it stands, value as it is
_MEND = {
    "Abell 2744": ("DEC [deg]", "30.400175", "-30.400175"),
    "MACS J0416.1+2403": ("name", "MACS J0416.1+2403", "MACS J0416.1-2403"),
    "MACS J1206.2+0847": ("name", "MACS J1206.2+0847", "MACS J1206.2-0847"),
    "1E 0657+56 (Bullet)": ("name", "1E 0657+56 (Bullet)", "1E 0657-56 (Bullet)"),
    "ACT-CLJ0102-49151": ("name", "ACT-CLJ0102-49151", "ACT-CLJ0102-4915"),
    # the Carousel: at least seven sources behind a cluster, theta_E 13 arcsec
    "DESJ0603-3558 | DESI-090.9854-35.9683 | J0603-3558": ("type", "galaxy", "cluster"),
}
#: rows closer than this (chains count) are one system, arcsec; places of giant arcs are rounded to up to 15 arcsec
RADIUS = 60.0
#: a galaxy-scale lens belongs to a cluster of a given table if |dz| / (1 + z) is smaller, where both have a redshift
_DZ = 0.05
_NUMBER = re.compile(r"\d*\.?\d+")


def read_lenscat(
    path: "str | Path", types: Sequence[str] = ("cluster", "group"), clusters: Sequence[pd.DataFrame] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read and clean the list.

    Parameters
    ----------
    path : str or Path
        CSV of lenscat.
    types : sequence of str
        Kept scales of the lens: cluster, group, galaxy.
    clusters : sequence of pandas.DataFrame
        As for `clean_lenscat`.

    Returns
    -------
    systems, dropped : pandas.DataFrame
        As from `clean_lenscat`; systems of other types are among the dropped.

    Raises
    ------
    SettingsError
        If the file is none of lenscat.
    """
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SettingsError(f"lens list {path} cannot be read: {error}; check targets.catalogue and DATA") from error
    missing = [name for name in _COLUMNS if name not in raw]
    if missing:
        raise SettingsError(
            f"lens list {path} lacks the columns {', '.join(missing)} of lenscat; it has {', '.join(raw.columns)}"
        )
    systems, dropped = clean_lenscat(raw, clusters)
    other = ~systems["type"].isin(types)
    gone = _gone(raw, systems["row"][other], [f"a lens of type {t} is not asked for" for t in systems["type"][other]])
    return systems[~other].reset_index(drop=True), pd.concat([dropped, gone]).sort_values("row", ignore_index=True)


def clean_lenscat(raw: pd.DataFrame, clusters: Sequence[pd.DataFrame] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a lens system.

    Parameters
    ----------
    raw : pandas.DataFrame of str
        The list as published, columns name, RA [deg], DEC [deg], zlens, type, grading, ref.
    clusters : sequence of pandas.DataFrame
        Clusters, columns ra, dec (deg) and z: a lens within 60 arcsec of one, at its redshift, is of cluster scale.

    Returns
    -------
    systems : pandas.DataFrame
        name, ra, dec (deg), z, richness, ebv (NaN), type, grading, ref, rows (their number), flags, row (the first,
        from 0). Type and grading are the largest and best of its rows, z is the first redshift stated, in that order.
        Flags: coordinates_mended, name_mended, type_mended, promoted, z_several, z_uncertain, z_of_friend
        (stated in another of its rows).
    dropped : pandas.DataFrame
        row, name and reason of every other row: systems and dropped together are the list.
    """
    frame = _mended(raw)
    frame["ra"], frame["dec"] = numbers(frame["RA [deg]"]), numbers(frame["DEC [deg]"])
    papers = frame["ref"].map(_cites_clusters_only)
    bad = ~(frame["ra"].between(0, 360) & frame["dec"].between(-90, 90) & frame["type"].isin(TYPES))
    reasons = np.where(papers, "cites only catalogues of clusters: " + frame["ref"], "has no usable place or type")
    out = papers | bad
    lenses = frame[~out].copy()
    redshift = lenses["zlens"].map(_redshift)
    lenses["z"] = redshift.str[0].astype(float)
    lenses["flags"] = lenses["flags"] + redshift.str[1]
    _promote(lenses, clusters)
    systems, merged = _systems(lenses)
    dropped = pd.concat([_gone(raw, frame.index[out], reasons[out]), _gone(raw, merged.index, merged)])
    return systems, dropped.sort_values("row", ignore_index=True)


def _mended(raw: pd.DataFrame) -> pd.DataFrame:
    frame = raw[list(_COLUMNS)].reset_index(drop=True).copy()
    frame["flags"] = [()] * len(frame)
    words = {"DEC [deg]": "coordinates_mended", "name": "name_mended", "type": "type_mended"}
    for name, (column, wrong, right) in _MEND.items():
        # a later version may have mended it itself
        for row in frame.index[(frame["name"] == name) & (frame[column] == wrong)]:
            frame.at[row, column], frame.at[row, "flags"] = right, (words[column],)
    return frame


def _cites_clusters_only(ref: str) -> bool:
    return all(part.strip().startswith(_CLUSTER_PAPERS) for part in ref.split(" | "))


def _redshift(text: str) -> tuple[float, tuple[str, ...]]:
    """First number of a redshift such as ``0.31 | 0.3``, ``0.4?``, ``not measured``, and what there is to say of it."""
    stated = [part for part in text.split("|") if _NUMBER.search(part)]
    if not stated:
        return np.nan, ()
    flags = ("z_several",) * (len(stated) > 1) + ("z_uncertain",) * any(c in stated[0] for c in "?*")
    return float(_NUMBER.findall(stated[0])[0]), flags


def _promote(lenses: pd.DataFrame, clusters: Sequence[pd.DataFrame]) -> None:
    smaller = lenses.index[lenses["type"] != TYPES[0]]
    for table in clusters:
        near = _members(lenses.loc[smaller], table)
        lenses.loc[near, "type"] = TYPES[0]
        lenses.loc[near, "flags"] = lenses.loc[near, "flags"].map(lambda flags: (*flags, "promoted"))
        smaller = smaller.difference(near)


def _members(lenses: pd.DataFrame, table: pd.DataFrame) -> pd.Index:
    ra, dec, z = numbers(table["ra"]), numbers(table["dec"]), numbers(table["z"])
    there = np.isfinite(ra) & np.isfinite(dec)
    if lenses.empty or not there.any():
        return lenses.index[:0]
    places = [
        SkyCoord(a, d, unit="deg")
        for a, d in ((lenses["ra"].to_numpy(), lenses["dec"].to_numpy()), (ra[there], dec[there]))
    ]
    i, j, _, _ = search_around_sky(*places, RADIUS * u.arcsec)
    front, back = lenses["z"].to_numpy()[i], z[there][j]
    # an unknown redshift contradicts nothing
    alike = ~(np.abs(front - back) > _DZ * (1 + back))
    return lenses.index[np.unique(i[alike])]


def _systems(lenses: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Friends of friends become one row, that of the largest type and then the best grade; and why the others went."""
    if lenses.empty:
        return _columns(lenses.assign(rows=0, row=0)), pd.Series(dtype=str)
    keys = np.array([f"{row:07d}" for row in lenses.index])
    group = field_groups(lenses["ra"].to_numpy(), lenses["dec"].to_numpy(), keys, RADIUS / 60)
    size = lenses["type"].map(TYPES.index)
    grade = lenses["grading"].map(lambda g: _GRADES.index(g) if g in _GRADES else len(_GRADES))
    order = pd.DataFrame({"group": group, "size": size, "grade": grade, "row": lenses.index}, index=lenses.index)
    order = order.sort_values(["group", "size", "grade", "row"])
    first = order.groupby("group")["row"].transform("first")
    rows = lenses.loc[order.index].groupby(first)
    systems = lenses.loc[sorted(first.unique())].copy()
    systems["grading"] = (
        lenses["grading"].loc[order.sort_values(["group", "grade", "row"]).index].groupby(first).first()
    )
    systems["rows"], systems["row"] = rows.size(), systems.index
    # first skips what is missing
    lent = rows["z"].first()[systems["z"].isna()].dropna()
    systems.loc[lent.index, "z"] = lent
    systems.loc[lent.index, "flags"] = systems.loc[lent.index, "flags"].map(lambda flags: (*flags, "z_of_friend"))
    merged = first[first != first.index]
    reasons = "within 60 arcsec of " + lenses["name"].loc[merged].set_axis(merged.index) + ", one system with it"
    return _columns(systems), reasons


def _columns(systems: pd.DataFrame) -> pd.DataFrame:
    names = ["name", "ra", "dec", "z", "richness", "ebv", "type", "grading", "ref", "rows", "flags", "row"]
    flags = systems["flags"].map(" ".join)
    return systems.assign(richness=np.nan, ebv=np.nan, flags=flags)[names].reset_index(drop=True)


def _gone(raw: pd.DataFrame, rows: Iterable[int], reasons: Iterable[str]) -> pd.DataFrame:
    rows = np.asarray(rows, int)
    return pd.DataFrame({"row": rows, "name": raw["name"].to_numpy()[rows], "reason": np.asarray(reasons, object)})
