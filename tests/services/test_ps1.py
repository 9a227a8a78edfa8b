"""Pan-STARRS1: the happy path, and each trap of services.md C3."""

from itertools import pairwise

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of

from skyserver import ps1 as served
from skyserver.server import HTML, Reply, Server
from skyserver.sky import Sky
from tandemlens.base.flags import BAD, SATURATED
from tandemlens.survey.services.ps1 import Ps1

BANDS = "grizy"
PLACE = (29.661, 2.282)


def test_flux_and_places_are_those_of_the_sky(tmp_path):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], BANDS)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")


def test_the_weight_is_a_variance(tmp_path):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], "gr")
    assert done.table["noise_ratio"].between(0.9, 1.1).all()
    np.testing.assert_allclose(np.median(np.sqrt(done.cutouts["t0"].variance)), 15 * 0.25, rtol=0.1)
    survey = survey_of("ps1")
    survey["defaults"]["variance"]["kind"] = "invvar"
    done = fetch(Ps1, survey, tmp_path, [PLACE], "gr")
    assert set(done.table["status"]) == {"bad_variance"}


def test_the_zero_point_is_that_of_the_exposure_time(tmp_path, monkeypatch):
    # the server's counts follow the time, and so must the flux; each band has its own
    monkeypatch.setitem(served.EXPTIME, "g", 90.0)
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], "gr")
    assert_true_flux(done, "t0")


def test_asinh_compressed_pixels_and_weights_are_decoded(tmp_path, monkeypatch):
    plain = fetch(Ps1, survey_of("ps1"), tmp_path / "plain", [PLACE], "gr")
    monkeypatch.setattr(served, "COMPRESSED", True)
    done = fetch(Ps1, survey_of("ps1"), tmp_path / "compressed", [PLACE], "gr")
    assert_true_flux(done, "t0")
    for name in ("flux", "variance"):
        ours, theirs = getattr(done.cutouts["t0"], name), getattr(plain.cutouts["t0"], name)
        valid = np.isfinite(theirs)
        np.testing.assert_allclose(ours[valid], theirs[valid], rtol=2e-3, atol=0.05)


def test_psf_comes_from_stars_of_a_larger_field(tmp_path):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], BANDS, size=30)
    assert set(done.table["psf_source"]) == {"stars"}
    np.testing.assert_allclose(done.table["psf_fwhm"], [1.0, 0.95, 0.9, 0.85, 0.9], rtol=0.025)
    assert done.cutouts["t0"].flux.shape[1:] == (120, 120)


def test_without_stars_the_psf_is_nominal(tmp_path):
    survey = survey_of("ps1")
    survey["defaults"]["psf"]["field_arcsec"] = 20
    done = fetch(Ps1, survey, tmp_path, [PLACE], BANDS, size=20)
    assert set(done.table["psf_source"]) == {"nominal"}
    np.testing.assert_allclose(done.table["psf_fwhm"], [1.31, 1.19, 1.11, 1.07, 1.02], rtol=0.02)


def test_mask_bits_bad_and_saturated_count_and_suspect_ones_do_not(tmp_path):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], "gr")
    cutout = done.cutouts["t0"]
    # columns on the skycell: the reference pixel is its origin
    columns = np.arange(cutout.flux.shape[2]) + 1 - round(cutout.astropy_wcs().wcs.crpix[0])
    wanted = {(211, 0): BAD, (211, 100): 0, (211, 150): SATURATED}
    assert wanted.keys() == served.BITS.keys()
    for (period, rest), flag in wanted.items():
        mask = cutout.mask[0][:, columns % period == rest]
        assert mask.size
        assert (mask == flag).all()


def test_old_keywords_and_a_far_reference_pixel(tmp_path):
    """PC001001 in place of PC1_1, no RADESYS, and north that is not up."""
    place = (31.9, 2.1)
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [place], "gr")
    wcs = done.cutouts["t0"].astropy_wcs()
    assert np.abs(wcs.wcs.crpix).max() > 5000
    assert_true_flux(done, "t0")


