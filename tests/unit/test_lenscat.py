"""lenscat cleaned: catalogues of clusters out, errors mended, one row a system, and every row accounted for."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from places import ROOT
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.errors import SettingsError
from tandemlens.base.tables import read_table
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.lenscat import TYPES, clean_lenscat, read_lenscat
from tandemlens.survey.plan import load_plan

NSCS, PAPER = "Lopes et al. (2004) - doi:10.1086/423038", "Huang et al. (2021) - arXiv:2005.04730"
CAROUSEL = "DESJ0603-3558 | DESI-090.9854-35.9683 | J0603-3558"


def row(name="L", ra="10.0", dec="5.0", zlens="0.3", kind="cluster", grading="probable", ref=PAPER):
    return {
        "name": name,
        "RA [deg]": ra,
        "DEC [deg]": dec,
        "zlens": zlens,
        "type": kind,
        "grading": grading,
        "ref": ref,
    }


def clean(*rows, clusters=()):
    return clean_lenscat(pd.DataFrame(rows), clusters)


@pytest.fixture(scope="module")
def path(real):
    return real / "catalogues/lenscat_catalog.csv"


@pytest.fixture(scope="module")
def raw(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_a_row_that_cites_only_cluster_catalogues_is_dropped_with_its_reason():
    both = row("both", ra="20.0", ref=f"{NSCS} | {PAPER}")
    systems, dropped = clean(
        row("NSCS J1", ref=NSCS), both, row("two", ra="30.0", ref=f"{NSCS} | Ebeling et al. (1998) - x")
    )
    assert list(systems["name"]) == ["both"]
    assert list(dropped["name"]) == ["NSCS J1", "two"]
    assert dropped["reason"].str.startswith("cites only catalogues of clusters: Lopes et al. (2004)").all()


def test_abell_2744_goes_to_the_south_and_only_where_it_is_wrong():
    wrong, right = row("Abell 2744", "3.586258333", "30.400175"), row("Abell 2744", "3.586258333", "-30.4")
    systems, _ = clean(wrong)
    assert (systems["dec"][0], systems["flags"][0]) == (-30.400175, "coordinates_mended")
    systems, _ = clean(right)
    assert (systems["dec"][0], systems["flags"][0]) == (-30.4, "")


def test_the_carousel_is_a_cluster():
    systems, _ = clean(row(CAROUSEL, "90.98543", "-35.96827", "0.49 | 0.529 | nan", "galaxy", "confident"))
    assert (systems["type"][0], systems["z"][0], systems["flags"][0]) == ("cluster", 0.49, "type_mended z_several")


@pytest.mark.parametrize(
    ("text", "z", "flags"),
    [
        ("0.308", 0.308, ""),
        ("0.31 | 0.3", 0.31, "z_several"),
        (" 0.405 | nan", 0.405, ""),
        ("nan | 0.4", 0.4, ""),
        ("0.4?", 0.4, "z_uncertain"),
        ("0.55*", 0.55, "z_uncertain"),
        ("not measured", np.nan, ""),
        ("-", np.nan, ""),
        ("measured", np.nan, ""),
    ],
)
def test_redshifts_of_every_kind(text, z, flags):
    systems, _ = clean(row(zlens=text))
    np.testing.assert_equal(systems["z"][0], z)
    assert systems["flags"][0] == flags


def test_friends_within_60_arcsec_are_one_system_of_the_largest_type_and_the_best_grade():
    degrees = [f"{10 + k * 50 / 3600:.6f}" for k in range(3)]
    rows = [
        row("arc", degrees[0], "0.0", "0.9", "galaxy", "confident"),
        row("cluster", degrees[1], "0.0", "not measured", "cluster", "probable"),
        row("group", degrees[2], "0.0", "0.4", "group", "probable"),
        row("far", "10.05", "0.0"),
    ]
    systems, dropped = clean(*rows)
    assert list(systems["name"]) == ["cluster", "far"]
    first = systems.iloc[0]
    assert (first["type"], first["grading"], first["rows"]) == ("cluster", "confident", 3)
    # of the next largest
    assert (first["z"], first["flags"]) == (0.4, "z_of_friend")
    assert set(dropped["reason"]) == {"within 60 arcsec of cluster, one system with it"}


def test_friends_are_found_over_the_wrap_of_right_ascension():
    systems, _ = clean(row("a", "359.995", "0.0"), row("b", "0.005", "0.0"))
    assert list(systems["name"]) == ["a"]


def test_a_lens_in_a_known_cluster_is_promoted_and_one_in_front_is_not():
    rows = [
        row("in", "10.0", zlens="0.30", kind="galaxy"),
        row("front", "20.0", zlens="0.30", kind="galaxy"),
        row("unknown", "30.0", zlens="not measured", kind="group"),
        row("away", "40.0", kind="galaxy"),
    ]
    table = pd.DataFrame({"ra": [10.01, 20.01, 30.01, 41.0], "dec": [5.0] * 4, "z": [0.31, 0.6, 0.5, 0.3]})
    systems, _ = clean(*rows, clusters=[table])
    assert dict(zip(systems["name"], systems["type"], strict=True)) == {
        "in": "cluster",
        "front": "galaxy",
        "unknown": "cluster",
        "away": "galaxy",
    }
    assert list(systems["flags"]) == ["promoted", "", "promoted", ""]


texts = st.sampled_from(["0.3", "0.2 | 0.4", "not measured", "-", "", "nan"])
places = st.sampled_from(["10.0", "10.01", "350.0", "text", "", "400"])
rows_of = st.builds(
    row,
    name=st.text(max_size=6),
    ra=places,
    dec=places,
    zlens=texts,
    kind=st.sampled_from([*TYPES, "star"]),
    grading=st.sampled_from(["confident", "probable", ""]),
    ref=st.sampled_from([NSCS, PAPER, f"{NSCS} | {PAPER}", ""]),
)


@given(st.lists(rows_of, min_size=1, max_size=8))
def test_no_row_is_lost(rows):
    systems, dropped = clean(*rows)
    assert sorted([*systems["row"], *dropped["row"]]) == list(range(len(rows)))
    assert (dropped["reason"].str.len() > 10).all()
    assert systems["rows"].sum() == len(rows) - (~dropped["reason"].str.startswith("within")).sum()


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("name,ra,dec\nA,1,2\n")
    with pytest.raises(SettingsError, match=r"lacks the columns RA \[deg\], .* of lenscat; it has name, ra, dec"):
        read_lenscat(tmp_path / "t.csv")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_lenscat(tmp_path / "none.csv")


@pytest.mark.real
def test_counts_of_version_1_1_3(raw):
    """Of 32,838 rows 13,678 cite only catalogues of clusters, 60 of them graded confident, all of Olsen's."""
    systems, dropped = clean_lenscat(raw)
    assert len(raw) == len(systems) + len(dropped) == 32838
    gone = raw.loc[dropped.loc[dropped["reason"].str.startswith("cites only"), "row"]]
    assert len(gone) == 13678
    confident = gone[gone["grading"] == "confident"]
    assert len(confident) == 60
    assert confident["name"].str.startswith("CFHTLS-CL").all()
    assert confident["ref"].str.startswith("Olsen et al. (2006)").all()
    assert set(gone["type"]) == {"galaxy"}
    # one of the 9952 NSCS clusters is in a paper of lenses too
    assert gone["name"].str.startswith("NSCS").sum() == 9951


