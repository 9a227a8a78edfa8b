"""Stamps of segments: centred, of true brightness and noise, the right segments, and no system lost."""

import logging
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from places import ROOT
from tandemlens.base.columns import measure, photometry, segments, targets
from tandemlens.base.columns.registry import expand
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.flags import NO_DATA
from tandemlens.base.stack import Cutout, header_text, read_stack, sanitize, write_stack
from tandemlens.base.tables import write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.features.geometry import expected_einstein_radius
from tandemlens.features.sequence import Bands, read_sed, template_magnitudes
from tandemlens.features.stamps import GEOMETRY, band_scales, choose_segments, segment_geometry, stamps_shard
from tandemlens.image.stamps import cut_stamp, overlap

SCALE, SIZE, BANDS = 0.25, 161, ("g", "r")
NORTH_UP = np.diag([-SCALE, SCALE])
SCHEMA = ROOT / "config/schemas/stamps.schema.yaml"
CFG = {**validate_settings({}, load_schema(SCHEMA)), "pixels": 24, "size_arcsec": 6.0, "centre_arcsec": 24.0}
CFG |= {"contrast": False, "bands": list(BANDS), "extinction": [3.0, 2.0], "pixel_scale": SCALE}
CFG |= {"survey_depth": [26.0, 25.0], "survey_fwhm": [1.0, 1.0]}
PLACES = [(60.3, 71.8), (100.75, 90.1), (81.0, 120.4)]


def blob(x, y, flux=1000.0, sigma=1.7):
    grid = np.arange(SIZE)
    profile = [np.exp(-0.5 * ((grid - c) / sigma) ** 2) for c in (y, x)]
    return flux * np.outer(*profile) / (2 * np.pi * sigma**2)


def centroid(image):
    grid = np.arange(image.shape[-1])
    return np.array([(image.sum(axis) * grid).sum() for axis in (0, 1)]) / image.sum()


def image(n_band=2):
    return np.stack([(k + 1) * sum(blob(*place) for place in PLACES) for k in range(n_band)])


def row(label, x, y, **more):
    """A segment around a central galaxy in the middle of a cutout with north up."""
    middle = (SIZE - 1) / 2
    base = {"label": label, "x": x, "y": y, "ra": 10.0, "dec": 0.0, "area": 50, "kind": "arc", "snr": 10.0}
    base |= {"east": -(x - middle) * SCALE, "north": (y - middle) * SCALE, "length": 3.0, "width": 1.0, "theta": 0.3}
    unknown = ("curvature_radius", "circle_east", "circle_north", "q11", "q22", "q12")
    return {**base, **dict.fromkeys(unknown, np.nan), "perimeter": 20.0, "ridge": "", **more}


@pytest.mark.parametrize("side", [24.0, 40.0, 77.3])
@pytest.mark.parametrize("place", PLACES)
def test_the_place_is_the_centre_and_brightness_is_kept(place, side):
    flux = blob(*place)[None]
    stamp, _, valid = cut_stamp(flux, np.ones_like(flux), np.ones(flux.shape, bool), place, side, 24)
    assert valid.all()
    assert centroid(stamp[0]) == pytest.approx([11.5, 11.5], abs=0.01)
    assert stamp.sum() * (side / 24) ** 2 == pytest.approx(1000, rel=1e-6)


def test_noise_is_that_of_white_noise_at_any_phase_and_box():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 2.0, (1, 1200, 1200))
    everywhere = np.ones(noise.shape, bool)
    for side, offset in ((600, 0.5), (1120, 0.37), (280, 0.0)):
        place = (599.5 + offset, 599.5 - offset)
        stamp, sigma, _ = cut_stamp(noise, np.full(noise.shape, 4.0), everywhere, place, side, 280)
        assert sigma == pytest.approx(2.0 * 280 / side)
        # over boxes of 7 x 7 the errors are what such white noise gives: pixels that share an edge make up for it
        sums = stamp.reshape(40, 7, 40, 7).sum((1, 3))
        assert sums.std() == pytest.approx(7 * sigma[0, 0, 0], rel=0.15)


