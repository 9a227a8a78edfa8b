"""How bright a typical galaxy of a cluster is."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tandemlens.base.units import Number


def star_magnitude(z: "Number") -> "Number":
    """Magnitude m* of an L* cluster galaxy in i (Rykoff et al. 2014, eq. 9; extrapolated beyond z = 0.7).

    Parameters
    ----------
    z : float or ndarray

    Returns
    -------
    float or ndarray
    """
    x = np.log(z)
    return 22.44 + 3.36 * x + 0.273 * x**2 - 0.0618 * x**3 - 0.0227 * x**4
