"""What heads say of themselves, read without importing them, and the runs that cannot have them."""

import re

import pytest

from places import ROOT
from tandemlens.base.columns.registry import TARGET, Column
from tandemlens.base.config import load_schema
from tandemlens.base.errors import SettingsError
from tandemlens.heads import classic, colour, trend
from tandemlens.heads.declaration import (
    RUN_PRODUCTS,
    SHARD_PRODUCTS,
    Declaration,
    check_heads,
    head_names,
    read_declaration,
)
from tandemlens.learn.evidence import SCORE_KINDS

SCRIPTS = ROOT / "workflow/scripts"
HEADS = head_names(SCRIPTS)
ODD = (Column("odd", "float64", "", "odds"),)


@pytest.mark.parametrize("head", [classic, colour, trend])
def test_what_is_read_is_what_the_module_has(head):
    assert read_declaration(head.DECLARATION.name, SCRIPTS) == head.DECLARATION


@pytest.mark.parametrize("name", HEADS)
def test_the_project_has_what_a_head_declares(name):
    head = read_declaration(name, SCRIPTS)
    assert head.kind in SCORE_KINDS
    assert head.table == [TARGET, *head.columns]
    assert (ROOT / f"envs/{head.environment}.yaml").is_file()
    assert name in load_schema(ROOT / "config/schemas/config.schema.yaml")["properties"]


@pytest.mark.parametrize("name", HEADS)
def test_scripts_ask_for_no_more_than_is_declared(name):
    """An input that a script names and the declaration does not is absent only when the job runs."""
    head = read_declaration(name, SCRIPTS)
    given = {p if s == "run" else f"{s}_{p}" for s, products in head.fit_on.items() for p in products}
    known = {f"{s}_{p}" for s in ("train", "search", "graded") for p in SHARD_PRODUCTS} | set(RUN_PRODUCTS)
    fits, scores = (SCRIPTS / f"heads/head_{name}.py").read_text().split("\n    else:\n")
    named = set(re.findall(r"\w+", fits)) & known
    # what is there for some settings only is asked for with a default
    optional = set(re.findall(r'get\("(\w+)", \[\]\)', fits))
    assert given - optional <= named <= given | optional
    named = set(re.findall(r"given\.(\w+)", scores))
    assert named - {"get"} == {*head.score_on, "model"}


@pytest.mark.parametrize("name", ["nonsense", "declaration"])
def test_a_head_that_there_is_not_is_refused(name):
    with pytest.raises(SettingsError, match=f"config.heads: {name} is no head; use some of anomaly, baseline, classic"):
        read_declaration(name, SCRIPTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NAME = 'odd'", "odd.py has no DECLARATION; add one as in classic.py"),
        ("DECLARATION = Declaration(name=NAME)", "DECLARATION in odd.py: .*; give literals and columns alone"),
        ("DECLARATION = Declaration(name='odd', colour=1)", "DECLARATION in odd.py: .*'colour'; give literals"),
        (
            "DECLARATION = Declaration(name='odd')",
            "DECLARATION in odd.py: .*'score'.*; give literals and columns alone",
        ),
        (
            "DECLARATION = Declaration(name='odd', score='even', MORE)",
            "DECLARATION in odd.py: its columns odd lack its score even; add it",
        ),
        (
            "DECLARATION = Declaration(name='even', score='odd', MORE)",
            "DECLARATION in odd.py names even and asks for what there is; a head has the name of its file",
        ),
        (
            "DECLARATION = Declaration(name='odd', score='odd', MORE, fit_on={'train': ('spectra',)})",
            "DECLARATION in odd.py names odd and asks for train: spectra; .* may ask for folds, expected, grades, ",
        ),
        (
            "DECLARATION = Declaration(name='odd', score='odd', MORE, fit_on={'known': ('systems',)})",
            "asks for sample known; ",
        ),
        (
            "DECLARATION = Declaration(name='odd', score='odd', MORE, score_on=('expected', 'pixels'))",
            "asks for expected, pixels; ",
        ),
    ],
)
def test_a_declaration_that_cannot_be_met_is_refused(tmp_path, text, said):
    folder = tmp_path / "tandemlens/heads"
    folder.mkdir(parents=True)
    (folder / "odd.py").write_text(
        text.replace("MORE", "kind='real', bands=2, columns=(Column('odd', 'float64', '', 'odds'),)") + "\n"
    )
    with pytest.raises(SettingsError, match=said):
        read_declaration("odd", tmp_path)


def test_a_declaration_is_read_without_running_the_module(tmp_path):
    folder = tmp_path / "tandemlens/heads"
    folder.mkdir(parents=True)
    facts = "name='odd', score='odd', kind='real', bands=3, "
    facts += (
        "columns=(Column('odd', 'float64', unit='', description='odds'),), fit_on={'train': ('features',)}, fused=False"
    )
    (folder / "odd.py").write_text(f"import nothing_of_the_kind\nDECLARATION = Declaration({facts})\n1 / 0\n")
    head = read_declaration("odd", tmp_path)
    assert head == Declaration("odd", "odd", "real", 3, ODD, {"train": ("features",)}, fused=False)
    assert head.trained
    assert not Declaration("odd", "odd", "real", 3, ODD, {"search": ("features",)}).trained


@pytest.mark.parametrize(
    ("names", "bands", "said"),
    [
        (["colour", "classic"], ["g"], "config.heads: colour needs 2 bands and the run has 1; add bands to samples"),
        (["classic", "trend"], ["g", "r"], "config.heads lacks colour; every run has it"),
        (["colour", "trend", "classic", "trend"], ["g", "r"], "config.heads names trend twice; once is enough"),
    ],
)
def test_heads_that_a_run_cannot_have_are_refused(names, bands, said):
    with pytest.raises(SettingsError, match=said):
        check_heads([read_declaration(name, SCRIPTS) for name in names], bands, dict.fromkeys(names))


def test_every_head_can_be_had_at_once():
    check_heads([read_declaration(name, SCRIPTS) for name in HEADS], ["g", "r", "i"], dict.fromkeys(HEADS))


def test_a_head_without_settings_is_refused():
    with pytest.raises(
        SettingsError, match=r"schemas/heads has no trend.schema.yaml for the settings of the head; add"
    ):
        check_heads([read_declaration("trend", SCRIPTS)], ["g", "r"], {"colour": {}})
