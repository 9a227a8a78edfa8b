"""Hapcut, Zcut and HLSP files of MAST as `../shared/services.md` C6 and drizzlepac's guide describe them."""

import io
import json
import zipfile
from functools import lru_cache

import numpy as np
from astropy.io import fits

from skyserver.server import HTML, Reply, fits_bytes
from tandemlens.base.units import njy_per_unit
from tandemlens.base.wcs import tangent_wcs

#: end of a member's name, without the coarse one -> band of the sky; PHOTFLAM (erg/cm^2/Angstrom/e-) and PHOTPLAM
FILTERS = {
    "acs_wfc_f606w": ("F606W", 7.7265435e-20, 5919.46),
    "acs_wfc_f814w": ("F814W", 7.0331e-20, 8045.5),
    "wfc3_ir_f160w": ("F160W", 1.9275602e-20, 15369.18),
}
#: south of this there is nothing; south of the other no infrared
SOUTH, SOUTH_IR = -60.0, -50.0
_CELL = 0.2
#: of _wht, which counts seconds here
SECONDS = 1800.0
ZCUT = "candels_gn_30mas"
#: corner of a mosaic that no exposure reached, pixel
UNREACHED = 60


def api(sky, asked):
    query = asked.query
    if asked.path.startswith("/zcut/api/v0.1/survey"):
        there = float(query["dec"]) > SOUTH
        return _json({"surveys": [ZCUT, "goods_north"] if there else []})
    if asked.path.startswith("/zcut/api/v0.1/astrocut"):
        return _zcut(sky, query)
    if asked.path.startswith("/hapcut/api/v0.1/astrocut"):
        return _hapcut(sky, query)
    return Reply(HTML, 404)


def _hapcut(sky, query):
    ra, dec = float(query["ra"]), float(query["dec"])
    if dec < SOUTH:
        return _json({"msg": "Missing HAP files for input target. Cutout not performed.", "results": []})
    members = {}
    start = "hst_cutout_skycell-p2007x09y05-ra1d2345-decn2d3456"
    for label, (band, *_) in FILTERS.items():
        if band == "F160W" and dec < SOUTH_IR:
            continue
        members[f"{start}_{label}.fits"] = _hap(sky, ra, dec, query, label, 0.04)
        # one exposure of the filter, and the neighbouring cell, which holds the smaller part
        exposure = np.float32(0.5)
        members[f"{start}_{label}-jbp505jg.fits"] = _hap(sky, ra, dec, query, label, 0.04, exposure)
        neighbour = start.replace("x09", "x08")
        members[f"{neighbour}_{label}.fits"] = _hap(sky, ra, dec, query, label, 0.04, np.float32(2), "west")
        if "_ir_" in label:
            members[f"{start}_{label}_coarse.fits"] = _hap(sky, ra, dec, query, label, 0.12)
    return Reply(packed(members))


