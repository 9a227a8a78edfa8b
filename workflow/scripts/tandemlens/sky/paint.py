"""Light on a fine grid: galaxies as they are, and galaxies as a lens shows them."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.special import gamma, gammainc

#: fine pixels per pixel
OVERSAMPLE = 2
#: a galaxy ends at this many half-light radii; its flux is that inside
TRUNCATION = 8.0
#: cells by which the fine pixels around a centre, and those of lensed light, are divided each way
_CUSP_HALF, _CUSP_CELLS, _LENSED_CELLS = 2, 6, 3


@dataclass(frozen=True)
class Galaxy:
    """A Sersic galaxy, or a star where r_e is 0.

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


def sersic(x, y, galaxy):
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
    along = x * np.cos(galaxy.angle) + y * np.sin(galaxy.angle)
    across = (y * np.cos(galaxy.angle) - x * np.sin(galaxy.angle)) / galaxy.q
    radius = np.hypot(along, across) / galaxy.r_e
    n, b = galaxy.n, _b(galaxy.n)
    inside = gammainc(2 * n, b * TRUNCATION ** (1 / n))
    total = 2 * np.pi * n * galaxy.r_e**2 * galaxy.q * b ** (-2 * n) * gamma(2 * n) * inside
    return np.where(radius <= TRUNCATION, np.exp(-b * radius ** (1 / n)), 0.0) / total


def _b(n):
    return 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)


