"""Galaxies and stars of simulated lines of sight against published numbers and real cluster members."""

import numpy as np
import pytest
from astropy.table import Table

from places import ROOT
from tandemlens.base.errors import InputError
from tandemlens.features.sequence import Bands, read_sed, sequence_colours, template_colours
from tandemlens.sky.field import draw_field, draw_sources
from tandemlens.sky.population import draw_centre, draw_members, star_magnitude
from tandemlens.sky.spectra import Spectra

SEDS = {p.stem: str(p) for p in sorted((ROOT / "resources/seds").glob("*.csv"))}
PIVOTS, WIDTHS = (4700, 6200, 7500, 8900), (1400, 1400, 1200, 1000)
SDSS = Bands(tuple("griz"), PIVOTS, WIDTHS, tuple(f"sdss2010-{b}" for b in "griz"))
DES = Bands(tuple("griz"), PIVOTS, WIDTHS, tuple(f"decamDR1-{b}" for b in "griz"))
SPECTRA = Spectra(SEDS, SDSS)


def magnitudes(galaxies):
    return 31.4 - 2.5 * np.log10(np.array([g.flux for g in galaxies]))


@pytest.fixture(scope="module")
def field():
    """One square degree to i = 24.5."""
    found = draw_field(np.random.default_rng(3), 3600.0, SPECTRA, 24.5)
    return [g for g in found if g.kind == "field"], [g for g in found if g.kind == "star"]


# i = 18 to 20.5: 92 per deg^2 brighter than r = 17.77 (Strauss et al. 2002) and the slopes of Yasuda et al. (2001);
# from 19.25: COSMOS2020 (Weaver et al. 2022, table 2), log10 per deg^2 and mag
@pytest.mark.parametrize(
    ("mag", "expected"), [(18.25, 2.52), (19.25, 3.01), (20.25, 3.44), (21.25, 3.85), (22.25, 4.21), (23.75, 4.71)]
)
def test_counts_are_the_published_ones(field, mag, expected):
    i = magnitudes(field[0])[:, 2]
    wide = 0.5 if mag > 19 else 1.0
    found = (np.abs(i - mag) < wide / 2).sum() / wide
    # Poisson errors are below 7 per cent at i = 18, 4 per cent at 19, and small beyond
    assert found == pytest.approx(10**expected, rel=0.2)


def test_faint_counts_agree_with_the_lsst_science_book():
    """N(< i) = 46 * 10^(0.31 (i - 25)) per arcmin^2 at i = 23 to 25; COSMOS2020 has 0.75 of it at 22."""
    found = draw_field(np.random.default_rng(4), 1800.0, SPECTRA, 25.0)
    i = magnitudes([g for g in found if g.kind == "field"])[:, 2]
    for limit in (23, 24, 25):
        assert (i < limit).sum() / 900 == pytest.approx(46 * 10 ** (0.31 * (limit - 25)), rel=0.2)


def test_the_depth_decides_how_faint_the_field_is(field):
    assert magnitudes(field[0])[:, 2].max() == pytest.approx(24.5, abs=0.05)
    deepest = draw_field(np.random.default_rng(1), 300.0, SPECTRA, 30.0)
    assert 26.4 < magnitudes(deepest)[:, 2].max() < 26.6


def test_fainter_galaxies_are_farther_bluer_and_smaller(field):
    mag, galaxies = magnitudes(field[0]), field[0]
    z, size = np.array([g.z for g in galaxies]), np.array([g.r_e * np.sqrt(g.q) for g in galaxies])
    bright, faint = (np.abs(mag[:, 2] - m) < 0.5 for m in (19, 24))
    colour = mag[:, 0] - mag[:, 1]
    assert np.median(z[bright]) == pytest.approx(0.25, abs=0.06)
    assert np.median(z[faint]) == pytest.approx(0.85, abs=0.1)
    assert z.max() < 3
    assert np.median(colour[bright]) > np.median(colour[faint]) + 0.4
    # half-light radii of COSMOS galaxies in F814W at i = 24: 0.20 arcsec
    assert np.median(size[faint]) == pytest.approx(0.21, abs=0.04)
    assert np.median(size[bright]) > 3 * np.median(size[faint])
    assert 0.5 < np.mean([g.q for g in galaxies]) < 0.65


def test_field_colours_are_those_of_cosmos(real):
    """HSC magnitudes of COSMOS galaxies at 23.5 < i < 25.3; an error of a median is some 0.08 mag."""
    folder = real / "cosmos_galaxies/cosmos"
    table = Table.read(folder / "real_galaxy_catalog_26_extension_example_fits.fits")
    theirs = np.stack([np.array(table[f"HSC_{b}"], float) for b in "griz"], axis=1)
    theirs = theirs[np.isfinite(theirs).all(1) & (np.abs(theirs[:, 2] - 24.4) < 0.9)]
    hsc = Bands(tuple("griz"), PIVOTS, WIDTHS, tuple(f"hsc2017-{b}" for b in "griz"))
    drawn = draw_field(np.random.default_rng(5), 900.0, Spectra(SEDS, hsc), 25.3)
    ours = magnitudes([g for g in drawn if g.kind == "field"])
    ours = ours[np.abs(ours[:, 2] - 24.4) < 0.9]
    away = np.median(-np.diff(ours, axis=1), axis=0) - np.median(-np.diff(theirs, axis=1), axis=0)
    assert (np.abs(away) < 0.15).all(), away


