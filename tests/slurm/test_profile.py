"""The profile on a real SLURM: the small run of the mock survey in the midst of what befalls a cluster."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster import Cluster, hindrance, wait_for
from filelock import FileLock

from trees import plant

# one machine has room for one SLURM: its configuration lies in /etc
pytestmark = pytest.mark.xdist_group("slurm")
#: a test asks more often than a user should
POLLING = ("--seconds-between-status-checks", "2", "--slurm-init-seconds-before-status-checks", "2")
CATALOGUE = ("candidates.csv", "candidates.fits")


class Run:
    """Snakemake with the profile, at work in a tree."""

    def __init__(self, tree, *arguments):
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--latency-wait", "10"]
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the run writes to it
        self.process = subprocess.Popen(
            [*command, "--configfile", "small.yaml", *POLLING, *arguments],
            cwd=tree.folder, env=env, stdout=self._said, stderr=self._said, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def end(self):
        """Wait until it has done all; returns what it said."""
        self.process.wait(900)
        self._said.seek(0)
        said = self._said.read().decode()
        assert self.process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A SLURM of two nodes with a GPU each."""
    if hindrance():
        pytest.skip(hindrance())
    with FileLock(Path(tempfile.gettempdir()) / "tandemlens-slurm.lock"):
        cluster = Cluster(tmp_path_factory.mktemp("slurm"))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def scenes(cluster, tmp_path_factory, request):
    """What happens, all at once, as most of it is waiting for SLURM: name -> what came of it."""
    folder = tmp_path_factory.mktemp("trees")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(too_little_time, plant(folder / "slow"))
        disturbed = pool.submit(disturb, cluster, plant(folder / "disturbed"))
        finished = request.getfixturevalue("finished")
        gpu = pool.submit(on_a_gpu, finished.copy(folder / "gpu"))
        yield {"slow": slow, "disturbed": disturbed, "gpu": gpu}


def too_little_time(tree):
    """A stage that hangs until it is given more than the minute of its first try."""
    tree.edit(
        "workflow/scripts/expect.py",
        "with job(",
        "import time\n\nif snakemake.resources.runtime < 2:\n    time.sleep(600)\nwith job(",
    )
    return Run(tree, "results/catalogue/expected.parquet", "--set-resources", "expect:runtime=attempt").end()


def disturb(cluster, tree):
    """A whole run: a node drained, the controller restarted, Snakemake killed, and the same command once more.

    What the killed Snakemake left in the queue is cancelled before, as the manual says: else two write one product.
    """
    run = Run(tree)
    job, node = wait_for("a job", lambda: next((j for j in running(cluster) if "road" in j[2]), None), 300)[:2]
    cluster.say("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    drained = time.time()
    cluster.kill("controller", signal.SIGTERM)
    time.sleep(2)
    cluster.start_controller()
    wait_for("a fit", lambda: any("fit" in j[2] for j in running(cluster)), 300)
    run.process.kill()
    run.process.wait()
    cluster.say("scancel", *(j[0] for j in queued(cluster)))
    wait_for("the end of its jobs", lambda: not queued(cluster))
    Run(tree).end()
    return tree, job, node, drained


def queued(cluster, *which):
    """Job, node and comment of what is in the queue of the whole run."""
    said = cluster.say("squeue", "-h", *which, "-o", "%i|%N|%k|%Z").splitlines()
    return [j.split("|")[:3] for j in said if j.endswith("disturbed")]


def running(cluster):
    """The same of what is at work."""
    return queued(cluster, "-t", "running")


def on_a_gpu(tree):
    """The stage that asks for a GPU, and the stamps for it: three shards in one submission."""
    tree.configure(pretrain={"device": "auto", "epochs": 1, "batch": 2, "hidden": 8, "projection": 8})
    return Run(tree, "results/models/encoder", "--group-components", "road=3").end()


def test_a_run_through_all_that_gives_the_catalogue_of_a_local_one(scenes, finished):
    tree = scenes["disturbed"].result()[0]
    for name in CATALOGUE:
        local, slurm = (t.folder / "results/catalogue" / name for t in (finished, tree))
        assert slurm.read_bytes() == local.read_bytes()
    assert tree.stale() == {}


def test_a_drained_node_ends_its_job_and_gets_no_other(cluster, scenes):
    _, job, node, drained = scenes["disturbed"].result()
    after = time.strftime("%FT%T", time.localtime(drained + 1))
    jobs = cluster.jobs("JobID", "State", "NodeList", "Start")
    assert ["COMPLETED", node] in [j[1:3] for j in jobs if j[0] == job]
    later = [place for _, _, place, start in jobs if after < start != "Unknown"]
    assert later
    assert node not in later


def test_a_job_out_of_time_is_tried_again_with_more_time_and_memory(cluster, scenes):
    scenes["slow"].result()
    tries = [j[:-1] for j in cluster.jobs("State", "Timelimit", "ReqMem", "WorkDir") if j[-1].endswith("slow")]
    assert tries == [["TIMEOUT", "00:01:00", "1000M"], ["COMPLETED", "00:02:00", "2000M"]]


def test_a_gpu_is_asked_for_where_a_stage_can_use_one(cluster, scenes):
    scenes["gpu"].result()
    jobs = [j for j in cluster.jobs("Comment", "Partition", "AllocTRES", "State", "WorkDir") if j[-1].endswith("gpu")]
    (road, short, without, _, _), (rule, gpu, with_one, _, _) = jobs
    assert {j[3] for j in jobs} == {"COMPLETED"}
    assert (road, short, "gres/gpu" in without) == ("rule_road", "short", False)
    assert (rule, gpu, "gres/gpu=1" in with_one) == ("rule_pretrain", "gpu", True)
