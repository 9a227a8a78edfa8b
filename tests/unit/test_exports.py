"""The catalogue in every format, read back by those who will read it: the same rows, values, units and names."""

import io
import subprocess
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from regions import CircleSkyRegion, Regions

from places import ROOT
from tandemlens.base.columns import crossmatch
from tandemlens.base.columns.candidates import columns
from tandemlens.base.columns.scores import FUSED
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_meta, read_table
from tandemlens.catalogue import fits_table
from tandemlens.catalogue.exports import write_exports
from tandemlens.heads.declaration import score_tables

HEADS = {**score_tables(ROOT / "workflow/scripts"), "fused": FUSED}
COLUMNS = columns(HEADS, ["g", "F606W"], True, ["erass1"], crossmatch.SERVICES)
NUMBERS = [c for c in COLUMNS if c.dtype != "str"]
TEXTS = [c for c in COLUMNS if c.dtype == "str"]
SUFFIXES = {"parquet": "parquet", "fits": "fits", "votable": "vot", "csv": "csv", "regions": "reg"}
META = {"survey": "mock", "run_id": "0123456789ab", "prevalence": "0.01", "remark": 'a < b & "c" \u00e9'}
#: it calls pandas in ways that a later version will not know
LSDB = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
NAMES = [
    "Abell 383",
    '<script>alert("1")</script>&amp;&lt;',
    "'single' \"double\" `tick`, comma; {brace}",
    "caf\u00e9 \u4e2d\u6587 \U0001f52d\U0001f469\u200d\U0001f680",
    "x" * 9999 + "\u00e9",
    "two\nlines\tand a tab",
    "carriage\r\nreturn\r",
    "  blanks around  ",
    "\\xe9 is not \u00e9, \\n is no line end",
    "bell\x07 escape\x1b[31m unit\x1f",
    "]]> <![CDATA[ <!-- -->",
    "=cmd|' /C calc'!A0",
    "NaN",
    "",
]


