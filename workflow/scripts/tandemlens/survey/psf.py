"""Point-spread functions as they come: checked, centred, their width, and a PSF from field stars."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sep
from scipy.ndimage import map_coordinates

from tandemlens.base.errors import DataError
from tandemlens.base.robust import MAD_TO_SIGMA, robust_sigma

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: wings of ground-based seeing
MOFFAT_BETA = 3.0
#: S/N and number of field stars
_STAR_SNR = 40.0
_MIN_STARS, _MAX_STARS = 4, 60
#: half size of a star stamp, in FWHM
_STAMP_FWHM = 5.0
#: wings fade from this fraction of the radius where they are lost in noise
_FADE = 0.6


def moffat(
    size: int, scale: float, fwhm: float, dx: float = 0.0, dy: float = 0.0, beta: float = MOFFAT_BETA
) -> np.ndarray:
    """Moffat profile of sum 1 on a square grid, sampled at pixel centres (Moffat 1969).

    Parameters
    ----------
    size : int
        Side, pixel.
    scale, fwhm : float, arcsec
    dx, dy : float, pixel
        Offset of the centre from the middle of the grid.
    beta : float

    Returns
    -------
    (size, size) float ndarray
    """
    alpha = fwhm / scale / (2 * np.sqrt(2 ** (1 / beta) - 1))
    place = np.arange(size) - (size - 1) / 2
    profile = (1 + ((place[None] - dx) ** 2 + (place[:, None] - dy) ** 2) / alpha**2) ** -beta
    return profile / profile.sum()


def check_psf(psf: np.ndarray, where: str) -> np.ndarray:
    """Refuse a PSF that is not one.

    Parameters
    ----------
    psf : (ky, kx) ndarray
    where : str
        Band or file, for the message.

    Returns
    -------
    (k, k) float ndarray
        Odd, centred and of sum 1.

    Raises
    ------
    DataError
        With status bad_psf.
    """
    psf = np.asarray(psf, float)
    if psf.ndim != 2 or min(psf.shape) < 5:
        raise DataError("bad_psf", f"{where}: the PSF has shape {psf.shape}; give an image of at least 5x5 pixels")
    if not np.isfinite(psf).all():
        raise DataError("bad_psf", f"{where}: the PSF has {(~np.isfinite(psf)).sum()} pixels that are not finite")
    if psf.sum() <= 0 or psf.max() <= 0:
        raise DataError("bad_psf", f"{where}: the PSF sums to {psf.sum():.3g}; it must be positive")
    return centre_psf(psf)


def centre_psf(psf: np.ndarray) -> np.ndarray:
    """Cut a PSF to an odd square around its peak, move its centroid to the middle, normalise.

    Parameters
    ----------
    psf : (ky, kx) float ndarray

    Returns
    -------
    (k, k) float ndarray
    """
    for _ in range(3):
        cy, cx = _core_centroid(psf)
        half = int(min(round(cy), round(cx), psf.shape[0] - 1 - round(cy), psf.shape[1] - 1 - round(cx)))
        place = np.arange(-half, half + 1)
        if abs(cy - round(cy)) < 1e-3 and abs(cx - round(cx)) < 1e-3:
            psf = psf[round(cy) - half : round(cy) + half + 1, round(cx) - half : round(cx) + half + 1]
            break
        psf = map_coordinates(psf, np.meshgrid(place + cy, place + cx, indexing="ij"), order=5, mode="nearest")
    return psf / psf.sum()


def _core_centroid(psf: np.ndarray) -> tuple[float, float]:
    """Centroid weighted with a Gaussian of the PSF's own width, which wings and noise do not move."""
    ny, nx = psf.shape
    peak = np.unravel_index(np.argmax(psf), psf.shape)
    cy, cx = map(float, peak)
    sigma = max(np.sqrt((psf > psf.max() / 2).sum() / np.pi), 1.0)
    y, x = np.arange(ny)[:, None], np.arange(nx)[None]
    for _ in range(20):
        weight = psf * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / sigma**2)
        total = weight.sum()
        # A weighted centroid moves half the way for a Gaussian PSF of the weight's width.
        dy, dx = 2 * ((weight * y).sum() / total - cy), 2 * ((weight * x).sum() / total - cx)
        cy, cx = np.clip(cy + dy, 0, ny - 1), np.clip(cx + dx, 0, nx - 1)
        if abs(dy) + abs(dx) < 1e-6:
            break
    return float(cy), float(cx)


