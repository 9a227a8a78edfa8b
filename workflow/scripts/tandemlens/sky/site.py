"""The pixels a system is painted on: grid, point-spread functions, noise and defects of one cutout."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import correlate1d, gaussian_filter

from tandemlens.base.errors import DataError
from tandemlens.base.flags import BAD, NO_DATA, SATURATED
from tandemlens.base.stack import Cutout, header_text, sanitize
from tandemlens.base.units import njy_per_unit
from tandemlens.base.wcs import tangent_wcs
from tandemlens.sky.paint import OVERSAMPLE, Canvas, on_pixels, transfer_functions
from tandemlens.survey.psf import moffat

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from tandemlens.sky.paint import Deflection, Galaxy

#: light of a galaxy, (band, row, column) in nJy, and the window of the canvas that holds it
SeenLight = tuple[np.ndarray, tuple[slice, slice]]
#: side of a PSF: at least this many pixels, and this many FWHM of the widest band
_LEAST_PIXELS, _PSF_FWHM = 41, 7.0
#: seeing and depth of a field stay within this many times their scatter
_CLIP = 2.5
#: radius of the mask of a bright star, as a fraction of the cutout's side
_MASK_RADIUS = (0.05, 0.15)
#: a pixel grid may be off north up and the common scale by this many pixels at its edge before painting is refused
_WORST_PIXEL = 0.3
#: what a survey file says unless it says otherwise, AB mag arcsec^-2
_SKY = 21.0


@dataclass
class Site:
    """Pixels of one cutout.

    Parameters
    ----------
    names : tuple of str
        Bands.
    side : int, pixel
    scale : float, arcsec
    fine_psf : (band, k, k) ndarray
        Before the pixel, on fine pixels, odd, centred, sum 1; 0 for a band without data.
    shift : (band, 2) ndarray, pixel
        Where the target lies, from the middle of the band's grid, (x, y).
    sigma : (band,) ndarray, nJy
        Noise of a pixel, without that of the objects; infinite for a band without data.
    sky : (band,) ndarray, nJy
        Sky in a pixel.
    dim : (band,) ndarray, optional
        Share of the light that the dust of the Galaxy lets through; all of it where nothing is known.
    """

    names: tuple[str, ...]
    side: int
    scale: float
    fine_psf: np.ndarray
    shift: np.ndarray
    sigma: np.ndarray
    sky: np.ndarray
    dim: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._dim = np.ones(len(self.names)) if self.dim is None else np.asarray(self.dim, float)
        self.size = self.side * self.scale
        #: grid on which images are looked for, arcsec
        self.axis = (np.arange(self.side) - (self.side - 1) / 2) * self.scale
        self._transfer = transfer_functions(self.fine_psf, self.side)

    def canvas(self) -> Canvas:
        """An empty canvas of this cutout.

        Returns
        -------
        Canvas
        """
        return Canvas(self.side, self.scale, len(self.names))

    def expose(self, canvas: Canvas) -> np.ndarray:
        """What the painted light adds to every band's pixels, without noise.

        Parameters
        ----------
        canvas : Canvas

        Returns
        -------
        (band, y, x) float32 ndarray, nJy
        """
        return np.maximum(canvas.image(self._transfer, self.shift), 0) * self._dim[:, None, None].astype(np.float32)

    def lensed_light(self, galaxy: "Galaxy", alpha: "Deflection", efficiency: float) -> SeenLight:
        """A lensed galaxy alone, on the window that holds its light.

        Parameters
        ----------
        galaxy : Galaxy
        alpha, efficiency
            As for `Canvas.add_lensed`.

        Returns
        -------
        light : (band, h, w) ndarray, nJy
            On pixels in whose middle the target lies.
        window : (slice, slice)
        """
        canvas = Canvas(self.side, self.scale, 1)
        canvas.add_lensed(replace(galaxy, flux=np.ones(1)), alpha, efficiency)
        plane, count = canvas.planes[0], canvas.planes.shape[-1]
        lit = plane > 0
        if not lit.any():
            return np.zeros((len(self.names), 0, 0)), (slice(0, 0), slice(0, 0))
        margin = self.fine_psf.shape[-1] // 2
        rows, columns = (_even_span(lit.any(k), margin, count) for k in (1, 0))
        fine = plane[rows, columns]
        # what wraps around ends beyond the window
        size = [next_fast_len(n + margin, real=True) for n in fine.shape]
        seen = rfft2(fine.astype(float), size) * rfft2(self.fine_psf, size)
        inside = (slice(None), *(slice(margin, margin + n) for n in fine.shape))
        light = on_pixels(irfft2(seen, size)[inside])
        rows, columns = (slice(s.start // OVERSAMPLE, s.stop // OVERSAMPLE) for s in (rows, columns))
        return light * (galaxy.flux * self._dim)[:, None, None], (rows, columns)

    def ideal_snr(self, light: np.ndarray) -> float:
        """Matched-filter S/N of known light over all bands, against the noise of the sky alone.

        Parameters
        ----------
        light : (band, h, w) ndarray, nJy

        Returns
        -------
        float
        """
        return float(np.linalg.norm(light / self.sigma[:, None, None]))


class Telescope:
    """A survey from which sites are drawn.

    Parameters
    ----------
    survey : dict
        As checked by ``survey.schema.yaml``; every band has facts ``mock``.
    bands : list of str
    size_arcsec : float
    """

    def __init__(self, survey: dict[str, Any], bands: list[str], size_arcsec: float) -> None:
        self.names, self.scale = tuple(bands), survey["pixel_scale"]
        self.side = round(size_arcsec / self.scale)
        self._survey, self._facts = survey["mock"], [survey["bands"][band]["mock"] for band in bands]
        widest = max(f["fwhm"] for f in self._facts) / self.scale
        #: side of the PSFs, odd, pixel
        self.psf_size = int(max(_LEAST_PIXELS, _PSF_FWHM * widest)) // 2 * 2 + 1

    def site(self, rng: np.random.Generator, dim: np.ndarray | None = None) -> tuple[Site, dict[str, float]]:
        """Seeing, depth and dither of one field.

        Parameters
        ----------
        rng : numpy.random.Generator
        dim : (band,) ndarray, optional
            As for `Site`.

        Returns
        -------
        site : Site
        facts : dict of float
            ``fwhm_{band}`` (arcsec) and ``depth_{band}`` (mag).
        """
        # a bad night is bad in every band: half of the variance is common
        common, own = rng.normal(size=(2, 1)), rng.normal(size=(2, len(self.names)))
        swing = np.clip((common + own) / np.sqrt(2), -_CLIP, _CLIP)
        fwhm = self._every("fwhm") * np.exp(self._every("fwhm_scatter") * swing[0])
        depth = self._every("depth") + self._every("depth_scatter") * swing[1]
        sigma = njy_per_unit(depth) / 5 / np.sqrt(np.pi * (fwhm / self.scale) ** 2)
        sky = njy_per_unit(self._every("sky")) * self.scale**2
        odd = self.psf_size * OVERSAMPLE + 1
        fine = np.array([moffat(odd, self.scale / OVERSAMPLE, w) for w in fwhm])
        # every band's pixel grid lies a little elsewhere, as those of real surveys do
        shift = rng.uniform(-0.5, 0.5, (len(self.names), 2))
        facts = {f"fwhm_{b}": w for b, w in zip(self.names, fwhm, strict=True)}
        facts |= {f"depth_{b}": d for b, d in zip(self.names, depth, strict=True)}
        return Site(self.names, self.side, self.scale, fine, shift, sigma, sky, dim), facts

    def observe(
        self, site: Site, clean: np.ndarray, saturated: np.ndarray, ra: float, dec: float, rng: np.random.Generator
    ) -> tuple[Cutout, dict[str, Any]]:
        """Cutout of noiseless light: zero points, noise, saturation, masks and missing bands.

        The variance is that of white noise with the same power on large scales, as the maps of surveys are.

        Parameters
        ----------
        site : Site
        clean : (band, y, x) ndarray, nJy
        saturated : (band, y, x) bool ndarray
            Pixels that are so beyond those that `clean` saturates.
        ra, dec : float, deg
        rng : numpy.random.Generator

        Returns
        -------
        cutout : Cutout
        facts : dict
            ``zero_point_{band}``, mag: by how much the magnitudes of the cutout are too faint.
        """
        error = rng.normal(0, self._every("zero_point_error"))
        variance = site.sigma[:, None, None] ** 2 * (1 + clean / site.sky[:, None, None])
        noise = np.array([_smooth_noise(rng, clean.shape[1:], s) for s in self._every("correlation")])
        flux = (clean + np.sqrt(variance) * noise) * 10 ** (-0.4 * error)[:, None, None]
        psf = np.array([_pixel_psf(fine) for fine in site.fine_psf], np.float32)
        mask = self._defects(clean, saturated, psf, rng)
        shape = site.side, site.side
        wcs = tuple(header_text(tangent_wcs(ra, dec, shape, site.scale, shift)) for shift in site.shift)
        cutout = Cutout(self.names, flux.astype(np.float32), variance.astype(np.float32), mask, psf, wcs)
        return sanitize(cutout), {f"zero_point_{b}": e for b, e in zip(self.names, error, strict=True)}

    def _every(self, fact: str) -> np.ndarray:
        return np.array([f[fact] for f in self._facts], float)

    def _defects(
        self, clean: np.ndarray, saturated: np.ndarray, psf: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        limit = njy_per_unit(self._every("saturation")) * psf.max((1, 2))
        mask = np.where(saturated | (clean > limit[:, None, None]), SATURATED, np.uint16(0))
        if rng.uniform() < self._survey["masked"]:
            y, x = np.indices(clean.shape[1:])
            place, radius = rng.uniform(0, self.side, 2), rng.uniform(*_MASK_RADIUS) * self.side
            mask[:, np.hypot(y - place[0], x - place[1]) < radius] |= BAD
        mask[rng.uniform(size=len(self.names)) < self._survey["missing"]] = NO_DATA
        return mask


def site_of(
    cutout: Cutout, ra: float, dec: float, survey: dict[str, Any], where: str, dim: np.ndarray | None = None
) -> Site:
    """The site of a real cutout.

    Parameters
    ----------
    cutout : Cutout
        Of at least one usable band.
    ra, dec : float, deg
        Target.
    survey : dict
        Its ``mock.sky`` of a band sets the noise that painted light adds.
    where : str
        For messages.
    dim : (band,) ndarray, optional
        As for `Site`.

    Returns
    -------
    Site

    Raises
    ------
    DataError
        With status cannot_paint, if the bands' grids are not north up and of one scale.
    """
    usable, side = cutout.usable(), cutout.flux.shape[1]
    n_band, k = cutout.psf.shape[:2]
    fine, shift, scales = np.zeros((n_band, 2 * k + 1, 2 * k + 1)), np.zeros((n_band, 2)), []
    sigma = np.full(n_band, np.inf)
    for band in map(int, np.flatnonzero(usable)):
        scale, place = _north_up(cutout.astropy_wcs(band), ra, dec, side, f"{where}, band {cutout.bands[band]}")
        fine[band], shift[band] = _fine_psf(cutout.psf[band]), place - (side - 1) / 2
        sigma[band] = np.sqrt(np.median(cutout.variance[band][cutout.mask[band] == 0]))
        scales.append(scale)
    if np.ptp(scales) * side / 2 > _WORST_PIXEL * min(scales):
        raise DataError(
            "cannot_paint", f"{where}: pixel scales {min(scales):.4f} to {max(scales):.4f} arcsec; one is needed"
        )
    scale = float(np.mean(scales))
    bright = np.array([survey["bands"][band].get("mock", {}).get("sky", _SKY) for band in cutout.bands])
    return Site(tuple(cutout.bands), side, scale, fine, shift, sigma, njy_per_unit(bright) * scale**2, dim)


def inject(site: Site, cutout: Cutout, clean: np.ndarray, saturated: np.ndarray, rng: np.random.Generator) -> Cutout:
    """A real cutout with light added, and the noise of that light.

    Parameters
    ----------
    site : Site
    cutout : Cutout
    clean : (band, y, x) ndarray, nJy
    saturated : (band, y, x) bool ndarray
        Pixels of the light that are.
    rng : numpy.random.Generator

    Returns
    -------
    Cutout
    """
    white = np.where(np.isfinite(site.sigma), site.sigma, 0.0)[:, None, None]
    more = white**2 * clean / site.sky[:, None, None]
    flux = cutout.flux + clean + np.sqrt(more) * rng.normal(size=clean.shape)
    mask = np.where(saturated & (cutout.mask & NO_DATA == 0), cutout.mask | SATURATED, cutout.mask)
    pixels = {"flux": flux.astype(np.float32), "variance": (cutout.variance + more).astype(np.float32), "mask": mask}
    return sanitize(replace(cutout, **pixels))


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> np.ndarray:
    """Noise of unit power on large scales; smoothing makes single pixels scatter less."""
    noise = rng.normal(size=shape)
    return gaussian_filter(noise, correlation) if correlation else noise


def _pixel_psf(fine: np.ndarray) -> np.ndarray:
    """The PSF averaged over a pixel, two fine pixels wide, by Simpson's rule."""
    mean = fine
    for axis in (0, 1):
        mean = correlate1d(mean, np.array([1.0, 4.0, 1.0]) / 6, axis, mode="constant")
    start = len(fine) // 2 % OVERSAMPLE
    psf = mean[start::OVERSAMPLE, start::OVERSAMPLE]
    return psf / psf.sum()


