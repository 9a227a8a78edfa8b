import numpy as np
import pytest
import sep
from scipy.signal import fftconvolve

from tandemlens.base.errors import DataError
from tandemlens.base.robust import lower_sigma, median, robust_sigma
from tandemlens.image.noise import RADII, blank_pixels, circle_factor_at, factor_at, noise_factors, white_noise_factors
from tandemlens.survey.noise import checked_variance, noise_ratio, sky_model, to_variance


def kernel(width):
    place = np.arange(-12, 13)
    image = np.exp(-0.5 * (place[:, None] ** 2 + place**2) / width**2)
    return image / image.sum()


@pytest.mark.parametrize("width", [0.7, 1.2, 2.0])
def test_propagated_factors_are_those_of_convolved_noise(width):
    """Simulated: apertures on convolved white noise scatter by the factor that the kernel predicts."""
    rng = np.random.default_rng(2)
    k = kernel(width)
    found = []
    for _ in range(12):
        noise = fftconvolve(rng.normal(0, 1, (400, 400)), k, mode="same").astype(np.float32)
        variance = np.full(noise.shape, (k**2).sum(), np.float32)
        found.append(noise_factors(noise, variance, np.ones(noise.shape, bool), k, 600, rng))
    # At a radius of one pixel the sampled disc is not the round one of the formula.
    np.testing.assert_allclose(np.mean(found, 0), white_noise_factors(k), rtol=0.04)


def test_white_noise_has_factor_one_at_every_radius():
    rng = np.random.default_rng(1)
    noise = [rng.normal(0, 1, (400, 400)).astype(np.float32) for _ in range(12)]
    ones, everywhere = np.ones((400, 400), np.float32), np.ones((400, 400), bool)
    found = [noise_factors(image, ones, everywhere, None, 600, rng) for image in noise]
    np.testing.assert_allclose(np.mean(found, 0), 1, atol=0.03)
    np.testing.assert_allclose(white_noise_factors(np.ones((1, 1))), 1)


def test_circles_of_white_noise_have_the_error_of_their_weights():
    """Summed variance counts cut pixels by w, the true one by w^2: simulated sums against the factor."""
    rng = np.random.default_rng(2)
    image = rng.normal(0, 1, (1500, 1500)).astype(np.float32)
    x, y = rng.uniform(20, 1480, (2, 4000))
    for radius in (1.0, 2.0, 4.5):
        sums, _, _ = sep.sum_circle(image, x, y, radius, subpix=0)
        stated = np.sqrt(np.pi) * radius * circle_factor_at(np.array([radius]), np.ones(len(RADII)))[0]
        assert sums.std() / stated == pytest.approx(1, abs=0.03)


def test_noise_correlated_at_the_door_is_measured():
    """Input noise that resampling has correlated by itself: the factor says what the kernel does not."""
    rng = np.random.default_rng(3)
    noise = np.mean(
        [
            noise_factors(
                (fftconvolve(rng.normal(0, 1, (400, 400)), kernel(1.5), mode="same")).astype(np.float32),
                np.full((400, 400), (kernel(1.5) ** 2).sum(), np.float32),
                np.ones((400, 400), bool),
                None,
                600,
                rng,
            )
            for _ in range(8)
        ],
        axis=0,
    )
    # The prior of the propagated factor holds back a little where few apertures are independent.
    np.testing.assert_allclose(noise[:4], white_noise_factors(kernel(1.5))[:4], rtol=0.1)


def test_factors_interpolate_and_end_flat():
    factors = np.linspace(1, 2, len(RADII))
    np.testing.assert_allclose(factor_at(RADII, factors), factors)
    np.testing.assert_allclose(factor_at(np.array([0.1, 99.0]), factors), [1, 2])


def test_objects_are_not_blank():
    rng = np.random.default_rng(4)
    image = rng.normal(0, 1, (100, 100)).astype(np.float32)
    image[40:50, 40:50] += 20
    blank = blank_pixels(image, 1.0, np.zeros(image.shape, bool), grow=3)
    assert not blank[38:52, 38:52].any()
    assert blank.mean() > 0.9


