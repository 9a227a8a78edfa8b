"""NED and SIMBAD around targets: what is nearest, how many lenses, and answers that are none."""

from pathlib import Path

import astroquery.ipac.ned
import numpy as np
import pytest
from asking import settings_of, targets_at

import skyserver.ned
import skyserver.simbad
from skyserver.server import Server
from tandemlens.base.tables import read_table
from tandemlens.survey.services.client import BadAnswer
from tandemlens.survey.services.ned import ask_ned, read_ned
from tandemlens.survey.services.objects import objects_shard
from tandemlens.survey.services.simbad import ask_simbad, read_simbad

RECORDED = Path(astroquery.ipac.ned.__file__).parent / "tests/data"
ASK = {"ned": ask_ned, "simbad": ask_simbad}
PLACES = [(39.9713, -1.5823), (0.0, 0.0), (12.0, 89.9), (266.4, -29.0)]
ARCSEC = 1 / 3600
#: of a cluster, a group, a lens, a galaxy
TYPES = {"ned": ("GClstr", "GGroup", "G_Lens", "G"), "simbad": ("ClG", "GrG", "LeI", "G")}


@pytest.fixture(params=sorted(ASK))
def service(request, monkeypatch):
    """A service that knows a few objects around the first three places, and nothing around the last."""
    cluster, group, lens, galaxy = TYPES[request.param]
    (ra, dec), (_, dec0), (ra1, dec1), _ = PLACES
    objects = [
        ("BCG", ra, dec, galaxy, 0.373),
        ("A 370 <a> & 'b'", ra, dec + 12 * ARCSEC, cluster, 0.375),
        ("A group", ra, dec - 30 * ARCSEC, group, None),
        ("An arc", ra, dec + 20 * ARCSEC, lens, 0.725),
        ("Another arc", ra, dec - 45 * ARCSEC, lens, None),
        ("Far off", ra, dec + 70 * ARCSEC, cluster, 0.1),
        ("Over the meridian", 360 - 10 * ARCSEC, dec0, cluster, 0.2),
        ("Only a galaxy", ra1, dec1, galaxy, 0.01),
    ]
    monkeypatch.setattr(getattr(skyserver, request.param), "OBJECTS", objects)
    return request.param


def ask(service, server, folder, **changes):
    start = len(server.asked)
    settings = settings_of(server, folder, **changes)
    objects_shard(ASK[service], targets_at(*PLACES), settings, 60.0, folder / "o.parquet", lambda done, total: None)
    return read_table(folder / "o.parquet").set_index("target_id"), server.asked[start:]


def test_the_nearest_cluster_group_or_lens_of_every_target(service, tmp_path):
    with Server() as server:
        table, asked = ask(service, server, tmp_path)
        again, more = ask(service, server, tmp_path)
    assert len(asked) == len(PLACES)
    assert not more
    assert table.equals(again)
    assert list(table["name"]) == ["A 370 <a> & 'b'", "Over the meridian", "", ""]
    assert list(table["type"]) == [TYPES[service][0]] * 2 + ["", ""]
    assert list(table["lenses"]) == [2, 0, 0, 0]
    np.testing.assert_allclose(table["separation"][:2], [12, 10], atol=0.05)
    np.testing.assert_allclose(table["z"][:2], [0.375, 0.2])
    assert table["separation"][2:].isna().all()
    assert set(table["status"]) == {"ok"}


def test_a_service_that_fails_leaves_a_row_with_its_reason(service, tmp_path):
    with Server(fault_share=1.0, faults=["500", "html"]) as server:
        table, _ = ask(service, server, tmp_path, tries=2)
    assert set(table["status"]) == {"fetch_failed"}
    assert (table["lenses"] == -1).all()
    assert (table["name"] == "").all()
    assert table["reason"].str.len().gt(20).all()


def test_one_that_fails_now_and_then_is_asked_again(service, tmp_path):
    with Server(fault_share=0.4, faults=["503", "reset", "html"], seed=4) as server:
        table, asked = ask(service, server, tmp_path, tries=12)
    assert set(table["status"]) == {"ok"}
    assert len(asked) > len(PLACES)


def test_the_recorded_answer_of_ned_is_read():
    """Around the Trapezium there are stars and X-ray sources, and nothing of interest."""
    place = {"ra": 83.822083, "dec": -5.391111}
    found = read_ned(RECORDED / "query_near_position.xml", place, 120.0)
    assert len(found) == 0
    with pytest.raises(BadAnswer, match=r"holds an object \d+ arcsec from the target, 60 were asked for"):
        read_ned(RECORDED / "query_near_name.xml", place, 60.0)


def test_an_error_of_ned_that_says_that_nothing_is_there_is_an_answer(tmp_path):
    place = {"ra": 10.0, "dec": 5.0}
    assert len(read_ned(RECORDED / "error.xml", place, 60.0)) == 0
    text = (RECORDED / "error.xml").read_text().replace("No note found", "Invalid right ascension")
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(BadAnswer, match=r"NED says 'Invalid right ascension\.'"):
        read_ned(tmp_path / "a.xml", place, 60.0)


@pytest.mark.parametrize(
    ("read", "body", "message"),
    [
        (read_ned, "<html>busy</html>", "the answer is no VOTable"),
        (read_ned, "", "the answer is no VOTable"),
        (read_ned, "<VOTABLE version='1.1'><RESOURCE/></VOTABLE>", "NED says 'nothing'"),
        (read_simbad, "<html>busy</html>", "the answer is no VOTable"),
        (read_simbad, "", "the answer is no VOTable"),
    ],
)
def test_broken_answers_are_refused(tmp_path, read, body, message):
    (tmp_path / "a.xml").write_text(body)
    with pytest.raises(BadAnswer, match=message):
        read(tmp_path / "a.xml", {"ra": 10.0, "dec": 5.0}, 60.0)


def test_an_answer_that_was_cut_short_or_lacks_a_column_is_refused(service, tmp_path, monkeypatch):
    if service == "simbad":
        monkeypatch.setattr("tandemlens.survey.services.simbad._MOST", 2)
        message = "cut its list short after 2 rows"
    else:
        monkeypatch.setattr(skyserver.ned, "_FIELDS", skyserver.ned._FIELDS.replace('"Type"', '"Kind"'))
        message = "the answer has no column Type"
    with Server() as server:
        table, _ = ask(service, server, tmp_path, tries=1)
    assert message in table["reason"].iloc[0]
