"""Rubin's image search, DataLink and SODA as `../shared/services.md` C8 describes them, traps included."""

import time
from urllib.parse import quote, urlencode
from xml.sax.saxutils import quoteattr

import numpy as np
from astropy.io import fits

from skyserver.server import Reply, fits_bytes
from skyserver.votable import votable
from tandemlens.base.wcs import tangent_wcs

TOKEN = "gt-vilSCi1ifK_MyuaQgMD2dQ.d6SIJhowv5Hs3GvujOyUig"
SCALE, SIDE = 0.2, 3400
#: s after which a link is void
VALID = 900
#: patches overlap, deg
_STEP = 0.17
_EDGES = {"u": (320, 400), "g": (402, 552), "r": (552, 691), "i": (691, 818), "z": (818, 922), "y": (922, 997)}
_PLANES = {"BAD": 0, "SAT": 1, "INTRP": 2, "DETECTED": 5, "NO_DATA": 8}
_BASE = "https://data.lsst.cloud"
_SERVICES = {
    "cutout-sync": "sync",
    "cutout-sync-maskedimage": "maskedimage/sync",
    "cutout-sync-exposure": "exposure/sync",
}


def api(sky, asked):
    if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
        return Reply(b"Authentication required", 401, {"WWW-Authenticate": "Bearer"})
    if asked.path == "/api/sia/dp1/query":
        return _search(asked.query)
    if asked.path == "/api/datalink/links":
        return _links(asked.query["ID"])
    if asked.path == "/api/cutout/dp1/maskedimage/sync":
        if time.time() - float(asked.query["LINK"]) > VALID:
            return Reply(b"the link has expired", 403)
        port = asked.headers["Host"].rsplit(":", 1)[1]
        # the file itself lies with another host, under a signed address
        words = urlencode({**asked.query, "X-Goog-Signature": "5ac23"})
        return Reply(b"", 303, {"Location": f"http://localhost:{port}/storage.googleapis.com/cutout.fits?{words}"})
    return Reply(b"not found", 404)


def storage(sky, asked):
    if "Authorization" in asked.headers:
        return Reply(b"<Error>Only one auth mechanism allowed</Error>", 400)
    query = asked.query
    _, patch, band = query["ID"].rsplit("/", 2)
    ra, dec, radius = map(float, query["CIRCLE"].split())
    wcs = _wcs(patch)
    x, y = (round(float(v)) for v in wcs.all_world2pix(ra, dec, 0))
    # a square around the circle
    reach = round(radius * 3600 / SCALE)
    x0, x1, y0, y1 = max(x - reach, 0), min(x + reach + 1, SIDE), max(y - reach, 0), min(y + reach + 1, SIDE)
    wcs.wcs.crpix = wcs.wcs.crpix - [x0, y0]
    return Reply(_masked_image(sky, wcs, (y1 - y0, x1 - x0), band))


def _masked_image(sky, wcs, shape, band):
    light, sigma = sky.observed(wcs, shape, band)
    mask = np.zeros(shape, np.int32)
    mask[shape[0] // 2 + 20, :] |= 1 << _PLANES["BAD"]
    mask[shape[0] // 2 - 20, :] |= 1 << _PLANES["DETECTED"]
    hdus = [fits.PrimaryHDU()]
    for name, values in (("IMAGE", light.astype("f4")), ("MASK", mask), ("VARIANCE", np.full(shape, sigma**2, "f4"))):
        hdus.append(fits.ImageHDU(values, wcs.to_header(), name=name))
    hdus[2].header.update({f"HIERARCH MP_{k}" if len(k) > 5 else f"MP_{k}": v for k, v in _PLANES.items()})
    return fits_bytes(hdus)


def patches(ra, dec):
    """Names of the patches that hold a place."""
    out = []
    for row in range(round(dec / _STEP) - 1, round(dec / _STEP) + 2):
        n = _columns(row)
        column = round(ra % 360 / 360 * n)
        for k in range(column - 1, column + 2):
            name = f"{row + 600:04d}-{k % n:04d}"
            x, y = _wcs(name).all_world2pix(ra, dec, 0)
            if 0 <= x < SIDE and 0 <= y < SIDE and name not in out:
                out.append(name)
    return out


def centre(patch):
    row, column = (int(n) for n in patch.split("-"))
    return column * 360 / _columns(row - 600), (row - 600) * _STEP


def _columns(row):
    return max(int(360 * np.cos(np.radians(row * _STEP)) / _STEP), 1)


def _wcs(patch):
    return tangent_wcs(*centre(patch), (SIDE, SIDE), SCALE)


def _search(query):
    columns = {"access_url": "char", "s_ra": "double", "s_dec": "double", "em_min": "double", "em_max": "double"}
    words = query["POS"].split()
    ra, dec = float(words[1]), float(words[2])
    rows = []
    # nothing in the north, no y far south, and visits are not what was asked for
    for patch in patches(ra, dec) if dec < 20 and query.get("DPSUBTYPE") == "lsst.deep_coadd" else ():
        at = centre(patch)
        for band, (low, high) in _EDGES.items():
            if band == "y" and dec < -70:
                continue
            link = f"{_BASE}/api/datalink/links?ID={quote(_name(patch, band), safe='')}"
            wave = {"em_min": low * 1e-9, "em_max": high * 1e-9}
            rows.append({"access_url": link, "s_ra": at[0], "s_dec": at[1], **wave})
    return votable(columns, rows)


def _name(patch, band):
    return f"ivo://org.rubinobs/lsst-dp1?repo=dp1&id=coadd/{patch}/{band}"


def _links(name):
    columns = {"ID": "char", "access_url": "char", "service_def": "char", "semantics": "char"}
    rows = [{"ID": name, "access_url": "https://storage.googleapis.com/x?X-Goog-Signature=a1", "semantics": "#this"}]
    rows += [{"ID": name, "service_def": service, "semantics": "#cutout"} for service in _SERVICES]
    more = "".join(_service(service, path, name) for service, path in _SERVICES.items())
    return votable(columns, rows, more=more)


def _service(service, path, name):
    inputs = [f'<PARAM name="ID" datatype="char" arraysize="*" value={quoteattr(name)}/>']
    inputs += [f'<PARAM name="LINK" datatype="char" arraysize="*" value="{time.time():.0f}"/>']
    inputs += ['<PARAM name="CIRCLE" datatype="double" arraysize="3" unit="deg" xtype="circle" value=""/>']
    url = f'<PARAM name="accessURL" datatype="char" arraysize="*" value="{_BASE}/api/cutout/dp1/{path}"/>'
    kind = '<PARAM name="standardID" datatype="char" arraysize="*" value="ivo://ivoa.net/std/SODA#sync-1.0"/>'
    group = f'<GROUP name="inputParams">{"".join(inputs)}</GROUP>'
    return f'<RESOURCE type="meta" utype="adhoc:service" ID="{service}">{group}{url}{kind}</RESOURCE>'


HOSTS = {"data.lsst.cloud": api, "storage.googleapis.com": storage}