def _hap(sky, ra, dec, query, label, scale, factor=1, part="all"):
    band, flam, plam = FILTERS[label]
    wcs, shape = _window(ra, dec, _side(query, scale), scale)
    light = _light(sky, ra, dec, shape[0], scale, band)
    counts = (light * factor / _njy(flam, plam)).astype("f4")
    weight = np.full(shape, SECONDS, "f4")
    # the left part has half the exposure, and so more noise
    counts, weight = _shallow(counts, weight, label, wcs)
    if part == "west":
        weight[:, shape[1] // 3 :], counts[:, shape[1] // 3 :] = 0, np.nan
    header = wcs.to_header()
    calibration = {"PHOTFLAM": flam, "PHOTPLAM": plam}
    origin = f"hst_skycell-p2007x09y05_{label}_all_drc.fits"
    # WFC3 says its calibration in the primary header only
    first = fits.PrimaryHDU(header=fits.Header(calibration if "wfc3" in label else {}))
    science = fits.ImageHDU(counts, header, name=f"SCI_CUTOUT_{label}")
    science.header.update({**({} if "wfc3" in label else calibration), "BUNIT": "ELECTRONS/S", "ORIG_FLE": origin})
    return fits_bytes([first, science, fits.ImageHDU(weight, header, name=f"WHT_CUTOUT_{label}")])


@lru_cache(maxsize=8)
def _light(sky, ra, dec, side, scale, band):
    return sky.observed(*_window(ra, dec, side, scale), band)[0]


def _shallow(counts, weight, label, wcs):
    rng = np.random.default_rng(3)
    half = slice(0, counts.shape[1] // 2)
    sigma = 15.0 * np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600 / _njy(*FILTERS[label][1:])
    counts[:, half] += rng.normal(0, sigma, counts[:, half].shape)
    weight[:, half] /= 2
    return counts, weight


def _zcut(sky, query):
    ra, dec = float(query["ra"]), float(query["dec"])
    hdus = [fits.PrimaryHDU()]
    for label, (band, flam, plam) in FILTERS.items():
        wcs, shape = _window(ra, dec, _side(query, 0.03), 0.03)
        light, _ = sky.observed(wcs, shape, band)
        counts = (light / _njy(flam, plam)).astype("f4")
        counts[:UNREACHED, :UNREACHED] = 0
        name = f"hlsp_candels_hst_{label.split('_')[0]}_gn-tot-30mas_{band.lower()}_v1.0_drz.fits"
        hdu = fits.ImageHDU(counts, wcs.to_header(), name="CUTOUT")
        hdu.header.update({"PHOTFLAM": flam, "PHOTPLAM": plam, "ORIG_FLE": name})
        hdus.append(hdu)
    return Reply(packed({f"{ZCUT}_{ra:.6f}_{dec:.6f}_astrocut.fits": fits_bytes(hdus)}))


def _window(ra, dec, side, scale):
    """Pixels of a cell of the sky around a place; as in astrocut, the place is in the middle to a pixel."""
    middle = (np.floor(ra / _CELL) + 0.5) * _CELL, np.clip((np.floor(dec / _CELL) + 0.5) * _CELL, -90, 90)
    wcs = tangent_wcs(*middle, (1, 1), scale)
    x, y = wcs.all_world2pix(ra, dec, 0)
    wcs.wcs.crpix -= [round(float(x) - (side - 1) / 2), round(float(y) - (side - 1) / 2)]
    return wcs, (side, side)


def _side(query, scale):
    assert query["units"] == "d"
    return int(np.ceil(float(query["x"]) * 3600 / scale))


def _njy(flam, plam):
    return njy_per_unit(-2.5 * np.log10(flam) - 5 * np.log10(plam) - 2.408)


def packed(members):
    """A zip in memory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for name, body in members.items():
            file.writestr(name, body)
    return out.getvalue()


def _json(content):
    return Reply(json.dumps(content).encode(), headers={"Content-Type": "application/json"})


#: middle of the mosaics
MOSAIC = (177.3994, 22.3986)
#: beginning of a path -> its rule for a file of abell370: instrument by kind of band, and what comes before the end
HLSP = {
    "/hlsps/buffalo": "hlsp_buffalo_hst_{instrument}-30mas_abell370_{band}_v1.0",
    "/missions/hlsp/clash": "hlsp_clash_hst_{instrument}-65mas_abell370_{band}_v1",
}
_INSTRUMENTS = {"/hlsps/buffalo": ("acs-wfc", "wfc3-ir"), "/missions/hlsp/clash": ("acs", "wfc3ir")}


def files(sky, asked):
    """HST mosaics with _drz and _wht, of which one has no _wht, and a JWST mosaic in one file."""
    folder, name = asked.path.rsplit("/", 1)
    if name.startswith("hlsp_test_jwst"):
        return Reply(_jwst(sky, name))
    for start, rule in HLSP.items():
        for label, (band, flam, plam) in FILTERS.items():
            instrument = _INSTRUMENTS[start][int("_ir_" in label)]
            stem = rule.format(instrument=instrument, band=band.lower())
            if folder.startswith(f"{start}/abell370") and name in (f"{stem}_drz.fits", f"{stem}_wht.fits"):
                if start.endswith("clash") and name.endswith("_wht.fits"):
                    break
                return Reply(_mosaic(sky, band, flam, plam, name.endswith("_wht.fits")))
    return Reply(HTML, 404)


def _mosaic(sky, band, flam, plam, weights):
    wcs, shape = tangent_wcs(*MOSAIC, (1400, 1400), 0.06), (1400, 1400)
    light, sigma = sky.observed(wcs, shape, band)
    header = wcs.to_header()
    header.update({"PHOTFLAM": flam, "PHOTPLAM": plam})
    data = np.full(shape, (_njy(flam, plam) / sigma) ** 2) if weights else light / _njy(flam, plam)
    return fits_bytes([fits.PrimaryHDU(data.astype("f4"), header)])


def _jwst(sky, name):
    band = next(b for b in ("F606W", "F814W", "F160W") if b.lower() in name)
    wcs, shape = tangent_wcs(*MOSAIC, (1000, 1000), 0.04), (1000, 1000)
    light, sigma = sky.observed(wcs, shape, band)
    # nJy in a pixel of 0.04 arcsec to MJy/sr
    factor = 1e-15 / np.radians(0.04 / 3600) ** 2
    science = fits.ImageHDU((light * factor).astype("f4"), wcs.to_header(), name="SCI")
    science.header["BUNIT"] = "MJy/sr"
    errors = fits.ImageHDU(np.full(shape, sigma * factor, "f4"), wcs.to_header(), name="ERR")
    return fits_bytes([fits.PrimaryHDU(), science, errors])


HOSTS = {"mast.stsci.edu": api, "archive.stsci.edu": files}
