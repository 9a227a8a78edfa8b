"""Catalogue, exports, page and manual."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

from places import ROOT
from tandemlens.base.columns.candidates import columns
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.manual import fill_manual
from tandemlens.base.tables import read_table
from tandemlens.catalogue.exports import write_exports
from tandemlens.catalogue.figures import composite, rgb_bands
from tandemlens.features.sequence import Bands, Sed, read_sed, second_sequence, sequence_colours, template_colours

SEDS = {p.stem: str(p) for p in sorted((ROOT / "resources/seds").glob("*.csv"))}
COLUMNS = columns(["colour", "classic", "fused"])
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
    colours = template_colours(Sed(wave, 1 / wave[None] ** 2, np.zeros(1)), [0.0, 0.7], GRIZ)
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
