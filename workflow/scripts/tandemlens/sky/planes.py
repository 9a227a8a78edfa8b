"""Two lenses, one behind the other, as one lens for the sources of one redshift."""

from typing import TYPE_CHECKING

import numpy as np

from tandemlens.base.cosmology import efficiency

if TYPE_CHECKING:
    from tandemlens.sky.lens import DeflectionField, Lens


class TwoPlanes:
    """Two lenses in line; whatever works with a `Lens` works with them, at an efficiency D_ls / D_s of 1.

    With ``e`` of a lens and a source, ``beta = theta - e_1s a_1(theta) - e_2s a_2(theta - e_12 a_1(theta))``
    (Schneider, Ehlers & Falco 1992, eq. 9.7, from memory).

    Parameters
    ----------
    front, back : Lens
    z_source : float
        A source in front of a lens is not bent by it.

    Raises
    ------
    ValueError
        If the back lens is nearer than the front one.
    """

    def __init__(self, front: "Lens", back: "Lens", z_source: float) -> None:
        if back.z < front.z:
            raise ValueError(f"the back lens at z = {back.z} is nearer than the front lens at z = {front.z}")
        self.front, self.back = front, back
        self._between = efficiency(front.z, back.z)
        self._front, self._back = efficiency(front.z, z_source), efficiency(back.z, z_source)

    def deflection(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exact total deflection, ``theta - beta``.

        Parameters
        ----------
        x, y : ndarray, arcsec

        Returns
        -------
        alpha_x, alpha_y : ndarray, arcsec
        """
        first = np.array(self.front.deflection(x, y))
        second = np.array(self.back.deflection(*self._on_back(x, y, first)))
        return tuple(self._front * first + self._back * second)

    def jacobian(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Exact derivatives of the total deflection.

        Parameters
        ----------
        x, y : (n,) ndarray, arcsec

        Returns
        -------
        (n, 2, 2) ndarray
            Row: component of the deflection; column: direction of the step.
        """
        first = self.front.jacobian(x, y)
        second = self.back.jacobian(*self._on_back(x, y, np.array(self.front.deflection(x, y))))
        return self._front * first + self._back * second @ (np.eye(2) - self._between * first)

    def second_on_grid(
        self, back_field: "DeflectionField", x: np.ndarray, y: np.ndarray, alpha: np.ndarray
    ) -> np.ndarray:
        """Deflection of the back lens where the rays of a grid, bent by the front lens, meet it.

        Parameters
        ----------
        back_field : DeflectionField
            Of the back lens, over everything that the grid maps to.
        x : (nx,) ndarray, arcsec
        y : (ny,) ndarray, arcsec
        alpha : (2, ny, nx) ndarray, arcsec
            Deflection of the front lens on the grid, for D_ls / D_s = 1.

        Returns
        -------
        (2, ny, nx) ndarray, arcsec
            For D_ls / D_s = 1.
        """
        return back_field.at(*self._on_back(x[None], y[:, None], alpha))

    def on_grid(
        self, front_field: "DeflectionField", back_field: "DeflectionField", x: np.ndarray, y: np.ndarray
    ) -> np.ndarray:
        """Total deflection at every crossing of ascending coordinates.

        Parameters
        ----------
        front_field, back_field : DeflectionField
        x : (nx,) ndarray, arcsec
        y : (ny,) ndarray, arcsec

        Returns
        -------
        (2, ny, nx) ndarray, arcsec
        """
        alpha = front_field.on_grid(x, y)
        return self._front * alpha + self._back * self.second_on_grid(back_field, x, y, alpha)

    def _on_back(self, x: np.ndarray, y: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rays through x and y, bent by the front lens, meet the back lens."""
        return x - self._between * alpha[0], y - self._between * alpha[1]
