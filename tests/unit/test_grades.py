"""Votes combined: grades of targets, graders, labels; and what to grade next."""

import numpy as np
import pandas as pd
import pytest
import yaml

from learn.test_votes import line, write
from places import ROOT
from tandemlens.base.columns.grades import GRADE_SCORES, GRADES
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.tables import read_table, write_table
from tandemlens.catalogue.grades import write_grades
from tandemlens.catalogue.next_to_grade import priorities, write_next
from tandemlens.learn.grades import labelled_targets

CFG = validate_settings({}, load_schema(ROOT / "config/schemas/grades.schema.yaml"))
SYSTEMS = pd.DataFrame({"target_id": ["k1", "k2"], "label": [True, False]})


def combined(folder, *lines, targets=("T1", "T2", "T3"), **settings):
    """Votes, grades and graders from the lines of one file."""
    outputs = {name: folder / f"{name}.parquet" for name in ("votes", "grades", "graders")}
    path, table = write(folder / "grades.csv", *lines), pd.DataFrame({"target_id": targets})
    write_grades([path], table, SYSTEMS, "", {**CFG, **settings}, outputs)
    return [read_table(path) for path in outputs.values()]


def votes_of(target, grades, **more):
    """One vote a grader."""
    return [line(target, grade, grader=f"grader {k}", **more) for k, grade in enumerate(grades)]


def test_the_rubric_is_that_of_the_scores():
    rubric = yaml.safe_load((ROOT / "resources/grades/rubric.yaml").read_text())
    assert {letter: part["score"] for letter, part in rubric.items()} == GRADE_SCORES
    assert list(rubric) == ["A", "B", "C", "X"]
    assert all(isinstance(part[key], str) for part in rubric.values() for key in ("title", "text"))


def test_a_grade_is_the_cut_of_the_mean(tmp_path):
    targets = {"AAAB": "A", "AB": "B", "BBCC": "C", "CXCX": "X", "A": "A", "X": "X"}
    lines = [row for grades in targets for row in votes_of(grades, grades)]
    _, grades, _ = combined(tmp_path, *lines, targets=list(targets))
    grades = grades.set_index("target_id")
    assert grades["grade"].to_dict() == targets
    assert grades["grade_score"].to_dict() == {"AAAB": 2.75, "AB": 2.5, "BBCC": 1.5, "CXCX": 0.5, "A": 3, "X": 0}
    assert grades["n_votes"].to_dict() == {name: len(name) for name in targets}
    assert np.isnan(grades.at["A", "grade_spread"])
    assert grades.at["AB", "grade_spread"] == pytest.approx(np.sqrt(0.5))


def test_labels_need_sure_votes_of_several_graders(tmp_path):
    lines = [*votes_of("T1", "AAAA"), *votes_of("T2", "XXX"), line("T3", grader="grader 1"), *votes_of("T4", "AXBX")]
    targets = ["T1", "T2", "T3", "T4", "T5"]
    _, grades, _ = combined(tmp_path, *lines, targets=targets)
    label = grades.set_index("target_id")["label"]
    assert label.to_dict() == {"T1": "lens", "T2": "no_lens", "T3": "", "T4": ""}
    _, grades, _ = combined(tmp_path, *lines, targets=targets, least_votes=1, positive=0.6)
    assert grades.set_index("target_id")["label"]["T3"] == "lens"
    _, grades, _ = combined(tmp_path, *lines, targets=targets, least_votes=4)
    assert grades.set_index("target_id")["label"].to_dict() == {"T1": "lens", "T2": "", "T3": "", "T4": ""}


