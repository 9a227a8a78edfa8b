"""Segments of a system: central light removed, detected on the combined image, measured and classed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import sep
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.segmentation import relabel_sequential

from tandemlens.base.atomic import atomic_path
from tandemlens.base.columns import stage
from tandemlens.base.columns.segments import COLUMNS
from tandemlens.base.errors import DataError
from tandemlens.base.robust import lower_sigma, median, sampled
from tandemlens.base.stack import read_stack
from tandemlens.base.stage import run_targets
from tandemlens.base.tables import empty_frame, write_table
from tandemlens.image.classify import classify, compactness
from tandemlens.image.light import subtract_light
from tandemlens.image.noise import factor_at, noise_factors
from tandemlens.image.shape import measure_shapes

if TYPE_CHECKING:
    from tandemlens.base.stack import Cutout
    from tandemlens.image.light import LightModel

#: width of the smoothing before detection over that of the PSF
_SMOOTHING = 1.0
#: the same for objects that are bright enough to be taken apart
_SHARP = 0.5
#: contrast at which faint objects are split, and the flux, in thresholds per root pixel, from which they are bright
_FAINT_CONTRAST, _BRIGHT = 0.05, 40.0
_DEBLEND_LEVELS = 32
_NOISE_APERTURES = 200


def segment_shard(
    stack_in: str,
    targets: pd.DataFrame,
    segments_path: str,
    images_path: str,
    status_path: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Segment every system of a stack.

    Parameters
    ----------
    stack_in : str
        matched.h5.
    targets : pandas.DataFrame
        Target table of the shard.
    segments_path, images_path, status_path : str
        segments.parquet, segments.h5 (per target the arrays labels, detection and residual), segment.parquet.
    cfg : dict
        Section ``segment`` of the settings, and ``pixel_scale``, arcsec.
    progress : callable
    """
    tables = []
    with read_stack(stack_in) as reader, atomic_path(images_path) as temporary, h5py.File(temporary, "w") as images:

        def work(index: int, target_id: str) -> None:
            frame, labels, detection, residual = segment_system(reader[index], cfg)
            group = images.create_group(target_id)
            group.create_dataset("labels", data=labels, compression="lzf", shuffle=True)
            group["detection"], group["residual"] = detection, residual
            tables.append(frame.assign(target_id=target_id))

        status = run_targets(reader.target_ids, work, progress)
    frame = pd.concat([empty_frame(COLUMNS), *tables])
    write_table(segments_path, frame, COLUMNS)
    write_table(status_path, status, stage.COLUMNS)


@contextmanager
def open_images(path: str) -> Iterator["_Images"]:
    """Open segments.h5.

    Parameters
    ----------
    path : str

    Yields
    ------
    mapping
        ``images[target_id]`` gives labels (y, x) uint16, detection (y, x) in sigma and residual (band, y, x) in nJy;
        ``target_id in images`` says whether it is there.
    """
    with h5py.File(path, "r") as handle:
        yield _Images(handle)


