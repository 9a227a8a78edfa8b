"""Passwords and tokens reach their service and nothing else: no file, no log, no output, no command line."""

import base64
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from asking import fetch, survey_of

from skyserver import hsc, rubin
from skyserver.server import Reply, Server
from skyserver.sky import Sky
from tandemlens.base.secrets import RedactingFormatter, redact
from tandemlens.survey.cutouts import CutoutReader
from tandemlens.survey.services.checks import FitsCheck
from tandemlens.survey.services.client import Client, Request
from tandemlens.survey.services.hsc import Hsc
from tandemlens.survey.services.logins import password_login, token_login
from tandemlens.survey.services.rubin import Rubin
from trees import plant

PAIR = base64.b64encode(f"{hsc.USER}:{hsc.PASSWORD}".encode()).decode()
#: as they were set, and as they stand in headers and addresses
SECRETS = [hsc.PASSWORD, PAIR, rubin.TOKEN, quote(PAIR, safe="")]
ENVIRONMENT = {"HSC_SSP_USER": hsc.USER, "HSC_SSP_PASSWORD": hsc.PASSWORD, "RUBIN_TOKEN": rubin.TOKEN}
SERVICES = {
    "password": (Hsc, "hsc-pdr3-wide", (150.13, 2.2), f"Basic {PAIR}"),
    "token": (Rubin, "rubin-dp1", (53.16, -28.1), f"Bearer {rubin.TOKEN}"),
}


class Listening(Server):
    """A server that notes the logins it gets and answers ``change(asked, plain)``."""

    def __init__(self, change):
        super().__init__(Sky())
        self._change, self.logins = change, set()

    def answer(self, asked):
        self.logins.add((asked.host, asked.headers.get("Authorization")))
        return self._change(asked, super().answer)


def _succeed(asked, plain):
    return plain(asked)


def _fail(asked, plain):
    return Reply(b"later", 503)


def _refuse(asked, plain):
    return Reply(b"no", 401)


def _echo(asked, plain):
    """What careless services do: repeat in an error page what they were sent."""
    return Reply(asked.headers.get("Authorization", "").encode(), 200)


def _echo_and_end(asked, plain):
    return Reply(b"\x1f\x8b" + asked.headers.get("Authorization", "").encode(), 200, {"Content-Encoding": "gzip"})


