"""Files of grades, whole and broken: no row is lost."""

import csv
import io

import pandas as pd
import pytest

from tandemlens.base.columns.grades import VOTE_FIELDS, VOTES
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table, write_table
from tandemlens.learn.votes import VOTE_STATUS, read_answers, read_votes, sort_votes

HEADER = [c.name for c in VOTE_FIELDS]
HOSTILE = ('<script>alert("1")</script>', '=1+1,"a"\r\nb\nc', "é😀'", "x" * 10_000, "  spaced  ", "\x00null")


def line(target="T1", grade="A", note="", grader="ann", session="s", position=0, kind="first", time="", run="r"):
    return [target, grade, note, grader, session, position, kind, time, run]


def write(path, *lines, header=HEADER, ends="\r\n"):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=ends).writerows([header, *lines])
    path.write_bytes(out.getvalue().encode())
    return str(path)


def sort(*paths, targets=("T1", "T2"), answers=None):
    return sort_votes(read_votes(paths), targets, answers or {})


def test_the_header_of_the_page():
    """The contract with the page; a change here is a change there."""
    assert ",".join(HEADER) == "target_id,grade,note,grader,session,position,kind,time,run_id"


@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_notes_come_back_byte_for_byte(tmp_path, ends):
    path = write(tmp_path / "a.csv", *(line(note=note, position=k) for k, note in enumerate(HOSTILE)), ends=ends)
    votes = read_votes([path])
    assert votes["note"].tolist() == list(HOSTILE)
    assert votes["position"].tolist() == list(range(len(HOSTILE)))
    assert set(votes["status"]) == {"ok"}
    write_table(tmp_path / "votes.parquet", sort(path), VOTES)
    assert read_table(tmp_path / "votes.parquet")["note"].tolist() == list(HOSTILE)


def test_a_byte_order_mark_and_small_letters_are_borne(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufefftarget_id,grade,grader\n T1 , b , ann \n\n".encode())
    (vote,) = sort(str(path)).to_dict("records")
    assert (vote["target_id"], vote["grade"], vote["grader"]) == ("T1", "B", "ann")
    assert (vote["kind"], vote["position"], vote["status"], vote["used_for"]) == ("first", -1, "ok", "grade")
    assert vote["line"] == 2


def test_every_bad_row_has_its_status_and_its_neighbours_stand(tmp_path):
    path = tmp_path / "a.csv"
    good = ",".join(map(str, line("T2")))
    rows = [
        "T1,A",
        "T1,D,,ann,s,1,first,,r",
        "T1,,,ann,s,1,first,,r",
        "T1,A,, ,s,1,first,,r",
        "T1,A,,ann,s,1,guess,,r",
        "T1,A,,ann,s,1,first,yesterday,r",
        "T9,A,,ann,s,1,first,,r",
        "T9,A,,ann,s,1,calibration,,r",
        'T1,A,"a"b,ann,s,1,first,,r',
        good,
        good,
        'T1,A,"never closed,ann,s,1,first,,r',
    ]
    path.write_text("\n".join([",".join(HEADER), *rows]))
    votes = sort(str(path))
    status = (
        "bad_row bad_grade bad_grade no_grader bad_kind bad_time unknown_target no_answer bad_row ok repeated bad_row"
    )
    assert votes["status"].tolist() == status.split()
    assert votes["line"].tolist() == list(range(2, 14))
    assert (votes["used_for"] != "").tolist() == [s == "ok" for s in status.split()]
    said = votes["reason"]
    for row, words in {
        0: "the row has 2 cells, the header 9",
        1: "the grade 'D' is none of A, B, C, X",
        3: "the grader is empty",
        4: "the kind 'guess' is none of first, duplicate, calibration",
        5: "the time 'yesterday' is not ISO 8601",
        6: "the search has no target of this name",
        7: "list it in grades.calibration",
        8: "no CSV after RFC 4180",
        10: "the same vote stands in an earlier row",
    }.items():
        assert words in said[row]
    assert (said != "").tolist() == (votes["status"] != "ok").tolist()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe\x00A", "the file cannot be read as UTF-8"),
        (b"target_id;grade;grader\nT1;A;ann\n", "lacks target_id, grade, grader; give columns by comma"),
        (b"target_id,grade\nT1,A\n", "lacks grader"),
    ],
)
def test_a_file_that_is_no_table_of_grades_is_one_row(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    other = write(tmp_path / "b.csv", line())
    votes = sort(str(tmp_path / "a.csv"), other)
    assert votes["status"].tolist() == ["bad_file", "ok"]
    assert said in votes["reason"][0]
    assert votes["line"].tolist() == [0, 2]


def test_a_file_that_is_not_there_is_one_row(tmp_path):
    votes = read_votes([str(tmp_path / "none.csv")])
    assert votes["status"].tolist() == ["bad_file"]


def test_every_status_is_told():
    assert all(VOTE_STATUS.values())


def test_the_last_vote_of_a_grader_counts(tmp_path):
    path = write(
        tmp_path / "a.csv",
        line(grade="A", time="2026-11-26T10:00:00Z", session="late"),
        # ten in the morning in Paris is nine in Greenwich
        line(grade="B", time="2026-11-26T10:00:00+01:00", session="early"),
        line(grade="C", time=""),
        line(grade="X", time="2026-11-26T09:30:00", grader="bob"),
    )
    votes = sort(path)
    assert votes["status"].tolist() == ["ok", "superseded", "superseded", "ok"]
    assert "graded this target again later" in votes["reason"][1]


def test_a_longer_export_of_the_same_session_repeats_nothing(tmp_path):
    lines = [line(f"T{k}", time=f"2026-11-26T10:0{k}:00Z", position=k) for k in (1, 2)]
    votes = sort(write(tmp_path / "a.csv", lines[0]), write(tmp_path / "b.csv", *lines))
    assert votes["status"].tolist() == ["ok", "repeated", "ok"]


def test_what_each_vote_is_used_for(tmp_path):
    path = write(
        tmp_path / "a.csv",
        line("T1", "A", position=0),
        line("T1", "B", position=7, kind="duplicate"),
        # the first look was not exported: this one is all there is
        line("T2", "B", position=8, kind="duplicate"),
        line("K1", "A", kind="calibration"),
        # a target may have served as a case as well; the two votes do not meet
        line("T1", "C", kind="calibration"),
    )
    votes = sort(path, answers={"K1": True, "T1": False})
    assert votes["used_for"].tolist() == ["grade", "self_agreement", "grade", "calibration", "calibration"]


def test_known_answers(tmp_path):
    systems = pd.DataFrame({"target_id": ["s1", "s2"], "label": [True, False]})
    assert read_answers("", systems) == {"s1": True, "s2": False}
    path = tmp_path / "calibration.csv"
    path.write_text("target_id,lens\n k1 ,yes\nk2,0\ns2,TRUE\n")
    assert read_answers(path, systems) == {"s1": True, "s2": True, "k1": True, "k2": False}
    assert read_answers(path, systems.head(0))["k1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target_id,label\nk,1\n", "lack the column lens; give target_id and lens"),
        ("target_id,lens\nk,1\nk2,perhaps\n", "row 2 of the known answers .* has lens 'perhaps'; give 1 for a tandem"),
        ("", "cannot be read as CSV"),
    ],
)
def test_known_answers_that_are_none_are_refused(tmp_path, text, said):
    (tmp_path / "calibration.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_answers(tmp_path / "calibration.csv", pd.DataFrame({"target_id": [], "label": []}))
