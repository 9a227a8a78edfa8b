"""The mean lens of a richness: its Einstein radius and what it does to images; the profile of cluster galaxies."""

import numpy as np

from tandemlens.base.cosmology import efficiency

#: mean Einstein radius of simulated lenses for sources at redshift 2 (see `expected_radius`), scatter in dex
_RADIUS, RADIUS_SCATTER, _SOURCE_Z, _EFFICIENCY_SLOPE = (-1.0, 0.986, 0.322), 0.2, 2.0, 1.9
#: deflection of the mean lens ~ radius^0.4: an NFW halo and its central galaxy around the Einstein radius
_SLOPE = 0.4
_LARGEST_GAIN = 20.0


def expected_radius(richness: float, z_lens: float, z_source: float) -> float:
    """Mean Einstein radius of a cluster.

    ``log10 theta_E = -1.0 + 0.986 log10(richness) + 0.322 z_lens`` for sources at redshift 2, times
    ``(D_ls / D_s)^1.9``: least squares through the lenses that `tandemlens.sky.halo` draws (M200m of McClintock et al.
    2019, NFW halo and central galaxy), about which they scatter by 0.19 dex.

    Parameters
    ----------
    richness, z_lens, z_source : float

    Returns
    -------
    float, arcsec
    """
    constant, with_richness, with_z = _RADIUS
    bend = efficiency(float(z_lens), float(z_source)) / efficiency(float(z_lens), _SOURCE_Z)
    return 10 ** (constant + with_richness * np.log10(richness) + with_z * z_lens) * bend**_EFFICIENCY_SLOPE


def unlensed(radius: np.ndarray, einstein: float) -> tuple[np.ndarray, np.ndarray]:
    """What the mean lens, whose deflection is ``theta_E (theta / theta_E)^0.4``, makes of an image.

    Parameters
    ----------
    radius : ndarray, arcsec
    einstein : float, arcsec

    Returns
    -------
    shrink : ndarray
        Radius of the source over that of the image; negative on the other side.
    gain : ndarray
        Magnification without its sign, at most 20.
    """
    bend = (einstein / np.maximum(radius, 1e-3)) ** (1 - _SLOPE)
    return 1 - bend, 1 / np.maximum(np.abs((1 - bend) * (1 - _SLOPE * bend)), 1 / _LARGEST_GAIN)


def nfw_surface(x: np.ndarray) -> np.ndarray:
    """Projected NFW profile, in units of the enclosed number within the edge (Bartelmann 1996, A&A 313, 697).

    Parameters
    ----------
    x : ndarray
        Radius in scale radii.

    Returns
    -------
    ndarray
        ``f(x)``; integrate with `nfw_enclosed`.
    """
    x = np.maximum(x, 1e-2)
    # the limit at x = 1 is 1/3; a step aside is as good
    x = np.where(np.abs(x - 1) < 1e-4, 1 + 1e-4, x)
    return (1 - _arc(x)) / (x**2 - 1)


def nfw_enclosed(x: np.ndarray) -> np.ndarray:
    """Integral of ``2 pi x f(x)`` from the centre.

    Parameters
    ----------
    x : ndarray
        Radius over the scale radius.

    Returns
    -------
    ndarray
    """
    x = np.where(np.abs(x - 1) < 1e-4, 1 + 1e-4, x)
    return 2 * np.pi * (np.log(x / 2) + _arc(x))


def _arc(x: np.ndarray) -> np.ndarray:
    inside, outside = np.minimum(x, 1 - 1e-9), np.maximum(x, 1 + 1e-9)
    return np.where(
        x < 1,
        np.arccosh(1 / inside) / np.sqrt(1 - inside**2),
        np.arccos(1 / outside) / np.sqrt(outside**2 - 1),
    )
