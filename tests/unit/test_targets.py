"""Catalogues of any format become the cleaned target table; real tables and property-based rows."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.table import Table
from hypothesis import example, given
from hypothesis import strategies as st

from tandemlens.base.columns.targets import COLUMNS
from tandemlens.base.errors import SettingsError
from tandemlens.base.tables import read_table, write_table
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.plan import load_plan
from tandemlens.survey.tandems import find_tandems
from tandemlens.survey.targets import clean_targets, field_groups, shard_digests

ROWS = {"name": ["A", "B", "C"], "ra": [10.0, 20.0, 30.0], "dec": [1.0, -2.0, 3.0], "z": [0.2, 0.3, 0.4]}


def raw(**columns):
    n = len(next(iter(columns.values())))
    blank = {"name": [""] * n, **{c: [np.nan] * n for c in ("ra", "dec", "z", "richness", "ebv")}}
    return pd.DataFrame({**blank, **columns})


@pytest.mark.parametrize("suffix", ["csv", "fits", "vot", "parquet", "csv.gz"])
def test_every_format_reads_the_same(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    table = Table({**ROWS, "LAMBDA": [20.0, 30.0, 40.0]})
    if suffix == "vot":
        table.write(path, format="votable")
    elif suffix == "fits":
        table.write(path)
    else:
        frame = table.to_pandas()
        frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    found = read_catalogue(path)
    assert list(found["name"]) == ["A", "B", "C"]
    np.testing.assert_allclose(
        found[["ra", "dec", "z"]].astype(float), np.array([ROWS["ra"], ROWS["dec"], ROWS["z"]]).T
    )
    np.testing.assert_allclose(found["richness"].astype(float), [20, 30, 40])


def test_columns_can_be_mapped(tmp_path):
    pd.DataFrame({"cl": ["A"], "alpha0": [1.0], "delta0": [2.0]}).to_csv(tmp_path / "t.csv", index=False)
    found = read_catalogue(tmp_path / "t.csv", {"name": "cl", "ra": "alpha0", "dec": "delta0"})
    assert (float(found["ra"][0]), float(found["dec"][0])) == (1.0, 2.0)


def test_a_wrong_mapping_names_the_columns(tmp_path):
    pd.DataFrame(ROWS).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(SettingsError, match="raa"):
        read_catalogue(tmp_path / "t.csv", {"ra": "raa"})


def test_bad_rows_keep_their_place():
    frame = clean_targets(
        raw(
            name=["good", "south", "text", "none", "again", "no z", "odd z"],
            ra=[10.0, 20.0, "here", np.nan, 10.0001, 30.0, 40.0],
            dec=[1.0, -95.0, "there", 5.0, 1.0, 2.0, 2.0],
            z=[0.3, 0.3, 0.3, 0.3, 0.3, np.nan, -1.0],
        ),
        30,
        8,
    )
    assert list(frame["status"]) == ["ok", *["bad_coordinates"] * 3, "duplicate", "ok", "ok"]
    assert list(frame["flags"])[-2:] == ["no_redshift", "bad_redshift"]
    assert frame["target_id"].is_unique
    assert (frame.loc[frame["status"] != "ok", "reason"].str.len() > 20).all()
    assert (frame.loc[frame["status"] != "ok", "shard"] == "none").all()


anything = st.one_of(st.floats(allow_nan=True), st.text(max_size=8), st.none(), st.integers(-400, 400))


@example([("A", "inf", None, None), ("B", 1e300, -1e300, 0.3)])
@given(st.lists(st.tuples(st.text(max_size=12), anything, anything, anything), min_size=1, max_size=12))
def test_whatever_the_rows_none_is_lost(tmp_path_factory, rows):
    name, ra, dec, z = zip(*rows, strict=True)
    columns = {k: pd.Series(v, dtype=object) for k, v in (("name", name), ("ra", ra), ("dec", dec), ("z", z))}
    frame = clean_targets(raw(**columns), 30, 8)
    assert len(frame) == len(rows)
    assert frame["target_id"].is_unique
    assert frame["target_id"].str.fullmatch(r"[A-Za-z0-9_]+-[0-9a-f]{8}").all()
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    write_table(path, frame, COLUMNS)
    assert len(read_table(path)) == len(rows)


def test_sexagesimal_coordinates():
    frame = clean_targets(raw(name=["A"], ra=["12:00:00"], dec=["-30:30:00"]), 30, 8)
    assert frame["ra"][0] == pytest.approx(180)
    assert frame["dec"][0] == pytest.approx(-30.5)


def test_groups_chain_and_do_not_care_about_order():
    ra = np.array([10.0, 10.4, 10.8, 50.0])
    names = np.array(["b", "a", "c", "d"])
    groups = field_groups(ra, np.zeros(4), names, 30)
    assert list(groups) == ["a", "a", "a", "d"]
    order = [3, 1, 0, 2]
    assert list(field_groups(ra[order], np.zeros(4), names[order], 30)) == ["d", "a", "a", "a"]


def test_groups_close_over_the_wrap_and_the_pole():
    assert len(set(field_groups(np.array([359.9, 0.1]), np.zeros(2), np.array(["a", "b"]), 30))) == 1
    assert len(set(field_groups(np.array([0.0, 180.0]), np.array([89.9, 89.9]), np.array(["a", "b"]), 30))) == 1


def crowd(n, side, seed):
    """Places in a square around the equator, deg, without edges in right ascension that matter."""
    rng = np.random.default_rng(seed)
    return rng.uniform(20, 20 + side, n), rng.uniform(-side / 2, side / 2, n)


def test_groups_of_a_crowd_end():
    """At 36 clusters a square degree, a million on the sky, chains of 30 arcmin would join nearly all."""
    ra, dec = crowd(3600, 10, 1)
    sizes = np.unique(field_groups(ra, dec, np.arange(3600), 30), return_counts=True)[1]
    assert sizes.max() < 150
    assert len(sizes) > 300
    # what shares pixels is one group all the same: every pair within 4 arcmin
    groups = field_groups(ra, dec, np.arange(3600), 30)
    i, j, _, _ = search_around_sky(*[SkyCoord(ra, dec, unit="deg")] * 2, 4 * u.arcmin)
    assert (groups[i] == groups[j]).all()
    assert len(i) > 2 * 3600 * 0.2


def test_groups_of_few_are_chains_whatever_else_is_far():
    """Up to three others within the radius change nothing; twins at one place count once."""
    ra = np.repeat([10.0, 10.45, 10.9, 11.35, 80.0], 6)
    groups = field_groups(ra, np.zeros(30), np.arange(30), 30)
    assert groups.tolist() == [0] * 24 + [24] * 6


def test_links_stay_within_cells():
    ra, dec, names = np.array([10.0, 10.1, 10.2]), np.zeros(3), np.array(["a", "b", "c"])
    assert field_groups(ra, dec, names, 30, np.array([0, 1, 1])).tolist() == ["a", "b", "b"]


def test_targets_more_change_the_rows_of_their_own_shards_alone():
    ra, dec = crowd(2100, 20, 2)
    frames = [clean_targets(raw(name=[f"N{k % 97}{k}" for k in range(n)], ra=ra[:n], dec=dec[:n]), 30, 16)
              for n in (2000, 2100)]  # fmt: skip
    old, new = map(shard_digests, frames)
    touched = set(frames[1]["shard"][2000:])
    assert {shard for shard in new if new[shard] != old.get(shard)} == touched
    assert len(touched) < len(new)


def test_shards_are_stable_under_adding_targets():
    first = clean_targets(raw(**ROWS), 30, 8)
    more = {k: [*v, w] for (k, v), w in zip(ROWS.items(), ("D", 200.0, 60.0, 0.5), strict=True)}
    second = clean_targets(raw(**more), 30, 8)
    assert list(second["shard"][:3]) == list(first["shard"])
    assert list(second["target_id"][:3]) == list(first["target_id"])
    old, new = shard_digests(first), shard_digests(second)
    assert all(new[shard] == digest for shard, digest in old.items())
    assert len(new) == len(old) + 1


def test_an_empty_catalogue_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("name,ra,dec\n")
    cfg = {"catalogue": str(tmp_path / "t.csv"), "columns": {}, "format": "auto", "hdu": 1}
    with pytest.raises(SettingsError, match="holds no row; give at least one target"):
        load_plan({**cfg, "group_radius_arcmin": 30, "nside": 8}, tmp_path / "p.parquet", {}, True)
    with pytest.raises(SettingsError, match="does not exist"):
        load_plan({**cfg, "catalogue": "nowhere.csv"}, tmp_path / "p.parquet", {}, True)


@pytest.mark.parametrize(
    ("file", "expected"), [("DESy3_redmapper.csv.gz", (75, 17, 2)), ("sdss_redmapper.csv.gz", (17, 4, 1))]
)
def test_catalogue_tandems_of_redmapper(real, file, expected):
    """Aligned pairs with dz > 0.15 within 120, 60 and 30 arcsec (README of the real data)."""
    frame = clean_targets(read_catalogue(real / "catalogues" / file), 30, 8)
    pairs = find_tandems(frame, frame, 0.15, 120)
    assert tuple(int((pairs["separation_arcsec"] < r).sum()) for r in (120, 60, 30)) == expected
    assert (pairs["dz"] > 0.15).all()
    assert (pairs["separation_arcsec"] <= 120).all()


def test_a_foreground_cluster_is_no_tandem():
    frame = clean_targets(raw(name=["A", "B"], ra=[10.0, 10.01], dec=[0.0, 0.0], z=[0.3, 0.6]), 30, 8)
    pairs = find_tandems(frame, frame, 0.15, 120)
    assert list(zip(pairs["target_id"], pairs["bg_name"], strict=True)) == [(frame["target_id"][0], "B")]
    assert pairs["separation_arcsec"][0] == pytest.approx(36, rel=1e-6)


def test_real_catalogues_are_read(real):
    for path in sorted((real / "catalogues").glob("*.csv.gz")):
        found = read_catalogue(path)
        frame = clean_targets(found, 30, 8)
        assert len(frame) == len(found) > 50
        assert (frame["status"] == "ok").mean() > 0.95
