"""One grid and one PSF for every band of a system, with the noise that this leaves."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sep
from scipy.fft import irfft2, next_fast_len, rfft2

from tandemlens.base.columns.match import COLUMNS
from tandemlens.base.errors import DataError
from tandemlens.base.flags import EDGE, NO_DATA
from tandemlens.base.robust import median, robust_sigma, sampled
from tandemlens.base.stack import Cutout, header_text, pixel_digest, read_stack, write_stack
from tandemlens.base.stage import run_targets, target_rng
from tandemlens.base.tables import write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.image.grid import fill_invalid, pixel_mapping, resample
from tandemlens.image.noise import RADII, blank_pixels, noise_factors
from tandemlens.image.psf import matching_kernel
from tandemlens.survey.outcome import MIN_BANDS
from tandemlens.survey.psf import centre_psf, fwhm

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: a pixel is spoiled when this much of the kernel's weight rests on invalid pixels
_SPOILED = 0.1
#: mesh of the sky that is taken off before noise is measured, pixel
_SKY_MESH = 96


def match_shard(
    stack_in: str, stack_out: str, table_out: str, cfg: dict[str, Any], progress: Callable[[int, int], None]
) -> None:
    """Match every system of a stack.

    Parameters
    ----------
    stack_in, stack_out, table_out : str
        cutouts.h5, matched.h5, match.parquet.
    cfg : dict
        Section ``match`` of the settings, and ``pixel_scale``, arcsec.
    progress : callable
    """
    rows: list[dict[str, Any]] = []
    cache: dict[bytes, tuple[np.ndarray, float]] = {}
    digests: dict[str, str] = {}
    with read_stack(stack_in) as reader:
        side = tuple(reader.shape)
        with write_stack(stack_out, reader.bands, side, reader.psf_size) as writer:

            def work(index: int, target_id: str) -> None:
                cutout = reader[index]
                digests[target_id] = pixel_digest(cutout)
                matched, facts = match_system(cutout, target_id, cfg, cache)
                writer.append(target_id, matched)
                rows.extend({"target_id": target_id, "band": b, **f} for b, f in zip(reader.bands, facts, strict=True))

            status = run_targets(reader.target_ids, work, progress)
        bands = reader.bands
    empty = {"used": False, "band_fwhm": np.nan, "fwhm": np.nan, "kernel_residual": np.nan, "noise_factor": np.nan}
    left = status[status["status"] != "ok"]["target_id"]
    rows += [{"target_id": t, "band": b, **empty} for t in left for b in bands]
    frame = pd.DataFrame(rows, columns=["target_id", "band", *empty]).merge(status, on="target_id", how="left")
    frame = frame.astype({"used": bool}).assign(cutout_sha256=frame["target_id"].map(digests).fillna(""))
    write_table(table_out, frame, COLUMNS)


def match_system(
    cutout: Cutout, target_id: str, cfg: dict[str, Any], cache: dict[bytes, tuple[np.ndarray, float]] | None = None
) -> tuple[Cutout, list[dict[str, Any]]]:
    """Bring the bands of one system onto one grid and one PSF.

    The grid is that of a band whose pixels already fit it, else north up around the first usable band's centre; the
    target PSF is that of the usable band of largest FWHM. Without a common PSF every band keeps its own, and no band is
    refused for its kernel.

    Parameters
    ----------
    cutout : Cutout
    target_id : str
        Seeds the blank apertures.
    cfg : dict
        As for `match_shard`.
    cache : dict, optional
        Kernels of PSF pairs already seen.

    Returns
    -------
    matched : Cutout
        With the extras fwhm (of the worst band), band_fwhm (arcsec), kernel_residual, noise_radius (pixel) and
        noise_factor.
    facts : list of dict
        One a band.

    Raises
    ------
    DataError
        If fewer than two bands can be used.
    """
    cache = {} if cache is None else cache
    used = (cutout.mask == 0).mean(axis=(1, 2)) >= cfg["min_valid"]
    _need_two(cutout, used, cfg)
    on_grid, wcs = _one_grid(cutout, used, cfg["pixel_scale"])
    widths = np.array([fwhm(p) if u else np.nan for p, u in zip(on_grid.psf, used, strict=True)])
    if not np.isfinite(widths[used]).all():
        broken = [b for b, w, u in zip(cutout.bands, widths, used, strict=True) if u and not np.isfinite(w)]
        raise DataError("bad_psf", f"band {', '.join(broken)}: the PSF image never falls to half its peak")
    worst = int(np.nanargmax(widths))
    common = cfg["common_psf"]
    target = np.where(common, worst, np.arange(len(used)))
    kernels, residual = _kernels(on_grid.psf, used, target, cache)
    refused = used & (residual > cfg["max_residual"])
    used = used & ~refused
    _need_two(cutout, used, cfg, residual)
    matched = _convolve(on_grid, kernels, used)
    factors = _measure_noise(matched, kernels, used, cfg, target_id)
    # The centre in use: bands that were convolved have the PSF of the worst one.
    matched.psf[used] = on_grid.psf[target[used]]
    scale = cfg["pixel_scale"]
    matched.extra.update(
        fwhm=np.float32(widths[worst] * scale),
        band_fwhm=(widths * scale).astype(np.float32),
        kernel_residual=residual.astype(np.float32),
        noise_radius=RADII.astype(np.float32),
        noise_factor=factors.astype(np.float32),
    )
    matched.wcs = (header_text(wcs),) * len(cutout.bands)
    at_three = factors[:, int(np.argmin(np.abs(RADII - 3)))]
    facts = [
        {
            "used": bool(u),
            "band_fwhm": w * scale,
            "fwhm": widths[worst] * scale,
            "kernel_residual": r,
            "noise_factor": f,
        }
        for u, w, r, f in zip(used, widths, residual, at_three, strict=True)
    ]
    return matched, facts


def _need_two(cutout: Cutout, used: np.ndarray, cfg: dict[str, Any], residual: np.ndarray | None = None) -> None:
    if used.sum() >= MIN_BANDS:
        return
    valid = (cutout.mask == 0).mean(axis=(1, 2))
    told = ", ".join(f"{b} {v:.2f}" for b, v in zip(cutout.bands, valid, strict=True))
    if residual is not None:
        told += "; misplaced light " + ", ".join(f"{b} {r:.2f}" for b, r in zip(cutout.bands, residual, strict=True))
    status = "masked" if not used.any() else "too_few_bands"
    raise DataError(
        status,
        f"{int(used.sum())} of {len(used)} bands are usable (valid fraction of pixels: {told}; "
        f"match.min_valid is {cfg['min_valid']}, match.max_residual {cfg['max_residual']})",
    )


def _one_grid(cutout: Cutout, used: np.ndarray, scale: float) -> "tuple[Cutout, WCS]":
    first = int(np.flatnonzero(used)[0])
    ny, nx = cutout.flux.shape[1:]
    anchor = cutout.astropy_wcs(first)
    own = np.sqrt(np.abs(np.linalg.det(anchor.pixel_scale_matrix))) * 3600
    if abs(own / scale - 1) < 1e-3:
        wcs = anchor
    else:
        ra, dec = anchor.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
        wcs = tangent_wcs(float(ra), float(dec), (ny, nx), scale)
    flux, variance = np.zeros_like(cutout.flux), np.full_like(cutout.variance, np.inf)
    mask, psf = np.full_like(cutout.mask, NO_DATA), np.zeros_like(cutout.psf)
    for k in map(int, np.flatnonzero(used)):
        mapping = pixel_mapping(cutout.astropy_wcs(k), wcs, (ny, nx)) if wcs is not anchor or k != first else None
        if mapping is None:
            flux[k], variance[k], mask[k] = cutout.flux[k], cutout.variance[k], cutout.mask[k]
            psf[k] = cutout.psf[k]
            continue
        flux[k], variance[k], mask[k] = resample(cutout.flux[k], cutout.variance[k], cutout.mask[k], mapping)
        psf[k] = _psf_on_grid(cutout.psf[k], mapping)
    return Cutout(cutout.bands, flux, variance, mask, psf, cutout.wcs), wcs


def _psf_on_grid(psf: np.ndarray, mapping: tuple[np.ndarray, np.ndarray, float]) -> np.ndarray:
    """The PSF as the resampling leaves it: the same linear map around its own centre."""
    x, y, area = mapping
    ny, nx = x.shape
    j, i = ny // 2, nx // 2
    k = psf.shape[-1]
    half = k // 2
    place = np.arange(-half, half + 1)
    j_x = np.array([x[j, i] - x[j, i - 1], x[j, i] - x[j - 1, i]])
    j_y = np.array([y[j, i] - y[j, i - 1], y[j, i] - y[j - 1, i]])
    if np.allclose([*j_x, *j_y], [1, 0, 0, 1], atol=2e-3):
        return psf
    py, px = np.meshgrid(place, place, indexing="ij")
    local = (half + j_x[0] * px + j_x[1] * py, half + j_y[0] * px + j_y[1] * py, area)
    flux, _, _ = resample(psf, np.ones_like(psf), np.zeros(psf.shape, np.uint16), local)
    return centre_psf(np.maximum(flux.astype(float), 0)) if flux.sum() > 0 else psf


def _kernels(
    psf: np.ndarray, used: np.ndarray, target: np.ndarray, cache: dict[bytes, tuple[np.ndarray, float]]
) -> tuple[list[np.ndarray | None], np.ndarray]:
    """Kernel from the PSF of every band to that of its target band, None for itself, and what they leave."""
    kernels: list[np.ndarray | None] = [None] * len(psf)
    residual = np.full(len(psf), np.nan)
    for k in np.flatnonzero(used):
        aim = psf[target[k]]
        if k == target[k]:
            residual[k] = 0.0
            continue
        key = hashlib.blake2b(psf[k].tobytes() + aim.tobytes(), digest_size=16).digest()
        if key not in cache:
            cache[key] = matching_kernel(psf[k].astype(float), aim.astype(float))
        kernels[k], residual[k] = cache[key]
    return kernels, residual


def _convolve(cutout: Cutout, kernels: list[np.ndarray | None], used: np.ndarray) -> Cutout:
    flux, variance, mask = (np.array(a) for a in (cutout.flux, cutout.variance, cutout.mask))
    for k, kernel in enumerate(kernels):
        if not used[k]:
            flux[k], variance[k], mask[k] = 0, np.inf, NO_DATA
        elif kernel is not None:
            flux[k], variance[k], mask[k] = _convolve_band(flux[k], variance[k], mask[k], kernel)
    return Cutout(cutout.bands, flux, variance, mask, np.array(cutout.psf), cutout.wcs)


def _convolve_band(
    flux: np.ndarray, variance: np.ndarray, mask: np.ndarray, kernel: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    invalid = mask != 0
    # in single precision the rounding of a bright star would reach all pixels
    image = _through(fill_invalid(flux, invalid).astype(float), kernel)
    squared = kernel.astype(np.float32) ** 2
    finite = np.where(invalid, median(variance[~invalid]), variance) if invalid.any() else variance
    noise = _smooth_variance(finite, squared)
    if invalid.any():
        weight = np.abs(kernel) / np.abs(kernel).sum()
        rests = _through(invalid.astype(np.float32), weight) > _SPOILED
        mask = np.where(rests & ~invalid, EDGE, mask).astype(np.uint16)
    bad = mask != 0
    return np.where(bad, 0, image), np.where(bad, np.inf, noise), mask


def _smooth_variance(variance: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """Variance times the squared kernel; a flat map needs no convolution."""
    if variance.max() - variance.min() <= 1e-6 * variance.max():
        return np.full_like(variance, variance.flat[0] * squared.sum())
    return np.maximum(_through(variance, squared), variance.min() * squared.sum() * 1e-3)


def _through(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """An image convolved with a smaller odd kernel, its border continued beyond it.

    One transform of the whole image takes a quarter of the time of SciPy's convolution by blocks.
    """
    half, (ny, nx) = kernel.shape[0] // 2, image.shape
    padded = np.pad(image, half, mode="edge")
    size = [next_fast_len(n, real=True) for n in padded.shape]
    # what wraps around ends in the first pixels, which are left out
    product = rfft2(padded, size)
    product *= rfft2(kernel.astype(image.dtype, copy=False), size)
    return irfft2(product, size, overwrite_x=True)[2 * half : 2 * half + ny, 2 * half : 2 * half + nx]


def _measure_noise(
    matched: Cutout, kernels: list[np.ndarray | None], used: np.ndarray, cfg: dict[str, Any], target_id: str
) -> np.ndarray:
    """Noise factors of every band on the sky that is blank in their sum."""
    rng = target_rng(target_id)
    good = (matched.mask[used] == 0).all(axis=0)
    factors = np.ones((len(kernels), len(RADII)))
    if not good.any():
        raise DataError("masked", "no pixel is valid in every usable band")
    weight = [1 / np.sqrt(median(sampled(v, good))) for v in matched.variance[used]]
    combined = np.tensordot(np.array(weight, np.float32), matched.flux[used], 1)
    combined[~good] = 0
    mesh = {"bw": _SKY_MESH, "bh": _SKY_MESH}
    combined -= sep.Background(combined, mask=~good, **mesh).back()
    blank = blank_pixels(combined, robust_sigma(sampled(combined, good)), ~good, grow=3)
    for k in np.flatnonzero(used):
        # Large smooth light is the light model's business; what counts here is the noise on top of it.
        flux = matched.flux[k] - sep.Background(matched.flux[k], mask=~blank, **mesh).back()
        factors[k] = noise_factors(flux, matched.variance[k], blank, kernels[k], cfg["noise_apertures"], rng)
    return factors