@pytest.mark.real
def test_cluster_rows_of_version_1_1_3_are_842_systems(raw):
    """216 with a confident row, before Abell 2744 is mended, which joins it to the other rows of that cluster."""
    rows = raw[(raw["type"] == "cluster") & (raw["name"] != "Abell 2744")].reset_index(drop=True)
    systems, _ = clean_lenscat(rows)
    assert (len(systems) + 1, (systems["grading"] == "confident").sum() + 1) == (842, 216)


@pytest.mark.real
def test_real_errors_are_mended(path):
    systems, _ = read_lenscat(path)
    by_name = systems.set_index("name")
    assert by_name.loc["Abell 2744", "dec"] == -30.400175
    assert by_name.loc["Abell 2744", "rows"] > 1
    assert by_name.loc[CAROUSEL, "type"] == "cluster"
    assert {"ACT-CLJ0102-4915", "MACS J0416.1-2403", "MACS J1206.2-0847", "1E 0657-56 (Bullet)"} <= set(systems["name"])
    assert set(systems["type"]) == {"cluster", "group"}
    assert len(read_lenscat(path, TYPES)[0]) > 10 * len(systems)


@pytest.mark.real
def test_real_lenses_are_promoted_by_redmapper(raw, real):
    table = read_catalogue(real / "catalogues/sdss_redmapper.csv.gz")
    plain, promoted = clean_lenscat(raw)[0], clean_lenscat(raw, [table])[0]
    assert len(promoted) == len(plain)
    more = promoted[promoted["flags"].str.contains("promoted")]
    assert len(more) > 200
    assert set(more["type"]) == {"cluster"}


