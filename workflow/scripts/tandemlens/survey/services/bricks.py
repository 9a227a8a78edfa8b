"""Bricks of the Legacy Surveys: rows in declination, cut in an even number of columns (facts: desispec.brick)."""

from dataclasses import dataclass

import numpy as np

#: height of a brick and the widest it may be, deg
BRICK = 0.25
#: pixels and scale of a brick's image, which reaches beyond the brick
SIDE, SCALE = 3600, 0.262
_HALF = SIDE * SCALE / 7200
_ROWS = round(180 / BRICK)


@dataclass(frozen=True)
class Brick:
    """One brick.

    Parameters
    ----------
    name : str
    ra, dec : float, deg
        Its centre, where its image is tangent to the sky.
    """

    name: str
    ra: float
    dec: float

    def offsets(self, ra: float | np.ndarray, dec: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tangent-plane offsets from the centre.

        Parameters
        ----------
        ra, dec : float or ndarray, deg

        Returns
        -------
        xi, eta : ndarray, deg
            East and north; NaN on the other half of the sky.
        """
        a, d, d0 = np.radians(ra) - np.radians(self.ra), np.radians(dec), np.radians(self.dec)
        depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
        depth = np.where(depth > 0, depth, np.nan)
        xi = np.cos(d) * np.sin(a) / depth
        eta = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / depth
        return np.degrees(xi), np.degrees(eta)

    def holds(self, ra: float | np.ndarray, dec: float | np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Whether the image of the brick reaches around places.

        Parameters
        ----------
        ra, dec : float or ndarray, deg
        margin : float, deg

        Returns
        -------
        bool ndarray
        """
        xi, eta = self.offsets(ra, dec)
        return (np.abs(xi) <= _HALF - margin) & (np.abs(eta) <= _HALF - margin)


def brick_at(ra: float, dec: float) -> Brick:
    """The brick in which a place lies.

    Parameters
    ----------
    ra, dec : float, deg

    Returns
    -------
    Brick
    """
    row = int(np.clip(np.floor((dec + 90 + BRICK / 2) / BRICK), 0, _ROWS))
    return _brick(row, int(np.floor(ra % 360 / 360 * _columns(row))))


def bricks_near(ra: float, dec: float) -> list[Brick]:
    """The brick of a place and its neighbours.

    Parameters
    ----------
    ra, dec : float, deg

    Returns
    -------
    list of Brick
    """
    middle = int(np.clip(np.floor((dec + 90 + BRICK / 2) / BRICK), 0, _ROWS))
    out = {}
    for row in range(max(middle - 1, 0), min(middle + 1, _ROWS) + 1):
        n = _columns(row)
        column = int(np.floor(ra % 360 / 360 * n))
        for k in range(column - 1, column + 2):
            brick = _brick(row, k % n)
            out[brick.name] = brick
    return list(out.values())


def images_over(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Number of brick images that reach over places close together.

    Parameters
    ----------
    ra, dec : ndarray, deg

    Returns
    -------
    int ndarray
    """
    middle = ra.size // 2
    near = bricks_near(float(ra.flat[middle]), float(dec.flat[middle]))
    return np.sum([brick.holds(ra, dec) for brick in near], axis=0)


def _columns(row: int) -> int:
    low = abs(-90 + row * BRICK) - BRICK / 2
    return int(np.ceil(360 / BRICK * np.cos(np.radians(max(low, 0.0))) / 2) * 2)


def _brick(row: int, column: int) -> Brick:
    dec, n = -90 + row * BRICK, _columns(row)
    ra = (column + 0.5) * 360 / n
    sign = "m" if dec < 0 else "p"
    return Brick(f"{int(ra * 10):04d}{sign}{round(abs(dec) * 1000) // 100:03d}", ra, dec)
