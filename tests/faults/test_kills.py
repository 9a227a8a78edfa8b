"""kill -9 at random moments: the same command, run again, ends in the catalogue of an undisturbed run.

`make test` kills a few times, `make faults` a hundred times (KILLS=100).
"""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter

import numpy as np
import psutil
import pytest

from trees import plant

KILLS = int(os.environ.get("KILLS", "2"))
#: a run lives this long before it is killed, s: a few kills on the road of every catalogue
LIFE = (2.0, 12.0)


def jobs_of(scheduler):
    """Processes that run a script of the workflow."""
    children = psutil.Process(scheduler.pid).children(recursive=True)
    return [p for p in children if p.is_running() and any(".snakemake/scripts" in word for word in _command(p))]


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(scheduler, kind, rng):
    """Kill a job, the scheduler whose jobs go on as orphans, or all at once, a job that hangs among them."""
    jobs = jobs_of(scheduler)
    if kind == "scheduler":
        scheduler.kill()
    elif kind == "job" and jobs:
        victim = jobs[rng.integers(len(jobs))]
        victim.kill()
    else:
        if kind == "hang" and jobs:
            jobs[0].suspend()
            time.sleep(1)
        os.killpg(scheduler.pid, signal.SIGKILL)
    scheduler.wait()


@pytest.fixture
def victim(tmp_path):
    """A tree in which nothing has run, and what is left of its processes goes at the end."""
    tree = plant(tmp_path / "victim")
    yield tree
    for process in psutil.process_iter():
        if any(str(tree.folder) in word for word in _command(process)):
            process.kill()


def test_a_killed_run_ends_as_an_undisturbed_one(finished, victim, tmp_path):
    rng = np.random.default_rng(int(os.environ.get("KILL_SEED", "1")))
    killed, ended = Counter(), 0
    with open(tmp_path / "said", "w") as log:
        while killed.total() < KILLS or not ended:
            run = victim.start(log)
            kind = ("scheduler", "job", "all", "hang")[rng.integers(4)]
            try:
                run.wait(None if killed.total() >= KILLS else rng.uniform(*LIFE))
            except subprocess.TimeoutExpired:
                kill(run, kind, rng)
                killed[kind] += 1
                continue
            assert run.returncode == 0, (tmp_path / "said").read_text()[-3000:]
            assert victim.catalogue() == finished.catalogue(), killed
            ended += 1
            left = [
                p for p in (victim.folder / "results").rglob(".*") if p.is_file() and p.name != ".snakemake_timestamp"
            ]
            assert not left, f"half-written files stay: {left}"
            print(f"{ended} catalogues, killed {dict(killed)}", flush=True)
            if killed.total() < KILLS:
                shutil.rmtree(victim.folder / "results")
                shutil.rmtree(victim.folder / ".snakemake")
