"""HSC-SSP: the happy path, a real answer, and each trap of services.md C5."""

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of

from skyserver.hsc import PASSWORD, USER
from skyserver.server import Reply, Server
from skyserver.sky import FWHM, Sky
from tandemlens.base.errors import SettingsError
from tandemlens.base.flags import BAD, NO_DATA, SATURATED
from tandemlens.survey.services.hsc import Hsc

BANDS = "griz"
PLACE = (150.13, 2.2)


@pytest.fixture(autouse=True)
def login(monkeypatch):
    monkeypatch.setenv("HSC_SSP_USER", USER)
    monkeypatch.setenv("HSC_SSP_PASSWORD", PASSWORD)


class Changed(Server):
    """A server that answers ``change(asked, plain)``, where ``plain(asked)`` is what it would have answered."""

    def __init__(self, change):
        super().__init__(Sky())
        self._change = change

    def answer(self, asked):
        return self._change(asked, super().answer)


def test_flux_and_places_are_those_of_the_sky(tmp_path):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], BANDS, size=90)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")
    # a cutout and a PSF of each band
    assert len(done.asked) == len(set(done.asked)) == 2 * len(BANDS)


def test_psf_comes_from_the_picker_in_the_middle_of_its_image(tmp_path):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], BANDS)
    assert set(done.table["psf_source"]) == {"survey"}
    np.testing.assert_allclose(done.table["psf_fwhm"], [FWHM[b] for b in BANDS], rtol=0.01)
    assert all("centered=on" in line for _, line in done.asked if "getpsf" in line)


def test_without_the_picker_the_band_is_still_there(tmp_path):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [(150.0, -55.0)], BANDS)
    assert set(done.table["status"]) == {"ok"}
    assert set(done.table["psf_source"]) <= {"stars", "nominal"}


def test_sigma_is_larger_than_the_variance_says(tmp_path):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], BANDS)
    np.testing.assert_allclose(done.table["noise_ratio"], 1.12, atol=0.06)
    cutout = done.cutouts["t0"]
    # what the server put into its pixels: 15 nJy an arcsec of pixel side
    np.testing.assert_allclose(np.sqrt(np.median(cutout.variance, (1, 2))), 15 * 0.168, rtol=0.06)


def test_sw_and_sh_are_half_widths(tmp_path):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr", size=60)
    side = done.cutouts["t0"].flux.shape[1]
    assert side == round(60 / 0.168)
    # every pixel of the window is covered but the corner that the server has masked
    assert done.band("t0", "g")["coverage"] > 0.999
    assert all("sw=30.1" in line for _, line in done.asked if "das_cutout" in line)


def test_an_answer_of_twice_the_width_is_refused(tmp_path):
    def doubled(asked, plain):
        if "sw" in asked.query:
            asked.query["sw"] = asked.query["sh"] = "60asec"
        return plain(asked)

    with Changed(doubled) as server:
        done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr", server=server)
    assert "715x715 pixels, 357 were asked for" in done.table["reason"].iloc[0]


def test_layers_are_told_by_their_names(tmp_path):
    def without_mask(asked, plain):
        asked.query.pop("mask", None)
        return plain(asked)

    with Changed(without_mask) as server:
        done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "holds ('IMAGE', 'VARIANCE')" in done.table["reason"].iloc[0]


def test_mask_planes_are_those_of_the_header(tmp_path):
    # the server marks a corner of its image, which begins two pixels outside the cutout
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr")
    mask = done.cutouts["t0"].mask[0]
    corner = mask[:16, :16]
    assert corner[0, 0] & NO_DATA
    assert (corner & SATURATED).any()
    # DETECTED marks objects and is no fault
    assert (corner[8:, 8:] == 0).all()
    assert not (corner & BAD).any()


def test_the_zero_point_is_that_of_the_answer(tmp_path):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [(330.0, 1.0)], "gr")
    assert_true_flux(done, "t0")


def test_no_coverage_and_a_missing_band(tmp_path):
    survey = survey_of("hsc-pdr3-wide")
    done = fetch(Hsc, survey, tmp_path, [(10.0, -70.0), (10.0, 50.0)], "gry")
    assert {done.band("t0", b)["status"] for b in "gry"} == {"no_coverage"}
    assert [done.band("t1", b)["status"] for b in "gry"] == ["ok", "ok", "no_coverage"]
    # words that are final are not asked for again
    assert len(done.asked) == len(set(done.asked))


