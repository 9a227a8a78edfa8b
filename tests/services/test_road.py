"""Whole runs through the workflow on images that come over HTTP."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from process import running_server

from places import ROOT
from tandemlens.base.lineage import Places
from tandemlens.base.tables import read_table
from tandemlens.catalogue.trail import find_row, row_lineage
from tandemlens.catalogue.verify import verify_run
from trees import plant


def run(folder, example, server, **sections):
    """Run an example of the project in a tree of its own, its services played by the server."""
    settings = yaml.safe_load((ROOT / f"config/examples/{example}.yaml").read_text())
    fetch = {**settings.get("fetch", {}), "mirrors": server.mirrors, "backoff_seconds": 0.1, "cache": "cache"}
    # one shard, and one draw of what to expect: those are tested elsewhere, and take their time
    settings["samples"]["search"]["targets"]["nside"] = 1
    settings |= {"expect": {"lenses": 1, "draws": 1}, "colour": {"null_draws": 200}}
    tree = plant(folder / "tree")
    (tree.folder / "small.yaml").write_text(yaml.safe_dump({**settings, **sections, "fetch": fetch}))
    return tree, tree.snakemake(), tree.folder / settings["results"]


def answers(results, monkeypatch):
    """Service -> answers on the trail of the best candidate; the check names each one of which a byte has changed."""
    monkeypatch.chdir(results.parent)
    places, out = Places(results.name, "cache"), {}
    row = find_row(places, "1")
    own, _ = row_lineage(row, places)
    for path in (p for p in own.facts if p.startswith("cache/")):
        key = json.loads(Path(f"{path}.json").read_text())["key"]
        out.setdefault(key["service"], []).append(key)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert [line.split(": ")[0] for line in verify_run(places)[1]] == [path]
        Path(path).write_bytes(whole)
    assert verify_run(places)[1] == []
    # those of other targets are not on it
    assert all(key["ra"] == pytest.approx(row["ra"], abs=1e-6) for keys in out.values() for key in keys if "ra" in key)
    return out


@pytest.mark.real
def test_catalogue_tandems_of_redmapper(tmp_path, real, monkeypatch):
    """The example as it stands: the catalogue from VizieR, its 17 tandems from the Legacy Surveys, dust from IRSA."""
    with running_server(redmapper=real / "catalogues/sdss_redmapper.csv.gz") as server:
        tree, said, results = run(tmp_path, "legacy-redmapper", server)
        asked = server.state()["asked"]
        again = tree.snakemake()
        assert server.state()["asked"] == asked
    assert "17 of 26350 targets have a cluster behind them" in said
    assert "Nothing to be done" in again
    found = read_table(results / "catalogue/candidates.parquet")
    assert len(found) == 17
    assert (found["n_tandems"] >= 1).all()
    assert set(found["status"]) <= {"scored", "no_segments"}
    assert (found["ebv_source"] == "service").all()
    assert {"legacy", "irsa_dust", "vizier"} <= answers(results, monkeypatch).keys()
    area = read_table(results / "catalogue/coverage.parquet").set_index("band")["area"]
    assert area["all"] == pytest.approx(17 * (120 / 3600) ** 2, rel=0.02)


def test_the_demo_fetch(tmp_path, monkeypatch):
    """What `make demo-fetch` runs: every target ends with its status, whatever the server does meanwhile."""
    targets = ROOT / "resources/targets/demo.csv"
    with running_server(targets=targets, faults=0.1, slow=10) as server:
        _, _, results = run(tmp_path, "demo-fetch", server)
        assert sum(n for kind, n in server.state()["played"].items() if kind != "good")
    found = read_table(results / "catalogue/candidates.parquet").set_index("name")
    assert set(found.index) == set(pd.read_csv(targets)["name"])
    assert found.loc["outside the survey", "status"] == "no_coverage"
    assert (found.drop("outside the survey")["status"] == "scored").all()
    assert {key["product"] for key in answers(results, monkeypatch)["legacy"]} == {"cutout", "psf"}
    assert "These pixels are simulated" in (results / "report/index.html").read_text()