def test_second_looks_and_known_answers_tell_of_the_grader_and_not_of_the_target(tmp_path):
    lines = [
        line("T1", "A", grader="ann"),
        line("T1", "A", grader="ann", kind="duplicate", position=3),
        line("T2", "X", grader="ann"),
        line("T2", "B", grader="ann", kind="duplicate", position=4),
        line("k1", "A", grader="ann", kind="calibration"),
        line("k2", "X", grader="ann", kind="calibration"),
        line("k1", "X", grader="bob", kind="calibration"),
        line("k2", "A", grader="bob", kind="calibration"),
        line("T2", "C", grader="cem"),
    ]
    votes, grades, graders = combined(tmp_path, *lines)
    assert len(votes) == len(lines)
    assert grades["n_votes"].to_dict() == {0: 1, 1: 2}
    assert grades["grade_score"].tolist() == [3, 0.5]
    graders = graders.set_index("grader")
    ann, bob, cem = (graders.loc[name] for name in ("ann", "bob", "cem"))
    assert (ann["n_votes"], ann["n_duplicates"], ann["n_calibration"]) == (2, 2, 2)
    assert (ann["self_agreement"], ann["self_difference"], ann["mean_score"]) == (0.5, 1.0, 1.5)
    assert (bob["n_votes"], bob["n_duplicates"], bob["n_calibration"]) == (0, 0, 2)
    assert np.isnan([bob["self_agreement"], bob["mean_score"], cem["self_agreement"]]).all()
    # ten votes of the prior, of which four are A, and a wrong one
    assert bob["lens_a"] == pytest.approx(4 / 11)
    assert ann["lens_a"] > 5 / 11
    assert ann["reliability"] > cem["reliability"] > bob["reliability"]
    for truth in ("lens", "no_lens"):
        assert sum(ann[f"{truth}_{letter}"] for letter in "abcx") == pytest.approx(1)


@pytest.mark.parametrize("lines", [(), (line("T9"),), (line("k1", kind="calibration"),)])
def test_files_without_a_vote_on_a_target_give_empty_tables(tmp_path, lines):
    votes, grades, graders = combined(tmp_path, *lines)
    assert len(votes) == len(lines)
    assert len(grades) == 0
    assert len(graders) == sum("calibration" in row for row in lines)


def test_two_combinations_are_the_same(tmp_path):
    lines = [*votes_of("T1", "ABAX"), *votes_of("T2", "XXCX"), *votes_of("T3", "BBCA")]
    first = combined(tmp_path, *lines)
    again = combined(tmp_path, *reversed(lines))
    for a, b in zip(first[1:], again[1:], strict=True):
        pd.testing.assert_frame_equal(a, b, atol=1e-7, rtol=0)


def sky(names, ra, **more):
    return pd.DataFrame({"target_id": names, "ra": ra, "dec": 0.0, "group_id": names, "canvas": names, **more})


@pytest.fixture
def graded(tmp_path):
    """A table of grades in which three targets are labels."""
    rows = {"target_id": ["a", "b", "c", "d"], "grade": ["A", "X", "A", "C"], "label": ["lens", "no_lens", "lens", ""]}
    rows |= {"grade_score": 1.0, "grade_spread": 0.0, "n_votes": 2, "p_lens": 0.5}
    write_table(tmp_path / "grades.parquet", pd.DataFrame(rows), GRADES)
    return tmp_path / "grades.parquet"


def test_labelled_targets(graded):
    search = sky(["a", "b", "d", "e"], [10.0, 20, 30, 40])
    systems = sky(["s1"], [90.0], role="train")
    assert labelled_targets(graded, search, systems).to_dict() == {"a": True, "b": False}
    assert labelled_targets("", search, systems).to_dict() == {}
    assert labelled_targets([], search, systems).to_dict() == {}
    assert labelled_targets(graded, search.tail(1), systems).to_dict() == {}


@pytest.mark.parametrize("role", ["train", "stop", "calibrate", "fuse", "test", "dropped"])
@pytest.mark.parametrize("link", ["place", "canvas", "chain"])
def test_no_label_shares_sky_with_what_judges_heads(graded, role, link):
    search = sky(["a", "b", "e"], [10.0, 20, 40])
    systems = {
        "place": sky(["s1"], [10.3], role=role),
        "canvas": sky(["s1"], [90.0], role=role).assign(canvas="a"),
        # through a neighbour that is of the same role, and 0.8 degrees away
        "chain": sky(["s1", "s2"], [10.4, 10.8], role=role),
    }[link]
    expected = {"b": False} if role in ("stop", "calibrate", "fuse", "test") else {"a": True, "b": False}
    assert labelled_targets(graded, search, systems).to_dict() == expected


