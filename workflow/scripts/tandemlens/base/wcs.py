"""The one way to make a celestial WCS."""

import numpy as np
from astropy.wcs import WCS


def tangent_wcs(
    ra: float, dec: float, shape: tuple[int, int], pixel_scale: float, shift: tuple[float, float] = (0.0, 0.0)
) -> WCS:
    """Tangent-plane WCS with north up and east left, centred on the middle of the grid.

    Parameters
    ----------
    ra, dec : float, deg
    shape : (int, int)
        (y, x), pixel.
    pixel_scale : float, arcsec
    shift : (float, float), pixel
        By which the place lies off the middle, (x, y).

    Returns
    -------
    astropy.wcs.WCS
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.cd = np.diag([-pixel_scale, pixel_scale]) / 3600
    wcs.wcs.crpix = [(shape[1] + 1) / 2 + shift[0], (shape[0] + 1) / 2 + shift[1]]
    wcs.wcs.set()
    return wcs
