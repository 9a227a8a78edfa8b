"""The page of the evaluation: what it says, with figures and without."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from places import ROOT
from tandemlens.base.columns.evaluation import HELD_OUT, HELD_OUT_SCORES, TABLES
from tandemlens.base.columns.scores import FUSERS_COMPARED
from tandemlens.base.tables import empty_frame, write_table
from tandemlens.catalogue.evaluation import write_evaluation_page
from tandemlens.catalogue.evaluation_figures import bin_name, head_styles
from tandemlens.learn.evaluate import write_evaluation

TEMPLATE = ROOT / "workflow/report/evaluation.html.j2"
CFG = {"survey": "<i>mock</i>", "release": "simulated & painted"}


def systems(n=200):
    rng = np.random.default_rng(1)
    label = np.arange(n) % 8 == 0
    facts = {
        "target_id": [f"s{k}" for k in range(n)],
        "role": np.where(np.arange(n) // 4 % 3, "test", "calibrate"),
        "group": [f"g{k // 4}" for k in range(n)],
        "class": np.where(label, "tandem", np.array(["single_arc", "projected"])[np.arange(n) % 2]),
        "label": label,
        "survey": "mock",
        "theta_e": rng.uniform(1, 10, n),
        "snr_brightest": rng.uniform(5, 100, n),
        "mag_brightest": rng.uniform(20, 26, n),
        "fwhm": rng.uniform(0.6, 1.2, n),
        "probability": np.clip(0.3 * label + rng.uniform(0, 0.3, n), 0, 1),
    }
    return pd.DataFrame({**facts, "probability_low": np.nan, "probability_high": np.nan})


def page(tmp_path, frame, heads, fused="", **more):
    """The page on these systems; head -> scores."""
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("held_out", "scores", *TABLES)}
    parts = [pd.DataFrame({"target_id": frame["target_id"], "head": h, "score": s}) for h, s in heads.items()]
    write_table(paths["held_out"], frame, HELD_OUT)
    write_table(paths["scores"], pd.concat([empty_frame(HELD_OUT_SCORES), *parts]), HELD_OUT_SCORES)
    write_evaluation(paths["held_out"], paths["scores"], {name: paths[name] for name in TABLES}, 0)
    report = empty_frame(FUSERS_COMPARED)
    if not fused:
        row = {c.name: {"str": "equal", "bool": True}.get(c.dtype, 0.25) for c in FUSERS_COMPARED}
        report = pd.DataFrame([{**row, "note": "a <b>note</b>"}])
    write_table(tmp_path / "report.parquet", report, FUSERS_COMPARED)
    (tmp_path / "fusion.json").write_text(json.dumps({"used": not fused, "reason": fused}))
    out = tmp_path / "evaluation.html"
    write_evaluation_page({**paths, "fusion": str(tmp_path), **more}, TEMPLATE, out, CFG)
    return out.read_text(encoding="utf-8")


def scores(frame):
    rng = np.random.default_rng(2)
    return {name: rng.normal(size=len(frame)) + 2 * frame["label"] for name in ("fused", "classic", "<u>head</u>")}


def test_the_page_has_all_parts_and_stands_alone(tmp_path):
    frame = systems()
    html = page(tmp_path, frame, {**scores(frame), "silent": np.full(len(frame), np.nan)})
    test = frame[frame["role"] == "test"]
    assert f"{len(test)} test systems: {test['label'].sum()} tandems" in html
    expert = test["label"] & (test["snr_brightest"] >= 25) & (test["theta_e"] >= 1.2 * test["fwhm"])
    assert f"{expert.sum()} tandems with S/N of the brightest arc of 25 or more" in html
    assert html.count("data:image/png;base64,") == 8
    assert "hence without figures: silent" in html
    assert "What each component brings" not in html
    assert "<td>fused</td><td>classic</td>" in html
    assert 'class="none"' not in html.replace('<p class="none">Without a score', "")
    assert not re.findall(r"(?:src|href)=\"(?!data:)", html)


def test_what_others_wrote_is_escaped(tmp_path):
    frame = systems()
    html = page(tmp_path, frame, scores(frame))
    assert "&lt;i&gt;mock&lt;/i&gt;" in html
    assert "simulated &amp; painted" in html
    assert "<td>&lt;u&gt;head&lt;/u&gt;</td>" in html
    assert "a &lt;b&gt;note&lt;/b&gt;" in html
    assert not re.findall(r"<i>|<u>|<b>note", html)


def test_an_ablation_is_shown_where_it_is_there(tmp_path):
    frame = systems()
    row = {"component": "uncertainty head", "metric": "auroc", "with": 0.9, "without": 0.88, "difference": 0.02}
    row |= {"low": -0.01, "high": 0.05, "p_value": 0.2, "n_pos": 17, "n_neg": 116, "expected": "+2 %", "note": ""}
    path = tmp_path / "ablation.parquet"
    unknown = [{"component": "matching", "metric": m, "note": "give <the> folder"} for m in ("auroc", "tpr10")]
    pd.DataFrame([row, *unknown]).to_parquet(path)
    html = page(tmp_path, frame, {"classic": np.arange(len(frame))}, ablation=str(path))
    assert html.count("<li><b>matching</b>: give &lt;the&gt; folder</li>") == 1
    assert "<td>uncertainty head</td><td>auroc</td><td>0.900</td><td>0.880</td><td>0.020</td>" in html


def test_learning_curves_are_shown_of_what_was_trained_over_epochs(tmp_path):
    curves = {
        "mil": {"curve": [{"epoch": k, "train_loss": 1 / k, "stop_loss": 0.5 + 0.1 * k} for k in (1, 2, 3)]},
        "encoder": {"curve": [{"epoch": k, "loss": -k / 4, "spread": 0.9, "knn_auroc": None} for k in (1, 2)]},
        "classic": {"learner": "trees"},
        "anomaly": None,
    }
    facts = [
        {"episode": k, "loss": 1 / k if k else None, "held_out_loss": 0.7, "held_out_accuracy": 0.5} for k in (0, 20)
    ]
    curves["proto"] = {"curve": facts, "best_episode": 20, "ended": "all done"}
    curves["mil"] |= {"ended": "no better for <b>2</b> epochs", "best_epoch": 1}
    curves["encoder"] |= {"trained": False, "reason": "training collapsed"}
    for name, facts in curves.items():
        (tmp_path / name).mkdir()
        if facts is not None:
            (tmp_path / name / f"{name}.json").write_text(json.dumps(facts))
    frame = systems()
    folders = [str(tmp_path / name) for name in curves]
    html = page(tmp_path, frame, {"classic": np.arange(len(frame))}, trained=folders)
    assert "<b>mil</b>: no better for &lt;b&gt;2&lt;/b&gt; epochs; epoch 1 is kept (dotted)." in html
    assert "<b>encoder</b>: training collapsed." in html
    assert html.count('alt="learning curve of') == 3
    assert "episode 20 is kept" in html
    assert "epoch 1 is kept" in html
    assert "How networks were trained" not in page(tmp_path, frame, {"classic": np.arange(len(frame))})


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (systems()[:0], "No head is evaluated: no training system has the role test"),
        (systems().query("label"), "test systems are tandems; a ranking needs both kinds"),
        (systems().assign(group="one"), "all test systems that are no tandem are one group"),
    ],
)
def test_without_systems_the_page_says_why(tmp_path, frame, said):
    html = page(tmp_path, frame, {"classic": np.arange(len(frame))}, "role fuse is <empty>")
    assert said in html
    assert "The heads are not fused: role fuse is &lt;empty&gt;." in html


def test_without_probabilities_and_experts_the_rest_stands(tmp_path):
    frame = systems().assign(probability=np.nan, snr_brightest=10.0, mag_brightest=np.nan)
    html = page(tmp_path, frame, {"classic": np.arange(len(frame))}, "no head has a score")
    assert "Nothing is said of probabilities: no test system has a calibrated probability" in html
    assert "Nothing is counted: no test system has a calibrated probability" in html
    assert "There is none to find." in html
    assert "There is nothing to compare" in html
    assert html.count("data:image/png;base64,") == 6


def test_heads_differ_in_colour_or_dash():
    styles = head_styles([*"abcdefghijklm", "fused"])
    assert len({(s["color"], s["ls"]) for s in styles.values()}) == 14
    assert next(iter(styles)) == "fused"


def test_open_bins_are_named():
    names = [bin_name(*edges) for edges in ((-np.inf, 19), (0, 8), (0.2, 0.4), (250, np.inf))]
    assert names == ["< 19", "< 8", "0.2–0.4", "≥ 250"]
