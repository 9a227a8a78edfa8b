"""The piece of an image around a target, and the smooth maps of the field around that."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tandemlens.base.errors import DataError
from tandemlens.base.interpolate import linear_weights

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: field around a target from which its PSF and sky are taken, pixel
_FIELD = 4096
_SKY_STEP = 16


class Window:
    """The square of pixels around a target, partly or wholly on the image.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Of the image.
    target : dict
        Keys ra, dec, deg.
    side : float, pixel
    shape : (int, int)
        Of the image, (y, x).
    where : str
        Band and file, for messages.
    most : int, pixel
        The window is no larger.

    Raises
    ------
    DataError
        With status no_coverage if no pixel of the image lies in it.
    """

    def __init__(
        self, wcs: "WCS", target: dict[str, Any], side: float, shape: tuple[int, int], where: str, most: int
    ) -> None:
        x, y = wcs.all_world2pix(target["ra"], target["dec"], 0)
        if not (np.isfinite(x) and np.isfinite(y)):
            raise DataError("no_coverage", f"{where}: the target lies outside the projection of the image")
        n = max(1, min(round(side), most))
        self._n = n
        x0, y0 = round(float(x) - (n - 1) / 2), round(float(y) - (n - 1) / 2)
        self._lo = (max(0, y0), max(0, x0))
        self._hi = (min(shape[0], y0 + n), min(shape[1], x0 + n))
        if self._lo[0] >= self._hi[0] or self._lo[1] >= self._hi[1]:
            raise DataError(
                "no_coverage", f"{where}: the target falls at pixel ({x:.0f}, {y:.0f}) of {shape[1]}x{shape[0]}"
            )
        self._offset = (self._lo[0] - y0, self._lo[1] - x0)
        self.part = (slice(self._lo[0], self._hi[0]), slice(self._lo[1], self._hi[1]))
        self.wcs = wcs.deepcopy()
        self.wcs.wcs.crpix = wcs.wcs.crpix - [x0, y0]
        self._centre = (float(y), float(x))

    def cut(self, piece: np.ndarray, fill: float | int) -> np.ndarray:
        """Piece of the image in its place on the full window.

        Parameters
        ----------
        piece : (y, x) ndarray
            Read at `part`.
        fill : float or int
            Where the window lies off the image.

        Returns
        -------
        (n, n) ndarray
        """
        out = np.full((self._n, self._n), fill, np.result_type(piece, type(fill)))
        y, x = self._offset
        out[y : y + piece.shape[0], x : x + piece.shape[1]] = piece
        return out

    def field(self, shape: tuple[int, int]) -> tuple[slice, ...]:
        """The block of the image that holds the window and its surroundings.

        Parameters
        ----------
        shape : (int, int)
            Of the image.

        Returns
        -------
        tuple of slice
        """
        out = []
        for n, centre in zip(shape, self._centre, strict=True):
            if n <= _FIELD:
                out.append(slice(0, n))
                continue
            middle = int(np.clip(round(centre / (_FIELD // 4)) * (_FIELD // 4), _FIELD // 2, n - _FIELD // 2))
            out.append(slice(middle - _FIELD // 2, middle + _FIELD // 2))
        return tuple(out)


class SkyMap:
    """A smooth map of a field, kept on every 16th pixel and read back by linear interpolation.

    Parameters
    ----------
    values : (y, x) ndarray
    part : tuple of slice
        Where the field lies on the image.
    """

    def __init__(self, values: np.ndarray, part: tuple[slice, ...]) -> None:
        self._coarse = values[::_SKY_STEP, ::_SKY_STEP].copy()
        self._start = [axis.start for axis in part]

    def on(self, part: tuple[slice, ...]) -> np.ndarray:
        """The map on a window of the image.

        Parameters
        ----------
        part : tuple of slice

        Returns
        -------
        (y, x) ndarray
        """
        out = self._coarse
        for axis, (piece, start) in enumerate(zip(part, self._start, strict=True)):
            n = out.shape[axis]
            weight = linear_weights((np.arange(piece.start, piece.stop) - start) / _SKY_STEP, n)
            out = np.moveaxis(np.tensordot(weight, out, (1, axis)), 0, axis)
        return out