def catalogue(names=NAMES):
    """Random values within the ranges, some missing, one row a name."""
    rng, n, frame = np.random.default_rng(3), len(names), {}
    for column in COLUMNS:
        if column.dtype == "str":
            frame[column.name] = [f"{column.name} {k}" for k in range(n)]
        elif column.dtype == "bool":
            frame[column.name] = np.arange(n) % 2 == 0
        elif column.dtype.startswith("int"):
            frame[column.name] = np.arange(n) + 1
        else:
            low, high = column.low or 0.0, 1.0 if column.high is None else column.high
            frame[column.name] = rng.uniform(low, high, n)
    frame = pd.DataFrame(frame).assign(name=names)
    frame.loc[n - 2, [c.name for c in NUMBERS if c.dtype == "float64"]] = np.nan
    frame.loc[n - 1, ["chosen", "lens_name"]] = None
    frame["status"] = ["scored"] * (n - 3) + ["no_segments", "bad_coordinates", "scored"]
    frame.loc[0, ["fused", "log_bayes"]] = 1e-300, -np.inf
    return frame


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The catalogue and its files."""
    folder, frame = tmp_path_factory.mktemp("exports"), catalogue()
    paths = {name: folder / f"candidates.{suffix}" for name, suffix in SUFFIXES.items()}
    write_exports(frame, COLUMNS, META, paths)
    return frame, paths


def votable_cells(path):
    """Text of the cells of a VOTable as any reader of XML finds it."""
    rows = ElementTree.parse(path).getroot().iter("{http://www.ivoa.net/xml/VOTable/v1.3}TR")
    return pd.DataFrame([[cell.text or "" for cell in row] for row in rows], columns=[c.name for c in COLUMNS])


def read_back(paths):
    """Numbers of every format as floats, and text."""
    table = Table.read(paths["fits"], hdu=1)
    with fits.open(paths["fits"]) as hdus:
        fits_text = {c.name: [str(v) for v in hdus[1].data[c.name]] for c in TEXTS}
    cells = votable_cells(paths["votable"])
    flags = {"true": 1.0, "false": 0.0, "NaN": np.nan}
    votable = {c.name: [flags[v] if v in flags else float(v) for v in cells[c.name]] for c in NUMBERS}
    csv = pd.read_csv(paths["csv"], dtype=str, keep_default_na=False, lineterminator="\n")
    return {
        "parquet": read_table(paths["parquet"]),
        "fits": {c.name: np.ma.filled(np.ma.asarray(table[c.name], float), np.nan) for c in NUMBERS} | fits_text,
        "votable": votable | {c.name: list(cells[c.name]) for c in TEXTS},
        "csv": {c.name: [csv_number(v) for v in csv[c.name]] for c in NUMBERS} | {c.name: csv[c.name] for c in TEXTS},
    }


def csv_number(cell):
    return {"": np.nan, "True": 1.0, "False": 0.0}[cell] if cell in ("", "True", "False") else float(cell)


def test_all_formats_hold_the_same_numbers(written):
    frame, paths = written
    for name, found in read_back(paths).items():
        for column in NUMBERS:
            want, got = np.asarray(frame[column.name], float), np.asarray(found[column.name], float)
            assert np.array_equal(want, got, equal_nan=True), (name, column.name)


def test_all_formats_hold_the_same_text(written):
    """Byte for byte in Parquet and CSV; in VOTable but for control characters; in FITS after the escape is undone."""
    frame, paths = written
    back = read_back(paths)
    for column in TEXTS:
        want = [v if isinstance(v, str) else "" for v in frame[column.name]]
        for name in ("parquet", "csv"):
            assert [v if isinstance(v, str) else "" for v in back[name][column.name]] == want, (name, column.name)
        assert [v.encode().decode("unicode_escape") for v in back["fits"][column.name]] == want
        escaped = [v.replace("\r", "\\r").replace("\x07", "\\x07").replace("\x1b", "\\x1b") for v in want]
        assert back["votable"][column.name] == [v.replace("\x1f", "\\x1f") for v in escaped]


def test_bytes_of_a_name_stand_in_the_csv(written):
    data = written[1]["csv"].read_bytes()
    for name in NAMES:
        assert name.replace('"', '""').encode() in data


def test_a_long_cell_does_not_widen_every_row_of_fits(written, tmp_path, monkeypatch):
    frame, paths = written
    monkeypatch.setattr(fits_table, "_WIDE", 1000)
    monkeypatch.setattr(fits_table, "_ROWS", 4)
    write_exports(frame, COLUMNS, META, {"fits": tmp_path / "c.fits"})
    assert (tmp_path / "c.fits").stat().st_size < paths["fits"].stat().st_size / 2
    with fits.open(tmp_path / "c.fits", checksum=True) as hdus:
        assert hdus[1].columns["name"].format == "PA(10003)"
    verify(tmp_path / "c.fits")
    said = stilts("tpipe", f"in={tmp_path / 'c.fits'}", "cmd=keepcols name", "ofmt=csv")
    got = pd.read_csv(io.StringIO(said), dtype=str, keep_default_na=False, skip_blank_lines=False)["name"]
    assert [v.encode().decode("unicode_escape") for v in got] == NAMES


def stilts(*arguments):
    """What STILTS says; a failure is an error."""
    done = subprocess.run(["stilts", *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def verify(path):
    done = subprocess.run(["fitsverify", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout


def test_fits_is_valid_and_tells_all_facts(written):
    path = written[1]["fits"]
    verify(path)
    with fits.open(path, checksum=True) as hdus:
        header = hdus["CANDIDATES"].header
        assert header["RUN_ID"] == META["run_id"]
        for number, column in enumerate(COLUMNS, 1):
            assert header[f"TTYPE{number}"] == column.name
            assert header.get(f"TUNIT{number}", "") == column.unit
            assert header[f"TUCD{number}"] == column.ucd
            assert header[f"TCOMM{number}"] == column.description


def test_votable_is_clean_and_tells_all_facts(written):
    path = written[1]["votable"]
    assert stilts("votlint", f"votable={path}") == ""
    table = parse(path, verify="exception").get_first_table()
    for column in COLUMNS:
        field = table.get_field_by_id(column.name)
        assert (field.ucd, " ".join(field.description.split())) == (column.ucd, column.description)
        assert str(field.unit or "") == column.unit
        assert (field.ref == "icrs") == (column.name in ("ra", "dec"))
    infos = {info.name: info.value for info in parse(path).resources[0].infos}
    assert infos == META


def test_parquet_tells_all_facts(written):
    path = written[1]["parquet"]
    schema = pq.read_schema(path)
    for column in COLUMNS:
        facts = {k.decode(): v.decode() for k, v in schema.field(column.name).metadata.items()}
        assert facts == {"unit": column.unit, "ucd": column.ucd, "description": column.description}
    assert META.items() <= read_meta(path).items()


def test_every_column_has_a_unit_and_a_ucd_that_exist():
    for column in COLUMNS:
        assert check_ucd(column.ucd, check_controlled_vocabulary=True), (column.name, column.ucd)
        u.Unit(column.unit, format="vounit", parse_strict="raise")
        assert column.description
    assert len({c.name.lower() for c in COLUMNS}) == len(COLUMNS)


def test_regions_are_those_of_the_rows_with_a_place(written):
    frame, paths = written
    found = Regions.read(paths["regions"], format="ds9")
    placed = frame[frame["ra"].notna()]
    assert len(found) == len(placed) == len(frame) - 1
    for region, row in zip(found, placed.to_dict("records"), strict=True):
        assert isinstance(region, CircleSkyRegion)
        assert region.center.separation(SkyCoord(row["ra"], row["dec"], unit="deg")) < 1e-6 * u.arcsec
        assert region.meta["text"] == f"{row['rank']} {row['target_id']}"
        listed = region.visual.get("facecolor", region.visual.get("color")) == "red"
        assert listed == row["listed"]


def test_a_catalogue_without_rows_is_written_in_every_format(tmp_path):
    paths = {name: tmp_path / f"c.{suffix}" for name, suffix in SUFFIXES.items()}
    write_exports(catalogue().iloc[:0], COLUMNS, META, paths)
    assert len(read_table(paths["parquet"])) == 0
    assert len(Table.read(paths["fits"], hdu=1)) == 0
    assert len(parse(paths["votable"]).get_first_table().to_table()) == 0
    assert list(pd.read_csv(paths["csv"])) == [c.name for c in COLUMNS]
    assert len(Regions.read(paths["regions"], format="ds9")) == 0


@pytest.fixture(scope="module")
def hats(written, tmp_path_factory):
    """LSDB and the catalogue as HATS, with a sidecar beside every file as a job leaves them."""
    import lsdb

    from tandemlens.catalogue.partition import write_hats

    folder = tmp_path_factory.mktemp("hats") / "hats"
    write_hats(written[1]["parquet"], folder)
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.with_name(f"{path.name}.prov.json").write_text("{}")
    return lsdb, write_hats, folder


@LSDB
def test_lsdb_finds_a_candidate_by_its_place(written, hats):
    frame, lsdb = written[0], hats[0]
    catalogue = lsdb.open_catalog(hats[2])
    row = frame.iloc[3]
    found = catalogue.cone_search(ra=row["ra"], dec=row["dec"], radius_arcsec=5).compute()
    assert list(found["name"]) == [row["name"]]
    assert list(found["rank"]) == [row["rank"]]


@LSDB
def test_hats_holds_the_same_rows_and_facts(written, hats):
    frame, lsdb = written[0], hats[0]
    catalogue = lsdb.open_catalog(hats[2], columns="all")
    found = catalogue.compute().sort_values("rank")
    placed = frame[frame["ra"].notna()]
    assert list(found.columns) == [c.name for c in COLUMNS]
    for column in COLUMNS:
        if column.dtype == "str":
            assert list(found[column.name].fillna("")) == list(placed[column.name].fillna("")), column.name
        else:
            want, got = (np.asarray(t[column.name], float) for t in (placed, found))
            assert np.array_equal(want, got, equal_nan=True), column.name
    for path in [
        p for p in (hats[2] / "candidates/dataset").rglob("*") if p.suffix in ("", ".parquet") and p.is_file()
    ]:
        schema = pq.read_schema(path)
        for column in COLUMNS:
            facts = {b"unit": column.unit, b"ucd": column.ucd, b"description": column.description}
            assert schema.field(column.name).metadata == {k: v.encode() for k, v in facts.items()}


@LSDB
def test_a_catalogue_without_places_cannot_be_hats(written, hats, tmp_path):
    frame = written[0].assign(ra=np.nan, dec=np.nan)
    write_exports(frame, COLUMNS, META, {"parquet": tmp_path / "c.parquet"})
    with pytest.raises(InputError, match=r"no row of .* has coordinates"):
        hats[1](tmp_path / "c.parquet", tmp_path / "hats")
