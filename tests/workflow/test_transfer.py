"""Models of one run that score the targets of another."""

import re

import pandas as pd
import pytest

from places import ROOT
from tandemlens.base.errors import SettingsError
from tandemlens.base.sidecar import job_facts, write_sidecar
from tandemlens.heads.declaration import check_models, read_declaration
from tandemlens.learn.fuse import UNSEEN, write_held_out

HEADS = [read_declaration(name, ROOT / "workflow/scripts") for name in ("colour", "classic")]


def elsewhere(folder, heads=("colour", "classic"), bands=("g", "r", "i")):
    """Models of a run, by their sidecars alone."""
    for name, settings in (("classic", {"bands": list(bands)}), ("fusion", {"heads": dict.fromkeys(heads)})):
        (folder / "models" / name).mkdir(parents=True)
        write_sidecar(folder / "models" / name, job_facts(name, 0.0, [], {}, settings=settings))
    return str(folder)


def test_models_of_another_run_are_taken_if_they_fit(tmp_path):
    check_models(elsewhere(tmp_path), HEADS, ["g", "r", "i"], False)


@pytest.mark.parametrize(
    ("made", "given", "said"),
    [
        ({}, {"learns": True}, "has the models and samples.train asks for others; leave one of the two out"),
        ({"heads": ("colour", "pu")}, {}, "its fusion rests on pu too; name them in heads"),
        (
            {"bands": "gri"},
            {"bands": ["g", "r"]},
            "its head classic was fitted with the bands g r i, the run has g r; take",
        ),
    ],
)
def test_models_that_do_not_fit_are_refused(tmp_path, made, given, said):
    folder = elsewhere(tmp_path, **made)
    with pytest.raises(SettingsError, match=f"config.models: {folder}:? {said}"):
        check_models(folder, HEADS, **{"bands": ["g", "r", "i"], "learns": False, **given})


def test_a_run_without_models_is_refused(tmp_path):
    with pytest.raises(
        SettingsError, match=r"models/fusion has no sidecar fusion.prov.json; .*name in heads only what"
    ):
        check_models(tmp_path, HEADS, ["g", "r"], False)


def test_the_example_takes_trained_heads_and_their_fusion_from_another_run(tree):
    example = "config/examples/transfer.yaml"
    tree.edit(example, "[g, r, i, z]", "[g, r, i]")
    said = tree.snakemake("--dry-run", "--configfile", example)
    rules = tree.stale("--configfile", example)
    assert not {"fit_classic", "fuse", "folds", "pretrain"} & set(rules)
    assert {"fit_colour", "score_classic", "score_fused", "transfer", "evaluate", "evaluation_page"} <= set(rules)
    jobs = dict(re.findall(r"^rule (\w+):\n((?: .+\n)+)", said, re.MULTILINE))
    assert "results/models/classic" in jobs["score_classic"]
    assert "results/models/fusion" in jobs["score_fused"]
    assert "results-transfer/models/colour" in jobs["score_colour"]
    assert "known" in jobs["transfer"]


def test_held_out_systems_of_a_fusion_that_never_was(tmp_path):
    systems = pd.DataFrame({"target_id": ["a"], "role": UNSEEN[-1:], "group": "g", "class": "tandem", "label": True})
    systems = systems.assign(theta_e=1.0, snr_brightest=30.0, mag_brightest=21.0, fwhm=0.8)
    scores = pd.DataFrame({"colour": [1e-3], "classic": [2.0]})
    write_held_out(
        systems,
        scores,
        {"colour": "pvalue", "classic": "real"},
        None,
        "sky",
        tmp_path / "h.parquet",
        tmp_path / "s.parquet",
    )
    assert pd.read_parquet(tmp_path / "h.parquet")["probability"].isna().all()
    assert pd.read_parquet(tmp_path / "s.parquet").set_index("head")["score"].to_dict() == {
        "colour": 3.0,
        "classic": 2.0,
    }
