"""How the page and its figures are made, without a browser."""

import json
import re
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from scene import BANDS, HOSTILE, build
from skimage.measure import label as connected

from places import ROOT
from tandemlens.base.columns.figures import COLUMNS, SKY
from tandemlens.base.samples import CLASSES
from tandemlens.base.tables import write_table
from tandemlens.catalogue.figures import save_figure, stamp_of
from tandemlens.catalogue.overview_figures import figure_classes, figure_scores, figure_sky, score_histograms
from tandemlens.catalogue.packs import plain, script
from tandemlens.catalogue.pictures import THUMB, contact_sheet, outlines
from tandemlens.catalogue.timing import timing


def read(path):
    name, data = json.loads("[" + path.read_text("ascii").removeprefix("TL.receive(").removesuffix(");\n") + "]")
    return name, data


def test_scripts_close_nothing_and_lose_nothing(tmp_path):
    data = {"</script><!--": [*HOSTILE.values(), None, 1.5, True]}
    text = script("rows/0", data)
    assert text.isascii()
    assert "<" not in text
    (tmp_path / "x.js").write_text(text)
    assert read(tmp_path / "x.js") == ("rows/0", data)


def test_what_is_missing_is_null():
    assert plain(pd.Series([1.23456789, np.nan, np.inf]), 3) == [1.23, None, None]
    assert plain(pd.Series([True, False])) == [True, False]
    assert plain(pd.Series(["a", None, np.nan], dtype=object)) == ["a", None, None]
    assert plain(pd.Series([1, 2], dtype="int32")) == [1, 2]


def test_a_long_catalogue_is_listed_as_far_as_the_setting_says(tmp_path):
    """The best rows alone; the overview counts all of them, and says where the others are."""
    build(tmp_path, n=700, candidates=3, rows=600)
    data = read(tmp_path / "report/page/rows.js")[1]
    assert data["run"]["targets"] == 700
    assert data["columns"]["rank"] == list(range(1, 601))
    assert len(read(tmp_path / "report/page/rows/1.js")[1]) == 100
    assert not (tmp_path / "report/page/rows/2.js").exists()
    text = (tmp_path / "report/index.html").read_text()
    assert "The list of this page holds the best 600 targets. The other 100 rank below them" in text
    # two of those that are not listed have no place on the sky
    assert re.search(r"bad_coordinates</a></th><td class=\"num\"><span [^>]*>2<", text)
    build(tmp_path / "whole", n=600, candidates=3)
    assert "rank below them" not in (tmp_path / "whole/report/index.html").read_text()


def area(path):
    """Area inside the closed lines of a path, holes taken away."""
    total = 0.0
    for part in path.strip("MZ").split("ZM"):
        x, y = np.array([point.split(",") for point in part.split("L")], float).T
        total += 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
    return abs(total)


def test_outlines_hold_the_pixels_of_their_segments():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:40, :50]
    labels = np.zeros((40, 50), int)
    for k in range(1, 9):
        labels[np.hypot(x - rng.uniform(0, 50), y - rng.uniform(0, 40)) < rng.uniform(3, 7)] = k
    labels[10:20, 20:30], labels[13:17, 23:27] = 9, 0
    found = dict(outlines(labels))
    assert set(found) == set(np.unique(labels)) - {0}
    for k, path in found.items():
        pixels, parts = (labels == k).sum(), connected(labels == k, connectivity=1).max()
        # a line through the middles of pixel edges cuts every corner by an eighth of a pixel
        assert area(path) == pytest.approx(pixels, rel=0.12, abs=1.5 * parts), k
        places = np.array(re.findall(r"([\d.]+),([\d.]+)", path), float)
        rows, columns = np.nonzero(labels == k)
        assert [places[:, 0].min(), places[:, 0].max()] == pytest.approx([columns.min(), columns.max() + 1], abs=0.6)
        # the first row of pixels lies at the bottom of the picture
        assert [places[:, 1].min(), places[:, 1].max()] == pytest.approx([39 - rows.max(), 40 - rows.min()], abs=0.6)
    assert outlines(np.zeros((5, 5), int)) == []


def test_the_middle_of_an_image():
    cfg = {"stamp_arcsec": 10, "pixel_scale": 0.5}
    assert stamp_of((60, 61), cfg) == (slice(20, 41), slice(20, 41))
    assert stamp_of((8, 8), cfg) == (slice(0, 8), slice(0, 8))


