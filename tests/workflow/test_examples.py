"""Runs of config/examples as they are planned; those of services are run in tests/services."""

import gzip

import pytest

from trees import TARGETS, plant


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A tree beside a folder of data with short lists under the names that examples give them."""
    folder = tmp_path_factory.mktemp("examples")
    data = folder / "data"
    data.mkdir()
    (data / "targets.csv").write_text(TARGETS)
    with gzip.open(data / "DESy3_redmapper.csv.gz", "wt") as handle:
        handle.write(TARGETS)
    return plant(folder / "tree"), data


@pytest.mark.parametrize(
    ("example", "rules"),
    [
        ("kids_viking", {"fetch": 2, "score_colour": 2}),
        ("kids_viking_injected", {"fetch": 4, "inject": 2, "fit_classic": 1, "score_classic": 4}),
        ("full", {"render": 4, "pretrain": 1, "fit_mil": 1, "score_proto": 4, "score_fused": 2}),
        ("ablation", {"ablation": 1, "fit_pu": 1, "fit_trend": 1}),
    ],
)
def test_an_example_is_planned(planted, example, rules):
    tree, data = planted
    planned = tree.stale("--configfile", f"config/examples/{example}.yaml", "--config", f"data={data}")
    assert {rule: planned.get(rule) for rule in rules} == rules
