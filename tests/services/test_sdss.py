"""SDSS: the happy path, and each trap of services.md C4."""

import bz2
from collections import Counter

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of

from skyserver import sdss as served
from skyserver.server import Reply, Server
from skyserver.sky import Sky
from tandemlens.survey.services.sdss import Sdss, best_frame

PLACE = (29.661, 2.282)
ENDS = [(0.0, 0.05), (359.9999, 0.05)]


@pytest.fixture(scope="module")
def server():
    """One server for all: its frames are large, and it keeps those that it made."""
    with Server(Sky(beacons=[PLACE, *ENDS])) as one:
        yield one


def test_flux_and_places_are_those_of_the_sky(tmp_path, server):
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gri", server=server)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")


def test_frames_are_rotated(tmp_path, server):
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gr", server=server)
    matrix = done.cutouts["t0"].astropy_wcs().pixel_scale_matrix * 3600
    # rows follow the right ascension
    assert abs(matrix[0, 1]) > 0.39
    assert abs(matrix[0, 0]) < 0.03
    assert_star_places(done, "t0")


def test_psf_comes_from_stars_of_the_frame(tmp_path, server):
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gri", server=server)
    assert set(done.table["psf_source"]) == {"stars"}
    assert (done.table["n_psf_stars"] > 20).all()
    # 2.3 pixels across, sampled at pixel centres
    np.testing.assert_allclose(done.table["psf_fwhm"], [1.0, 0.95, 0.9], rtol=0.04)


def test_variance_is_that_of_the_data_model(tmp_path, server):
    """Of sky and reading out where it is dark, and of the sources' own electrons where it is bright."""
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gr", server=server)
    assert done.table["noise_ratio"].between(0.9, 1.1).all()
    cutout = done.cutouts["t0"]
    wcs = cutout.astropy_wcs(1)
    light = Sky().image(wcs, cutout.flux.shape[1:], "r")
    run, field, *_ = max(served.frames_at(*PLACE), key=lambda f: min(f[2], 2048 - f[2], f[3], 1489 - f[3]))
    first = round(served.frame_wcs(run, field).wcs.crpix[0] - wcs.wcs.crpix[0])
    blank = (15 * served.SCALE) ** 2
    model = blank + served.variance(light, first + np.arange(light.shape[1]))
    bright = light > 20 * np.sqrt(blank)
    assert bright.sum() > 20
    assert model[bright].max() > 20 * blank
    # blank pixels that scatter more than the model by chance raise it as a whole
    raised = max(done.band("t0", "r")["noise_ratio"], 1) ** 2
    np.testing.assert_allclose(np.median(cutout.variance[1][bright] / model[bright]) / raised, 1, atol=0.01)


def test_two_matched_objects_in_one_frame_are_one_download_per_band(tmp_path, server):
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gr", server=server)
    assert Counter(host for host, _ in done.asked) == {"skyserver.sdss.org": 1, "data.sdss.org": 2}


def test_two_targets_in_one_frame_are_one_download_per_band(tmp_path, server):
    places = [PLACE, (PLACE[0] + 0.01, PLACE[1]), (PLACE[0], PLACE[1] - 0.01)]
    assert len({max(served.frames_at(*p), key=lambda f: f[3] * (1489 - f[3]))[:2] for p in places}) == 1
    done = fetch(Sdss, survey_of("sdss"), tmp_path, places, "gr", server=server)
    assert set(done.table["status"]) == {"ok"}
    assert Counter(host for host, _ in done.asked) == {"skyserver.sdss.org": 3, "data.sdss.org": 2}
    for target in ("t0", "t1", "t2"):
        assert_true_flux(done, target)


def test_where_frames_overlap_the_one_that_holds_the_cutout_is_taken(tmp_path, server):
    # 40 pixels from the end of a frame, well inside the next one
    places = [served.frame_wcs(1010, 130).all_pix2world(x, 1489 - 40, 0) for x in range(200, 1800, 50)]
    ra, dec = next((float(a), float(d)) for a, d in places if len(_detected(a, d)) > 3)
    assert len(served.frames_at(ra, dec)) == 2
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [(ra, dec)], "gr", size=60, server=server)
    assert (done.table["coverage"] == 1).all()
    assert {line.rsplit("-", 1)[1] for host, line in done.asked if host == "data.sdss.org"} == {"5131.fits.bz2?"}


def test_the_best_frame_is_whole_then_primary_then_central():
    def best(*rows):
        return best_frame([_seen(*row) for row in rows], {"ra": 0.0, "dec": 0.0}, 50)["field"]

    assert best((1, 1, 30, 900), (2, 2, 1400, 900)) == 2
    assert best((1, 1, 80, 900), (2, 2, 700, 900)) == 1
    assert best((1, 2, 80, 900), (2, 2, 700, 900)) == 2
    # with few detections the one closest to the target tells
    assert best((1, 1, 700, 900, 0.01), (1, 1, 10, 900, 0.001), (2, 2, 600, 900)) == 2


