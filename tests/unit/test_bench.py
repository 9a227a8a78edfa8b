"""The table of the side-by-side benchmarks."""

import json
import sys

import pytest

from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench
import costs
import outcome

HELPERS = {"bench", "outcome"}


def test_no_benchmark_is_forgotten():
    """One that is new is run, or is left out with a reason."""
    named = {name for names in bench.LEFT_OUT for name in names.split(", ")}
    found = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert found == HELPERS | named | set(bench.BENCHMARKS)
    assert not named & set(bench.BENCHMARKS)
    # what may go on for ever would: 25 minutes are what all may take together
    assert sum(repeats * limit for _, repeats, limit in bench.BENCHMARKS.values()) <= 25 * 60


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


def test_the_tables_of_costs_are_those_of_the_measurements():
    """`benchmarks/costs.py plan` and `stages` write them; costs measured anew alone fail here."""
    text = costs.DOCUMENT.read_text()
    assert costs.fill(text, "plan", costs.plan_tables(costs.read("costs"), costs.read("million"))) == text
    assert costs.fill(text, "stages", costs.stage_table(costs.read("stages"))) == text


def test_stages_of_a_run_have_the_disk_of_their_products(tmp_path, monkeypatch):
    """Wall time is from the first product to the last; a product that is a folder counts whole."""
    monkeypatch.setattr(costs, "RESULTS", tmp_path)
    (tmp_path / "run/benchmarks/match").mkdir(parents=True)
    for name, seconds in {"match/one.jsonl": 10, "match/two.jsonl": 20, "fit.jsonl": 6}.items():
        facts = {"s": seconds + 1, "cpu_time": seconds, "max_rss": 100 + seconds}
        (tmp_path / "run/benchmarks" / name).write_text(json.dumps(facts) + "\n")
    (tmp_path / "run/model").mkdir()
    for product, rule, started, n in (("one.h5", "match", 0, 3), ("two.h5", "match", 8, 4), ("model/a", "fit", 30, 2)):
        (tmp_path / "run" / product).write_bytes(bytes(n << 20))
        facts = {"rule": rule, "started": f"2026-01-01T00:00:{started:02d}+00:00", "seconds": 30.0}
        (tmp_path / "run" / f"{product.split('/')[0]}.prov.json").write_text(json.dumps(facts))
    costs.stages(tmp_path / "run")
    facts = costs.read("stages")
    assert facts["wall"] == 60
    rows = [line for line in costs.stage_table(facts).splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "| match | 2 | 32 | 30 | 83% | 120 | 7.0 |",
        "| fit | 1 | 7 | 6 | 17% | 106 | 2.0 |",
        "| all | 3 | 39 | 36 | 100% | 120 | 9.0 |",
    ]


def test_costs_of_a_rule_are_those_that_made_its_times(tmp_path):
    """3 s to start and half a second a system; a job that says NA is left out, and bytes are of the larger shards."""
    sizes = {("train", "hp8_00001"): 60, ("train", "hp8_00002"): 50, ("search", "hp8_00003"): 2}
    for (sample, shard), n in sizes.items():
        folder = tmp_path / "benchmarks/match" / sample
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"cpu_time": 3 + 0.5 * n, "max_rss": 100 + n}
        (folder / f"{shard}.jsonl").write_text(json.dumps(facts) + "\n")
        (tmp_path / "sky" / sample / shard).mkdir(parents=True)
        (tmp_path / "sky" / sample / shard / "a.h5").write_bytes(bytes(1000 * n if n > 2 else 10**6))
    (tmp_path / "benchmarks/match/train/hp8_00009.jsonl").write_text('{"cpu_time": "NA", "max_rss": "NA"}\n')
    sizes["train", "hp8_00009"] = 1
    found = costs.rule_costs(tmp_path, sizes)
    assert found == {"match": {"jobs": 3, "systems": 112, "start": 3.0, "system": 0.5, "mib": 160.0}}
    assert costs.file_costs(tmp_path, "sky", sizes) == {"a.h5": 1000}


def test_the_plan_of_a_campaign():
    measured = {"jobs": 9, "systems": 90, "start": 9.0, "system": 0.9, "mib": 300.0}
    files = dict.fromkeys(costs.STACKS, 2**20) | {"systems.parquet": 10**9, "features.parquet": 1024}
    rules = {**dict.fromkeys(costs.ROAD, measured), "score_colour": measured, "render": measured}
    facts = {"systems": 90, "survey": "sky", "date": "2026-01-01", "machine": "m", "rules": rules, "files": files}
    million = {"targets": 10**6, "shards": 2700, "date": "2026-01-01", "machine": "m"}
    million["rules"] = [{"rule": "catalogue", "seconds": 100.4, "gib": 2.345}]
    lines = costs.plan_tables(facts, million).splitlines()
    # 25 shards of 9 s each and 9,000 s of systems, for each of four stages
    assert "| CPU hours from pixels to features | 10 | 102 | 1,025 |" in lines
    assert "| stacks (GiB) | 29 | 293 | 2,930 |" in lines
    assert "| tables and sidecars (GiB) | 0.0095 | 0.095 | 0.95 |" in lines
    assert "| shards | 25 | 250 | 2,500 |" in lines
    assert any(line.startswith("| catalogue | 100 | 2.3") for line in lines)
    assert not any("render" in line for line in lines)
