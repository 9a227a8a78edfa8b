"""Methods, section 2: the colour evidence against closed forms and simulated nulls."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from tandemlens.base.errors import InputError
from tandemlens.base.units import asinh_mag
from tandemlens.features.colour import (
    Colours,
    Subsets,
    adjacent_colours,
    best_subset,
    colour_gradient,
    consistency,
    huber_centroid,
    intrinsic_dispersion,
    sequence_offset,
)

FLOOR = 0.03


def covariances(rng, n, bands=3):
    return adjacent_colours(rng.normal(22, 1, (n, bands)), rng.uniform(0.01, 0.1, (n, bands))).covariance


def draw(rng, covariance, intrinsic):
    root = np.linalg.cholesky(covariance + intrinsic)
    noise = np.einsum("nab,nb->na", root, rng.standard_normal(root.shape[:2]))
    return Colours(np.array([0.8, 0.4])[: noise.shape[1]] + noise, covariance)


def test_neighbouring_colours_share_a_band():
    sigma = np.array([[0.03, 0.02, 0.05]])
    expected = [[0.03**2 + 0.02**2, -(0.02**2)], [-(0.02**2), 0.02**2 + 0.05**2]]
    np.testing.assert_allclose(adjacent_colours(np.array([[22.0, 21, 20]]), sigma).covariance[0], expected)


def test_a_faint_band_does_not_speak():
    colours = adjacent_colours(np.array([[27.0, 22, 21.5]]), np.array([[0.6, 0.05, 0.05]]))
    assert colours.covariance[0, 0, 0] > 1
    assert colours.covariance[0, 1, 1] == pytest.approx(0.005)


def test_null_p_values_are_uniform():
    """2,000 systems of n = 5 segments with p = 2 colours whose errors and floor are as stated."""
    rng = np.random.default_rng(4)
    intrinsic = FLOOR**2 * np.eye(2)
    p_values = [consistency(draw(rng, covariances(rng, 5), intrinsic), intrinsic)[1] for _ in range(2000)]
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_best_subset_null_is_uniform_again():
    rng = np.random.default_rng(5)
    intrinsic = FLOOR**2 * np.eye(2)
    p_values = [
        best_subset(draw(rng, covariances(rng, int(rng.integers(2, 7))), intrinsic), intrinsic, 300, rng)[0]
        for _ in range(2000)
    ]
    # p-values come in steps of 1/301; the KS test asks for a continuous law, so the steps are dithered.
    dithered = np.array(p_values) - rng.uniform(0, 1 / 301, len(p_values))
    assert kstest(dithered, "uniform").pvalue > 0.01


def test_best_subset_finds_the_images_of_one_source():
    rng = np.random.default_rng(6)
    intrinsic = FLOOR**2 * np.eye(2)
    covariance = covariances(rng, 6)
    colours = draw(rng, covariance, intrinsic)
    value = colours.value.copy()
    value[[1, 4]] += [[1.0, -0.5], [-0.8, 0.6]]
    p_value, chosen = best_subset(Colours(value, covariance), intrinsic, 500, rng)
    assert not chosen[[1, 4]].any()
    assert p_value > 0.01
    assert consistency(Colours(value, covariance), intrinsic)[1] < 1e-6


def test_achromatic_source_has_no_chi_square():
    """One uniform-colour source lensed to four images of different flux, without noise."""
    flux = np.array([3.0, 1.0, 5.5, 0.7])[:, None] * np.array([800.0, 2000.0, 3100.0])
    mag = -2.5 * np.log10(flux)
    colours = adjacent_colours(mag, np.full(mag.shape, 0.02))
    assert consistency(colours, FLOOR**2 * np.eye(2))[0] < 1e-10


def test_infinite_tuning_is_generalised_least_squares():
    rng = np.random.default_rng(7)
    covariance = covariances(rng, 8)
    intrinsic = FLOOR**2 * np.eye(2)
    colours = draw(rng, covariance, intrinsic)
    precision = np.linalg.inv(covariance + intrinsic)
    expected = np.linalg.solve(precision.sum(0), np.einsum("nab,nb->a", precision, colours.value))
    np.testing.assert_allclose(huber_centroid(colours, intrinsic, tuning=np.inf)[0], expected, atol=1e-10)


def test_one_outlier_in_eight():
    """Methods: its weight falls to about 0.05 and the centroid moves by < 0.02 where the mean moves by 0.2."""
    rng = np.random.default_rng(8)
    value = rng.normal(0, 0.02, (8, 2))
    covariance = np.tile(0.05**2 * np.eye(2), (8, 1, 1))
    clean, _, _, _ = huber_centroid(Colours(value, covariance), 0 * np.eye(2))
    spoiled = value.copy()
    spoiled[3] += 1.6
    mu, _, weight, _ = huber_centroid(Colours(spoiled, covariance), 0 * np.eye(2))
    assert weight[3] < 0.08
    assert np.abs(mu - clean).max() < 0.02
    assert np.abs(spoiled.mean(0) - value.mean(0)).max() == pytest.approx(0.2)


def test_one_offset_for_all_changes_nothing():
    rng = np.random.default_rng(9)
    intrinsic = FLOOR**2 * np.eye(2)
    colours = draw(rng, covariances(rng, 5), intrinsic)
    moved = Colours(colours.value + np.array([0.7, -1.3]), colours.covariance)
    assert consistency(moved, intrinsic)[1] == pytest.approx(consistency(colours, intrinsic)[1], rel=1e-9)


def test_order_does_not_matter():
    rng = np.random.default_rng(10)
    intrinsic = FLOOR**2 * np.eye(2)
    colours = draw(rng, covariances(rng, 5), intrinsic)
    order = [3, 0, 4, 1, 2]
    assert consistency(colours[order], intrinsic)[0] == pytest.approx(consistency(colours, intrinsic)[0])


def test_statistic_is_not_scale_free():
    """The trap of a covariance from the same points: scaling the colours must change the statistic."""
    rng = np.random.default_rng(11)
    intrinsic = FLOOR**2 * np.eye(2)
    colours = draw(rng, covariances(rng, 5), intrinsic)
    wide = Colours(colours.value * 100, colours.covariance)
    assert consistency(wide, intrinsic)[0] > 1000 * consistency(colours, intrinsic)[0]


def test_single_segment_has_no_p_value():
    colours = Colours(np.zeros((1, 2)), 0.01 * np.eye(2)[None])
    assert np.isnan(consistency(colours, np.zeros((2, 2)))[1])
    assert np.isnan(intrinsic_dispersion(colours))


def test_dispersion_is_recovered():
    rng = np.random.default_rng(12)
    found = []
    for _ in range(60):
        covariance = covariances(rng, 40)
        found.append(intrinsic_dispersion(draw(rng, covariance, 0.15**2 * np.eye(2))))
    assert np.mean(found) == pytest.approx(0.15, abs=0.01)


def test_dispersion_vanishes_for_one_source():
    covariance = np.tile(0.01 * np.eye(2), (5, 1, 1))
    assert intrinsic_dispersion(Colours(np.zeros((5, 2)), covariance)) == 0.0


def test_offset_from_the_sequence_in_sigma():
    cov = np.diag([0.04**2, 0.03**2])
    offset = sequence_offset(np.array([1.1, 0.5]), 0 * cov, np.array([1.0, 0.5]), cov)
    assert offset == pytest.approx(2.5)
    assert np.isnan(sequence_offset(np.array([1.1, 0.5]), cov, np.array([np.nan, 0.5]), cov))


def test_subset_chi_squares_equal_direct_ones():
    rng = np.random.default_rng(13)
    covariance = covariances(rng, 4)
    value = rng.normal(0, 0.1, (4, 2))
    subsets = Subsets(np.linalg.inv(covariance), 2)
    for member, found in zip(subsets.member, subsets.scatter(value), strict=True):
        direct = consistency(Colours(value[member], covariance[member]), np.zeros((2, 2)))[0]
        assert found == pytest.approx(direct, rel=1e-8, abs=1e-8)
    assert len(subsets.member) == 11


def test_gradient_sign_and_null():
    radius = np.array([2.0, 4, 8, 16, 32])
    rng = np.random.default_rng(14)
    flat = [colour_gradient(rng.normal(1, 0.05, 5), np.full(5, 0.05), radius) for _ in range(400)]
    assert abs(np.median(flat)) < 0.2
    assert colour_gradient(1 + 0.3 * np.log(radius), np.full(5, 0.05), radius) > 5


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match=r"covariances of shape \(3, 2, 2\)"):
        Colours(np.zeros((3, 2)), np.zeros((3, 3, 3)))


def test_unmatched_psfs_are_seen():
    """Fluxes of a compact and an extended image through apertures of unmatched PSFs differ in colour: X2 >> dof."""
    seen_g, seen_r = np.array([0.60, 0.95]), np.array([0.80, 0.97])
    flux = 5000 * np.column_stack([seen_g, seen_r, seen_r])
    mag, err = asinh_mag(flux, np.full(flux.shape, 50.0))
    x2, _ = consistency(adjacent_colours(mag, err), FLOOR**2 * np.eye(2))
    assert x2 > chi2.ppf(0.999, 2)
