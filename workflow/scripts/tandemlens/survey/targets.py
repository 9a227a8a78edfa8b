"""The cleaned target table: every row of the catalogue, flagged, grouped by field and assigned to a shard."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from tandemlens.survey.catalogues import degrees, numbers

#: two rows closer than this are the same object, arcsec
_SAME_ARCSEC = 2.0
#: targets that one may have within the radius of field groups before that radius shrinks
_NEIGHBOURS = 3
#: cutouts of the usual size share pixels below this, arcmin
_CLOSE_ARCMIN = 4.0
NONE = "none"


def clean_targets(raw: pd.DataFrame, group_radius_arcmin: float, nside: int) -> pd.DataFrame:
    """Clean a catalogue without losing a row.

    Parameters
    ----------
    raw : pandas.DataFrame
        From `tandemlens.survey.catalogues.read_catalogue`.
    group_radius_arcmin : float
        Targets of a shard that are closer share a field group (`field_groups`), arcmin.
    nside : int
        HEALPix (nested) resolution of the shards.

    Returns
    -------
    pandas.DataFrame
        As `tandemlens.base.columns.targets.COLUMNS`, in the order of `raw`.
    """
    frame = pd.DataFrame({"name": raw["name"].astype(str).to_numpy(object), "source_row": np.arange(len(raw))})
    frame["ra"], frame["dec"] = degrees(raw["ra"], hours=True), degrees(raw["dec"], hours=False)
    frame["status"], frame["reason"] = "ok", ""
    _refuse_coordinates(frame, raw)
    frame["z"], flags = _redshift(raw["z"])
    for name in ("richness", "ebv"):
        values = numbers(raw[name])
        frame[name] = np.where(values >= 0, values, np.nan)
    frame["target_id"] = _identifiers(frame, raw)
    _refuse_duplicates(frame)
    ok = (frame["status"] == "ok").to_numpy()
    repeated = frame["name"].ne("") & frame["name"].duplicated(keep=False) & ok
    frame["flags"] = [f"{flag} {'name_repeated' * again}".strip() for flag, again in zip(flags, repeated, strict=True)]
    frame["shard"] = NONE
    frame["group_id"] = NONE
    if ok.any():
        ra, dec = frame.loc[ok, "ra"].to_numpy(), frame.loc[ok, "dec"].to_numpy()
        shard = _shards(ra, dec, nside)
        names = frame.loc[ok, "target_id"].to_numpy()
        # a link from shard to shard would let a new target of one change the rows of the other
        group = field_groups(ra, dec, names, group_radius_arcmin, pd.factorize(np.array(shard))[0])
        frame.loc[ok, "shard"], frame.loc[ok, "group_id"] = shard, group
    return frame.assign(canvas=frame["target_id"], wanted="")


def add_twins(frame: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """One row per class for every usable target, all on the canvas of that target.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `clean_targets`.
    classes : sequence of str
        Classes of simulated systems.

    Returns
    -------
    pandas.DataFrame
        Unusable rows stand once, as they were; twins share shard and field group.
    """
    parts = [frame]
    if len(classes):
        usable = frame["status"] == "ok"
        parts = [frame[~usable]]
        for name in classes:
            twins = frame[usable].copy()
            twins["target_id"], twins["wanted"] = twins["canvas"] + f"-{name}", name
            parts.append(twins)
    return pd.concat(parts).sort_values("source_row", kind="stable", ignore_index=True)


def field_groups(
    ra: np.ndarray, dec: np.ndarray, names: np.ndarray, radius_arcmin: float, cells: np.ndarray | None = None
) -> np.ndarray:
    """Group by union-find over separation, so that chains of close fields are one group.

    Where targets stand so densely that such chains would never end, only closer ones are linked: the radius of a target
    with m > 3 others within `radius_arcmin` is ``radius_arcmin * sqrt(3 / m)``, so that about three are left in it, and
    a pair is linked within the smaller radius of the two. Discs in a plane join up without end from 4.5 neighbours on
    (Quintanilla, Torquato & Ziff 2000, J. Phys. A 33, L399). Within 4 arcmin, where cutouts share pixels, all are.

    Parameters
    ----------
    ra, dec : (n,) ndarray, deg
        Equal places count once.
    names : (n,) array of str
        Unique; a group is named after the first of its members in alphabetical order.
    radius_arcmin : float
    cells : (n,) array, optional
        Links stay within an equal value.

    Returns
    -------
    (n,) ndarray of str
    """
    places, first, at = np.unique(np.column_stack([ra, dec]), axis=0, return_index=True, return_inverse=True)
    points = _unit_vectors(*places.T)
    i, j = cKDTree(points).query_pairs(_chord(radius_arcmin * 60), output_type="ndarray").T
    if cells is not None:
        cells = np.asarray(cells)[first]
        i, j = (side[cells[i] == cells[j]] for side in (i, j))
    crowd = np.maximum(np.bincount(np.concatenate([i, j]), minlength=len(places)), _NEIGHBOURS)
    reach = np.maximum(radius_arcmin * np.sqrt(_NEIGHBOURS / crowd), _CLOSE_ARCMIN)
    linked = np.linalg.norm(points[i] - points[j], axis=1) <= _chord(60 * np.minimum(reach[i], reach[j]))
    links = (np.ones(linked.sum(), bool), (i[linked], j[linked]))
    label = connected_components(coo_array(links, shape=(len(places), len(places))), directed=False)[1]
    return pd.Series(names).groupby(label[at]).transform("min").to_numpy()


def shard_digests(frame: pd.DataFrame) -> dict[str, str]:
    """Digest of the rows of every shard; changes with the content and not with the order of the catalogue.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `clean_targets`.

    Returns
    -------
    dict of str
    """
    digests = {}
    content = frame[frame["shard"] != NONE].drop(columns="source_row")
    for shard, rows in content.groupby("shard", sort=True):
        text = rows.sort_values("target_id").to_csv(index=False)
        digests[shard] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return digests


def shard_sizes(frame: pd.DataFrame) -> dict[str, int]:
    """Number of rows of every shard.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `clean_targets`.

    Returns
    -------
    dict of int
    """
    return frame.loc[frame["shard"] != NONE, "shard"].value_counts().to_dict()


def _refuse_coordinates(frame: pd.DataFrame, raw: pd.DataFrame) -> None:
    ra, dec = frame["ra"].to_numpy(), frame["dec"].to_numpy()
    bad = ~(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90) & (ra >= -360) & (ra <= 360))
    frame["ra"], frame["dec"] = np.mod(np.where(bad, np.nan, ra), 360.0), np.where(bad, np.nan, dec)
    frame.loc[bad, "status"] = "bad_coordinates"
    frame.loc[bad, "reason"] = [
        f"ra {a!s}, dec {d!s} are not degrees in [-360, 360] and [-90, 90]; correct the row"
        for a, d in zip(raw["ra"].to_numpy()[bad], raw["dec"].to_numpy()[bad], strict=True)
    ]


def _redshift(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    z = numbers(values)
    missing, odd = ~np.isfinite(z), np.isfinite(z) & ((z <= 0) | (z > 5))
    return np.where(missing | odd, np.nan, z), np.where(missing, "no_redshift", np.where(odd, "bad_redshift", ""))


def _identifiers(frame: pd.DataFrame, raw: pd.DataFrame) -> list[str]:
    identifiers: list[str] = []
    seen: dict[str, int] = {}
    for name, ra, dec, status, a, d in zip(
        frame["name"], frame["ra"], frame["dec"], frame["status"], raw["ra"], raw["dec"], strict=True
    ):
        place = f"{ra:.6f} {dec:.6f}" if status == "ok" else f"{a!s} {d!s}"
        key = f"{name}|{place}"
        seen[key] = seen.get(key, 0) + 1
        # rows that agree in everything still need names of their own
        key = key if seen[key] == 1 else f"{key}|{seen[key]}"
        slug = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:24] or "target"
        identifiers.append(f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:8]}")
    return identifiers


def _refuse_duplicates(frame: pd.DataFrame) -> None:
    ok = np.flatnonzero(frame["status"] == "ok")
    if len(ok) == 0:
        return
    points = _unit_vectors(frame["ra"].to_numpy()[ok], frame["dec"].to_numpy()[ok])
    for i, j in sorted(map(tuple, cKDTree(points).query_pairs(_chord(_SAME_ARCSEC), output_type="ndarray"))):
        first, later = frame.index[ok[i]], frame.index[ok[j]]
        if frame.at[first, "status"] == "ok" and frame.at[later, "status"] == "ok":
            frame.at[later, "status"] = "duplicate"
            frame.at[later, "reason"] = (
                f"lies within {_SAME_ARCSEC} arcsec of row {frame.at[first, 'source_row']} "
                f"({frame.at[first, 'target_id']}); that row is used"
            )


def _shards(ra: np.ndarray, dec: np.ndarray, nside: int) -> list[str]:
    cells = HEALPix(nside, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)
    return [f"hp{nside}_{cell:05d}" for cell in cells]


def _unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    return SkyCoord(ra, dec, unit="deg").cartesian.xyz.value.T


def _chord(arcsec: float | np.ndarray) -> float | np.ndarray:
    return 2 * np.sin(np.radians(arcsec / 3600) / 2)
