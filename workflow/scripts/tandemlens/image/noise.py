"""True errors of summed pixels: how much blank apertures scatter beyond their propagated variance."""

from functools import cache
from itertools import product

import numpy as np
import sep
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.special import j1

from tandemlens.base.robust import lower_sigma, median, robust_sigma, sampled

#: aperture radii at which the noise is measured, pixel
RADII = np.array([1.0, 1.5, 2.0, 3.0, 4.5, 7.0])
#: side of the grid on which power spectra are taken; twice the largest kernel
_GRID = 128


def blank_pixels(image: np.ndarray, sigma: float, mask: np.ndarray, grow: int) -> np.ndarray:
    """Pixels of empty sky: away from anything that stands out by 4 sigma of the smoothed image.

    Parameters
    ----------
    image : (y, x) float32 ndarray
    sigma : float
    mask : (y, x) bool ndarray
        True where invalid.
    grow : int, pixel
        Growth of the objects.

    Returns
    -------
    (y, x) bool ndarray
    """
    # A Gaussian of sigma 1 pixel leaves white noise 0.28 of its scatter; correlated noise keeps up to all of it.
    smooth = gaussian_filter(image, 1.0)
    spread = min(lower_sigma(sampled(smooth, ~mask))[0], sigma)
    return ~(binary_dilation(smooth > 4.0 * spread, iterations=max(1, grow)) | mask)


def white_noise_factors(kernel: np.ndarray | None, radii: np.ndarray = RADII) -> np.ndarray:
    """Sigma of circular sums of white noise after a convolution, over that of as many uncorrelated pixels.

    Power spectrum of the kernel times that of the circle's pixel weights (`_disc_power`).

    Parameters
    ----------
    kernel : (k, k) ndarray or None
        None stands for no convolution.
    radii : (r,) ndarray, pixel

    Returns
    -------
    (r,) float ndarray
        1 without convolution, larger for wider kernels and apertures.
    """
    if kernel is None:
        return np.ones(len(radii))
    kernel = np.asarray(kernel, float)
    power = np.abs(np.fft.fft2(kernel, s=(_GRID, _GRID))) ** 2 / (kernel**2).sum()
    return np.sqrt([(power * _disc_power(float(r))).sum() / _disc_power(float(r)).sum() for r in radii])


@cache
def _disc_power(radius: float) -> np.ndarray:
    """Power spectrum of a circle's pixel weights: that of the disc times the pixel's, aliases folded in."""
    base = np.fft.fftfreq(_GRID)
    total = np.zeros((_GRID, _GRID))
    for alias_y, alias_x in product(range(-2, 3), repeat=2):
        fy, fx = base[:, None] + alias_y, base[None] + alias_x
        u = 2 * np.pi * radius * np.hypot(fy, fx)
        disc = np.where(u > 0, 2 * j1(u) / np.where(u > 0, u, 1), 1.0)
        total += (disc * np.sinc(fy) * np.sinc(fx)) ** 2
    return total


@cache
def _cut_pixels() -> np.ndarray:
    """Root of ``sum w^2 / sum w`` of circles of `RADII`, w being the covered fraction of each pixel."""
    return np.sqrt([np.pi * r**2 * _disc_power(float(r)).sum() / _GRID**2 for r in RADII])


def noise_factors(
    flux: np.ndarray,
    variance: np.ndarray,
    blank: np.ndarray,
    kernel: np.ndarray | None,
    n_apertures: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Measured sigma of circular sums on blank sky over that of as many uncorrelated pixels, at every radius.

    The propagated correlation of the matching kernel is the starting point; the scatter of blank apertures corrects it
    as far as it is significant, because a small cutout holds too few of them to give the last per cent.

    Parameters
    ----------
    flux, variance : (y, x) float32 ndarray, nJy and nJy^2
    blank : (y, x) bool ndarray
        Pixels of empty sky, from `blank_pixels`.
    kernel : (k, k) ndarray or None
        Kernel that the band was convolved with.
    n_apertures : int
        Apertures tried at each radius.
    rng : numpy.random.Generator

    Returns
    -------
    (r,) float ndarray
    """
    expected = white_noise_factors(kernel)
    in_circles = expected * _cut_pixels()
    if blank.sum() < 50:
        return expected
    ys, xs = np.nonzero(blank)
    picked = rng.integers(len(ys), size=n_apertures)
    # Centres anywhere within a pixel, as those of real segments: the cut pixels depend on it.
    x, y = (axis[picked] + rng.uniform(-0.5, 0.5, n_apertures) for axis in (xs, ys))
    spoiled = (~blank).astype(np.float32)
    plain = np.where(blank, flux, 0).astype(np.float32)
    # Variance changes little over an aperture.
    local = median(variance[blank]) if not np.isfinite(variance).all() else variance
    local = np.broadcast_to(local, variance.shape)[ys[picked], xs[picked]]
    logs, weights = [], []
    for radius, white in zip(RADII, in_circles, strict=True):
        taken, _, _ = sep.sum_circle(spoiled, x, y, radius, subpix=1)
        free = taken < 0.05 * np.pi * radius**2
        total, _, _ = sep.sum_circle(plain, x[free], y[free], radius, subpix=5)
        stated = np.pi * radius**2 * local[free]
        # Overlapping apertures, or apertures within a kernel's width, are not independent.
        independent = min(free.sum(), blank.sum() / (np.pi * (radius + 1) ** 2))
        pulls = total / np.sqrt(stated) if free.sum() >= 10 else np.array([])
        ratio = robust_sigma(pulls) / white if len(pulls) else np.nan
        usable = np.isfinite(ratio) and ratio > 0
        logs.append(np.log(ratio) if usable else 0.0)
        # A MAD is as sure as a standard deviation of 0.37 times the sample.
        weights.append(2 * 0.37 * independent if usable else 0.0)
    logs, weights = np.array(logs), np.array(weights)
    # Positive-part shrinkage (James & Stein 1961): what is no more than the scatter of few apertures is not believed.
    seen = float((weights * logs**2).sum())
    trust = max(0.0, 1 - np.count_nonzero(weights) / seen) if seen > 0 else 0.0
    return expected * np.exp(trust * logs)


def factor_at(radius: float | np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Noise factor of a sum of whole pixels, interpolated in log radius and constant beyond the ends.

    Parameters
    ----------
    radius : float or (n,) ndarray, pixel
        For a shape that is no circle, twice its area over its perimeter: edge effects of correlated noise go with that.
    factors : (r,) ndarray

    Returns
    -------
    (n,) float ndarray
        By which the root of the summed variance is multiplied.
    """
    return np.interp(np.log(np.maximum(radius, 1e-3)), np.log(RADII), factors)


def circle_factor_at(radius: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """As `factor_at` for circles, whose cut pixels count by their covered fraction in flux and summed variance.

    Parameters
    ----------
    radius : (n,) ndarray, pixel
    factors : (r,) ndarray

    Returns
    -------
    (n,) float ndarray
    """
    return factor_at(radius, factors * _cut_pixels())
