"""The crate of a run: what it says, that it holds to its profiles, and how it grows."""

import json
import re
import time
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate
from rocrate_validator.models import Severity

from places import ROOT
from rocrates import PROFILES, issues
from runs import PLACES, ROAD, finish, make
from tandemlens.base.errors import InputError
from tandemlens.base.lineage import Lineage
from tandemlens.base.sidecar import digest_of, job_facts, sidecar_of
from tandemlens.catalogue.crate import _Crate, copy_code, write_crate

CFG = {"survey": "sky", "title": None, "creators": ["A. Stronomer"], "licence": "https://spdx.org/licenses/CC-BY-4.0"}
ENDS = ["results/catalogue/candidates.parquet"]
CODE, CRATE = "results/code", "results/ro-crate-metadata.json"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finish()
    copy_code(ROOT, CODE)


def crate(most_files=20_000, **changes):
    """Entities of the crate by their ids."""
    write_crate(ENDS, PLACES, CODE, CRATE, {**CFG, **changes}, most_files)
    return {e["@id"]: e for e in json.loads(Path(CRATE).read_text())["@graph"]}


def ids(value):
    return {v["@id"] for v in (value if isinstance(value, list) else [value])}


def action(entities, rule, number=0):
    return [e for key, e in entities.items() if key.startswith(f"#{rule}-")][number]


def test_every_product_is_there_with_its_digest(run):
    entities = crate()
    for path in (p for p in Path("results").rglob("*") if sidecar_of(p).is_file() and str(p) != CRATE):
        name = f"{path.relative_to('results')}{'/' if path.is_dir() else ''}"
        assert entities[name]["sha256"] == digest_of(path)
        assert {"@id": name} in entities["./"]["hasPart"]
    assert ids(entities["models/colour/"]["hasPart"]) == {"models/colour/model.json", "models/colour/weights.bin"}


def test_a_job_tells_what_it_used_and_made(run):
    entities = crate()
    fetch = action(entities, "fetch")
    assert ids(fetch["result"]) == {f"sky/search/hp8_00001/{name}" for name in ("cutouts.h5", "fetch.parquet")}
    given = [entities[key] for key in ids(fetch["object"])]
    assert {e["name"] for e in given} == {"sky/search/hp8_00001/targets.parquet", "cache/a.fits", "cache/b.fits"}
    answer = next(e for e in given if e["name"] == "cache/a.fits")
    assert answer["sha256"] == digest_of("cache/a.fits")
    assert answer["description"].startswith("answer of https://sky.example/cutout to")
    score = action(entities, "score")
    assert any(entities[key].get("value") == '{"depth": 3}' for key in ids(score["object"]))
    tool = entities[score["instrument"]["@id"]]
    assert re.fullmatch("[0-9a-f]{16}", tool["softwareVersion"])
    assert "numpy" in entities[tool["softwareRequirements"]["@id"]]["name"]
    assert ids(entities["#run"]["result"]) == {"catalogue/candidates.parquet"}


@pytest.mark.parametrize("most_files", [20_000, 3], ids=["by file", "by shard"])
def test_it_holds_to_all_its_profiles(run, tmp_path, most_files):
    crate(most_files)
    # the last one inherits the others
    assert issues(Path("results"), PROFILES[-1], tmp_path / "cache") == []


def test_what_is_recommended_is_there_but_for_addresses_that_there_are_not(run, tmp_path):
    crate()
    found = issues(Path("results"), PROFILES[-2], tmp_path / "cache", Severity.RECOMMENDED)
    known = ("SHOULD have a url", "id SHOULD be an absolute URI", "affiliation", "`publisher`", "Bioschemas", "README")
    assert [line for line in found if not any(word in line for word in known)] == []


def test_the_validator_would_see_a_fault(run, tmp_path):
    crate()
    facts = json.loads(Path(CRATE).read_text())
    for entity in facts["@graph"]:
        if entity["@id"].startswith("#fetch-"):
            del entity["instrument"]
    Path(CRATE).write_text(json.dumps(facts))
    assert any("instrument" in line for line in issues(Path("results"), PROFILES[1], tmp_path / "cache"))


