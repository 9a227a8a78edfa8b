"""Euclid MER mosaics at IRSA and ESA as `../shared/services.md` C7 describes them, traps included.

A mosaic is never made as a whole: its header and the rows that are asked for are, so that it can be as high as a real
one; it is narrower.
"""

import re

import numpy as np
from astropy.io import fits

from skyserver.server import HTML, Reply, fits_bytes
from skyserver.votable import votable
from tandemlens.base.units import njy_per_unit
from tandemlens.base.wcs import tangent_wcs

NX, NY, SCALE = 2600, 19200, 0.1
BANDS = {"VIS": "VIS", "NIR-Y": "Y", "NIR-J": "J", "NIR-H": "H"} | {f"DES-{b.upper()}": b for b in "griz"}
ZERO_POINTS = {"VIS": 24.6}
NO_DATA, SATURATED, HOT = 4194304, 8, 2
#: steps of the tiles, deg: they overlap
_ROW, _COLUMN = 0.5, 0.05
_STAMP = "5ED2D5_20241105T125727.727353Z_00.00"
_FOLDER = "/ibe/data/euclid/q1/MER"


def irsa(sky, asked):
    if asked.path == "/SIA":
        return _list(asked.query)
    name = re.search(r"EUC_MER_(BGSUB-)?MOSAIC-([A-Z-]+?)(-RMS|-FLAG)?_TILE(\d+)-", asked.path)
    if not asked.path.startswith(_FOLDER) or not name:
        return Reply(HTML, 404)
    band, kind, tile = BANDS[name[2]], (name[3] or "").strip("-"), name[4]
    header = _header(tile, band, kind)
    total = len(header) + NX * NY * 4
    span = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("Range", ""))
    if not span:
        return Reply(bytes(total))
    first, last = int(span[1]), int(span[2])
    if first >= total:
        return Reply(b"", 416)
    if first < len(header):
        body = header[first : last + 1].ljust(last + 1 - first, b"\0")
    else:
        body = _rows(sky, tile, band, kind, first - len(header), last + 1 - len(header))
    return Reply(body, 206, {"Content-Range": f"bytes {first}-{last}/{total}"})


def _list(query):
    words = query["POS"].split()
    if words[0] != "CIRCLE" or query.get("COLLECTION") != "euclid_DpdMerBksMosaic":
        return votable({"access_url": "char"}, [])
    rows = []
    for tile in tiles(float(words[1]), float(words[2])):
        ra, dec = centre(tile)
        place = {"s_ra": ra, "s_dec": dec, "obs_id": f"{tile}_MER", "access_estsize": 1474583}
        for label in _labels(dec):
            folder = f"https://irsa.ipac.caltech.edu{_FOLDER}/{tile}/{label.split('-')[0]}"
            for product in ("BGMOD-{}", "BGSUB-MOSAIC-{}", "MOSAIC-{}-RMS", "MOSAIC-{}-FLAG", "GRID-PSF-{}"):
                name = f"EUC_MER_{product.format(label)}_TILE{tile}-{_STAMP}.fits"
                kind = "science" if product.startswith("BGSUB") else "auxiliary"
                rows.append({**place, "access_url": f"{folder}/{name}", "dataproduct_subtype": kind})
    columns = {"access_url": "char", "s_ra": "double", "s_dec": "double", "obs_id": "char", "access_estsize": "long"}
    return votable({**columns, "dataproduct_subtype": "char"}, rows)


def _labels(dec):
    """DES ends in the south, and there is nothing beyond 75 deg."""
    if abs(dec) > 75:
        return []
    return [label for label in BANDS if dec < 40 or not label.startswith("DES")]


def tiles(ra, dec):
    """Names of the tiles whose mosaics hold a place."""
    out = []
    middle = round(dec / _ROW)
    for row in (middle - 1, middle, middle + 1):
        n = _columns(row)
        column = round(ra % 360 / 360 * n)
        for k in (column - 1, column, column + 1):
            name = f"1{row + 180:03d}{k % n:05d}"
            x, y = _wcs(name).all_world2pix(ra, dec, 0)
            if 0 <= x < NX and 0 <= y < NY and name not in out:
                out.append(name)
    return out


def centre(tile):
    row, column = int(tile[1:4]) - 180, int(tile[4:])
    return column * 360 / _columns(row), row * _ROW


def _columns(row):
    return max(int(360 * np.cos(np.radians(row * _ROW)) / _COLUMN), 1)


def _wcs(tile):
    return tangent_wcs(*centre(tile), (NY, NX), SCALE)


