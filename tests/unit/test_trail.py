"""Sidecars, the trail of a row and the check of all digests, on a small made-up run."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from places import ROOT
from runs import PLACES, ROAD, finish, make
from tandemlens.base.errors import InputError, SettingsError
from tandemlens.base.lineage import Places, trace_back
from tandemlens.base.sidecar import (
    code_version,
    digest_of,
    digest_of_files,
    job_facts,
    read_sidecar,
    sidecar_of,
    write_sidecar,
)
from tandemlens.catalogue.trail import find_row, places_of, row_lineage, tell_trail
from tandemlens.catalogue.verify import verify_lineage, verify_row, verify_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of two shards, in the working folder."""
    monkeypatch.chdir(tmp_path)
    finish()


def flip(path, at=0):
    content = bytearray(Path(path).read_bytes())
    content[at] ^= 1
    Path(path).write_bytes(content)


def faults():
    return verify_run(PLACES)[1]


# sidecars


def test_the_digest_of_a_folder_is_that_of_its_listing(tmp_path):
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "deep/a.txt").write_text("a")
    (folder / ".hidden").write_text("not part of it")
    listing = subprocess.run(["sha256sum", "b.txt", "deep/a.txt"], cwd=folder, capture_output=True, check=True).stdout
    (tmp_path / "listing").write_bytes(listing)
    assert digest_of(folder) == digest_of(tmp_path / "listing")
    before = digest_of(folder)
    (folder / "b.txt").rename(folder / "c.txt")
    assert digest_of(folder) != before


def test_a_sidecar_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("x")
    facts = job_facts("match", 0.0, [path], {"in": "00"}, {"shard": "s"}, {"match.py": "1"}, {"tuple": (1, 2)})
    write_sidecar(path, facts)
    told = read_sidecar(path)
    assert told["sha256"] == digest_of(path)
    assert told["settings"] == {"tuple": [1, 2]}
    assert told["inputs"] == {"in": "00"}
    assert told["started"] == "1970-01-01T00:00:00+00:00"
    assert told["versions"]["numpy"]


def test_every_flipped_byte_of_a_sidecar_is_seen(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("x")
    write_sidecar(path, job_facts("match", 0.0, [path], {}))
    sidecar = sidecar_of(path)
    whole = sidecar.read_bytes()
    for at in range(0, len(whole), 5):
        flip(sidecar, at)
        with pytest.raises(InputError, match=r"a\.h5\.prov\.json (is not as it was written|cannot be read).*anew"):
            read_sidecar(path)
        sidecar.write_bytes(whole)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"sha256": "0"}'])
def test_a_broken_sidecar_is_refused(tmp_path, text):
    (tmp_path / "a.h5.prov.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.h5\.prov\.json cannot be read .*; make the product anew"):
        read_sidecar(tmp_path / "a.h5")


def test_a_missing_sidecar_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.h5 has no sidecar a\.h5\.prov\.json; make the product anew"):
        read_sidecar(tmp_path / "a.h5")


def test_the_version_of_code_is_that_of_its_digests():
    assert (
        code_version({"a": "1", "b": "2"}) == code_version({"b": "2", "a": "1"}) != code_version({"a": "2", "b": "1"})
    )
    assert code_version(None) == ""


# the trail of a row


def test_a_row_is_found_by_id_name_and_rank(run):
    assert [find_row(PLACES, text)["target_id"] for text in ("a", "A one", "3")] == ["a", "a", "c"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("A on", "'A on' is no target of .*candidates.parquet; did you mean A one"),
        ("xyz", "'xyz' is no target of .*; give a target_id, a name or a rank"),
        ("twin", "2 rows of .* are named 'twin'; give a target_id: b, c"),
    ],
)
def test_a_strange_target_is_refused(run, target, message):
    with pytest.raises(InputError, match=message):
        find_row(PLACES, target)


def test_without_a_catalogue_there_is_no_trail(tmp_path):
    with pytest.raises(InputError, match=r"there is no catalogue .*candidates\.parquet; finish the run"):
        find_row(Places(str(tmp_path), "cache"), "a")


def test_the_trail_goes_from_the_row_to_its_answer_and_to_no_other(run):
    own, rest = row_lineage(find_row(PLACES, "a"), PLACES)
    first = f"{ROAD}/hp8_00001"
    assert set(own.facts) == {
        *("results/catalogue/candidates.parquet", "results/models/colour", "list.csv", "cache/a.fits", "cache/a.xml"),
        *(
            f"{first}/{name}"
            for name in ("scores.parquet", "cutouts.h5", "fetch.parquet", "dust.parquet", "targets.parquet")
        ),
        f"{ROAD}/targets.parquet",
    }
    assert {"cache/b.fits", "cache/b.xml", "cache/c.fits", f"{ROAD}/hp8_00002/scores.parquet"} <= set(rest.facts)
    assert not set(own.facts) & set(rest.facts)


def test_a_trail_is_told_with_digests_code_settings_and_versions(run):
    row = find_row(PLACES, "a")
    text = "\n".join(tell_trail(row, *row_lineage(row, PLACES)))
    assert text.startswith("a (A one): rank 1, status scored, shard hp8_00001")
    assert digest_of("cache/a.fits") in text
    assert (
        'answer    of https://sky.example/cutout, fetched 2026-01-01T00:00:00+00:00, asked {"ra": 0.0, "dec": 2.0}'
        in text
    )
    assert 'settings  {"depth": 3}' in text
    assert "0123  score.py" in text
    assert "Software #1: " in text
    assert "numpy" in text
    assert "from      1 files of other targets and shards" in text
    assert f"{digest_of('cache/c.fits')}  cache/c.fits" in text
    assert "cache/c.fits" not in "\n".join(tell_trail(row, *row_lineage(row, PLACES)[:1], None))


