"""All bands on one pixel grid, flux conserved."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation, correlate1d, map_coordinates, spline_filter

from tandemlens.base.errors import InputError
from tandemlens.base.flags import EDGE, NO_DATA
from tandemlens.base.interpolate import linear_weights
from tandemlens.base.robust import median

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: pixel step of the nodes between which the mapping of two tangent planes is linear to far below 0.01 pixel
_NODE_STEP = 32
#: a mapping closer to the identity than this needs no interpolation, pixel
_SAME = 1e-3
#: invalid pixels are filled from valid ones within so many pixels
_FILL_REACH = 6
#: a mapping closer to a shift than this is one, pixel
_SHIFT = 5e-3


def pixel_mapping(wcs_in: "WCS", wcs_out: "WCS", shape_out: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Input pixel coordinates of every output pixel.

    Exact on nodes 32 pixels apart, bilinear between them.

    Parameters
    ----------
    wcs_in, wcs_out : astropy.wcs.WCS
    shape_out : (int, int)

    Returns
    -------
    x, y : (y, x) float ndarray, pixel, 0-based
    area : float
        Input pixels per output pixel at the centre.
    """
    ny, nx = shape_out
    nodes_y = np.linspace(0, ny - 1, max(2, ny // _NODE_STEP + 1))
    nodes_x = np.linspace(0, nx - 1, max(2, nx // _NODE_STEP + 1))
    grid_y, grid_x = np.meshgrid(nodes_y, nodes_x, indexing="ij")
    world = wcs_out.all_pix2world(grid_x.ravel(), grid_y.ravel(), 0)
    coarse = wcs_in.all_world2pix(*world, 0)
    if not np.isfinite(coarse).all():
        raise InputError("the input WCS does not reach the output grid; check the coordinates of the image")
    weights_y, weights_x = (
        linear_weights(np.arange(n) / (nodes[1] - nodes[0]), len(nodes)) for nodes, n in ((nodes_y, ny), (nodes_x, nx))
    )
    x, y = (weights_y @ c.reshape(grid_x.shape) @ weights_x.T for c in coarse)
    j, i = max(ny // 2, 1), max(nx // 2, 1)
    j0, i0 = min(j, ny - 1), min(i, nx - 1)
    jac = np.array(
        [
            [x[j0, i0] - x[j0, i0 - 1], x[j0, i0] - x[j0 - 1, i0]],
            [y[j0, i0] - y[j0, i0 - 1], y[j0, i0] - y[j0 - 1, i0]],
        ]
    )
    return x, y, float(abs(np.linalg.det(jac)))


def resample(
    flux: np.ndarray, variance: np.ndarray, mask: np.ndarray, mapping: tuple[np.ndarray, np.ndarray, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring one band onto a mapped grid; the flux of an object is conserved.

    Flux per pixel is brightness times pixel area: cubic-spline interpolation times the area ratio a. The variance is
    that of the white noise with the same power on large scales, a times the input's, because interpolation moves noise
    between neighbours without changing its sum; what that leaves correlated is measured later on blank apertures.
    Where output pixels are more than 1.5 times larger across, the input is averaged over the output pixel first.

    Parameters
    ----------
    flux, variance : (y, x) float ndarray, nJy and nJy^2
    mask : (y, x) uint16 ndarray
    mapping : (x, y, area)
        As from `pixel_mapping`.

    Returns
    -------
    flux, variance, mask : ndarray
        Shape of the mapping; invalid pixels as in the stack contract.
    """
    x, y, area = mapping
    if _is_identity(x, y, flux.shape):
        return flux.copy(), variance.copy(), mask.copy()
    invalid = mask != 0
    filled = fill_invalid(flux, invalid)
    noise = variance
    if invalid.any():
        noise = np.where(invalid, median(variance[~invalid]) if not invalid.all() else 1.0, variance)
    if area > 1.5**2:
        width = np.sqrt(area)
        filled, noise = _boxcar(filled, width), _boxcar(noise, width)
    near_y, near_x = np.rint(y).astype(int), np.rint(x).astype(int)
    ny, nx = flux.shape
    outside = (near_y < 0) | (near_y >= ny) | (near_x < 0) | (near_x >= nx)
    nearest = np.clip(near_y, 0, ny - 1) * nx + np.clip(near_x, 0, nx - 1)
    out_flux = _interpolate(filled, x, y) * np.float32(area)
    out_variance = noise.ravel()[nearest] * area
    reach = max(1, int(np.ceil(np.sqrt(area))))
    # The spline's weights beyond the next pixel are below 0.1 for interpolation within a pixel.
    spoiled = binary_dilation(invalid, np.ones((3, 3)), iterations=reach) & ~invalid if invalid.any() else invalid
    out_mask = mask.ravel()[nearest] | np.where(spoiled.ravel()[nearest], EDGE, 0).astype(np.uint16)
    out_mask[outside] = NO_DATA
    bad = out_mask != 0
    out_flux[bad] = 0
    return out_flux, np.where(bad, np.inf, out_variance).astype(np.float32), out_mask


def fill_invalid(image: np.ndarray, invalid: np.ndarray) -> np.ndarray:
    """Replace invalid pixels by the mean of their valid surroundings, so that convolution does not smear zeros.

    Parameters
    ----------
    image : (y, x) ndarray
    invalid : (y, x) bool ndarray

    Returns
    -------
    (y, x) ndarray
        A copy; pixels farther than some 6 pixels from any valid one become 0.
    """
    if not invalid.any():
        return image
    place = np.arange(-_FILL_REACH, _FILL_REACH + 1)
    line = np.exp(-0.5 * place**2 / 2.0**2)
    # rows and columns without an invalid pixel nearby have no part in it
    near = np.ix_(*(binary_dilation(invalid.any(axis), iterations=_FILL_REACH) for axis in (1, 0)))
    bad, known = invalid[near], image[near]
    good, mean = (~bad).astype(np.float32), np.where(bad, 0, known)
    for axis in (0, 1):
        good, mean = (correlate1d(a, line, axis, mode="constant") for a in (good, mean))
    out = image.copy()
    out[near] = np.where(bad, np.where(good > 1e-3, mean / np.maximum(good, 1e-3), 0), known)
    return out


def _interpolate(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cubic spline at the places x, y; a mere shift goes axis by axis, four times faster."""
    shift_x, shift_y = x[0, 0], y[0, 0]
    ny, nx = x.shape
    away = max(np.abs(x - shift_x - np.arange(nx)).max(), np.abs(y - shift_y - np.arange(ny)[:, None]).max())
    if away > _SHIFT:
        return map_coordinates(image, [y, x], output=np.float32, order=3, mode="nearest")
    out = spline_filter(image, 3, mode="nearest", output=np.float32)
    for axis, (shift, n) in enumerate(((shift_y, ny), (shift_x, nx))):
        whole = int(np.floor(shift))
        fraction = shift - whole
        out = np.take(out, np.clip(np.arange(n) + whole, 0, image.shape[axis] - 1), axis=axis)
        out = correlate1d(out, _cubic_weights(fraction), axis=axis, mode="nearest", origin=-1)
    return out


def _cubic_weights(fraction: float) -> np.ndarray:
    """Cubic B-spline at the four nodes around a place `fraction` beyond the second of them."""
    t = np.abs(fraction - np.arange(-1, 3))
    return np.where(t < 1, (4 - 6 * t**2 + 3 * t**3) / 6, np.maximum(2 - t, 0) ** 3 / 6)


def _is_identity(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> bool:
    ny, nx = x.shape
    if (ny, nx) != tuple(shape):
        return False
    return bool(np.abs(x - np.arange(nx)).max() < _SAME and np.abs(y - np.arange(ny)[:, None]).max() < _SAME)


def _boxcar(image: np.ndarray, width: float) -> np.ndarray:
    """Mean over a square of fractional `width`, exact at its borders."""
    half = int(np.ceil((width - 1) / 2))
    line = np.clip((width + 1) / 2 - np.abs(np.arange(-half, half + 1)), 0, 1)
    for axis in (0, 1):
        image = correlate1d(image, line / line.sum(), axis, mode="constant")
    return image
