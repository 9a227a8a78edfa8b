"""The central galaxy and the intracluster light: modelled by elliptical rings and taken off, arcs left in place."""

import itertools
from dataclasses import dataclass

import numpy as np
import sep
from scipy.ndimage import binary_dilation, gaussian_filter, median_filter

from tandemlens.base.interpolate import linear_weights
from tandemlens.base.robust import lower_sigma, robust_sigma, sampled

#: the centre must stand out by this much in the core to be modelled at all
_MIN_SNR = 15.0
#: growth of the rings' semi-major axis from one to the next
_RING_STEP = 0.12
_CLIP = 3.0
#: what rings misfit of a real central galaxy, as a fraction of its light
_MODEL_ERROR = 0.08
#: a row or column whose median is this many standard errors from zero is a stripe
_STRIPE_SIGMA = 6.0
#: the first pass sees everything and takes a low quantile of each ring; the later ones have masks and take the median
_QUANTILES = (0.35, 0.5, 0.5)


@dataclass(frozen=True)
class LightModel:
    """What was taken off.

    Parameters
    ----------
    model : (band, y, x) float32 ndarray, nJy
        Central galaxy, intracluster light and sky.
    centre : (float, float)
        x, y of the central galaxy, pixel.
    axis_ratio, angle : float
        Of the rings; the angle of the major axis from +x towards +y, rad.
    found : bool
        Whether there was a central galaxy to model; else only the sky was taken off.
    """

    model: np.ndarray
    centre: tuple[float, float]
    axis_ratio: float
    angle: float
    found: bool


def subtract_light(
    flux: np.ndarray, weight: np.ndarray, valid: np.ndarray, fwhm: float, radius: float, mesh: float
) -> LightModel:
    """Model the light around the middle of a cutout.

    In elliptical rings around the central peak, of the shape of its inner isophotes, the brightness of a band is the
    clipped median over azimuth, other objects masked: an arc covers a small part of its ring and falls out, where a
    two-dimensional fit of a smooth profile or a small median filter would eat it. Detection on the first residual
    masks arcs and members for the next pass. What is
    left of smooth light, halos of neighbours and sky included, is the median in a ring around every pixel.

    Parameters
    ----------
    flux : (band, y, x) float32 ndarray, nJy
        Of one PSF.
    weight : (band,) ndarray
        Weights of the bands in the detection image, nJy^-1.
    valid : (y, x) bool ndarray
    fwhm : float, pixel
    radius : float, pixel
        Largest semi-major axis of the rings.
    mesh : float, pixel
        Radius of the ring whose median is the local sky.

    Returns
    -------
    LightModel
    """
    detection = np.tensordot(weight, flux, 1).astype(np.float32)
    detection[~valid] = 0
    sigma = lower_sigma(sampled(detection, valid, 2))[0] or 1.0
    centre = _central_peak(detection, valid, fwhm)
    model = np.zeros_like(flux)
    box = _box(centre, radius, detection.shape)
    snr = detection[_box(centre, fwhm / 2, detection.shape)].mean() / sigma
    q, angle, found = 1.0, 0.0, bool(snr > _MIN_SNR)
    if found:
        local = _local(centre, box)
        q, angle = _inner_shape(detection[box], local, fwhm)
        rings = _Rings(local, detection[box].shape, q, angle, radius)
        small, taken = valid[box], np.zeros_like(valid[box])
        for quantile in _QUANTILES:
            for k in range(len(flux)):
                model[k][box] = rings.model(flux[k][box], small & ~taken, quantile)
            smooth = np.tensordot(weight, model[(slice(None), *box)], 1).astype(np.float32)
            taken = _other_objects(detection[box] - smooth, smooth, local, fwhm)
    for k in range(len(flux)):
        model[k] += _local_sky(np.where(valid, flux[k] - model[k], 0), mesh)
    _add_stripes(model, flux, weight, valid)
    return LightModel(model, centre, q, angle, found)


