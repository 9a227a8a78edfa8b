"""Methods, section 3: every geometric feature against its closed form and its invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from tandemlens.features import geometry as g
from tandemlens.image.shape import fit_circles, measure_shapes


def test_a_circle_is_recovered_exactly():
    """Methods: an arc of radius 20 around (3, -1)."""
    t = np.linspace(0.3, 1.4, 25)
    x, y = 3 + 20 * np.cos(t), -1 + 20 * np.sin(t)
    radius, cx, cy = fit_circles(x[None], y[None], np.ones((1, 25)))
    np.testing.assert_allclose([radius[0], cx[0], cy[0]], [20, 3, -1], atol=1e-6)


def test_points_on_a_line_have_no_circle():
    x = np.linspace(0, 5, 9)
    assert np.isnan(fit_circles(x[None], 2 * x[None], np.ones((1, 9)))[0][0])


def test_zero_weights_leave_points_out():
    t = np.linspace(0.3, 1.4, 25)
    x, y = 3 + 20 * np.cos(t), -1 + 20 * np.sin(t)
    x[4], weight = 99.0, np.ones((1, 25))
    weight[0, 4] = 0
    assert fit_circles(x[None], y[None], weight)[0][0] == pytest.approx(20, abs=1e-6)


def painted_arc(radius, angle, length, width=1.2, size=121, centre=(60.0, 60.0)):
    y, x = np.mgrid[:size, :size]
    r, t = np.hypot(x - centre[0], y - centre[1]), np.arctan2(y - centre[1], x - centre[0])
    on = np.abs(np.angle(np.exp(1j * (t - angle)))) * radius < length / 2
    image = np.exp(-0.5 * ((r - radius) / width) ** 2) * on
    return (image > 0.05).astype(np.int32), image


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0, 3.1, -1.9])
def test_a_painted_arc_is_measured(angle):
    labels, image = painted_arc(30, angle, 36)
    row = measure_shapes(labels, image, 1e-3, 1.0).iloc[0]
    assert row["length"] == pytest.approx(36, rel=0.05)
    assert row["width"] == pytest.approx(2.355 * 1.2, rel=0.12)
    assert row["curvature_radius"] == pytest.approx(30, rel=0.08)
    centre = (row["x"] + row["centre_x"], row["y"] + row["centre_y"])
    np.testing.assert_allclose(centre, (60, 60), atol=2.5)
    assert np.cos(2 * (row["theta"] - angle)) == pytest.approx(-1, abs=0.02)


def test_a_straight_bar_does_not_bend():
    y, x = np.mgrid[:60, :60]
    image = np.exp(-0.5 * ((y - 30) / 1.5) ** 2) * (np.abs(x - 30) < 15)
    row = measure_shapes((image > 0.05).astype(np.int32), image, 1e-3, 1.0).iloc[0]
    assert np.isnan(row["curvature_radius"])
    assert row["length"] == pytest.approx(29, rel=0.05)
    assert row["theta"] == pytest.approx(0, abs=0.01) or row["theta"] == pytest.approx(np.pi, abs=0.01)


def test_a_segment_below_the_psf_has_no_shape():
    y, x = np.mgrid[:21, :21]
    image = np.exp(-0.5 * ((x - 10) ** 2 + (y - 10) ** 2) / 1.0)
    row = measure_shapes((image > 0.05).astype(np.int32), image, 4.0, 1.0).iloc[0]
    assert np.isnan(row["q11"])
    assert row["width"] == 2.0


def random_arcs(seed, n=6):
    rng = np.random.default_rng(seed)
    return rng.uniform(-30, 30, (n, 2)), rng.uniform(0, np.pi, n), rng.uniform(0.2, 1, n)


def alignment(places, theta, weight):
    return g.tangential_alignment(theta, np.arctan2(places[:, 1], places[:, 0]), weight)


def test_tangential_arcs_give_one_and_radial_ones_minus_one():
    places, _, weight = random_arcs(0)
    azimuth = np.arctan2(places[:, 1], places[:, 0])
    assert g.tangential_alignment(azimuth + np.pi / 2, azimuth, weight)[0] == pytest.approx(1)
    assert g.tangential_alignment(azimuth, azimuth, weight)[0] == pytest.approx(-1)


@given(st.integers(0, 1000), st.floats(0, 6.28))
def test_alignment_does_not_see_rotations_flips_or_order(seed, angle):
    places, theta, weight = random_arcs(seed)
    value, z = alignment(places, theta, weight)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert alignment(places @ turn, theta + angle, weight)[0] == pytest.approx(value, abs=1e-9)
    assert alignment(places * [-1, 1], np.pi - theta, weight)[0] == pytest.approx(value, abs=1e-9)
    assert alignment(places[::-1], theta[::-1], weight[::-1])[1] == pytest.approx(z, abs=1e-9)
    assert alignment(places, theta + np.pi / 2, weight)[0] == pytest.approx(-value, abs=1e-9)


def test_alignment_of_random_arcs_is_standard_normal():
    z = [alignment(*random_arcs(seed, 40))[1] for seed in range(1000)]
    assert kstest(z, "norm").pvalue > 0.01


def test_no_arcs_no_alignment():
    assert np.isnan(g.tangential_alignment(np.array([]), np.array([]), np.array([]))[0])


def test_ellipticity_of_an_ellipse():
    """Axis ratio q along x: (1 - q) / (1 + q) real (Bartelmann & Schneider 2001)."""
    q = 0.4
    assert g.ellipticities(np.array([1.0]), np.array([q**2]), np.array([0.0]))[0] == pytest.approx((1 - q) / (1 + q))
    assert np.isnan(g.ellipticities(np.array([np.nan]), np.array([1.0]), np.array([0.0])))[0]


def test_shear_pattern_separates_lensing_from_a_bad_psf():
    azimuth = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    tangential = -0.3 * np.exp(2j * azimuth)
    t, x, rotated, raw = g.shear_pattern(tangential, azimuth, np.ones(12))
    assert (t, rotated) == (pytest.approx(0.3), pytest.approx(1))
    assert abs(x) < 1e-12
    assert raw < 1e-12
    trail = g.shear_pattern(np.full(12, 0.3 + 0j), azimuth, np.ones(12))
    assert trail[3] == pytest.approx(1)
    assert trail[2] < 1e-12


def test_ring_thickness_and_uniform_radii():
    assert g.ring_shape(np.full(5, 10.0), 60)[0] == 0
    assert np.isnan(g.ring_shape(np.array([1.0, 2]), 60)[0])
    uniform = 60 * np.sqrt((np.arange(200) + 0.5) / 200)
    assert g.ring_shape(uniform, 60)[1] < 0.01


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=8))
def test_separation_identity(points):
    east, north = np.array(points).T
    i, j = np.triu_indices(len(east), 1)
    direct = np.sqrt(2 / (len(east) * (len(east) - 1)) * ((east[i] - east[j]) ** 2 + (north[i] - north[j]) ** 2).sum())
    assert g.separation_rms(east, north) == pytest.approx(direct, abs=1e-6)


def test_azimuth_gap_and_counter_image():
    gap, counter = g.azimuth_pattern(np.array([0.0, np.pi / 2, np.pi]))
    assert gap == pytest.approx(np.pi)
    assert counter == pytest.approx(0, abs=1e-12)
    assert np.isnan(g.azimuth_pattern(np.array([1.0]))[0])


def test_expected_einstein_radius_against_astropy():
    """SIS of 620 km/s at richness 30: 4 pi (sigma/c)^2 D_ls / D_s from astropy's angular diameter distances."""
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    lens, source = (cosmology.angular_diameter_distance(z).value for z in (0.3, 1.5))
    # Flat: D_ls = D_s - D_l (1 + z_l) / (1 + z_s).
    ratio = (source - lens * 1.3 / 2.5) / source
    expected = 4 * np.pi * (620 / 299792.458) ** 2 * ratio * 206264.806
    assert g.expected_einstein_radius(30, 0.3) == pytest.approx(expected, rel=1e-4)
    assert np.isnan(g.expected_einstein_radius(30, np.nan))
    assert np.isnan(g.expected_einstein_radius(30, 1.6))
