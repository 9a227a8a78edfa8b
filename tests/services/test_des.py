"""DES DR2: the happy path, and each trap of services.md C2."""

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of

from skyserver import des as served
from skyserver.server import Server
from skyserver.sky import Sky
from tandemlens.survey.services.des import Des

BANDS = "grizY"
PLACE = (30.141, -1.788)


def test_flux_and_places_are_those_of_the_sky(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], BANDS)
    assert set(done.table["status"]) == {"ok"}
    assert (done.table["coverage"] == 1).all()
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")


def test_weight_is_an_inverse_variance(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], "gr")
    assert done.table["noise_ratio"].between(0.9, 1.1).all()
    np.testing.assert_allclose(np.median(np.sqrt(done.cutouts["t0"].variance)), 15 * 0.263, rtol=0.1)


def test_psf_comes_from_stars_of_a_larger_field(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], BANDS, size=30)
    assert set(done.table["psf_source"]) == {"stars"}
    np.testing.assert_allclose(done.table["psf_fwhm"], [1.0, 0.95, 0.9, 0.85, 0.9], rtol=0.02)
    assert done.cutouts["t0"].flux.shape[1:] == (114, 114)


def test_without_stars_the_psf_is_nominal(tmp_path):
    survey = survey_of("des-dr2")
    survey["defaults"]["psf"]["field_arcsec"] = 20
    done = fetch(Des, survey, tmp_path, [PLACE], BANDS, size=20)
    assert set(done.table["psf_source"]) == {"nominal"}
    np.testing.assert_allclose(done.table["psf_fwhm"], [1.11, 0.95, 0.88, 0.83, 0.90], rtol=0.02)


def test_images_are_flipped_and_only_the_wcs_tells(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], "gr")
    # east is right: the determinant of a picture of the sky is negative otherwise
    assert np.linalg.det(done.cutouts["t0"].astropy_wcs().pixel_scale_matrix) > 0
    assert_star_places(done, "t0")


def test_a_size_is_always_sent(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], "gr", size=300)
    table = next(line for _, line in done.asked if line.startswith("/sia/"))
    width, height = map(float, table.split("SIZE=")[1].split("&")[0].split("%2C"))
    assert height == pytest.approx(300 / 3600, abs=1e-6)
    assert width == pytest.approx(height / np.cos(np.radians(PLACE[1])), abs=1e-6)


def test_of_several_stacks_the_longest_exposed_is_taken(tmp_path):
    # both tiles hold the whole cutout
    place = next(
        (ra, -1.788)
        for ra in np.arange(30, 32, 0.0005)
        if len(_distances(ra, -1.788)) > 1 and min(_distances(ra, -1.788)) > 15
    )
    times = {served.exposure(*tile): tile for tile in served.tiles_at(*place)}
    assert len(times) == 2
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [place], "gr", size=20)
    row, column = times[900.0]
    assert {f"DES+{row:+04d}_{column:+04d}" in line for _, line in done.asked if "/svc/" in line} == {True}


def test_a_longer_stack_cut_by_its_edge_gives_way_to_a_whole_one(tmp_path):
    ra = next(
        ra
        for ra in np.arange(30, 32, 0.0005)
        if len(_distances(ra, -1.788)) > 1
        and _distances(ra, -1.788, 900.0)[0] < 20
        and _distances(ra, -1.788, 810.0)[0] > 35
    )
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [(ra, -1.788)], "gr", size=60)
    assert (done.table["coverage"] == 1).all()
    assert_true_flux(done, "t0")


def test_a_centre_near_the_edge_of_a_tile_gives_a_part(tmp_path):
    # the last row of tiles: nothing lies north of it
    row = max(k for k in range(10) if served.covered(k * served.STEP, "g"))
    dec = row * served.STEP + served.SIDE / 2 * served.SCALE / 3600 - 15 / 3600
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [(0.0, dec)], "gr", size=60)
    assert set(done.table["status"]) == {"ok"}
    np.testing.assert_allclose(done.table["coverage"], 0.75, atol=0.02)
    assert_true_flux(done, "t0")


def test_coadds_with_the_sky_left_in_and_other_images_are_passed_over(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], "gr")
    cuts = [line for _, line in done.asked if "/svc/cutout" in line]
    # image and weight of two bands; masks, detection images (without exposure time) and exposures are not taken
    assert len(cuts) == 4
    assert not any("nobkg" in line for line in cuts)


def test_the_plus_sign_of_a_name_goes_as_it_stands(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], "gr")
    assert all("siaRef=DES+" in line for _, line in done.asked if "/svc/" in line)


def test_a_band_that_is_missing_leaves_the_others(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [(30.141, 1.788)], BANDS)
    assert done.band("t0", "Y")["status"] == "no_coverage"
    assert set(done.table["status"][:4]) == {"ok"}


def test_an_empty_table_is_no_coverage(tmp_path):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [(30.0, 60.0)], BANDS)
    assert set(done.table["status"]) == {"no_coverage"}
    assert len(done.asked) == 1


@pytest.mark.parametrize("kind", ["error", "html"])
def test_an_error_with_http_200_is_no_empty_table(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(served.AILING, kind, 1)
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], "gr")
    assert set(done.table["status"]) == {"ok"}
    monkeypatch.setitem(served.AILING, kind, 99)
    done = fetch(Des, survey_of("des-dr2"), tmp_path / "again", [PLACE], "gr")
    assert set(done.table["status"]) == {"fetch_failed"}


@pytest.mark.parametrize("fault", ["html", "gzip", "reset", "nan", "elsewhere", "checksum"])
def test_broken_answers_are_refused(tmp_path, fault):
    with Server(Sky(), fault_share=1, faults=[fault]) as server:
        done = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], "gr", server=server)
    assert not set(done.table["status"]) & {"ok", "stage_failed"}


@pytest.mark.parametrize("place", [(0.0, -0.3), (359.9999, -0.3)])
def test_the_ends_of_right_ascension(tmp_path, place):
    done = fetch(Des, survey_of("des-dr2"), tmp_path, [place], "gr")
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")


def test_nothing_is_asked_twice(tmp_path):
    with Server(Sky()) as server:
        first = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], BANDS, server=server)
        again = fetch(Des, survey_of("des-dr2"), tmp_path, [PLACE], BANDS, server=server)
    assert len(first.asked) == len(set(first.asked)) == 11
    assert again.asked == []
    np.testing.assert_array_equal(again.cutouts["t0"].flux, first.cutouts["t0"].flux)


def _distances(ra, dec, seconds=None):
    """Distances of a place to the edges of its tiles, arcsec."""
    out = []
    for tile in served.tiles_at(ra, dec):
        if seconds in (None, served.exposure(*tile)):
            x, y = served.tile_wcs(*tile).all_world2pix(ra, dec, 0)
            out.append(min(x, y, served.SIDE - x, served.SIDE - y) * served.SCALE)
    return out or [np.inf] * (seconds is not None)