def _central_peak(image: np.ndarray, valid: np.ndarray, fwhm: float) -> tuple[float, float]:
    ny, nx = image.shape
    reach = max(2.0 * fwhm, 8)
    middle = ((nx - 1) / 2, (ny - 1) / 2)
    part = _box(middle, reach, image.shape)
    inner = np.where(valid[part], image[part], -np.inf)
    if not np.isfinite(inner).any():
        return middle
    y, x = np.unravel_index(np.argmax(inner), inner.shape)
    start = (float(x + part[1].start), float(y + part[0].start))
    x1, y1, _ = sep.winpos(image, [start[0]], [start[1]], fwhm / 2.355, mask=~valid)
    moved = np.hypot(x1[0] - start[0], y1[0] - start[1])
    return (float(x1[0]), float(y1[0])) if moved < fwhm else start


def _inner_shape(image: np.ndarray, centre: tuple[float, float], fwhm: float) -> tuple[float, float]:
    """Axis ratio and angle of the inner isophotes, from iterated adaptive moments.

    They are measured on the smaller of every pixel and its mirror image about the centre, where neighbours vanish.
    """
    half = int(min(8 * fwhm, *(min(c, n - 1 - c) for c, n in zip(centre, image.shape[::-1], strict=True))))
    if half < 4:
        return 1.0, 0.0
    x0, y0 = round(centre[0]), round(centre[1])
    core = image[y0 - half : y0 + half + 1, x0 - half : x0 + half + 1]
    core = np.maximum(np.minimum(core, core[::-1, ::-1]), 0)
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
    size = max(1.5 * fwhm, 4.0)
    shape = np.eye(2) * size**2
    for _ in range(12):
        inverse = np.linalg.inv(shape)
        d2 = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
        weight = core * np.exp(-0.5 * d2)
        if weight.sum() <= 0:
            return 1.0, 0.0
        m11, m22, m12 = (weight * dx * dx).sum(), (weight * dy * dy).sum(), (weight * dx * dy).sum()
        # The size is held; only the shape follows the light.
        shape = np.array([[m11, m12], [m12, m22]]) / weight.sum()
        shape *= size**2 / np.sqrt(max(np.linalg.det(shape), 1e-12))
    values, vectors = np.linalg.eigh(shape)
    q = float(np.clip(np.sqrt(values[0] / values[1]), 0.4, 1))
    return q, float(np.arctan2(vectors[1, 1], vectors[0, 1]))


class _Rings:
    """Elliptical rings of equal logarithmic width around a centre."""

    def __init__(
        self, centre: tuple[float, float], shape: tuple[int, int], q: float, angle: float, radius: float
    ) -> None:
        y, x = np.mgrid[: shape[0], : shape[1]]
        dx, dy = x - centre[0], y - centre[1]
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = (dy * np.cos(angle) - dx * np.sin(angle)) / q
        self._a = np.hypot(along, across) * np.sqrt(q)
        self._edges = np.concatenate(
            [[0, 0.7], np.arange(1.2, 4, 1.0), 4 * np.exp(np.arange(0, np.log(max(radius, 8) / 4), _RING_STEP))]
        )
        self._edges = self._edges[self._edges <= radius]
        index = np.digitize(self._a.ravel(), self._edges) - 1
        order = np.argsort(index, kind="stable")
        bounds = np.searchsorted(index[order], np.arange(len(self._edges)))
        self._members = [order[a:b] for a, b in itertools.pairwise(bounds)]
        self._radius = radius

    def model(self, image: np.ndarray, use: np.ndarray, quantile: float) -> np.ndarray:
        """Light model of one band on the box from a quantile of each ring, tapering to zero at the largest ring."""
        flat, good, where = image.ravel(), use.ravel(), self._a.ravel()
        radii, level = [], []
        for members in self._members:
            inside = members[good[members]]
            if len(inside) == 0:
                continue
            radii.append(where[inside].mean())
            level.append(_clipped_quantile(flat[inside], quantile))
        if len(radii) < 4:
            return np.zeros_like(image)
        radii, level = np.array(radii), np.array(level)
        edge = float(np.median(level[-3:]))
        level = _falling(level - edge)
        # Exponential between rings: straight lines overshoot where the profile is steep.
        floor = max(level[0], 1e-30) * 1e-6
        profile = np.exp(np.interp(self._a, radii, np.log(level + floor))) - floor
        taper = np.clip((self._radius - self._a) / (0.15 * self._radius), 0, 1)
        return (profile * taper).astype(np.float32)


