"""Linear interpolation along an axis as a matrix, so that a plane is interpolated by two products."""

import numpy as np


def linear_weights(places: np.ndarray, n: int) -> np.ndarray:
    """Weights of the values at 0..n-1 for values at some places, flat beyond the ends.

    Parameters
    ----------
    places : (m,) ndarray
    n : int

    Returns
    -------
    (m, n) float ndarray
    """
    places = np.clip(places, 0, n - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(n)), 0)