def test_small_pictures_lie_row_by_row():
    thumbs = [np.full((THUMB, THUMB, 3), 40 * k, np.uint8) for k in range(1, 6)]
    sheet = imread(BytesIO(contact_sheet(thumbs, 3)), format="jpg")
    assert sheet.shape == (2 * THUMB, 3 * THUMB, 3)
    middles = sheet[THUMB // 2 :: THUMB, THUMB // 2 :: THUMB, 0].astype(int)
    np.testing.assert_allclose(middles, [[40, 80, 120], [160, 200, 0]], atol=3)


def test_files_of_the_page(tmp_path):
    frame = build(tmp_path, n=1203, candidates=20)
    folder = tmp_path / "report/page"
    name, listed = read(folder / "rows.js")
    assert name == "rows"
    assert listed["columns"]["target_id"] == list(frame["target_id"])
    assert sum(place is not None for place in listed["columns"]["picture"]) == 20
    packs = [read(folder / f"pictures/{k}.js")[1] for k in range(3)]
    places = {target: k * 8 + n for k, pack in enumerate(packs) for n, target in enumerate(pack)}
    for target, place in zip(listed["columns"]["target_id"], listed["columns"]["picture"], strict=True):
        assert place == places.get(target)
    cases = listed["run"]["grading"]["cases"]
    assert [places[target] for target, _ in cases] == [place for _, place in cases] == [20, 21, 22, 23]
    rows = [row for k in range(3) for row in read(folder / f"rows/{k}.js")[1]]
    assert [row[2] for row in rows] == list(frame["name"])
    assert len(list(folder.glob("rows/*.js"))) == 3
    groups = {fact["name"]: fact["group"] for fact in listed["facts"]}
    assert (groups["classic"], groups["run_id"], groups["tandem_z"], groups["n_arcs"]) == (
        "Scores of the heads",
        "Provenance",
        "Redshifts and clusters behind",
        "Measurements",
    )
    payload = packs[0][frame["target_id"].iloc[0]]
    assert payload["size"] == [41, 41]
    assert payload["wide"]
    assert [band for band, _ in payload["bands"]] == list(BANDS)
    assert payload["sequence"]["bands"] == list(BANDS)
    html = (tmp_path / "report/index.html").read_text()
    assert "&lt;b&gt;mock&lt;/b&gt;" in html
    assert "<td>0.900 [0.800,\u00a01.000]</td>" in html
    assert "5.0" in html
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)


def test_a_catalogue_without_pictures_or_rows(tmp_path):
    build(tmp_path, n=3, candidates=1, heads={"colour": ["color_evidence"]})
    _, listed = read(tmp_path / "report/page/rows.js")
    assert listed["scores"] == ["color_evidence"]
    assert [place is not None for place in listed["columns"]["picture"]] == [True, False, False]


def test_time_is_summed_by_rule(tmp_path):
    for path, facts in {
        "match/search/a.jsonl": [{"s": 99, "cpu_time": 99, "max_rss": 99}, {"s": 10, "cpu_time": 4, "max_rss": 50}],
        "match/search/b.jsonl": [{"s": 20, "cpu_time": 6, "max_rss": 80}],
        "fuse.jsonl": [{"s": 5, "cpu_time": "NA", "max_rss": None}],
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("".join(json.dumps(line) + "\n" for line in facts))
    found = timing(tmp_path, 5)
    match, fuse = found["rules"]
    assert match == {"rule": "match", "jobs": 2, "wall": 30, "cpu": 10, "memory": 80}
    assert (fuse["jobs"], fuse["wall"], fuse["cpu"]) == (1, 5, 0)
    assert (found["per_target"], found["wall"]) == (2, pytest.approx(35 / 3600))
    assert timing(tmp_path / "none", 5) == {}


def test_histograms_count_everything_once():
    rng = np.random.default_rng(4)
    found = {
        "search": np.append(rng.normal(size=100), np.nan),
        "tandems": rng.normal(2, 1, 30),
        "others": np.full(5, 0.5),
    }
    table = score_histograms({"fused": found, "silent": {"search": np.full(3, np.nan)}})
    assert set(table["head"]) == {"fused"}
    assert table.groupby("sample")["n"].sum().to_dict() == {"search": 100, "tandems": 30, "others": 5}
    assert table.groupby("sample")["share"].sum().to_numpy() == pytest.approx(1)
    assert len(figure_scores(table).axes) == 1
    assert "no target has a score" in figure_scores(score_histograms({})).texts[0].get_text()


def test_the_map_has_every_target_with_a_place(tmp_path):
    table = pd.DataFrame(
        {"target_id": list("abcd"), "ra": [10.0, 190.0, 350.0, np.nan], "dec": [0.0, 60.0, -60.0, np.nan]}
    )
    table = table.assign(rank=np.arange(1, 5, dtype="int32"), status=["scored", "scored", "masked", "bad_coordinates"])
    table = table.assign(listed=[True, False, False, False])
    write_table(tmp_path / "sky.parquet", table, SKY)
    figure = figure_sky(table, np.zeros((0, 4, 2)), 1.5)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["without a score (1)", "scored (1)", "on the list of candidates (1)"]
    star = figure.axes[0].collections[-1].get_offsets()
    # ten degrees east of 0 h: far right of a map whose middle is 12 h, since east is left
    np.testing.assert_allclose(np.degrees(star), [[170, 0]], atol=1e-9)


def test_contact_sheets_have_a_row_a_class():
    picture = np.zeros((4, 4, 3), np.uint8)
    figure = figure_classes({CLASSES[0]: [picture, picture], CLASSES[2]: [picture]})
    assert len(figure.axes) == 4
    assert sum(bool(axes.images) for axes in figure.axes) == 3
    assert "no simulated system" in figure_classes({}).texts[0].get_text()


def test_equal_figures_give_equal_files(tmp_path):
    for name in ("a", "b"):
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([1, 2], [1, 2], label="x")
        save_figure(figure, str(tmp_path / name))
    for suffix in ("png", "svg"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_figures_are_those_of_the_rule():
    text = (ROOT / "workflow/rules/page.smk").read_text()
    assert all(name.removeprefix("completeness_") in text for name in COLUMNS)