def radii_map(shape: tuple[int, int]) -> np.ndarray:
    """Distance of every pixel from the middle of a grid.

    Parameters
    ----------
    shape : (int, int)

    Returns
    -------
    (y, x) float ndarray, pixel
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.hypot(y[:, None], x[None])


def growth_curve(psf: np.ndarray, radii: "ArrayLike") -> np.ndarray:
    """Fraction of the light of a centred PSF within circles, with the exact overlap of circle and pixels.

    Parameters
    ----------
    psf : (k, k) float ndarray
    radii : (r,) array_like, pixel

    Returns
    -------
    (r,) float ndarray
    """
    # a quarter of a second that most stages need not wait for
    from photutils.geometry import circular_overlap_grid

    ny, nx = psf.shape
    edges = (-nx / 2, nx / 2, -ny / 2, ny / 2, nx, ny)
    return np.array([(circular_overlap_grid(*edges, r, 1, 1) * psf).sum() for r in np.asarray(radii, float)])


def fwhm(psf: np.ndarray) -> float:
    """Full width at half maximum of the azimuthal mean of a centred PSF.

    The half-maximum is found on the spline of the core, so that sampling does not step it.

    Parameters
    ----------
    psf : (k, k) float ndarray

    Returns
    -------
    float, pixel
        NaN if the profile never falls to half.
    """
    middle = (psf.shape[0] - 1) / 2
    radii = np.arange(0, middle + 0.025, 0.05)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    y = middle + radii[:, None] * np.sin(angles)
    x = middle + radii[:, None] * np.cos(angles)
    profile = map_coordinates(np.asarray(psf, float), [y, x], order=3, mode="nearest").mean(1)
    below = np.flatnonzero(profile < profile[0] / 2)
    if not len(below):
        return np.nan
    k = below[0]
    return 2 * float(np.interp(profile[0] / 2, profile[[k, k - 1]], radii[[k, k - 1]]))


@dataclass(frozen=True)
class StarPsf:
    """A PSF built from field stars.

    Parameters
    ----------
    psf : (k, k) ndarray
        Centred, odd, sum 1.
    n_stars : int
    quality : float
        Median over stars of the summed absolute residual under the PSF, over the star's flux, within two FWHM, noise
        subtracted in quadrature.
    """

    psf: np.ndarray
    n_stars: int
    quality: float


def star_psf(image: np.ndarray, sigma: float, valid: np.ndarray, where: str, saturation: float = np.inf) -> StarPsf:
    """Build a PSF from the stars of a field.

    Stars are the narrow locus of bright, round, isolated, unsaturated detections in half-light radius; their stamps are
    moved to common centres with quintic splines, scaled to one flux and combined by a clipped mean, twice: the second
    time without the stars that the first PSF does not fit.

    Parameters
    ----------
    image : (y, x) float ndarray
        Sky subtracted.
    sigma : float
        Pixel noise.
    valid : (y, x) bool ndarray
    where : str
        Band or file, for messages.
    saturation : float
        In the unit of the image.

    Returns
    -------
    StarPsf

    Raises
    ------
    DataError
        With status bad_psf if there are fewer than four stars.
    """
    image = np.ascontiguousarray(image, np.float32)
    found, segments = sep.extract(image, 3 * sigma, mask=~valid, minarea=6, deblend_cont=0.005, segmentation_map=True)
    chosen, width = _star_locus(found, image, saturation)
    half = int(np.ceil(_STAMP_FWHM * width))
    found_stamps = [
        _star_stamp(image, segments, valid, star, index, half)
        for index, star in zip(chosen + 1, found[chosen], strict=True)
    ]
    usable = [s for s in found_stamps if s is not None][:_MAX_STARS]
    if len(usable) < _MIN_STARS:
        raise DataError(
            "bad_psf",
            f"{where}: {len(usable)} usable stars in the field, {_MIN_STARS} are needed; give psf.file or psf.fwhm",
        )
    flux, stamps = (np.array(part) for part in zip(*usable, strict=True))
    keep = np.ones(len(stamps), bool)
    for _ in range(2):
        psf = _combine(stamps[keep] / flux[keep, None, None])
        residual = _residual(stamps, flux, psf, sigma, width)
        limit = np.median(residual[keep]) + 3 * robust_sigma(residual[keep])
        better = residual <= max(limit, 0.02)
        keep = better if better.sum() >= _MIN_STARS else keep
    psf = _denoise(psf, stamps[keep] / flux[keep, None, None])
    return StarPsf(centre_psf(_tame_wings(psf)), int(keep.sum()), float(np.median(residual[keep])))


def _star_locus(found: np.ndarray, image: np.ndarray, saturation: float) -> tuple[np.ndarray, float]:
    """Indices of stars, brightest first, and their FWHM, pixel."""
    snr_like = found["flux"] / np.sqrt(np.maximum(found["npix"], 1)) / max(robust_sigma(image[::7, ::7]), 1e-30)
    bright = (found["flag"] == 0) & (snr_like > _STAR_SNR / 3) & (found["peak"] < 0.8 * saturation)
    round_ = found["b"] / np.maximum(found["a"], 1e-6) > 0.8
    index = np.flatnonzero(bright & round_)
    if len(index) < _MIN_STARS:
        return index[:0], 4.0
    radius, flag = sep.flux_radius(
        image, found["x"][index], found["y"][index], np.minimum(6 * found["a"][index], 40), 0.5, subpix=5
    )
    sane = (flag == 0) & (radius > 0.4)
    index, radius = index[sane], radius[sane]
    if len(index) < _MIN_STARS:
        return index[:0], 4.0
    # Stars pile up at the smallest radius that many share; half-sample mode of the lower part finds it.
    locus = _mode(np.log(radius))
    near = np.abs(np.log(radius) - locus) < 0.10
    order = np.argsort(-found["flux"][index[near]])
    # A Moffat profile has a FWHM of about 1.7 half-light radii.
    return index[near][order], 1.7 * float(np.exp(locus))


def _mode(values: np.ndarray) -> float:
    """Half-sample mode (Robertson & Cryer 1974) of the lower 60 per cent."""
    values = np.sort(values)[: max(int(0.6 * len(values)), 4)]
    while len(values) > 3:
        half = (len(values) + 1) // 2
        spread = values[half - 1 :] - values[: len(values) - half + 1]
        start = int(np.argmin(spread))
        values = values[start : start + half]
    return float(values.mean())


def _star_stamp(
    image: np.ndarray, segments: np.ndarray, valid: np.ndarray, star: Any, label: int, half: int
) -> tuple[float, np.ndarray] | None:
    """Flux and centred stamp of one star, or None if it is not alone, valid and inside."""
    x, y = round(float(star["x"])), round(float(star["y"]))
    ny, nx = image.shape
    reach = half + 3
    if not (reach <= x < nx - reach and reach <= y < ny - reach):
        return None
    part = (slice(y - reach, y + reach + 1), slice(x - reach, x + reach + 1))
    others = segments[part]
    foreign = (others > 0) & (others != label)
    inner = radii_map(others.shape) < 0.6 * half
    if not valid[part].all() or (foreign & inner).any() or foreign.mean() > 0.1:
        return None
    cx, cy, _ = sep.winpos(image, [star["x"]], [star["y"]], half / _STAMP_FWHM / 2.355)
    place = np.arange(-half, half + 1)
    stamp = np.where(foreign, np.nan, image[part])
    ring = radii_map(stamp.shape) > half - 1
    stamp = np.where(foreign, np.nanmedian(stamp[ring]), stamp) - np.nanmedian(stamp[ring])
    grid = np.meshgrid(place + cy[0] - y + reach, place + cx[0] - x + reach, indexing="ij")
    moved = map_coordinates(stamp, grid, order=5, mode="nearest")
    flux = moved[radii_map(moved.shape) <= half].sum()
    return (flux, moved) if flux > 0 else None


def _combine(stamps: np.ndarray) -> np.ndarray:
    middle = np.median(stamps, axis=0)
    spread = MAD_TO_SIGMA * np.median(np.abs(stamps - middle), axis=0) + 1e-9
    inside = np.abs(stamps - middle) <= 3 * spread
    return np.where(inside, stamps, 0).sum(0) / np.maximum(inside.sum(0), 1)


def _residual(stamps: np.ndarray, flux: np.ndarray, psf: np.ndarray, sigma: float, width: float) -> np.ndarray:
    near = radii_map(psf.shape) <= 2 * width
    away = np.abs(stamps - flux[:, None, None] * psf)[:, near].sum(1)
    # The mean absolute deviation of Gaussian noise is 0.8 sigma.
    noise = 0.8 * sigma * near.sum()
    return np.sqrt(np.maximum(away**2 - noise**2, 0)) / flux


def _denoise(psf: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Take out the frequencies that are noise, by the spread of the stars; steeper than Wiener's filter, which widens.

    Where a wider PSF is all noise, a narrower one has little power: matching one to the other would turn that noise
    into a pattern around every bright galaxy.
    """
    spectra = np.fft.fft2(stamps - psf)
    noise = (np.abs(spectra) ** 2).mean(0) / len(stamps)
    power = np.abs(np.fft.fft2(psf)) ** 2
    place = np.fft.fftfreq(len(psf)) * len(psf)
    rings = np.hypot(place[:, None], place[None]).round().astype(int)
    noise, power = (np.bincount(rings.ravel(), v.ravel()) for v in (noise, power))
    keep = 1 / (1 + (noise / power) ** 2)
    return np.fft.ifft2(np.fft.fft2(psf) * keep[rings]).real


def _tame_wings(psf: np.ndarray) -> np.ndarray:
    """Fade wings to zero where the azimuthal mean falls below its own scatter: an edge would ring when matched."""
    radius = radii_map(psf.shape)
    rings = radius.astype(int)
    middle = psf.shape[0] // 2
    total = np.bincount(rings.ravel(), psf.ravel())
    square = np.bincount(rings.ravel(), psf.ravel() ** 2)
    count = np.bincount(rings.ravel())
    mean = total / count
    error = np.sqrt(np.maximum(square / count - mean**2, 0) / count)
    lost = np.flatnonzero(mean[: middle + 1] < 2 * error[: middle + 1])
    edge = min(max(int(lost[0]) if len(lost) else middle, 6), middle)
    start = _FADE * edge
    return psf * (1 + np.cos(np.pi * np.clip((radius - start) / (edge - start), 0, 1))) / 2
