"""The trail, the crate and the Snakemake report of a finished small run."""

import json
import zipfile
from pathlib import Path

import pytest

from rocrates import PROFILES, issues
from tandemlens.base.lineage import Places
from tandemlens.catalogue.trail import find_row, row_lineage, tell_trail
from tandemlens.catalogue.verify import verify_run

PLACES = Places("results", "cache")


@pytest.fixture
def here(tree, monkeypatch):
    """The finished tree, worked in."""
    monkeypatch.chdir(tree.folder)
    return tree


def test_a_finished_run_matches_its_sidecars(here):
    n, faults = verify_run(PLACES)
    assert faults == []
    assert n > 100


def test_a_flipped_byte_is_named_in_every_file_of_the_top_candidate(here):
    row = find_row(PLACES, "1")
    own, _ = row_lineage(row, PLACES)
    shard = f"results/mock/search/{row['shard']}"
    products = ("scores/colour", "features", "photometry", "measure", "segments", "match", "fetch", "targets")
    assert {f"{shard}/{name}.parquet" for name in products} | {"targets.csv"} <= set(own.facts)
    told = "\n".join(tell_trail(row, own, None))
    names = [
        str(f) for path in own.facts for f in ([path] if Path(path).is_file() else sorted(Path(path).glob("[!.]*")))
    ]
    for name in names:
        whole = Path(name).read_bytes()
        Path(name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert {line.split(": ")[0] for line in verify_run(PLACES)[1]} == {name}
        Path(name).write_bytes(whole)
        assert name in told or str(Path(name).parent) in told


def test_the_crate_holds_to_its_profiles(here, tmp_path):
    assert issues(here.folder / "results", PROFILES[-1], tmp_path / "cache") == []
    graph = json.loads((here.folder / "results/ro-crate-metadata.json").read_text())["@graph"]
    rules = {e["name"] for e in graph if e["@type"] == "SoftwareApplication" and e["@id"].startswith("#tool-")}
    assert {"plan", "targets", "render", "match", "score_colour", "catalogue", "report", "cards"} <= rules


def test_the_report_of_snakemake_holds_what_a_reader_wants(here):
    here.snakemake("--report", "report.zip")
    with zipfile.ZipFile("report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
        text = "".join(archive.read(n).decode() for n in archive.namelist() if n.endswith((".html", ".js")))
    wanted = {"candidates.csv", "candidates.fits", "evaluation.html", "simulation.html", "ro-crate-metadata.json"}
    assert wanted | {"colour.md", "sample_search.md", "sky.png"} <= names
    for words in ("every target once", "no fit has looked at", "where it fails", "searches survey images"):
        assert words in " ".join(text.split())