class Canvas:
    """Fine planes of a cutout, one a band, on which light is added and which a PSF turns into an image.

    Parameters
    ----------
    side : int, pixel
    scale : float, arcsec
        Pixel.
    n_band : int
    """

    def __init__(self, side, scale, n_band):
        self.side, self.scale, self.step = side, scale, scale / OVERSAMPLE
        count = side * OVERSAMPLE
        #: west or north of the target at the middle of every fine pixel, arcsec
        self.axis = (np.arange(count) - (count - 1) / 2) * self.step
        self.planes = np.zeros((n_band, count, count), np.float32)

    def add(self, galaxy):
        """Add a galaxy that no lens bends.

        Parameters
        ----------
        galaxy : Galaxy
        """
        if galaxy.r_e == 0:
            self._add_star(galaxy)
            return
        reach = TRUNCATION * galaxy.r_e
        rows, columns = self._span(galaxy.y, reach), self._span(galaxy.x, reach)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        x, y = self.axis[None, columns] - galaxy.x, self.axis[rows, None] - galaxy.y
        stamp = sersic(x, y, galaxy) * self.step**2
        self._integrate_cusp(stamp, rows, columns, galaxy)
        self._deposit(rows, columns, stamp, galaxy)

    def add_lensed(self, galaxy, alpha, efficiency):
        """Add a galaxy behind a lens.

        Parameters
        ----------
        galaxy : Galaxy
        alpha : (2, n, n) float32 ndarray, arcsec
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
        slopes = [_slope(a, rows, columns, self.step) for a in alpha]
        bright = np.zeros(len(rows))
        cells = ((np.arange(_LENSED_CELLS) + 0.5) / _LENSED_CELLS - 0.5) * self.step
        for dy in cells:
            for dx in cells:
                bx = x + dx - efficiency * (slopes[0][0] * dx + slopes[0][1] * dy)
                by = y + dy - efficiency * (slopes[1][0] * dx + slopes[1][1] * dy)
                bright += sersic(bx, by, galaxy)
        light = bright * (self.step / _LENSED_CELLS) ** 2
        for plane, flux in zip(self.planes, galaxy.flux, strict=True):
            plane[rows, columns] += (flux * light).astype(np.float32)
        return float(light.sum())

    def image(self, transfer, shift=(0.0, 0.0)):
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
        size = _padded_size(count)
        fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
        out = np.empty((len(self.planes), self.side, self.side), np.float32)
        for k, (dx, dy) in enumerate(np.broadcast_to(shift, (len(self.planes), 2))):
            turn = np.exp(-2j * np.pi * OVERSAMPLE * (fx * dx + fy * dy)).astype(np.complex64)
            fine = irfft2(rfft2(self.planes[k], (size, size)) * transfer[k] * turn, (size, size))[:count, :count]
            out[k] = fine.reshape(self.side, OVERSAMPLE, self.side, OVERSAMPLE).sum((1, 3))
        return out

    def _rays_near(self, galaxy, alpha, efficiency):
        """Fine pixels whose ray meets the galaxy, found on every other one and grown by one."""
        reach = TRUNCATION * galaxy.r_e + 2 * self.step
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
    def _longest(alpha):
        return float(np.sqrt((alpha[:, ::8, ::8] ** 2).sum(0).max())) * 1.2

    def _add_star(self, galaxy):
        """Bilinear between the four fine pixels around it, exact in flux and centroid."""
        at = [(v - self.axis[0]) / self.step for v in (galaxy.y, galaxy.x)]
        low = [int(np.floor(v)) for v in at]
        if min(low) < 0 or max(low) + 1 >= len(self.axis):
            return
        wy, wx = (np.array([1 - (v - k), v - k]) for v, k in zip(at, low, strict=True))
        self._deposit(slice(low[0], low[0] + 2), slice(low[1], low[1] + 2), np.outer(wy, wx), galaxy)

    def _integrate_cusp(self, stamp, rows, columns, galaxy):
        """Replace the fine pixels around the centre, across which a galaxy's light is curved, by means of cells."""
        spans = []
        for centre, window in ((galaxy.y, rows), (galaxy.x, columns)):
            middle = round((centre - self.axis[0]) / self.step)
            spans.append(slice(max(middle - _CUSP_HALF, window.start), min(middle + _CUSP_HALF + 1, window.stop)))
        if any(s.start >= s.stop for s in spans):
            return
        cells = ((np.arange(_CUSP_CELLS) + 0.5) / _CUSP_CELLS - 0.5) * self.step
        y, x = ((self.axis[s][:, None] + cells).ravel() - c for s, c in zip(spans, (galaxy.y, galaxy.x), strict=True))
        fine = sersic(x[None], y[:, None], galaxy)
        shape = (len(y) // _CUSP_CELLS, _CUSP_CELLS, len(x) // _CUSP_CELLS, _CUSP_CELLS)
        inside = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(spans, (rows, columns), strict=True))
        stamp[inside] = fine.reshape(shape).mean((1, 3)) * self.step**2

    def _deposit(self, rows, columns, stamp, galaxy):
        for plane, flux in zip(self.planes, galaxy.flux, strict=True):
            plane[rows, columns] += (flux * stamp).astype(np.float32)

    def _span(self, centre, reach):
        low, high = np.searchsorted(self.axis, (centre - reach, centre + reach))
        return slice(int(low), int(high))


def transfer_functions(psf, side):
    """Fourier transforms of fine PSFs, of the size that `Canvas.image` pads to.

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
    size, half = _padded_size(side * OVERSAMPLE), psf.shape[-1] // 2
    padded = np.zeros((len(psf), size, size), np.float32)
    padded[:, : psf.shape[1], : psf.shape[2]] = psf
    return rfft2(np.roll(padded, (-half, -half), (1, 2)), axes=(1, 2)).astype(np.complex64)


def _padded_size(count):
    """Room enough that nothing wraps around within a PSF of a quarter of the side."""
    return next_fast_len(count + count // 4, real=True)


def _slope(alpha, rows, columns, step):
    """Derivatives of a deflection component in x and y at some fine pixels, by central differences."""
    last = alpha.shape[0] - 1
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, last)
    down, up = np.maximum(rows - 1, 0), np.minimum(rows + 1, last)
    in_x = (alpha[rows, right] - alpha[rows, left]) / ((right - left) * step)
    in_y = (alpha[up, columns] - alpha[down, columns]) / ((up - down) * step)
    return in_x, in_y
