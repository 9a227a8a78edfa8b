"""Noise of blank sky in stamps: what a generator need not learn, because it is known.

Noise of matched images is correlated. In every band it is drawn as white noise behind a Gaussian, whose width follows
from how much neighbours differ. What is left of the background adds a constant.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from tandemlens.base.robust import robust_sigma
from tandemlens.learn.anchors import pixel_snr

#: S/N of 3 x 3 pixels above which they show light, or lack it: around bright galaxies too much was taken for background
LIT = 3.0
#: widths that are told apart, pixel
_WIDTHS = np.linspace(0.1, 5, 491)
#: fewest blank pixels of a band that tell its noise
_ENOUGH = 200


def lit_pixels(flux: np.ndarray, sigma: np.ndarray, mask: np.ndarray, above: float = LIT) -> np.ndarray:
    """Pixels of stamps that show light or lack it, and those beside them.

    Parameters
    ----------
    flux, sigma : (n, band, s, s) ndarray
        asinh of flux over scale, linear noise over scale.
    mask : (n, band, s, s) bool ndarray
    above : float
        S/N of 3 x 3 pixels, all bands together.

    Returns
    -------
    (n, s, s) bool ndarray
    """
    snr = np.array([pixel_snr(*stamp) for stamp in zip(flux, sigma, mask, strict=True)]).reshape(
        len(flux), *flux.shape[2:]
    )
    seen = np.abs(ndimage.uniform_filter(snr, (0, 3, 3), mode="constant") * 3) > above
    return ndimage.binary_dilation(seen, np.ones((1, 3, 3), bool))


def blank_noise(flux: np.ndarray, sigma: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise of the pixels of stamps that show no light.

    Parameters
    ----------
    flux, sigma, mask
        As for `lit_pixels`.

    Returns
    -------
    level, fine, middle : (band,) float64 ndarray
        Robust spread of the pixels over their declared noise, of the differences of neighbours over sqrt(2) over the
        same, and the median of the pixels over it; NaN for a band with fewer than 200.
    """
    blank, levels, fine, middle = ~lit_pixels(flux, sigma, mask), [], [], []
    for band in range(flux.shape[1]):
        seen = blank & mask[:, band] & (sigma[:, band] > 0)
        told = np.where(seen, sigma[:, band].astype(np.float64), 1)
        linear = np.sinh(flux[:, band].astype(np.float64)) / told
        pairs = seen[..., 1:] & seen[..., :-1]
        step = (linear[..., 1:] - linear[..., :-1])[pairs] / np.sqrt(2)
        enough = seen.sum() >= _ENOUGH
        levels.append(robust_sigma(linear[seen]) if enough else np.nan)
        fine.append(robust_sigma(step) if enough else np.nan)
        middle.append(np.median(linear[seen]) if enough else np.nan)
    return np.array(levels, float), np.array(fine, float), np.array(middle, float)


@dataclass
class SkyNoise:
    """Noise of the stamps of segments and of the wide ones.

    Parameters
    ----------
    level : (2, band) float64 ndarray
        Over the declared noise; of segments, of wide stamps.
    width : (2, band) float64 ndarray, pixel
        Sigma of the Gaussian.
    mean : (2, band) float64 ndarray
        Over the declared noise.
    """

    level: np.ndarray
    width: np.ndarray
    mean: np.ndarray

    @classmethod
    def fit(
        cls,
        flux: np.ndarray,
        sigma: np.ndarray,
        mask: np.ndarray,
        wide: np.ndarray,
        otherwise: "SkyNoise | None" = None,
    ) -> "SkyNoise":
        """Measure it.

        Parameters
        ----------
        flux, sigma, mask
            As for `lit_pixels`.
        wide : (n,) bool ndarray
        otherwise : SkyNoise, optional
            Noise where these pixels do not tell; 1 and white by default.

        Returns
        -------
        SkyNoise
        """
        found = [np.array(blank_noise(flux[rows], sigma[rows], mask[rows])) for rows in (~wide, wide)]
        level, fine, mean = np.array(found).transpose(1, 0, 2)
        told = np.isfinite(level) & (level > 0)
        if otherwise is None:
            none = np.zeros(level.shape)
            otherwise = cls(none + 1, none + _WIDTHS[0], none)
        correlation = 1 - np.square(fine / np.where(told, level, 1))
        width = np.interp(correlation, [_of_neighbours(width) for width in _WIDTHS], _WIDTHS)
        parts = (level, otherwise.level), (width, otherwise.width), (mean, otherwise.mean)
        return cls(*(np.where(told, own, other) for own, other in parts))

    def draw(self, white: np.ndarray, sigma: np.ndarray, wide: np.ndarray) -> np.ndarray:
        """Noise from white noise.

        Parameters
        ----------
        white : (n, band, s, s) ndarray
            Of spread 1.
        sigma : (n, band, s, s) ndarray
            Declared.
        wide : (n,) bool ndarray

        Returns
        -------
        (n, band, s, s) float64 ndarray
            Linear, over the scale.
        """
        out = np.zeros(white.shape)
        for n, kind in enumerate(wide.astype(int)):
            facts = zip(self.level[kind], self.width[kind], self.mean[kind], strict=True)
            for band, (level, width, mean) in enumerate(facts):
                smooth = ndimage.gaussian_filter(white[n, band], width, mode="wrap", truncate=6)
                # of the discrete kernel, which a narrow one needs
                point = ndimage.gaussian_filter(_point(white.shape[-1]), width, mode="wrap", truncate=6)
                out[n, band] = mean + level * smooth / np.sqrt(np.square(point).sum())
        return out * sigma


@cache
def _of_neighbours(width: float) -> float:
    """Correlation of neighbours in white noise behind a Gaussian; exp(-1 / 4 w^2) but for narrow ones."""
    kernel = ndimage.gaussian_filter1d(_point(81)[40], width, truncate=6)
    return kernel[1:] @ kernel[:-1] / (kernel @ kernel)


def _point(side: int) -> np.ndarray:
    image = np.zeros((side, side))
    image[side // 2, side // 2] = 1
    return image
