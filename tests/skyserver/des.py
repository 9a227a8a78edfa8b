"""NOIRLab's image service for DES DR2 as `../shared/services.md` C2 describes it, traps included.

Tiles overlap, images run east to the right, cutouts end with their tile.
"""

import io

import numpy as np
from astropy.io import fits
from astropy.io.votable import from_table, writeto
from astropy.table import Table
from astropy.wcs import WCS

from skyserver.server import Reply, fits_bytes
from tandemlens.base.units import njy_per_unit

SCALE, SIDE = 0.263, 10000
#: distance of tiles, deg: less than their width of 0.7306
STEP = 0.7138
BANDS = "grizY"
_COUNT = njy_per_unit(30.0)
_ERROR = b"""<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">the database is away</INFO></RESOURCE></VOTABLE>"""
#: answers that the service gives with HTTP 200 when it cannot serve, for this many requests
AILING = {"error": 0, "html": 0}


def tile_wcs(row, column):
    """WCS of a tile; its first axis runs east."""
    dec = row * STEP
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [column * STEP / np.cos(np.radians(dec)) % 360, dec]
    wcs.wcs.crpix = [(SIDE + 1) / 2] * 2
    wcs.wcs.cd = np.diag([SCALE, SCALE]) / 3600
    wcs.wcs.set()
    return wcs


def covered(dec, band):
    """Tiles south of Dec 5 only; no Y in those north of 0."""
    return dec < 5 and (band != "Y" or dec < 0)


def tiles_at(ra, dec):
    """Rows and columns of the tiles that hold a place."""
    middle = round(dec / STEP)
    out = []
    for row in (middle - 1, middle, middle + 1):
        cos = np.cos(np.radians(row * STEP))
        ra_side = (ra + 180) % 360 - 180 if ra > 350 else ra
        column = round(ra_side * cos / STEP)
        for k in (column - 1, column, column + 1):
            x, y = tile_wcs(row, k).all_world2pix(ra, dec, 0)
            if -0.5 <= x < SIDE - 0.5 and -0.5 <= y < SIDE - 0.5:
                out.append((row, k))
    return out


def exposure(row, column):
    """Exposure time of a tile, s."""
    return 900.0 if (row + column) % 2 else 810.0


def serve(sky, asked):
    if asked.path.startswith("/sia/"):
        return _table(asked)
    return _cutout(sky, asked.query) if asked.path == "/svc/cutout" else Reply(b"not found", 404)


def _table(asked):
    for kind, body in (("error", _ERROR), ("html", b"<html><body>Service Temporarily Unavailable</body></html>")):
        if AILING[kind] > 0:
            AILING[kind] -= 1
            return Reply(body)
    ra, dec = map(float, asked.query["POS"].split(","))
    # without a size, the whole degree
    size = asked.query.get("SIZE", "1.0,1.0")
    names = ("assoc_id", "proctype", "prodtype", "obs_bandpass", "exptime", "access_url")
    rows = []
    for row, column in tiles_at(ra, dec):
        for band in BANDS:
            if not covered(row * STEP, band):
                continue
            # tiles south of the equator carry a plus sign too, for the test of what becomes of it
            name = f"DES+{row:+04d}_{column:+04d}_r4907p01_{band}"
            for kind, extension in (("image", 1), ("mask", 2), ("weight", 3)):
                for sky in ("_nobkg", ""):
                    link = f"https://{asked.host}/svc/cutout?col=des_dr2&siaRef={name}{sky}.fits.fz&extn={extension}"
                    link += f"&POS={ra},{dec}&SIZE={size}"
                    rows.append((name, "Stack", kind, band, exposure(row, column), link))
            rows.append((name, "Stack", "image", "det", np.nan, "https://nowhere.invalid/detection"))
            rows.append((name, "InstCal", "image", band, 9000.0, "https://nowhere.invalid/single"))
    columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[] for _ in names]
    dtypes = ["U60", "U10", "U10", "U4", "f4", "U300"]
    votable = from_table(Table(columns, names=names, dtype=dtypes))
    out = io.BytesIO()
    writeto(votable, out)
    info = b'<INFO name="QUERY_STATUS" value="OK"/>'
    body = out.getvalue().replace(b'<RESOURCE type="results">', b'<RESOURCE type="results">' + info)
    return Reply(body)


def _cutout(sky, query):
    # parse_qsl has made blanks of the plus signs, as the service does; %2B it does not understand
    name = query["siaRef"]
    if "+" in name:
        return Reply(b"<html>Internal Server Error</html>", 500)
    # signs: a blank stands for plus
    row, column = (int(part.replace(" ", "+")) for part in name[4:].split("_")[:2])
    band = name.removesuffix(".fits.fz").split("_")[3]
    ra, dec = map(float, query["POS"].split(","))
    width, height = map(float, query["SIZE"].split(","))
    wcs = tile_wcs(row, column)
    x, y = wcs.all_world2pix(ra, dec, 0)
    half = np.array([width, height]) * 3600 / SCALE / 2
    x0, y0 = (max(round(float(c) - h), 0) for c, h in zip((x, y), half, strict=True))
    x1, y1 = (min(round(float(c) + h) + 1, SIDE) for c, h in zip((x, y), half, strict=True))
    if x0 >= x1 or y0 >= y1:
        return Reply(b"no overlap", 404)
    wcs.wcs.crpix -= [x0, y0]
    shape = y1 - y0, x1 - x0
    light, sigma = sky.observed(wcs, shape, band.replace("Y", "y"))
    level = 5e3 * sigma if "_nobkg" in name else 0.0
    data = {"1": light + level, "2": np.zeros(shape), "3": np.full(shape, (_COUNT / sigma) ** 2)}[query["extn"]]
    data = data / _COUNT if query["extn"] == "1" else data
    return Reply(fits_bytes([fits.PrimaryHDU(data.astype("f4"), wcs.to_header())]))


HOSTS = {"datalab.noirlab.edu": serve}
