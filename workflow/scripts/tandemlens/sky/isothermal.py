"""Many dual pseudo-isothermal galaxies at once; lenstronomy's profile, which is the oracle, takes them one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lenstronomy.Util.param_util import ellipticity2phi_q, q2e

#: distances between points and galaxies that are held at a time
_BLOCK = 2**14


class DualIsothermals:
    """Sum of galaxies with elliptical potentials (Eliasdottir et al. 2007, appendix A), for D_ls / D_s = 1.

    With ``d`` from a galaxy's centre and ``Q`` the matrix of its ellipse, ``v = Q d`` and ``r^2 = d v``, a galaxy bends
    by ``g(r) v`` with ``g = alpha(r) / r`` of their eq. A20, and the derivatives are ``g Q + (g' / r) v v^T``.

    Parameters
    ----------
    galaxies : sequence of dict
        Parameters of lenstronomy's profile ``PJAFFE_ELLIPSE_POTENTIAL``.
    """

    def __init__(self, galaxies: Sequence[dict[str, Any]]) -> None:
        rows = [[p[name] for name in ("sigma0", "Ra", "Rs", "center_x", "center_y")] for p in galaxies]
        strength, self._core, self._cut, self._x, self._y = np.array(rows, float).reshape(-1, 5).T
        self._strength = 2 * strength * self._core * self._cut / (self._cut - self._core)
        ellipses = [_ellipse(p["e1"], p["e2"]) for p in galaxies]
        self._xx, self._xy, self._yy = np.array(ellipses, float).reshape(-1, 3).T

    def deflection(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Exact deflection.

        Parameters
        ----------
        x, y : (n,) ndarray, arcsec

        Returns
        -------
        (2, n) ndarray, arcsec
            x component first.
        """
        out = np.empty((2, len(x)))
        for part in self._blocks(len(x)):
            gain, _, vx, vy = self._terms(x[part], y[part])
            out[:, part] = np.einsum("ij,ij->i", gain, vx), np.einsum("ij,ij->i", gain, vy)
        return out

    def jacobian(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Exact derivatives of the deflection.

        Parameters
        ----------
        x, y : (n,) ndarray, arcsec

        Returns
        -------
        (3, n) ndarray
            xx, xy and yy: the matrix is symmetric.
        """
        out = np.empty((3, len(x)))
        for part in self._blocks(len(x)):
            gain, (core, cut), vx, vy = self._terms(x[part], y[part])
            slope = self._strength * (1 / (cut * (self._cut + cut) ** 2) - 1 / (core * (self._core + core) ** 2))
            for k, (first, second, own) in enumerate(((vx, vx, self._xx), (vx, vy, self._xy), (vy, vy, self._yy))):
                out[k, part] = np.einsum("ij,ij,ij->i", slope, first, second) + gain @ own
        return out

    def _blocks(self, n: int) -> list[slice]:
        length = max(_BLOCK // max(len(self._x), 1), 1)
        return [slice(start, start + length) for start in range(0, n, length)]

    def _terms(
        self, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
        """Deflection over distance, roots of core^2 + r^2 and cut^2 + r^2, and ``v``, all (point, galaxy)."""
        dx, dy = x[:, None] - self._x, y[:, None] - self._y
        vx, vy = self._xx * dx + self._xy * dy, self._xy * dx + self._yy * dy
        square = dx * vx + dy * vy
        core, cut = np.sqrt(self._core**2 + square), np.sqrt(self._cut**2 + square)
        gain = self._strength * (1 / (self._core + core) - 1 / (self._cut + cut))
        return gain, (core, cut), vx, vy


def _ellipse(e1: float, e2: float) -> tuple[float, float, float]:
    """Matrix xx, xy, yy whose unit ellipse is a contour of the potential."""
    angle, q = ellipticity2phi_q(e1, e2)
    e = q2e(q)
    cos, sin = np.cos(angle), np.sin(angle)
    return 1 - e * (cos**2 - sin**2), -2 * e * cos * sin, 1 + e * (cos**2 - sin**2)
