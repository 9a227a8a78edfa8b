"""Light on a fine grid: galaxies as they are, and galaxies as a lens shows them."""

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import map_coordinates
from scipy.special import gamma, gammainc

from tandemlens.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: fine pixels per pixel
OVERSAMPLE = 2
#: a galaxy ends at this many half-light radii; its flux is that inside
TRUNCATION = 8.0
#: cells by which the fine pixels around a centre, and those of lensed light, are divided each way
_CUSP_HALF, _CUSP_CELLS, _LENSED_CELLS = 2, 6, 3


@dataclass(frozen=True)
class Picture:
    """Light that no formula describes.

    Parameters
    ----------
    pixels : (n, m) float ndarray
        Light per pixel, of sum 1; the middle of the array lies on the place of the galaxy, rows run along its minor
        axis, columns along its major axis.
    step : float, arcsec
        Pixel.

    Raises
    ------
    InputError
        If the pixels are no image of sum 1 or the step is not positive.
    """

    pixels: np.ndarray
    step: float

    def __post_init__(self) -> None:
        shape, total = np.shape(self.pixels), float(np.sum(self.pixels))
        if len(shape) != 2 or not abs(total - 1) < 1e-3 or not self.step > 0:
            raise InputError(
                f"a picture has shape {shape}, sum {total:.4g} and step {self.step:.3g} arcsec; "
                "give an image divided by its sum and a positive step"
            )

    def rescaled(self, factor: float) -> "Picture":
        """The same light, larger.

        Parameters
        ----------
        factor : float

        Returns
        -------
        Picture
        """
        return replace(self, step=self.step * factor)


@dataclass(frozen=True)
class Galaxy:
    """A Sersic galaxy, a star where r_e is 0, or a picture.

    Parameters
    ----------
    kind : str
    x, y : float, arcsec
        West and north of the target, where it would be seen without a lens.
    z : float
        NaN for a star.
    r_e : float, arcsec
        Half-light radius along the major axis.
    n, q : float
        Index and axis ratio.
    angle : float, rad
        Major axis from west towards north.
    flux : (band,) ndarray, nJy
        Unlensed.
    picture : Picture, optional
        Shape of its light in place of the Sersic profile of r_e, n and q, which then describe it in tables only.
    """

    kind: str
    x: float
    y: float
    z: float
    r_e: float
    n: float
    q: float
    angle: float
    flux: np.ndarray
    picture: Picture | None = None

    @property
    def reach(self) -> float:
        """Distance from the centre beyond which there is no light, arcsec."""
        if self.picture is None:
            return TRUNCATION * self.r_e
        # interpolation spreads the outermost pixels by half a pixel
        return float(np.hypot(*np.add(self.picture.pixels.shape, 1))) / 2 * self.picture.step


def surface_brightness(x: np.ndarray, y: np.ndarray, galaxy: Galaxy) -> np.ndarray:
    """Surface brightness of a galaxy of unit flux, whatever its shape.

    Parameters
    ----------
    x, y : ndarray, arcsec
        In its own plane, from its centre, west and north.
    galaxy : Galaxy

    Returns
    -------
    ndarray, arcsec^-2
    """
    return sersic(x, y, galaxy) if galaxy.picture is None else _pictured(x, y, galaxy.picture, galaxy.angle)


def sersic(x: np.ndarray, y: np.ndarray, galaxy: Galaxy) -> np.ndarray:
    """Surface brightness of a galaxy of unit flux, truncated (Graham & Driver 2005, eqs. 1, 4).

    Parameters
    ----------
    x, y : ndarray, arcsec
        In its own plane, from its centre.
    galaxy : Galaxy

    Returns
    -------
    ndarray, arcsec^-2
    """
    along, across = _own_frame(x, y, galaxy.angle)
    # numpy.hypot takes as long as all the rest
    square = (along**2 + (across / galaxy.q) ** 2) / galaxy.r_e**2
    n, b = galaxy.n, _b(galaxy.n)
    inside = gammainc(2 * n, b * TRUNCATION ** (1 / n))
    total = 2 * np.pi * n * galaxy.r_e**2 * galaxy.q * b ** (-2 * n) * gamma(2 * n) * inside
    return np.where(square <= TRUNCATION**2, np.exp(-b * square ** (0.5 / n)), 0.0) / total


