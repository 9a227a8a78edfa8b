"""Rubin data previews: the happy path, and each trap of services.md C8."""

import itertools
import time

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of

from skyserver.rubin import TOKEN, VALID, centre, patches
from skyserver.server import Reply, Server
from skyserver.sky import FWHM, Sky
from tandemlens.base.errors import SettingsError
from tandemlens.base.flags import BAD
from tandemlens.survey.services import rubin
from tandemlens.survey.services.rubin import Rubin

PLACE = (53.16, -28.1)
API, STORAGE = "data.lsst.cloud", "storage.googleapis.com"


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("RUBIN_TOKEN", TOKEN)


class Changed(Server):
    """A server that answers ``change(asked, plain)``, where ``plain(asked)`` is what it would have answered."""

    def __init__(self, change):
        super().__init__(Sky())
        self._change = change

    def answer(self, asked):
        return self._change(asked, super().answer)


def _kinds(asked):
    return [line.split("?")[0].split("/")[2] for host, line in asked if host == API]


def test_flux_and_places_are_those_of_the_sky(tmp_path):
    done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "griz", size=90)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")
    np.testing.assert_allclose(done.table["noise_ratio"], 1, atol=0.05)
    # one search; the links and the cutout of each band
    assert sorted(_kinds(done.asked)) == ["cutout"] * 4 + ["datalink"] * 4 + ["sia"]


def test_psf_comes_from_the_stars_of_a_larger_field(tmp_path):
    done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "griz", size=20)
    assert set(done.table["psf_source"]) == {"stars"}
    np.testing.assert_allclose(done.table["psf_fwhm"], [FWHM[b] for b in "griz"], rtol=0.03)


def test_a_circle_is_a_square_of_twice_the_radius_at_any_declination(tmp_path):
    survey = survey_of("rubin-dp1")
    del survey["defaults"]["psf"]["field_arcsec"]
    place = (53.16, -65.0)
    done = fetch(Rubin, survey, tmp_path, [place], "gr", size=40)
    assert set(done.table["status"]) == {"ok"}
    # every pixel of the cutout is covered, but for the row that the server calls bad
    assert done.cutouts["t0"].flux.shape[1:] == (200, 200)
    assert done.band("t0", "g")["coverage"] == pytest.approx(1 - 1 / 200)


def test_mask_planes_are_those_of_the_header(tmp_path):
    done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", size=40)
    mask = done.cutouts["t0"].mask[0]
    # DETECTED marks objects and is no fault
    assert (mask & BAD != 0).all(1).sum() == 1
    assert (mask != 0).any(1).sum() == 1


def test_a_stale_link_is_not_taken_from_the_cache(tmp_path, monkeypatch):
    with Server(Sky()) as server:
        first = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + VALID + 60)
        survey = survey_of("rubin-dp1")
        survey["defaults"]["psf"]["field_arcsec"] = 220.0
        later = fetch(Rubin, survey, tmp_path, [PLACE], "gr", server=server)
    assert sorted(_kinds(first.asked)) == ["cutout", "cutout", "datalink", "datalink", "sia"]
    # another size is another cutout; the search is not repeated, the links are
    assert sorted(_kinds(later.asked)) == ["cutout", "cutout", "datalink", "datalink"]
    assert set(later.table["status"]) == {"ok"}


def test_the_patch_around_the_target_is_taken(tmp_path):
    # 30" beyond the middle between two rows of patches, on both of them
    place = (53.16, -28.05 + 0.085 + 30 / 3600)
    assert len({centre(p)[1] for p in patches(*place)}) == 2
    near = min(patches(*place), key=lambda p: abs(centre(p)[1] - place[1]))
    done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [place], "gr", size=30)
    rows = {centre(line.split("coadd%2F")[1].split("%2F")[0])[1] for _, line in done.asked if "coadd%2F" in line}
    assert rows == {centre(near)[1]}


def test_no_coverage_and_a_missing_band(tmp_path):
    done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [(10.0, 40.0), (10.0, -72.0)], "gry", size=20)
    assert {done.band("t0", b)["status"] for b in "gry"} == {"no_coverage"}
    assert [done.band("t1", b)["status"] for b in "gry"] == ["ok", "ok", "no_coverage"]


