"""VizieR: tables by our names, and each trap of services.md C10, D1 and D2."""

from importlib.resources import files

import numpy as np
import pytest
from asking import settings_of

from places import ROOT
from skyserver.server import Server
from skyserver.vizier import TABLES, Served, clusters
from tandemlens.base.config import load_schema, load_yaml, validate_settings
from tandemlens.base.errors import DataError, SettingsError
from tandemlens.base.tables import read_table
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.plan import load_plan
from tandemlens.survey.services.client import BadAnswer
from tandemlens.survey.services.vizier import _TABLE_ID, _TableCheck, table_file
from tandemlens.survey.targets import clean_targets

KNOWN = load_yaml(ROOT / "resources/catalogues.yaml")
TABLE = "J/ApJS/0/0/table"


@pytest.fixture
def server():
    with Server() as running:
        yield running


def section(catalogue, **changes):
    """Section ``targets`` of the settings."""
    schema = load_schema(ROOT / "config/schemas/targets.schema.yaml")
    return validate_settings({"catalogue": catalogue, **changes}, schema)


def ask(server, folder, catalogue=f"vizier:{TABLE}", known=None, **columns):
    """Cleaned rows of a catalogue, as load_plan makes them."""
    found = table_file(section(catalogue, columns=columns), settings_of(server, folder), known)
    return clean_targets(read_catalogue(found["catalogue"], found["columns"], found["format"]), 30, 8)


def serve(monkeypatch, table=None, name=TABLE, trap=""):
    monkeypatch.setitem(TABLES, name, Served(clusters(60) if table is None else table, trap))


def kept(folder):
    return list((folder / "cache/vizier").rglob("*.vot"))


def test_a_table_comes_whole_by_our_name_and_is_asked_for_once(server, tmp_path):
    frame = ask(server, tmp_path, "vizier:redmapper_sdss")
    assert len(frame) == 26311
    truth = TABLES["J/ApJS/224/1/cat_dr8"].columns
    assert list(frame["name"]) == truth["Name"]
    for ours, theirs in (("ra", "RAJ2000"), ("dec", "DEJ2000"), ("z", "zlambda"), ("richness", "lambda")):
        np.testing.assert_array_equal(frame[ours], truth[theirs])
    again = ask(server, tmp_path, "vizier:redmapper_sdss")
    assert again.equals(frame)
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", KNOWN)
def test_columns_are_called_differently_in_every_table(server, tmp_path, monkeypatch, name):
    entry = KNOWN[name]
    own = clusters(60)
    places = {"_RAJ2000": "RAJ2000", "_DEJ2000": "DEJ2000"}
    names = {"name": "Name", "ra": "RAJ2000", "dec": "DEJ2000", "z": "zlambda", "richness": "lambda"}
    table = {places.get(theirs, theirs): own[names[ours]] for ours, theirs in entry["columns"].items()}
    serve(monkeypatch, table, entry["id"])
    frame = ask(server, tmp_path, f"vizier:{name}", {name: {**entry, "rows": 60}})
    np.testing.assert_array_equal(frame["ra"], own["RAJ2000"])
    np.testing.assert_array_equal(frame["z"], own["zlambda"])
    assert list(frame["name"]) == own["Name"]
    assert frame["richness"].notna().all() == ("richness" in entry["columns"])


def test_every_id_names_a_table_and_every_entry_says_where_it_was_read():
    for entry in KNOWN.values():
        assert _TABLE_ID.fullmatch(entry["id"])
        assert {"name", "ra", "dec", "z"} <= entry["columns"].keys() <= {"name", "ra", "dec", "z", "richness"}
        assert len(entry["evidence"]) > 10


@pytest.mark.parametrize("name", ["J/ApJS/224/1", "J/A+A/594/A27", "V/161"])
def test_an_id_without_a_table_is_refused_before_anything_is_asked(server, tmp_path, name):
    with pytest.raises(SettingsError, match=f"{name.replace('+', '.')} names no table; add it"):
        ask(server, tmp_path, f"vizier:{name}")
    assert not server.asked


def test_an_unknown_name_lists_the_known_ones(server, tmp_path):
    with pytest.raises(SettingsError, match="vizier:redmaper is unknown; known are redmapper_sdss, "):
        ask(server, tmp_path, "vizier:redmaper")


def test_50_row_truncation(server, tmp_path, monkeypatch):
    serve(monkeypatch, trap="50 rows")
    with pytest.raises(SettingsError, match="holds 50 rows, as many as VizieR gives where it overlooks"):
        ask(server, tmp_path)
    known = {"mine": {"id": TABLE, "rows": 60}}
    with pytest.raises(SettingsError, match=r"the answer holds 50 rows, J/ApJS/0/0/table has 60; 3 tries"):
        ask(server, tmp_path, "vizier:mine", known)
    assert not kept(tmp_path)


def test_a_table_that_does_have_50_rows_is_taken(server, tmp_path, monkeypatch):
    serve(monkeypatch, clusters(50))
    assert len(ask(server, tmp_path, "vizier:mine", {"mine": {"id": TABLE, "rows": 50}})) == 50


def test_all_rows_and_only_the_columns_in_use_are_asked_for(server, tmp_path, monkeypatch):
    serve(monkeypatch)
    ask(server, tmp_path, z="zlambda")
    line = server.asked[0][1]
    assert "-out.max=unlimited" in line
    assert "-out=zlambda&" in line
    assert "-out.add=_DEJ2000%2C_RAJ2000" in line


