"""What the rules of the heads ask for, by their settings."""

import re

from trees import plant


def asked(tmp_path, **settings):
    """Rule -> what a dry run says of its first job."""
    tree = plant(tmp_path / "tree", heads=["colour", "classic", "anomaly", "mil", "baseline"], **settings)
    said = tree.snakemake("--dry-run")
    return dict(reversed(re.findall(r"^rule (\w+):\n((?: .+\n)+)", said, re.MULTILINE)))


def test_a_head_asks_for_what_its_settings_need(tmp_path):
    jobs = asked(tmp_path, baseline={"device": "cpu"}, anomaly={"features": "encoder"})
    for rule, gpus in (("fit_mil", 1), ("score_mil", 1), ("pretrain", 1), ("fit_baseline", 0), ("score_classic", 0)):
        assert ("gpu=1" in jobs[rule]) == gpus, rule
    assert "mock/train/hp" in jobs["fit_mil"]
    assert "mock/search" not in jobs["fit_mil"]
    for rule in ("fit_anomaly", "score_anomaly"):
        assert "stamps.h5" in jobs[rule]
    assert "models/encoder" in jobs["fit_anomaly"]
    assert "models/encoder" in jobs["evaluation_page"]


def test_unlabelled_systems_and_pretrained_weights_are_asked_for_where_they_are_used(tmp_path):
    jobs = asked(tmp_path, mil={"unlabelled_weight": 0.3, "device": "cpu", "pretrained": True})
    assert "mock/search/hp" in jobs["fit_mil"]
    assert "models/encoder" in jobs["fit_mil"]
    assert "gpu=1" not in jobs["fit_mil"]
    assert "stamps.h5" not in jobs["score_anomaly"]
