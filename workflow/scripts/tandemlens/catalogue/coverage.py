"""The sky that was searched: what was really fetched and is usable, band by band, as coverage maps (MOC)."""

import numpy as np
import pandas as pd
from astropy import units as u
from astropy_healpix import HEALPix
from mocpy import MOC

from tandemlens.base.atomic import atomic_path
from tandemlens.base.columns.coverage import COLUMNS
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import write_table

#: cells of 1.6 arcsec: the area of a cutout of 2 arcmin is right to about one per cent
ORDER = 17
ALL = "all"
_GRID = HEALPix(2**ORDER, order="nested")


def write_coverage(stacks, bands, map_paths, table_path, progress):
    """Write the coverage of a sample.

    Parameters
    ----------
    stacks : list of str
        cutouts.h5 of every shard.
    bands : list of str
    map_paths : dict of str
        Band, and ``all``, -> FITS file of its map (IVOA MOC 2.0).
    table_path : str
        coverage.parquet.
    progress : callable
    """
    maps = {name: MOC.new_empty(ORDER) for name in (*bands, ALL)}
    for index, path in enumerate(stacks):
        for name, cells in _shard_cells(path, bands).items():
            here = MOC.from_healpix_cells(cells, np.full(len(cells), ORDER, np.uint8), ORDER)
            maps[name] = maps[name].union(here)
        progress(index + 1, len(stacks))
    for name, path in map_paths.items():
        with atomic_path(path) as temporary:
            maps[name].save(temporary, format="fits")
    whole = 4 * np.pi * u.sr.to(u.deg**2)
    rows = [
        {"band": name, "area": m.sky_fraction * whole, "order": ORDER, "cells": round(m.sky_fraction * 12 * 4**ORDER)}
        for name, m in maps.items()
    ]
    write_table(table_path, pd.DataFrame(rows), COLUMNS)


def usable_cells(cutout):
    """HEALPix cells whose middle lies on a usable pixel.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    dict of uint64 ndarray
        Band, and ``all`` -> nested cells of `ORDER`.
    """
    out, everywhere = {}, None
    for k, band in enumerate(cutout.bands):
        good = cutout.mask[k] == 0
        cells = _cells_on(cutout.astropy_wcs(k), good) if good.any() else np.zeros(0, np.uint64)
        out[band] = cells
        everywhere = cells if everywhere is None else np.intersect1d(everywhere, cells)
    return {**out, ALL: everywhere}


def _shard_cells(path, bands):
    found = {name: [np.zeros(0, np.uint64)] for name in (*bands, ALL)}
    with read_stack(path) as stack:
        for k in range(len(stack)):
            for name, cells in usable_cells(stack[k]).items():
                found[name].append(cells)
    return {name: np.unique(np.concatenate(parts)) for name, parts in found.items()}


def _cells_on(wcs, good):
    ny, nx = good.shape
    ra, dec = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    radius = np.hypot(nx, ny) / 2 * np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))
    # every cell that the circle around the image touches; the search of astropy-healpix takes fifty times as long
    around = MOC.from_cone(lon=ra * u.deg, lat=dec * u.deg, radius=radius * u.deg, max_depth=ORDER)
    cells = around.flatten().astype(np.int64)
    lon, lat = _GRID.healpix_to_lonlat(cells)
    x, y = (np.rint(v).astype(int) for v in wcs.all_world2pix(lon.deg, lat.deg, 0))
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    inside[inside] = good[y[inside], x[inside]]
    return np.sort(cells[inside]).astype(np.uint64)
