"""Where a lens puts the images of a source, how large it makes them, and its critical lines and Einstein radius."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_fill_holes, label
from skimage.measure import find_contours

if TYPE_CHECKING:
    from tandemlens.sky.lens import Lens
    from tandemlens.sky.planes import TwoPlanes

#: Newton steps end when source positions agree to this, arcsec
_EXACT = 1e-7
#: images closer than this are one, arcsec
_SAME = 1e-3
_STEPS = 30


def point_images(
    lens: "Lens | TwoPlanes", grid: np.ndarray, alpha: np.ndarray, efficiency: np.ndarray, sources: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All images of point sources inside a grid.

    Triangles of the grid whose map onto the source plane holds the source (Schneider, Ehlers & Falco 1992, section
    10.2) give first guesses, which Newton's method brings to the exact deflection.

    Parameters
    ----------
    lens : Lens or TwoPlanes
    grid : (n,) ndarray, arcsec
        Ascending and evenly spaced, the same for x and y.
    alpha : (2, n, n) ndarray, arcsec
        Deflection on the grid for D_ls / D_s = 1.
    efficiency : (m,) ndarray
        D_ls / D_s of every source.
    sources : (m, 2) ndarray, arcsec
        Columns x and y.

    Returns
    -------
    source : (k,) int ndarray
        Which source each image belongs to, ascending.
    images : (k, 2) ndarray, arcsec
        Of one source the brightest first.
    magnification : (k,) ndarray
        Signed by parity.
    """
    efficiency, sources = np.asarray(efficiency, float), np.asarray(sources, float).reshape(-1, 2)
    # no image lies farther from its source than the longest deflection
    longest = np.sqrt((alpha**2).sum(0).max())
    found = [
        _triangles_around(grid, alpha, bend, source, bend * longest)
        for bend, source in zip(efficiency, sources, strict=True)
    ]
    owner = np.repeat(np.arange(len(sources)), [len(f) for f in found])
    guesses = np.concatenate([np.zeros((0, 2)), *found])
    images, good = _newton(lens, efficiency[owner], guesses, sources[owner], grid[1] - grid[0])
    owner, images = owner[good], images[good]
    first = _first_of_each(owner, images)
    owner, images = owner[first], images[first]
    gain = magnification(lens, efficiency[owner], images)
    order = np.lexsort((-np.abs(gain), owner))
    return owner[order], images[order], gain[order]


def may_be_strong(
    grid: np.ndarray,
    alpha: np.ndarray,
    slopes: np.ndarray,
    efficiency: np.ndarray,
    sources: np.ndarray,
    least_gain: float,
) -> np.ndarray:
    """Which point sources may be multiply imaged or magnified that much: a quick look at the grid alone.

    Parameters
    ----------
    grid, alpha, efficiency, sources
        As for `point_images`.
    slopes : (4, n, n) ndarray
        Derivatives of alpha_x along y and x, and of alpha_y along y and x, as from `numpy.gradient`.
    least_gain : float
        A source with one triangle of the grid counts if its gain there is more than half of this.

    Returns
    -------
    (m,) bool ndarray
    """
    longest, step = np.sqrt((alpha**2).sum(0).max()), grid[1] - grid[0]
    out = np.ones(len(sources), bool)
    for k, (bend, source) in enumerate(zip(efficiency, sources, strict=True)):
        found = _triangles_around(grid, alpha, bend, source, bend * longest)
        if len(found) == 1:
            column, row = np.clip(np.rint((found[0] - grid[0]) / step).astype(int), 0, len(grid) - 1)
            xy, xx, yy, yx = bend * slopes[:, row, column]
            out[k] = np.abs((1 - xx) * (1 - yy) - xy * yx) < 2 / least_gain
    return out


def magnification(lens: "Lens | TwoPlanes", efficiency: float | np.ndarray, places: np.ndarray) -> np.ndarray:
    """Signed magnification of points, from the exact Jacobian.

    Parameters
    ----------
    lens : Lens or TwoPlanes
    efficiency : float or (k,) ndarray
        D_ls / D_s.
    places : (k, 2) ndarray, arcsec

    Returns
    -------
    (k,) ndarray
    """
    return 1 / np.linalg.det(lens_map(lens, efficiency, places))


def lens_map(lens: "Lens | TwoPlanes", efficiency: float | np.ndarray, places: np.ndarray) -> np.ndarray:
    """Exact Jacobian of the lens map at some points.

    Parameters
    ----------
    lens, efficiency, places
        As for `magnification`.

    Returns
    -------
    (k, 2, 2) ndarray
    """
    bend = np.broadcast_to(efficiency, len(places))[:, None, None]
    return np.eye(2) - bend * lens.jacobian(places[:, 0], places[:, 1])


