"""Spread of numbers that outliers do not move."""

import numpy as np

#: MAD of a Gaussian times this is its sigma
MAD_TO_SIGMA = 1.482602218505602


def sampled(image: np.ndarray, valid: np.ndarray, step: int = 3) -> np.ndarray:
    """Valid pixels on every `step`-th row and column: enough for a median, at a fraction of its cost.

    Parameters
    ----------
    image : (y, x) ndarray
    valid : (y, x) bool ndarray
    step : int

    Returns
    -------
    (n,) ndarray
        All valid pixels where the coarse grid meets none.
    """
    coarse = image[::step, ::step][valid[::step, ::step]]
    return coarse if coarse.size else image[valid]


def robust_sigma(values: np.ndarray) -> float:
    """Standard deviation from the median absolute deviation.

    Parameters
    ----------
    values : ndarray

    Returns
    -------
    float
        NaN without values.
    """
    values = np.asarray(values)
    if not values.size:
        return np.nan
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def lower_sigma(values: np.ndarray) -> tuple[float, float]:
    """Standard deviation and centre from the values below the median, which objects on the sky do not reach.

    Parameters
    ----------
    values : ndarray

    Returns
    -------
    sigma, median : float
        NaN without values.
    """
    values = np.asarray(values)
    if not values.size:
        return np.nan, np.nan
    middle = np.median(values)
    return float(MAD_TO_SIGMA * np.median(middle - values[values <= middle])), float(middle)
