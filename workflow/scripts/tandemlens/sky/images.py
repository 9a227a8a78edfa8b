"""Where a lens puts the images of a source, how large it makes them, and its critical lines and Einstein radius."""

import numpy as np
from scipy.ndimage import binary_fill_holes, label
from skimage.measure import find_contours

#: Newton steps end when source positions agree to this, arcsec
_EXACT = 1e-7
_STEPS = 30


def point_images(lens, grid, alpha, efficiency, source):
    """All images of a point source inside a grid.

    Triangles of the grid whose map onto the source plane holds the source (Schneider, Ehlers & Falco 1992, section
    10.2) give first guesses, which Newton's method brings to the exact deflection.

    Parameters
    ----------
    lens : Lens
    grid : (n,) ndarray, arcsec
        Ascending and evenly spaced, the same for x and y.
    alpha : (2, n, n) ndarray, arcsec
        Deflection on the grid for D_ls / D_s = 1.
    efficiency : float
        D_ls / D_s.
    source : (x, y), arcsec

    Returns
    -------
    images : (k, 2) ndarray, arcsec
        Brightest first.
    magnification : (k,) ndarray
        Signed by parity.
    """
    beta_x, beta_y = grid[None, :] - efficiency * alpha[0], grid[:, None] - efficiency * alpha[1]
    guesses = _triangles_around(beta_x - source[0], beta_y - source[1], grid)
    images = _newton(lens, efficiency, guesses, np.asarray(source, float), grid[1] - grid[0])
    gain = magnification(lens, efficiency, images)
    order = np.argsort(-np.abs(gain), kind="stable")
    return images[order], gain[order]


def magnification(lens, efficiency, places):
    """Signed magnification of points, from the exact Jacobian.

    Parameters
    ----------
    lens : Lens
    efficiency : float
        D_ls / D_s.
    places : (k, 2) ndarray, arcsec

    Returns
    -------
    (k,) ndarray
    """
    matrix = np.eye(2) - efficiency * lens.jacobian(places[:, 0], places[:, 1])
    return 1 / np.linalg.det(matrix)


def eigenvalues(alpha, step, efficiency):
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


def einstein_radius(tangential, step):
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


def critical_lines(eigenvalue, grid):
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


def _triangles_around(x, y, grid):
    """Middles of the grid's triangles whose corners, relative to the source, hold the origin."""
    corners = [(x[i : i + x.shape[0] - 1, j : j + x.shape[1] - 1], y[i : i + x.shape[0] - 1, j : j + x.shape[1] - 1])
               for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))]  # fmt: skip
    step, found = grid[1] - grid[0], []
    for picked, middle in (((0, 1, 2), (1 / 3, 1 / 3)), ((3, 1, 2), (2 / 3, 2 / 3))):
        (ax, ay), (bx, by), (cx, cy) = (corners[k] for k in picked)
        sides = np.stack([ax * by - ay * bx, bx * cy - by * cx, cx * ay - cy * ax])
        rows, columns = np.nonzero((sides >= 0).all(0) | (sides <= 0).all(0))
        found.append(np.column_stack([grid[columns] + middle[0] * step, grid[rows] + middle[1] * step]))
    return np.concatenate(found)


def _newton(lens, efficiency, places, source, step):
    """Exact images from guesses; what wanders off is dropped, what meets is one."""
    start = places.copy()
    for _ in range(_STEPS):
        if not len(places):
            return places
        alpha = np.stack(lens.deflection(places[:, 0], places[:, 1]), -1)
        miss = places - efficiency * alpha - source
        if np.abs(miss).max() < _EXACT:
            break
        matrix = np.eye(2) - efficiency * lens.jacobian(places[:, 0], places[:, 1])
        move = np.linalg.solve(matrix, miss[..., None])[..., 0]
        # a step larger than a cell has crossed a critical line
        places = places - move * np.minimum(1, step / np.maximum(np.hypot(*move.T), 1e-12))[:, None]
    alpha = np.stack(lens.deflection(places[:, 0], places[:, 1]), -1)
    good = (np.abs(places - efficiency * alpha - source).max(1) < 1e-4) & (np.hypot(*(places - start).T) < 6 * step)
    kept = []
    for place in places[good]:
        if all(np.hypot(*(place - other)) > 1e-3 for other in kept):
            kept.append(place)
    return np.array(kept).reshape(-1, 2)
