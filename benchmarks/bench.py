"""Every side-by-side benchmark, one after the other, into one table; ``make bench`` runs this.

::

    PYTHONPATH=workflow/scripts:tests:tests/learn:tests/services .venv/bin/python benchmarks/bench.py [name ...]

Writes benchmarks/results/bench.md and bench.json, and the table into README.md. A benchmark that fails or takes longer
than its limit has a line that says so. With names only these run, and nothing is written.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
#: benchmark -> arguments, how often it runs, and seconds that one run may take
BENCHMARKS = {
    "road_speed": (["11"], 1, 180),
    "psf_matching": ([], 3, 30),
    "sky_speed": (["3"], 1, 200),
    "fetch_speed": ([], 1, 300),
    "classic_speed": (["peer"], 1, 150),
    "exports_speed": (["20000", "peers"], 3, 60),
}
#: what is not run, and why
LEFT_OUT = {
    "baseline_speed, generator_speed, pretrain_speed": "they compare devices or settings of ours, on a GPU above all",
    "rotations, rotations_baseline, rotations_mil, ideal_observer, cross_survey, few_shot, probes, "
    "shots": "they need a campaign of thousands of systems",
    "injection_trace, real_sky": "they need real images",
    "page_speed, stamps_speed, shard_memory, overhead, imports, million, costs": "they measure us alone",
}
MARKS = "<!-- bench: begin -->\n", "<!-- bench: end -->"


def run(name, arguments, limit):
    """What a benchmark told, and why it told nothing."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.jsonl"
        environment = {**os.environ, "BENCH_OUT": str(told), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "ignore", str(ROOT / f"benchmarks/{name}.py"), *arguments]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return [], f"took longer than {limit} s"
        if done.returncode or not told.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            return [], f"failed: {last}"
        return [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()], ""


def measured(name):
    """Rows of a benchmark, its repeats put together."""
    arguments, repeats, limit = BENCHMARKS[name]
    rows, started = {}, time.monotonic()
    for _ in range(repeats):
        told, reason = run(name, arguments, limit)
        if reason:
            return [{"benchmark": name, "reason": reason}]
        for one in told:
            row = rows.setdefault((one["peer"], one["what"]), {"benchmark": name, **one, "ratios": []})
            row["ratios"] += one["ratios"]
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return list(rows.values())


def machine():
    """Processor, cores and Python, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def table(rows):
    """Rows as Markdown."""
    lines = ["| benchmark | compared | peer | times as good (range, runs) |", "|---|---|---|---|"]
    for row in rows:
        if "reason" in row:
            lines.append(f"| `{row['benchmark']}` | {row['reason']} | | |")
            continue
        low, middle, high = np.quantile(row["ratios"], [0, 0.5, 1])
        value = f"{middle:.3g} ({low:.3g} to {high:.3g}, {len(row['ratios'])})"
        peer = f"{row['peer']} {row['version']}".strip()
        lines.append(f"| `{row['benchmark']}` | {row['what']} | {peer} | {value} |")
    return "\n".join(lines) + "\n"


def told(rows, when):
    """The whole page."""
    text = f"Run on {when} ({machine()}) by `make bench`. Above 1 we are better than the peer.\n\n{table(rows)}\n"
    return text + "Left out:\n" + "".join(f"{names}, as {why}.\n" for names, why in LEFT_OUT.items())


def main():
    names = sys.argv[1:] or list(BENCHMARKS)
    rows = [row for name in names for row in measured(name)]
    print(table(rows))
    if sys.argv[1:]:
        return
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    text = told(rows, when)
    (RESULTS / "bench.md").write_text(text, encoding="utf-8")
    facts = {"date": when, "machine": machine(), "rows": rows, "left_out": LEFT_OUT}
    (RESULTS / "bench.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    lines = f"Last run {when}, {machine()}. Above 1 we are better.\n\n{table(rows)}"
    readme.write_text(before + MARKS[0] + lines + MARKS[1] + after, encoding="utf-8")


if __name__ == "__main__":
    main()
