"""Galactic reddening of a target."""

from functools import cache

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy_healpix import HEALPix

from tandemlens.base.errors import InputError


def reddening(ra, dec, catalogue_value, map_path):
    """E(B-V) towards a target and where it comes from.

    Parameters
    ----------
    ra, dec : float, deg
        ICRS.
    catalogue_value : float
        From the target list; NaN if unknown.
    map_path : str or None
        HEALPix FITS map.

    Returns
    -------
    ebv : float, mag
        0 where nothing is known.
    source : str
        catalogue, map or none.
    """
    if np.isfinite(catalogue_value) and catalogue_value >= 0:
        return float(catalogue_value), "catalogue"
    if map_path is None:
        return 0.0, "none"
    pixels, grid, galactic = read_map(str(map_path))
    place = SkyCoord(ra, dec, unit="deg", frame="icrs")
    place = place.galactic if galactic else place
    value = grid.interpolate_bilinear_lonlat(*_angles(place), pixels)
    return (float(value), "map") if np.isfinite(value) and value >= 0 else (0.0, "none")


@cache
def read_map(path):
    """Read a full-sky HEALPix map of E(B-V) from the first table of a FITS file.

    Parameters
    ----------
    path : str

    Returns
    -------
    pixels : (12 nside^2,) float ndarray, mag
    grid : astropy_healpix.HEALPix
    galactic : bool
        Whether the map is in Galactic coordinates (COORDSYS G).

    Raises
    ------
    InputError
        If there is no such map in the file.
    """
    try:
        with fits.open(path) as hdus:
            header = hdus[1].header
            table = Table(hdus[1].data)
            values = np.concatenate([np.ravel(row) for row in table[table.colnames[0]]]).astype(float)
            nside, order = int(header["NSIDE"]), header["ORDERING"].strip().lower()
            galactic = header.get("COORDSYS", "G").strip().upper().startswith("G")
    except (OSError, KeyError, IndexError) as error:
        raise InputError(
            f"measure.ebv_map {path} cannot be read as a HEALPix FITS map ({type(error).__name__}: {error}); "
            "give a full-sky map with NSIDE and ORDERING, or null"
        ) from error
    if len(values) != 12 * nside**2:
        raise InputError(f"measure.ebv_map {path} holds {len(values)} pixels but NSIDE {nside} needs {12 * nside**2}")
    return values, HEALPix(nside, order="nested" if order.startswith("nest") else "ring"), galactic


def _angles(place):
    spherical = place.spherical
    return spherical.lon, spherical.lat
