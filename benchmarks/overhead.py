"""What the workflow itself costs: wall time against the work of its jobs, and what a second core brings.

Run::

    PYTHONPATH=tests:workflow/scripts .venv/bin/python benchmarks/overhead.py [cores]

The default run is done in a copy of the tree. Its ideal is the time for which its jobs hold cores, divided by the
cores; both are wall times, so that other work on the machine lengthens them alike. The per-shard stages of four equal
shards of simulated systems are then done on one core and on two.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import yaml

from places import ROOT
from trees import plant

#: cells of the sky, a shard each, and canvases in each of them; every canvas gives six systems
SKY, CANVASES = ((30, 2), (120, -20), (200, 10), (280, 45)), 4


def run(tree, cores, *arguments):
    """Wall time of a run, s."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--benchmark-extended", *arguments]
    started = time.monotonic()
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
    return time.monotonic() - started


def held(tree):
    """Core-seconds of the jobs of every rule, by what they held and by what they used: rule -> [jobs, held, used]."""
    rules = defaultdict(lambda: [0, 0.0, 0.0])
    for path in (tree / "results/benchmarks").rglob("*.jsonl"):
        facts = json.loads(path.read_text().splitlines()[-1])
        row = rules[facts["rule_name"]]
        row[0] += 1
        row[1] += facts["s"] * facts["threads"]
        row[2] += facts["cpu_time"]
    return dict(rules)


def whole_run(cores):
    """Lines on the default run."""
    with tempfile.TemporaryDirectory() as folder:
        tree = plant(Path(folder) / "tree").folder
        wall = run(tree, cores)
        rules = held(tree)
    ideal = sum(row[1] for row in rules.values()) / cores
    lines = [f"Default run on {cores} cores: {wall:.0f} s, ideal of its jobs {ideal:.0f} s, ratio {wall / ideal:.2f}."]
    lines += ["", "| rule | jobs | core-seconds held | used |", "|---|---|---|---|"]
    ordered = sorted(rules.items(), key=lambda item: -item[1][1])
    return [*lines, *(f"| {rule} | {n} | {s:.1f} | {cpu:.1f} |" for rule, (n, s, cpu) in ordered)]


def shards(cores):
    """Wall time of the per-shard stages, s."""
    rows = [f"{ra}{k},{ra + k / 10},{dec},0.3,40" for ra, dec in SKY for k in range(CANVASES)]
    with tempfile.TemporaryDirectory() as folder:
        tree = plant(Path(folder) / "tree").folder
        settings = yaml.safe_load((tree / "small.yaml").read_text())
        settings["samples"]["train"]["simulate"] = {"twins": True}
        settings["cutout"] = {"size_arcsec": 120}
        (tree / "small.yaml").write_text(yaml.safe_dump(settings))
        (tree / "train.csv").write_text("\n".join(["name,ra,dec,z,richness", *rows]) + "\n")
        return run(tree, cores, "results/models/classic", "--until", "features", "--configfile", "small.yaml")


def main(cores):
    one, two = shards(1), shards(2)
    lines = whole_run(cores)
    lines += [
        "",
        f"Per-shard stages of four shards: {one:.0f} s on one core, {two:.0f} s on two, {one / two:.2f} times.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks/results/overhead.md").write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