BEHAVIOUR = {f.__name__.strip("_"): f for f in (_succeed, _fail, _refuse, _echo, _echo_and_end)}


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def job_log(tmp_path):
    """The log of a job, every level, as jobs write it."""
    log, handler = logging.getLogger("tandemlens"), logging.FileHandler(tmp_path / "job.log")
    handler.setFormatter(RedactingFormatter("%(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield
    log.removeHandler(handler)
    log.setLevel(level)
    handler.close()


def holding(folder):
    """Files below a folder that hold a secret, and how many were looked at."""
    files = [p for p in Path(folder).rglob("*") if p.is_file()]
    return [p.name for p in files if any(word.encode() in p.read_bytes() for word in SECRETS)], len(files)


def said_none(text):
    return not any(word in text for word in SECRETS)


@pytest.mark.parametrize("behaviour", BEHAVIOUR)
@pytest.mark.parametrize("kind", SERVICES)
def test_no_file_and_no_output_holds_a_secret(tmp_path, capfd, job_log, kind, behaviour):
    service, survey, place, login = SERVICES[kind]
    with Listening(BEHAVIOUR[behaviour]) as server:
        done = fetch(service, survey_of(survey), tmp_path, [place], "gr", size=20, server=server, tries=2)
    assert set(done.table["status"]) == {"ok" if behaviour == "succeed" else "fetch_failed"}
    assert login in {word for _, word in server.logins}
    leaks, count = holding(tmp_path)
    assert not leaks
    # the log, the table, the cutouts, and the locks at least
    assert count > 4
    assert said_none("".join(capfd.readouterr()))
    assert said_none(done.table.to_csv())


@pytest.mark.parametrize("where", [(FitsCheck, "__call__"), (CutoutReader, "_variance")], ids=["service", "reader"])
@pytest.mark.parametrize("kind", SERVICES)
def test_an_unforeseen_error_is_told_without_the_secret(tmp_path, capfd, job_log, monkeypatch, kind, where):
    service, survey, place, login = SERVICES[kind]

    def broken(self, *args):
        raise RuntimeError(f"cannot digest {login}")

    monkeypatch.setattr(*where, broken)
    with Listening(_succeed) as server:
        done = fetch(service, survey_of(survey), tmp_path, [place], "gr", size=20, server=server)
    assert set(done.table["status"]) == {"stage_failed"}
    assert done.table["reason"].str.contains(r"RuntimeError: cannot digest \w+ \*\*\*").all()
    assert holding(tmp_path)[0] == []
    assert "Traceback" in (tmp_path / "job.log").read_text()
    assert said_none("".join(capfd.readouterr()))


def test_a_login_shows_nothing_of_itself():
    for login in (password_login("HSC_SSP", "https://hsc.org"), token_login("RUBIN_TOKEN", "https://lsst.org")):
        request = Request("https://hsc.org/x", {"service": "x"}, None, auth=login)
        assert said_none(f"{login} {login!r} {request!r}")


def test_a_password_may_have_any_letters(monkeypatch):
    monkeypatch.setenv("HSC_SSP_PASSWORD", "пароль€")
    login = password_login("HSC_SSP", "https://hsc.org")
    header = login(requests.Request("GET", "https://hsc.org").prepare()).headers["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == f"{hsc.USER}:пароль€"
    assert redact(header) == "Basic ***"


@pytest.mark.parametrize("kind", SERVICES)
def test_a_redirect_to_another_host_does_not_carry_the_login(tmp_path, kind):
    seen = []

    def moved(asked, plain):
        seen.append((asked.path, asked.headers["Host"].split(":")[0], asked.headers.get("Authorization")))
        port = asked.headers["Host"].split(":")[1]
        if asked.path == "/here":
            return Reply(b"", 302, {"Location": f"http://127.0.0.1:{port}/{asked.host}/same"})
        if asked.path == "/same":
            return Reply(b"", 302, {"Location": f"http://localhost:{port}/{asked.host}/other"})
        return Reply(b"done")

    host = SERVICES[kind][0].hosts[0]
    login = password_login("HSC_SSP", "") if kind == "password" else token_login("RUBIN_TOKEN", "")
    with Listening(moved) as server:
        settings = {"cache": str(tmp_path), "connections": 1, "tries": 1, "backoff_seconds": 0.1}
        client = Client({**settings, "request_seconds": 9, "shard_minutes": 1, "mirrors": server.mirrors})
        client.get(Request(f"https://{host}/here", {"service": "x"}, lambda path: None, auth=login))
    word = SERVICES[kind][3]
    assert seen == [("/here", "127.0.0.1", word), ("/same", "127.0.0.1", word), ("/other", "localhost", None)]


class CommandLines(threading.Thread):
    """Reads the command lines of all processes of this session, as long as it runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self._on = set(), True

    def run(self):
        while self._on:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode("latin-1"))
                except OSError:
                    continue
            time.sleep(0.02)

    def stop(self):
        self._on = False
        self.join()


@pytest.mark.parametrize("behaviour", ["succeed", "echo"])
@pytest.mark.parametrize("kind", SERVICES)
def test_a_run_of_the_workflow_leaks_nothing(tmp_path, kind, behaviour):
    """Logs, sidecars, metadata of Snakemake, cache, tables, what is said, and the command lines of all jobs."""
    _, survey, place, login = SERVICES[kind]
    with Listening(BEHAVIOUR[behaviour]) as server:
        fetching = {"mirrors": server.mirrors, "tries": 2, "backoff_seconds": 0.05, "shard_minutes": 3}
        search = {"survey": survey, "bands": ["g", "r"], "targets": {"catalogue": "targets.csv"}, "pixels": "survey"}
        rows = f"name,ra,dec,z,richness\nA,{place[0]},{place[1]},0.3,40\n"
        tree = plant(tmp_path / "tree", rows, samples={"search": search}, fetch=fetching, cutout={"size_arcsec": 20})
        lines = CommandLines()
        lines.start()
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "small.yaml", "--until", "fetch"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        env.pop("PYTHONPATH", None)
        done = subprocess.run(
            [*command, "--verbose", "--printshellcmds"], cwd=tree.folder, env=env, capture_output=True, text=True
        )
        lines.stop()
    assert done.returncode == 0, done.stderr
    assert login in {word for _, word in server.logins}
    assert list(tree.folder.rglob("fetch.parquet.prov.json"))
    assert said_none(done.stdout + done.stderr)
    leaks, count = holding(tree.folder)
    assert not leaks
    assert count > 100
    # the job itself was seen
    assert any("snakemake" in line and "scripts" in line for line in lines.seen)
    assert all(said_none(line) for line in lines.seen)