def test_the_place_on_a_frame_follows_from_detections_around_it():
    # all of them lie on the inner side of a target that is 20 pixels from the edge of the first frame
    steps = [(0.01, 0.0), (0.012, 0.004), (0.011, -0.005), (0.02, 0.001)]
    scale = 3600 / served.SCALE
    first = [_seen(1, 1, 20 + east * scale, 900 + north * scale, east, north) for east, north in steps]
    second = [_seen(2, 2, 1400 + east * scale, 900 + north * scale, east, north) for east, north in steps]
    assert best_frame(first + second, {"ra": 0.0, "dec": 0.0}, 50)["field"] == 2
    turned = [{**row, "ra": (row["ra"] - 0.001) % 360} for row in first + second]
    assert best_frame(turned, {"ra": 359.999, "dec": 0.0}, 50)["field"] == 2


def test_a_frame_that_is_missing_leaves_the_other_bands(tmp_path, server):
    # the runs of odd number lack u on the server
    ra, dec = (float(v) for v in served.frame_wcs(1011, 130).all_pix2world(1000, 700, 0))
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [(ra, dec)], "ugr", server=server)
    assert list(done.table["status"]) == ["no_coverage", "ok", "ok"]
    assert "there is no frame frame-u-001011-3-5130.fits.bz2" in done.band("t0", "u")["reason"]


def test_beyond_the_footprint_nothing_is_returned(tmp_path, server):
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [(30.0, -45.0)], "gr", server=server)
    assert set(done.table["status"]) == {"no_coverage"}
    assert len(done.asked) == 1


def test_an_error_with_http_200_is_no_empty_table(tmp_path, server, monkeypatch):
    monkeypatch.setitem(served.AILING, "error", 1)
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"ok"}
    monkeypatch.setitem(served.AILING, "error", 99)
    done = fetch(Sdss, survey_of("sdss"), tmp_path / "again", [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "the SkyServer reports an error" in done.table["reason"].iloc[0]


def test_gain_that_is_none_is_refused(tmp_path, server, monkeypatch):
    monkeypatch.setattr(served, "GAIN", -9999.0)
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"bad_variance"}


def test_newer_releases_lie_in_another_folder(tmp_path, server):
    done = fetch(Sdss, survey_of("sdss", collection=18), tmp_path, [PLACE], "gr", server=server)
    paths = [line for host, line in done.asked if host == "data.sdss.org"]
    assert paths
    assert all(p.startswith("/sas/dr18/prior-surveys/sdss4-dr17-eboss/photoObj/frames/301/") for p in paths)


@pytest.mark.parametrize("fault", ["html", "reset", "gzip"])
def test_broken_answers_are_refused(tmp_path, fault):
    with Server(Sky(), fault_share=1, faults=[fault]) as server:
        done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"fetch_failed"}


@pytest.mark.parametrize("kind", ["half", "text", "nan", "plain text within"])
def test_a_broken_frame_is_refused(tmp_path, monkeypatch, kind):
    def broken(sky, asked):
        body = served.frames(sky, asked).body
        if kind == "nan":
            return Reply(_blank(body))
        return Reply(
            {"half": body[: len(body) // 2], "text": b"busy", "plain text within": bz2.compress(b"busy")}[kind]
        )

    monkeypatch.setitem(served.HOSTS, "data.sdss.org", broken)
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gr", tries=1)
    assert set(done.table["status"]) <= {"fetch_failed", "masked"}
    assert list(tmp_path.glob("cache/sdss/*/*.fits")) == []
    assert list(tmp_path.glob("cache/sdss/*/*.plain")) == []


@pytest.mark.parametrize("place", ENDS)
def test_the_ends_of_right_ascension(tmp_path, server, place):
    done = fetch(Sdss, survey_of("sdss"), tmp_path, [place], "gr", server=server)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")


def test_nothing_is_asked_twice(tmp_path, server):
    first = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gri", server=server)
    again = fetch(Sdss, survey_of("sdss"), tmp_path, [PLACE], "gri", server=server)
    assert len(first.asked) == 4
    assert again.asked == []
    np.testing.assert_array_equal(again.cutouts["t0"].flux, first.cutouts["t0"].flux)


def _detected(ra, dec):
    """Sources of the sky around a place that lie on the two frames that overlap there."""
    near = [s for s in Sky().sources(float(ra), float(dec), 40) if s[2] < 23]
    away = [3600 * np.hypot((s[0] - ra) * np.cos(np.radians(dec)), s[1] - dec) for s in near]
    return [s for s, d in zip(near, away, strict=True) if d < 50 and len(served.frames_at(s[0], s[1])) == 2]


def _seen(field, mode, rowc, colc, ra=0.0, dec=0.0):
    frame = {"run": 1, "rerun": 301, "camcol": 1, "field": field, "mode": mode, "rowc": rowc, "colc": colc}
    return frame | {"ra": ra, "dec": dec, "distance": float(np.hypot(ra, dec)) * 60}


def _blank(body):
    """The frame with pixels that are not finite."""
    data = bytearray(bz2.decompress(body))
    start = 2880 * (data.index(b"END" + b" " * 77) // 2880 + 1)
    data[start : start + 4 * 1489 * 2048] = np.full(1489 * 2048, np.nan, ">f4").tobytes()
    return bz2.compress(bytes(data), 1)