def _clipped_quantile(values: np.ndarray, quantile: float) -> float:
    values = np.sort(values)
    for _ in range(3):
        if len(values) < 8:
            break
        n = len(values)
        middle = values[n // 2]
        # Sorted values give the spread from their quartiles at no cost.
        spread = (values[3 * n // 4] - values[n // 4]) / 1.349
        low, high = np.searchsorted(values, [middle - _CLIP * spread, middle + _CLIP * spread])
        if high - low in (len(values), 0):
            break
        values = values[low:high]
    return float(values[int(quantile * (len(values) - 1))])


def _falling(level: np.ndarray) -> np.ndarray:
    """Brightness never rises outwards: a ring that does holds somebody else's light."""
    return np.maximum(np.minimum.accumulate(level), 0)


def _other_objects(residual: np.ndarray, model: np.ndarray, centre: tuple[float, float], fwhm: float) -> np.ndarray:
    """Mask of arcs and galaxies: what is narrower than two FWHM and stands out, the very core left out.

    It must stand out of the noise and of what rings of one shape leave of a real galaxy.
    """
    sharp = gaussian_filter(residual, 0.6 * fwhm / 2.355) - gaussian_filter(residual, 2.0 * fwhm)
    taken = binary_dilation(sharp > 3 * robust_sigma(sharp) + _MODEL_ERROR * model, iterations=2)
    y, x = np.ogrid[: residual.shape[0], : residual.shape[1]]
    core = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (1.2 * fwhm) ** 2
    return taken & ~core


def _local_sky(image: np.ndarray, radius: float) -> np.ndarray:
    """Median in a ring around every pixel (Secker 1995, PASP 107, 496): light wider than the ring, halos included.

    The ring is taken on a binned image, three pixels a radius, because it changes little over less.
    """
    ny, nx = image.shape
    step = max(1, int(radius / 3))
    small = _binned(image, step)
    reach = radius / step
    place = np.arange(-int(np.ceil(reach)), int(np.ceil(reach)) + 1)
    distance = np.hypot(place[:, None], place)
    ring = (distance <= reach) & (distance > reach - 1.5)
    level = median_filter(small, footprint=ring, mode="nearest")
    level = gaussian_filter(level, 1.0, mode="nearest")
    centres = [(np.arange(n) + 0.5) / step - 0.5 for n in (ny, nx)]
    rows = linear_weights(centres[0], level.shape[0])
    columns = linear_weights(centres[1], level.shape[1])
    return (rows @ level @ columns.T).astype(np.float32)


def _add_stripes(model: np.ndarray, flux: np.ndarray, weight: np.ndarray, valid: np.ndarray) -> None:
    """Rows and columns that stand out along their whole length join the model: chip edges and stray light, no arcs."""
    combined = np.tensordot(weight, np.where(valid, flux - model, 0), 1)
    for axis in (0, 1):
        sample = combined[::3] if axis == 0 else combined[:, ::3]
        level = np.median(sample, axis=axis)
        error = 1.2533 * lower_sigma(sample.ravel()[::5])[0] / np.sqrt(sample.shape[axis])
        striped = np.abs(level) > _STRIPE_SIGMA * error
        if striped.any():
            part = (slice(None), striped) if axis == 0 else (striped, slice(None))
            for k in range(len(flux)):
                model[k][part] += np.median((flux[k] - model[k])[part], axis=axis, keepdims=True)


def _binned(image: np.ndarray, step: int) -> np.ndarray:
    ny, nx = image.shape
    image = np.pad(image, ((0, -ny % step), (0, -nx % step)), mode="edge")
    return image.reshape(image.shape[0] // step, step, -1, step).mean((1, 3))


def _box(centre: tuple[float, float], reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    rows, columns = (
        slice(max(0, int(np.floor(c - reach))), min(n, int(np.ceil(c + reach)) + 1))
        for c, n in zip(centre[::-1], shape, strict=True)
    )
    return rows, columns


def _local(centre: tuple[float, float], box: tuple[slice, slice]) -> tuple[float, float]:
    return centre[0] - box[1].start, centre[1] - box[0].start
