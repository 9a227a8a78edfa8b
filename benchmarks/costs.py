"""What a system costs, measured on a finished run, and the plan of a campaign that follows from it.

::

    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/costs.py measure RESULTS SURVEY
    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/costs.py plan
    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/costs.py stages RESULTS

``measure`` writes benchmarks/results/costs.json: of every rule that works on shards the CPU seconds that a job takes to
start and those of a system, from the shards of different size that the run has (least squares, none below zero), and
its memory; of every product its bytes a system. ``plan`` writes the tables of docs/scale.md from that file, and from
million.json, which `million.py` writes. ``stages`` writes stages.json, the time, memory and disk that every rule of a
run took, and its table there.
"""

import argparse
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from bench import machine
from scipy.optimize import nnls

from tandemlens.catalogue.timing import timing

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
DOCUMENT = ROOT / "docs/scale.md"
#: targets of a shard in the plan, and campaigns that it tells of
SHARD, CAMPAIGNS = 400, (10_000, 100_000, 1_000_000)
#: products that only the simulation has; a campaign on images of a survey has none of them
SIMULATED = ("systems.parquet", "truth.parquet", "images.parquet", "curves.parquet")
#: stages from pixels to features
ROAD = ("match", "segment", "measure", "features")
#: stacks that no later stage needs once a shard has its features, but for the pictures of the page and new settings
STACKS = ("cutouts.h5", "matched.h5", "segments.h5")


def shard_sizes(results, survey):
    """(sample, shard) -> number of its systems."""
    sizes = {}
    for path in sorted((results / survey).glob("*/targets.plan.json")):
        shards = json.loads(path.read_text(encoding="utf-8"))["shards"]
        sizes |= {(path.parent.name, shard): n for shard, (_, n) in shards.items()}
    return sizes


def rule_costs(results, sizes):
    """Rule -> jobs, systems, CPU seconds to start and a system, and MiB at most."""
    jobs = defaultdict(list)
    for path in sorted((results / "benchmarks").glob("*/*/*.jsonl")):
        facts = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        n, seconds = sizes.get((path.parent.name, path.stem)), facts["cpu_time"]
        # Snakemake writes NA of jobs too short to be looked at
        if n and isinstance(seconds, float | int):
            jobs[path.parents[1].name].append((n, seconds, facts["max_rss"]))
    out = {}
    for rule, rows in sorted(jobs.items()):
        n, seconds, memory = (np.array(column, float) for column in zip(*rows, strict=True))
        (start, each), _ = nnls(np.column_stack([np.ones(len(n)), n]), seconds)
        facts = {"start": start, "system": each, "mib": memory.max()}
        out[rule] = {"jobs": len(n), "systems": int(n.sum()), **{k: float(f"{v:.3g}") for k, v in facts.items()}}
    return out


def file_costs(results, survey, sizes):
    """File of a shard -> bytes a system, of the larger shards."""
    largest = max(sizes.values())
    total, systems = defaultdict(int), 0
    for (sample, shard), n in sizes.items():
        if n < largest / 2:
            continue
        systems += n
        folder = results / survey / sample / shard
        for path in folder.rglob("*"):
            if path.is_file():
                total[path.relative_to(folder).as_posix()] += path.stat().st_size
    return {name: round(size / systems) for name, size in sorted(total.items())}


