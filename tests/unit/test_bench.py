"""The table of the side-by-side benchmarks."""

import json
import sys

import pytest

from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench
import outcome

HELPERS = {"bench", "outcome"}


def test_no_benchmark_is_forgotten():
    """One that is new is run, or is left out with a reason."""
    named = {name for names in bench.LEFT_OUT for name in names.split(", ")}
    found = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert found == HELPERS | named | set(bench.BENCHMARKS)
    assert not named & set(bench.BENCHMARKS)
    # what may go on for ever would: 25 minutes are what all may take together
    assert sum(repeats * limit for _, repeats, limit in bench.BENCHMARKS.values()) <= 2000


@pytest.fixture
def benchmarks(tmp_path, monkeypatch):
    """A folder of benchmarks of its own."""
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "benchmarks/results")
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks"))
    (tmp_path / "README.md").write_text("before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n")
    return tmp_path


def test_repeats_are_put_together_and_failures_said(benchmarks, monkeypatch):
    folder = benchmarks / "benchmarks"
    (folder / "good.py").write_text(
        "import sys, os\nfrom outcome import tell\ntell('peer', '1.2', 'time', [float(sys.argv[1]) , 4.0])\n"
    )
    (folder / "bad.py").write_text("raise SystemExit('no such file')\n")
    (folder / "slow.py").write_text("import time\ntime.sleep(60)\n")
    (folder / "mute.py").write_text("")
    settings = {"good": (["2"], 2, 30), "bad": ([], 1, 30), "slow": ([], 1, 0.2), "mute": ([], 1, 30)}
    monkeypatch.setattr(bench, "BENCHMARKS", settings)
    bench.main()
    text = (benchmarks / "README.md").read_text()
    assert text.startswith("before\n<!-- bench: begin -->\nLast run 20")
    assert text.endswith("<!-- bench: end -->\nafter\n")
    assert "old" not in text
    assert "| `good` | time | peer 1.2 | 3 (2 to 4, 4) |" in text
    for name, reason in {
        "bad": "failed: no such file",
        "slow": "took longer than 0.2 s",
        "mute": "failed: it said nothing",
    }.items():
        assert f"| `{name}` | {reason} | | |" in text
    facts = json.loads((folder / "results/bench.json").read_text())
    assert facts["rows"][0]["ratios"] == [2.0, 4.0, 2.0, 4.0]
    assert "Left out:" in (folder / "results/bench.md").read_text()
    # again: the section is replaced, not added
    bench.main()
    assert (benchmarks / "README.md").read_text().count("| `good`") == 1


def test_a_benchmark_run_alone_writes_nothing(monkeypatch, tmp_path):
    monkeypatch.delenv("BENCH_OUT", raising=False)
    monkeypatch.chdir(tmp_path)
    outcome.tell("peer", "1", "time", [1.0])
    assert not list(tmp_path.iterdir())
