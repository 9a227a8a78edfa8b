"""A second cluster in the source plane: closed forms, oracles, and known clusters behind the mean lens."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.optimize import nnls
from scipy.special import exp1

from places import ROOT
from tandemlens.base.cosmology import COSMOLOGY, efficiency, kpc_per_arcsec
from tandemlens.features.behind import Templates, contrast, lens_flux
from tandemlens.features.mean_lens import expected_radius, nfw_enclosed, nfw_surface, unlensed
from tandemlens.features.second import Field, Sources, explain, second_features, sources
from tandemlens.features.sequence import Bands, sequence_colours
from tandemlens.sky.halo import draw_lens
from tandemlens.sky.images import eigenvalues, einstein_radius
from tandemlens.sky.lens import DeflectionField

OLD, *YOUNG = (str(ROOT / f"resources/seds/{name}.csv") for name in ("elliptical", "spiral", "starburst"))
GRIZ = Bands(tuple("griz"), (4800, 6220, 7540, 8690), (1400, 1400, 1300, 1050))
Z_LENS, RICHNESS, HALF = 0.35, 60.0, 60.0
TEMPLATES = Templates.of(OLD, YOUNG, GRIZ, 1.5)
Z = TEMPLATES.z[TEMPLATES.kind == "red"]
BEHIND = TEMPLATES.behind(Z_LENS).z[TEMPLATES.behind(Z_LENS).kind == "red"]
#: matches of the field per arcsec^2
FIELD = 2e-4


# the mean lens


@pytest.mark.parametrize("edge", [0.3, 1.0, 4.7])
def test_profile_of_members_is_the_slope_of_their_number(edge):
    inside = quad(lambda x: 2 * np.pi * x * nfw_surface(np.array(x)), 0, edge, points=[0.01])[0]
    assert nfw_enclosed(np.array(edge)) == pytest.approx(inside, rel=2e-2)
    assert nfw_surface(np.array(1.0)) == pytest.approx(1 / 3, rel=1e-3)
    # Navarro, Frenk & White: ln(1 + x) - x / (1 + x) in a sphere goes over into ln(x / 2) + ... in a cylinder
    assert nfw_enclosed(np.array(1.0)) == pytest.approx(2 * np.pi * (1 - np.log(2)), rel=1e-3)


def test_map_of_the_mean_lens():
    einstein = 5.0
    radius = np.array([2.0, 4.0, 7.0, 12.0, 40.0])
    shrink, gain = unlensed(radius, einstein)
    np.testing.assert_allclose(radius * (1 - shrink), einstein * (radius / einstein) ** 0.4)
    step = 1e-4
    slope = (
        (radius + step) * unlensed(radius + step, einstein)[0] - (radius - step) * unlensed(radius - step, 5.0)[0]
    ) / (2 * step)
    np.testing.assert_allclose(gain, 1 / np.abs(slope * shrink), rtol=1e-6)
    assert unlensed(np.array([einstein]), einstein)[0] == pytest.approx(0)
    assert unlensed(np.array([einstein]), einstein)[1] == pytest.approx(20)
    # inside 1.55 Einstein radii an image is stretched by three, or has company
    stretch = slope / shrink
    edge = np.interp(3.0, np.abs(stretch)[:1:-1], radius[:1:-1])
    assert 1.2 * einstein < edge < 2 * einstein
    at_edge = unlensed(np.array([1.55 * einstein]), einstein)
    assert (1 / at_edge[1] / at_edge[0] ** 2) == pytest.approx(3, rel=0.05)


def test_einstein_radii_are_those_of_drawn_lenses():
    """Mean of log10 over halos of one richness, and how it goes with the redshift of the source."""
    rng, grid = np.random.default_rng(2), np.arange(-30, 30.1, 0.5)
    radii = {0.9: [], 2.0: []}
    for _ in range(24):
        lens, _ = draw_lens(rng, Z_LENS, RICHNESS, [], [], [])
        alpha = DeflectionField(lens, 31).on_grid(grid, grid)
        for z, found in radii.items():
            found.append(einstein_radius(eigenvalues(alpha, 0.5, efficiency(Z_LENS, z))[0], 0.5))
    logs = {z: np.log10(np.maximum(found, 0.3)) for z, found in radii.items()}
    for z, log in logs.items():
        assert np.median(log) == pytest.approx(np.log10(expected_radius(RICHNESS, Z_LENS, z)), abs=0.1)
    assert logs[2.0].std() == pytest.approx(0.2, abs=0.08)
    assert expected_radius(2 * RICHNESS, Z_LENS, 1.0) / expected_radius(RICHNESS, Z_LENS, 1.0) == pytest.approx(
        2**0.986
    )


# sources


def test_two_spectra_are_fitted_without_negative_light():
    rng = np.random.default_rng(0)
    lens, spectra = rng.uniform(0.2, 3, 4), rng.uniform(0.2, 3, (5, 4))
    flux, noise = rng.normal(0, 3, (60, 4)), rng.uniform(0.5, 2, (60, 4))
    chi2, alone, amount = explain(flux, noise, lens, spectra)
    for k, spectrum in enumerate(spectra):
        for i in range(60):
            best, norm = nnls(np.stack([lens, spectrum], 1) / noise[i, :, None], flux[i] / noise[i])
            assert chi2[k, i] == pytest.approx(norm**2, rel=1e-6, abs=1e-9)
            assert amount[k, i] == pytest.approx(best[1], rel=1e-6, abs=1e-9)
    for i in range(60):
        assert alone[i] == pytest.approx(nnls((lens / noise[i])[:, None], flux[i] / noise[i])[1] ** 2)
    assert (chi2 <= alone + 1e-9).all()


def painted(places, z=1.0, flux=3000.0, size=241, scale=0.3, beam=4.0, noise=5.0):
    """What `contrast` finds of point sources of old stars at places (row, column from the centre, pixel)."""
    rng = np.random.default_rng(4)
    behind = TEMPLATES.behind(Z_LENS)
    lens = lens_flux(np.full(3, np.nan), sequence_colours(OLD, GRIZ, Z_LENS))
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    sigma = beam / 2.3548
    image = sum(np.exp(-((y - r) ** 2 + (x - c) ** 2) / (2 * sigma**2)) for r, c in places) / (2 * np.pi * sigma**2)
    spectrum = behind.flux[np.flatnonzero((behind.kind == "red") & np.isclose(behind.z, z))[0]]
    pixels = rng.normal(0, noise, (4, size, size)) + flux * spectrum[:, None, None] * image
    return contrast(pixels, pixels * 0 + noise**2, pixels > -np.inf, lens, behind, beam, scale)


def test_sources_have_place_redshift_and_brightness():
    seen = sources(painted([(-40, 25), (60, 10)]), Z_LENS, RICHNESS)
    k = np.flatnonzero(np.isclose(seen.z, 1.0))[0]
    likely = seen.match[k] > 0.1
    np.testing.assert_allclose(np.sort(seen.x[likely]), [3.0, 7.5], atol=0.3)
    np.testing.assert_allclose(np.sort(seen.y[likely]), [-12.0, 18.0], atol=0.3)
    np.testing.assert_allclose(seen.bright[k, likely], 22.44 - 31.4 + 2.5 * np.log10(3000), atol=0.1)
    assert (seen.match[seen.z < 0.7][:, likely] < 1e-3).all()
    # the fainter a source may be, the smaller its error: sigma of the image times that of the weights
    assert -6 < seen.error[k] < -2
    assert seen.area == pytest.approx((241 * 0.3) ** 2)
    assert seen.outer == pytest.approx(seen.area - np.pi * 30**2, rel=0.02)


def test_a_lens_of_unknown_richness_is_typical_and_nothing_is_made_of_nothing():
    found = painted([(-40, 25)])
    assert sources(found, Z_LENS, np.nan).richness == 40
    assert sources(None, Z_LENS, RICHNESS) is None
    row = second_features(None, None)
    assert len(row) == 12
    assert np.isnan(list(row.values())).all()
    blue = np.flatnonzero(found.templates.kind == "blue")
    alone = replace(found, templates=Templates(*(a[blue] for a in vars(found.templates).values())))
    assert sources(alone, Z_LENS, RICHNESS) is None


# the filter


def drawn(rng, members=0, z=0.9, centre=(0.0, 0.0), scatter=0.0):
    """Sources of the field and of a cluster behind the mean lens, as a perfect survey of 120 arcsec shows them."""
    redshifts = BEHIND
    count = rng.poisson(FIELD * (2 * HALF) ** 2 * len(redshifts))
    x, y, own = rng.uniform(-HALF, HALF, count), rng.uniform(-HALF, HALF, count), rng.choice(redshifts, count)
    bright = rng.uniform(-3, 4, count)
    einstein = expected_radius(RICHNESS, Z_LENS, z) * 10 ** rng.normal(0, scatter)
    scale = 150 / COSMOLOGY.h / kpc_per_arcsec(z)
    grid = np.linspace(1e-3, 1000 / (150 / COSMOLOGY.h), 2000)
    inside = nfw_enclosed(grid)
    # of the members 0.8 are red, and half of those above 0.1 L* are found
    found = rng.poisson(members * (exp1(0.1) / exp1(0.2)) * 0.8 * 0.5)
    radius = np.interp(rng.uniform(size=found), inside / inside[-1], grid) * scale
    way = rng.uniform(0, 2 * np.pi, found)
    beta = np.stack([radius * np.cos(way), radius * np.sin(way)]) + np.array(centre)[:, None]
    light = -2.5 * np.log10(np.geomspace(0.1, 6, 400))
    weight = np.exp(-(10 ** (-0.4 * light)))
    luminosity = rng.choice(light, found, p=weight / weight.sum())
    # the outer image of every member
    size = np.hypot(*beta)
    theta = size + einstein
    for _ in range(60):
        theta = size + einstein * (theta / einstein) ** 0.4
    image = beta / size * theta
    gain = unlensed(theta, einstein)[1]
    x, y = np.append(x, image[0]), np.append(y, image[1])
    own, bright = np.append(own, np.full(found, z)), np.append(bright, -luminosity + 2.5 * np.log10(gain))
    kept = (np.abs(x) < HALF) & (np.abs(y) < HALF)
    x, y, own, bright = x[kept], y[kept], own[kept], bright[kept]
    match = 0.5 * np.exp(-0.5 * ((redshifts[:, None] - own) / 0.05) ** 2)
    area = 4 * HALF**2
    return Sources(
        redshifts,
        x,
        y,
        match,
        np.repeat(bright[None], len(redshifts), 0),
        np.full(len(redshifts), -5.0),
        area,
        area - np.pi * 30**2,
        Z_LENS,
        RICHNESS,
    ), int((theta[: len(size)] < 1.55 * einstein).sum())


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(0)
    return Field.of([drawn(rng)[0] for _ in range(60)], Z)


def test_density_of_the_field(field):
    """Every source of the field is spread over redshifts by its match; with nothing seen the default stands."""
    middle = (Z > 0.7) & (Z < 1.3)
    # sum of the matches of one source per redshift step, over seven mag
    expected = FIELD * 0.5 * np.sqrt(2 * np.pi) * 0.05 / 0.05 / 7
    assert field.density[middle][:, 1:-2].mean() == pytest.approx(expected, rel=0.3)
    nothing = Field.of([], Z)
    np.testing.assert_allclose(nothing.density, 4e-5)
    assert nothing.at(Z[3], np.array([-9.0, 0.0, 9.0])) == pytest.approx([4e-5] * 3)


@pytest.fixture(scope="module")
def empty(field):
    """Rows of fields without a cluster."""
    rng = np.random.default_rng(1)
    return pd.DataFrame([second_features(drawn(rng)[0], field) for _ in range(12)])


def test_a_field_holds_no_second_cluster(empty):
    """Chance groups of its few sources are poor, and no pair of images is likely."""
    assert empty["second_evidence"].median() < 3
    assert empty["second_richness"].median() < 15
    assert (empty["second_strong"] < 0.6).all()
    assert (empty["second_pair"] < np.log10(0.2)).all()


@pytest.mark.parametrize(("z", "centre"), [(0.8, (0.0, 0.0)), (1.1, (9.0, -5.0))])
def test_a_second_cluster_is_found_with_its_numbers(field, empty, z, centre):
    rng = np.random.default_rng(2)
    rows = pd.DataFrame([second_features(drawn(rng, 70, z, centre)[0], field) for _ in range(10)])
    assert rows["second_evidence"].min() > empty["second_evidence"].max() + 3
    middle = rows.median()
    assert middle["second_z"] == pytest.approx(z, abs=0.03)
    assert middle["second_richness"] == pytest.approx(70, rel=0.25)
    assert middle["second_offset"] == pytest.approx(np.hypot(*centre), abs=10)
    assert middle["second_members"] == pytest.approx(0.8 * middle["second_richness"] * 0.5, rel=0.25)
    assert middle["second_theta_e"] == pytest.approx(expected_radius(RICHNESS, Z_LENS, z), rel=0.03)
    np.testing.assert_allclose(rows["second_offset_scaled"], rows["second_offset"] / rows["second_theta_e"])


def test_the_lens_is_accounted_for(field):
    """The same images behind a lens of other strength are less of a cluster."""
    rng = np.random.default_rng(8)
    gains = []
    for _ in range(8):
        seen, _ = drawn(rng, 70, 1.0)
        right, weaker = (second_features(replace(seen, richness=r), field) for r in (RICHNESS, 10.0))
        gains.append(right["second_evidence"] - weaker["second_evidence"])
    assert np.mean(gains) > 2 * np.std(gains) / np.sqrt(len(gains))


def test_members_on_the_axis_are_lensed_and_others_are_not(field):
    """Strongly lensed images are counted behind lenses that scatter about the mean one, and pairs with them."""
    rng = np.random.default_rng(3)
    found = {}
    for place in (0.0, 24.0):
        cases = [drawn(rng, 110, 1.1, (place, 0.0), 0.2) for _ in range(24)]
        found[place] = pd.DataFrame([{**second_features(seen, field), "true": count} for seen, count in cases])
    near, far = found[0.0].mean(), found[24.0].mean()
    # radii are averaged over without asking which of them the images allow, so that the number runs high
    assert near["true"] < near["second_strong"] < 3.5 * near["true"]
    for name, gain in (("strong", 0.5), ("pair", 0.7), ("expected", 0.3), ("near", 1.0)):
        assert near[f"second_{name}"] > far[f"second_{name}"] + gain


@pytest.mark.parametrize("turn", ["mirrored", "turned", "permuted"])
def test_orientation_and_order_are_not_seen(field, turn):
    seen, _ = drawn(np.random.default_rng(5), 40, 0.9, (5.0, 3.0))
    order = np.random.default_rng(6).permutation(len(seen.x))
    other = {
        "mirrored": replace(seen, x=-seen.x),
        "turned": replace(seen, x=-seen.y, y=seen.x),
        "permuted": replace(
            seen, x=seen.x[order], y=seen.y[order], match=seen.match[:, order], bright=seen.bright[:, order]
        ),
    }[turn]
    expected = second_features(seen, field)
    for name, value in second_features(other, field).items():
        assert value == pytest.approx(expected[name], rel=1e-6, abs=1e-6), name


def test_no_source_at_all_is_little_evidence(field):
    """An empty frame speaks against a rich cluster; all numbers are finite."""
    seen, _ = drawn(np.random.default_rng(7))
    none = replace(seen, x=seen.x[:0], y=seen.y[:0], match=seen.match[:, :0], bright=seen.bright[:, :0])
    row = second_features(none, field)
    assert np.isfinite(list(row.values())).all()
    assert row["second_evidence"] < 0
    assert row["second_richness"] < 10
    assert row["second_members"] == row["second_strong"] == 0
    assert row["second_pair"] == -4


def test_images_of_a_cluster_behind_tell_of_it():
    """From pixels: seven old galaxies of redshift 1 around the lens, and as many of several redshifts."""
    places = [(0, 34), (25, -25), (-22, 27), (-34, -5), (5, -38), (60, 40), (-50, 50)]
    nothing = Field.of([], Z)
    cluster = second_features(sources(painted(places), Z_LENS, RICHNESS), nothing)
    empty = second_features(sources(painted([]), Z_LENS, RICHNESS), nothing)
    assert cluster["second_evidence"] > empty["second_evidence"] + 5
    assert cluster["second_z"] == pytest.approx(1.0, abs=0.1)
    assert cluster["second_members"] > 3 > empty["second_members"]
