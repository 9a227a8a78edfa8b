"""Whether the arcs of a system share one colour: robust centroid, chi-square, dispersion, best subset."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

from tandemlens.base.errors import InputError
from tandemlens.base.robust import robust_sigma

#: a magnitude with a larger error than this S/N has on the usual scale, on the asinh scale a S/N of 2.2, carries no
#: information: its error is set to `_UNKNOWN_MAG`
_LEAST_SNR = 3.0
_UNKNOWN_MAG = 3.0


@dataclass(frozen=True)
class Colours:
    """Adjacent colours of some segments.

    Parameters
    ----------
    value : (n, p) ndarray, mag
    covariance : (n, p, p) ndarray, mag^2
        Of the measurement alone.
    """

    value: np.ndarray
    covariance: np.ndarray

    def __post_init__(self) -> None:
        n, p = self.value.shape
        if self.covariance.shape != (n, p, p):
            raise InputError(
                f"colours of shape {self.value.shape} need covariances of shape {(n, p, p)}, "
                f"not {self.covariance.shape}; give one matrix a segment"
            )

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, chosen: list[int] | np.ndarray) -> "Colours":
        """Some of the segments."""
        return Colours(self.value[chosen], self.covariance[chosen])


def adjacent_colours(mag: np.ndarray, mag_err: np.ndarray) -> Colours:
    """Colours of neighbouring bands with their full covariance ``A diag(sigma^2) A^T``.

    Neighbouring colours share a band, hence minus its variance off the diagonal. A magnitude with an error above 0.36
    mag (S/N below 2.2 on the asinh scale), or none at all, gets an error of 3 mag: asinh magnitudes saturate there, so
    it must not speak.

    Parameters
    ----------
    mag, mag_err : (n, band) ndarray, mag

    Returns
    -------
    Colours
    """
    mag, err = np.array(mag, float), np.array(mag_err, float)
    unknown = ~(err < 1.0857 / _LEAST_SNR) | ~np.isfinite(mag)
    known = ~unknown
    middle = np.where(known, mag, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    mag, err = np.where(unknown, middle, mag), np.where(unknown, _UNKNOWN_MAG, err)
    bands = mag.shape[1]
    difference = np.eye(bands)[:-1] - np.eye(bands)[1:]
    return Colours(mag @ difference.T, np.einsum("ab,nb,cb->nac", difference, err**2, difference))


def bridged_colours(colours: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Colours between neighbouring used bands: sums over the bands left out between them.

    Parameters
    ----------
    colours : (..., band - 1) ndarray, mag
        Between all neighbours.
    used : (band,) bool ndarray
        Two or more.

    Returns
    -------
    (..., used - 1) ndarray, mag
    """
    index = np.flatnonzero(used)
    return np.add.reduceat(np.asarray(colours)[..., : index[-1]], index[:-1], axis=-1)


