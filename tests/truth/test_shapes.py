"""Spirals, rings and mergers, and the shapes of real galaxies."""

import shutil

import numpy as np
import pytest
from astropy.table import Table

from places import ROOT
from tandemlens.base.cosmology import kpc_per_arcsec
from tandemlens.base.errors import SettingsError
from tandemlens.base.units import njy_per_unit
from tandemlens.features.sequence import Bands
from tandemlens.sky import shapes
from tandemlens.sky.cosmos import half_light_radius, read_cosmos
from tandemlens.sky.paint import Canvas
from tandemlens.sky.spectra import Spectra

DRAW = {"spiral": shapes.draw_spiral, "ring": shapes.draw_ring, "merger": shapes.draw_merger}
# the i band is the one that magnitudes are of
GRI = Bands(("g", "r", "i"), (4800.0, 6400.0, 7500.0), (1400.0, 1400.0, 1200.0), (None, None, "sdss2010-i"))
SCALE, SIDE = 0.25, 400
MAG, Z = 18.0, 0.15


@pytest.fixture(scope="module")
def spectra():
    return Spectra({name: str(ROOT / f"resources/seds/{name}.csv") for name in ("elliptical", "spiral")}, GRI)


def drawn(kind, spectra, seed, z=Z):
    return DRAW[kind](np.random.default_rng(seed), z, MAG, spectra, 1.0, -2.0)


def painted(galaxies):
    canvas = Canvas(SIDE, SCALE, 3)
    for galaxy in galaxies:
        canvas.add(galaxy)
    return canvas


@pytest.mark.parametrize("kind", DRAW)
def test_the_parts_sum_to_the_magnitude_and_are_painted_whole(kind, spectra):
    for seed in range(6):
        galaxies = drawn(kind, spectra, seed)
        assert {g.kind for g in galaxies} == {kind}
        assert {g.z for g in galaxies} == {Z}
        total = sum(g.flux for g in galaxies)
        assert total[2] == pytest.approx(njy_per_unit(0.0) * 10 ** (-0.4 * MAG), rel=1e-9)
        # tails may leave the canvas
        np.testing.assert_allclose(painted(galaxies).planes.sum((1, 2)), total, rtol=0.02 if kind == "merger" else 0.01)