def _fine_psf(psf: np.ndarray) -> np.ndarray:
    """The fine PSF that gives a pixel's back when fine pixels are summed: band-limited, the pixel taken out."""
    k = len(psf)
    size = 2 * k
    padded = np.zeros((size, size))
    padded[:k, :k] = psf
    power = np.fft.fft2(np.roll(padded, (-(k // 2), -(k // 2)), (0, 1)))
    keep = np.arange(-(size // 2) + 1, size // 2)
    pixel = np.sinc(keep / size)
    fine = np.zeros((OVERSAMPLE * size, OVERSAMPLE * size), complex)
    fine[np.ix_(keep, keep)] = power[np.ix_(keep, keep)] / np.outer(pixel, pixel)
    out = np.roll(np.fft.ifft2(fine).real, (k, k), (0, 1))[: 2 * k + 1, : 2 * k + 1]
    return out / out.sum()


def _north_up(wcs: "WCS", ra: float, dec: float, side: int, where: str) -> tuple[float, np.ndarray]:
    """Pixel scale (arcsec) and place (x, y) of the target; refused unless west is +x and north +y."""
    cos, step = np.cos(np.radians(dec)), 1 / 3600
    places = np.array(wcs.all_world2pix([ra, ra - step / cos, ra], [dec, dec, dec + step], 0)).T
    west, north = places[1] - places[0], places[2] - places[0]
    scale = 1 / np.sqrt(abs(west[0] * north[1] - west[1] * north[0]))
    off = np.abs(np.array([west, north]) * scale - np.eye(2)).max() * side / 2
    if not off < _WORST_PIXEL:
        raise DataError(
            "cannot_paint",
            f"{where}: the pixel grid is off north up by {off:.2f} pixel at its edge, {_WORST_PIXEL} are allowed",
        )
    return scale, places[0]


def _even_span(lit: np.ndarray, margin: int, count: int) -> slice:
    """Fine pixels around the lit ones, beginning and ending between pixels."""
    first, last = np.flatnonzero(lit)[[0, -1]]
    low = max(first - margin, 0) // OVERSAMPLE * OVERSAMPLE
    high = -(-(last + 1 + margin) // OVERSAMPLE) * OVERSAMPLE
    return slice(int(low), int(min(high, count)))