def eigenvalues(alpha: np.ndarray, step: float, efficiency: float) -> tuple[np.ndarray, np.ndarray]:
    """Tangential and radial eigenvalues ``1 - kappa -+ gamma`` of the lens map on a grid, by central differences.

    Parameters
    ----------
    alpha : (2, n, n) ndarray, arcsec
        Deflection for D_ls / D_s = 1.
    step : float, arcsec
    efficiency : float
        D_ls / D_s.

    Returns
    -------
    tangential, radial : (n, n) ndarray
    """
    xy, xx = np.gradient(efficiency * alpha[0], step)
    yy, yx = np.gradient(efficiency * alpha[1], step)
    kappa = (xx + yy) / 2
    gamma = np.hypot((xx - yy) / 2, (xy + yx) / 2)
    return 1 - kappa - gamma, 1 - kappa + gamma


def einstein_radius(tangential: np.ndarray, step: float) -> float:
    """Radius of the circle with the area of the largest tangential critical curve (Zitrin et al. 2012, eq. 1).

    Parameters
    ----------
    tangential : (n, n) ndarray
        From `eigenvalues`.
    step : float, arcsec

    Returns
    -------
    float, arcsec
        0 where nothing is critical.
    """
    # inside the curve the eigenvalue is negative but for the radial region, which is a hole
    regions, count = label(binary_fill_holes(tangential < 0))
    if count == 0:
        return 0.0
    return float(np.sqrt(np.bincount(regions.ravel())[1:].max() / np.pi) * step)


def critical_lines(eigenvalue: np.ndarray, grid: np.ndarray) -> list[np.ndarray]:
    """Lines on which an eigenvalue vanishes.

    Parameters
    ----------
    eigenvalue : (n, n) ndarray
        From `eigenvalues`.
    grid : (n,) ndarray, arcsec

    Returns
    -------
    list of (k, 2) ndarray, arcsec
        Columns x and y.
    """
    step = grid[1] - grid[0]
    return [grid[0] + step * line[:, ::-1] for line in find_contours(eigenvalue, 0.0)]


def _triangles_around(
    grid: np.ndarray, alpha: np.ndarray, efficiency: float, source: np.ndarray, reach: float
) -> np.ndarray:
    """Middles of the grid's triangles whose corners, on the source plane, hold the source."""
    reach = reach + 2 * (grid[1] - grid[0])
    spans = [slice(*np.searchsorted(grid, (v - reach, v + reach))) for v in source]
    near_x, near_y = grid[spans[0]], grid[spans[1]]
    if min(len(near_x), len(near_y)) < 2:
        return np.zeros((0, 2))
    x = near_x[None] - efficiency * alpha[0, spans[1], spans[0]] - source[0]
    y = near_y[:, None] - efficiency * alpha[1, spans[1], spans[0]] - source[1]
    # few cells have corners on both sides of the source in x and in y
    row, column = np.nonzero(_around_zero(x) & _around_zero(y))
    corners = [(v[row, column], v[row, column + 1], v[row + 1, column], v[row + 1, column + 1]) for v in (x, y)]
    step, found = grid[1] - grid[0], []
    for picked, middle in (((0, 1, 2), 1 / 3), ((3, 1, 2), 2 / 3)):
        (ax, bx, cx), (ay, by, cy) = ([c[k] for k in picked] for c in corners)
        sides = np.stack([ax * by - ay * bx, bx * cy - by * cx, cx * ay - cy * ax])
        inside = (sides >= 0).all(0) | (sides <= 0).all(0)
        found.append(np.column_stack([near_x[column[inside]] + middle * step, near_y[row[inside]] + middle * step]))
    return np.concatenate(found)


def _around_zero(values: np.ndarray) -> np.ndarray:
    """Cells of a grid whose corners are not all above zero, nor all below."""
    above, below = ((a[:, :-1] | a[:, 1:]) for a in (values >= 0, values <= 0))
    return (above[:-1] | above[1:]) & (below[:-1] | below[1:])


def _newton(
    lens: "Lens | TwoPlanes", efficiency: np.ndarray, start: np.ndarray, source: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Exact images from guesses, and which of them converged near where they began."""
    places, miss = start.copy(), np.full(start.shape, np.inf)
    active = np.arange(len(start))
    for _ in range(_STEPS):
        if not len(active):
            break
        here, bend = places[active], efficiency[active]
        alpha = np.stack(lens.deflection(here[:, 0], here[:, 1]), -1)
        miss[active] = here - bend[:, None] * alpha - source[active]
        active = active[np.abs(miss[active]).max(1) > _EXACT]
        here = places[active]
        if len(active):
            move = np.linalg.solve(lens_map(lens, efficiency[active], here), miss[active][..., None])[..., 0]
            # a step larger than a cell has crossed a critical line
            places[active] = here - move * np.minimum(1, step / np.maximum(np.hypot(*move.T), 1e-12))[:, None]
    return places, (np.abs(miss).max(1) < 1e-4) & (np.hypot(*(places - start).T) < 6 * step)


def _first_of_each(owner: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Guesses of one source that met at one image count once."""
    kept: list[int] = []
    for k, (who, place) in enumerate(zip(owner, images, strict=True)):
        if all(owner[j] != who or np.hypot(*(images[j] - place)) > _SAME for j in reversed(kept)):
            kept.append(k)
    return np.array(kept, int)
