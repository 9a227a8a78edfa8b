"""Euclid: pieces of mosaics at IRSA, cutouts of ESA in their stead, and each trap of services.md C7."""

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of

from skyserver.euclid import NX, centre, tiles
from skyserver.server import HTML, Reply, Server
from skyserver.sky import FWHM, Sky
from tandemlens.base.flags import SATURATED
from tandemlens.survey.services.euclid import Euclid

PLACE = (60.04, -49.0)
IRSA, ESA = "irsa.ipac.caltech.edu", "eas.esac.esa.int"


class Changed(Server):
    """A server that answers ``change(asked, plain)``, where ``plain(asked)`` is what it would have answered."""

    def __init__(self, change):
        super().__init__(Sky())
        self._change = change

    def answer(self, asked):
        return self._change(asked, super().answer)


def _without_irsa(asked, plain):
    return Reply(HTML, 503) if asked.host == IRSA else plain(asked)


def test_flux_and_places_are_those_of_the_sky(tmp_path):
    bands = ["r", "VIS", "Y", "J", "H"]
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], bands)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")
    np.testing.assert_allclose(done.table["noise_ratio"], 1, atol=0.04)
    assert {host for host, _ in done.asked} == {IRSA}


def test_a_mosaic_is_never_downloaded(tmp_path):
    survey = survey_of("euclid-q1")
    done = fetch(Euclid, survey, tmp_path, [PLACE], ["VIS", "Y"])
    # pieces of a flag map and two images with their noise maps, 600 pixels a side
    assert (done.table["bytes"] < 3 * 600 * 600 * 4 + 30000).all()
    # one list; of each file its header and one range of rows
    assert len(done.asked) == 1 + 2 * 5


def test_a_whole_file_for_a_range_is_refused_before_it_is_swallowed(tmp_path):
    sent = []

    def whole(asked, plain):
        if asked.path != "/SIA" and asked.host == IRSA:
            asked.headers.pop("Range")
            sent.append(asked.path)
        return Reply(HTML, 503) if asked.host == ESA else plain(asked)

    with Changed(whole) as server:
        done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server, tries=2)
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "HTTP 200 with 'nothing of the part', 'bytes 0-115199' was asked for" in done.table["reason"].iloc[0]
    assert len(sent) == 4
    kept = [p for p in (tmp_path / "cache/euclid").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in kept) < 1e6


def test_a_part_that_is_another_than_asked_for_is_refused(tmp_path):
    def shifted(asked, plain):
        reply = plain(asked)
        if "Content-Range" in reply.headers:
            reply.headers["Content-Range"] = "bytes 1-9/10"
        return Reply(HTML, 404) if asked.host == ESA else reply

    with Changed(shifted) as server:
        done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server)
    assert "HTTP 206 with 'bytes 1-9/10'" in done.table["reason"].iloc[0]


def test_a_packed_answer_cannot_shift_the_rows(tmp_path):
    seen = []

    def listen(asked, plain):
        if "Range" in asked.headers:
            seen.append(asked.headers["Accept-Encoding"])
        return plain(asked)

    with Changed(listen) as server:
        fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server, size=20)
    assert set(seen) == {"identity"}


def test_rms_of_1e16_is_no_data(tmp_path):
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["Y", "J"], size=90)
    cutout = done.cutouts["t0"]
    whole = (cutout.mask[0] != 0).all(1)
    # four rows in every 400, all the way across
    assert set(np.flatnonzero((cutout.mask[0] != 0).any(1))) == set(np.flatnonzero(whole))
    assert 8 <= whole.sum() <= 12
    assert (cutout.variance[0][cutout.mask[0] == 0] < 1e3).all()


def test_bits_of_the_flag_map_are_those_of_the_survey_file(tmp_path):
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], size=90)
    mask = done.cutouts["t0"].mask
    saturated = (mask[0] & SATURATED != 0).all(1)
    assert 4 <= saturated.sum() <= 6
    # hot pixels are no longer in the mean of many exposures, and the bits of NISP are unknown
    assert (mask[0] != 0).all(1).sum() <= 12 + 6
    assert not (mask[1] & SATURATED).any()
    assert not any("FLAG" in line and "NIR" in line for _, line in done.asked)


def test_the_tile_around_the_target_is_taken(tmp_path):
    # 35" beyond the middle between two rows of tiles, on both of them
    place = (60.04, -48.75 + 35 / 3600)
    assert {centre(t)[1] for t in tiles(*place)} == {-49.0, -48.5}
    near = min(tiles(*place), key=lambda t: abs(centre(t)[1] - place[1]))
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [place], ["VIS", "Y"], size=30)
    assert set(done.table["status"]) == {"ok"}
    rows = {centre(line.split("_TILE")[1][:9])[1] for _, line in done.asked if "_TILE" in line}
    assert rows == {centre(near)[1]}


def test_a_cutout_over_the_edge_of_a_mosaic_is_cut_short(tmp_path):
    # the mosaics of the server are narrower than this cutout
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["Y", "J"], size=300)
    assert set(done.table["status"]) == {"ok"}
    ra = min((centre(t)[0] for t in tiles(*PLACE)), key=lambda a: abs(a - PLACE[0]))
    columns = 1500 + NX / 2 - abs(ra - PLACE[0]) * np.cos(np.radians(PLACE[1])) * 36000
    assert done.band("t0", "Y")["coverage"] == pytest.approx(columns / 3000 * 0.99, abs=0.01)
    assert_true_flux(done, "t0")


