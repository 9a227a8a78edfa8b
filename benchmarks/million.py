"""Memory and time of the stages of the whole run at a million targets, each as its rule runs it.

Run, with a finished default run in ``results``::

    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/million.py FOLDER [--run results] [--targets 1000000]
        [--rules catalogue report ...]

In FOLDER, on the disk of that run, a campaign is made up: a million places on the sky, their shards from the plan, and
in every shard the tables that the real stages have written of the finished run, whose targets are drawn with
replacement. Values, texts and statuses are so as real ones are; scores are spread so that no two are equal, and texts
that differ from target to target in truth do so here. Images are there for the best targets alone; other stacks are a
few bytes. Training sample, models and evaluation are those of the finished run. Each rule then runs alone through
Snakemake, told that all else is given (``--allowed-rules``); what a job says at its end in its log goes into
benchmarks/results/million.json.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from bench import machine

from tandemlens.base.atomic import sha256
from tandemlens.base.sidecar import job_facts, read_sidecar, sidecar_of, write_sidecar
from tandemlens.base.stack import read_stack, write_stack
from tandemlens.base.status import NO_SEGMENTS, OK

ROOT = Path(__file__).parents[1]
SURVEY = "mock"
NSIDE = 16
#: best targets that have images
PICTURED = 150
#: segments of a target that are kept: the catalogue does not look at them, and 25 million rows take 10 GB
SEGMENTS = 4
#: rules that see all targets, in order, and one product of each
RULES = {
    "catalogue": "catalogue/candidates.parquet",
    "figures": "report/figures/sky.png",
    "next_to_grade": "catalogue/next_to_grade.parquet",
    "report": "report/index.html",
    "cards": "report/cards/colour.md",
    "crate": "ro-crate-metadata.json",
    "fit_colour": "models/colour",
}
#: tables that none of these stages reads, and that are larger than all others together
UNREAD = ("truth.parquet", "curves.parquet")
#: texts that are another for every target
OWN_TEXT = ("cutout_sha256", "drivers", "reason", "sha256", "url")
_DONE = re.compile(r": done in ([\d.]+) s, at most ([\d.]+) GiB")


class Source:
    """Tables of the search of a finished run, by target.

    Parameters
    ----------
    run : Path
    """

    def __init__(self, run):
        self.shards = sorted(p for p in (run / SURVEY / "search").glob("hp*") if p.is_dir())
        self.names = sorted(p.relative_to(self.shards[0]).as_posix() for p in self.shards[0].rglob("*") if p.is_file())
        self.names = [name for name in self.names if not name.endswith(".prov.json") and name != "targets.parquet"]
        features = pd.concat([pd.read_parquet(s / "features.parquet") for s in self.shards], ignore_index=True)
        self.ids = pd.Index(features["target_id"])
        self.seen = features["status"].isin((OK, NO_SEGMENTS)).to_numpy()
        self.tables = {name: self._table(name) for name in self.names if _is_read(name)}

    def _table(self, name):
        table = pa.concat_tables([pq.read_table(s / name) for s in self.shards])
        owner = self.ids.get_indexer(table["target_id"].to_pandas())
        keep = np.flatnonzero(owner >= 0)
        order = keep[np.argsort(owner[keep], kind="stable")]
        if name in ("segments.parquet", "photometry.parquet"):
            order = order[pd.Series(owner[order]).groupby(owner[order]).cumcount().to_numpy() < SEGMENTS]
        n = np.bincount(owner[order], minlength=len(self.ids))
        return table.take(order), np.cumsum(n) - n, n

    def rows(self, name, drawn, ids, rng):
        """Rows of the drawn targets under new names."""
        table, start, n = self.tables[name]
        counts = n[drawn]
        owner = np.repeat(np.arange(len(drawn)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        part = table.take(start[drawn][owner] + within)
        own = ids[owner]
        columns = {"target_id": own}
        for column in set(OWN_TEXT) & set(part.column_names):
            told = part[column].to_pandas()
            columns[column] = np.where(told == "", "", told.astype(object) + " " + own)
        if name == "scores/fused.parquet":
            columns["fused"] = part["fused"].to_numpy() + rng.normal(0, 0.3, len(part))
        for column, values in columns.items():
            place = part.column_names.index(column)
            part = part.set_column(place, part.schema.field(place), pa.array(values, part.schema.field(place).type))
        return part


def _is_read(name):
    return name.endswith(".parquet") and name not in UNREAD


def campaign(folder, run, n):
    """Settings and target list of the made-up campaign, and what it takes over from the finished run."""
    rng = np.random.default_rng(5)
    dec = np.degrees(np.arcsin(rng.uniform(-np.sin(np.pi / 3), np.sin(np.pi / 3), n)))
    z, richness = rng.uniform(0.1, 0.8, n), rng.gamma(2, 20, n)
    columns = {"ra": rng.uniform(0, 360, n), "dec": dec, "z": z, "richness": richness}
    frame = pd.DataFrame({"name": [f"C{k:07d}" for k in range(n)], **columns})
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "targets.parquet")
    settings = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    settings |= {"grades": {"next": True}}
    settings["samples"]["search"]["targets"] = {"catalogue": "targets.parquet", "nside": NSIDE}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    # the shards of its search too: models and pages of it speak of them
    for part in ("models", "evaluation", "training", SURVEY, "catalogue"):
        shutil.copytree(run / part, folder / "results" / part, copy_function=os.link)
    for name in ("Snakefile", "LICENSE", "config", "envs", "profiles", "resources", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "results/report").mkdir()
    for name in ("simulation", "evaluation"):
        for suffix in (".html", ".html.prov.json"):
            os.link(run / f"report/{name}{suffix}", folder / f"results/report/{name}{suffix}")


def write_shards(folder, run):
    """Every table of every shard, and the images of the best targets."""
    os.fsync = lambda _: None  # nothing here need outlive a power cut
    source, rng = Source(run), np.random.default_rng(6)
    os.chdir(folder)
    road = Path("results") / SURVEY / "search"
    targets = pq.read_table(road / "targets.parquet")
    frame = targets.select(["target_id", "shard", "status"]).to_pandas()
    best = []
    for shard, part in frame[frame["status"] == "ok"].groupby("shard"):
        ids, drawn = part["target_id"].to_numpy(object), rng.integers(len(source.ids), size=len(part))
        (road / shard / "scores").mkdir(parents=True, exist_ok=True)
        pq.write_table(targets.take(part.index.to_numpy()), road / shard / "targets.parquet", compression="zstd")
        for name in source.names:
            if _is_read(name):
                rows = source.rows(name, drawn, ids, rng)
                pq.write_table(rows, road / shard / name, compression="zstd")
                if name == "scores/fused.parquet":
                    fused = rows.select(["target_id", "fused"]).to_pandas().set_index("target_id")["fused"]
            else:
                (road / shard / name).write_bytes(shard.encode())
        score = np.where(source.seen[drawn], fused.reindex(ids).to_numpy(), -np.inf)
        top = np.argsort(-score)[:20]
        best += zip(score[top], ids[top], drawn[top], [shard] * len(top), strict=True)
    pictured = pd.DataFrame(sorted(best, reverse=True)[:PICTURED], columns=["score", "target_id", "drawn", "shard"])
    for shard, part in pictured.groupby("shard"):
        names = dict(zip(part["target_id"], source.ids[part["drawn"]], strict=True))
        _stacks(road / shard, source.shards, names)
    _sidecars(road, source)


def _stacks(shard, sources, names):
    """Copies of the images of some targets under new names."""
    (shard / "segments.h5").unlink()
    with ExitStack() as opened, h5py.File(shard / "segments.h5", "w") as labels:
        stacks = [opened.enter_context(read_stack(source / "matched.h5")) for source in sources]
        where = {old: (stack, k) for stack in stacks for k, old in enumerate(stack.target_ids)}
        found = {new: where[old] for new, old in names.items() if old in where}
        first = stacks[0][0]
        with write_stack(shard / "matched.h5", first.bands, first.flux.shape[1:], first.psf.shape[-1]) as out:
            for new, (stack, k) in found.items():
                out.append(new, stack[k])
        for source in sources:
            with h5py.File(source / "segments.h5") as given:
                for new, old in names.items():
                    if old in given:
                        given.copy(old, labels, new)


def _sidecars(road, source):
    """Sidecars of all products, by those of the first shard of the finished run."""
    pattern = source.shards[0]
    facts = {name: read_sidecar(pattern / name) for name in (*source.names, "targets.parquet")}
    there = {}
    for shard in sorted(road.glob(f"hp{NSIDE}_*")):
        digests = {str(shard / name): sha256(shard / name) for name in facts}
        for name, one in facts.items():
            inputs = {_moved(path, pattern, shard): digest for path, digest in one["inputs"].items()}
            for path in inputs:
                if path not in digests and path not in there and Path(path).exists():
                    there[path] = read_sidecar(path)["sha256"] if sidecar_of(path).is_file() else sha256(path)
            inputs = {path: digests.get(path, there.get(path, digest)) for path, digest in inputs.items()}
            outputs = [_moved(path, pattern, shard) for path in one["outputs"]]
            told = job_facts(one["rule"], time.time(), outputs, inputs, one["wildcards"], one["code"], one["settings"])
            write_sidecar(shard / name, told)


def _moved(path, pattern, shard):
    """Path of a product of a shard of the finished run as that of a shard of the campaign."""
    own = f"results/{SURVEY}/search/{pattern.name}/"
    return str(shard / path.removeprefix(own)) if path.startswith(own) else path


def run_rule(folder, rule, product):
    """Seconds and GiB of the job of a rule, and seconds of the Snakemake around it."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "settings.yaml"]
    command += ["--allowed-rules", rule, "--forcerun", rule, "--quiet", "all", "--", f"results/{product}"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall = time.monotonic() - started
    found = _DONE.search((folder / f"results/logs/{rule}.log").read_text()) if done.returncode == 0 else None
    if found is None:
        print(done.stdout[-3000:], done.stderr[-3000:])
        return {"rule": rule, "seconds": float("nan"), "gib": float("nan"), "wall": wall}
    return {"rule": rule, "seconds": float(found[1]), "gib": float(found[2]), "wall": wall}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=Path, default=ROOT / "results", help="results of a finished default run")
    parser.add_argument("--targets", type=int, default=1_000_000)
    parser.add_argument("--rules", nargs="*", choices=RULES, default=list(RULES))
    asked = parser.parse_args()
    folder, settings = asked.folder.resolve(), asked.folder.resolve() / "settings.yaml"
    if not settings.exists():
        campaign(folder, asked.run.resolve(), asked.targets)
        plan = [sys.executable, "-m", "snakemake", "--cores", "1", "-n", "--configfile", "settings.yaml"]
        started = time.monotonic()
        subprocess.run([*plan, "--allowed-rules", "all"], cwd=folder, capture_output=True, check=False)
        print(f"plan: {time.monotonic() - started:.0f} s", flush=True)
        write_shards(folder, asked.run.resolve())
        print(f"shards: {time.monotonic() - started:.0f} s", flush=True)
    out = ROOT / "benchmarks/results/million.json"
    for rule in asked.rules:
        row = run_rule(folder, rule, RULES[rule])
        print(json.dumps(row), flush=True)
        _keep(out, folder, row)


def _keep(out, folder, row):
    """Put the row of a rule into million.json, among those of the others of the same campaign."""
    n = pq.read_metadata(folder / "targets.parquet").num_rows
    shards = len(list((folder / "results" / SURVEY / "search").glob(f"hp{NSIDE}_*")))
    kept = json.loads(out.read_text("utf-8")) if out.exists() else {}
    rows = {one["rule"]: one for one in kept.get("rules", ()) if kept["targets"] == n} | {row["rule"]: row}
    facts = {"targets": n, "shards": shards, "date": time.strftime("%Y-%m-%d"), "machine": machine()}
    facts["rules"] = [rows[rule] for rule in RULES if rule in rows]
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