def _pictured(x: np.ndarray, y: np.ndarray, picture: Picture, angle: float) -> np.ndarray:
    """Bilinear, which keeps the sum, the sign and the range of the pixels."""
    along, across = _own_frame(x, y, angle)
    rows, columns = (
        (v / picture.step + (n - 1) / 2) for v, n in zip((across, along), picture.pixels.shape, strict=True)
    )
    light = map_coordinates(picture.pixels, (rows, columns), np.float32, order=1, mode="grid-constant")
    return light / picture.step**2


def _own_frame(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the major and the minor axis."""
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _b(n: float) -> float:
    return 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)


@dataclass(frozen=True, eq=False)
class SummedDeflection:
    """Deflection by two masses in line, summed where it is looked at.

    Parameters
    ----------
    near, far : (2, n, n) float32 ndarray, arcsec
    share : float
        By which that of the far mass counts.
    """

    near: np.ndarray
    far: np.ndarray
    share: float

    @property
    def shape(self) -> tuple[int, ...]:
        """(2, n, n)."""
        return self.near.shape

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.near[key] + np.float32(self.share) * self.far[key]


#: what bends light: an array, or a sum that is formed where it is looked at
Deflection = np.ndarray | SummedDeflection


class Canvas:
    """Fine planes of a cutout, one a band, on which light is added and which a PSF turns into an image.

    Parameters
    ----------
    side : int, pixel
    scale : float, arcsec
        Pixel.
    n_band : int
    """

    def __init__(self, side: int, scale: float, n_band: int) -> None:
        self.side, self.scale, self.step = side, scale, scale / OVERSAMPLE
        count = side * OVERSAMPLE
        #: west or north of the target at the middle of every fine pixel, arcsec
        self.axis = (np.arange(count) - (count - 1) / 2) * self.step
        self.planes = np.zeros((n_band, count, count), np.float32)

    def add(self, galaxy: Galaxy) -> None:
        """Add a galaxy that no lens bends.

        Parameters
        ----------
        galaxy : Galaxy
        """
        if galaxy.reach == 0:
            self._add_star(galaxy)
            return
        rows, columns = self._span(galaxy.y, galaxy.reach), self._span(galaxy.x, galaxy.reach)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        stamp = self._light(rows, columns, galaxy, self._cells(galaxy, 1))
        if galaxy.picture is None:
            self._integrate_cusp(stamp, rows, columns, galaxy)
        self._deposit(rows, columns, stamp, galaxy)

    def add_lensed(self, galaxy: Galaxy, alpha: Deflection, efficiency: float) -> float:
        """Add a galaxy behind a lens.

        Parameters
        ----------
        galaxy : Galaxy
        alpha : (2, n, n) float32 ndarray or SummedDeflection, arcsec
            Deflection on the fine grid for D_ls / D_s = 1.
        efficiency : float
            D_ls / D_s.

        Returns
        -------
        float
            Flux on the canvas over unlensed flux.
        """
        x, y, rows, columns = self._rays_near(galaxy, alpha, efficiency)
        if not len(rows):
            return 0.0
        # the map is linear within a fine pixel
        slopes = [_slope(alpha, k, rows, columns, self.step) for k in (0, 1)]
        (xx, xy), (yx, yy) = (
            [(k == j) - efficiency * slope for j, slope in enumerate(both)] for k, both in enumerate(slopes)
        )
        bright = np.zeros(len(rows))
        places = self._places(self._cells(galaxy, _LENSED_CELLS))
        for dy in places:
            row_x, row_y = x + xy * dy, y + yy * dy
            for dx in places:
                bright += surface_brightness(row_x + xx * dx, row_y + yx * dx, galaxy)
        light = bright * (self.step / len(places)) ** 2
        here = rows * len(self.axis) + columns
        for plane, flux in zip(self.planes, galaxy.flux, strict=True):
            plane.reshape(-1)[here] += (flux * light).astype(np.float32)
        return float(light.sum())

    def image(self, transfer: np.ndarray, shift: "ArrayLike" = (0.0, 0.0)) -> np.ndarray:
        """The planes as seen through PSFs, on pixels.

        Parameters
        ----------
        transfer : (band, k, l) complex ndarray
            From `transfer_functions`.
        shift : (band, 2) array_like, pixel
            By which each band's pixel grid moves the sky, (x, y).

        Returns
        -------
        (band, y, x) float32 ndarray
        """
        count = self.planes.shape[-1]
        size = transfer.shape[1]
        fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
        out = np.empty((len(self.planes), self.side, self.side), np.float32)
        for k, (dx, dy) in enumerate(np.broadcast_to(shift, (len(self.planes), 2))):
            turn = [np.exp(-2j * np.pi * OVERSAMPLE * f * d).astype(np.complex64) for f, d in ((fy, dy), (fx, dx))]
            seen = rfft2(self.planes[k], (size, size)) * transfer[k] * turn[0] * turn[1]
            out[k] = on_pixels(irfft2(seen, (size, size))[:count, :count])
        return out

    def _rays_near(
        self, galaxy: Galaxy, alpha: Deflection, efficiency: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Fine pixels whose ray meets the galaxy, found on every other one and grown by one."""
        reach = galaxy.reach + 2 * self.step
        farthest = reach + efficiency * self._longest(alpha)
        spans = [self._span(centre, farthest) for centre in (galaxy.y, galaxy.x)]
        first = [s.start // OVERSAMPLE * OVERSAMPLE for s in spans]
        spans = [slice(low, s.stop, OVERSAMPLE) for low, s in zip(first, spans, strict=True)]
        coarse = alpha[:, *spans]
        efficiency = np.float32(efficiency)
        bx = (self.axis[spans[1]] - galaxy.x).astype(np.float32)[None] - efficiency * coarse[0]
        by = (self.axis[spans[0]] - galaxy.y).astype(np.float32)[:, None] - efficiency * coarse[1]
        # magnified rays are close together on the source plane, so that none is missed between two
        rows, columns = np.nonzero(bx * bx + by * by <= np.float32((reach + self.scale) ** 2))
        rows, columns = rows + first[0] // OVERSAMPLE, columns + first[1] // OVERSAMPLE
        inner = np.indices((OVERSAMPLE, OVERSAMPLE)).reshape(2, 1, -1)
        rows = (rows[:, None] * OVERSAMPLE + inner[0]).ravel()
        columns = (columns[:, None] * OVERSAMPLE + inner[1]).ravel()
        x = self.axis[columns] - efficiency * alpha[0, rows, columns] - galaxy.x
        y = self.axis[rows] - efficiency * alpha[1, rows, columns] - galaxy.y
        near = x * x + y * y <= reach**2
        return x[near], y[near], rows[near], columns[near]

    @staticmethod
    def _longest(alpha: Deflection) -> float:
        return float(np.sqrt((alpha[:, ::8, ::8] ** 2).sum(0).max())) * 1.2

    def _add_star(self, galaxy: Galaxy) -> None:
        """On three by three fine pixels, with the flux, centroid and variance of a point integrated over one."""
        at = [(v - self.axis[0]) / self.step for v in (galaxy.y, galaxy.x)]
        middle = [round(v) for v in at]
        if min(middle) < 1 or max(middle) + 1 >= len(self.axis):
            return
        off = [v - k for v, k in zip(at, middle, strict=True)]
        wy, wx = (np.array([(t * t - t) / 2, 1 - t * t, (t * t + t) / 2]) + np.array([1, -2, 1]) / 24 for t in off)
        rows, columns = (slice(k - 1, k + 2) for k in middle)
        self._deposit(rows, columns, np.outer(wy, wx), galaxy)

    def _integrate_cusp(self, stamp: np.ndarray, rows: slice, columns: slice, galaxy: Galaxy) -> None:
        """Replace the fine pixels around the centre, across which a galaxy's light is curved, by means of cells."""
        spans = []
        for centre, window in ((galaxy.y, rows), (galaxy.x, columns)):
            middle = round((centre - self.axis[0]) / self.step)
            spans.append(slice(max(middle - _CUSP_HALF, window.start), min(middle + _CUSP_HALF + 1, window.stop)))
        if any(s.start >= s.stop for s in spans):
            return
        inside = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(spans, (rows, columns), strict=True))
        stamp[inside] = self._light(spans[0], spans[1], galaxy, _CUSP_CELLS)

    def _light(self, rows: slice, columns: slice, galaxy: Galaxy, cells: int) -> np.ndarray:
        """Share of a galaxy's flux in fine pixels, the mean of so many cells each way times their area."""
        places = self._places(cells)
        y, x = (
            (self.axis[s][:, None] + places).ravel() - c
            for s, c in zip((rows, columns), (galaxy.y, galaxy.x), strict=True)
        )
        fine = surface_brightness(x[None], y[:, None], galaxy)
        if cells > 1:
            fine = fine.reshape(len(y) // cells, cells, len(x) // cells, cells).mean((1, 3))
        return fine * self.step**2

    def _cells(self, galaxy: Galaxy, least: int) -> int:
        """Number of cells each way that miss no pixel of a picture."""
        return least if galaxy.picture is None else max(least, int(np.ceil(self.step / galaxy.picture.step)))

    def _places(self, cells: int) -> np.ndarray:
        """Middles of the cells of a fine pixel, from its own, arcsec."""
        return ((np.arange(cells) + 0.5) / cells - 0.5) * self.step

    def _deposit(self, rows: slice, columns: slice, stamp: np.ndarray, galaxy: Galaxy) -> None:
        for plane, flux in zip(self.planes, galaxy.flux, strict=True):
            plane[rows, columns] += (flux * stamp).astype(np.float32)

    def _span(self, centre: float, reach: float) -> slice:
        low, high = np.searchsorted(self.axis, (centre - reach, centre + reach))
        return slice(int(low), int(high))


def on_pixels(fine: np.ndarray) -> np.ndarray:
    """Sums over the fine pixels of every pixel.

    Parameters
    ----------
    fine : (..., n, m) ndarray
        Sides are multiples of `OVERSAMPLE`.

    Returns
    -------
    (..., n / OVERSAMPLE, m / OVERSAMPLE) ndarray
    """
    # sums of whole slices are many times as fast as those over short axes
    rows = reduce(np.add, [fine[..., k::OVERSAMPLE, :] for k in range(OVERSAMPLE)])
    return reduce(np.add, [rows[..., k::OVERSAMPLE] for k in range(OVERSAMPLE)])


def transfer_functions(psf: np.ndarray, side: int) -> np.ndarray:
    """Fourier transforms of fine PSFs, of the size that `Canvas.image` pads to: nothing wraps around within a PSF.

    Parameters
    ----------
    psf : (band, k, k) ndarray
        Odd and centred, on fine pixels, sum 1.
    side : int, pixel
        Of the canvas.

    Returns
    -------
    (band, m, m // 2 + 1) complex64 ndarray
    """
    # half a PSF is room enough, and as much again for shifts
    size, half = next_fast_len(side * OVERSAMPLE + psf.shape[-1], real=True), psf.shape[-1] // 2
    padded = np.zeros((len(psf), size, size), np.float32)
    padded[:, : psf.shape[1], : psf.shape[2]] = psf
    return rfft2(np.roll(padded, (-half, -half), (1, 2)), axes=(1, 2)).astype(np.complex64)


def _slope(
    alpha: Deflection, k: int, rows: np.ndarray, columns: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of component k of a deflection in x and y at some fine pixels, by central differences."""
    last = alpha.shape[-1] - 1
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, last)
    down, up = np.maximum(rows - 1, 0), np.minimum(rows + 1, last)
    in_x = (alpha[k, rows, right] - alpha[k, rows, left]) / ((right - left) * step)
    in_y = (alpha[k, up, columns] - alpha[k, down, columns]) / ((up - down) * step)
    return in_x, in_y
