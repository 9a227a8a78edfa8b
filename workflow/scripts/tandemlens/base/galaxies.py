"""How bright a typical galaxy of a cluster is."""

import numpy as np


def star_magnitude(z: float) -> float:
    """Magnitude m* of an L* cluster galaxy in i (Rykoff et al. 2014, eq. 9; extrapolated beyond z = 0.7).

    Parameters
    ----------
    z : float

    Returns
    -------
    float
    """
    x = np.log(z)
    return 22.44 + 3.36 * x + 0.273 * x**2 - 0.0618 * x**3 - 0.0227 * x**4