def test_what_is_invalid_or_beyond_the_image_does_not_leak():
    flux = np.full((2, 50, 50), 3.0)
    valid = np.ones(flux.shape, bool)
    valid[0, 20:24, 20:24] = False
    flux[~valid], variance = np.nan, np.where(valid, 1.0, np.inf)
    stamp, sigma, seen = cut_stamp(flux, variance, valid, (22.0, 10.3), 30, 20)
    assert stamp[seen] == pytest.approx(3.0)
    assert sigma[seen] == pytest.approx(20 / 30)
    assert (stamp[~seen] == 0).all()
    assert (sigma[~seen] == 0).all()
    # 4.7 of 30 pixels lie below the image; the hole is 4 x 4 pixels of one band
    assert not seen[:, :3].any()
    assert seen[1, 4:].all()
    assert 3 <= (~seen[0, 4:]).sum() <= 9
    nowhere = cut_stamp(flux, variance, valid, (500.0, 500.0), 30, 20)
    assert not nowhere[2].any()
    assert not nowhere[0].any()


def test_overlap_divides_the_row_without_loss():
    weights = overlap(10, 4.3, 7.0, 5)
    assert weights.sum(axis=1) == pytest.approx(7 / 5)
    assert weights.sum(axis=0).max() == pytest.approx(1)


def test_the_brightest_of_every_kind_in_turn():
    kinds = ["member"] * 5 + ["arc"] * 2 + ["other"] * 3 + ["star", "bcg", "artefact"]
    frame = pd.DataFrame([row(k, 80.0, 90.0, kind=kind, snr=100.0 - k) for k, kind in enumerate(kinds)])
    frame.loc[0, "north"] = 31.0
    chosen = choose_segments(frame, 7, 30.0)
    assert chosen["kind"].tolist() == ["arc", "other", "member"] * 2 + ["other"]
    assert chosen["label"].tolist() == [5, 7, 1, 6, 8, 2, 9]
    assert not len(choose_segments(frame.iloc[:0], 7, 30.0))


def test_geometry_of_known_arrangements():
    middle = (SIZE - 1) / 2
    right = row(1, middle + 40, middle, theta=np.pi / 2, snr=100.0)
    above = row(2, middle, middle + 20, theta=np.pi / 2, kind="member", snr=-3.0, length=0.0)
    frame, target = pd.DataFrame([right, above]), pd.Series({"richness": 40.0, "z": 0.3})
    values = pd.DataFrame(segment_geometry(frame, NORTH_UP, target), columns=GEOMETRY)
    assert values["radius_arcsec"].tolist() == [10, 5]
    assert values[["cos_azimuth", "sin_azimuth"]].to_numpy() == pytest.approx(np.eye(2))
    assert values["radius_scaled"].to_numpy() == pytest.approx(np.array([10, 5]) / expected_einstein_radius(40, 0.3))
    assert values["log_snr"].to_numpy() == pytest.approx([2, 0])
    assert values["log_lw"].to_numpy() == pytest.approx([np.log10(3), 0])
    assert values["alignment"].to_numpy() == pytest.approx([1, -1])
    assert values[["is_arc", "is_other", "is_member", "is_centre"]].to_numpy().tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    unknown = pd.Series({"richness": np.nan, "z": np.nan})
    assert np.isfinite(segment_geometry(frame, NORTH_UP, unknown)).all()


def test_directions_are_those_of_the_pixels_on_a_turned_grid():
    target = pd.Series({"richness": 40.0, "z": 0.3})
    turn = np.array([[0.6, -0.8], [0.8, 0.6]]) @ NORTH_UP
    frame = pd.DataFrame([row(1, 100.0, 90.0)])
    plain = segment_geometry(frame, NORTH_UP, target)
    frame[["east", "north"]] = (frame[["x", "y"]].to_numpy() - (SIZE - 1) / 2) @ turn.T
    # the axis of the segment turns with the sky, from west towards north
    frame["theta"] -= np.arctan2(0.8, 0.6)
    assert segment_geometry(frame, turn, target) == pytest.approx(plain, abs=1e-5)