def test_stars_rise_with_magnitude_and_lie_on_the_locus(field):
    mag = magnitudes(field[1])
    per_mag = np.histogram(mag[:, 2], np.arange(16, 25))[0]
    assert (np.diff(per_mag[:-1]) > 0).all()
    assert np.mean(mag[:, 2] < 21.3) * len(mag) == pytest.approx(4200, rel=0.1)
    g_r, r_i = -np.diff(mag[:, :3], axis=1).T
    # Covey et al. (2007), table 1: r - i at g - r = 0.51 and 0.94, and M dwarfs at g - r = 1.4
    for colour, expected in ((0.51, 0.19), (0.94, 0.35)):
        assert np.median(r_i[np.abs(g_r - colour) < 0.03]) == pytest.approx(expected, abs=0.03)
    dwarfs = r_i > 0.9
    assert np.median(g_r[dwarfs]) == pytest.approx(1.42, abs=0.04)


def offsets(name, z, mag, bands):
    colours = -np.diff(mag, axis=1)
    return template_colours(read_sed(SEDS[name]), [np.median(z)], bands)[0] - np.median(colours, axis=0)


def test_central_galaxies_have_the_colours_of_real_ones(real):
    """SDSS redMaPPer: g - r, r - i, i - z over 0.1 < z < 0.35."""
    table = Table.read(real / "catalogues/test_dr8_centcalcat.fit", hdu=1)
    z, mag = np.array(table["Z"], float), np.array(table["MAG"], float)[:, 1:]
    for low in np.arange(0.1, 0.31, 0.05):
        inside = (z >= low) & (z < low + 0.05)
        assert (np.abs(offsets("central", z[inside], mag[inside], SDSS)) < 0.05).all(), low


def test_the_red_sequence_is_that_of_real_members(real):
    """One SDSS cluster, and DES redMaPPer clusters by redshift: medians within 0.05 mag, g - r of DES within 0.07."""
    table = Table.read(real / "catalogues/test_cluster_members.fit", hdu=1)
    table = table[table["PMEM"] > 0.7]
    assert (np.abs(offsets("elliptical", table["Z"], np.array(table["MAG"], float)[:, 1:], SDSS)) < 0.05).all()
    folder = real / "catalogues/slsim_redmapper_example"
    clusters = Table.read(folder / "clusters_example.fits", hdu=1)
    redshift = dict(zip(clusters["cluster_id"], clusters["z"], strict=True))
    members = Table.read(folder / "members_example.fits", hdu=1)
    z = np.array([redshift[k] for k in members["cluster_id"]], float)
    mag = np.stack([np.array(members[f"mag_{b}"], float) for b in "griz"], axis=1)
    bright = np.abs(mag[:, 2] - star_magnitude(z)) < 1
    for low, high in ((0.25, 0.3), (0.36, 0.41), (0.41, 0.45), (0.45, 0.5), (0.5, 0.55), (0.55, 0.6), (0.6, 0.7)):
        chosen = bright & (z >= low) & (z < high)
        away = offsets("elliptical", z[chosen], mag[chosen], DES)
        assert (np.abs(away[1:]) < 0.05).all(), (low, away)
        assert abs(away[0]) < 0.07, (low, away)


def test_members_scatter_around_the_sequence():
    galaxies, luminosity = draw_members(np.random.default_rng(6), 0.3, 200.0, 300.0, SPECTRA, "member")
    colours = -np.diff(magnitudes(galaxies), axis=1)
    red = np.array([g.n for g in galaxies]) == 4
    expected = sequence_colours(SEDS["elliptical"], SDSS, 0.3)
    np.testing.assert_allclose(np.median(colours[red], axis=0), expected, atol=0.02)
    np.testing.assert_allclose(colours[red].std(0), 0.05, rtol=0.2)
    assert np.median(colours[~red, 0]) < expected[0] - 0.4
    i = magnitudes(galaxies)[:, 2]
    np.testing.assert_allclose(np.median(i + 2.5 * np.log10(luminosity)), star_magnitude(0.3), atol=0.02)


def test_the_central_galaxy_carries_the_halo_light():
    centre, light = draw_centre(np.random.default_rng(7), 0.3, SPECTRA, "bcg")
    assert (centre.kind, light.kind) == ("bcg", "icl")
    assert light.r_e > centre.r_e


def test_magnitudes_are_those_of_i_whatever_the_bands():
    bands = Bands(("g", "z"), PIVOTS[::3], WIDTHS[::3], ("sdss2010-g", "sdss2010-z"))
    all_bands = SPECTRA.flux("spiral", 0.4, 21.0, np.zeros(3))
    np.testing.assert_allclose(Spectra(SEDS, bands).flux("spiral", 0.4, 21.0, np.zeros(1)), all_bands[::3], rtol=1e-9)
    assert -2.5 * np.log10(all_bands[2]) + 31.4 == pytest.approx(21.0, abs=1e-6)


def test_many_fluxes_are_those_of_one_by_one():
    rng = np.random.default_rng(8)
    z, mag, scatter = rng.uniform(0, 3, 5), rng.uniform(18, 25, 5), rng.normal(0, 0.1, (5, 3))
    one = [SPECTRA.flux("irregular", *row) for row in zip(z, mag, scatter, strict=True)]
    np.testing.assert_allclose(SPECTRA.flux("irregular", z, mag, scatter), one)


def test_sources_lie_between_the_redshifts():
    found = draw_sources(np.random.default_rng(9), 500, 0.6, 2.0, SPECTRA)
    z = np.array([g.z for g in found])
    assert len(found) == 500
    assert 0.6 <= z.min() < z.max() <= 2.0
    assert {(g.x, g.y) for g in found} == {(0.0, 0.0)}
    with pytest.raises(InputError, match=r"between z = 1 and 0\.5 cannot be drawn"):
        draw_sources(np.random.default_rng(9), 1, 1.0, 0.5, SPECTRA)
