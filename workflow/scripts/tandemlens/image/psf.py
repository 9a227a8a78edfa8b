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
    low = n // 2 - k // 2
    wide = _transform(_embed(psf, n))
    least, best, left = np.inf, np.zeros((k, k), np.float32), np.inf
    # On the PSFs' own grid wings wrap around, which suits PSFs cut off at the border; on twice the grid they do not.
    for side in (k, n):
        for kernel in _trials(psf, target, side):
            matched = np.fft.fftshift(irfft2(_transform(_embed(kernel, n)) * wide, s=(n, n)))
            residual = float(np.abs(matched[low : low + k, low : low + k] - target).sum())
            price = residual + _ROUGHNESS_PRICE * np.abs(kernel).sum()
            if price < least:
                least, best, left = price, kernel.astype(np.float32), residual
        if left < _GOOD_ENOUGH:
            break
    return best, left


def _trials(psf: np.ndarray, target: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Kernels of every regularisation, solved on an n x n grid and cut to the size of the PSFs."""
    k = target.shape[0]
    low = n // 2 - k // 2
    p, t = _transform(_embed(psf, n)), _transform(_embed(target, n))
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    laplacian = 4 * (np.sin(np.pi * fy) ** 2 + np.sin(np.pi * fx) ** 2)
    numerator, power = np.conj(p) * t, np.abs(p) ** 2
    for mu, penalty in product(_TRIALS, (laplacian**2, 1.0)):
        kernel = np.fft.fftshift(irfft2(numerator / (power + mu * penalty), s=(n, n)))
        kernel = kernel[low : low + k, low : low + k]
        yield kernel / kernel.sum()


def _transform(image: np.ndarray) -> np.ndarray:
    return rfft2(np.fft.ifftshift(image))


def _embed(image: np.ndarray, n: int) -> np.ndarray:
    """Put an odd centred image in the middle (index n // 2) of an n x n grid."""
    out = np.zeros((n, n))
    low = n // 2 - image.shape[0] // 2
    out[low : low + image.shape[0], low : low + image.shape[1]] = image
    return out
