"""A cluster centre with arcs painted on it: the truth scene of segmentation."""

import galsim
import numpy as np

from tandemlens.base.stack import Cutout, header_text
from tandemlens.base.wcs import tangent_wcs

BANDS, SCALE, SIZE, FWHM = ("g", "r", "i"), 0.25, 320, 0.9
SIGMA = np.array([10.0, 12.0, 15.0])


def arc_image(radius, azimuth, length, width, fine=3):
    """Unit-flux arc along a circle around the centre: uniform along, Gaussian across, PSF applied."""
    n = SIZE * fine
    place = (np.arange(n) - (n - 1) / 2) * SCALE / fine
    r = np.hypot(place[None], place[:, None])
    t = np.arctan2(place[:, None], place[None])
    along = np.abs(np.angle(np.exp(1j * (t - azimuth)))) * radius
    arc = np.exp(-0.5 * ((r - radius) / (width / 2.355)) ** 2) * (along < length / 2)
    arc = arc.reshape(SIZE, fine, SIZE, fine).sum((1, 3))
    image = galsim.Image(arc / arc.sum(), scale=SCALE)
    seen = galsim.Convolve(galsim.InterpolatedImage(image, flux=1.0), galsim.Moffat(beta=3.0, fwhm=FWHM))
    return seen.drawImage(nx=SIZE, ny=SIZE, scale=SCALE, method="no_pixel").array.astype(float)


def cluster(seed, snr, ratio, length=6.0, n_arcs=3, bcg=True):
    """A BCG of i = 17 with intracluster light and arcs of one matched-filter S/N in the combined image.

    Returns the cutout and, per arc, its centre (x, y) in pixels and its noiseless combined image.
    """
    rng = np.random.default_rng(seed)
    psf = galsim.Moffat(beta=3.0, fwhm=FWHM)
    light = galsim.ImageF(SIZE, SIZE, scale=SCALE)
    if bcg:
        angle = rng.uniform(0, np.pi) * galsim.radians
        q = rng.uniform(0.6, 0.9)
        for n, r_e, flux in ((4.0, 4.0, 6e5), (1.0, 12.0, 4e5)):
            profile = galsim.Sersic(n, half_light_radius=r_e, flux=flux).shear(q=q, beta=angle)
            galsim.Convolve(profile, psf).drawImage(light, add_to_image=True)
    colour = np.array([0.25, 0.7, 1.0])
    flux = colour[:, None, None] * light.array[None]
    start = rng.uniform(0, 2 * np.pi)
    truth = []
    for k in range(n_arcs):
        radius, azimuth = rng.uniform(8, 15), start + 2 * np.pi * k / n_arcs
        shape = arc_image(radius, azimuth, length, length / ratio)
        sed = np.array([0.5, 0.8, 1.0])
        # Matched-filter S/N of all bands together is sqrt(sum sed^2 shape^2 / sigma^2).
        unit = np.sqrt((sed**2 / SIGMA**2).sum() * (shape**2).sum())
        flux = flux + sed[:, None, None] * shape * snr / unit
        x, y = ((SIZE - 1) / 2 + radius / SCALE * f(azimuth) for f in (np.cos, np.sin))
        truth.append((x, y, shape))
    flux = flux + rng.normal(0, 1, flux.shape) * SIGMA[:, None, None]
    variance = np.broadcast_to(SIGMA[:, None, None] ** 2, flux.shape)
    kernel = psf.drawImage(nx=41, ny=41, scale=SCALE).array
    psfs = np.repeat((kernel / kernel.sum())[None], 3, 0).astype(np.float32)
    wcs = header_text(tangent_wcs(150.0, 2.0, (SIZE, SIZE), SCALE))
    mask = np.zeros(flux.shape, np.uint16)
    extra = {"fwhm": np.float32(FWHM)}
    return Cutout(BANDS, flux.astype("f4"), np.array(variance, "f4"), mask, psfs, (wcs,) * 3, extra), truth
