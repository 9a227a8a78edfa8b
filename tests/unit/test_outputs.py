"""Page, manual, data model and templates of colour."""

import importlib
import pkgutil

import numpy as np
import pytest

import tandemlens.base.columns
from places import ROOT
from tandemlens.base.columns.products import products
from tandemlens.base.columns.registry import Column
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.manual import data_model, fill_manual
from tandemlens.catalogue.figures import composite, rgb_bands
from tandemlens.features.sequence import Bands, Sed, read_sed, second_sequence, sequence_colours, template_colours
from tandemlens.heads.declaration import score_tables

PRODUCTS = products(score_tables(ROOT / "workflow/scripts"))
SEDS = {p.stem: str(p) for p in sorted((ROOT / "resources/seds").glob("*.csv"))}
GRIZ = Bands(tuple("griz"), (4800, 6220, 7540, 8690), (1400, 1400, 1300, 1050))


def test_the_manual_is_that_of_the_schemas():
    """`make manual` writes it; a setting changed in a schema alone fails here."""
    text = (ROOT / "config/README.md").read_text()
    assert fill_manual(text, load_schema(ROOT / "config/schemas/config.schema.yaml")) == text


def test_the_data_model_is_that_of_the_columns():
    assert data_model(PRODUCTS) == (ROOT / "docs/data-model.md").read_text()


def test_the_data_model_tells_every_registered_column():
    """A table that is registered and stands on no page fails here; parts of a table are told where they are used."""
    told = {c.name for p in PRODUCTS for c in p.columns}
    found = set()
    for info in pkgutil.iter_modules(tandemlens.base.columns.__path__):
        module = importlib.import_module(f"tandemlens.base.columns.{info.name}")
        for value in vars(module).values():
            if isinstance(value, list) and value and all(isinstance(v, Column) for v in value):
                found |= {c.name for c in value}
    assert len(found) > 200
    # the catalogues' tandems are a table in memory only
    assert found - told <= {"bg_name", "bg_ra", "bg_dec", "bg_z", "separation_arcsec", "dz"}


def test_a_list_within_braces_is_one_path():
    text = data_model([p for p in PRODUCTS if p.columns is PRODUCTS[0].columns])
    assert "## `catalogue/candidates.{parquet,fits,vot,csv}`, `catalogue/hats`" in text


@pytest.mark.parametrize("path", sorted((ROOT / "config/examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_is_valid(path):
    import yaml

    settings = validate_settings(
        yaml.safe_load(path.read_text()), load_schema(ROOT / "config/schemas/config.schema.yaml")
    )
    assert (ROOT / "config/surveys" / f"{settings['samples']['search']['survey']}.yaml").is_file()


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