def test_psf_comes_from_the_stars_of_a_field_or_is_nominal(tmp_path):
    survey = survey_of("euclid-q1")
    for band in "YJ":
        survey["bands"][band]["psf"]["field_arcsec"] = 250.0
    done = fetch(Euclid, survey, tmp_path / "wide", [PLACE], "YJ", size=30)
    assert set(done.table["psf_source"]) == {"stars"}
    np.testing.assert_allclose(done.table["psf_fwhm"], [FWHM["Y"], FWHM["J"]], rtol=0.05)
    narrow = fetch(Euclid, survey_of("euclid-q1"), tmp_path / "narrow", [PLACE], "YJ", size=15)
    assert set(narrow.table["psf_source"]) == {"nominal"}
    np.testing.assert_allclose(narrow.table["psf_fwhm"], [0.48, 0.49], rtol=0.02)


def test_esa_stands_in_where_irsa_fails(tmp_path):
    with Changed(_without_irsa) as server:
        done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server)
    assert set(done.table["status"]) == {"ok"}
    assert done.table["release"].str.endswith("(ESA cutout, measured noise)").all()
    assert_true_flux(done, "t0")
    cutout = done.cutouts["t0"]
    np.testing.assert_allclose(np.sqrt(np.median(cutout.variance, (1, 2))), 1.5, rtol=0.05)


def test_zeros_of_esa_are_no_data(tmp_path):
    with Changed(_without_irsa) as server:
        done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server, size=90)
    assert 8 <= (done.cutouts["t0"].mask[0] != 0).all(1).sum() <= 12


def test_esa_stands_in_where_irsa_has_nothing(tmp_path):
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [(60.0, -77.0)], ["VIS", "Y"], size=30)
    assert set(done.table["status"]) == {"ok"}
    assert {host for host, _ in done.asked} == {IRSA, ESA}


def test_an_error_of_esa_is_a_reason_and_not_none(tmp_path):
    def broken(asked, plain):
        return (
            Reply(b"<html>Cannot find the file</html>", 400) if "cutout" in asked.path else _without_irsa(asked, plain)
        )

    with Changed(broken) as server:
        done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server)
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "HTTP 503" in done.table["reason"].iloc[0]
    assert "ESA instead: eas.esac.esa.int: HTTP 400 for /sas-cutout/cutout" in done.table["reason"].iloc[0]


def test_no_coverage(tmp_path):
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [(60.0, -85.0)], ["VIS", "Y"])
    assert set(done.table["status"]) == {"no_coverage"}
    assert "IRSA has no mosaic there; ESA instead: ESA has no VIS mosaic there" in done.table["reason"].iloc[0]


def test_a_band_that_the_tile_lacks_leaves_the_others(tmp_path):
    with Changed(lambda asked, plain: Reply(HTML, 404) if asked.host == ESA else plain(asked)) as server:
        done = fetch(
            Euclid, survey_of("euclid-q1"), tmp_path, [(60.0, 50.0)], ["g", "VIS", "Y"], size=20, server=server
        )
    assert [done.band("t0", b)["status"] for b in ("g", "VIS", "Y")] == ["fetch_failed", "ok", "ok"]
    assert "IRSA has no DES-G mosaic there" in done.band("t0", "g")["reason"]


_TABLE = '<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE type="results">'
_NO_LISTS = {
    "html": "<html>maintenance</html>",
    "error": f'{_TABLE}<INFO name="QUERY_STATUS" value="ERROR">busy</INFO></RESOURCE></VOTABLE>',
    "empty": f'{_TABLE}<TABLE><FIELD name="a" datatype="int"/><DATA><TABLEDATA/></DATA></TABLE></RESOURCE></VOTABLE>',
    "truncated": _TABLE[:-10],
    "cut short": f'{_TABLE}<TABLE><FIELD name="a" datatype="int"/><DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA>'
    '</DATA></TABLE><INFO name="QUERY_STATUS" value="OVERFLOW"/></RESOURCE></VOTABLE>',
}


@pytest.mark.parametrize("body", _NO_LISTS.values(), ids=_NO_LISTS)
def test_a_list_that_is_none_is_no_empty_sky(tmp_path, body):
    with Changed(lambda asked, plain: Reply(body.encode())) as server:
        done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server)
    assert set(done.table["status"]) == {"fetch_failed"}


def test_rows_that_end_early_are_refused(tmp_path):
    def short(asked, plain):
        reply = plain(asked)
        if asked.headers.get("Range", "bytes=0-").startswith("bytes=0-"):
            return reply
        return Reply(reply.body[:-4000], reply.status, reply.headers)

    with Changed(lambda a, p: Reply(HTML, 404) if a.host == ESA else short(a, p)) as server:
        done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["Y", "J"], server=server, size=20)
    assert f"{200 * NX - 1000} pixels came, {200 * NX} were asked for" in done.table["reason"].iloc[0]


def test_both_ends_of_right_ascension(tmp_path):
    places = [(0.0, 0.001), (359.99999, 0.001)]
    done = fetch(Euclid, survey_of("euclid-q1"), tmp_path, places, ["Y", "J"], size=40)
    assert set(done.table["status"]) == {"ok"}
    for name in ("t0", "t1"):
        assert_true_flux(done, name)


def test_nothing_is_asked_twice(tmp_path):
    with Server(Sky()) as server:
        first = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server, size=20)
        again = fetch(Euclid, survey_of("euclid-q1"), tmp_path, [PLACE], ["VIS", "Y"], server=server, size=20)
    assert first.asked
    assert not again.asked
    np.testing.assert_array_equal(first.cutouts["t0"].flux, again.cutouts["t0"].flux)
