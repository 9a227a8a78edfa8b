"""The Legacy Surveys: the happy path, and each trap of services.md C1."""

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of
from astropy.io import fits

from tandemlens.survey.services.bricks import brick_at, images_over
from tandemlens.survey.services.legacy import Legacy

BANDS = "griz"
#: four bricks meet close to the second place, which lies where their images overlap
PLACES = [(30.11, 2.02), (30.0, 1.875)]


@pytest.mark.parametrize("mode", ["cutouts", "bricks"])
def test_flux_and_places_are_those_of_the_sky(tmp_path, mode):
    done = fetch(Legacy, survey_of("legacy-dr10", mode=mode), tmp_path, PLACES[:1], BANDS, size=90, server=None)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")
    assert {host for host, _ in done.asked} == ({"www.legacysurvey.org"} if mode == "cutouts" else {"portal.nersc.gov"})


def test_psf_comes_with_the_cutout_or_from_the_stars_of_the_brick(tmp_path):
    for mode, source in (("cutouts", "survey"), ("bricks", "stars")):
        done = fetch(Legacy, survey_of("legacy-dr10", mode=mode), tmp_path / mode, PLACES[:1], BANDS)
        assert set(done.table["psf_source"]) == {source}
        np.testing.assert_allclose(done.table["psf_fwhm"], [1.0, 0.95, 0.9, 0.85], rtol=0.01)


def test_many_targets_of_a_brick_take_its_files_once(tmp_path):
    places = [(30.06 + 0.02 * (k % 4), 1.97 + 0.02 * (k // 4)) for k in range(8)]
    done = fetch(Legacy, survey_of("legacy-dr10"), tmp_path, places, BANDS, size=30)
    assert set(done.table["status"]) == {"ok"}
    # image and weight of four bands, and one mask
    assert len(done.asked) == len(set(done.asked)) == 9


def test_a_cutout_over_the_edge_of_a_brick_comes_from_the_viewer(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10", mode="bricks"), tmp_path, PLACES[1:], BANDS, size=60)
    assert {host for host, _ in done.asked} == {"www.legacysurvey.org"}
    assert (done.table["coverage"] == 1).all()


def test_an_unknown_band_returns_all_bands_and_is_refused(tmp_path):
    survey = survey_of("legacy-dr10")
    survey["bands"]["x"] = survey["bands"]["z"]
    done = fetch(Legacy, survey, tmp_path, PLACES[:1], "grzx")
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "holds the bands 'griz', 'grzx' were asked for" in done.table["reason"].iloc[0]


def test_4000_pixels_clamped_to_3000_are_refused(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10"), tmp_path, PLACES[:1], "gr", size=4000 * 0.262, request_seconds=90)
    assert "the image is 3000x3000 pixels, 4000 were asked for" in done.table["reason"].iloc[0]


def test_a_text_body_with_http_200_is_no_image(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10", collection="ls-dr99"), tmp_path, PLACES[:1], BANDS)
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "correct service.collection (it says 'no such layer')" in done.table["reason"].iloc[0]
    # its words are final: nothing is asked twice
    assert len(done.asked) == 1


def test_no_ccds_with_http_200_is_no_coverage(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10"), tmp_path, [(30.0, -89.0)], BANDS)
    assert set(done.table["status"]) == {"no_coverage"}


def test_hdus_are_told_by_imagetyp_and_a_missing_weight_is_refused(tmp_path):
    survey = survey_of("legacy-dr10")
    # coarser than native: the service leaves out invvar and maskbits and says nothing
    survey["pixel_scale"] = 0.524
    done = fetch(Legacy, survey, tmp_path, PLACES[:1], BANDS)
    assert "lacks an image" in done.table["reason"].iloc[0]
    assert "INVVAR" in done.table["reason"].iloc[0]


def test_a_zero_filled_area_is_masked(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10"), tmp_path, [(30.0, -87.99)], BANDS, size=90)
    cutout = done.cutouts["t0"]
    _, dec = cutout.astropy_wcs().all_pix2world(np.zeros(cutout.flux.shape[1]), np.arange(cutout.flux.shape[1]), 0)
    # the server has no data south of -87.99
    assert (cutout.mask[0][dec < -87.991, 0] != 0).all()
    assert (cutout.mask[0][dec > -87.989, 0] == 0).all()
    assert 0.4 < done.band("t0", "g")["coverage"] < 0.6


def test_doubled_invvar_in_overlaps_is_undone(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10", mode="cutouts"), tmp_path, PLACES[1:], BANDS, size=120)
    cutout = done.cutouts["t0"]
    y, x = np.indices(cutout.flux.shape[1:])
    counts = images_over(*cutout.astropy_wcs().all_pix2world(x, y, 0))
    assert {1, 2} <= set(np.unique(counts))
    sigma = np.sqrt(cutout.variance[0])
    # but for the pixels next to an edge of an image, which is followed on every eighth pixel
    assert np.quantile(sigma, 0.97) / np.quantile(sigma, 0.05) < 1.05


def test_the_north_has_no_i_band(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10"), tmp_path, [(200.0, 60.0)], BANDS)
    assert done.band("t0", "i")["status"] == "no_coverage"
    assert done.band("t0", "g")["status"] == "ok"
    assert "DR9-north" in done.band("t0", "g")["release"]
    assert not done.cutouts["t0"].usable()[BANDS.index("i")]


def test_northern_bricks_come_from_dr9(tmp_path):
    done = fetch(Legacy, survey_of("legacy-dr10", mode="bricks"), tmp_path, [(200.05, 60.02), PLACES[0]], "gr")
    folders = {line.split("/legacysurvey/")[1].split("/coadd")[0] for _, line in done.asked}
    assert folders == {"dr9/north", "dr10/south"}


@pytest.mark.parametrize("place", [(0.0, 0.0), (359.99999, -0.12), (12.0, 89.9), (45.0, 45.0)])
def test_the_ends_of_the_coordinates(tmp_path, place):
    done = fetch(Legacy, survey_of("legacy-dr10"), tmp_path, [place, (place[0], place[1] - 0.0002)], BANDS)
    assert done.band("t0", "g")["status"] == done.band("t1", "g")["status"] == "ok"
    assert_true_flux(done, "t0")
    assert_true_flux(done, "t1")


def test_bricks_are_those_of_the_survey(real):
    """Name and reference point of the brick of a real answer."""
    with fits.open(real / "legacy_viewer_cutout/cutout_59.1067_-30.4848.fits") as hdus:
        header = hdus[1].header
    brick = brick_at(59.1067, -30.4848)
    assert brick.name == header["BRICK"]
    assert (brick.ra, brick.dec) == pytest.approx((header["CRVAL1"], header["CRVAL2"]), abs=1e-9)
