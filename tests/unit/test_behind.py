"""Light behind the lens: closed forms, and known sources painted behind a cluster of one colour."""

import numpy as np
import pytest
from scipy.optimize import minimize

from places import ROOT
from tandemlens.base.columns.features import COLUMNS
from tandemlens.features.behind import (
    KINDS,
    Templates,
    behind_features,
    blind_weights,
    contrast,
    lens_flux,
    peaks,
)
from tandemlens.features.sequence import Bands, sequence_colours

OLD, *YOUNG = (str(ROOT / f"resources/seds/{name}.csv") for name in ("elliptical", "spiral", "starburst"))
GRIZ = Bands(tuple("griz"), (4800, 6220, 7540, 8690), (1400, 1400, 1300, 1050))
ANCHOR, Z_LENS = 2, 0.3
TEMPLATES = Templates.of(OLD, YOUNG, GRIZ, 1.5)
BEHIND = TEMPLATES.behind(Z_LENS)
EXPECTED = sequence_colours(OLD, GRIZ, Z_LENS)
LENS = lens_flux(np.full(3, np.nan), EXPECTED)
SIZE, SCALE, BEAM, NOISE = 241, 0.3, 4.0, 5.0
#: what is none of S/N or counts of it, but of magnitudes
MAGNITUDES = ("bright", "second", "light")


def blind(k, noise):
    return blind_weights(LENS, BEHIND.flux[k], noise)


def test_weights_cancel_one_spectrum_and_keep_the_other_at_the_least_noise():
    rng = np.random.default_rng(0)
    for _ in range(20):
        lens, behind, noise = rng.uniform(0.2, 3, (3, 5))
        w = blind_weights(lens, behind, noise)
        assert w @ lens == pytest.approx(0, abs=1e-9 * np.abs(w).max())
        assert w @ behind == pytest.approx(1)
        fixed = [{"type": "eq", "fun": lambda v, s=s, t=t: v @ s - t} for s, t in ((lens, 0), (behind, 1))]
        least = minimize(lambda v, n=noise: ((v * n) ** 2).sum(), behind / 5, constraints=fixed, method="SLSQP")
        assert least.success
        np.testing.assert_allclose(w, least.x, atol=1e-3 * np.abs(w).max())


def test_weights_see_the_norm_of_what_they_keep_alone():
    noise = np.array([4.0, 3.0, 2.0, 6.0])
    w = blind(0, noise)
    np.testing.assert_allclose(blind_weights(7 * LENS, BEHIND.flux[0], noise), w)
    np.testing.assert_allclose(blind_weights(LENS, 7 * BEHIND.flux[0], noise), w / 7)


def test_spectra_that_are_alike_cannot_be_told_apart():
    noise = np.ones(4)
    assert blind_weights(LENS, 3 * LENS, noise) is None
    assert blind_weights(LENS, LENS * [1.0, 1.01, 1.0, 0.99], noise) is None
    # what tells them apart may drown in the noise of its band
    other = LENS * [3.0, 1.0, 1.0, 1.0]
    assert blind_weights(LENS, other, noise) is not None
    assert blind_weights(LENS, other, np.array([1000.0, 1.0, 1.0, 1.0])) is None


def test_flux_of_the_lens_follows_its_colours():
    """A colour is the bluer magnitude less the redder: a positive one is more flux in the redder band."""
    expected = np.array([0.5, 0.25])
    np.testing.assert_allclose(lens_flux(expected, expected), 10 ** (0.4 * np.array([0, 0.5, 0.75])))
    near, far = np.array([0.7, 0.05]), np.array([0.5, 0.55])
    np.testing.assert_allclose(lens_flux(near, expected), 10 ** (0.4 * np.array([0, 0.7, 0.75])))
    for other in (far, np.array([0.5, np.nan])):
        np.testing.assert_allclose(lens_flux(other, expected), lens_flux(expected, expected))


def test_a_typical_galaxy_is_that_of_clusters():
    """m* = 22.44 at redshift 1, where its polynomial in ln z is its first term, and fainter beyond."""
    np.testing.assert_allclose(TEMPLATES.star[np.isclose(TEMPLATES.z, 1.0)], 22.44)
    assert (np.diff(TEMPLATES.star[TEMPLATES.kind == "red"]) > 0.1).all()


