"""Pixel units of surveys, turned into nJy."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from tandemlens.base.errors import DataError
from tandemlens.base.units import njy_per_unit

if TYPE_CHECKING:
    from astropy.io import fits

#: AB magnitude of one unit where the unit itself says it
_ZERO_POINTS = {"maggies": 0.0, "nanomaggies": 22.5}
_JANSKY = {"nJy": 1.0, "uJy": 1e3, "mJy": 1e6, "Jy": 1e9}
_SPELLINGS = {
    "njy": "nJy",
    "ujy": "uJy",
    "microjy": "uJy",
    "mjy": "mJy",
    "jy": "Jy",
    "maggy": "maggies",
    "maggies": "maggies",
    "nanomaggy": "nanomaggies",
    "nanomaggies": "nanomaggies",
    "nmgy": "nanomaggies",
    "adu": "ADU",
    "counts": "ADU",
    "dn": "ADU",
    "mjy/sr": "MJy/sr",
    "mjy.sr-1": "MJy/sr",
    "electrons/s": "e-/s",
    "electron/s": "e-/s",
    "e-/s": "e-/s",
    "e/s": "e-/s",
}
_NUMBER_UNIT = re.compile(r"^\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)?\s*\*?\s*(.+?)\s*$", re.DOTALL)


def njy_per_pixel_unit(spec: dict[str, Any], header: "fits.Header", pixel_area: float, where: str) -> float:
    """Factor from the pixels of an image to nJy.

    Parameters
    ----------
    spec : dict
        Section ``image`` of the survey: unit, zero_point (number or keyword), zero_flux and exposure (keywords).
    header : astropy.io.fits.Header
    pixel_area : float, arcsec^2
        For surface brightness.
    where : str
        Band and file, for messages.

    Returns
    -------
    float

    Raises
    ------
    DataError
        With status bad_unit.
    """
    scale, unit = 1.0, spec.get("unit", "auto")
    if unit == "auto":
        scale, unit = _from_header(header, where)
    if unit in _JANSKY:
        return scale * _JANSKY[unit]
    if unit in _ZERO_POINTS:
        zero_point = spec.get("zero_point", _ZERO_POINTS[unit])
        return scale * njy_per_unit(_keyword(zero_point, header, where))
    if unit == "MJy/sr":
        return scale * 1e15 * pixel_area * u.arcsec.to(u.rad) ** 2
    if unit == "e-/s":
        return scale * _photflam(spec, header, where)
    return scale * _counts(spec, header, where)


def _from_header(header: "fits.Header", where: str) -> tuple[float, str]:
    text = str(header.get("BUNIT", "")).strip()
    if not text:
        return 1.0, "ADU"
    number, name = _NUMBER_UNIT.findall(text)[0]
    unit = "MJy/sr" if name == "MJy/sr" else _SPELLINGS.get(name.lower().replace(" ", ""))
    # MJy is a million Jy, mJy a thousandth: only the case tells.
    if name.startswith("MJy") and unit == "mJy":
        unit = None
    if unit is None:
        raise DataError(
            "bad_unit",
            f"{where}: BUNIT {text!r} is no known unit; set image.unit to one of the units in config/README.md",
        )
    return float(number or 1.0), unit


def _counts(spec: dict[str, Any], header: "fits.Header", where: str) -> float:
    if "zero_flux" in spec:
        flux = _keyword(spec["zero_flux"], header, where)
        if not flux > 0:
            raise DataError("bad_unit", f"{where}: {spec['zero_flux']} is {flux}; the flux of 0 mag must be positive")
        return njy_per_unit(2.5 * np.log10(flux))
    for name in ("zero_point", "MAGZERO", "MAGZPT", "ZP", "PHOTZP"):
        value = spec.get("zero_point") if name == "zero_point" else header.get(name)
        if value is not None:
            seconds = _keyword(spec["exposure"], header, where) if "exposure" in spec else 1.0
            return njy_per_unit(_keyword(value, header, where)) / seconds
    raise DataError("bad_unit", f"{where}: counts without a zero point; set image.zero_point to a number or a keyword")


def _photflam(spec: dict[str, Any], header: "fits.Header", where: str) -> float:
    if spec.get("zero_point") is not None:
        return njy_per_unit(_keyword(spec["zero_point"], header, where))
    flam, plam = header.get("PHOTFLAM"), header.get("PHOTPLAM")
    if not flam or not plam:
        raise DataError("bad_unit", f"{where}: e-/s without PHOTFLAM and PHOTPLAM; set image.zero_point")
    return njy_per_unit(photflam_zero_point(flam, plam))


def photflam_zero_point(photflam: float, photplam: float) -> float:
    """AB zero point of HST counts, f_lambda = PHOTFLAM counts (ACS Data Handbook).

    Parameters
    ----------
    photflam : float, erg/cm^2/Angstrom/electron
    photplam : float, Angstrom
        Pivot wavelength.

    Returns
    -------
    float
    """
    return -2.5 * np.log10(photflam) - 5 * np.log10(photplam) - 2.408


def _keyword(value: str | float, header: "fits.Header", where: str) -> float:
    if not isinstance(value, str):
        return float(value)
    try:
        number = float(header[value])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "bad_unit", f"{where}: keyword {value} is missing or no number; correct the survey file"
        ) from error
    if not np.isfinite(number):
        raise DataError("bad_unit", f"{where}: keyword {value} is {number}; correct the header or the survey file")
    return number
