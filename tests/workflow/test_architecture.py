"""The worked examples of docs/architecture.md, applied to a copy of the project as they stand there, and run."""

import re

import numpy as np
import pytest
from astropy.io import fits

from places import ROOT
from tandemlens.base.tables import read_columns, read_table
from tandemlens.base.wcs import tangent_wcs
from trees import plant

SECTIONS = re.split(r"^#+ ", (ROOT / "docs/architecture.md").read_text(), flags=re.M)
EXAMPLES = ("A survey", "A feature", "A head")
BLOCK = re.compile(r"^```(\w+) (\S+/\S+)\n(.*?)^```$", re.M | re.S)


def blocks(title):
    """Language, file and text of every file that an example touches."""
    section = next(s for s in SECTIONS if s.startswith(title + "\n"))
    return BLOCK.findall(section)


def follow(tree, title):
    """Do what an example says."""
    for language, path, text in blocks(title):
        if language == "diff":
            lines = text.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] == " ")
            tree.edit(path, old, "".join(line[1:] for line in lines))
        else:
            assert not (tree.folder / path).exists(), f"{path} is there already"
            (tree.folder / path).write_text(text)


def paint(folder):
    """Images of a survey of a red galaxy amid three blue arcs, one of them bright and long."""
    folder.mkdir()
    side, rng = 120, np.random.default_rng(4)
    wcs = tangent_wcs(150.0, 2.0, (side, side), 0.5)
    y, x = np.indices((side, side)) - (side - 1) / 2
    galaxy = np.exp(-0.5 * (x**2 + y**2) / 3.0**2)
    arcs = np.zeros((side, side))
    for flux, angle in ((300, 0.4), (150, 2.4), (150, 4.5)):
        u = x * np.cos(angle) + y * np.sin(angle)
        v = y * np.cos(angle) - x * np.sin(angle)
        arcs += flux * np.exp(-0.5 * ((u - 24) ** 2 / 1.5**2 + v**2 / 6.0**2))
    for band, red, blue in (("g", 500, 1.2), ("r", 1500, 1.0)):
        pixels = red * galaxy + blue * arcs + rng.normal(0, 5, (side, side))
        fits.writeto(folder / f"{band}.fits", pixels.astype(np.float32), wcs.to_header())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tree in which the three examples were followed, and their run done."""
    folder = tmp_path_factory.mktemp("architecture")
    tree = plant(folder / "tree")
    for title in EXAMPLES:
        follow(tree, title)
    paint(folder / "images")
    run = ("--configfile", "config/garden.yaml", "--config", f"data={folder / 'images'}")
    tree.snakemake(*run, "--", "results-garden/catalogue/candidates.parquet")
    return tree


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_touches_at_most_three_files(title):
    assert 1 <= len({path for _, path, _ in blocks(title)}) <= 3


def test_the_survey_is_in_the_products(made):
    [fetched] = (made.folder / "results-garden/garden/search").glob("hp*/fetch.parquet")
    table = read_table(fetched)
    assert list(table["band"]) == ["g", "r"]
    assert set(table["status"]) == {"ok"}
    catalogue = read_table(made.folder / "results-garden/catalogue/candidates.parquet")
    assert catalogue[["name", "survey", "release", "status"]].values.tolist() == [
        ["Garden 1", "garden", "garden survey, first look", "scored"]
    ]


def test_the_feature_is_in_the_products(made):
    [shard] = (made.folder / "results-garden/garden/search").glob("hp*")
    segments = read_table(shard / "segments.parquet")
    features = read_table(shard / "features.parquet")
    assert features["arc_snr"][0] == segments.loc[segments["kind"] == "arc", "snr"].max() > 10
    described = {c.name: c.description for c in read_columns(shard / "features.parquet")}
    assert described["arc_snr"] == "S/N of the brightest arc"


def test_the_head_is_in_the_products(made):
    [scores] = (made.folder / "results-garden/garden/search").glob("hp*/scores/length.parquet")
    path = made.folder / "results-garden/catalogue/candidates.parquet"
    # the median of one system is its own
    assert read_table(path)["length"][0] == read_table(scores)["length"][0] == 0.0
    described = {c.name: c.description for c in read_columns(path)}
    assert described["length"] == "longest arc beyond the usual, in units of the usual scatter"
    assert "length:" in read_table(path)["models"][0]


def test_the_head_learns_and_fuses_where_there_is_a_training_sample(made):
    rules = made.stale()
    made.configure(heads=["colour", "length"])
    assert set(made.stale()) - set(rules) == {"fit_length", "score_length"}


def test_what_is_added_passes_the_checks_of_the_project(made):
    """Settings of the head are in the manual, columns in the data model, after `make manual`."""
    for name in ("config/README.md", "docs/data-model.md"):
        (made.folder / name).parent.mkdir(exist_ok=True)
        (made.folder / name).write_text((ROOT / name).read_text())
    made.python("workflow/scripts/manual.py")
    assert "| `length.least_scatter` | `0.5` |" in (made.folder / "config/README.md").read_text()
    model = (made.folder / "docs/data-model.md").read_text()
    assert "| `arc_snr` | float64 |" in model
    assert "scores/length.parquet" in model