def test_scale_is_the_noise_of_the_depth():
    # a point source of that depth is 5 sigma in an aperture of 2 FWHM across: 5 sqrt(pi FWHM^2) pixel sigma
    expected = 10 ** (0.4 * (31.4 - np.array([26, 25]))) / 5 / np.sqrt(np.pi * (1 / SCALE) ** 2)
    assert band_scales({**CFG, "softening": 1}) == pytest.approx(expected)
    unsaid = {**CFG, "survey_depth": [None, None], "survey_fwhm": [None, None], "depth": {"g": 26.0}}
    assert band_scales(unsaid) == pytest.approx(band_scales(CFG))


@pytest.fixture
def shard(tmp_path):
    """Three systems: one with three arcs, one without segments, one that no segmentation came from."""
    names = ["a", "b", "c"]
    flux = image()
    mask = np.zeros(flux.shape, np.uint16)
    mask[1, 80:, :52] = NO_DATA
    wcs = (header_text(tangent_wcs(10, 0, flux.shape[1:], SCALE)),) * 2
    extra = {"fwhm": np.float32(1.0), "noise_factor": np.full((2, 6), 2.0, np.float32)}
    cutout = sanitize(Cutout(BANDS, flux, np.full(flux.shape, 9.0), mask, np.ones((2, 3, 3)) / 9, wcs, extra))
    paths = {name: str(tmp_path / name) for name in ("stack", "images", "segments", "measure")}
    with write_stack(paths["stack"], BANDS, flux.shape[1:], 3) as writer:
        for name in names:
            writer.append(name, cutout)
    with h5py.File(paths["images"], "w") as handle:
        for name in names[:2]:
            handle[f"{name}/labels"] = np.zeros(flux.shape[1:], np.uint16)
            handle[f"{name}/detection"] = np.zeros(flux.shape[1:], np.float32)
            handle[f"{name}/residual"] = cutout.flux * (mask == 0).all(axis=0)
    frame = pd.DataFrame([row(k + 1, *place, target_id="a", snr=20.0 - k) for k, place in enumerate(PLACES)])
    write_table(paths["segments"], frame[[c.name for c in segments.COLUMNS]], segments.COLUMNS)
    facts = {"target_id": names, "status": "ok", "reason": "", "ebv": [0.1, np.nan, 0.0], "ebv_source": "catalogue"}
    facts |= {"fwhm": 1.0, "depth_g": 26.0, "depth_r": 25.0}
    write_table(paths["measure"], pd.DataFrame(facts), expand(measure.COLUMNS, BANDS))
    table = pd.DataFrame({c.name: [None] * 3 for c in targets.COLUMNS})
    return paths, table.assign(target_id=names, z=0.3, richness=40.0), str(tmp_path / "stamps.h5")


def test_shard(shard):
    paths, table, out = shard
    stamps_shard(paths, table, out, CFG, lambda done, total: None)
    with h5py.File(out) as file:
        assert list(file["target_id"].asstr()) == ["a", "b", "c"]
        assert file["start"][:].tolist() == [0, 4, 5, 5]
        assert file["label"][:].tolist() == [0, 1, 2, 3, 0]
        assert file["target"][:].tolist() == [0, 0, 0, 0, 1]
        assert list(file.attrs["geometry"]) == list(GEOMETRY)
        assert list(file.attrs["bands"]) == list(BANDS)
        assert file.attrs["pixel_scale"] == pytest.approx(0.25)
        assert file["geometry"][:, -1].tolist() == [1, 0, 0, 0, 1]
        scale = file.attrs["scale"]
        dim = 10 ** (0.04 * np.array([3.0, 2.0]))
        for k, place in enumerate(PLACES, 1):
            flux = np.sinh(file["flux"][k].astype(float))
            assert centroid(flux[0]) == pytest.approx([11.5, 11.5], abs=0.1)
            total = flux.sum((1, 2)) * scale / dim
            assert total == pytest.approx([1000, 2000], rel=0.01), place
        # the noise of this stack adds up to twice what its pixels say; the centre averages 4 x 4 of them
        known = file["mask"][:][:, 0, 12, 12]
        assert known.all()
        sigma = file["sigma"][:4, :, 12, 12]
        assert sigma == pytest.approx(np.outer([0.25, 1, 1, 1], 6 * dim / scale), rel=2e-3)
        assert file["mask"][0, 0].all()
        assert not file["mask"][0, 1].all()
        # the residual lacks in all bands what is invalid in one
        assert (file["mask"][1] == file["mask"][1, 1]).all()
        assert not file["mask"][1, 0].all()
        assert not file["flux"][:][~file["mask"][:]].any()


