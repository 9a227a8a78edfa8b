"""Real and simulated point-spread functions for tests and benchmarks."""

import galsim
import numpy as np
from astropy.io import fits

from tandemlens.survey.psf import check_psf


def _square(psf, size):
    psf = check_psf(np.asarray(psf, float), "test")
    have = psf.shape[0]
    if have >= size:
        cut = (have - size) // 2
        psf = psf[cut : have - cut, cut : have - cut]
    else:
        psf = np.pad(psf, (size - have) // 2)
    return psf / psf.sum()


def simulated_pairs(size=63):
    """Name -> (narrow, broad) PSFs of GalSim, pixel integrated."""

    def draw(profile):
        image = profile.drawImage(nx=size, ny=size, scale=0.25).array
        return image / image.sum()

    moffat = {f: galsim.Moffat(beta=3.0, fwhm=f) for f in (0.7, 0.8, 1.1)}
    kolmogorov = {f: galsim.Kolmogorov(fwhm=f) for f in (0.75, 1.0)}
    round_, sheared = galsim.Gaussian(fwhm=0.8), galsim.Gaussian(fwhm=1.1).shear(g1=0.05, g2=-0.03)
    return {
        "Moffat 0.8 to 1.1": (draw(moffat[0.8]), draw(moffat[1.1])),
        "Moffat 0.7 to 0.8": (draw(moffat[0.7]), draw(moffat[0.8])),
        "Kolmogorov 0.75 to 1.0": (draw(kolmogorov[0.75]), draw(kolmogorov[1.0])),
        "Moffat 0.7 to Kolmogorov 1.0": (draw(moffat[0.7]), draw(kolmogorov[1.0])),
        "Gaussian 0.8 to elliptical 1.1": (draw(round_), draw(sheared)),
    }


def real_pairs(real, size=63):
    """Name -> (narrow, broad) PSFs of Legacy Surveys, HSC and Euclid."""
    out = {}
    with fits.open(real / "legacy_viewer_cutout/copsf_59.1067_-30.4848.fits") as hdus:
        g, r, z = (_square(h.data, size) for h in hdus)
    out |= {"Legacy r to g": (r, g), "Legacy z to g": (z, g)}
    hsc = {}
    for band in "gri":
        path = real / f"hsc_cutout_gama/222.51551376,0.09749601_{band}_psf.fits"
        hsc[band] = _square(fits.getdata(path), size)
    out |= {"HSC r to g": (hsc["r"], hsc["g"]), "HSC i to g": (hsc["i"], hsc["g"])}
    with fits.open(next((real / "euclid_q1").glob("*/*NEG*.fits"))) as hdus:
        for band in ("VIS", "NIR_H", "DES_R"):
            out[f"Euclid {band} to DES_G"] = tuple(_square(hdus[f"{b}_PSF"].data, size) for b in (band, "DES_G"))
    return out