def test_problems_are_told_where_they_are(run):
    row = find_row(PLACES, "a")
    sidecar_of(f"{ROAD}/hp8_00001/cutouts.h5").write_text("{")
    sidecar_of(f"{ROAD}/hp8_00002/cutouts.h5").unlink()
    Path("cache/a.fits.json").write_text("[")
    text = "\n".join(tell_trail(row, *row_lineage(row, PLACES)))
    assert "PROBLEM   sidecar results/sky/search/hp8_00001/cutouts.h5.prov.json cannot be read" in text
    assert "PROBLEM   results/sky/search/hp8_00002/cutouts.h5 has no sidecar" in text
    assert "PROBLEM   cache/a.fits.json cannot be read" in text


def test_places_are_those_of_the_settings(tmp_path):
    settings = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**settings, "results": "mine", "fetch": {"cache": "kept"}}))
    assert places_of(path) == Places("mine", "kept")
    with pytest.raises(SettingsError, match="cannot be read"):
        places_of(tmp_path / "other.yaml")


# the check


def test_a_run_as_made_matches(run):
    n, found = verify_run(PLACES)
    # 15 products, one of them a folder of two files, the list of the user and six answers
    assert (n, found) == (23, [])


def test_a_flipped_byte_is_named_in_every_file_of_the_trail(run):
    own, rest = row_lineage(find_row(PLACES, "a"), PLACES)
    for path in [*own.facts, *rest.facts]:
        for file in [path] if Path(path).is_file() else sorted(Path(path).iterdir()):
            flip(file)
            assert [line.split(": ")[0] for line in faults()] == [str(file)]
            flip(file)
        if sidecar_of(path).is_file():
            flip(sidecar_of(path), 30)
            assert any(f"{path}.prov.json" in line for line in faults())
            flip(sidecar_of(path), 30)
    assert faults() == []


def test_other_products_of_a_job_are_checked_too(run):
    flip("results/catalogue/candidates.csv")
    assert [line.split(":")[0] for line in faults()] == ["results/catalogue/candidates.csv"]


def test_what_is_gone_or_new_is_named(run):
    Path("cache/b.fits").unlink()
    Path("results/models/colour/weights.bin").unlink()
    Path("results/models/colour/more.bin").write_text("x")
    assert sorted(line.split(";")[0] for line in faults()) == [
        "cache/b.fits: gone",
        "results/models/colour/more.bin: not there when results/models/colour was made",
        "results/models/colour/weights.bin: gone",
    ]


def test_a_product_of_other_inputs_than_are_there_is_named(run):
    make("score", [f"{ROAD}/hp8_00001/scores.parquet"], [f"{ROAD}/hp8_00001/cutouts.h5"], "anew")
    found = faults()
    later = {"results/catalogue/candidates.parquet", "results/catalogue/candidates.csv", "results/models/colour"}
    assert {line.split(":")[0] for line in found} == later
    assert all("made from another results/sky/search/hp8_00001/scores.parquet" in line for line in found)


def test_models_that_are_kept_may_be_of_other_inputs(run):
    make("score", [f"{ROAD}/hp8_00001/scores.parquet"], [f"{ROAD}/hp8_00001/cutouts.h5"], "anew")
    told = {line.split(":")[0] for line in verify_run(replace(PLACES, refit=False))[1]}
    assert told == {"results/catalogue/candidates.parquet", "results/catalogue/candidates.csv"}


def test_only_the_trail_of_a_row_is_checked_where_it_is_asked(run):
    flip("cache/b.fits")
    own, _ = row_lineage(find_row(PLACES, "a"), PLACES)
    assert verify_lineage(own, PLACES) == (12, [])


@pytest.mark.parametrize("table", ["results/catalogue/candidates.parquet", f"{ROAD}/hp8_00001/fetch.parquet"])
@pytest.mark.parametrize("spoil", [flip, lambda path: Path(path).write_bytes(b"no table")])
def test_a_damaged_table_on_the_way_to_the_row_is_named(run, table, spoil):
    spoil(table)
    assert [line.split(": ")[0] for line in verify_row("a", PLACES)[1]] == [table]


def test_an_unfinished_run_is_not_checked(run):
    sidecar_of(PLACES.crate).unlink()
    with pytest.raises(
        InputError, match=r"there is no results/ro-crate-metadata\.json with its sidecar.*run it to its"
    ):
        verify_run(PLACES)


def test_a_file_given_to_two_products_is_told_once(run):
    lineage = trace_back([PLACES.catalogue], PLACES)
    assert lineage.facts["list.csv"] is None
    assert lineage.digests["list.csv"] == digest_of("list.csv")
    assert digest_of_files({"a": "0"}) != digest_of_files({"a": "1"})


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("trail.py", ["nobody"], "tandemlens trace: 'nobody' is no target"),
        ("verify.py", [], "All 23 files match."),
        ("verify.py", ["a"], "All 12 files match."),
    ],
)
def test_the_scripts_say_what_they_find(run, script, words, message):
    Path("run.yaml").write_text("samples: {search: {survey: mock, targets: {catalogue: x.csv}}}\n")
    command = [sys.executable, str(ROOT / "workflow/scripts" / script), *words, "--configfile", "run.yaml"]
    env = {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert message in done.stdout + done.stderr
    assert (done.returncode != 0) == ("nobody" in words)
    assert "Traceback" not in done.stderr
