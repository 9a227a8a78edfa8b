"""Flux units: everything inside the pipeline is nJy on the AB scale."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

#: AB zero point of 1 nJy (Oke & Gunn 1983: 0 mag = 3631 Jy), rounded as surveys state it (LSST DPDD)
AB_ZERO_POINT_NOMINAL = 31.4
#: softening of asinh magnitudes in units of the flux error (Lupton, Gunn & Szalay 1999).
ASINH_SOFTENING_SIGMA = 1.042
#: a number, or as many as one gives
Number = TypeVar("Number", float, np.ndarray)


def njy_per_unit(zero_point: Number) -> Number:
    """Factor from image units with AB magnitude zero point to nJy.

    Parameters
    ----------
    zero_point : float or ndarray
        AB magnitude of one image unit.

    Returns
    -------
    float or ndarray
        nJy per image unit, ``10**(0.4 (31.4 - zero_point))``.
    """
    return 10.0 ** (0.4 * (AB_ZERO_POINT_NOMINAL - zero_point))


def asinh_mag(flux: npt.ArrayLike, flux_err: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Asinh AB magnitude and its error, softened per value at ``1.042 flux_err``.

    Defined at any flux, and equal to the usual magnitude at high S/N
    (Lupton, Gunn & Szalay 1999, AJ 118, 1406, eqs. 3 and 9).

    Parameters
    ----------
    flux, flux_err : array_like, nJy
        Same shape; `flux_err` positive, else the result is NaN.

    Returns
    -------
    mag, mag_err : ndarray, AB mag
    """
    flux, flux_err = np.asarray(flux, float), np.asarray(flux_err, float)
    a = 2.5 / np.log(10.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        good = np.isfinite(flux) & np.isfinite(flux_err) & (flux_err > 0)
        b = np.where(good, ASINH_SOFTENING_SIGMA * flux_err, np.nan)
        mag = AB_ZERO_POINT_NOMINAL - a * (np.arcsinh(flux / (2 * b)) + np.log(b))
        mag_err = a * flux_err / np.hypot(flux, 2 * b)
    return mag, mag_err
