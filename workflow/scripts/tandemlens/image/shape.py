"""Shapes of all segments of a label map at once: moments, ridge line, length, width, curvature."""

import numpy as np
import pandas as pd

#: points of a ridge line
_RIDGE_BINS = 9
_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
#: an arc bends if its sagitta exceeds this, pixel (methods, table of features)
_MIN_SAGITTA = 1.0
#: and this many times the scatter of the ridge about the circle
_MIN_BEND = 3.0
#: a width below this fraction of the PSF cannot be told from zero
_MIN_WIDTH = 0.5


def measure_shapes(labels: np.ndarray, image: np.ndarray, fwhm: float, scale: float) -> pd.DataFrame:
    """Shapes of every segment.

    Weights are the positive flux of the segment's pixels. The length is that of the uniform bar of the same second
    moment along the ridge, ``L = sqrt(12 (var_along - var_psf))``; the width is the FWHM of the Gaussian of the same
    second moment across it, ``W = 2.355 sqrt(var_across - var_psf)``, at least half the PSF's. Where the ridge bends by
    a sagitta of more than a pixel, along and across follow the fitted circle.

    Parameters
    ----------
    labels : (y, x) int ndarray
        0 is sky, segments are 1..n.
    image : (y, x) float ndarray
        Detection image, any unit, central light removed.
    fwhm : float, pixel
    scale : float, arcsec

    Returns
    -------
    pandas.DataFrame
        Index label; columns x, y (pixel), area (pixel), length, width, curvature_radius, centre_x, centre_y
        (arcsec, of the circle relative to the segment; NaN where it does not bend), theta (rad), q11, q22, q12
        (arcsec^2, PSF-corrected; NaN if unresolved), var_along, var_across (pixel^2, raw), perimeter (pixel), ridge.
    """
    n = int(labels.max())
    ys, xs = np.nonzero(labels)
    label = labels[ys, xs] - 1
    weight = np.maximum(image[ys, xs], 0) + 1e-6 * max(float(np.abs(image).max()), 1e-30)
    sums = _Sums(label, weight, n)
    x0, y0 = sums.mean(xs), sums.mean(ys)
    dx, dy = xs - x0[label], ys - y0[label]
    m11, m22, m12 = sums.mean(dx * dx), sums.mean(dy * dy), sums.mean(dx * dy)
    angle = 0.5 * np.arctan2(2 * m12, m11 - m22)
    along = dx * np.cos(angle[label]) + dy * np.sin(angle[label])
    across = dy * np.cos(angle[label]) - dx * np.sin(angle[label])
    ridge = _ridge(label, weight, along, across, n)
    radius, centre_along, centre_across = fit_circles(*ridge)
    straight_length = np.sqrt(12 * np.maximum(sums.mean(along**2), 1e-6))
    sagitta = straight_length**2 / (8 * radius)
    bends = (sagitta > _MIN_SAGITTA) & (
        sagitta > _MIN_BEND * _ridge_scatter(ridge, radius, centre_along, centre_across)
    )
    along, across = _follow_circle(label, along, across, bends, radius, centre_along, centre_across)
    var_along, var_across = sums.variance(along), sums.variance(across)
    psf = (fwhm / _FWHM_PER_SIGMA) ** 2
    # A pixel's own extent is part of the PSF image already.
    length = np.sqrt(12 * np.maximum(var_along - psf, 0))
    width = np.maximum(_FWHM_PER_SIGMA * np.sqrt(np.maximum(var_across - psf, 0)), _MIN_WIDTH * fwhm)
    q11, q22, q12 = m11 - psf, m22 - psf, m12
    unresolved = (q11 <= 0) | (q22 <= 0) | (q11 * q22 <= q12**2)
    cos, sin = np.cos(angle), np.sin(angle)
    circle_x = centre_along * cos - centre_across * sin
    circle_y = centre_along * sin + centre_across * cos
    frame = pd.DataFrame(
        {
            "x": x0,
            "y": y0,
            "area": sums.count,
            "length": length * scale,
            "width": width * scale,
            "curvature_radius": np.where(bends, radius, np.nan) * scale,
            "centre_x": np.where(bends, circle_x, np.nan) * scale,
            "centre_y": np.where(bends, circle_y, np.nan) * scale,
            "theta": angle % np.pi,
            "q11": np.where(unresolved, np.nan, q11) * scale**2,
            "q22": np.where(unresolved, np.nan, q22) * scale**2,
            "q12": np.where(unresolved, np.nan, q12) * scale**2,
            "var_along": var_along,
            "var_across": var_across,
            "perimeter": _perimeters(labels, n),
        },
        index=pd.RangeIndex(1, n + 1, name="label"),
    )
    frame["ridge"] = _ridge_text(ridge, cos, sin, x0, y0)
    return frame[sums.count > 0]


class _Sums:
    """Weighted sums over the pixels of each label."""

    def __init__(self, label: np.ndarray, weight: np.ndarray, n: int) -> None:
        self._label, self._weight, self._n = label, weight, n
        self.count = np.bincount(label, minlength=n)
        self._total = np.maximum(np.bincount(label, weight, n), 1e-300)

    def mean(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self._label, self._weight * values, self._n) / self._total

    def variance(self, values: np.ndarray) -> np.ndarray:
        away = values - self.mean(values)[self._label]
        return self.mean(away * away)


