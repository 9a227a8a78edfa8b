"""Galactic reddening of a target.

Every E(B-V) is on the scale of Schlegel, Finkbeiner & Davis (1998), and so are the coefficients of the survey files:
those of Schlafly & Finkbeiner (2011) already hold the recalibration by 0.86, which must not come twice.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy_healpix import HEALPix

from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_SFD_FILES = ("SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits")


def reddening(
    ra: float, dec: float, catalogue_value: float, map_path: str | None, service_value: float = np.nan
) -> tuple[float, str]:
    """E(B-V) towards a target and where it comes from.

    Parameters
    ----------
    ra, dec : float, deg
        ICRS.
    catalogue_value : float
        From the target list; NaN if unknown.
    map_path : str or None
        HEALPix FITS map, or a folder with the maps of Schlegel, Finkbeiner & Davis (1998).
    service_value : float
        From IRSA's dust service; NaN if not asked or not answered.

    Returns
    -------
    ebv : float, mag
        0 where nothing is known.
    source : str
        catalogue, map, service or none: the first that knows it.
    """
    if _known(catalogue_value):
        return float(catalogue_value), "catalogue"
    if map_path is not None:
        value = _on_map(SkyCoord(ra, dec, unit="deg", frame="icrs"), str(map_path))
        if _known(value):
            return value, "map"
    return (float(service_value), "service") if _known(service_value) else (0.0, "none")


def asked_reddening(dust_path: str | None) -> dict[str, float]:
    """What the dust service answered.

    Parameters
    ----------
    dust_path : str or None
        dust.parquet; None where nobody was asked.

    Returns
    -------
    dict of float, mag
        target_id -> E(B-V), NaN where no answer came.
    """
    return read_table(dust_path).set_index("target_id")["ebv"].to_dict() if dust_path else {}


def transmission(ebv: float, extinction: "ArrayLike") -> np.ndarray:
    """Share of the light that dust lets through.

    Parameters
    ----------
    ebv : float, mag
    extinction : (band,) array_like
        A over E(B-V).

    Returns
    -------
    (band,) float ndarray
    """
    return 10 ** (-0.4 * ebv * np.asarray(extinction, float))


def _known(value: float) -> bool:
    return bool(np.isfinite(value) and value >= 0)


def _on_map(place: SkyCoord, path: str) -> float:
    if Path(path).is_dir():
        return float(read_sfd(path).ebv(place))
    pixels, grid, galactic = read_map(path)
    spherical = (place.galactic if galactic else place).spherical
    return float(grid.interpolate_bilinear_lonlat(spherical.lon, spherical.lat, pixels))


@cache
def read_sfd(folder: str) -> Any:
    """Read the maps of Schlegel, Finkbeiner & Davis (1998), as they gave them.

    Parameters
    ----------
    folder : str

    Returns
    -------
    sfdmap2.sfdmap.SFDMap

    Raises
    ------
    InputError
        If a map is missing, or the package that reads it.
    """
    missing = [name for name in _SFD_FILES if not (Path(folder) / name).is_file()]
    if missing:
        raise InputError(
            f"measure.ebv_map {folder} lacks {' and '.join(missing)}; give the folder with both maps, or a HEALPix map"
        )
    try:
        from sfdmap2.sfdmap import SFDMap
    except ImportError as error:
        raise InputError(
            f"measure.ebv_map {folder} needs the package sfdmap2 ({error}); pip install sfdmap2, or give a HEALPix map"
        ) from error
    # its default of 0.86 is for coefficients that do not hold the recalibration
    return SFDMap(folder, scaling=1.0)


@cache
def read_map(path: str) -> tuple[np.ndarray, Any, bool]:
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
            "give a full-sky map with NSIDE and ORDERING, a folder with the SFD maps, or null"
        ) from error
    if len(values) != 12 * nside**2:
        raise InputError(f"measure.ebv_map {path} holds {len(values)} pixels but NSIDE {nside} needs {12 * nside**2}")
    return values, HEALPix(nside, order="nested" if order.startswith("nest") else "ring"), galactic
