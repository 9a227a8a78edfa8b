"""The red sequence: colours of old galaxies at a redshift, and the matched-filter richness of a second one."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from tandemlens.base.errors import InputError

#: intrinsic scatter of red-sequence colours, mag (0.051 in F625W-F814W at z = 0.355, Connor et al. 2019)
SCATTER = 0.05
#: error of a colour that an unevolved template predicts, mag
TEMPLATE_ERROR = 0.10
_Z_GRID = np.arange(0.02, 1.6001, 0.02)


@dataclass(frozen=True)
class Bands:
    """The bands of a run as top hats.

    Parameters
    ----------
    names : tuple of str
        In wavelength order.
    wavelength, width : tuple of float
        Centre and full width, Angstrom.
    """

    names: tuple
    wavelength: tuple
    width: tuple


@cache
def read_sed(path):
    """Read a galaxy spectrum.

    Parameters
    ----------
    path : str
        CSV with the columns wavelength (Angstrom, rest frame) and flux (per Angstrom, any scale).

    Returns
    -------
    wavelength, flux : (n,) float ndarray
    """
    table = pd.read_csv(path, comment="#")
    return table["wavelength"].to_numpy(float), table["flux"].to_numpy(float)


def template_colours(sed, z, bands):
    """Adjacent AB colours of a redshifted spectrum through top-hat bands.

    ``m = -2.5 log10(int f_lambda lambda dlambda / int c / lambda dlambda)`` (Oke & Gunn 1983), without evolution.

    Parameters
    ----------
    sed : (wavelength, flux)
        As from `read_sed`.
    z : (k,) array_like
    bands : Bands

    Returns
    -------
    (k, band - 1) float ndarray, mag
        Bluer minus redder; NaN where a band leaves the spectrum.
    """
    rest, flux = sed
    out = np.full((len(np.atleast_1d(z)), len(bands.names)), np.nan)
    for j, (centre, width) in enumerate(zip(bands.wavelength, bands.width, strict=True)):
        seen = np.linspace(centre - width / 2, centre + width / 2, 101)
        for k, redshift in enumerate(np.atleast_1d(z)):
            there = seen / (1 + redshift)
            if there[0] < rest[0] or there[-1] > rest[-1]:
                continue
            photons = np.trapezoid(np.interp(there, rest, flux) * seen, seen)
            out[k, j] = -2.5 * np.log10(photons / np.trapezoid(1 / seen, seen))
    return out[:, :-1] - out[:, 1:]


@cache
def _sequence(path, bands):
    return template_colours(read_sed(path), _Z_GRID, bands)


def sequence_colours(path, bands, z):
    """Colours of the red sequence at one redshift or more, interpolated on a grid of steps of 0.02.

    Parameters
    ----------
    path : str
        Spectrum of an old galaxy.
    bands : Bands
    z : float or (k,) array_like

    Returns
    -------
    (band - 1,) or (k, band - 1) float ndarray, mag
    """
    table = _sequence(str(path), bands)
    return np.stack([np.interp(z, _Z_GRID, column, np.nan, np.nan) for column in table.T], axis=-1)


def second_sequence(x, y, colours, covariance, z_lens, centre, sequence, settings):
    """Richness and significance of a red sequence behind the lens: the feature lambda_bg.

    At every redshift behind the lens each galaxy counts with ``exp(-chi2 / 2)`` of its colours from the sequence there,
    the colour filter of matched-filter richness (Rykoff et al. 2014, ApJ 785, 104). The richness is the count inside
    the radius minus what the field outside predicts for that area; its significance divides by the Poisson error of
    both. Significance is the largest over redshift, so its own null is above zero.

    Parameters
    ----------
    x, y : (n,) ndarray, arcsec
        Galaxies of the field, arc-like segments included, relative to any origin.
    colours : (n, p) ndarray, mag
    covariance : (n, p, p) ndarray, mag^2
    z_lens : float
        Redshift of the near cluster; NaN gives NaN.
    centre : (float, float), arcsec
    sequence : callable
        ``sequence(z (k,)) -> (k, p)`` colours.
    settings : dict
        ``dz_min``, ``radius_arcsec``, ``z_max`` and ``field_arcsec``, half the side of the field.

    Returns
    -------
    lambda_bg : float
        Excess galaxies at the best redshift.
    sigma : float
        That excess over its Poisson error, largest over z; 0 if there is no excess.
    z_bg : float
        Redshift of the largest excess.
    """
    if colours.shape != (len(x), covariance.shape[-1]):
        raise InputError(f"colours of shape {colours.shape} do not fit {len(x)} galaxies; give one row a galaxy")
    ok = np.isfinite(colours).all(1) & np.isfinite(covariance).all((1, 2))
    steps = np.arange(z_lens + settings["dz_min"], settings["z_max"], 0.02) if np.isfinite(z_lens) else np.array([])
    expected = sequence(steps) if len(steps) else np.empty((0, colours.shape[1]))
    steps, expected = steps[np.isfinite(expected).all(1)], expected[np.isfinite(expected).all(1)]
    if ok.sum() < 3 or not len(steps):
        return np.nan, np.nan, np.nan
    weight = _colour_weights(colours[ok], covariance[ok], expected)
    r = np.hypot(x[ok] - centre[0], y[ok] - centre[1])
    inside = r <= settings["radius_arcsec"]
    area_in = np.pi * settings["radius_arcsec"] ** 2
    area_out = max((2 * settings["field_arcsec"]) ** 2 - area_in, 0.2 * area_in)
    ratio = area_in / area_out
    # A floor of half a galaxy keeps an empty outer field from making any single galaxy infinitely significant.
    background = ratio * np.maximum(weight[:, ~inside].sum(1), 0.5)
    excess = weight[:, inside].sum(1) - background
    sigma = excess / np.sqrt(background * (1 + ratio) + 1)
    best = int(np.argmax(sigma))
    return float(excess[best]), float(max(sigma[best], 0.0)), float(steps[best])


def _colour_weights(colours, covariance, expected):
    # (z, galaxy): exp(-chi2/2) is 1 on the sequence; colours with no information are no evidence for it.
    p = colours.shape[1]
    total = covariance + (SCATTER**2 + TEMPLATE_ERROR**2) * np.eye(p)
    inverse = np.linalg.inv(total)
    away = colours[None] - expected[:, None]
    chi2 = np.einsum("zni,nij,znj->zn", away, inverse, away)
    known = np.sqrt(np.trace(covariance, axis1=1, axis2=2) / p) < 0.3
    return np.exp(-chi2 / 2) * known