def _ridge(
    label: np.ndarray, weight: np.ndarray, along: np.ndarray, across: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux-weighted mean place across, in bins along the major axis: along, across, weight of (n, bins)."""
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, label, along)
    np.maximum.at(high, label, along)
    span = np.maximum(high - low, 1e-9)
    bins = np.minimum(((along - low[label]) / span[label] * _RIDGE_BINS).astype(int), _RIDGE_BINS - 1)
    key = label * _RIDGE_BINS + bins
    total = np.bincount(key, weight, n * _RIDGE_BINS)
    safe = np.where(total > 0, total, 1)
    along, across = (np.bincount(key, weight * v, n * _RIDGE_BINS) / safe for v in (along, across))
    # The root keeps the bright middle from outvoting the faint ends, which hold the curvature.
    along, across, root = (a.reshape(n, _RIDGE_BINS) for a in (along, across, np.sqrt(total)))
    return along, across, root


def fit_circles(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Circles through sets of points by Taubin's fit (Taubin 1991; Newton form of Chernov 2010, sect. 5.10).

    Parameters
    ----------
    x, y, weight : (n, k) ndarray
        Points of n sets; weight 0 leaves a point out.

    Returns
    -------
    radius, centre_x, centre_y : (n,) ndarray
        In the unit of x; NaN for fewer than 3 points or points on a line.
    """
    total = weight.sum(1)
    share = np.divide(weight, total[:, None], out=np.zeros_like(weight), where=total[:, None] > 0)
    mx, my = (share * x).sum(1), (share * y).sum(1)
    u, v = x - mx[:, None], y - my[:, None]
    size = np.sqrt(np.maximum((share * (u * u + v * v)).sum(1), 1e-300))
    u, v = u / size[:, None], v / size[:, None]
    w = u * u + v * v
    uu, vv, uv = ((share * a).sum(1) for a in (u * u, v * v, u * v))
    uw, vw, ww = ((share * a).sum(1) for a in (u * w, v * w, w * w))
    mean_w = uu + vv
    area = uu * vv - uv * uv
    a3, a2 = 4 * mean_w, -3 * mean_w**2 - ww
    a1 = ww * mean_w + 4 * area * mean_w - uw**2 - vw**2 - mean_w**3
    a0 = uw**2 * vv + vw**2 * uu - ww * area - 2 * uw * vw * uv + mean_w**2 * area
    root = np.zeros_like(a0)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(20):
            value = a0 + root * (a1 + root * (a2 + root * a3))
            slope = a1 + root * (2 * a2 + 3 * root * a3)
            root = root - np.where(np.abs(slope) > 1e-300, value / slope, 0)
        det = root**2 - root * mean_w + area
        cu = (uw * (vv - root) - vw * uv) / det / 2
        cv = (vw * (uu - root) - uw * uv) / det / 2
        radius = np.sqrt(cu**2 + cv**2 + mean_w)
    bad = ((weight > 0).sum(1) < 3) | ~np.isfinite(radius) | (radius > 1e4)
    radius, x0, y0 = (np.where(bad, np.nan, a) for a in (radius * size, cu * size + mx, cv * size + my))
    return radius, x0, y0


def _ridge_scatter(
    ridge: tuple[np.ndarray, np.ndarray, np.ndarray],
    radius: np.ndarray,
    centre_along: np.ndarray,
    centre_across: np.ndarray,
) -> np.ndarray:
    x, y, weight = ridge
    away = np.hypot(x - centre_along[:, None], y - centre_across[:, None]) - radius[:, None]
    total = np.maximum(weight.sum(1), 1e-300)
    return np.sqrt((weight * away**2).sum(1) / total)


def _follow_circle(
    label: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
    bends: np.ndarray,
    radius: np.ndarray,
    centre_along: np.ndarray,
    centre_across: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace straight coordinates by arc length and distance from the circle where a segment bends."""
    use = bends[label]
    mine = label[use]
    da, dc = along[use] - centre_along[mine], across[use] - centre_across[mine]
    # Angles are counted from the direction of the segment's middle, so that none wraps.
    middle = np.arctan2(-centre_across[mine], -centre_along[mine])
    turn = np.angle(np.exp(1j * (np.arctan2(dc, da) - middle)))
    along, across = along.copy(), across.copy()
    along[use], across[use] = turn * radius[mine], np.hypot(da, dc) - radius[mine]
    return along, across


def _perimeters(labels: np.ndarray, n: int) -> np.ndarray:
    """Pixel sides between a segment and anything else, times pi/4, the mean ratio for a smooth border."""
    padded = np.pad(labels, 1)
    sides = np.zeros(n + 1)
    for a, b in ((padded[1:], padded[:-1]), (padded[:, 1:], padded[:, :-1])):
        border = a != b
        sides += np.bincount(a[border], minlength=n + 1) + np.bincount(b[border], minlength=n + 1)
    return sides[1:] * np.pi / 4


def _ridge_text(
    ridge: tuple[np.ndarray, np.ndarray, np.ndarray], cos: np.ndarray, sin: np.ndarray, x0: np.ndarray, y0: np.ndarray
) -> list[str]:
    along, across, weight = ridge
    px = x0[:, None] + along * cos[:, None] - across * sin[:, None]
    py = y0[:, None] + along * sin[:, None] + across * cos[:, None]
    return [
        " ".join(f"{a:.1f},{b:.1f}" for a, b, c in zip(*row, strict=True) if c > 0)
        for row in zip(px, py, weight, strict=True)
    ]
