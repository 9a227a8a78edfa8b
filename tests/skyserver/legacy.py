"""The Legacy Surveys viewer and brick files as `../shared/services.md` C1 describes them, traps included."""

from functools import lru_cache

import numpy as np
from astropy.io import fits

from skyserver.server import Reply, fits_bytes
from skyserver.sky import psf
from tandemlens.base.units import njy_per_unit
from tandemlens.base.wcs import tangent_wcs
from tandemlens.survey.services.bricks import SCALE, SIDE, brick_at, bricks_near, images_over

_NANOMAGGIE = njy_per_unit(22.5)
LAYERS = {"ls-dr10": "griz", "ls-dr10-south": "griz", "ls-dr9-north": "grz"}
_LARGEST = 3000


def viewer(sky, asked):
    query = asked.query
    if "ra" not in query or "dec" not in query:
        return Reply(b"need ra, dec", 400)
    layer = query.get("layer", "ls-dr9")
    if layer not in LAYERS:
        return Reply(b"no such layer")
    ra, dec = float(query["ra"]), float(query["dec"])
    bands = query.get("bands", "griz")
    # an unknown letter: the whole word is ignored
    bands = bands if set(bands) <= set("griz") else LAYERS[layer]
    if asked.path.startswith("/viewer/coadd-psf"):
        return _psf(dec, bands)
    size, scale = int(query.get("size", 256)), float(query.get("pixscale", SCALE))
    return _cutout(sky, ra, dec, bands, min(size, _LARGEST), scale, query)


def _covered(dec):
    """Whether there is data at all, and in i: none south of -88 here, no i in the north."""
    return dec > -88, dec < 32.375


def _psf(dec, bands):
    if not _covered(dec)[0]:
        return Reply(b"no CCDs overlapping")
    kept = [b for b in bands if b != "i" or _covered(dec)[1]]
    hdus = []
    for k, band in enumerate(kept):
        header = fits.Header([("BANDS", "".join(kept)), ("BAND", band)])
        hdus.append((fits.PrimaryHDU if k == 0 else fits.ImageHDU)(psf(SCALE, band, 63).astype("f4"), header))
    return Reply(fits_bytes(hdus))


def _cutout(sky, ra, dec, bands, size, scale, query):
    wcs, shape = tangent_wcs(ra, dec, (size, size), scale), (size, size)
    image, invvar = np.zeros((2, len(bands), *shape), "f4")
    y, x = np.indices(shape)
    grid = wcs.all_pix2world(x, y, 0)
    count = np.maximum(images_over(*grid), 1)
    for k, band in enumerate(bands):
        there = _covered(dec)[0] and (band != "i" or _covered(dec)[1])
        if not there:
            continue
        light, sigma = sky.observed(wcs, shape, band)
        image[k] = light / _NANOMAGGIE
        # the exposures are the same in both bricks, and the viewer adds their weights
        invvar[k] = count * (_NANOMAGGIE / sigma) ** 2
        empty = grid[1] < -88 + 0.01
        image[k][empty], invvar[k][empty] = 0, 0
    header = wcs.to_header()
    header["BANDS"], header["VERSION"] = bands, "DR10-south" if dec < 32.375 else "DR9-north"
    for k, band in enumerate(bands):
        header[f"BAND{k}"] = band
    hdus = [fits.PrimaryHDU(image, _typed(header, "IMAGE"))]
    if scale <= SCALE:
        # coarser pixels come from binned tiles, which have neither
        hdus += [fits.ImageHDU(invvar, _typed(header, "INVVAR"))] if "invvar" in query else []
        bits = np.zeros(shape, np.int32)
        hdus += [fits.ImageHDU(bits, _typed(header, "MASKBITS"))] if "maskbits" in query else []
    return Reply(fits_bytes(hdus))


def _typed(header, name):
    header = header.copy()
    header["IMAGETYP"] = name
    return header


def files(sky, asked):
    name = asked.path.rsplit("/", 1)[1]
    _, brick, rest = name.removesuffix(".fits.fz").split("-", 2)
    body = _brick_file(sky, brick, rest)
    return Reply(body) if body else Reply(b"not found", 404)


@lru_cache(maxsize=32)
def _brick_file(sky, name, product):
    ra = int(name[:4]) / 10
    dec = int(name[5:]) / 10 * (-1 if name[4] == "m" else 1)
    near = [*bricks_near(ra + 0.05, dec), brick_at(ra, dec)]
    brick = next((b for b in near if b.name == name), None)
    if brick is None or not _covered(brick.dec)[0]:
        return None
    wcs, shape = tangent_wcs(brick.ra, brick.dec, (SIDE, SIDE), SCALE), (SIDE, SIDE)
    if product == "maskbits":
        return _packed(np.zeros(shape, np.int32), wcs)
    kind, band = product.split("-")
    if band == "i" and not _covered(brick.dec)[1]:
        return None
    light, sigma = sky.observed(wcs, shape, band)
    if kind == "invvar":
        return _packed(np.full(shape, (_NANOMAGGIE / sigma) ** 2, "f4"), wcs)
    return _packed((light / _NANOMAGGIE).astype("f4"), wcs)


def _packed(data, wcs):
    options = {"quantize_level": 200.0} if data.dtype.kind == "f" else {}
    return fits_bytes(
        [fits.PrimaryHDU(), fits.CompImageHDU(data, wcs.to_header(), compression_type="RICE_1", **options)]
    )


HOSTS = {"www.legacysurvey.org": viewer, "portal.nersc.gov": files}
