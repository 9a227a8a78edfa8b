"""What is known of targets: the nearest lens by the radius of its type, other catalogues; what made a row."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from places import ROOT
from tandemlens.base.atomic import sha256
from tandemlens.base.columns import crossmatch as registered
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.errors import SettingsError
from tandemlens.base.stack import Cutout, pixel_digest, read_stack, write_stack
from tandemlens.catalogue.crossmatch import crossmatch, nearest, nearest_lens
from tandemlens.catalogue.identity import model_id, run_id

ARCSEC = 1 / 3600
SCHEMA = load_schema(ROOT / "config/schemas/crossmatch.schema.yaml")


def table(*rows, **more):
    """Rows of name, ra, dec."""
    frame = pd.DataFrame([{"name": n, "ra": ra, "dec": dec} for n, ra, dec in rows])
    return frame.assign(target_id=frame["name"], z=0.3, **more)


def test_the_nearest_is_found_over_the_meridian_and_at_the_pole():
    targets = table(("a", 0.0, 0.0), ("b", 10.0, 89.999), ("c", 100.0, 0.0), ("none", np.nan, np.nan))
    others = table(
        ("far", 20 * ARCSEC, 0.0),
        ("near", 360 - 10 * ARCSEC, 0.0),
        ("pole", 190.0, 89.999),
        ("off", 100.0, 31 * ARCSEC),
        ("placeless", np.nan, np.nan),
    )
    found = nearest(targets, others, 30.0).set_index("target_id")
    assert dict(found["name"]) == {"a": "near", "b": "pole"}
    np.testing.assert_allclose(found["separation"], [10, 7.2], atol=0.01)


def test_nothing_is_near_an_empty_table():
    targets = table(("a", 0.0, 0.0))
    assert nearest(targets, targets.iloc[:0], 30.0).empty
    assert nearest(targets.iloc[:0], targets, 30.0).empty


@given(st.lists(st.tuples(st.floats(0, 0.02), st.floats(-0.01, 0.01)), min_size=1, max_size=6))
def test_the_nearest_is_that_of_all_pairs(places):
    targets = table(("a", 0.01, 0.0), ("b", 0.0, 0.005))
    others = table(*[(str(k), *p) for k, p in enumerate(places)])
    found = nearest(targets, others, 25.0).set_index("target_id")["separation"]
    for name, ra, dec in (("a", 0.01, 0.0), ("b", 0.0, 0.005)):
        best = min(np.hypot(p[0] - ra, p[1] - dec) / ARCSEC for p in places)
        if best < 24.999:
            assert found[name] == pytest.approx(best, abs=1e-4)
        elif best > 25.001:
            assert name not in found


def test_a_lens_counts_within_the_radius_of_its_type():
    targets = table(("a", 10.0, 0.0))
    radii = {"cluster": 60, "group": 40, "galaxy": 20}

    def lens(**separations):
        rows = [(kind, 10.0, s * ARCSEC) for kind, s in separations.items()]
        systems = table(*rows, type=list(separations), grading="probable")
        found = nearest_lens(targets, systems, radii)
        return found["lens_type"].tolist(), found["lens_separation"].round(3).tolist()

    assert lens(galaxy=21) == ([], [])
    assert lens(galaxy=21, cluster=59) == (["cluster"], [59.0])
    assert lens(galaxy=19, cluster=59) == (["galaxy"], [19.0])
    assert lens(group=41, galaxy=25) == ([], [])


def settings(**more):
    return validate_settings({"service_radius_arcsec": 60, **more}, SCHEMA)


def test_columns_are_those_that_are_registered(tmp_path):
    targets = table(("a", 39.97, -1.58), ("b", 200.0, 0.0), ("placeless", np.nan, np.nan))
    (tmp_path / "mine.csv").write_text("name,ra,dec,z\nM1,39.97,-1.575,0.4\n")
    cfg = settings(ned=True, catalogues={"mine": {"catalogue": "mine.csv"}})
    answers = {"ned": pd.DataFrame([{c.name: 0 for c in registered.OBJECTS} | {"target_id": "a", "lenses": 3}])}
    found = crossmatch(targets, cfg, "", {"mine": tmp_path / "mine.csv"}, answers)
    names = [c.name for c in registered.columns(False, ["mine"], ["ned"])]
    assert list(found.columns) == ["target_id", *names]
    assert list(found["target_id"]) == ["a", "b", "placeless"]
    assert list(found["match_mine"].fillna("")) == ["M1", "", ""]
    assert found["match_mine_separation"].iloc[0] == pytest.approx(18, abs=0.01)
    assert list(found["ned_lenses"]) == [3, -1, -1]


def test_known_lenses_of_the_list_are_found(real):
    """Abell 370 and the Carousel are there; a cluster that only catalogues of clusters cite is no lens."""
    rows = [("Abell 370", 39.9713, -1.5823), ("Carousel", 90.9854, -35.9683), ("nothing", 12.0, -12.0)]
    path = real / "catalogues/lenscat_catalog.csv"
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    alone = raw[raw["ref"].str.fullmatch(r"Lopes et al\. \(2004\)[^|]*")].iloc[0]
    rows.append(("uncleaned", float(alone["RA [deg]"]), float(alone["DEC [deg]"])))
    found = crossmatch(table(*rows), settings(), str(path), {}, {}).set_index("target_id")
    assert list(found["known_lens"]) == [True, True, False, False]
    assert list(found["lens_type"][:2]) == ["cluster", "cluster"]
    assert (found["lens_separation"][:2] < 15).all()
    assert set(found.columns) == {c.name for c in registered.columns(True, [], [])}


def test_a_list_that_is_none_is_refused(tmp_path):
    (tmp_path / "l.csv").write_text("name,ra,dec\nA,1,2\n")
    with pytest.raises(SettingsError, match="lacks the columns RA"):
        crossmatch(table(("a", 1.0, 2.0)), settings(), str(tmp_path / "l.csv"), {}, {})


@pytest.mark.parametrize("name", ["My list", "1st", "A", "a-b"])
def test_a_name_that_cannot_name_a_column_is_refused(name):
    with pytest.raises(SettingsError, match="does not match"):
        settings(catalogues={name: {"catalogue": "c.csv"}})


def cutout(**more):
    rng = np.random.default_rng(0)
    flux = rng.normal(size=(2, 5, 6)).astype("f4")
    parts = {"flux": flux, "variance": np.ones_like(flux), "mask": np.zeros(flux.shape, "u2")}
    psf = np.full((2, 3, 3), 1 / 9, "f4")
    return Cutout(("g", "r"), **{**parts, **more}, psf=psf, wcs=("", ""))


def test_the_digest_of_pixels_is_found_again_in_the_stack(tmp_path):
    one = cutout()
    with write_stack(tmp_path / "s.h5", ("g", "r"), (9, 9), 5) as stack:
        stack.append("a", one)
    with read_stack(tmp_path / "s.h5") as stack:
        assert pixel_digest(stack[0]) == pixel_digest(one)


@pytest.mark.parametrize("part", ["flux", "variance", "mask"])
def test_the_digest_of_pixels_changes_with_each_of_them(part):
    values = getattr(cutout(), part).copy()
    values[1, 2, 3] += 1
    assert pixel_digest(cutout(**{part: values})) != pixel_digest(cutout())
    assert len(pixel_digest(cutout())) == 64


def test_a_model_is_named_by_its_content(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.json").write_text("{}")
    name = model_id(model)
    assert len(name) == 12
    (model / "weights.json.prov.json").write_text(json.dumps({"started": "now"}))
    (model / "trials.db").write_text("12:00")
    shutil.copytree(model, tmp_path / "elsewhere")
    assert model_id(model) == model_id(tmp_path / "elsewhere") == name
    (model / "weights.json").write_text("[]")
    assert model_id(model) != name


def named(files, *more):
    return run_id(map(sha256, files), *more)


def test_a_run_is_named_by_its_content(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    name = named([a, b], ["m"], {"x.py": "0"}, {"fdr": 0.1})
    assert named([b, a], ["m"], {"x.py": "0"}, {"fdr": 0.1}) == name
    a.rename(tmp_path / "c")
    assert named([b, tmp_path / "c"], ["m"], {"x.py": "0"}, {"fdr": 0.1}) == name
    others = [
        named([b], ["m"], {"x.py": "0"}, {"fdr": 0.1}),
        named([b, tmp_path / "c"], ["n"], {"x.py": "0"}, {"fdr": 0.1}),
        named([b, tmp_path / "c"], ["m"], {"x.py": "1"}, {"fdr": 0.1}),
        named([b, tmp_path / "c"], ["m"], {"x.py": "0"}, {"fdr": 0.2}),
    ]
    assert name not in others
    assert len(set(others)) == 4