def test_templates_are_of_unit_flux_and_behind():
    assert (TEMPLATES.flux[:, ANCHOR] == 1).all()
    assert set(TEMPLATES.kind) == {"red", "blue"}
    assert TEMPLATES.z.min() < Z_LENS < BEHIND.z.min()
    assert BEHIND.z.min() > Z_LENS + 0.12
    used = np.array([True, False, True, True])
    np.testing.assert_array_equal(BEHIND.in_bands(used).flux, BEHIND.flux[:, used])
    # old stars are the redder ones at any redshift
    for z in (0.8, 1.1, 1.4):
        here = np.isclose(TEMPLATES.z, z)
        blueness = TEMPLATES.flux[here, 0]
        assert blueness[TEMPLATES.kind[here] == "blue"].min() > 2 * blueness[TEMPLATES.kind[here] == "red"].max()


def template(kind, z, number=0):
    return np.flatnonzero((BEHIND.kind == kind) & np.isclose(BEHIND.z, z))[number]


def point(row, column, sigma=BEAM / 2.3548):
    """Image of flux 1 at a place relative to the centre, pixel."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def bar(radius, azimuth, along, length=20.0):
    """Image of flux 1 of a thin bar at a distance (pixel) and azimuth, turned by `along` from the radial direction."""
    steps = np.linspace(-length / 2, length / 2, 41)
    row = radius * np.sin(azimuth) + steps * np.sin(azimuth + along)
    column = radius * np.cos(azimuth) + steps * np.cos(azimuth + along)
    return np.mean([point(r, c) for r, c in zip(row, column, strict=True)], axis=0)


def spread(image, spectrum):
    return np.asarray(spectrum)[:, None, None] * image


def central(rng):
    """Noise, and a large bright galaxy of the colour of the lens."""
    return rng.normal(0, NOISE, (4, SIZE, SIZE)) + spread(3e5 * point(0, 0, 12.0), LENS / LENS[ANCHOR])


def cluster(rng, colour_scatter=0.0):
    """The same with 40 members of that colour."""
    flux = central(rng)
    for row, column in rng.uniform(-110, 110, (40, 2)):
        spectrum = LENS / LENS[ANCHOR] * (1 + colour_scatter * rng.standard_normal(4))
        flux += spread(10 ** rng.uniform(2.5, 4) * point(row, column), spectrum)
    return flux


def look(flux, valid=None, variance=None, templates=BEHIND):
    valid = np.ones(flux.shape, bool) if valid is None else valid
    variance = np.full(flux.shape, NOISE**2) if variance is None else variance
    return contrast(flux, np.where(valid, variance, 0.0), valid, LENS, templates, BEAM, SCALE)


def scene(seed=1):
    """The cluster with a red and a blue source, and a blue tangential bar, behind it."""
    flux = cluster(np.random.default_rng(seed))
    flux += spread(2400 * point(-40, 20), BEHIND.flux[template("red", 1.0)])
    flux += spread(1500 * point(30, 55), BEHIND.flux[template("blue", 1.1)])
    return flux + spread(4000 * bar(32, 2.5, np.pi / 2), BEHIND.flux[template("blue", 1.1)])


@pytest.fixture(scope="module")
def found():
    return look(scene())


@pytest.mark.parametrize("scatter", [0.0, 0.02])
def test_nothing_of_the_colour_of_the_lens_is_left(scatter):
    flux = cluster(np.random.default_rng(0), scatter)
    left = look(flux)
    assert flux.max() > 150 * NOISE
    assert (peaks(left)[0]["snr"] < 5).all()
    row = behind_features(left)
    assert all(row[f"{kind}_{name}"] == 0 for kind in ("red", "blue") for name in ("peaks20", "field", "blobs", "arc"))
    assert row["behind_match"] == row["behind_total"] == 0
    # another colour would have left them: it is the weights that cancel them
    assert contrast(flux, flux * 0 + NOISE**2, flux > -np.inf, LENS[::-1], BEHIND, BEAM, SCALE).snr.max() > 10


def test_noise_is_what_it_is_said_to_be():
    rng = np.random.default_rng(3)
    flux = rng.normal(0, NOISE, (4, SIZE, SIZE))
    for k in range(0, len(BEHIND.z), 7):
        alone = BEHIND[k : k + 1]
        of_it = KINDS.index(BEHIND.kind[k])
        snr = look(flux, templates=alone).snr[of_it]
        assert snr.std() == pytest.approx(1, abs=0.08)
        assert np.median(snr) == pytest.approx(0, abs=0.1)
        # correlated noise that the variance does not tell is measured
        assert look(2 * flux, templates=alone).snr[of_it].std() == pytest.approx(1, abs=0.08)


def test_maps_are_the_largest_of_single_spectra(found):
    """One spectrum after the other, by the formulas as they stand, on pixels of all kinds."""
    rng = np.random.default_rng(2)
    row, column = np.append(rng.integers(0, SIZE, (2, 200)), [[120, 80], [120, 140]], axis=1)
    flux, plain = found.at(row, column)
    light, variance = found.light[:, row, column], found.variance[:, row, column]
    snr = []
    for w, level, excess, amount in zip(found.weights, found.level, found.excess, flux, strict=True):
        np.testing.assert_allclose(amount, w @ light - level)
        error = w**2 @ (excess**2 * variance + (0.04 * np.maximum(light, 0)) ** 2)
        snr.append((w @ light - level) / np.sqrt(error))
    np.testing.assert_allclose(found.plain[row, column], plain.max(0), rtol=1e-5, atol=1e-6)
    for kind, best in zip(KINDS, found.snr, strict=True):
        expected = np.array(snr)[found.templates.kind == kind].max(0)
        np.testing.assert_allclose(best[row, column], expected, rtol=1e-5, atol=1e-6)


def test_a_red_source_is_found_where_it_is(found):
    table, match = peaks(found)
    away = np.hypot(40, 20) * SCALE
    near = np.flatnonzero((table["kind"] == "red") & (table["snr"] > 5))
    assert len(near) == 1
    row = table.iloc[near[0]]
    assert row["radius"] == pytest.approx(away, abs=SCALE)
    red = found.templates.kind == "red"
    row_at, column_at = (places[near[0]] for places in found.places[:2])
    assert abs(row_at - SIZE // 2 + 40) <= 1
    assert abs(column_at - SIZE // 2 - 20) <= 1
    z = found.templates.z[red]
    there, flux = found.at([SIZE // 2 - 40, row_at], [SIZE // 2 + 20, column_at])[0][red].T
    assert there[np.isclose(z, 1.0)] == pytest.approx(2400, rel=0.05)
    # brighter than L* at the redshift that it is given
    k = np.flatnonzero(np.isclose(z, row["z"]))[0]
    assert row["bright"] == pytest.approx(found.templates.star[red][k] - 31.4 + 2.5 * np.log10(flux[k]), abs=1e-3)
    assert match[k, near[0]] == match.max() == 1
    assert match[:, near[0]].min() < 0.1
    features = behind_features(found)
    assert (features["red_peaks12"], features["red_peaks20"]) == (0, 1)
    assert features["red_bright20"] == pytest.approx(row["bright"])
    assert features["behind_match"] == pytest.approx(np.exp(-away / 12), rel=0.05)


def test_blue_sources_are_no_red_ones(found):
    table, _ = peaks(found)
    strong = table[table["snr"] > 5].sort_values("radius")
    assert (strong["kind"] == "blue").sum() == len(strong) - 1
    row = strong[strong["radius"] > 15].iloc[0]
    assert row["kind"] == "blue"
    assert row["radius"] == pytest.approx(np.hypot(30, 55) * SCALE, abs=SCALE)


@pytest.mark.parametrize(("kind", "z"), [("red", 0.8), ("red", 1.0), ("red", 1.2), ("blue", 1.1)])
def test_redshift_and_magnitude_of_a_bright_source(kind, z):
    """By noise alone these spectra are told apart: at S/N 60 to 120 the best one is right by 0.1 in 95 per cent."""
    noise, k = np.random.default_rng(8).normal(0, NOISE, (4, SIZE, SIZE)), template(kind, z)
    table, _ = peaks(look(noise + spread(5000 * point(-40, 20), BEHIND.flux[k])))
    best = table.loc[table["snr"].idxmax()]
    assert best["kind"] == kind
    assert best["z"] == pytest.approx(z, abs=0.1)
    assert best["bright"] == pytest.approx(BEHIND.star[k] - 31.4 + 2.5 * np.log10(5000), abs=0.35)


@pytest.mark.parametrize("azimuth", [0.0, 0.6, 1.9, -2.5])
def test_arcs_lie_along_circles_and_radial_ones_do_not(azimuth):
    sky, spectrum = central(np.random.default_rng(4)), BEHIND.flux[template("blue", 1.1)]
    tangential, radial, oblique = (
        behind_features(look(sky + spread(4000 * bar(35, azimuth, along), spectrum)))
        for along in (np.pi / 2, 0, np.pi / 4)
    )
    assert tangential["blue_arc"] > 0.5
    assert tangential["blue_aligned"] == pytest.approx(tangential["blue_stretch"], rel=0.2)
    assert radial["blue_arc"] == 0
    assert radial["blue_aligned"] == pytest.approx(-radial["blue_stretch"], rel=0.2)
    assert abs(oblique["blue_aligned"]) < 0.25 * oblique["blue_stretch"]
    assert [row["blue_blobs"] for row in (tangential, radial, oblique)] == [1, 1, 1]


def test_sources_of_one_redshift_make_a_second_cluster():
    sky = central(np.random.default_rng(5))
    for row, column in ((0, 34), (25, -25), (-22, 27), (-34, -5), (5, -38)):
        sky += spread(2400 * point(row, column), BEHIND.flux[template("red", 1.0)])
    for row, column in ((90, 90), (-95, 40), (-80, -80)):
        sky += spread(2400 * point(row, column), BEHIND.flux[template("red", 1.4)])
    row = behind_features(look(sky))
    assert row["behind_n12"] == pytest.approx(5, abs=0.5)
    assert row["behind_n6"] == 0
    assert (row["red_peaks12"], row["red_field"], row["red_blobs"]) == (5, 3, 5)


@pytest.mark.parametrize("turn", ["rows", "columns", "transposed", "turned"])
def test_orientation_is_not_seen(found, turn):
    """Up to the subset of pixels that noise and level are measured on."""
    change = {
        "rows": lambda a: a[:, ::-1],
        "columns": lambda a: a[:, :, ::-1],
        "transposed": lambda a: a.transpose(0, 2, 1),
        "turned": lambda a: np.rot90(a, axes=(1, 2)),
    }[turn]
    before, after = behind_features(found), behind_features(look(change(scene())))
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=0.05, abs=0.05, nan_ok=True), name


def test_units_of_the_flux_are_not_seen(found):
    before, after = behind_features(found), behind_features(look(4 * scene(), variance=np.full((4, SIZE, SIZE), 400.0)))
    for name, value in before.items():
        more = 2.5 * np.log10(4) if name.partition("_")[2].startswith(MAGNITUDES[:2]) else 0
        if not name.partition("_")[2].startswith("light"):
            assert after[name] == pytest.approx(value + more, rel=1e-4, abs=1e-4, nan_ok=True), name


def test_half_a_field_is_enough(found):
    valid = np.ones((4, SIZE, SIZE), bool)
    valid[:, :, :100] = False
    table, _ = peaks(look(np.where(valid, scene(), 0.0), valid))
    red = table[(table["kind"] == "red") & (table["snr"] > 5)]
    assert len(red) == 1
    assert red["radius"].iloc[0] == pytest.approx(np.hypot(40, 20) * SCALE, abs=SCALE)
    assert np.isfinite(behind_features(look(np.where(valid, scene(), 0.0), valid))["blue_area"])
    assert (look(np.where(valid, scene(), 0.0), valid).snr[:, :, :100] == 0).all()


def test_a_hole_in_one_band_makes_no_source():
    """A member with a hole in a band must not show its other bands: it is of the colour of the lens."""
    flux = cluster(np.random.default_rng(6)) + spread(2e4 * point(50, 0), LENS / LENS[ANCHOR])
    valid = np.ones(flux.shape, bool)
    valid[1, 166:174, 116:122] = False
    left = look(np.where(valid, flux, 0.0), valid)
    assert left.snr[:, 155:190, 105:135].max() < 5


def test_two_bands_are_enough():
    used = np.array([False, True, False, True])
    flux = scene()[used]
    valid = np.ones(flux.shape, bool)
    seen = contrast(flux, np.full(flux.shape, NOISE**2), valid, LENS[used], BEHIND.in_bands(used), BEAM, SCALE)
    row = behind_features(seen)
    assert row["red_snr20"] > 5
    assert all(np.isfinite(v) for k, v in row.items() if not k.partition("_")[2].startswith(("bright", "second", "z")))


def test_what_cannot_be_looked_for_is_missing():
    names = {c.name for c in COLUMNS if c.name.startswith(("behind_", "red_", "blue_"))}
    nothing = behind_features(None)
    assert set(nothing) == names
    assert np.isnan(list(nothing.values())).all()
    flux = cluster(np.random.default_rng(7))
    assert look(flux, np.zeros(flux.shape, bool)) is None
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    assert look(flux, np.broadcast_to(np.hypot(y, x) * SCALE < 20.5, flux.shape)) is None
    assert look(flux, templates=TEMPLATES.behind(1.45)) is None
    blue = look(scene(), templates=Templates(*(a[BEHIND.kind == "blue"] for a in vars(BEHIND).values())))
    row = behind_features(blue)
    assert set(row) == names
    assert row["red_peaks20"] == row["behind_total"] == 0
    assert row["blue_peaks20"] > 0
