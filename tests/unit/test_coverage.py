"""The map of what was searched, against areas that are known."""

import numpy as np
import pytest
from astropy import units as u
from mocpy import MOC

from tandemlens.base.stack import Cutout, header_text, write_stack
from tandemlens.base.tables import read_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.catalogue import coverage
from tandemlens.catalogue.coverage import write_coverage

SIDE, SCALE = 300, 0.4


def cutout(ra, dec, masked=slice(0, 0), band_missing=False):
    shape = (2, SIDE, SIDE)
    mask = np.zeros(shape, np.uint16)
    mask[0, :, masked] = 1
    mask[1] = 1 if band_missing else 0
    wcs = (header_text(tangent_wcs(ra, dec, shape[1:], SCALE)),) * 2
    psf = np.full((2, 5, 5), 0.04, np.float32)
    return Cutout(("g", "r"), np.ones(shape, np.float32), np.ones(shape, np.float32), mask, psf, wcs)


def coverage_of(folder, *shards):
    paths = []
    for k, cutouts in enumerate(shards):
        paths.append(folder / f"{k}.h5")
        with write_stack(paths[-1], ("g", "r"), (SIDE, SIDE), 5) as stack:
            for j, one in enumerate(cutouts):
                stack.append(f"t{j}", one)
    maps = {name: folder / f"{name}.fits" for name in ("g", "r", "all")}
    write_coverage(paths, ["g", "r"], maps, folder / "coverage.parquet", lambda done, total: None)
    return read_table(folder / "coverage.parquet").set_index("band")["area"], {n: MOC.load(p) for n, p in maps.items()}


ONE = (SIDE * SCALE / 3600) ** 2


@pytest.mark.parametrize("place", [(30.0, 2.0), (0.0, -45.0), (200.0, 89.99)])
def test_a_cutout_covers_its_area(tmp_path, place):
    area, maps = coverage_of(tmp_path, [cutout(*place)])
    assert area["g"] == area["r"] == area["all"] == pytest.approx(ONE, rel=0.015)
    inside = maps["g"].contains_lonlat([place[0]] * 2 * u.deg, [place[1], place[1] - 0.1] * u.deg)
    assert list(inside) == [True, False]


def test_masked_and_missing_pixels_are_not_covered(tmp_path):
    half = cutout(30.0, 2.0, masked=slice(0, SIDE // 2))
    area, _ = coverage_of(tmp_path, [half, cutout(30.2, 2.0, band_missing=True)])
    assert area["g"] == pytest.approx(1.5 * ONE, rel=0.015)
    assert area["r"] == pytest.approx(ONE, rel=0.015)
    assert area["all"] == pytest.approx(0.5 * ONE, rel=0.015)


def test_what_two_targets_or_shards_share_counts_once(tmp_path):
    shift = SIDE * SCALE / 3600 / 2
    area, _ = coverage_of(tmp_path, [cutout(30.0, 0.0), cutout(30.0, 0.0)], [cutout(30.0, shift)])
    assert area["g"] == pytest.approx(1.5 * ONE, rel=0.015)


def test_cells_grow_with_the_number_of_systems_and_the_area_stays(tmp_path, monkeypatch):
    assert [coverage.order_for(n) for n in (0, 20_000, 20_001, 80_000, 10**6)] == [17, 17, 16, 16, 14]
    rng = np.random.default_rng(4)
    places = zip(rng.uniform(0, 360, 40), rng.uniform(-60, 60, 40), strict=True)
    cutouts = [cutout(*place) for place in places]
    monkeypatch.setattr(coverage, "_MOST", 1)
    monkeypatch.setattr(coverage, "_SHARDS", 3)
    area, maps = coverage_of(tmp_path, *np.array_split(np.array(cutouts, object), 4))
    assert maps["g"].max_order == 14
    assert area["g"] == pytest.approx(40 * ONE, rel=0.015)


def test_a_run_that_fetched_nothing_covers_nothing(tmp_path):
    area, maps = coverage_of(tmp_path, [])
    assert (area == 0).all()
    assert maps["all"].empty()