def huber_centroid(
    colours: Colours, intrinsic: np.ndarray, tuning: float | None = None, tolerance: float = 1e-10
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Multivariate Huber M-estimate of the common colour by iterated reweighting.

    ``P_i = (S_i + S_int)^-1``, ``d_i^2 = (c_i - mu)^T P_i (c_i - mu)``, ``w_i = min(1, k / d_i)``,
    ``mu = (sum w_i P_i)^-1 sum w_i P_i c_i``, from the coordinate median (Huber 1964; Maronna 1976).

    Parameters
    ----------
    colours : Colours
        At least one segment.
    intrinsic : (p, p) ndarray, mag^2
        Reference covariance, not estimated from these segments.
    tuning : float, optional
        k; default ``sqrt(chi2.ppf(0.95, p))``; infinity gives the generalised least-squares mean.
    tolerance : float, mag

    Returns
    -------
    mu : (p,) ndarray, mag
    distance : (n,) ndarray
        Mahalanobis distances d_i from mu.
    weight : (n,) ndarray
    covariance : (p, p) ndarray, mag^2
        Of mu, ``(sum w_i P_i)^-1``.
    """
    value = colours.value
    k = np.sqrt(chi2.ppf(0.95, value.shape[1])) if tuning is None else tuning
    precision = np.linalg.inv(colours.covariance + intrinsic)
    mu = np.median(value, axis=0)
    for _ in range(500):
        distance = _distances(value - mu, precision)
        weight = np.minimum(1.0, k / np.maximum(distance, 1e-300))
        covariance = np.linalg.inv((weight[:, None, None] * precision).sum(0))
        new = covariance @ np.einsum("n,nab,nb->a", weight, precision, value)
        moved, mu = np.abs(new - mu).max(), new
        if moved < tolerance:
            break
    return mu, _distances(value - mu, precision), weight, covariance


def consistency(colours: Colours, intrinsic: np.ndarray) -> tuple[float, float]:
    """Chi-square test that all segments have one colour: S_color.

    ``X2 = sum d_i^2`` about the generalised least-squares mean, with ``(n - 1) p`` degrees of freedom.

    Parameters
    ----------
    colours : Colours
    intrinsic : (p, p) ndarray, mag^2

    Returns
    -------
    x2 : float
    p_value : float
        Uniform if the colours are equal up to the errors; NaN for fewer than two segments.
    """
    if len(colours) < 2:
        return np.nan, np.nan
    _, distance, _, _ = huber_centroid(colours, intrinsic, tuning=np.inf)
    x2 = float((distance**2).sum())
    return x2, float(chi2.sf(x2, (len(colours) - 1) * colours.value.shape[1]))


def intrinsic_dispersion(colours: Colours) -> float:
    """Maximum-likelihood scatter tau beyond the errors, ``maximise sum log N(c_i; mu, S_i + tau^2 I)``.

    Parameters
    ----------
    colours : Colours

    Returns
    -------
    float, mag
        0 where the errors explain everything; NaN for fewer than two segments.
    """
    if len(colours) < 2:
        return np.nan
    unit = np.eye(colours.value.shape[1])

    def loss(tau: float) -> float:
        total = colours.covariance + tau**2 * unit
        _, distance, _, _ = huber_centroid(colours, tau**2 * unit, tuning=np.inf)
        return float((distance**2).sum() + np.linalg.slogdet(total)[1].sum())

    best = minimize_scalar(loss, bounds=(1e-6, 3.0), method="bounded", options={"xatol": 1e-4})
    return 0.0 if loss(1e-6) <= best.fun else float(best.x)


def sequence_offset(
    mu: np.ndarray, covariance: np.ndarray, sequence: np.ndarray, sequence_covariance: np.ndarray
) -> float:
    """Mahalanobis distance of a common colour from the foreground red sequence: Delta_RS.

    Parameters
    ----------
    mu : (p,) ndarray, mag
    covariance : (p, p) ndarray, mag^2
        Of mu.
    sequence : (p,) ndarray, mag
        Colour of the sequence at the central galaxy.
    sequence_covariance : (p, p) ndarray, mag^2
        Its scatter and the error of its place.

    Returns
    -------
    float
        NaN where the sequence is unknown.
    """
    away = mu - sequence
    if not np.isfinite(away).all():
        return np.nan
    return float(np.sqrt(away @ np.linalg.solve(covariance + sequence_covariance, away)))


class Subsets:
    """Sums over every subset of some segments, for many sets of colours with the same errors at once.

    Parameters
    ----------
    precision : (n, p, p) ndarray, mag^-2
        ``(S_i + S_int)^-1``.
    smallest : int
        Size of the smallest subset.
    """

    def __init__(self, precision: np.ndarray, smallest: int) -> None:
        n = len(precision)
        members = [s for size in range(smallest, n + 1) for s in combinations(range(n), size)]
        self.member = np.zeros((len(members), n), bool)
        for row, chosen in zip(self.member, members, strict=True):
            row[list(chosen)] = True
        self.size = self.member.sum(1)
        self.precision = precision
        self.total = np.einsum("sn,nab->sab", self.member, precision)

    def scatter(self, value: np.ndarray) -> np.ndarray:
        """Chi-square of every subset about its own mean.

        Parameters
        ----------
        value : (..., n, p) ndarray, mag

        Returns
        -------
        (..., subset) ndarray
        """
        pull, square = self.sums(value)
        return np.maximum(square - quadratic(pull, np.linalg.inv(self.total)), 0)

    def sums(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``sum P_i c_i`` and ``sum c_i^T P_i c_i`` of every subset.

        Parameters
        ----------
        value : (..., n, p) ndarray, mag

        Returns
        -------
        pull : (..., subset, p) ndarray
        square : (..., subset) ndarray
        """
        single = np.einsum("nab,...nb->...na", self.precision, value)
        square = (single * value).sum(-1)
        member = self.member.astype(float)
        # one colour after the other, as products of matrices
        pull = np.stack([single[..., k] @ member.T for k in range(single.shape[-1])], -1)
        return pull, square @ member.T


def quadratic(vectors: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """``v^T M v`` of many vectors for each of some symmetric matrices.

    Parameters
    ----------
    vectors : (..., s, p) ndarray
    matrices : (s, p, p) ndarray

    Returns
    -------
    (..., s) ndarray
    """
    total = np.zeros(vectors.shape[:-1])
    # p is small: a loop over its pairs is several times as fast as einsum
    for a in range(vectors.shape[-1]):
        for b in range(a, vectors.shape[-1]):
            total += (1 + (b > a)) * matrices[:, a, b] * vectors[..., a] * vectors[..., b]
    return total


def best_subset(
    colours: Colours, intrinsic: np.ndarray, n_draws: int, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Consistency of the best half or more of the segments, corrected for having looked at all of them.

    Every subset of at least ``max(2, ceil(n / 2))`` segments gets its chi-square p-value; the largest one is compared
    with the largest ones of simulated systems whose segments all share one colour and have the same errors, so the
    result is uniform under that null again.

    Parameters
    ----------
    colours : Colours
    intrinsic : (p, p) ndarray, mag^2
    n_draws : int
    rng : numpy.random.Generator

    Returns
    -------
    p_value : float
        NaN for fewer than two segments.
    chosen : (n,) bool ndarray
        The best subset.
    """
    n, p = colours.value.shape
    if n < 2:
        return np.nan, np.ones(n, bool)
    total = colours.covariance + intrinsic
    subsets = Subsets(np.linalg.inv(total), max(2, int(np.ceil(n / 2))))
    dof = (subsets.size - 1) * p
    seen = chi2.logsf(subsets.scatter(colours.value - colours.value.mean(0)), dof)
    best = int(np.argmax(seen))
    root = np.linalg.cholesky(total)
    drawn = np.einsum("nab,knb->kna", root, rng.standard_normal((n_draws, n, p)))
    # of the subsets of one size, which follow each other, that of the smallest chi-square is the most consistent
    first = np.flatnonzero(np.diff(dof, prepend=0))
    null = chi2.logsf(np.minimum.reduceat(subsets.scatter(drawn), first, axis=1), dof[first]).max(1)
    return (1 + float((null <= seen[best]).sum())) / (n_draws + 1), subsets.member[best]


def colour_gradient(value: np.ndarray, error: np.ndarray, radius: np.ndarray) -> float:
    """Slope of a colour with ln R over its error, from Theil & Sen's median of pairwise slopes.

    Parameters
    ----------
    value, error : (n,) ndarray, mag
    radius : (n,) ndarray
        Distance from the centre, any unit.

    Returns
    -------
    float
        0 within its scatter for images of one source; NaN for fewer than three segments.
    """
    ok = np.isfinite(value) & np.isfinite(error) & (radius > 0)
    if ok.sum() < 3 or np.ptp(radius[ok]) == 0:
        return np.nan
    x, y, e = np.log(radius[ok]), value[ok], error[ok]
    i, j = np.triu_indices(len(x), 1)
    apart = x[i] != x[j]
    slope = np.median(((y[j] - y[i])[apart]) / (x[j] - x[i])[apart])
    residual = y - slope * x
    scatter = robust_sigma(residual)
    sigma = np.sqrt(np.maximum(scatter**2, np.mean(e**2)) / ((x - x.mean()) ** 2).sum())
    return float(slope / sigma)


def _distances(away: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(np.einsum("na,nab,nb->n", away, precision, away), 0))
