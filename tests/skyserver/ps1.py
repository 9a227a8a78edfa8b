"""STScI's Pan-STARRS1 image services as `../shared/services.md` C3 describes them, traps included.

Skycells share the projection of their cell, so that north is not up and the reference pixel lies far outside; headers
have the old keywords PC001001 and no RADESYS.
"""

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skyserver.server import Reply, fits_bytes
from tandemlens.base.units import njy_per_unit

SCALE = 0.25
EXPTIME = {"g": 516.0, "r": 612.0, "i": 1225.0, "z": 630.0, "y": 480.0}
#: height of a projection cell (deg), width of a skycell without and with its margin (pixel)
RING, CELL, MARGIN = 4.0, 6000, 240
#: serve pixels as the whole skycells hold them, asinh-compressed
COMPRESSED = False
_COLUMNS = "projcell subcell ra dec filter mjd type filename shortname badflag"
_KINDS = {"stack": "unconv.fits", "stack.wt": "unconv.wt.fits", "stack.mask": "unconv.mask.fits"}
_HALF = 5
#: columns of a skycell, by their remainder, that a mask bit spoils: cosmic ray, suspect, saturated
BITS = {(211, 0): 0x100, (211, 100): 0x80, (211, 150): 0x20}
_SOFT = 2.5 / np.log(10)


def covered(dec, band):
    return dec > -30 and (band != "y" or dec > -25)


def _projection(number):
    ring, column = divmod(number, 100)
    dec = -28 + ring * RING
    n = max(1, round(360 * np.cos(np.radians(dec)) / RING))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [(column + 0.5) * 360 / n % 360, dec]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    wcs.wcs.crpix = [1, 1]
    wcs.wcs.set()
    return wcs, n


def skycell_at(ra, dec):
    """Numbers of the projection cell and the skycell of a place."""
    ring = int(np.clip(round((dec + 28) / RING), 0, 29))
    n = _projection(100 * ring)[1]
    number = 100 * ring + int(ra % 360 / 360 * n)
    x, y = _projection(number)[0].all_world2pix(ra, dec, 0)
    column, row = (int(np.floor(float(c) / CELL)) + _HALF for c in (x, y))
    return number, 10 * row + column


def serve(sky, asked):
    query = asked.query
    ra, dec = float(query["ra"]), float(query["dec"])
    if asked.path.endswith("/ps1filenames.py"):
        return _list(ra, dec, query["filters"], query["type"].split(","))
    return _cutout(sky, ra, dec, query["red"], int(query.get("size", 240)))


def _list(ra, dec, bands, kinds):
    projection, cell = skycell_at(ra, dec)
    lines = [_COLUMNS]
    # another skycell of the overlap comes last, with all its files
    for sub in (cell, cell + 1):
        for kind in kinds:
            for band in bands:
                if not covered(dec, band):
                    continue
                short = f"rings.v3.skycell.{projection:04d}.{sub:03d}.stk.{band}.{_KINDS[kind]}"
                name = f"/rings.v3.skycell/{projection:04d}/{sub:03d}/{short}"
                lines.append(f"{projection} {sub} {ra} {dec} {band} 0 {kind} {name} {short} 0")
    return Reply(("\n".join(lines) + "\n").encode())


def _cutout(sky, ra, dec, name, size):
    parts = name.rsplit("/", 1)[1].split(".")
    projection, cell, band, kind = int(parts[3]), int(parts[4]), parts[6], ".".join(parts[7:])
    wcs, _ = _projection(projection)
    x, y = (float(c) for c in wcs.all_world2pix(ra, dec, 0))
    x0, y0 = round(x - (size - 1) / 2), round(y - (size - 1) / 2)
    wcs.wcs.crpix -= [x0, y0]
    shape = size, size
    columns, rows = np.arange(size) + x0, np.arange(size) + y0
    row, column = divmod(cell, 10)
    outside = ~(_within(rows, row)[:, None] & _within(columns, column)[None])
    seconds = EXPTIME[band]
    count = njy_per_unit(25.0) / seconds
    light, sigma = sky.observed(wcs, shape, band)
    header = _header(wcs)
    header["EXPTIME"] = seconds
    if kind == _KINDS["stack.mask"]:
        mask = np.zeros(shape, "i2")
        for (period, rest), bit in BITS.items():
            mask[:, columns % period == rest] |= bit
        mask[outside] = 0x8
        return Reply(fits_bytes([fits.PrimaryHDU(mask, header)]))
    data = light / count if kind == _KINDS["stack"] else np.full(shape, (sigma / count) ** 2)
    data[outside] = np.nan
    if COMPRESSED:
        offset = float(np.nanmedian(data))
        soft = max(float(np.nanstd(data)), 0.1 * abs(offset))
        header["BOFFSET"], header["BSOFTEN"] = offset, soft
        data = _SOFT * np.arcsinh((data - offset) / (2 * soft))
    return Reply(fits_bytes([fits.PrimaryHDU(data.astype("f4"), header)]))


def _within(places, number):
    start = (number - _HALF) * CELL - MARGIN // 2
    return (places >= start) & (places < start + CELL + MARGIN)


def _header(wcs):
    header = fits.Header()
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = wcs.wcs.ctype[axis - 1]
        header[f"CRVAL{axis}"] = wcs.wcs.crval[axis - 1]
        header[f"CRPIX{axis}"] = wcs.wcs.crpix[axis - 1]
        header[f"CDELT{axis}"] = SCALE / 3600
    header["PC001001"], header["PC001002"], header["PC002001"], header["PC002002"] = -1.0, 0.0, 0.0, 1.0
    return header


HOSTS = {"ps1images.stsci.edu": serve}
