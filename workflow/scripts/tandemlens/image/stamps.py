"""Square stamps of fixed size cut around places of an image, averaged over their pixels."""

import numpy as np

#: share of a stamp pixel that must be valid
_LEAST_VALID = 0.5


def overlap(n: int, centre: float, side: float, bins: int) -> np.ndarray:
    """Length of every pixel of a row of n that falls in every one of equal bins around a place.

    Parameters
    ----------
    n : int
    centre : float, pixel
        0-based; a pixel reaches half a pixel to both sides of its number.
    side : float, pixel
        Length of all bins together.
    bins : int

    Returns
    -------
    (bins, n) float ndarray, pixel
    """
    edges = centre + side * (np.arange(bins + 1) / bins - 0.5)
    pixels = np.arange(n)
    low, high = np.maximum(edges[:-1, None], pixels - 0.5), np.minimum(edges[1:, None], pixels + 0.5)
    return np.maximum(high - low, 0)


def cut_stamp(
    flux: np.ndarray, variance: np.ndarray, valid: np.ndarray, centre: tuple[float, float], side: float, pixels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A stamp centred on a place, by one average over boxes that is common to all bands.

    The flux of a stamp pixel is the mean over the valid part of its box: brightness, and with it colour, is kept, and
    the place lies at the centre of the stamp to any fraction of a pixel. The noise is the root of the mean variance
    over the area of the box: that of white noise of the same power on large scales, as in
    `tandemlens.image.grid.resample`.

    Parameters
    ----------
    flux, variance : (band, y, x) ndarray
        Where `valid` is False they may hold anything.
    valid : (band, y, x) bool ndarray
    centre : (float, float), pixel
        (x, y), 0-based.
    side : float, pixel
        Side of the stamp in pixels of the image.
    pixels : int
        Pixels along it.

    Returns
    -------
    flux, sigma : (band, pixels, pixels) float64 ndarray
        In units of the image, per pixel of the image; 0 where not valid.
    valid : (band, pixels, pixels) bool ndarray
        At least half of the box is valid; what lies beyond the image is not.
    """
    rows, window_y = _window(overlap(flux.shape[1], centre[1], side, pixels))
    columns, window_x = _window(overlap(flux.shape[2], centre[0], side, pixels))
    window = (slice(None), window_y, window_x)
    inside = valid[window]
    area = rows @ inside @ columns.T
    box = (side / pixels) ** 2
    # a hair less than half: what is half covered must not depend on rounding
    seen = area > (_LEAST_VALID - 1e-6) * box
    total, power = (rows @ np.where(inside, plane[window], 0) @ columns.T for plane in (flux, variance))
    share = np.where(seen, area, 1)
    return np.where(seen, total / share, 0), np.where(seen, np.sqrt(power / share / box), 0), seen


def _window(weights: np.ndarray) -> tuple[np.ndarray, slice]:
    """The columns of a matrix of weights that are not all zero, and where they are."""
    used = np.flatnonzero(weights.any(axis=0))
    window = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
    return weights[:, window], window