def scored(probability, **heads):
    scores = pd.DataFrame({name: np.array(values, float) for name, values in heads.items()})
    return pd.Series(probability, dtype=float), scores


def test_what_to_grade_next_is_uncertain_and_in_dispute():
    probability, scores = scored([0.5, 0.5, 0.875, 0.125], one=[4, 3, 2, 1], two=[1, 3, 4, 2])
    table = priorities(probability, scores, pd.Series([0, 0, 0, 0]), 6)
    np.testing.assert_allclose(table["uncertainty"][:2], 1.0)
    np.testing.assert_allclose(table["uncertainty"][2:], 0.543564, atol=1e-6)
    # rank fractions 1 and 1/4: their standard deviation is 3/8
    np.testing.assert_allclose(table["disagreement"], [0.75, 0, 0.5, 0.25])
    np.testing.assert_allclose(
        table["priority"], np.sqrt([3.5 / 4 * 1, 3.5 / 4 * 1 / 4, 1.5 / 4 * 3 / 4, 1.5 / 4 * 2 / 4])
    )
    assert table["priority"].idxmax() == 0


def test_another_prevalence_or_scale_of_the_scores_changes_no_priority():
    rng = np.random.default_rng(0)
    probability, scores = scored(rng.uniform(0, 0.4, 50), one=rng.normal(size=50), two=rng.normal(size=50))
    none = pd.Series(np.zeros(50, int))
    first = priorities(probability, scores, none, 6)["priority"]
    again = priorities(probability * 1e-5, np.exp(scores), none, 6)["priority"]
    np.testing.assert_allclose(first, again)


def test_priorities_of_what_is_missing_or_done():
    probability, scores = scored([0.5, 0.4, 0.3, np.nan], one=[4, 3, 2, np.nan], two=[1, np.nan, 3, np.nan])
    table = priorities(probability, scores, pd.Series([6, 5, 0, 9]), 6)
    # enough votes; one head alone, so by the uncertainty; both; nothing to go by
    assert table["priority"][0] == 0
    assert table["priority"][1] == pytest.approx(2 / 3)
    assert table["priority"][2] == pytest.approx(np.sqrt(1 / 3 * 1))
    assert np.isnan(table["priority"][3])
    assert np.isnan(table["disagreement"][[1, 3]]).all()
    alone = priorities(pd.Series([np.nan] * 3), scores.head(3)[["one"]], pd.Series([0, 0, 0]), 6)
    assert alone["priority"].isna().all()


def test_the_table_of_what_comes_next_holds_every_target(tmp_path):
    from tandemlens.base.columns.registry import Column

    facts = {"target_id": ["a", "b", "c"], "probability": [0.1, 0.5, np.nan]}
    facts |= {"classic": [1.0, 2.0, np.nan], "anomaly": [0.5, 0.9, np.nan], "n_votes": [np.nan, 1, np.nan]}
    kinds = {"target_id": "str"}
    columns = [Column(name, kinds.get(name, "float64"), "", "") for name in facts]
    write_table(tmp_path / "candidates.parquet", pd.DataFrame(facts), columns)
    heads = {"classic": ["classic", "log_odds"], "anomaly": ["anomaly", "pvalue"]}
    write_next(tmp_path / "candidates.parquet", heads, 6, tmp_path / "next.parquet")
    table = read_table(tmp_path / "next.parquet")
    assert table["target_id"].tolist() == ["b", "a", "c"]
    # a p-value speaks for a lens where it is small: the heads order a and b the other way round
    np.testing.assert_allclose(table["disagreement"], [0.5, 0.5, np.nan])
    assert table["n_votes"].tolist() == [1, 0, 0]
