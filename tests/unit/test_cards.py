"""Cards of models and samples: the numbers in them, by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from places import ROOT
from runs import made
from tandemlens.catalogue.cards import write_data_cards, write_model_cards

REPORT = ROOT / "workflow/report"
#: 4 tandems and 20 others of two classes; single arcs score highest of them
LABELS = np.array([True] * 4 + [False] * 20)
CLASSES = ["tandem"] * 4 + ["single_arc"] * 8 + ["members"] * 12
SCORES = [9.0, 8.0, 7.0, 1.5, *np.linspace(3.0, 2.3, 8), *np.linspace(1.0, 0.0, 12)]


@pytest.fixture
def evaluated(tmp_path):
    """Tables of an evaluation of head classic and of the fusion, which scored nothing."""
    ids = [f"t{k}" for k in range(24)]
    held_out = pd.DataFrame({"target_id": ids, "role": "test", "label": LABELS, "class": CLASSES})
    held_out = held_out.assign(theta_e=1.0, fwhm=1.0)
    scores = pd.DataFrame({"target_id": ids, "head": "classic", "score": SCORES})
    numbers = {"auroc": 0.9, "tpr_at_fpr_0.1": 0.75, "tpr_at_fpr_0.03": 0.5, "unscored": 0.0}
    rows = [("overall", "all", metric, value, 20) for metric, value in numbers.items()]
    rows += [("regime", "expert", "auroc", 0.95, 20)]
    rows += [("contrast", "single_arc", "auroc", 0.8, 8), ("contrast", "members", "auroc", 1.0, 12)]
    metrics = pd.DataFrame(
        [("classic", *row[:4], row[3] - 0.1, np.nan if row[2] == "unscored" else 1.0, 4, row[4]) for row in rows],
        columns=["head", "part", "name", "metric", "value", "low", "high", "n_pos", "n_neg"],
    )
    bins = {"head": "classic", "fpr": 0.1, "quantity": "theta_e_fwhm", "from": [0.0, 1.2], "to": [1.2, np.inf]}
    bins |= {"n": [10, 4], "found": [2, 1], "completeness": [0.2, 0.25], "low": [0.03, 0.0], "high": [0.56, 0.8]}
    folds = held_out[["target_id"]].assign(role=["train"] * 12 + ["test"] * 12, group="g")
    frames = {"held_out": held_out, "scores": scores, "completeness": pd.DataFrame(bins), "folds": folds}
    paths = {name: str(tmp_path / f"{name}.parquet") for name in (*frames, "metrics", "systems")}
    for name, frame in frames.items():
        frame.to_parquet(paths[name])
    write_with_reason(metrics, paths["metrics"])
    held_out[["target_id", "class"]].to_parquet(paths["systems"])
    fusion = tmp_path / "fusion"
    fusion.mkdir()
    (fusion / "fusion.json").write_text(json.dumps({"reason": "", "prevalence": 1e-3, "prevalence_by": "by hand"}))
    return {**paths, "systems": [paths["systems"]], "fusion": str(fusion)}


def write_with_reason(frame, path, reason=""):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pandas(frame).replace_schema_metadata({"reason": reason}), path)


def model_card(tmp_path, tables, name="classic"):
    model = tmp_path / name
    model.mkdir(exist_ok=True)
    (model / "model.json").write_text("{}")
    made(model, "fit")
    head = {"score": "x", "kind": "log_odds", "fused": True, "settings": {"depth": 3}}
    head["learns"] = {"run": ["folds"], ("search" if name == "colour" else "train"): ["features"]}
    cfg = {"heads": {name: head}, "survey": "sky", "release": "simulated sky", "bands": ["g", "r"], "licence": "none"}
    out = tmp_path / f"{name}.md"
    write_model_cards([name], [str(model)], tables, str(REPORT / "model_card.md.j2"), [str(out)], cfg)
    return out.read_text()


def row_of(text, start):
    return next(line for line in text.splitlines() if line.startswith(f"| {start}"))


def test_a_model_card_says_what_was_learnt_and_measured(tmp_path, evaluated):
    text = model_card(tmp_path, evaluated)
    assert "**Everything measured below is measured on simulated systems** (simulated sky)" in text
    assert row_of(text, "train |") == "| train | 4 | 0 | 8 | 0 | 0 | 0 | 1 |"
    assert row_of(text, "AUROC |") == "| AUROC | 0.9 [0.8, 1] | 0.95 [0.85, 1] |"
    assert "With 4 tandems these numbers are a demonstration" in text
    assert '"depth": 3' in text
    assert "licence | none" in text


def test_rates_are_carried_to_the_prevalence(tmp_path, evaluated):
    text = model_card(tmp_path, evaluated)
    assert "One target in 1,000 is expected to be a tandem (by hand)" in text
    # 0.1 of the others, 0.75 of the tandems, one tandem in a thousand: 999 * 0.1 / 0.75 = 133.2
    row = row_of(text, "0.1 [")
    assert row.startswith("| 0.1 [0.0123, 0.317] | 0.75 [0.65, 1] | 133 [16, 422] | 0.0075 |")
    assert "Rates of 0.03, 0.01, 0.001\ncannot be measured with 20 other systems." in text


def test_failures_are_counted_by_class_the_worst_first(tmp_path, evaluated):
    text = model_card(tmp_path, evaluated)
    # a tenth of 20 others are two, both single arcs
    assert text.index("| single arc | 2 of 8 |") < text.index("| members | 0 of 12 |")
    assert "| single arc | 2 of 8 | 0.25 [0.0319, 0.651] | 0.8 [0.7, 1] |" in text
    assert "| Einstein radius over seeing from 0 to 1.2 | 2 of 10 | 0.2 [0.03, 0.56] |" in text
    assert "1 of 4" not in text


def test_a_head_without_scores_says_so(tmp_path, evaluated):
    metrics = pd.read_parquet(evaluated["metrics"])
    none = metrics[metrics["metric"] == "unscored"].assign(head="pu", value=1.0)
    write_with_reason(pd.concat([metrics, none], ignore_index=True), evaluated["metrics"])
    for head in ("trend", "pu"):
        text = model_card(tmp_path, evaluated, head)
        assert text.count(f"{head} has no score on any test system; the log of its fit says why.") == 3


def test_an_evaluation_that_could_not_be_made_says_why(tmp_path, evaluated):
    empty = pd.read_parquet(evaluated["metrics"])[:0]
    write_with_reason(empty, evaluated["metrics"], "no training system has the role test")
    assert "Not measured: no training system has the role test." in model_card(tmp_path, evaluated)


def test_a_fusion_that_was_not_made_knows_no_prevalence(tmp_path, evaluated):
    (Path(evaluated["fusion"]) / "fusion.json").write_text(json.dumps({"reason": "too few tandems to fuse"}))
    assert "Not known: too few tandems to fuse." in model_card(tmp_path, evaluated)


def test_without_a_training_sample_nothing_is_measured(tmp_path):
    text = model_card(tmp_path, {}, "colour")
    assert "It uses no label." in text
    assert "It reads folds of `run`; features of `search`." in text
    assert "Not measured: the run has no training sample." in text
    assert "simulated systems" not in text.split("##")[0]


@pytest.fixture
def sample(tmp_path):
    """Tables of a sample of four targets: two usable, one without coverage, one that was refused."""
    targets = pd.DataFrame({"target_id": list("abcd"), "z": [0.2, 0.3, 0.4, np.nan], "group_id": list("xxyz")})
    targets["status"] = ["ok", "ok", "ok", "bad_coordinates"]
    targets.to_parquet(tmp_path / "targets.parquet")
    made(tmp_path / "targets.parquet", "plan")
    facts = {"psf_source": "stars", "coverage": 1.0, "release": "sky DR1", "psf_fwhm": 0.8}
    rows = [{"target_id": t, "band": "g", "status": "ok" if t != "c" else "no_coverage", **facts} for t in "abc"]
    pd.DataFrame(rows).to_parquet(tmp_path / "fetch.parquet")
    systems = pd.DataFrame({"class": ["tandem", "members"], "theta_e": [10.0, 2.0], "snr_brightest": [50.0, np.nan]})
    systems.assign(mag_brightest=21.0, fwhm_g=0.8).to_parquet(tmp_path / "systems.parquet")
    return tmp_path


def data_card(folder, pixels, simulate, name="train"):
    own = {"pixels": pixels, "release": "sky DR1", "catalogue": "list.csv", "simulate": simulate}
    cfg = {"samples": {name: own}, "survey": "sky", "bands": ["g"], "licence": "none"}
    painted = [[str(folder / "systems.parquet")] if simulate else []]
    tables = [str(folder / "targets.parquet")], [[str(folder / "fetch.parquet")]], painted
    write_data_cards([name], *tables, str(REPORT / "data_card.md.j2"), [str(folder / "card.md")], cfg)
    return (folder / "card.md").read_text()


def test_a_data_card_counts_every_target_once(sample):
    text = data_card(sample, "simulated", {"cosmos": None, "twins": True})
    assert "4 in 3 groups and 1 shards" in text
    assert [row_of(text, s).split(" | ")[1] for s in ("ok |", "no_coverage |", "bad_coordinates |")] == ["2", "1", "1"]
    assert "| g | 2 of 3 | 0.80 (0.80 to 0.80) | stars 2 | 1.00 | sky DR1 |" in text


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ("simulated", "All systems are simulated."),
        ("injected", "The images are real, and the systems that are painted"),
    ],
)
def test_a_data_card_says_what_is_simulated(sample, pixels, words):
    text = data_card(sample, pixels, {"cosmos": None, "twins": True})
    assert words in text
    assert row_of(text, "tandem |").startswith("| tandem | 1 | 0.50 | 10.0 (10.0 to 10.0) | 50.0 (50.0 to 50.0) |")
    assert row_of(text, "members |").split(" | ")[4] == "–"
    assert '"twins": true' in text


def test_a_data_card_of_a_survey_knows_no_labels(sample):
    text = data_card(sample, "survey", None, "search")
    assert "No label is known" in text
    assert "## Systems" not in text
