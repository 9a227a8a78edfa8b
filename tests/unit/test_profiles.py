"""Profiles and rules agree: what a rule needs, how it grows, and which stages are submitted together."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from places import ROOT
from tandemlens.heads.declaration import read_declaration

TEXT = {path.stem: path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk")}
RULES = {
    match[2]: match[3]
    for text in TEXT.values()
    for match in re.finditer(r"^( *)rule (\w+):\n(.*?)(?=^\1?\S|\Z)", text, re.MULTILINE | re.DOTALL)
}
PROFILES = {name: yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in ("default", "slurm")}
SCRIPTS = ROOT / "workflow/scripts"
HEADS = sorted(p.stem for p in (SCRIPTS / "tandemlens/heads").glob("*.py") if p.stem not in ("__init__", "declaration"))
SLURM = PROFILES["slurm"]


def is_local(rule):
    return "localrule: True" in RULES[rule]


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"all"}))
def test_every_rule_says_what_it_needs(rule):
    assert re.search(r"resources:\n +mem_mb=memory\(.*\),\n +runtime=minutes\(", RULES[rule]), rule


def test_the_process_of_one_job_imports_nothing_that_takes_long():
    """On a cluster every job starts Snakemake twice."""
    modules = re.findall(r"^from (tandemlens[\w.]+) import", TEXT["common"], re.MULTILINE)
    slow = ("astropy", "numpy", "pandas", "pyarrow", "requests", "scipy")
    asked = f"import sys, {', '.join(modules)}; print(*(name for name in {slow} if name in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=environment)
    assert "tandemlens.survey.plan" in modules
    assert done.stdout.split() == []


def test_retries_are_the_profile_s_alone():
    assert not any("retries:" in text for text in TEXT.values())
    assert SLURM["retries"] > 0


def test_profiles_agree_on_what_makes_a_product_stale():
    for key in ("rerun-triggers", "rerun-incomplete", "scheduler"):
        assert SLURM[key] == PROFILES["default"][key]
    # a limit of GPUs is that of one machine
    assert "gpu" in PROFILES["default"]["resources"]
    assert "resources" not in SLURM


def test_stages_of_a_shard_are_submitted_together():
    heads = {f"score_{head}" for head in HEADS}
    stages = {rule for rule, text in RULES.items() if "{{shard}}" in text and not is_local(rule)}
    # where it fetches over the network it runs on the login node, which a job of several stages cannot
    alone = {"fetch"}
    # these wait for a model that all shards are learnt from
    alone |= {"augment", "positives"}
    assert {rule for rule, group in SLURM["groups"].items() if group in ("road", "score")} == stages - alone | heads


def test_submissions_do_not_wait_for_each_other():
    """What the fits need and what needs the fits are two groups; scores of two shards are never tied together."""
    scores = {rule for rule, group in SLURM["groups"].items() if group == "score"}
    assert all(rule.startswith("score_") for rule in scores)
    assert "score" not in SLURM["group-components"]
    assert not scores & {rule for rule, group in SLURM["groups"].items() if group == "road"}


def test_the_profile_keeps_further_tries_growing():
    for needs in SLURM.get("set-resources", {}).values():
        assert not {"mem_mb", "runtime"} & needs.keys()
    assert all("attempt" in str(SLURM["default-resources"][key]) for key in ("mem_mb", "runtime"))


def test_some_partition_takes_what_the_largest_stage_asks_for():
    partitions = yaml.safe_load((ROOT / SLURM["slurm-partition-config"]).read_text())["partitions"]
    assert any(limits.get("max_gpu", 0) for limits in partitions.values())
    assert max(limits["max_mem_mb"] for limits in partitions.values()) >= 64000
    assert {read_declaration(head, SCRIPTS).environment for head in HEADS} <= {"sky", "learn", "deep"}
