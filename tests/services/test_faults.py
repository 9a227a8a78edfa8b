"""A thousand targets from a server that fails at every fifth answer, and fetches that are killed."""

import json
import time
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from asking import settings_of, survey_of, targets_at
from process import running_server, start_fetch

from skyserver.sky import Sky
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import read_table

COUNT, CONNECTIONS = 1000, 4
BANDS = ("g", "r")


def job_of(server, folder, count, **settings):
    """A shard of targets all over the sky of the survey."""
    rng = np.random.default_rng(5)
    places = zip(rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, count))), strict=True)
    cfg = {"survey": survey_of("legacy-dr10", mode="cutouts"), "bands": list(BANDS), "data": None, "size_arcsec": 24.0}
    return {
        "targets": targets_at(*places).to_dict("records"),
        "cfg": cfg,
        "settings": settings_of(server, folder, tries=8, connections=CONNECTIONS, request_seconds=2.0, **settings),
        "stack": str(folder / "cutouts.h5"),
        "table": str(folder / "fetch.parquet"),
    }


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Products of the fault run, and the state of the server."""
    folder = tmp_path_factory.mktemp("faults")
    with running_server(faults=0.2, slow=30) as server:
        job = job_of(server, folder, COUNT)
        assert start_fetch(job, folder).wait() == 0
        return job, read_table(job["table"]), server.state()


def test_every_target_is_in_the_manifest(faulty):
    job, table, _ = faulty
    assert len(table) == COUNT * len(BANDS)
    assert set(table["target_id"]) == {row["target_id"] for row in job["targets"]}
    # eight tries in a row fail once in 400,000 requests
    assert (table["status"] == "ok").mean() > 0.99
    assert (table.loc[table["status"] != "ok", "reason"].str.len() > 10).all()


def test_every_kind_of_fault_was_played(faulty):
    _, table, state = faulty
    assert len(state["played"]) == 14
    bad = sum(n for kind, n in state["played"].items() if kind != "good")
    assert 0.17 < bad / sum(state["played"].values()) < 0.23
    assert table["tries"].max() > 2


def test_no_bad_byte_is_in_the_stack(faulty):
    job, _, _ = faulty
    sky = Sky()
    with read_stack(job["stack"]) as stack:
        assert len(stack) > 0.99 * COUNT
        for k in range(len(stack)):
            cutout = stack[k]
            assert (cutout.mask == 0).all()
            for j, band in enumerate(BANDS):
                truth, _ = sky.observed(cutout.astropy_wcs(j), cutout.flux.shape[1:], band)
                np.testing.assert_allclose(cutout.flux[j], truth, rtol=1e-5, atol=1e-3)


def test_the_server_saw_no_more_connections_than_stated(faulty):
    state = faulty[2]
    assert 1 < state["most"]["www.legacysurvey.org"] <= CONNECTIONS


def test_two_jobs_share_the_connections_of_a_host(tmp_path):
    with running_server(latency=0.02) as server:
        jobs = []
        for name in "ab":
            (tmp_path / name).mkdir()
            job = job_of(server, tmp_path / name, 40)
            job["settings"]["cache"] = str(tmp_path / "cache")
            jobs.append(start_fetch(job, tmp_path / name))
        assert [job.wait() for job in jobs] == [0, 0]
        state = server.state()
    assert state["most"]["www.legacysurvey.org"] <= CONNECTIONS
    # both wanted the same, and nothing was asked twice
    lines = [line for _, line in state["asked"]]
    assert len(lines) == len(set(lines)) == 80


def test_a_killed_fetch_goes_on_where_it_was(tmp_path):
    with running_server(latency=0.02) as server:
        job = job_of(server, tmp_path, 60)
        first = start_fetch(job, tmp_path)
        while len(kept(tmp_path)) < 50:
            time.sleep(0.01)
        first.kill()
        first.wait()
        good, before = kept(tmp_path), len(server.state()["asked"])
        assert not (tmp_path / "fetch.parquet").exists()
        assert start_fetch(job, tmp_path).wait() == 0
        again = [question(line) for _, line in server.state()["asked"][before:]]
    assert 50 <= len(good) < 120
    assert len(again) == len(set(again)) == 120 - len(good)
    assert not good & set(again)
    assert (read_table(job["table"])["status"] == "ok").all()
    assert not list((tmp_path / "cache").rglob(".part*"))


def test_a_spoiled_answer_in_the_cache_is_asked_again(tmp_path):
    with running_server() as server:
        job = job_of(server, tmp_path, 3)
        assert start_fetch(job, tmp_path).wait() == 0
        victim = sorted((tmp_path / "cache/legacy").rglob("*.fits"))[0]
        victim.write_bytes(victim.read_bytes()[:-2880] + bytes(2880))
        assert start_fetch(job, tmp_path).wait() == 0
        assert len(server.state()["asked"]) == 7


def test_the_time_budget_of_a_shard_ends_it(tmp_path):
    with running_server(latency=0.2) as server:
        job = job_of(server, tmp_path, 30, shard_minutes=0.02)
        assert start_fetch(job, tmp_path).wait() == 0
    table = read_table(job["table"])
    lost = table[table["status"] != "ok"]
    assert 0 < len(lost) < len(table)
    assert lost["reason"].str.contains("fetch.shard_minutes").all()


def kept(folder):
    """Questions whose answers count: their facts are written."""
    out = set()
    for path in (folder / "cache/legacy").rglob("[0-9a-f]*.json"):
        key = json.loads(path.read_text())["key"]
        out.add((key["product"], f"{key['ra']:.6f}", f"{key['dec']:.6f}"))
    return out


def question(line):
    query = dict(parse_qsl(urlsplit(line).query, keep_blank_values=True))
    product = "psf" if "coadd-psf" in line else "cutout"
    return product, f"{float(query['ra']):.6f}", f"{float(query['dec']):.6f}"
