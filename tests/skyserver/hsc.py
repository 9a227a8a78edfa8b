"""HSC-SSP's das_cutout and PSF picker as `../shared/services.md` C5 describes them, traps included."""

import base64

import numpy as np
from astropy.io import fits

from skyserver.server import Reply, fits_bytes
from skyserver.sky import psf
from tandemlens.base.units import njy_per_unit
from tandemlens.base.wcs import tangent_wcs

#: the one account
USER, PASSWORD = "observer", "open-sesame-17"
SCALE = 0.168
#: background sigma over what the variance implies
NOISE = 1.12
PLANES = {"BAD": 0, "SAT": 1, "INTRP": 2, "NO_DATA": 8, "DETECTED": 5}
_RERUNS = ("pdr3_wide", "pdr3_dud_rev")
_BANDS = {f"HSC-{b.upper()}": b for b in "grizy"}
_LARGEST = 2116.0


def answer(sky, asked):
    word = asked.headers.get("Authorization", "").removeprefix("Basic ")
    if base64.b64decode(word) != f"{USER}:{PASSWORD}".encode():
        return Reply(b"Authorization Required", 401)
    query = asked.query
    band = _BANDS.get(query.get("filter"))
    if band is None or query.get("rerun") not in _RERUNS or "ra" not in query:
        return Reply(b"Not Acceptable", 406)
    ra, dec = float(query["ra"]), float(query["dec"])
    # nothing far south, no y in the north
    if dec < -60 or (band == "y" and dec > 40):
        return Reply(b"no images", 404)
    if asked.path == "/psf/pdr3/cgi/getpsf":
        return _psf(query, dec, band)
    if asked.path == "/das_cutout/pdr3/cgi-bin/cutout":
        return _cutout(sky, query, ra, dec, band)
    return Reply(b"not found", 404)


def _psf(query, dec, band):
    # the picker is out of order south of -50
    if dec < -50:
        return Reply(b"no PSF", 404)
    stamp = psf(SCALE, band, 43)
    # without `centered` the peak lies where the object lies on the pixels
    stamp = stamp if query.get("centered") == "on" else np.roll(stamp, (3, 2), (0, 1))
    return Reply(fits_bytes([fits.PrimaryHDU(stamp)]))


def _cutout(sky, query, ra, dec, band):
    ny, nx = (2 * round(_half(query.get(name, "20asec")) / SCALE) + 1 for name in ("sh", "sw"))
    if max(nx, ny) * SCALE > _LARGEST:
        return Reply(b"too large", 406)
    wcs, shape = tangent_wcs(ra, dec, (ny, nx), SCALE), (ny, nx)
    # every rerun but this corner of the sky has zero point 27
    zero_point = 27.0 if ra < 300 else 26.5
    light, sigma = sky.observed(wcs, shape, band)
    unit = njy_per_unit(zero_point)
    image, variance = light / unit, np.full(shape, (sigma / unit / NOISE) ** 2)
    mask = np.zeros(shape, np.int32)
    mask[:4, :4] |= 1 << PLANES["NO_DATA"]
    mask[6:8, 6:8] |= 1 << PLANES["SAT"]
    # objects are marked, which makes them no worse
    mask[10:14, 10:14] |= 1 << PLANES["DETECTED"]
    image[:4, :4] = np.nan
    hdus = [fits.PrimaryHDU(header=fits.Header([("FLUXMAG0", 10 ** (0.4 * zero_point)), ("FILTER", band)]))]
    layers = [("image", image, "f4"), ("mask", mask, "i4"), ("variance", variance, "f4")]
    for name, values, kind in layers:
        if query.get(name) == "on":
            hdus.append(fits.ImageHDU(values.astype(kind), wcs.to_header()))
            hdus[-1].header["EXTTYPE"] = name.upper()
            if name == "mask":
                hdus[-1].header.update({f"HIERARCH MP_{k}" if len(k) > 5 else f"MP_{k}": v for k, v in PLANES.items()})
    return Reply(fits_bytes(hdus))


def _half(text):
    """Half a side in arcsec; a bare number is in degrees."""
    return float(text.removesuffix("asec")) * (1 if text.endswith("asec") else 3600)


HOSTS = {"hsc-release.mtk.nao.ac.jp": answer}
