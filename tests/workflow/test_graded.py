"""Grades in a run: what a file of grades adds, and what one changed grade reruns."""

import pytest
from test_rerun import ALL, FUSED, RANKED

from learn.test_votes import HEADER
from tandemlens.base.tables import read_table

FILE = "resources/grades/ann.csv"
#: what follows from grades where no head learns from them
LOOKED_AT = {"grades": 1, **RANKED}


@pytest.fixture
def votes(tree):
    """Lines of a file of grades of the first target of the small run, of one that is not there, and a broken one."""
    target = read_table(tree.folder / "results/mock/search/targets.parquet")["target_id"][0]
    rows = [",".join(HEADER), f"{target},B,,ann,s,0,first,2026-11-26T10:00:00Z,r", "nowhere,A,,ann,s,1,first,,r", "x"]
    return "\n".join(rows)


def test_the_first_file_of_grades_adds_their_stage(tree, votes):
    (tree.folder / FILE).write_text(votes)
    assert tree.stale() == LOOKED_AT


def test_grades_go_all_the_way_and_one_changed_grade_reruns_what_uses_them(tree, votes):
    (tree.folder / FILE).write_text(votes)
    tree.configure(heads=["colour", "classic", "pu"], grades={"next": True})
    # what only follows from the catalogue and the fusion is left out to save time, and is to be done in any case
    tree.snakemake("--until", "next_to_grade")
    catalogue = tree.folder / "results/catalogue"
    assert read_table(catalogue / "votes.parquet")["status"].tolist() == ["ok", "unknown_target", "bad_row"]
    candidates = read_table(catalogue / "candidates.parquet").set_index("target_id")
    assert sorted(candidates["grade"]) == ["", "", "B"]
    assert candidates["n_votes"].sum() == 1
    assert candidates["grade_score"].max() == 2
    assert not candidates["used_as_label"].any()
    assert len(read_table(catalogue / "graders.parquet")) == 1
    assert len(read_table(catalogue / "next_to_grade.parquet")) == len(candidates)
    tree.edit(FILE, ",B,", ",A,")
    assert tree.stale() == {**LOOKED_AT, "next_to_grade": 1, "fit_pu": 1, "score_pu": ALL, **FUSED}