def measure(results, survey):
    """Write costs.json."""
    sizes = shard_sizes(results, survey)
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "survey": survey,
        "systems": sum(sizes.values()),
        "rules": rule_costs(results, sizes),
        "files": file_costs(results, survey, sizes),
    }
    (RESULTS / "costs.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def plan_tables(costs, million):
    """The tables of docs/scale.md as Markdown.

    Parameters
    ----------
    costs, million : dict
        costs.json and million.json.

    Returns
    -------
    str
    """
    scores = [name for name in costs["rules"] if name.startswith("score_")]
    rules = {name: costs["rules"][name] for name in (*ROAD, *scores)}
    lines = [
        f"Measured on {costs['systems']} systems of the survey `{costs['survey']}` on {costs['date']} "
        f"({costs['machine']}); {SHARD} clusters a shard.",
        "",
        "| stage | to start a job (CPU s) | a system (CPU s) | memory (MiB) |",
        "|---|---|---|---|",
        *(f"| {name} | {one['start']:.3g} | {one['system']:.3g} | {one['mib']:.0f} |" for name, one in rules.items()),
        "",
        "| | " + " | ".join(f"{n:,}" for n in CAMPAIGNS) + " |",
        "|---|" + "---|" * len(CAMPAIGNS),
    ]
    rows = defaultdict(list)
    for n in CAMPAIGNS:
        shards = -(-n // SHARD)
        hours = {name: (one["start"] * shards + one["system"] * n) / 3600 for name, one in rules.items()}
        rows["shards"].append(f"{shards:,}")
        rows["jobs on shards, fetch and target list too"].append(f"{shards * (len(rules) + 2):,}")
        rows["CPU hours from pixels to features"].append(_amount(sum(hours[name] for name in ROAD)))
        rows["CPU hours of the scores"].append(_amount(sum(h for name, h in hours.items() if name not in ROAD)))
        size = {
            name: n * size / 2**30 for name, size in costs["files"].items() if name.split(".prov")[0] not in SIMULATED
        }
        rows["stacks (GiB)"].append(_amount(sum(size[name] for name in STACKS)))
        rows["tables and sidecars (GiB)"].append(_amount(sum(v for name, v in size.items() if name not in STACKS)))
        # a log and a benchmark a job
        rows["files"].append(f"{shards * (len(size) + 2 * (len(rules) + 2)):,}")
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    lines += [
        "",
        f"Stages that see the whole run, at {million['targets']:,} targets in {million['shards']:,} shards on "
        f"{million['date']} ({million['machine']}):",
        "",
        "| rule | seconds | memory (GiB) |",
        "|---|---|---|",
        *(f"| {row['rule']} | {row['seconds']:.0f} | {row['gib']:.2f} |" for row in million["rules"]),
    ]
    return "\n".join(lines) + "\n"


def stages(results):
    """Write stages.json: what every rule of a run cost, from benchmarks and sidecars."""
    disk, began, ended = defaultdict(int), [], []
    for path in results.rglob("*.prov.json"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        product = path.with_name(path.name.removesuffix(".prov.json"))
        files = [product] if product.is_file() else product.rglob("*")
        disk[facts["rule"]] += sum(one.stat().st_size for one in files if one.is_file())
        began.append(datetime.fromisoformat(facts["started"]))
        ended.append(began[-1] + timedelta(seconds=facts["seconds"]))
    rules = [
        {**row, "mib": row["memory"], "disk": disk.get(row["rule"], 0)}
        for row in timing(results / "benchmarks", 1)["rules"]
    ]
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "wall": (max(ended) - min(began)).total_seconds(),
        "rules": [{k: v if isinstance(v, str | int) else float(f"{v:.4g}") for k, v in row.items()} for row in rules],
    }
    (RESULTS / "stages.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def stage_table(facts):
    """The table of `stages` as Markdown."""
    rules = facts["rules"]
    total = {name: sum(row[name] for row in rules) for name in ("jobs", "wall", "cpu", "disk")}
    total |= {"rule": "all", "mib": max(row["mib"] for row in rules)}
    minutes = f"{facts['wall'] / 60:.1f} minutes from the first product to the last"
    lines = [
        f"The default run on {facts['date']} ({facts['machine']}): {minutes}.",
        "",
        "| rule | jobs | seconds of jobs | CPU s | share of CPU | memory (MiB) | disk (MiB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in [*rules, total]:
        work = f"{row['jobs']} | {row['wall']:.0f} | {row['cpu']:.0f} | {row['cpu'] / total['cpu']:.0%}"
        lines.append(f"| {row['rule']} | {work} | {row['mib']:.0f} | {row['disk'] / 2**20:.1f} |")
    return "\n".join(lines) + "\n"


def _amount(value):
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def fill(text, part, table):
    """docs/scale.md with a table between the marks of its part."""
    begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->"
    before, rest = text.split(begin)
    return before + begin + table + end + rest.split(end)[1]


def read(name):
    """One of the files of measured costs."""
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["measure", "plan", "stages"])
    parser.add_argument("results", nargs="?", type=Path)
    parser.add_argument("survey", nargs="?")
    asked = parser.parse_args()
    if asked.what == "measure":
        measure(asked.results, asked.survey)
        return
    if asked.what == "stages":
        stages(asked.results)
        table = stage_table(read("stages"))
    else:
        table = plan_tables(read("costs"), read("million"))
    DOCUMENT.write_text(fill(DOCUMENT.read_text("utf-8"), asked.what, table), encoding="utf-8")


if __name__ == "__main__":
    main()
