"""docs/validation.md: parts made from the tables of an evaluation, a kind of systems each."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from places import ROOT
from tandemlens.base.columns.evaluation import HELD_OUT, HELD_OUT_SCORES, TABLES
from tandemlens.base.errors import InputError
from tandemlens.base.tables import write_table
from tandemlens.catalogue.validation import IDEAL, KINDS, fill_validation
from tandemlens.learn.evaluate import write_evaluation

PAGE = """# Page
<!-- simulated sky: made by make validation -->
old words
<!-- end of simulated sky -->
<!-- real sky: made by make validation -->
of real ones
<!-- end of real sky -->
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Evaluation of 300 systems, every third a tandem, of a head that knows all and one that knows nothing."""
    folder, n, rng = tmp_path_factory.mktemp("evaluation"), 300, np.random.default_rng(1)
    label = np.arange(n) % 3 == 0
    systems = pd.DataFrame({"target_id": [f"t{k}" for k in range(n)], "role": "test", "label": label, "survey": "sky"})
    systems["group"] = [f"g{k // 6}" for k in range(n)]
    systems["class"] = np.where(label, "tandem", np.where(np.arange(n) % 3 == 1, "projected", "members"))
    systems = systems.assign(theta_e=8.0, snr_brightest=np.where(np.arange(n) % 2, 40.0, 10.0), mag_brightest=21.0)
    systems = systems.assign(fwhm=0.8, probability=np.where(label, 0.9, 0.1), probability_low=0.0, probability_high=1.0)
    scores = pd.DataFrame({"target_id": systems["target_id"], "fused": label * 1.0, "classic": rng.normal(size=n)})
    write_table(folder / "held_out.parquet", systems, HELD_OUT)
    write_table(
        folder / "scores.parquet", scores.melt("target_id", var_name="head", value_name="score"), HELD_OUT_SCORES
    )
    paths = {name: folder / f"{name}.parquet" for name in TABLES}
    write_evaluation(folder / "held_out.parquet", folder / "scores.parquet", paths, 1)
    return folder


def test_a_part_holds_the_numbers_of_the_tables_and_nothing_else_changes(tables):
    text = fill_validation(PAGE, "simulated", "sky", tables)
    assert "old words" not in text
    assert text.endswith(PAGE[PAGE.index("\n<!-- real sky") :])
    assert "Simulated systems: 300, 100 of them tandems, in 50 groups of sky;" in text
    assert "| all tandems (100) |" in text
    assert "| tandems that experts recover (50) |" in text
    fused = next(line for line in text.splitlines() if line.startswith("| fused | "))
    assert fused.count("1.00") >= 3
    assert "1.000" in fused
    assert re.search(r"\| fused against projected \| 100 \| 1\.00", text)
    assert "expected calibration error 0.100" in text
    assert fill_validation(text, "simulated", "sky", tables) == text


def test_where_an_ideal_observer_stands_what_it_is_told_is_said(tables, tmp_path):
    assert "is no head" not in fill_validation(PAGE, "simulated", "sky", tables)
    for path in tables.iterdir():
        shutil.copy(path, tmp_path)
    metrics = pd.read_parquet(tmp_path / "metrics.parquet")
    ideal = metrics[metrics["head"] == "classic"].assign(head=IDEAL)
    write_table(tmp_path / "metrics.parquet", pd.concat([metrics, ideal]), TABLES["metrics"])
    text = fill_validation(PAGE, "simulated", "sky", tmp_path)
    assert text.count(f"| {IDEAL} |") == 2
    assert re.findall(rf"\| {IDEAL} against (\w+) \|", text) == ["projected"]
    assert "The ideal observer is no head: trees on the same systems that are told redshift and richness" in text


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("drawn", "sky", "drawn is no kind of systems; use one of simulated, injected, real"),
        ("injected", "sky", "docs/validation.md has no part injected sky; write its marks <!-- injected sky: made"),
    ],
)
def test_a_part_that_there_is_not_is_refused(tables, kind, name, said):
    with pytest.raises(InputError, match=said):
        fill_validation(PAGE, kind, name, tables)


def test_an_evaluation_without_a_ranking_is_refused(tables, tmp_path):
    for name in ("held_out", "metrics"):
        frame = pd.read_parquet(tables / f"{name}.parquet").head(0)
        write_table(tmp_path / f"{name}.parquet", frame, HELD_OUT if name == "held_out" else TABLES[name])
    with pytest.raises(InputError, match=r"metrics.parquet is empty; its metadata say why, and a part needs a ranking"):
        fill_validation(PAGE, "simulated", "sky", tmp_path)


def test_no_part_of_the_document_is_a_promise_or_of_another_kind():
    text = (ROOT / "docs/validation.md").read_text()
    parts = re.findall(r"<!-- (\w+) (\S+): made by make validation -->\n(.*?)<!-- end of \1 \2 -->", text, re.S)
    assert len(parts) == text.count("made by make validation -->")
    for kind, name, body in parts:
        assert kind in KINDS
        assert body.strip().startswith(f"{kind.capitalize()} systems: "), name
