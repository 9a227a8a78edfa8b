"""Catalogue, exports, page, manual and the mock survey."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

from places import ROOT
from tandemlens.base.columns.candidates import COLUMNS
from tandemlens.base.config import load_schema, load_survey, validate_settings
from tandemlens.base.manual import fill_manual
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import read_table
from tandemlens.catalogue.exports import write_exports
from tandemlens.catalogue.figures import composite, rgb_bands
from tandemlens.features.sequence import Bands, read_sed, second_sequence, sequence_colours, template_colours
from tandemlens.sky.mock import render_shard

SEDS = {name: str(ROOT / f"resources/seds/{name}.csv") for name in ("elliptical", "spiral")}
GRIZ = Bands(tuple("griz"), (4800, 6220, 7540, 8690), (1400, 1400, 1300, 1050))


def test_the_manual_is_that_of_the_schemas():
    """`make manual` writes it; a setting changed in a schema alone fails here."""
    text = (ROOT / "config/README.md").read_text()
    assert fill_manual(text, load_schema(ROOT / "config/schemas/config.schema.yaml")) == text


@pytest.mark.parametrize("path", sorted((ROOT / "config/examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_is_valid(path):
    import yaml

    settings = validate_settings(
        yaml.safe_load(path.read_text()), load_schema(ROOT / "config/schemas/config.schema.yaml")
    )
    assert (ROOT / "config/surveys" / f"{settings['samples']['search']['survey']}.yaml").is_file()


def catalogue(n=3):
    rows = []
    for k in range(n):
        row = {
            c.name: {"str": f"text {k}", "bool": True}.get(c.dtype, 1.0 if c.high is None or c.high >= 1 else 0)
            for c in COLUMNS
        }
        rows.append({**row, "rank": k + 1, "source_row": k, "ra": 10.0 + k, "dec": -1.0, "name": f"Cl <{k}> \u00e9"})
    frame = pd.DataFrame(rows)
    frame.loc[1, ["p_chance", "color_evidence"]] = np.nan
    frame.loc[1, "chosen"] = None
    return frame


def test_exports_agree(tmp_path):
    paths = {suffix: str(tmp_path / f"c.{suffix}") for suffix in ("parquet", "fits", "csv")}
    write_exports(catalogue(), COLUMNS, {"survey": "mock"}, paths)
    parquet, table, csv = read_table(paths["parquet"]), Table.read(paths["fits"], hdu=1), pd.read_csv(paths["csv"])
    assert list(parquet.columns) == table.colnames == list(csv.columns) == [c.name for c in COLUMNS]
    for column in COLUMNS:
        if column.dtype in ("float64", "int32", "int64"):
            np.testing.assert_allclose(parquet[column.name], np.ma.filled(table[column.name], np.nan))
            np.testing.assert_allclose(parquet[column.name], csv[column.name])
    assert table["ra"].unit == "deg"
    with fits.open(paths["fits"], checksum=True) as hdus:
        assert hdus[1].header["TCOMM1"].startswith("1 is the best")
        assert hdus[1].data["name"][0] == "Cl <0> \\xe9"


def test_colours_of_the_composite_keep_their_meaning():
    flat = composite(np.full((3, 4, 4), 50.0), np.ones(3))
    assert (flat[..., 0] == flat[..., 2]).all()
    red = composite(np.stack([np.full((4, 4), v) for v in (60.0, 30.0, 10.0)]), np.ones(3))
    assert (red[..., 0] > red[..., 1]).all()
    assert (red[..., 1] > red[..., 2]).all()


def test_three_bands_of_any_number():
    assert list(rgb_bands(np.array([True, True, True]))) == [2, 1, 0]
    assert list(rgb_bands(np.array([True, False, True]))) == [2, 2, 0]


def test_template_colours_of_a_flat_spectrum_are_zero():
    wave = np.linspace(100, 30000, 4000)
    colours = template_colours((wave, 1 / wave**2), [0.0, 0.7], GRIZ)
    np.testing.assert_allclose(colours, 0, atol=1e-3)


def test_red_sequence_reddens_with_redshift():
    g_r = sequence_colours(SEDS["elliptical"], GRIZ, np.array([0.1, 0.2, 0.3]))[:, 0]
    assert (np.diff(g_r) > 0.1).all()
    # SDSS-like g - r of old galaxies: about 0.95 at z = 0.1 (Eisenstein et al. 2001, fig. 2: 0.95 +- 0.1).
    assert g_r[0] == pytest.approx(0.95, abs=0.12)
    assert np.isnan(sequence_colours(SEDS["elliptical"], GRIZ, 3.0)).all()


def test_spiral_is_bluer_than_elliptical():
    assert (
        template_colours(read_sed(SEDS["spiral"]), [0.3], GRIZ) < sequence_colours(SEDS["elliptical"], GRIZ, 0.3)
    ).all()


def field(rng, n_behind, z=0.7, n=150):
    """Galaxies of random colours in a square of 2 arcmin and some of a second sequence near the middle."""
    x, y = rng.uniform(-60, 60, (2, n + n_behind))
    x[n:], y[n:] = rng.normal(0, 15, (2, n_behind))
    colours = rng.normal([0.8, 0.4, 0.2], [0.5, 0.3, 0.2], (n + n_behind, 3))
    colours[n:] = sequence_colours(SEDS["elliptical"], GRIZ, z) + rng.normal(0, 0.05, (n_behind, 3))
    covariance = np.tile(0.05**2 * np.eye(3), (n + n_behind, 1, 1))
    return x, y, colours, covariance


def lam(rng, n_behind, z_lens=0.3):
    settings = {"dz_min": 0.1, "z_max": 1.4, "radius_arcsec": 40, "field_arcsec": 60}
    sequence = lambda z: sequence_colours(SEDS["elliptical"], GRIZ, z)  # noqa: E731
    return second_sequence(*field(rng, n_behind), z_lens, (0.0, 0.0), sequence, settings)


def test_a_second_sequence_is_found_at_its_redshift():
    rng = np.random.default_rng(0)
    found = [lam(rng, 15) for _ in range(10)]
    assert np.median([f[2] for f in found]) == pytest.approx(0.7, abs=0.05)
    assert np.median([f[1] for f in found]) > np.median([lam(rng, 0)[1] for _ in range(10)]) + 1.5


def test_a_sequence_in_front_is_not_behind():
    assert np.isnan(lam(np.random.default_rng(1), 15, z_lens=np.nan)[0])
    found = [lam(np.random.default_rng(k), 15, z_lens=0.8)[1] for k in range(10)]
    assert np.median(found) < 1.5


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock")
    survey = load_survey("mock", ROOT / "config/surveys", load_schema(ROOT / "config/schemas/survey.schema.yaml"))
    survey["mock"] = {"tandem": 0.5, "projected": 0.3}
    row = {"ra": 150.0, "dec": 2.0, "z": 0.3, "richness": 90.0}
    targets = pd.DataFrame([{"target_id": f"m{k}-00000000", **row} for k in range(3)])

    def render(name, chosen):
        out = {part: folder / f"{name}.{part}" for part in ("stack", "table", "truth", "systems")}
        render_shard(targets.iloc[chosen], survey, ["g", "r", "i"], 50, 7, SEDS, out, lambda done, total: None)
        tables = (read_table(out[part]) for part in ("table", "truth", "systems"))
        with read_stack(out["stack"]) as stack:
            return {t: stack[k] for k, t in enumerate(stack.target_ids)}, *tables

    return render


def test_mock_flux_is_the_painted_flux(rendered):
    stack, _, truth, _ = rendered("flux", [0, 1, 2])
    for target_id, cutout in stack.items():
        inside = np.maximum(truth["east"].abs(), truth["north"].abs()) < 25
        total, painted = cutout.flux[1].sum(), truth.loc[inside & (truth["target_id"] == target_id), "flux_r"].sum()
        # Halos leave the frame of 50 arcsec.
        assert 0.6 < total / painted < 1.1


def test_mock_tandems_are_what_their_label_says(rendered, tmp_path):
    """A tandem has two members of one cluster behind that are strongly lensed and seen; nothing else is labelled."""
    _, _, truth, systems = rendered("label", list(range(3)))
    assert set(systems["class"]) <= {"tandem", "projected", "alone"}
    for row in systems.itertuples():
        behind = truth[(truth["target_id"] == row.target_id) & (truth["kind"] == "behind")]
        seen = behind["strong"] & (behind["snr"] > 5)
        assert row.label == (seen.sum() >= 2) == (row._2 == "tandem")
        assert (len(behind) > 0) == np.isfinite(row.z_behind)
        assert (behind["z"] > row.z).all()
        assert behind["z"].nunique() <= 1


def test_mock_members_share_the_colour_of_their_sequence(rendered):
    _, _, truth, _ = rendered("colour", [0])
    members = truth[truth["kind"] == "member"]
    colour = -2.5 * np.log10(members["flux_g"] / members["flux_r"])
    red = colour[colour > np.median(colour) - 0.15]
    assert len(red) > 0.6 * len(colour)
    assert red.std() < 0.1


def test_mock_noise_is_the_stated_variance(rendered):
    stack, _, _, _ = rendered("noise", [0])
    cutout = next(iter(stack.values()))
    dark = cutout.variance[0] < np.quantile(cutout.variance[0], 0.2)
    assert cutout.flux[0][dark].std() == pytest.approx(np.sqrt(cutout.variance[0][dark].mean()), rel=0.15)


def test_mock_does_not_depend_on_neighbours_in_the_shard(rendered):
    alone, *_ = rendered("alone", [1])
    together, *_ = rendered("together", [2, 1, 0])
    np.testing.assert_array_equal(alone["m1-00000000"].flux, together["m1-00000000"].flux)


def test_mock_says_that_it_is_simulated(rendered):
    _, facts, _, _ = rendered("facts", [0])
    assert facts["release"].str.startswith("simulated").all()