def test_after_429_it_waits_as_long_as_rubin_asks(tmp_path, monkeypatch):
    assert rubin._PAUSE == 60
    monkeypatch.setattr(rubin, "_PAUSE", 0.7)
    times = []

    def busy(asked, plain):
        if "sia" not in asked.path:
            return plain(asked)
        times.append(time.monotonic())
        return Reply(b"too many requests", 429) if len(times) == 1 else plain(asked)

    with Changed(busy) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"ok"}
    assert [b - a > 0.7 for a, b in itertools.pairwise(times)] == [True]


def test_the_time_that_429_names_goes_first(tmp_path):
    times = []

    def busy(asked, plain):
        if "sia" not in asked.path:
            return plain(asked)
        times.append(time.monotonic())
        # seconds, or a date
        when = ["1", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))]
        return Reply(b"slow down", 429, {"Retry-After": when[len(times) - 1]}) if len(times) <= 2 else plain(asked)

    with Changed(busy) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"ok"}
    assert times[1] - times[0] > 1
    assert 0.5 < times[2] - times[1] < 30


def test_the_token_does_not_follow_a_redirect_to_another_host(tmp_path):
    """The server's store refuses a request that carries one, as the real one does."""
    seen = []

    def listen(asked, plain):
        seen.append((asked.host, asked.headers.get("Authorization")))
        return plain(asked)

    with Changed(listen) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"ok"}
    assert {word for host, word in seen if host == API} == {f"Bearer {TOKEN}"}
    assert {word for host, word in seen if host == STORAGE} == {None}


def test_the_token_does_not_go_where_the_list_points(tmp_path):
    def elsewhere(asked, plain):
        reply = plain(asked)
        return Reply(reply.body.replace(b"https://data.lsst.cloud/", b"https://eas.esac.esa.int/"), reply.status)

    with Changed(elsewhere) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server)
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "points to eas.esac.esa.int, which must not get the token" in done.table["reason"].iloc[0]
    assert {host for host, _ in done.asked} == {API}


def test_links_without_the_service_are_refused(tmp_path):
    def poor(asked, plain):
        reply = plain(asked)
        return Reply(reply.body.replace(b"cutout-sync-maskedimage", b"cutout-async"), reply.status, reply.headers)

    with Changed(poor) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server)
    assert "name no service cutout-sync-maskedimage" in done.table["reason"].iloc[0]


def test_a_cutout_without_variance_is_refused(tmp_path):
    def bare(asked, plain):
        reply = plain(asked)
        return Reply(reply.body.replace(b"'VARIANCE'", b"'NOTHING '")) if asked.host == STORAGE else reply

    with Changed(bare) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server, tries=1)
    assert set(done.table["status"]) == {"fetch_failed"}


@pytest.mark.parametrize("spoil", [lambda body: b"<html>busy</html>", lambda body: body[: len(body) // 2]])
@pytest.mark.parametrize("part", ["sia", "datalink", "cutout.fits"])
def test_broken_answers_are_refused(tmp_path, part, spoil):
    def broken(asked, plain):
        reply = plain(asked)
        return Reply(spoil(reply.body), 200) if part in asked.path else reply

    with Changed(broken) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server, size=20)
    assert set(done.table["status"]) == {"fetch_failed"}


def test_a_token_without_the_scope(tmp_path):
    with Changed(lambda asked, plain: Reply(b"insufficient scope", 403)) as server:
        done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server)
    assert "it needs the scope read:image (HTTP 403)" in done.table["reason"].iloc[0]


def test_without_a_token_the_run_ends_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("RUBIN_TOKEN")
    with pytest.raises(SettingsError, match="needs a token; set RUBIN_TOKEN in the environment"):
        fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr")


def test_both_ends_of_right_ascension(tmp_path):
    done = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [(0.0, 0.001), (359.99999, -0.12)], "gr", size=40)
    assert set(done.table["status"]) == {"ok"}
    for name in ("t0", "t1"):
        assert_true_flux(done, name)


def test_nothing_is_asked_twice(tmp_path, monkeypatch):
    with Server(Sky()) as server:
        first = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server, size=20)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 10 * VALID)
        again = fetch(Rubin, survey_of("rubin-dp1"), tmp_path, [PLACE], "gr", server=server, size=20)
    assert first.asked
    assert not again.asked
    np.testing.assert_array_equal(first.cutouts["t0"].flux, again.cutouts["t0"].flux)
