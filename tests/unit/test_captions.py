"""Captions of the Snakemake report: each one that is named is there, and each one that is there is named."""

import re

from docutils.core import publish_doctree
from jinja2 import Environment, StrictUndefined

from places import ROOT

CAPTIONS = sorted((ROOT / "workflow/report").glob("*.rst"))


def test_captions_are_there_and_used():
    rules = [*(ROOT / "workflow/rules").glob("*.smk"), ROOT / "Snakefile"]
    named = re.findall(r'(?:caption=|^report: )"(?:\.\./|workflow/)report/(\w+\.rst)"', "".join(map(read, rules)), re.M)
    assert set(named) == {path.name for path in CAPTIONS}


def test_captions_are_sound_text():
    facts = {"survey": "mock", "release": "simulated", "heads": ["colour"], "candidates": 60}
    snakemake = {"params": {"cfg": facts}, "config": {}}
    for path in CAPTIONS:
        text = (
            Environment(undefined=StrictUndefined, autoescape=False).from_string(read(path)).render(snakemake=snakemake)
        )
        publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 2})


def read(path):
    return path.read_text(encoding="utf-8")