def _unit(band):
    return njy_per_unit(ZERO_POINTS.get(band, 30.0))


def _header(tile, band, kind):
    header = fits.Header([("SIMPLE", True), ("BITPIX", 32 if kind == "FLAG" else -32), ("NAXIS", 2)])
    header.update(NAXIS1=NX, NAXIS2=NY)
    header.extend(_wcs(tile).to_header())
    header["MAGZERO"] = ZERO_POINTS.get(band, 30.0)
    header["PPOID"] = "MER_ProcessTile_EUCLID_2.0.2-QUICK_RELEASE-PLAN-000000-UJ1VOD8Q-20241018-142238-4, of many words"
    header["DATE-OBS"] = "2024-10-18T15:10:34"
    header["CHECKSUM"], header["DATASUM"] = "hcHjjc9ghcEghc9g", "2503531142"
    return header.tostring().encode()


def _rows(sky, tile, band, kind, first, stop):
    """Bytes of the pixels from `first` to `stop`."""
    y0, y1 = first // (4 * NX), -(-stop // (4 * NX))
    values = _piece(sky, tile, band, kind, y0, y1).tobytes()
    return values[first - y0 * 4 * NX : stop - y0 * 4 * NX]


def _piece(sky, tile, band, kind, y0, y1):
    wcs, shape = _wcs(tile), (y1 - y0, NX)
    wcs.wcs.crpix = wcs.wcs.crpix - [0, y0]
    # in every 400 rows four have no exposure, two are saturated and five hot
    y = np.broadcast_to(np.arange(y0, y1)[:, None] % 400, shape)
    empty = y < 4
    if kind == "FLAG":
        flags = np.where(empty, NO_DATA, 0) | np.where((y >= 10) & (y < 12), SATURATED, 0)
        return (flags | np.where((y >= 20) & (y < 25), HOT, 0)).astype(">i4")
    light, sigma = sky.observed(wcs, shape, band)
    if kind == "RMS":
        return np.where(empty, 1e16, sigma / _unit(band)).astype(">f4")
    return np.where(empty, 0, light / _unit(band)).astype(">f4")


def esa(sky, asked):
    if asked.path == "/tap-server/tap/sync":
        return _products(asked.form["QUERY"])
    if asked.path != "/sas-cutout/cutout":
        return Reply(HTML, 404)
    name = re.search(r"BGSUB-MOSAIC-([A-Z-]+)_TILE(\d+)-", asked.form.get("FILEPATH", ""))
    if not name:
        return Reply(b"<html>Cannot find the file</html>", 400)
    ra, dec, radius = map(float, asked.form["POS"].removeprefix("CIRCLE,").split(","))
    tile, band = name[2], BANDS[name[1]]
    x, y = (round(float(v)) for v in _wcs(tile).all_world2pix(ra, dec, 0))
    reach = round(radius * 3600 / SCALE)
    x0, x1, y0, y1 = max(x - reach, 0), min(x + reach, NX), max(y - reach, 0), min(y + reach, NY)
    wcs = _wcs(tile)
    wcs.wcs.crpix = wcs.wcs.crpix - [x0, y0]
    header = wcs.to_header()
    header["MAGZERO"] = ZERO_POINTS.get(band, 30.0)
    return Reply(fits_bytes([fits.PrimaryHDU(_piece(sky, tile, band, "", y0, y1)[:, x0:x1], header)]))


def _products(query):
    where = re.search(r"CIRCLE\(([-\d.]+), ([-\d.]+), ([\d.]+)\)", query)
    rows = []
    for tile in tiles(float(where[1]), float(where[2])) if "sedm.mosaic_product" in query else []:
        ra, dec = centre(tile)
        # ESA has what IRSA lacks beyond 75 deg, as far as 80
        for label in BANDS if abs(dec) < 80 else ():
            name = f"EUC_MER_BGSUB-MOSAIC-{label}_TILE{tile}-{_STAMP}.fits"
            place = {"file_path": f"/euclid/repository_idr/iqr1/MER/{tile}", "tile_index": tile, "ra": ra, "dec": dec}
            rows.append({"file_name": name, "instrument_name": "VIS" if label == "VIS" else "NISP", **place})
    names = {"file_name": "char", "file_path": "char", "tile_index": "long", "instrument_name": "char"}
    return votable({**names, "ra": "double", "dec": "double"}, rows)


HOSTS = {"irsa.ipac.caltech.edu": irsa, "eas.esac.esa.int": esa}
