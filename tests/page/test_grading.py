"""Grading by keyboard, and the CSV that comes of it."""

import csv
import io
import re

import pytest

HEADER = "target_id,grade,note,grader,session,position,kind,time,run_id"
NOTES = ['=1+2, "quoted"', "+tab\tand\nline", "@x \U0001f52d </script>", "-" + 10000 * "y"]


def read(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def grade(page, keys):
    for key in keys:
        before = page.inner_text("#progress") if page.locator("#progress").count() else ""
        page.keyboard.press(key)
        page.wait_for_function("before => document.querySelector('#progress')?.innerText !== before", arg=before)


def test_grades_go_out_and_come_back(visit, site):
    one = visit()
    page = one.start('Ada, "the first"', order="rank", number=20)
    for note, key in zip(NOTES, "abcx", strict=True):
        page.keyboard.press("n")
        page.keyboard.insert_text(note)
        page.keyboard.press("Escape")
        grade(page, key)
    content = one.export()
    assert content.startswith(f"{HEADER}\n".encode())
    assert b"\r" not in content
    rows = read(content)
    assert [row["grade"] for row in rows] == ["A", "B", "C", "X"]
    assert [row["note"] for row in rows] == NOTES
    assert [row["position"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["grader"] for row in rows} == {'Ada, "the first"'}
    assert {row["run_id"] for row in rows} == {"0a1b2c"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"]) for row in rows)
    assert re.fullmatch(r"rank\.1\.20\.blind\.\d{8}T\d{6}Z", rows[0]["session"])
    assert {row["kind"] for row in rows} <= {"first", "duplicate", "calibration"}
    firsts = [row["target_id"] for row in rows if row["kind"] == "first"]
    assert firsts == list(site[1]["target_id"][: len(firsts)])

    other = visit()
    other.go("grade")
    file = {"name": "grades.csv", "mimeType": "text/csv", "buffer": content}
    other.page.set_input_files("#import", files=[file])
    other.page.wait_for_selector("text=4 grades taken")
    assert other.export() == content
    other.page.click("text=continue")
    other.page.wait_for_selector("#progress:has-text('5 of 26, 4 graded')")
    grade(other.page, "a")
    assert len(read(other.export())) == 5


def test_a_session_outlives_the_page_and_a_grade_may_change(visit):
    one = visit()
    page = one.start("Ada", number=12)
    grade(page, "ab")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("[data-grade=B][aria-pressed=true]")
    grade(page, "x")
    assert [row["grade"] for row in read(one.export())] == ["A", "X"]
    page = one.go("grade")
    page.click("text=continue")
    page.wait_for_selector("#progress:has-text('3 of 17, 2 graded')")
    mine = [row["target_id"] for row in read(one.export()) if row["kind"] == "first"]
    page = one.go("list")
    page.select_option("#list-only", "graded")
    assert page.inner_text("#view-list [role=status]") == f"{len(mine)} of 5000 targets"


def test_a_finished_session_says_so(visit):
    one = visit()
    page = one.start("Ada", number=1)
    grade(page, "aaaa")
    page.keyboard.press("a")
    page.wait_for_selector("text=The session is finished: export it.")
    rows = read(one.export())
    assert sorted(row["kind"] for row in rows) == ["calibration"] * 4 + ["first"]


def test_what_is_blind_shows_no_name_score_or_redshift(visit):
    page = visit().start("Ada", order="rank", number=30)
    for _ in range(12):
        text = page.inner_text("#view-grade")
        assert "Cluster" not in text
        assert "<script>" not in text
        assert "attention" not in text
        assert "fused" not in text
        assert page.locator("#view-grade .chosen").count() == 0
        grade(page, ["ArrowRight"])
    page = visit().start("Ada", order="rank", number=30, blind=False)
    texts = []
    for _ in range(8):
        texts.append(page.inner_text("#view-grade"))
        grade(page, ["ArrowRight"])
    assert any("Cluster 5" in text and "fused" in text for text in texts)


def sequence(page, grader, session):
    return page.evaluate("([grader, session]) => TL.sequence(grader, session)", [grader, session])


def test_the_order_is_that_of_the_seed_and_the_grader(visit):
    page = visit().go("list")
    name = "random.{}.60.blind.20260101T000000Z"
    first = sequence(page, "Ada", name.format(1))
    assert first == sequence(page, "Ada", name.format(1))
    order = [
        [item["target_id"] for item in s]
        for s in (first, sequence(page, "Bea", name.format(1)), sequence(page, "Ada", name.format(2)))
    ]
    assert order[0] != order[1]
    assert order[0] != order[2]
    kinds = [item["kind"] for item in first]
    assert (kinds.count("first"), kinds.count("duplicate"), kinds.count("calibration")) == (60, 6, 4)
    assert [item["position"] for item in first] == list(range(1, 71))
    place = {item["target_id"]: k for k, item in enumerate(first) if item["kind"] == "first"}
    assert len(place) == 60
    apart = [k - place[item["target_id"]] for k, item in enumerate(first) if item["kind"] == "duplicate"]
    assert min(apart) >= 5
    opened = [item["kind"] for item in sequence(page, "Ada", name.format(1).replace("blind", "open"))]
    assert (opened.count("first"), opened.count("duplicate"), len(opened)) == (60, 6, 66)
    again = {item["target_id"]: item["picture"] for item in first if item["kind"] == "duplicate"}
    assert all(first[place[name]]["picture"] == picture for name, picture in again.items())


def test_a_shuffle_favours_no_place(visit):
    page = visit().go("list")
    counts = page.evaluate("""() => {
      const counts = Array.from({ length: 5 }, () => Array(5).fill(0));
      for (let seed = 0; seed < 4000; seed += 1) {
        TL.shuffled([0, 1, 2, 3, 4], TL.random(`${seed}|x`)).forEach((item, k) => { counts[item][k] += 1; });
      }
      return counts.flat();
    }""")
    # chi2 of 16 degrees of freedom: above 45 in one case of 10^4
    assert sum((n - 800) ** 2 / 800 for n in counts) < 45


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", 'the first line is "a,b", not "target_id,grade,note'),
        (f"{HEADER}\nT0,D,,me,s,1,first,2026-01-01T00:00:00Z,r\n", '0 grades taken, 1 rows left out (row 1: grade "D"'),
        (f"{HEADER}\nT0,A,,me,s,1,again,2026-01-01T00:00:00Z,r\n", 'row 1: kind "again"'),
        (f"{HEADER}\nT0,A,,me,s,0,first,2026-01-01T00:00:00Z,r\n", 'row 1: position "0"'),
        (f"{HEADER}\nT0,A,,me,s,1,first,noon,r\n", 'row 1: time "noon"'),
        (f"{HEADER}\nT0,A,,,s,1,first,2026-01-01T00:00:00Z,r\n", "row 1: an empty target_id, grader or session"),
        (
            f"{HEADER}\r\nT0,A,,me,s,1,first,2026-01-01T00:00:00Z,r\r\nT1,A\r\n",
            "1 grades taken, 1 rows left out (row 2: 2",
        ),
    ],
)
def test_what_is_no_vote_is_named(visit, text, said):
    page = visit().go("grade")
    page.set_input_files("#import", files=[{"name": "bad.csv", "mimeType": "text/csv", "buffer": text.encode()}])
    page.wait_for_function("document.querySelector('#said').textContent.startsWith('bad.csv')")
    assert said in page.inner_text("#said")


def test_a_foreign_session_is_kept_but_not_continued(visit):
    row = "T004000,A,,me,rank.1.20.blind.20260101T000000Z,1,first,2026-01-01T00:00:00Z,r\n"
    one = visit()
    page = one.go("grade")
    page.set_input_files(
        "#import", files=[{"name": "x.csv", "mimeType": "text/csv", "buffer": f"{HEADER}\n{row}".encode()}]
    )
    page.click("text=continue")
    assert "was made from another catalogue: its 1 grades are kept" in page.inner_text("#trouble")
    assert one.export().decode() == f"{HEADER}\n{row}"


def test_a_browser_that_keeps_nothing_is_told(visit):
    one = visit()
    one.page.add_init_script("Storage.prototype.setItem = () => { throw new Error('no room'); }")
    page = one.start("Ada")
    page.keyboard.press("a")
    page.wait_for_selector("#trouble:visible")
    assert "does not let this page keep grades (no room): export them before you leave" in page.inner_text("#trouble")
    assert len(read(one.export())) == 1
