"""What a run cost, by rule: from the benchmark that each job left."""

import json
from pathlib import Path
from typing import Any

import pandas as pd


def timing(folder: str, targets: int) -> dict[str, Any]:
    """Jobs, time and memory of every rule whose jobs have left a benchmark, the dearest first.

    Parameters
    ----------
    folder : str
        Of the benchmarks: ``<rule>.jsonl`` or ``<rule>/.../<shard>.jsonl``, a line a job, the last one counts.
    targets : int
        Number of targets of the run.

    Returns
    -------
    dict
        ``rules``, a list of dicts with rule, jobs, wall (s), cpu (s) and memory (MiB, of the largest job); ``wall`` and
        ``cpu``, their sums in hours; ``per_target``, CPU seconds of a target. Empty where there are none.
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.jsonl")):
        facts = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        rule = path.relative_to(folder).parts[0].removesuffix(".jsonl")
        # Snakemake writes NA or nothing of jobs too short to be looked at
        numbers = {name: pd.to_numeric(facts.get(key), errors="coerce") for name, key in _FACTS.items()}
        rows.append({"rule": rule, **numbers})
    if not rows:
        return {}
    by_rule = (
        pd.DataFrame(rows)
        .groupby("rule")
        .agg(jobs=("wall", "size"), wall=("wall", "sum"), cpu=("cpu", "sum"), memory=("memory", "max"))
    )
    by_rule = by_rule.sort_values("cpu", ascending=False).reset_index()
    wall, cpu = (float(by_rule[name].sum()) for name in ("wall", "cpu"))
    return {
        "rules": by_rule.to_dict("records"),
        "wall": wall / 3600,
        "cpu": cpu / 3600,
        "per_target": cpu / max(targets, 1),
    }


_FACTS = {"wall": "s", "cpu": "cpu_time", "memory": "max_rss"}