@pytest.mark.parametrize("kind", DRAW)
def test_a_seed_draws_the_same_again_and_another_one_differs(kind, spectra):
    one, same, other = (painted(drawn(kind, spectra, s)).planes for s in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01 * one.max()


@pytest.mark.parametrize("kind", DRAW)
def test_the_nucleus_lies_where_asked_and_sizes_are_physical(kind, spectra):
    near, far = (drawn(kind, spectra, 5, z) for z in (0.1, 0.4))
    assert (near[0].x, near[0].y) == (1.0, -2.0)
    if kind == "ring":
        for a, b in zip(near, far, strict=True):
            assert a.r_e * kpc_per_arcsec(0.1) == pytest.approx(b.r_e * kpc_per_arcsec(0.4))
    for galaxy in near:
        assert 0.05 < galaxy.r_e * kpc_per_arcsec(0.1) < 15


def test_a_ring_has_a_hollow_and_the_radius_it_says(spectra):
    for seed in range(12):
        ring = drawn("ring", spectra, seed)[-1]
        assert 3 <= ring.r_e * kpc_per_arcsec(Z) <= 10
        pixels = ring.picture.pixels
        y, x = (np.arange(n) - (n - 1) / 2 for n in pixels.shape)
        radius = np.hypot(x[None], y[:, None] / ring.q) * ring.picture.step / ring.r_e
        mean = [pixels[(radius > r - 0.1) & (radius < r + 0.1)].mean() for r in (0.1, 1.0)]
        assert mean[0] < 0.1 * mean[1]


def test_arms_are_logarithmic_spirals(spectra):
    """Fourier modes of the arms along a spiral of some pitch exceed those of radial spokes."""
    pitches, gain = np.deg2rad(np.arange(8.0, 41.0, 1.0)), []
    for seed in range(10):
        arms = drawn("spiral", spectra, seed)[-1]
        # every fourth pixel from the middle outwards
        pixels = arms.picture.pixels[::4, ::4]
        y, x = (np.arange(n) - (n - 1) / 2 for n in pixels.shape)
        phi = np.arctan2(y[:, None] / arms.q, x[None])
        turn = np.log(np.maximum(np.hypot(x[None], y[:, None] / arms.q), 1.0))
        strength = lambda m, slope: abs((pixels * np.exp(1j * m * (phi + slope * turn))).sum())  # noqa: B023, E731
        spiral = max(strength(m, s / np.tan(p)) for m in (1, 2, 3, 4) for s in (-1, 1) for p in pitches)
        gain.append(spiral / max(strength(m, 0.0) for m in (1, 2, 3, 4)))
    assert min(gain) > 1
    assert np.median(gain) > 2


def test_mergers_have_two_nuclei_and_light_far_outside(spectra):
    far = []
    for seed in range(10):
        galaxies = drawn("merger", spectra, seed)
        assert len(galaxies) == 4
        assert np.hypot(galaxies[2].x - galaxies[0].x, galaxies[2].y - galaxies[0].y) > 0
        disc = galaxies[1]
        y, x = ((np.arange(n) - (n - 1) / 2) * disc.picture.step for n in disc.picture.pixels.shape)
        gap = np.hypot(x[None] + disc.x - galaxies[0].x, y[:, None] + disc.y - galaxies[0].y)
        far.append(disc.picture.pixels[gap > 4 * disc.r_e].sum())
    # an undisturbed exponential disc has 1 per cent there
    assert np.median(far) > 0.02


@pytest.fixture(scope="module")
def cosmos(real):
    return real / "cosmos_galaxies" / "cosmos"


def test_real_galaxies_become_pictures(cosmos):
    shapes_, refused = read_cosmos(cosmos)
    assert len(shapes_) + len(refused) == 100
    assert len(shapes_) >= 45
    assert all("is left out: " in reason for reason in refused)
    fluxes = Table.read(cosmos / "real_galaxy_catalog_26_extension_example_fits.fits")
    listed = {str(row["IDENT"]): row["flux_radius"] * 0.03 for row in fluxes}
    ratio = np.array([s.r_half / listed[s.name] for s in shapes_])
    assert 0.75 < np.median(ratio) < 1.2
    for shape in shapes_:
        pixels = shape.picture.pixels
        assert pixels.sum() == pytest.approx(1, abs=1e-4)
        assert pixels.min() >= 0
        place = np.arange(len(pixels)) - (len(pixels) - 1) / 2
        assert abs((pixels.sum(0) * place).sum()) < 0.05
        assert abs((pixels.sum(1) * place).sum()) < 0.05
        assert 20 < shape.mag < 26
        assert half_light_radius(shape.sized(0.4)) == pytest.approx(0.4)


def test_few_of_a_long_catalogue_are_read(cosmos):
    shapes_, refused = read_cosmos(cosmos, most=7)
    assert len(shapes_) + len(refused) == 7


def test_bad_stamps_are_refused_one_by_one(cosmos, tmp_path):
    for path in cosmos.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    catalogue = tmp_path / "real_galaxy_catalog_26_extension_example.fits"
    table = Table.read(catalogue)
    table["GAL_HDU"][4], table["NOISE_VARIANCE"][7], table["PSF_FILENAME"][8] = 999, -1.0, "absent.fits"
    table.write(catalogue, overwrite=True)
    _, refused = read_cosmos(tmp_path)
    for name, why in (
        (4, "no readable HDU 999"),
        (7, "its noise variance is -1.0"),
        (8, "absent.fits has no readable HDU"),
    ):
        (reason,) = [r for r in refused if r.startswith(f"galaxy {name} of")]
        assert why in reason


def test_a_folder_of_another_layout_is_an_error_of_settings(real, tmp_path):
    for folder in (tmp_path, tmp_path / "absent", real / "cosmos_galaxies" / "test_COSMOSWeb_galaxy_catalog"):
        with pytest.raises(SettingsError, match="layout of GalSim's RealGalaxy"):
            read_cosmos(folder)
