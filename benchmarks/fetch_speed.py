"""Speed of fetches against a loop of requests, from a server that answers after 100 ms.

::

    PYTHONPATH=workflow/scripts:tests:tests/services OMP_NUM_THREADS=1 .venv/bin/python benchmarks/fetch_speed.py

Both ask the same server, a process of its own, in one run: small cutouts of the Legacy viewer, so that waiting is what
costs. The ideal is the number of connections that the limits allow. Writes `benchmarks/results/fetch_speed.md`.
"""

import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import requests
from asking import settings_of, survey_of, targets_at
from outcome import tell
from process import running_server, start_fetch

from tandemlens.survey.services.client import Client, Request

LATENCY, CONNECTIONS, COUNT, REPEATS = 0.1, 4, 160, 3
HOST = "www.legacysurvey.org"
OUT = Path(__file__).parent / "results/fetch_speed.md"


def params(k):
    return {"ra": 10 + 0.9 * (k % 300), "dec": -20 + 0.1 * (k // 300), "layer": "ls-dr10", "bands": "gr", "size": 32}


def sequential(server, count):
    started = time.perf_counter()
    with requests.Session() as session:
        for k in range(count):
            url = f"{server.mirrors[f'https://{HOST}']}/viewer/fits-cutout"
            assert session.get(url, params=params(k), timeout=30).content.startswith(b"SIMPLE")
    return count / (time.perf_counter() - started)


def polite(server, folder, hosts, count):
    """Answers a second of the client; the same service stands for several hosts."""
    mirrors = {f"https://{host}": server.mirrors[f"https://{HOST}"] for host in hosts}
    client = Client({**settings_of(server, folder), "mirrors": mirrors, "connections": CONNECTIONS})
    questions = [
        Request(f"https://{host}/viewer/fits-cutout", {"service": host, "k": k}, lambda path: None, params(k))
        for k in range(count)
        for host in hosts
    ]
    started = time.perf_counter()
    with ThreadPoolExecutor(3 * CONNECTIONS * len(hosts)) as pool:
        list(pool.map(client.get, questions))
    return len(questions) / (time.perf_counter() - started)


def whole_fetch(server, folder, places, mode, size):
    """Targets a second of a fetch, start of its process and calibration included."""
    folder.mkdir()
    cfg = {"survey": survey_of("legacy-dr10", mode=mode), "bands": ["g", "r"], "data": None, "size_arcsec": size}
    job = {"targets": targets_at(*places).to_dict("records"), "cfg": cfg, "settings": settings_of(server, folder)}
    job |= {"stack": str(folder / "c.h5"), "table": str(folder / "f.parquet")}
    started = time.perf_counter()
    assert start_fetch(job, folder).wait() == 0
    return len(places) / (time.perf_counter() - started)


def memory_of(server, folder, count):
    """Peak memory of a fetch of so many targets, MiB; no child before it was larger."""
    whole_fetch(server, folder, [(p["ra"], p["dec"]) for p in map(params, range(count))], "cutouts", 60)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main():
    """Measure and write the table."""
    lines = []
    with tempfile.TemporaryDirectory() as name, running_server(latency=LATENCY) as server:
        folder = Path(name)
        few, many = (memory_of(server, folder / f"memory{n}", n) for n in (40, 400))
        turns = [
            (sequential(server, COUNT // 2), polite(server, folder / f"one{k}", ["a.example"], COUNT))
            for k in range(REPEATS)
        ]
        base, one = np.median(turns, axis=0)
        two = polite(server, folder / "two", ["a.example", "b.example"], COUNT)
        brick = [(30.05 + 0.01 * (k % 15), 1.93 + 0.01 * (k // 15)) for k in range(225)]
        # a real service has its files ready; this one renders them when they are first asked for
        whole_fetch(server, folder / "ready", brick[:1], "bricks", 40)
        cutouts = whole_fetch(server, folder / "cutouts", brick, "cutouts", 40)
        bricks = whole_fetch(server, folder / "bricks", brick, "bricks", 40)
    lines += [
        f"Answers after {1000 * LATENCY:.0f} ms; {CONNECTIONS} connections a host; {COUNT} answers a host.",
        "",
        "| what | a second | over the loop | of the ideal |",
        "|---|---|---|---|",
        f"| loop of requests | {base:.1f} answers | 1 | |",
        f"| client, one host | {one:.1f} answers | {one / base:.2f} | {one / base / CONNECTIONS:.2f} |",
        f"| client, two hosts | {two:.1f} answers | {two / base:.2f} | {two / base / 2 / CONNECTIONS:.2f} |",
        f"| {len(brick)} targets of one brick by the viewer, 2 answers each | {cutouts:.1f} targets | | |",
        f"| the same by brick files | {bricks:.1f} targets | {bricks / cutouts:.2f} times the viewer | |",
        "",
        f"Peak memory of a fetch of 40 targets {few:.0f} MiB, of 400 {many:.0f} MiB.",
    ]
    OUT.write_text("\n".join(lines) + "\n")
    tell(
        "loop of requests",
        version("requests"),
        f"answers a second of one host at {CONNECTIONS} connections",
        [b / a for a, b in turns],
    )
    tell("cutouts of the viewer", "", "targets a second of one brick by brick files", [bricks / cutouts])
    print(OUT.read_text())


if __name__ == "__main__":
    main()