def test_robust_spreads():
    values = np.random.default_rng(5).normal(3, 2, 20000)
    spoiled = np.concatenate([values, np.full(2000, 1e6)])
    assert robust_sigma(spoiled) == pytest.approx(2, rel=0.15)
    sigma, middle = lower_sigma(values)
    assert sigma == pytest.approx(2, rel=0.03)
    assert middle == pytest.approx(3, abs=0.05)
    assert np.isnan(robust_sigma([]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, int])
def test_medians_are_those_of_numpy(dtype):
    rng = np.random.default_rng(5)
    for n in (1, 2, 3, 4, 1000, 1001):
        values = (100 * rng.normal(size=(n, 1))).astype(dtype)
        assert median(values) == np.median(values)
    assert median(np.array([1.0, np.inf, 2.0])) == 2
    assert np.isnan(median(np.array([1.0, np.nan, 2.0, 3.0])))
    assert np.isnan(median(np.array([])))


def sky(rng, sigma=3.0, size=200):
    image = rng.normal(10, sigma, (size, size))
    image[90:110, 90:110] += 400
    return image


def test_sky_level_and_noise():
    level, sigma = sky_model(sky(np.random.default_rng(6)), np.ones((200, 200), bool))
    assert np.median(level) == pytest.approx(10, abs=0.3)
    assert np.median(sigma) == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize(("kind", "value"), [("variance", 9.0), ("rms", 3.0), ("invvar", 1 / 9)])
def test_every_kind_of_map_gives_the_variance(kind, value):
    variance, ratio = checked_variance(sky(np.random.default_rng(7)), np.full((200, 200), value), kind, "g")
    assert ratio == pytest.approx(1, abs=0.05)
    assert np.median(variance) == pytest.approx(9, rel=0.1)


def test_a_weight_map_takes_its_scale_from_the_sky():
    weight = np.full((200, 200), 1e-3)
    weight[:, 100:] *= 4
    rng = np.random.default_rng(8)
    image = np.where(np.arange(200) < 100, rng.normal(0, 4, (200, 200)), rng.normal(0, 2, (200, 200)))
    variance, _ = checked_variance(image, weight, "weight", "g")
    assert np.median(variance[:, :100]) == pytest.approx(16, rel=0.1)
    assert np.median(variance[:, 100:]) == pytest.approx(4, rel=0.1)


def test_an_understated_map_is_raised_and_an_overstated_one_left():
    rng = np.random.default_rng(9)
    low, ratio = checked_variance(sky(rng), np.full((200, 200), 4.0), "variance", "g")
    assert ratio == pytest.approx(1.5, rel=0.05)
    assert np.median(low) == pytest.approx(9, rel=0.1)
    high, ratio = checked_variance(sky(rng), np.full((200, 200), 36.0), "variance", "g")
    assert ratio == pytest.approx(0.5, rel=0.05)
    assert np.median(high) == 36


def test_a_map_that_is_something_else_is_refused_with_what_it_would_be():
    image = sky(np.random.default_rng(10), sigma=0.01)
    with pytest.raises(DataError, match=r"blank pixels scatter .* as variance \(0.9\d* times as invvar") as refusal:
        checked_variance(image, np.full((200, 200), 1e4), "variance", "g: x.fits")
    assert refusal.value.status == "bad_variance"


def test_no_positive_value_is_refused():
    with pytest.raises(DataError, match="no pixel of the rms map has a positive finite value"):
        checked_variance(np.zeros((50, 50)), np.zeros((50, 50)), "rms", "g")


def test_zero_weight_is_no_data():
    assert np.isinf(to_variance(np.array([[0.0, -1.0, np.nan]]), "invvar")).all()


def test_correlated_noise_looks_small():
    rng = np.random.default_rng(11)
    noise = fftconvolve(rng.normal(0, 3, (300, 300)), kernel(1.5), mode="same")
    assert noise_ratio(noise, np.full(noise.shape, 9.0)) < 0.3