def test_406_names_the_setting_to_correct(tmp_path):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide", collection="pdr3_narrow"), tmp_path, [PLACE], "gr")
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "correct service.collection or the band's label (HTTP 406)" in done.table["reason"].iloc[0]


def test_502_is_asked_again(tmp_path):
    failed = []

    def once(asked, plain):
        first = asked.query["filter"] not in failed
        failed.append(asked.query["filter"])
        return Reply(b"Bad Gateway", 502) if first else plain(asked)

    with Changed(once) as server:
        done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"ok"}
    assert (done.table["tries"] == 3).all()


def test_a_refused_login_is_not_sent_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HSC_SSP_PASSWORD", "wrong-word-17")
    survey = survey_of("hsc-pdr3-wide", connections=1)
    places = [(150.0 + k, 2.0) for k in range(6)]
    done = fetch(Hsc, survey, tmp_path, places, "gri")
    assert set(done.table["status"]) == {"fetch_failed"}
    assert done.table["reason"].str.contains("HTTP 401, the login was refused").all()
    # those that were already under way
    assert len(done.asked) <= 3
    assert not done.table["reason"].str.contains("wrong-word-17").any()


def test_without_a_login_the_run_ends_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("HSC_SSP_PASSWORD")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="set HSC_SSP_USER and HSC_SSP_PASSWORD in the environment"):
        fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr")


def test_the_login_may_stand_in_netrc(tmp_path, monkeypatch):
    monkeypatch.delenv("HSC_SSP_USER")
    monkeypatch.delenv("HSC_SSP_PASSWORD")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine hsc-release.mtk.nao.ac.jp login {USER} password {PASSWORD}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path / "run", [PLACE], "gr")
    assert set(done.table["status"]) == {"ok"}


@pytest.mark.parametrize("spoil", [lambda body: b"<html>busy</html>", lambda body: body[: len(body) // 2]])
def test_broken_answers_are_refused(tmp_path, spoil):
    with Changed(lambda asked, plain: Reply(spoil(plain(asked).body))) as server:
        done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"fetch_failed"}
    assert len(server.asked) == 2 * 3


@pytest.mark.parametrize("place", [(0.0, 0.0), (359.99999, -0.12), (12.0, 89.9)])
def test_the_ends_of_the_coordinates(tmp_path, place):
    done = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [place], "gr", size=40)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")


def test_nothing_is_asked_twice(tmp_path):
    with Server(Sky()) as server:
        first = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr", server=server)
        again = fetch(Hsc, survey_of("hsc-pdr3-wide"), tmp_path, [PLACE], "gr", server=server)
    assert len(first.asked) == 4
    assert not again.asked
    np.testing.assert_array_equal(first.cutouts["t0"].flux, again.cutouts["t0"].flux)


def test_a_real_answer_is_read(tmp_path, real):
    """Bytes that the service has given: their size, planes, unit, PSF, and the noise that their variance hides."""
    name = f"{real}/hsc_cutout_gama/222.51551376,0.09749601"

    def recorded(asked, plain):
        band = asked.query["filter"][-1].lower()
        part = f"{band}_psf" if "getpsf" in asked.path else f"300x300_{band}"
        with open(f"{name}_{part}.fits", "rb") as handle:
            return Reply(handle.read())

    with Changed(recorded) as server:
        survey = survey_of("hsc-pdr3-wide")
        done = fetch(Hsc, survey, tmp_path, [(222.51551376, 0.09749601)], "gri", size=50.4, server=server)
    assert set(done.table["status"]) == {"ok"}
    assert set(done.table["psf_source"]) == {"survey"}
    assert done.table["noise_ratio"].between(1.03, 1.2).all()
    assert done.table["psf_fwhm"].between(0.4, 1.1).all()
    # the spiral in the middle is bright in all bands, and redder light is more of it
    core = [done.cutouts["t0"].flux[k, 140:160, 140:160].sum() for k in range(3)]
    assert 1e4 < core[0] < core[1] < core[2]
