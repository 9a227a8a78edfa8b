"""The SkyServer and the frames of SDSS as `../shared/services.md` C4 describes them, traps included.

Frames are rotated, overlap along their run, and come whole; a detection is listed once for every frame it lies on.
"""

import bz2
import re
from functools import lru_cache

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skyserver.server import Reply, fits_bytes
from skyserver.sky import Sky
from tandemlens.base.units import njy_per_unit

SCALE, SHAPE = 0.396, (1489, 2048)
#: from frame to frame along a run, and from run to run (deg): both less than a frame
STEP, STRIP = 1361 * SCALE / 3600, 2000 * SCALE / 3600
#: the scan is at this angle to the equator, deg
TILT = 3.0
GAIN, DARK = 4.7, 1.2
#: nanomaggies per count at the middle column
PER_COUNT = 5e-4
_NANOMAGGIE = njy_per_unit(22.5)
_QUERY = re.compile(r"fGetNearbyObjAllEq\(([-\d.]+), ([-\d.]+), ([\d.]+)\)")
#: answers with an error in place of a table, with HTTP 200, for this many requests
AILING = {"error": 0}


def frame_wcs(run, field):
    """WCS of a frame: rows follow the scan, eastwards, and columns go north; turned by the tilt."""
    dec = (run - 1000) * STRIP
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [field * STEP / np.cos(np.radians(dec)) % 360, dec]
    wcs.wcs.crpix = [SHAPE[1] / 2 + 0.5, SHAPE[0] / 2 + 0.5]
    c, s = np.cos(np.radians(TILT)), np.sin(np.radians(TILT))
    wcs.wcs.cd = SCALE / 3600 * np.array([[-s, c], [c, s]])
    wcs.wcs.set()
    return wcs


def frames_at(ra, dec):
    """Run, field and pixel (column, row) of every frame that holds a place; none south of -20 or north of 70."""
    if not -20 < dec < 70:
        return []
    out = []
    middle = round(dec / STRIP) + 1000
    for run in (middle - 1, middle, middle + 1):
        cos = np.cos(np.radians((run - 1000) * STRIP))
        field = round((ra - 360 if ra > 355 else ra) * cos / STEP)
        for k in (field - 1, field, field + 1):
            x, y = frame_wcs(run, k).all_world2pix(ra, dec, 0)
            if 0 <= x <= SHAPE[1] - 1 and 0 <= y <= SHAPE[0] - 1:
                out.append((run, k, float(x), float(y)))
    return out


def skyserver(sky, asked):
    if AILING["error"] > 0:
        AILING["error"] -= 1
        return Reply(b'<html>"error_message": the query timed out</html>')
    names = re.search(r"SELECT (.*?) FROM", asked.query["cmd"]).group(1).replace(" ", "").split(",")
    ra, dec, radius = map(float, _QUERY.search(asked.query["cmd"]).groups())
    lines = ["#Table1", ",".join(n.split(".")[1] for n in names)]
    for source in sky.sources(ra, dec, 60 * radius):
        cos = np.cos(np.radians(dec))
        east = (source[0] - ra + 180) % 360 - 180
        away = float(np.hypot(east * cos, source[1] - dec)) * 60
        if source[2] > 23 or away > radius:
            continue
        found = frames_at(source[0], source[1])
        rooms = [min(x, SHAPE[1] - x, y, SHAPE[0] - y) for _, _, x, y in found]
        for (run, field, x, y), room in zip(found, rooms, strict=True):
            facts = {"run": run, "rerun": 301, "camcol": 3, "field": field + 5000, "rowc": y, "colc": x}
            facts |= {"mode": 1 if room == max(rooms) else 2, "ra": source[0], "dec": source[1], "distance": away}
            facts |= {f"gain_{b}": GAIN for b in "ugriz"} | {f"darkVariance_{b}": DARK for b in "ugriz"}
            lines.append(",".join(str(facts[n.split(".")[1]]) for n in names))
    return Reply(("\n".join(lines) + "\n").encode())


def frames(sky, asked):
    name = asked.path.rsplit("/", 1)[1]
    _, band, run, _, field = name.removesuffix(".fits.bz2").split("-")
    # one run was not observed in u
    if not asked.path.startswith("/sas/dr17/eboss/photoObj/frames/301/") or (band == "u" and int(run) % 2):
        return Reply(b"not found", 404)
    return Reply(frame(sky, band, int(run), int(field) - 5000))


def variance(light, columns):
    """Variance of counts by the data model, nJy^2, and calibration; the sky is such that blank noise is even."""
    per_count = PER_COUNT * (1 + 0.05 * np.sin(columns / 300))
    return per_count * _NANOMAGGIE * np.maximum(light, 0) / GAIN


@lru_cache(maxsize=48)
def frame(sky: Sky, band, run, field):
    """A frame as the archive keeps it."""
    wcs = frame_wcs(run, field)
    light, sigma = sky.observed(wcs, SHAPE, band)
    columns = np.arange(SHAPE[1])
    per_count = PER_COUNT * (1 + 0.05 * np.sin(columns / 300))
    # counts of the sky that make its noise what it is
    level = GAIN * ((sigma / _NANOMAGGIE / per_count) ** 2 - DARK)
    coarse = np.linspace(0, SHAPE[1] - 1, 256)
    allsky = np.tile(np.interp(coarse, columns, level), (1, 192, 1)).astype("f4")
    x, y = columns * 255 / (SHAPE[1] - 1), np.arange(SHAPE[0]) * 191 / (SHAPE[0] - 1)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ALLSKY", f"{256 * 192}E", dim="(256,192)", array=allsky),
            fits.Column("XINTERP", f"{SHAPE[1]}E", array=x[None].astype("f4")),
            fits.Column("YINTERP", f"{SHAPE[0]}E", array=y[None].astype("f4")),
        ]
    )
    image = _ten_bits(light / _NANOMAGGIE)
    hdus = [fits.PrimaryHDU(image, wcs.to_header()), fits.ImageHDU(per_count.astype("f4")), table]
    return bz2.compress(fits_bytes(hdus), 1)


def _ten_bits(values):
    """Ten significant binary digits, as the archive keeps them."""
    mantissa, exponent = np.frexp(values.astype("f4"))
    return np.ldexp(np.round(mantissa * 1024) / 1024, exponent).astype("f4")


HOSTS = {"skyserver.sdss.org": skyserver, "data.sdss.org": frames}
