"""How the arcs of a system lie around its centre."""

import numpy as np
from astropy.constants import c as light_speed
from scipy.stats import kstest

from tandemlens.base.cosmology import efficiency

#: velocity dispersion at redMaPPer richness 30, km/s, and its power of richness, rounded from the stacked spectroscopy
#: of Farahi et al. (2016, MNRAS 460, 3900); a scale to divide radii by, not a mass
_SIGMA_30, _SIGMA_SLOPE = 620.0, 0.44
#: source redshift of the expected Einstein radius where none is known
REFERENCE_SOURCE_Z = 1.5
_RADIAN_ARCSEC = 206264.806


def tangential_alignment(theta: np.ndarray, azimuth: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Alignment with circles around the centre, and its significance.

    ``T = sum w (-cos 2 (theta - azimuth)) / sum w``; ``z = T sqrt(2 n_eff)``, ``n_eff = (sum w)^2 / sum w^2``, is
    standard normal for random angles. Radial arcs give -1.

    Parameters
    ----------
    theta, azimuth : (n,) ndarray, rad
        Position angles of the arcs and polar angles of their centroids, in one frame.
    weight : (n,) ndarray

    Returns
    -------
    alignment, significance : float
        NaN without arcs.
    """
    total = weight.sum()
    if not total > 0:
        return np.nan, np.nan
    value = float((weight * -np.cos(2 * (theta - azimuth))).sum() / total)
    return value, float(value * np.sqrt(2 * total**2 / (weight**2).sum()))


def ellipticities(q11: np.ndarray, q22: np.ndarray, q12: np.ndarray) -> np.ndarray:
    """Complex ellipticity ``(Q11 - Q22 + 2 i Q12) / (tr Q + 2 sqrt(det Q))`` (Bartelmann & Schneider 2001, eq. 4.10).

    Parameters
    ----------
    q11, q22, q12 : (n,) ndarray
        Second moments; NaN gives NaN.

    Returns
    -------
    (n,) complex ndarray
    """
    size = q11 + q22 + 2 * np.sqrt(np.maximum(q11 * q22 - q12**2, 0))
    known = size > 0
    out = np.full(np.shape(size), complex(np.nan, np.nan))
    out[known] = (q11 - q22 + 2j * q12)[known] / size[known]
    return out


def shear_pattern(
    ellipticity: np.ndarray, azimuth: np.ndarray, weight: np.ndarray
) -> tuple[float, float, float, float]:
    """Mean tangential and cross ellipticity, and coherence in the rotated and in the raw frame.

    Rotated high and raw low is lensing; raw high is a distorted PSF or a satellite trail; the cross term must vanish.

    Parameters
    ----------
    ellipticity : (n,) complex ndarray
    azimuth : (n,) ndarray, rad
    weight : (n,) ndarray

    Returns
    -------
    tangential, cross, coherence_rotated, coherence_raw : float
    """
    ok = np.isfinite(ellipticity)
    if not ok.any():
        return (np.nan,) * 4
    e, w = ellipticity[ok], weight[ok]
    turned = -e * np.exp(-2j * azimuth[ok])
    size = (w * np.abs(e)).sum()
    mean = (w * turned).sum() / w.sum()
    share = np.array([abs((w * turned).sum()), abs((w * e).sum())]) / max(size, 1e-300)
    return float(mean.real), float(mean.imag), float(share[0]), float(share[1])


def ring_shape(radius: np.ndarray, field_radius: float) -> tuple[float, float]:
    """Thickness of the ring of arcs and the distance of their radii from a uniform field.

    Parameters
    ----------
    radius : (n,) ndarray, arcsec
    field_radius : float, arcsec
        Largest radius at which arcs are looked for.

    Returns
    -------
    thickness : float
        MAD(R) / median(R); small for a ring; NaN for fewer than three.
    ks : float
        Kolmogorov-Smirnov distance of R from uniform in area; NaN for fewer than three.
    """
    if len(radius) < 3:
        return np.nan, np.nan
    middle = np.median(radius)
    thickness = np.median(np.abs(radius - middle)) / max(middle, 1e-9)
    ks = kstest(np.minimum((radius / field_radius) ** 2, 1), "uniform").statistic
    return float(thickness), float(ks)


def separation_rms(east: np.ndarray, north: np.ndarray) -> float:
    """Root mean square separation of pairs, ``sqrt(2 / (n (n - 1)) sum |x_i - x_j|^2)``.

    Parameters
    ----------
    east, north : (n,) ndarray, arcsec

    Returns
    -------
    float, arcsec
        NaN for fewer than two.
    """
    n = len(east)
    if n < 2:
        return np.nan
    # Equal to the sum over pairs (methods, identity of section 3).
    return float(np.sqrt(2 * (np.var(east) + np.var(north)) * n / (n - 1)))


def azimuth_pattern(azimuth: np.ndarray) -> tuple[float, float]:
    """Largest gap in azimuth, and how far the best pair is from lying opposite.

    Parameters
    ----------
    azimuth : (n,) ndarray, rad

    Returns
    -------
    gap, counter_image : float, rad
        NaN for fewer than two.
    """
    if len(azimuth) < 2:
        return np.nan, np.nan
    turned = np.sort(azimuth % (2 * np.pi))
    gap = np.max(np.diff(np.append(turned, turned[0] + 2 * np.pi)))
    i, j = np.triu_indices(len(azimuth), 1)
    apart = np.abs(np.angle(np.exp(1j * (azimuth[i] - azimuth[j]))))
    return float(gap), float(np.min(np.pi - apart))


def expected_einstein_radius(richness: float, z_lens: float, z_source: float = REFERENCE_SOURCE_Z) -> float:
    """Einstein radius of an isothermal sphere of the velocity dispersion that goes with a richness.

    ``theta_E = 4 pi (sigma / c)^2 D_ls / D_s`` (Narayan & Bartelmann 1996, eq. 46).

    Parameters
    ----------
    richness, z_lens, z_source : float

    Returns
    -------
    float, arcsec
        NaN where an input is unknown or the source is not behind.
    """
    if not (np.isfinite([richness, z_lens, z_source]).all() and 0 < z_lens < z_source and richness > 0):
        return np.nan
    sigma = _SIGMA_30 * (richness / 30) ** _SIGMA_SLOPE
    bend = 4 * np.pi * (sigma / light_speed.to_value("km/s")) ** 2 * _RADIAN_ARCSEC
    return float(bend * efficiency(z_lens, z_source))
