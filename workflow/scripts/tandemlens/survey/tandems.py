"""Catalogue tandems: pairs of clusters in line, one behind the other."""

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky

from tandemlens.base.columns.tandems import COLUMNS
from tandemlens.base.tables import empty_frame


def find_tandems(targets: pd.DataFrame, background: pd.DataFrame, dz_min: float, radius_arcsec: float) -> pd.DataFrame:
    """For each target the clusters that lie behind it.

    Parameters
    ----------
    targets, background : pandas.DataFrame
        Cleaned target tables (`tandemlens.survey.targets.clean_targets`); they may be the same. Rows without
        coordinates or redshift have no pairs.
    dz_min : float
        The background cluster lies behind if its redshift is larger by more than this.
    radius_arcsec : float
        Largest separation, arcsec.

    Returns
    -------
    pandas.DataFrame
        As `tandemlens.base.columns.tandems.COLUMNS`, nearest first for each target.
    """
    front, back = (frame[(frame["status"] == "ok") & frame["z"].notna()] for frame in (targets, background))
    if front.empty or back.empty:
        return empty_frame(COLUMNS)
    places = [SkyCoord(frame["ra"].to_numpy(), frame["dec"].to_numpy(), unit="deg") for frame in (front, back)]
    i, j, separation, _ = search_around_sky(*places, radius_arcsec * u.arcsec)
    dz = back["z"].to_numpy()[j] - front["z"].to_numpy()[i]
    behind = dz > dz_min
    i, j = i[behind], j[behind]
    out = pd.DataFrame(
        {
            "target_id": front["target_id"].to_numpy()[i],
            "bg_name": back["name"].to_numpy()[j],
            "bg_ra": back["ra"].to_numpy()[j],
            "bg_dec": back["dec"].to_numpy()[j],
            "bg_z": back["z"].to_numpy()[j],
            "separation_arcsec": np.asarray(separation.arcsec)[behind],
            "dz": dz[behind],
        }
    )
    return out.sort_values(["target_id", "separation_arcsec"], ignore_index=True)
