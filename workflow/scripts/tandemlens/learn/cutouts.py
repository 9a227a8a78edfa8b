"""Cutouts as input of a network that looks at the whole image: cropped, averaged to few pixels, on one scale a band.

The scale of a band is a number of the training sample, not of the image, so that the network sees how bright things
are: asinh(flux / (softening sigma)) is linear in what drowns in noise and logarithmic in what stands out (Lupton,
Gunn & Szalay 1999, AJ 118, 1406).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.wcs.utils import proj_plane_pixel_area

from tandemlens.base.errors import InputError
from tandemlens.base.stack import read_stack
from tandemlens.image.stamps import overlap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tandemlens.base.stack import Cutout

#: systems from which the noise of a band is taken
_NOISE_SYSTEMS = 200


@dataclass(frozen=True)
class Framing:
    """Which part of the sky a network sees, and how finely.

    Parameters
    ----------
    side_arcsec : float, arcsec
        Side of the square around the centre of the cutout.
    pixels : int
        Pixels along it.
    """

    side_arcsec: float
    pixels: int

    def __call__(self, cutout: "Cutout") -> tuple[np.ndarray, np.ndarray]:
        """Mean flux of what is valid under every pixel, and its variance for white noise.

        Parameters
        ----------
        cutout : tandemlens.base.stack.Cutout
            Bands may have grids of their own; the centre is that of the band with the finest pixels.

        Returns
        -------
        flux, variance : (band, pixels, pixels) ndarray, nJy and nJy^2
            Per pixel of the cutout; NaN where nothing is valid.
        """
        out = np.full((2, len(cutout.bands), self.pixels, self.pixels), np.nan)
        if not cutout.usable().any():
            # there may be no WCS either
            return out[0], out[1]
        grids = [cutout.astropy_wcs(band) for band in range(len(cutout.bands))]
        scales = [3600 * np.sqrt(proj_plane_pixel_area(grid)) for grid in grids]
        shape = cutout.flux.shape[1:]
        centre = grids[int(np.argmin(scales))].all_pix2world((shape[1] - 1) / 2, (shape[0] - 1) / 2, 0)
        for band, (grid, scale) in enumerate(zip(grids, scales, strict=True)):
            x, y = grid.all_world2pix(*centre, 0)
            rows = overlap(shape[0], float(y), self.side_arcsec / scale, self.pixels)
            columns = overlap(shape[1], float(x), self.side_arcsec / scale, self.pixels)
            valid = cutout.mask[band] == 0
            area = rows @ valid @ columns.T
            seen = area > 1e-6
            flux = rows @ np.where(valid, cutout.flux[band], 0.0) @ columns.T
            variance = rows**2 @ np.where(valid, cutout.variance[band], 0.0) @ (columns**2).T
            out[0, band][seen], out[1, band][seen] = flux[seen] / area[seen], variance[seen] / area[seen] ** 2
        return out[0], out[1]


def noise_levels(paths: list[str], bands: list[str], framing: Framing, wanted: set[str]) -> np.ndarray:
    """Noise of every band in an averaged pixel: median over at most 200 systems of the median over the image.

    Parameters
    ----------
    paths : list of str
        cutouts.h5 of every shard.
    bands : list of str
    framing : Framing
    wanted : set of str
        Systems to take it from.

    Returns
    -------
    (band,) ndarray, nJy

    Raises
    ------
    InputError
        If a band is valid in none of them.
    """
    found = [(path, k) for path in paths for k in _rows(path, bands, wanted)]
    levels = []
    for path, k in found[:: -(-len(found) // _NOISE_SYSTEMS) or 1]:
        with read_stack(path) as stack:
            variance = framing(stack[k])[1].reshape(len(bands), -1)
        middle = [np.median(v[np.isfinite(v)]) if np.isfinite(v).any() else np.nan for v in variance]
        levels.append(np.sqrt(middle))
    levels = np.array(levels).reshape(-1, len(bands))
    for band, known in zip(bands, np.isfinite(levels).any(axis=0), strict=True):
        if not known:
            raise InputError(
                f"band {band} has no valid pixel within {framing.side_arcsec} arcsec in any of {len(levels)} training "
                "cutouts; leave it out of the bands, or look into the fetch"
            )
    return np.nanmedian(levels, axis=0)


def read_images(
    paths: list[str], bands: list[str], framing: Framing, scale: "ArrayLike", wanted: set[str] | None = None
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Images of many systems, small enough to be held in memory together.

    Parameters
    ----------
    paths : list of str
        cutouts.h5 of every shard; read a system at a time.
    bands : list of str
    framing : Framing
    scale : (band,) array_like, nJy
        Flux at which the scale turns from linear to logarithmic.
    wanted : set of str, optional
        Only these systems.

    Returns
    -------
    target_ids : list of str
    images : (n, band, pixels, pixels) float16 ndarray
        asinh(flux / scale); 0 where nothing is valid.
    valid : (n,) bool ndarray
        Whether anything is valid.

    Raises
    ------
    InputError
        If a stack holds other bands.
    """
    rows = [(path, _rows(path, bands, wanted)) for path in paths]
    n = sum(len(some) for _, some in rows)
    images = np.zeros((n, len(bands), framing.pixels, framing.pixels), np.float16)
    target_ids: list[str] = []
    valid = np.zeros(n, bool)
    for path, some in rows:
        with read_stack(path) as stack:
            for k in some:
                flux = framing(stack[k])[0] / np.reshape(scale, (-1, 1, 1))
                valid[len(target_ids)] = np.isfinite(flux).any()
                images[len(target_ids)] = np.nan_to_num(np.arcsinh(flux))
                target_ids.append(stack.target_ids[k])
    return target_ids, images, valid


def _rows(path: str, bands: list[str], wanted: set[str] | None) -> list[int]:
    """Numbers of the wanted systems of a stack, which must hold the bands."""
    with read_stack(path) as stack:
        if stack.bands != tuple(bands):
            raise InputError(
                f"cutouts {path} hold the bands {', '.join(stack.bands)} but the head works on "
                f"{', '.join(bands)}; fit it again with the bands of the run"
            )
        return [k for k, name in enumerate(stack.target_ids) if wanted is None or name in wanted]