def test_files_of_one_skycell_go_together(tmp_path):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], "gr")
    cuts = [line for _, line in done.asked if "fitscut" in line]
    # image, variance and mask of two bands
    assert len(cuts) == 6
    projection, cell = served.skycell_at(*PLACE)
    assert all(f"skycell.{projection:04d}.{cell:03d}.stk" in line for line in cuts)


def test_the_edge_of_a_skycell_leaves_a_part(tmp_path):
    # so large a cutout is not on one skycell
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [_near_edge()], "gr", size=240)
    assert set(done.table["status"]) == {"ok"}
    assert (done.table["coverage"] < 0.9).all()
    assert_true_flux(done, "t0")


def test_a_band_that_is_missing_leaves_the_others(tmp_path):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [(30.0, -28.3)], BANDS)
    assert done.band("t0", "y")["status"] == "no_coverage"
    assert set(done.table["status"][:4]) == {"ok"}


def test_an_empty_list_is_no_coverage(tmp_path):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [(30.0, -60.0)], BANDS)
    assert set(done.table["status"]) == {"no_coverage"}
    assert len(done.asked) == 1


def test_html_is_never_scraped(tmp_path, monkeypatch):
    """Only the list and the cutouts are asked for; a page of HTML in the place of a list is refused."""
    done = fetch(Ps1, survey_of("ps1"), tmp_path / "well", [PLACE], "gr")
    assert {line.split("?")[0] for _, line in done.asked} == {"/cgi-bin/ps1filenames.py", "/cgi-bin/fitscut.cgi"}
    monkeypatch.setitem(served.HOSTS, "ps1images.stsci.edu", lambda sky, asked: Reply(HTML))
    done = fetch(Ps1, survey_of("ps1"), tmp_path / "ill", [PLACE], "gr")
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "no list of files but begins with '<!DOCTYPE html>" in done.table["reason"].iloc[0]


def test_no_more_connections_than_the_survey_states(tmp_path):
    places = [(29.66 + 0.01 * k, 2.28) for k in range(6)]
    with Server(Sky(), latency=0.02) as server:
        done = fetch(Ps1, survey_of("ps1"), tmp_path, places, "gr", size=20, server=server, connections=10)
    assert set(done.table["status"]) == {"ok"}
    assert 1 < server.most["ps1images.stsci.edu"] <= 4


@pytest.mark.parametrize("fault", ["html", "gzip", "reset", "nan", "elsewhere", "checksum"])
def test_broken_answers_are_refused(tmp_path, fault):
    with Server(Sky(), fault_share=1, faults=[fault]) as server:
        done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], "gr", server=server)
    assert not set(done.table["status"]) & {"ok", "stage_failed"}


def test_a_list_that_ends_early_is_refused(tmp_path, monkeypatch):
    def cut_short(sky, asked):
        reply = served.serve(sky, asked)
        return Reply(reply.body[:-40]) if "filenames" in asked.path else reply

    monkeypatch.setitem(served.HOSTS, "ps1images.stsci.edu", cut_short)
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], "gr")
    assert "the list of files ends early" in done.table["reason"].iloc[0]


@pytest.mark.parametrize("place", [(0.0, 0.0), (359.99999, -0.12), (302.286, 89.9)])
def test_the_ends_of_the_coordinates(tmp_path, place):
    done = fetch(Ps1, survey_of("ps1"), tmp_path, [place], "gr")
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")


def test_nothing_is_asked_twice(tmp_path):
    with Server(Sky()) as server:
        first = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], BANDS, server=server)
        again = fetch(Ps1, survey_of("ps1"), tmp_path, [PLACE], BANDS, server=server)
    assert len(first.asked) == len(set(first.asked)) == 16
    assert again.asked == []
    np.testing.assert_array_equal(again.cutouts["t0"].flux, first.cutouts["t0"].flux)


def _near_edge():
    """A place within an arcsecond of the border between two skycells."""
    cells = [(ra, served.skycell_at(ra, 2.1)) for ra in np.arange(29.0, 30.0, 1 / 3600)]
    return next((ra, 2.1) for (ra, cell), (_, after) in pairwise(cells) if cell != after)