class _Images:
    def __init__(self, handle: h5py.File) -> None:
        self._file = handle

    def __contains__(self, target_id: str) -> bool:
        return target_id in self._file

    def __getitem__(self, target_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        group = self._file[target_id]
        return group["labels"][:], group["detection"][:], group["residual"][:]


def segment_system(cutout: "Cutout", cfg: dict[str, Any]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Find and describe the segments of one matched system.

    Parameters
    ----------
    cutout : Cutout
        Bands on one grid with one PSF, with the extra fwhm.
    cfg : dict
        As for `segment_shard`.

    Returns
    -------
    frame : pandas.DataFrame
        The columns of segments.parquet but target_id.
    labels : (y, x) uint16 ndarray
    detection : (y, x) float32 ndarray
        Combined residual in units of its pixel sigma.
    residual : (band, y, x) float32 ndarray, nJy
        Central light and sky removed; 0 where invalid.

    Raises
    ------
    DataError
        If no pixel is valid in all usable bands.
    """
    used = cutout.usable()
    valid = (cutout.mask[used] == 0).all(axis=0)
    if not valid.any():
        raise DataError("masked", "no pixel is valid in every usable band")
    scale = cfg["pixel_scale"]
    fwhm = float(cutout.extra["fwhm"]) / scale
    # Inverse-variance weights of one typical pixel a band: flat-spectrum light adds up with the best S/N.
    typical = np.array([median(sampled(v, valid)) if u else np.inf for v, u in zip(cutout.variance, used, strict=True)])
    weight = 1 / typical
    light = subtract_light(
        cutout.flux,
        weight,
        valid,
        fwhm,
        cfg["light_radius_arcsec"] / scale,
        max(cfg["sky_ring_arcsec"] / scale, 3 * fwhm),
    )
    residual = np.where(valid & used[:, None, None], cutout.flux - light.model, 0).astype(np.float32)
    combined = np.tensordot(weight, residual, 1).astype(np.float32)
    uneven = _uneven_noise(cutout.variance, weight, valid)
    smooth, sharp = (gaussian_filter(combined, s * fwhm / 2.355) / uneven for s in (_SMOOTHING, _SHARP))
    smooth, sharp = (plane / _noise_level(plane, valid) for plane in (smooth, sharp))
    labels = _extract(smooth, sharp, valid, cfg)
    sky = valid & ~binary_dilation(labels > 0, iterations=2)
    detection = combined / uneven
    detection /= _noise_level(detection, sky if sky.any() else valid)
    if light.found:
        labels = _add_centre(labels, light.centre, fwhm)
    if labels.max() == 0:
        return empty_frame(COLUMNS[1:]), labels, detection, residual
    shapes = measure_shapes(labels.astype(np.int32), combined, fwhm, scale)
    factors = noise_factors(detection, np.ones_like(detection), sky, None, _NOISE_APERTURES, np.random.default_rng(0))
    frame = _describe(shapes, labels, combined, detection, valid, cutout, light, factors, fwhm, cfg)
    frame = frame[(frame["snr"] >= cfg["min_snr"]) | (frame["kind"] == "bcg")]
    labels[~np.isin(labels, frame["label"])] = 0
    return frame, labels, detection, residual


def _towards_north(shapes: pd.DataFrame, turn: np.ndarray) -> pd.DataFrame:
    """Moments and angles from the pixel axes to west and north; nothing changes on a grid with north up."""
    axis = turn @ np.array([np.cos(shapes["theta"]), np.sin(shapes["theta"])])
    q = shapes[["q11", "q12", "q12", "q22"]].to_numpy().reshape(-1, 2, 2)
    q = np.einsum("ab,nbc,dc->nad", turn, q, turn)
    return shapes.assign(theta=np.arctan2(axis[1], axis[0]) % np.pi, q11=q[:, 0, 0], q22=q[:, 1, 1], q12=q[:, 0, 1])


def _noise_level(image: np.ndarray, valid: np.ndarray) -> float:
    return max(lower_sigma(sampled(image, valid, 2))[0], 1e-30)


def _uneven_noise(variance: np.ndarray, weight: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Noise of every pixel of the combined image over the typical one, from the variances."""
    used = np.isfinite(weight) & (weight > 0)
    total = np.tensordot(weight[used] ** 2, np.where(valid, variance[used], 0), 1)
    return np.where(valid, np.sqrt(total / median(sampled(total, valid))), 1).astype(np.float32)


def _extract(smooth: np.ndarray, sharp: np.ndarray, valid: np.ndarray, cfg: dict[str, Any]) -> np.ndarray:
    """Label map from two smoothings of the combined image in units of their noise.

    The smooth one finds faint arcs and splits them only at strong contrast, because noise splits them at any weak one;
    the bright objects in it are found anew on the sharp one, at the contrast of the settings.
    """
    # Deep fields overflow the default stack of pixels waiting to be assigned.
    sep.set_extract_pixstack(1_000_000)
    sep.set_sub_object_limit(8192)
    options = {
        "minarea": cfg["min_area"],
        "filter_kernel": None,
        "deblend_nthresh": _DEBLEND_LEVELS,
        "clean": False,
        "segmentation_map": True,
    }
    threshold = cfg["threshold"]
    objects, labels = sep.extract(smooth, threshold, mask=~valid, deblend_cont=_FAINT_CONTRAST, **options)
    bright = np.flatnonzero(objects["flux"] > _BRIGHT * threshold * np.sqrt(objects["npix"])) + 1
    if len(bright):
        blend = np.isin(labels, bright)
        _, finer = sep.extract(sharp, threshold, mask=~blend, deblend_cont=cfg["deblend_contrast"], **options)
        kept = relabel_sequential(np.where(blend, 0, labels))[0]
        labels = np.where(finer > 0, finer + kept.max(), kept)
    return labels.astype(np.uint16)


def _add_centre(labels: np.ndarray, centre: tuple[float, float], fwhm: float) -> np.ndarray:
    """Give the core of the central galaxy its own label, the last one; what the model left there is its residual."""
    y, x = np.ogrid[: labels.shape[0], : labels.shape[1]]
    core = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= fwhm**2
    kept = relabel_sequential(np.where(core, 0, labels))[0]
    return np.where(core, kept.max() + 1, kept).astype(np.uint16)


def _describe(
    shapes: pd.DataFrame,
    labels: np.ndarray,
    combined: np.ndarray,
    detection: np.ndarray,
    valid: np.ndarray,
    cutout: "Cutout",
    light: "LightModel",
    factors: np.ndarray,
    fwhm: float,
    cfg: dict[str, Any],
) -> pd.DataFrame:
    scale = cfg["pixel_scale"]
    index = shapes.index.to_numpy()
    total = np.bincount(labels.ravel(), detection.ravel(), int(labels.max()) + 1)[index]
    area = shapes["area"].to_numpy()
    thickness = 2 * area / np.maximum(shapes["perimeter"].to_numpy(), 1)
    snr = total / (np.sqrt(area) * factor_at(thickness, factors))
    # The border of the image is no defect, only invalid pixels are.
    near_bad = ~valid if valid.all() else binary_dilation(~valid, iterations=2)
    spoiled = np.bincount(labels.ravel(), near_bad.ravel(), int(labels.max()) + 1)[index] / area
    first = int(np.flatnonzero(cutout.usable())[0])
    wcs = cutout.astropy_wcs(first)
    sky = wcs.all_pix2world(np.column_stack([shapes["x"], shapes["y"]]), 0)
    # The matrix carries rotation and handedness, so that east and north are true on any grid.
    to_sky = wcs.pixel_scale_matrix * 3600
    away = np.column_stack([shapes["x"] - light.centre[0], shapes["y"] - light.centre[1]]) @ to_sky.T
    circle = away + np.column_stack([shapes["centre_x"], shapes["centre_y"]]) / scale @ to_sky.T
    distance = np.hypot(*away.T)
    compact = compactness(combined, shapes["x"].to_numpy(), shapes["y"].to_numpy(), fwhm)
    kind = classify(shapes, snr, spoiled, compact, cutout.psf[first], fwhm, distance, scale, cfg)
    if light.found:
        kind = np.where(index == index[-1], "bcg", kind)
    shapes = _towards_north(shapes, np.diag([-1, 1]) @ to_sky / scale)
    frame = shapes.drop(columns=["var_along", "var_across", "centre_x", "centre_y"]).reset_index()
    placed = {"ra": sky[:, 0] % 360, "dec": sky[:, 1], "east": away[:, 0], "north": away[:, 1]}
    more = {"kind": kind, "snr": snr, "circle_east": circle[:, 0], "circle_north": circle[:, 1]}
    return frame.assign(**placed, **more)[[c.name for c in COLUMNS[1:]]]
