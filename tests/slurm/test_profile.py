"""The profile on a real SLURM: the small run of the mock survey in the midst of what befalls a cluster."""

import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from cluster import Cluster, hindrance, wait_for
from filelock import FileLock

from trees import plant

IMPATIENT = Path(__file__).with_name("impatient.py")
STARTED = []
CATALOGUE = ("candidates.csv", "candidates.fits")


class Run:
    """Snakemake with the profile, at work in a tree."""

    def __init__(self, tree, *arguments):
        command = [sys.executable, IMPATIENT, "--configfile", "small.yaml", "--workflow-profile", "profiles/slurm"]
        command += ["--latency-wait", "10", *arguments]
        self._log = tree.folder / "said.log"
        with open(self._log, "wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, cwd=tree.folder, env=tree.environment(), **streams)
        STARTED.append(self)

    def end(self):
        """Wait until it has done all."""
        self.process.wait(900)
        assert self.process.returncode == 0, self._log.read_text()

    def kill(self):
        """End it as an unplugged machine would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
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


def too_little_time(tree):
    """A stage that hangs until it is given more than the minute of its first try."""
    tree.edit(
        "workflow/scripts/expect.py",
        "with job(",
        "import time\n\nif snakemake.resources.runtime < 2:\n    time.sleep(600)\nwith job(",
    )
    Run(tree, "results/catalogue/expected.parquet", "--set-resources", "expect:runtime=5*attempt-4").end()


def disturb(cluster, tree):
    """A whole run: a node drained, the controller restarted, Snakemake killed, and the same command once more.

    What the killed Snakemake left in the queue is cancelled before, as the manual says: else two write one product.
    """
    run = Run(tree)
    job, node = wait_for("a job", lambda: next((j for j in running(cluster) if "road" in j[2]), None), 300)[:2]
    # a submission that the restart refuses would be one of its tries
    wait_for("the job that hangs", lambda: of_run(cluster, "slow"), 300)
    cluster.say("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    drained = time.time()
    cluster.kill("controller", signal.SIGTERM)
    time.sleep(2)
    cluster.start_controller()
    wait_for("a fit", lambda: any("fit" in j[2] for j in running(cluster)), 300)
    run.kill()
    wait_for("the end of its jobs", lambda: cancelled(cluster))
    Run(tree).end()
    return tree, job, node, drained


def of_run(cluster, folder, *which):
    """Number, node and comment of the jobs of a run that are in the queue."""
    said = cluster.say("squeue", "-h", *which, "-o", "%i|%N|%k|%Z").splitlines()
    return [line.split("|")[:3] for line in said if line.endswith(f"/{folder}")]


def running(cluster):
    """The same of jobs of the whole run that are at work."""
    return of_run(cluster, "disturbed", "-t", "running")


def cancelled(cluster):
    """Cancel the jobs of the whole run, also one that was on its way to the queue; whether none is left."""
    jobs = of_run(cluster, "disturbed")
    if jobs:
        cluster.say("scancel", *(job for job, *_ in jobs))
    return not jobs


def on_a_gpu(tree):
    """The stage that asks for a GPU, and the stamps for it: three shards in one submission."""
    tree.configure(pretrain={"device": "auto", "epochs": 1, "batch": 2, "hidden": 8, "projection": 8})
    Run(tree, "results/models/encoder", "--group-components", "road=3").end()


def test_the_profile_on_a_cluster_and_what_befalls_it(cluster, tmp_path, request, subtests):
    """All at once and in one test: most of it is waiting for SLURM, and a machine has room for one."""
    with ThreadPoolExecutor() as pool:
        try:
            slow = pool.submit(too_little_time, plant(tmp_path / "slow"))
            disturbed = pool.submit(disturb, cluster, plant(tmp_path / "disturbed"))
            finished = request.getfixturevalue("finished")
            gpu = pool.submit(on_a_gpu, finished.copy(tmp_path / "gpu"))
            wait((slow, disturbed, gpu))
        finally:
            # where the test itself is interrupted
            for run in STARTED:
                run.kill()
    with subtests.test("the catalogue is that of a local run, and up to date"):
        tree = disturbed.result()[0]
        for name in CATALOGUE:
            local, slurm = (t.folder / "results/catalogue" / name for t in (finished, tree))
            assert slurm.read_bytes() == local.read_bytes()
        assert tree.stale() == {}
    with subtests.test("a drained node ends its job and gets no other"):
        _, job, node, drained = disturbed.result()
        after = time.strftime("%FT%T", time.localtime(drained + 1))
        jobs = cluster.jobs("JobID", "State", "NodeList", "Start")
        assert ["COMPLETED", node] in [j[1:3] for j in jobs if j[0] == job]
        later = [place for _, _, place, start in jobs if after < start != "Unknown"]
        assert later
        assert node not in later
    with subtests.test("a job out of time is tried again with more time and memory"):
        slow.result()
        tries = [j[:-1] for j in cluster.jobs("State", "Timelimit", "ReqMem", "WorkDir") if j[-1].endswith("slow")]
        assert tries == [["TIMEOUT", "00:01:00", "1000M"], ["COMPLETED", "00:06:00", "2000M"]]
    with subtests.test("a stage that can use a GPU asks for one; the shards before it are one submission"):
        gpu.result()
        jobs = [j for j in cluster.jobs("Comment", "Partition", "AllocTRES", "WorkDir") if j[-1].endswith("gpu")]
        (road, short, without, _), (rule, gpus, with_one, _) = jobs
        assert (road, short, "gres/gpu" in without) == ("rule_road_stamps", "short", False)
        assert (rule, gpus, "gres/gpu=1" in with_one) == ("rule_pretrain", "gpu", True)