def test_two_more_bands_hold_what_is_behind_the_lens(shard):
    """Of three objects one has the colour of the lens, the others those of old and of young galaxies at z = 0.8."""
    paths, table, out = shard
    seds = {name: str(ROOT / f"resources/seds/{name}.csv") for name in ("elliptical", "starburst")}
    facts = {"wavelength": [6220, 8690], "width": [1400, 1400], "filter": [None, None]}
    bands = Bands(BANDS, *map(tuple, facts.values()))
    kinds = [("elliptical", 0.3), ("elliptical", 0.8), ("starburst", 0.8)]
    colours = [float(template_magnitudes(read_sed(seds[name]), [z], bands)[0] @ [1, -1]) for name, z in kinds]
    r_flux, noise = 4000.0, np.random.default_rng(0).normal(0, 3.0, (2, SIZE, SIZE))
    light = [
        blob(*place) * np.array([10 ** (-0.4 * c), 1])[:, None, None] for place, c in zip(PLACES, colours, strict=True)
    ]
    flux = noise + r_flux / 1000 * np.sum(light, axis=0)
    with read_stack(paths["stack"]) as stack:
        whole = {"mask": np.zeros(flux.shape, np.uint16), "variance": np.full(flux.shape, 9, np.float32)}
        cutout = replace(stack[0], flux=flux.astype(np.float32), **whole)
    with write_stack(paths["stack"], BANDS, flux.shape[1:], 3) as writer:
        for name in "ab":
            writer.append(name, cutout)
    columns = expand(photometry.COLUMNS, BANDS)
    empty = pd.DataFrame({c.name: pd.Series(dtype="str" if c.dtype == "str" else float) for c in columns})
    write_table(paths["measure"].replace("measure", "photometry"), empty, columns)
    more = {"photometry": str(paths["measure"]).replace("measure", "photometry"), "sequence": seds["elliptical"]}
    cfg = {**CFG, **facts, "contrast": True, "extinction": [0.0, 0.0]}
    table.loc[table["target_id"] == "b", "z"] = np.nan
    stamps_shard({**paths, **more, "young": [seds["starburst"]]}, table, out, cfg, lambda done, total: None)
    with h5py.File(out) as file:
        assert list(file.attrs["bands"]) == ["g", "r", "red", "blue"]
        assert file.attrs["scale"][2:].tolist() == [3, 3]
        peak = 3 * np.sinh(file["flux"][1:4, 2:, 12, 12].astype(float))
        assert file["mask"][:4, 2:, 12, 12].all()
        assert file["sigma"][1, 2, 12, 12] == pytest.approx(1 / 3, rel=1e-3)
        # a target without redshift
        assert not file["mask"][4:, 2:].any()
        assert file["mask"][4:, :2].any()
    assert (np.abs(peak[0]) < 2).all()
    assert peak[1, 0] > 10
    assert peak[2, 1] > 4


def test_a_poor_scale_is_remarked_on(shard, caplog, monkeypatch):
    paths, table, out = shard
    monkeypatch.setattr(logging.getLogger("tandemlens"), "propagate", True)
    with caplog.at_level("WARNING", logger="tandemlens"):
        stamps_shard(paths, table, out, {**CFG, "depth": {"r": 20.0}}, lambda done, total: None)
    assert "noise of band r is 0.0065" in caplog.text
    assert "stamps.depth" in caplog.text
    assert "band g" not in caplog.text


def test_two_runs_are_identical(shard):
    paths, table, out = shard
    contents = []
    for _ in range(2):
        stamps_shard(paths, table, out, CFG, lambda done, total: None)
        with h5py.File(out) as file:
            contents.append({name: file[name][:].tobytes() for name in file if name != "target_id"})
    assert contents[0] == contents[1]


def test_every_setting_is_described():
    for name in ("stamps", "views"):
        schema = yaml.safe_load((ROOT / f"config/schemas/{name}.schema.yaml").read_text())
        assert schema["additionalProperties"] is False
        assert all({"default", "description"} <= known.keys() for known in schema["properties"].values())
