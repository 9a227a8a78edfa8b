"""Kernels that turn one point-spread function into another."""

from itertools import product

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2

#: regularisations tried, relative to the peak power of the narrow PSF
_TRIALS = 10.0 ** np.arange(-8.0, -1.5, 1.0)
#: noise of the kernel's own making that is worth one unit of residual: a weak preference for tame kernels
_ROUGHNESS_PRICE = 0.01
#: a misplaced fraction of the light below this needs no second look
_GOOD_ENOUGH = 5e-4


def matching_kernel(psf: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Kernel that turns `psf` into `target`, with the regularisation that leaves the smallest residual.

    The solution of ``min |K * psf - target|^2 + mu |L K|^2`` with L the Laplacian (Boucaud et al. 2016, A&A 596, A63,
    eq. 12) or the identity (Wiener), in Fourier space ``K = conj(P) T / (|P|^2 + mu |L|^2)``, tried over mu; the choice
    minimises the fraction of misplaced light D = sum |K * psf - target| (Aniano et al. 2011, PASP 123, 1218, eq. 20)
    plus a small price of the kernel's roughness, so that equal residuals give the tamer kernel.

    Parameters
    ----------
    psf, target : (k, k) float ndarray
        Centred, odd, sum 1; of one size.

    Returns
    -------
    kernel : (k, k) float32 ndarray
        Sum 1.
    residual : float
        D of the kernel that is returned.
    """
    k = target.shape[0]
    n = next_fast_len(2 * k, real=True)
    # with corners of arrays on each other, the middle of a product lies half an array from its corner
    wide, inside = rfft2(psf, (n, n)), slice(k // 2, k // 2 + k)
    least, best, left = np.inf, np.zeros((k, k), np.float32), np.inf
    # On the PSFs' own grid wings wrap around, which suits PSFs cut off at the border; on twice the grid they do not.
    for side in (k, n):
        kernels = _trials(psf, target, side)
        matched = irfft2(rfft2(kernels, (n, n)) * wide, (n, n))[:, inside, inside]
        residual = np.abs(matched - target).sum((1, 2))
        price = residual + _ROUGHNESS_PRICE * np.abs(kernels).sum((1, 2))
        cheapest = int(np.argmin(price))
        if price[cheapest] < least:
            least, best, left = price[cheapest], kernels[cheapest].astype(np.float32), float(residual[cheapest])
        if left < _GOOD_ENOUGH:
            break
    return best, left


def _trials(psf: np.ndarray, target: np.ndarray, n: int) -> np.ndarray:
    """Kernels of every regularisation, (trial, k, k), solved on an n x n grid and cut to the size of the PSFs."""
    p, t = _centred(psf, n), _centred(target, n)
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    laplacian = 4 * (np.sin(np.pi * fy) ** 2 + np.sin(np.pi * fx) ** 2)
    power = np.abs(p) ** 2
    damped = np.array([power + mu * penalty for mu, penalty in product(_TRIALS, (laplacian**2, 1.0))])
    kernels = _cut(irfft2(np.conj(p) * t / damped, s=(n, n)), target.shape[0])
    return kernels / kernels.sum((1, 2), keepdims=True)


def _centred(image: np.ndarray, n: int) -> np.ndarray:
    """Transform of an odd centred image on an n x n grid, its middle in the corner."""
    half = image.shape[0] // 2
    out = np.zeros((n, n))
    out[: len(image), : len(image)] = image
    return rfft2(np.roll(out, (-half, -half), (0, 1)))


def _cut(images: np.ndarray, k: int) -> np.ndarray:
    """The k x k middle of images whose centre lies in the corner."""
    return np.roll(images, (k // 2, k // 2), (-2, -1))[..., :k, :k]
