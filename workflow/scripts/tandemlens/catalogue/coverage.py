"""The sky that was searched: what was really fetched and is usable, band by band, as coverage maps (MOC)."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy_healpix import HEALPix
from mocpy import MOC

from tandemlens.base.atomic import atomic_path
from tandemlens.base.columns.coverage import COLUMNS
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import write_table

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.wcs import WCS

    from tandemlens.base.stack import Cutout

#: cells of 1.6 arcsec: the area of a cutout of 2 arcmin is right to about one per cent
ORDER = 17
#: with more systems cells grow, each time that there are four times as many; edges are coarser, the area as right
_MOST = 20_000
#: shards whose maps are put together at once
_SHARDS = 64
ALL = "all"


def write_coverage(
    stacks: list[str],
    bands: list[str],
    map_paths: dict[str, str],
    table_path: str,
    progress: Callable[[int, int], None],
) -> None:
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
    order = order_for(sum(map(_systems, stacks)))
    maps = {name: MOC.new_empty(order) for name in (*bands, ALL)}
    for start in range(0, len(stacks), _SHARDS):
        parts: dict[str, list[MOC]] = {name: [] for name in maps}
        for index, path in enumerate(stacks[start : start + _SHARDS]):
            for name, cells in _shard_cells(path, bands, order).items():
                parts[name].append(MOC.from_healpix_cells(cells, np.full(len(cells), order, np.uint8), order))
            progress(start + index + 1, len(stacks))
        maps = {name: whole.union(*parts[name]) for name, whole in maps.items()}
    for name, path in map_paths.items():
        with atomic_path(path) as temporary:
            maps[name].save(temporary, format="fits")
    whole = 4 * np.pi * u.sr.to(u.deg**2)
    rows = [
        {"band": name, "area": m.sky_fraction * whole, "order": order, "cells": round(m.sky_fraction * 12 * 4**order)}
        for name, m in maps.items()
    ]
    write_table(table_path, pd.DataFrame(rows), COLUMNS)


def order_for(systems: int) -> int:
    """HEALPix order of the maps of so many systems.

    Parameters
    ----------
    systems : int

    Returns
    -------
    int
        `ORDER` for 20,000, and 14, cells of 13 arcsec, for a million; a map then takes 17 ranges of cells a system.
    """
    return ORDER - math.ceil(max(math.log(max(systems, 1) / _MOST, 4), 0))


def usable_cells(cutout: "Cutout", order: int = ORDER) -> dict[str, Any]:
    """HEALPix cells whose middle lies on a usable pixel.

    Parameters
    ----------
    cutout : Cutout
    order : int

    Returns
    -------
    dict of uint64 ndarray
        Band, and ``all`` -> nested cells of that order.
    """
    out, everywhere = {}, None
    for k, band in enumerate(cutout.bands):
        good = cutout.mask[k] == 0
        cells = _cells_on(cutout.astropy_wcs(k), good, order) if good.any() else np.zeros(0, np.uint64)
        out[band] = cells
        everywhere = cells if everywhere is None else np.intersect1d(everywhere, cells)
    return {**out, ALL: everywhere}


def _systems(path: "str | Path") -> int:
    with read_stack(path) as stack:
        return len(stack)


def _shard_cells(path: "str | Path", bands: list[str], order: int) -> dict[str, Any]:
    found = {name: [np.zeros(0, np.uint64)] for name in (*bands, ALL)}
    with read_stack(path) as stack:
        for k in range(len(stack)):
            for name, cells in usable_cells(stack[k], order).items():
                found[name].append(cells)
    return {name: np.unique(np.concatenate(parts)) for name, parts in found.items()}


def _cells_on(wcs: "WCS", good: np.ndarray, order: int) -> np.ndarray:
    ny, nx = good.shape
    ra, dec = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    radius = np.hypot(nx, ny) / 2 * np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))
    # every cell that the circle around the image touches; the search of astropy-healpix takes fifty times as long
    around = MOC.from_cone(lon=ra * u.deg, lat=dec * u.deg, radius=radius * u.deg, max_depth=order)
    cells = around.flatten().astype(np.int64)
    lon, lat = HEALPix(2**order, order="nested").healpix_to_lonlat(cells)
    x, y = (np.rint(v).astype(int) for v in wcs.all_world2pix(lon.deg, lat.deg, 0))
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    inside[inside] = good[y[inside], x[inside]]
    return np.sort(cells[inside]).astype(np.uint64)