def test_cached_empty_table(server, tmp_path, monkeypatch):
    serve(monkeypatch, clusters(0))
    with pytest.raises(SettingsError, match="the answer holds no row"):
        ask(server, tmp_path)
    assert not kept(tmp_path)
    serve(monkeypatch, clusters(60))
    assert len(ask(server, tmp_path)) == 60


def test_a_table_that_vizier_does_not_have_is_no_empty_catalogue(server, tmp_path):
    with pytest.raises(SettingsError, match=r"the answer holds no row; https://vizier.* shows the table"):
        ask(server, tmp_path)
    assert not kept(tmp_path)


def test_fewer_rows_than_are_known(server, tmp_path, monkeypatch):
    serve(monkeypatch, clusters(59))
    with pytest.raises(SettingsError, match="holds 59 rows, J/ApJS/0/0/table has 60"):
        ask(server, tmp_path, "vizier:mine", {"mine": {"id": TABLE, "rows": 60}})


@pytest.mark.parametrize(
    ("trap", "message"),
    [
        ("error", "VizieR says 'no database'"),
        ("overflow", r"VizieR cut the answer \(OVERFLOW\)"),
        ("words", "the answer is no VOTable but begins with '<!DOCTYPE html>"),
        ("truncated", "the VOTable is broken"),
        ("another", "holds the table J/AJ/1/1/other, J/ApJS/0/0/table was asked for"),
    ],
)
def test_error_with_http_200(server, tmp_path, monkeypatch, trap, message):
    serve(monkeypatch, trap=trap)
    with pytest.raises(SettingsError, match=message):
        ask(server, tmp_path)
    assert len(server.asked) == 3
    assert not kept(tmp_path)


def test_a_limit_that_the_answer_reached_is_overflow(tmp_path):
    """A real answer of five rows, cut at five."""
    real = files("astroquery.vizier.tests") / "data/viz.xml"
    text = real.read_text()
    end = text.index("</RESOURCE>") + len("</RESOURCE>")
    (tmp_path / "one.vot").write_text(text[:end] + "</VOTABLE>")
    with pytest.raises(BadAnswer, match=r"ends at 5 rows, where VizieR cut it \(-out.max=5\)"):
        _TableCheck("ReadMeObj", ["_RAJ2000"], None)(tmp_path / "one.vot")


def test_several_tables_are_refused():
    """A real answer with tables of several catalogues."""
    with pytest.raises(DataError, match=r"holds \d+ tables \(.*I/34/greenw2a.*\), one is needed"):
        _TableCheck("I/34/greenw2a", [], None)(str(files("astroquery.vizier.tests") / "data/viz.xml"))


def test_a_column_that_the_table_lacks_is_refused_at_once(server, tmp_path, monkeypatch):
    serve(monkeypatch)
    with pytest.raises(SettingsError, match=r"has no column zspec \(of those asked for it gave _DEJ2000, _RAJ2000\)"):
        ask(server, tmp_path, z="zspec")
    assert len(server.asked) == 1


def test_columns_of_the_settings_go_over_those_of_the_name(server, tmp_path, monkeypatch):
    serve(monkeypatch, clusters(60, zspec=[0.7] * 60))
    frame = ask(server, tmp_path, "vizier:mine", {"mine": {"id": TABLE, "columns": {"z": "zlambda"}}}, z="zspec")
    assert set(frame["z"]) == {0.7}


def test_sexagesimal_columns_and_names_that_no_id_can_have(server, tmp_path, monkeypatch):
    table = {"RAJ2000": ["00 30 00.0", "23 59 59.9"], "DEJ2000": ["-00 30 36", "+89 54 00"], "SPT-CL": ["A", "B"]}
    serve(monkeypatch, {**table, "RL*": [1.5, None]})
    frame = ask(server, tmp_path, ra="RAJ2000", dec="DEJ2000", name="SPT-CL", richness="RL*")
    np.testing.assert_allclose(frame["ra"], [7.5, 359.99958333], rtol=1e-9)
    np.testing.assert_allclose(frame["dec"], [-0.51, 89.9], rtol=1e-12)
    assert list(frame["name"]) == ["A", "B"]
    np.testing.assert_array_equal(frame["richness"], [1.5, np.nan])


def test_without_network_it_says_what_to_do(tmp_path):
    with Server() as gone:
        settings = settings_of(gone, tmp_path, tries=1)
    with pytest.raises(
        SettingsError, match=r"redmapper_sdss .*cannot be had .*run once on a machine with network .*path"
    ):
        table_file(section("vizier:redmapper_sdss"), settings)


def test_a_kept_table_needs_no_network(tmp_path, monkeypatch):
    serve(monkeypatch)
    with Server() as gone:
        first = ask(gone, tmp_path)
    assert ask(gone, tmp_path).equals(first)


def test_the_plan_of_a_run_reads_it_and_keeps_catalogue_tandems(server, tmp_path, monkeypatch):
    serve(monkeypatch)
    settings = section(f"vizier:{TABLE}", columns={"z": "zlambda"})
    tandems = {"catalogue": None, "dz_min": 0.15, "radius_arcsec": 120}
    everything = load_plan(settings, tmp_path / "all.parquet", {}, True, fetch=settings_of(server, tmp_path))
    some = load_plan(settings, tmp_path / "some.parquet", {}, True, (), settings_of(server, tmp_path), tandems)
    assert len(server.asked) == 1
    frame, all_rows = read_table(tmp_path / "some.parquet"), read_table(tmp_path / "all.parquet")
    # of four clusters the second lies behind the first
    assert list(frame["source_row"]) == list(range(0, 60, 4))
    assert len(all_rows) == 60
    assert set(some) <= set(everything)
