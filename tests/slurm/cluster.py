"""A SLURM of two nodes on this machine while a test needs it: root, Debian's packages, no systemd, no cgroups."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import yaml

from places import ROOT

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sacct")
NODES = ("one", "two")
#: SLURM's programs look here where SLURM_CONF does not say otherwise, and the executor unsets that in jobs
DEFAULT_FOLDER = Path("/etc/slurm")
MARK = "# made by a test of tandemlens\n"
CONF = """
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
# a node may claim more cores and memory than the machine has
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
GresTypes=gpu
KillWait=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
AccountingStoragePass={root}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
NodeName=one NodeHostname={host} NodeAddr={address} Port={one} CPUs=8 RealMemory=16000 Gres=gpu:1
NodeName=two NodeHostname={host} NodeAddr={address} Port={two} CPUs=8 RealMemory=16000 Gres=gpu:1
"""
ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounting}
SlurmUser=root
LogFile={root}/slurmdbd.log
PidFile={root}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


def hindrance():
    """Why no SLURM can be started here; empty if one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return (
            f"{', '.join(missing)} not installed (Debian: slurmctld slurmd slurmdbd slurm-client munge mariadb-server)"
        )
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root here"
    try:
        own_address()
    except OSError:
        return f"the name of this machine, {socket.gethostname()}, has no address; add one to /etc/hosts"
    # a test that was killed leaves links
    foreign = [str(path) for path in places() if path.exists() and not path.read_text().startswith(MARK)]
    if foreign:
        return f"{' and '.join(foreign)} belong to a SLURM of this machine"
    return ""


def own_address():
    """The address of this machine's name, the only one at which the daemons listen, but for slurmdbd."""
    return socket.gethostbyname(socket.gethostname())


def places():
    """Where SLURM's programs look for what a cluster is."""
    return [DEFAULT_FOLDER / name for name in ("slurm.conf", "slurmdbd.conf", "gres.conf")]


def free_ports(names):
    """Ports on which nobody listens at any address."""
    sockets = [socket.create_server(("", 0)) for _ in names]
    ports = {name: s.getsockname()[1] for name, s in zip(names, sockets, strict=True)}
    for s in sockets:
        s.close()
    return ports


def wait_for(what, condition, seconds=120):
    """Wait until a condition holds; returns what it gives."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)
    return found


def answers(*command):
    """Whether a command says that all is well; one that says nothing for 30 s says no."""
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Cluster:
    """Daemons with all that they write in one folder; partitions are those of the example beside the profile."""

    def __init__(self, root):
        self.root, self.daemons, self.linked = Path(root), {}, []
        self.host, self.address = socket.gethostname().split(".")[0], own_address()
        self.ports = free_ports(("controller", "accounting", "database", *NODES))

    def start(self):
        """Start everything and wait until both nodes take jobs."""
        os.environ.pop("SLURM_CONF", None)
        self.root.chmod(0o755)
        for folder in ("state", "database", *(f"spool-{n}" for n in NODES)):
            (self.root / folder).mkdir()
        self._configure()
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        for node in NODES:
            # jobs are as nice as their daemon: other tests run beside this one
            self._run(node, "nice", "slurmd", "-D", "-N", node)
        for node in NODES:
            self._await(node, lambda: self.say("sinfo", "-h", "-o", "%T").split() == ["idle"])

    def stop(self):
        """End what was started, jobs first."""
        try:
            self._end_jobs()
        finally:
            for name in (*NODES, "controller", "accounting", "database", "munge"):
                self.kill(name, signal.SIGTERM)
            for link in self.linked:
                link.unlink(missing_ok=True)

    def start_controller(self):
        """Start the controller, which takes up the state that the last one left."""
        self._run("controller", "slurmctld", "-D")
        self._await("controller", lambda: answers("scontrol", "ping"))

    def kill(self, name, how):
        """End a daemon."""
        daemon = self.daemons.pop(name, None)
        if daemon is None:
            return
        daemon.send_signal(how)
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def say(self, *command):
        """What a command of SLURM answers."""
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

    def jobs(self, *fields):
        """Jobs that were ever submitted, oldest first, as lists of fields of sacct."""
        said = self.say("sacct", "-X", "-n", "-P", "-D", "-o", ",".join(fields))
        return [line.split("|") for line in said.splitlines()]

    def _end_jobs(self):
        # a job is ended by the daemon of its node
        if answers("scancel", "--user", "root"):
            wait_for("the end of all jobs", lambda: not self.say("squeue", "-h").strip())

    def _run(self, name, *command):
        with open(self.root / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def _await(self, name, condition):
        """Wait until a daemon answers; one that has ended says why."""

        def answered():
            assert self.daemons[name].poll() is None, (self.root / f"{name}.out").read_text()
            return condition()

        wait_for(name, answered)

    def _configure(self):
        facts = {"root": self.root, "host": self.host, "address": self.address, **self.ports}
        limits = yaml.safe_load((ROOT / "profiles/slurm/partitions.yaml").read_text())["partitions"]
        partitions = [f"PartitionName={p} Nodes=one,two" for p in limits]
        # without cgroups any file passes for a device; a count alone registers none
        devices = [self.root / f"gpu-{node}" for node in NODES]
        for device in devices:
            device.touch()
        cards = [f"NodeName={n} Name=gpu File={d}" for n, d in zip(NODES, devices, strict=True)]
        lines = (
            CONF.format(**facts) + "\n".join(partitions),
            ACCOUNTING.format(**facts),
            "\n".join(cards),
        )
        DEFAULT_FOLDER.mkdir(exist_ok=True)
        for link, text in zip(places(), lines, strict=True):
            file = self.root / link.name
            file.write_text(f"{MARK}{text}\n")
            file.chmod(0o600)
            link.unlink(missing_ok=True)
            link.symlink_to(file)
            self.linked.append(link)

    def _start_munge(self):
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        place = {"key-file": key, "socket": self.root / "munge.socket", "pid-file": self.root / "munged.pid"}
        place |= {"log-file": self.root / "munged.log", "seed-file": self.root / "munge.seed"}
        options = [f"--{name}={path}" for name, path in place.items()]
        self._run("munge", "munged", "--foreground", "--force", *options)
        self._await("munge", (self.root / "munge.socket").exists)

    def _start_accounting(self):
        data, door = self.root / "database", self.root / "database.socket"
        quick = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--innodb-flush-method=nosync"]
        self.say("mariadb-install-db", "--user=root", f"--datadir={data}", "--skip-test-db", *quick)
        where = ["--bind-address=127.0.0.1", f"--port={self.ports['database']}", f"--socket={door}"]
        pid = f"--pid-file={self.root}/mariadbd.pid"
        self._run("database", "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", pid, *where, *quick)
        client = ("mariadb", f"--socket={door}", "-uroot", "-e")
        self._await("database", lambda: answers(*client, "SELECT 1"))
        made = "CREATE DATABASE slurm; CREATE USER slurm@localhost IDENTIFIED BY 'slurm'; "
        self.say(*client, made + "GRANT ALL ON slurm.* TO slurm@localhost;")
        self._run("accounting", "slurmdbd", "-D")
        manager = ("sacctmgr", "-i")
        self._await("accounting", lambda: answers(*manager, "add", "cluster", "test"))
        self.say(*manager, "add", "account", "astronomy")
        self.say(*manager, "add", "user", "root", "Account=astronomy")
