"""Kernels that turn one point-spread function into another."""

from collections.abc import Iterator
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
        # one at a time: arrays of all trials at once leave the cache, and take twice as long
        for kernel in _trials(psf, target, side):
            matched = irfft2(rfft2(kernel, (n, n)) * wide, (n, n))[inside, inside]
            residual = float(np.abs(matched - target).sum())
            price = residual + _ROUGHNESS_PRICE * np.abs(kernel).sum()
            if price < least:
                least, best, left = price, kernel.astype(np.float32), residual
        if left < _GOOD_ENOUGH:
            break
    return best, left


def _trials(psf: np.ndarray, target: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Kernels of every regularisation, (k, k), solved on an n x n grid and cut to the size of the PSFs."""
    p, t = _centred(psf, n), _centred(target, n)
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    laplacian = 4 * (np.sin(np.pi * fy) ** 2 + np.sin(np.pi * fx) ** 2)
    numerator, power, k = np.conj(p) * t, np.abs(p) ** 2, len(target)
    for mu, penalty in product(_TRIALS, (laplacian**2, 1.0)):
        kernel = irfft2(numerator / (power + mu * penalty), s=(n, n))
        # the middle of the kernel lies in the corner
        kernel = np.roll(kernel, (k // 2, k // 2), (0, 1))[:k, :k]
        yield kernel / kernel.sum()


def _centred(image: np.ndarray, n: int) -> np.ndarray:
    """Transform of an odd centred image on an n x n grid, its middle in the corner."""
    half = image.shape[0] // 2
    out = np.zeros((n, n))
    out[: len(image), : len(image)] = image
    return rfft2(np.roll(out, (-half, -half), (0, 1)))