@pytest.mark.real
def test_the_list_is_a_sample_with_what_was_left_out_beside(tmp_path, path):
    schema = load_schema(ROOT / "config/schemas/targets.schema.yaml")
    settings = validate_settings({"catalogue": str(path), "format": "lenscat"}, schema)
    load_plan(settings, tmp_path / "targets.parquet", {}, True)
    targets, dropped = read_table(tmp_path / "targets.parquet"), pd.read_csv(tmp_path / "targets.dropped.csv")
    assert len(targets) + len(dropped) == 32838
    assert (targets["status"] == "ok").all()
    flags = targets.set_index("name")["flags"]
    assert flags[CAROUSEL] == "type_mended z_several"
    assert flags["J2147-0102"] == ""
    tandems = {"catalogue": None, "dz_min": 0.15, "radius_arcsec": 120}
    with pytest.raises(SettingsError, match="tandems_only is for catalogues of clusters"):
        load_plan(settings, tmp_path / "t.parquet", {}, True, tandems=tandems)


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "expected"), [("DESy3_redmapper.csv.gz", (75, 17, 2)), ("sdss_redmapper.csv.gz", (17, 4, 1))]
)
def test_only_catalogue_tandems_are_searched(tmp_path, real, file, expected, caplog):
    schema = load_schema(ROOT / "config/schemas/targets.schema.yaml")
    settings = validate_settings({"catalogue": str(real / "catalogues" / file)}, schema)
    for radius, n in zip((120, 60, 30), expected, strict=True):
        tandems = {"catalogue": None, "dz_min": 0.15, "radius_arcsec": radius}
        load_plan(settings, tmp_path / "targets.parquet", {}, True, tandems=tandems)
        assert len(read_table(tmp_path / "targets.parquet")) == n
        assert f"{n} of 2" in caplog.messages[-1]
    with pytest.raises(SettingsError, match=r"no target of .* has a cluster behind it by more than 5 in redshift"):
        load_plan(settings, tmp_path / "targets.parquet", {}, True, tandems={**tandems, "dz_min": 5})


def test_clusters_behind_may_come_from_another_catalogue(tmp_path):
    (tmp_path / "front.csv").write_text("name,ra,dec,z\nA,10,0,0.3\nB,20,0,0.3\n")
    (tmp_path / "back.csv").write_text("name,ra,dec,z\nC,20.01,0,0.6\n")
    schemas = ROOT / "config/schemas"
    settings = validate_settings(
        {"catalogue": str(tmp_path / "front.csv")}, load_schema(schemas / "targets.schema.yaml")
    )
    tandems = validate_settings({"catalogue": str(tmp_path / "back.csv")}, load_schema(schemas / "tandems.schema.yaml"))
    load_plan(settings, tmp_path / "t.parquet", {}, True, tandems=tandems)
    assert list(read_table(tmp_path / "t.parquet")["name"]) == ["B"]