def test_the_library_reads_it_back(run):
    entities = crate()
    found = ROCrate("results")
    assert found.mainEntity["name"] == "tandemlens"
    assert found.license["name"] == CFG["licence"]
    assert len(list(found.get_entities())) == len(entities)


def test_settings_say_who_and_how(run):
    root = crate(title="My run", creators=[], licence=None)["./"]
    assert root["name"] == "My run"
    assert root["license"] == "not stated: ask those who made the run"
    assert "author" not in root


def test_a_large_run_tells_its_shards_as_wholes(run):
    entities = crate(most_files=3)
    shard = entities["sky/search/hp8_00001/"]
    assert shard["description"].startswith("5 products; each has a sidecar")
    assert ids(entities["sky/search/"]["hasPart"]) == {"sky/search/hp8_00001/", "sky/search/hp8_00002/"}
    assert f"{ROAD}/hp8_00001/fetch.parquet".removeprefix("results/") not in entities
    assert len([key for key in entities if key.startswith("#fetch-")]) == 1
    assert "sky/search/" in ids(action(entities, "catalogue")["object"])
    before = shard["sha256"]
    make("score", [f"{ROAD}/hp8_00001/scores.parquet"], [f"{ROAD}/hp8_00001/cutouts.h5"], "anew")
    assert crate(most_files=3)["sky/search/hp8_00001/"]["sha256"] != before


def test_two_crates_of_one_run_are_equal(run):
    crate()
    first = Path(CRATE).read_bytes()
    crate()
    assert Path(CRATE).read_bytes() == first


def test_products_of_another_run_are_given(run):
    """Its crate tells how they were made."""
    make("fit", ["other/models/classic"], ["list.csv"], {"model.json": "{}"})
    make("fuse", ["other/models/fusion", "other/held_out.parquet"], ["other/models/classic"])
    scores = f"{ROAD}/hp8_00001/scores.parquet"
    make("score", [scores], [f"{ROAD}/hp8_00001/cutouts.h5", "other/models/classic", "other/models/fusion"], "anew")
    entities = crate()
    given = {entities[key]["name"]: key for key in ids(action(entities, "score")["object"]) if key in entities}
    assert {"other/models/classic", "other/models/fusion"} <= given.keys()
    assert entities[given["other/models/classic"]]["sha256"] == digest_of("other/models/classic")
    assert not any(key.startswith("#fuse-") or "held_out" in key for key in entities)
    assert [key.split("-")[0] for key in entities if key.startswith("#fit")] == ["#fit_colour"]


def test_a_missing_sidecar_is_said(run):
    sidecar_of(f"{ROAD}/hp8_00002/cutouts.h5").unlink()
    with pytest.raises(InputError, match=r"the crate cannot be made: .*hp8_00002/cutouts\.h5 has no sidecar"):
        crate()


def test_the_code_is_copied_without_what_python_left(run):
    assert (Path(CODE) / "Snakefile").read_text() == (ROOT / "Snakefile").read_text()
    assert (Path(CODE) / "workflow/scripts/tandemlens/base/job.py").is_file()
    assert not list(Path(CODE).rglob("__pycache__"))


def test_a_million_clusters_make_a_crate_of_a_few_megabytes(run):
    """5,000 shards of 12 products: 60,000 files."""
    facts, lineage = job_facts("score", 0.0, [], {}), Lineage()
    for shard in range(5000):
        for k in range(12):
            path = f"{ROAD}/hp8_{shard:05d}/{k}.parquet"
            lineage.facts[path] = {**facts, "outputs": [path], "sha256": f"{shard:064d}", "inputs": {}}
            lineage.digests[path] = f"{shard:064d}"
    lineage.facts[ENDS[0]] = {**facts, "rule": "catalogue", "sha256": "0" * 64, "inputs": dict(lineage.digests)}
    start = time.process_time()
    text = json.dumps(_Crate(lineage, PLACES, CFG, True).describe(ENDS, CODE))
    assert len(text) < 3e6
    assert time.process_time() - start < 10
