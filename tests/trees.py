"""A small tree of the project on which whole runs are tested."""

import os
import re
import shutil
import subprocess
import sys

import yaml

from places import ROOT

PARTS = ("Snakefile", "config", "workflow", "profiles", "envs", "resources")
TARGETS = """name,ra,dec,z,richness
A,30.00,2.00,0.25,40
B,30.05,2.10,0.31,55
C,120.0,-20.0,0.40,30
"""
TRAIN = """name,ra,dec,z,richness
T,200.0,10.0,0.3,40
"""


class Tree:
    """A copy of the project in which Snakemake is run as a user would."""

    def __init__(self, folder):
        self.folder = folder

    def snakemake(self, *arguments):
        """Run Snakemake on the small run of this tree; returns what it says."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, self.said
        return self.said

    def attempt(self, *arguments, under=(), **options):
        """As `snakemake`, for a run that may fail: `under` is a command that runs it, `options` go to the process."""
        options = {"capture_output": True, "text": True, "check": False, **options}
        done = subprocess.run([*under, *self.command(*arguments)], cwd=self.folder, env=self.environment(), **options)
        self.said = done.stdout + done.stderr
        return done

    def python(self, script):
        """Run a script of the tree."""
        env = {**self.environment(), "PYTHONPATH": "workflow/scripts"}
        subprocess.run([sys.executable, script], cwd=self.folder, env=env, check=True)

    def start(self, log):
        """Begin the small run in a session of its own."""
        options = {"cwd": self.folder, "env": self.environment(), "start_new_session": True}
        return subprocess.Popen(self.command(), stdout=log, stderr=log, **options)

    @staticmethod
    def command(*arguments):
        """The command of the small run."""
        return [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "small.yaml", *arguments]

    @staticmethod
    def environment():
        """One thread a job; no path to the library but the tree's own."""
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        env.pop("PYTHONPATH", None)
        return env

    def catalogue(self):
        """The catalogue as bytes."""
        return (self.folder / "results/catalogue/candidates.csv").read_bytes()

    def stale(self, *arguments):
        """Rule -> number of jobs that a run would do now."""
        said = self.snakemake("--dry-run", *arguments)
        table = re.search(r"^job +count\n-.*\n((?:\S+ +\d+\n)+)", said, re.MULTILINE)
        counts = dict(line.split() for line in table.group(1).splitlines()) if table else {}
        return {rule: int(n) for rule, n in counts.items() if rule not in ("total", "all")}

    def edit(self, path, old, new):
        """Replace `old` by `new` in a file; `old` must be there."""
        text = (self.folder / path).read_text()
        assert old in text, f"{path} no longer holds {old!r}"
        (self.folder / path).write_text(text.replace(old, new))

    def append(self, path, text):
        """Add `text` to the end of a file."""
        with open(self.folder / path, "a") as handle:
            handle.write(text)

    def settings(self):
        """Settings of the small run."""
        return yaml.safe_load((self.folder / "small.yaml").read_text())

    def configure(self, **sections):
        """Set sections of the small run."""
        (self.folder / "small.yaml").write_text(yaml.safe_dump({**self.settings(), **sections}))

    def copy(self, folder):
        """The tree elsewhere, times of files kept."""
        shutil.copytree(self.folder, folder)
        return Tree(folder)


def plant(folder, targets=TARGETS, **settings):
    """Copy the project to `folder` with a small run `small.yaml` of the mock survey."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    (folder / "targets.csv").write_text(targets)
    (folder / "train.csv").write_text(TRAIN)
    search = {"survey": "mock", "bands": ["g", "r", "i"], "targets": {"catalogue": "targets.csv"}}
    search |= {"pixels": "simulated", "simulate": {"tries": 5}}
    none = {name: {"share": 0} for name in ("tandem", "single_arc", "spiral_ring_merger", "artefact")}
    train = {"targets": {"catalogue": "train.csv"}, "simulate": {"twins": True, "tries": 5, **none}}
    small = {"samples": {"search": search, "train": train}, "cutout": {"size_arcsec": 50}}
    small |= {"colour": {"null_draws": 200}, "expect": {"lenses": 1, "draws": 1}, **settings}
    (folder / "small.yaml").write_text(yaml.safe_dump(small))
    return Tree(folder)
