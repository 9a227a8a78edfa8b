"""What is known of the targets: the nearest lens of the cleaned lenscat, and entries of other cluster catalogues."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky

from tandemlens.base.columns.crossmatch import FROM_OBJECTS
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.lenscat import TYPES, read_lenscat
from tandemlens.survey.targets import clean_targets

if TYPE_CHECKING:
    from pathlib import Path


def crossmatch(
    targets: pd.DataFrame,
    cfg: dict[str, Any],
    lenscat: str,
    catalogues: dict[str, str],
    answers: dict[str, pd.DataFrame],
) -> pd.DataFrame:
    """Columns of what the targets were crossmatched with.

    Parameters
    ----------
    targets : pandas.DataFrame
        The cleaned target table.
    cfg : dict
        Section ``crossmatch`` of the settings.
    lenscat : str
        CSV of lenscat; empty leaves it out.
    catalogues : dict of str
        Name -> file.
    answers : dict of pandas.DataFrame
        ned, simbad -> what the service says of the targets (`tandemlens.base.columns.crossmatch.OBJECTS`).

    Returns
    -------
    pandas.DataFrame
        target_id, and the columns of `tandemlens.base.columns.crossmatch.columns`; one row per target.
    """
    out = targets[["target_id"]]
    tables = {name: _clusters(path, cfg["catalogues"][name]) for name, path in catalogues.items()}
    if lenscat:
        systems, _ = read_lenscat(lenscat, TYPES, tuple(tables.values()))
        out = out.merge(nearest_lens(targets, systems, cfg["radius_arcsec"]), on="target_id", how="left")
        out = out.assign(known_lens=out["lens_name"].notna())
    for name, table in tables.items():
        found = nearest(targets, table, cfg["catalogues"][name]["radius_arcsec"])
        columns = {"name": f"match_{name}", "z": f"match_{name}_z", "separation": f"match_{name}_separation"}
        out = out.merge(found[["target_id", *columns]].rename(columns=columns), on="target_id", how="left")
    for service, table in answers.items():
        columns = {column: f"{service}_{column}" for column in FROM_OBJECTS}
        out = out.merge(table[["target_id", *columns]].rename(columns=columns), on="target_id", how="left")
        # a target without a place is in no shard, and nobody was asked about it
        out = out.fillna({f"{service}_lenses": -1})
    return out


def nearest_lens(targets: pd.DataFrame, systems: pd.DataFrame, radii: dict[str, float]) -> pd.DataFrame:
    """The nearest lens of each target that lies within the radius of its type.

    Parameters
    ----------
    targets : pandas.DataFrame
    systems : pandas.DataFrame
        From `tandemlens.survey.lenscat.read_lenscat`.
    radii : dict of float
        Type of lens -> largest separation, arcsec.

    Returns
    -------
    pandas.DataFrame
        target_id, lens_name, lens_type, lens_grade, lens_z, lens_separation (arcsec); only targets that have one.
    """
    found = pd.concat(
        [nearest(targets, systems[systems["type"] == kind], radius) for kind, radius in radii.items()]
    ).sort_values("separation", kind="stable")
    columns = {"name": "lens_name", "type": "lens_type", "grading": "lens_grade", "z": "lens_z"}
    columns |= {"separation": "lens_separation"}
    return found.drop_duplicates("target_id")[["target_id", *columns]].rename(columns=columns)


def nearest(targets: pd.DataFrame, table: pd.DataFrame, radius_arcsec: float) -> pd.DataFrame:
    """The nearest row of a table for each target.

    Parameters
    ----------
    targets, table : pandas.DataFrame
        Columns ra, dec, deg; rows without a place match nothing.
    radius_arcsec : float
        Largest separation, arcsec.

    Returns
    -------
    pandas.DataFrame
        target_id, the columns of `table` and separation (arcsec), of targets that have one; of two at the same angle
        the earlier.
    """
    here, there = (frame[frame["ra"].notna() & frame["dec"].notna()] for frame in (targets, table))
    if here.empty or there.empty:
        i, j, separation = np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    else:
        places = [SkyCoord(frame["ra"].to_numpy(), frame["dec"].to_numpy(), unit="deg") for frame in (here, there)]
        i, j, angle, _ = search_around_sky(*places, radius_arcsec * u.arcsec)
        separation = angle.arcsec
    found = there.drop(columns="target_id", errors="ignore").iloc[j]
    found = found.assign(target_id=here["target_id"].to_numpy()[i], separation=separation, _row=j)
    order = ["target_id", "separation", "_row"]
    return found.sort_values(order).drop_duplicates("target_id").drop(columns="_row").reset_index(drop=True)


def _clusters(path: "str | Path", cfg: dict[str, Any]) -> pd.DataFrame:
    raw = read_catalogue(path, cfg["columns"], cfg["format"], cfg["hdu"])
    return clean_targets(raw, group_radius_arcmin=0, nside=1)[["name", "ra", "dec", "z"]]
