"""The minimal mock survey: galaxies, stars, noise, and arcs of singular isothermal spheres around half the clusters."""

import zlib

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from scipy.signal import fftconvolve

from tandemlens.base.columns import fetch
from tandemlens.base.columns.registry import expand
from tandemlens.base.columns.truth import COLUMNS
from tandemlens.base.stack import Cutout, header_text, sanitize, write_stack
from tandemlens.base.stage import run_targets
from tandemlens.base.tables import write_table
from tandemlens.base.units import njy_per_unit
from tandemlens.features.sequence import Bands, read_sed, template_colours
from tandemlens.survey.psf import moffat

#: fine pixels per pixel
OVERSAMPLE = 2
PSF_SIZE = 41
#: brightness of a moonless sky, AB mag arcsec^-2; sets the noise that the objects themselves add
SKY_BRIGHTNESS = 21.0
LENS_FRACTION = 0.5


def render_shard(targets, survey, bands, size_arcsec, seed, seds, stack_path, table_path, truth_path, progress):
    """Render the cutouts of a shard.

    Parameters
    ----------
    targets : pandas.DataFrame
        Rows of the target table.
    survey : dict
        As checked by ``survey.schema.yaml``, source mock.
    bands : list of str
    size_arcsec : float
        Side of the cutouts, arcsec.
    seed : int
        Every target draws from its own generator of this seed and its name, whatever its neighbours.
    seds : dict of str
        Paths of the spectra ``elliptical`` and ``spiral``.
    stack_path, table_path, truth_path : str
        Products: cutouts.h5, fetch.parquet, truth.parquet.
    progress : callable
    """
    painter = _Painter(survey, bands, size_arcsec, seds)
    truth, rows = [], []
    by_id = targets.set_index("target_id")
    with write_stack(stack_path, bands, (painter.side, painter.side), PSF_SIZE) as stack:

        def work(index, target_id):
            target = by_id.loc[target_id]
            rng = np.random.default_rng([seed, zlib.crc32(target_id.encode())])
            objects = _draw_cluster(rng, target, size_arcsec)
            cutout, painted = painter.paint(objects, target["ra"], target["dec"], rng)
            stack.append(target_id, cutout)
            truth.extend({"target_id": target_id, **row} for row in painted)

        status = run_targets(list(targets["target_id"]), work, progress)
    for row in status.itertuples():
        for band in bands:
            facts = {"status": row.status, "reason": row.reason, "bytes": 0, "sha256": "", "n_psf_stars": 0}
            fwhm = survey["bands"][band]["mock"]["fwhm"]
            measured = {"psf_fwhm": fwhm, "psf_quality": np.nan, "noise_ratio": np.nan, "coverage": 1.0}
            rows.append({"target_id": row.target_id, "band": band, **facts, **measured, "release": survey["release"]})
    write_table(table_path, pd.DataFrame(rows, columns=[c.name for c in fetch.COLUMNS]), fetch.COLUMNS)
    columns = expand(COLUMNS, bands)
    write_table(truth_path, pd.DataFrame(truth, columns=[c.name for c in columns]), columns)


def sis_sources(x, y, theta_e):
    """Source-plane position of image-plane points behind a singular isothermal sphere at the origin.

    ``beta = theta - theta_E theta / |theta|`` (Narayan & Bartelmann 1996, eq. 26).

    Parameters
    ----------
    x, y : ndarray, arcsec
    theta_e : float, arcsec

    Returns
    -------
    x, y : ndarray, arcsec
    """
    shrink = 1 - theta_e / np.maximum(np.hypot(x, y), 1e-9)
    return x * shrink, y * shrink


def sersic(x, y, r_e, n, q, angle):
    """Sersic brightness, 1 at the centre (Graham & Driver 2005, eq. 1, b_n = 2 n - 1/3 + 4 / (405 n)).

    Parameters
    ----------
    x, y : ndarray, arcsec
        From the centre of the galaxy.
    r_e : float, arcsec
        Half-light radius along the major axis.
    n, q : float
        Index and axis ratio.
    angle : float
        Major axis from +x towards +y, rad.

    Returns
    -------
    ndarray
    """
    along = x * np.cos(angle) + y * np.sin(angle)
    across = (y * np.cos(angle) - x * np.sin(angle)) / q
    b = 2 * n - 1 / 3 + 4 / (405 * n)
    return np.exp(-b * (np.hypot(along, across) / r_e) ** (1 / n))


class _Painter:
    """Paints lists of objects into cutouts of one survey."""

    def __init__(self, survey, bands, size_arcsec, seds):
        self.scale = survey["pixel_scale"]
        self.side = round(size_arcsec / self.scale)
        self.names = tuple(bands)
        facts = [survey["bands"][band] for band in bands]
        self.bands = Bands(self.names, tuple(f["wavelength"] for f in facts), tuple(f["width"] for f in facts))
        self.fwhm = [f["mock"]["fwhm"] for f in facts]
        area = [np.pi * (fwhm / self.scale) ** 2 for fwhm in self.fwhm]
        faintest = [njy_per_unit(f["mock"]["depth"]) for f in facts]
        self.sigma = [limit / 5 / np.sqrt(a) for limit, a in zip(faintest, area, strict=True)]
        self.sky = njy_per_unit(SKY_BRIGHTNESS) * self.scale**2
        self.seds = {name: read_sed(path) for name, path in seds.items()}
        fine = self.scale / OVERSAMPLE
        wide = PSF_SIZE * OVERSAMPLE + 1
        self.fine_psf = [moffat(wide, fine, f) for f in self.fwhm]
        # The PSF of a pixel is the fine one averaged over the fine pixels of a pixel.
        cell = np.ones((OVERSAMPLE, OVERSAMPLE)) / OVERSAMPLE**2
        self.psf = np.array([self._pixel_psf(f, cell) for f in self.fwhm], np.float32)

    def _pixel_psf(self, fwhm, cell):
        step = OVERSAMPLE * PSF_SIZE
        fine = moffat(step, self.scale / OVERSAMPLE, fwhm)
        psf = fine.reshape(PSF_SIZE, OVERSAMPLE, PSF_SIZE, OVERSAMPLE).sum((1, 3))
        return psf / psf.sum()

    def paint(self, objects, ra, dec, rng):
        """Cutout of a list of objects and the truth rows of those painted."""
        dither = rng.uniform(-0.5, 0.5, (len(self.names), 2))
        fluxes = [self._fluxes(o) for o in objects]
        planes, truth = self._planes(objects, fluxes, dither)
        flux, variance = [], []
        for k, plane in enumerate(planes):
            image = fftconvolve(plane, self.fine_psf[k], mode="same")
            image = image.reshape(self.side, OVERSAMPLE, self.side, OVERSAMPLE).sum((1, 3))
            image = np.maximum(image, 0)
            noise = self.sigma[k] ** 2 * (1 + image / self.sky)
            flux.append(image + rng.normal(0, np.sqrt(noise)))
            variance.append(noise)
        flux, variance = np.array(flux), np.array(variance)
        wcs = tuple(header_text(self._wcs(ra, dec, shift)) for shift in dither)
        mask = np.zeros(flux.shape, np.uint16)
        return sanitize(Cutout(self.names, flux, variance, mask, self.psf, wcs)), truth

    def _wcs(self, ra, dec, shift):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [ra, dec]
        wcs.wcs.cd = np.diag([-self.scale, self.scale]) / 3600
        wcs.wcs.crpix = (self.side + 1) / 2 + shift
        return wcs

    def _fluxes(self, thing):
        """Flux per band from the magnitude in the reddest band but one, the spectrum and a scatter."""
        sed = self.seds[thing["sed"]]
        colours = template_colours(sed, [thing["z_sed"]], self.bands)[0]
        mags = np.concatenate([[0.0], -np.cumsum(np.nan_to_num(colours + thing["scatter"][: len(colours)]))])
        anchor = int(np.argmin(np.abs(np.array(self.bands.wavelength) - 7600)))
        return njy_per_unit(0.0) * 10 ** (-0.4 * (thing["mag"] + mags - mags[anchor]))

    def _planes(self, objects, fluxes, dither):
        side = self.side * OVERSAMPLE
        fine = self.scale / OVERSAMPLE
        planes = np.zeros((len(self.names), side, side))
        truth = []
        for thing, flux in zip(objects, fluxes, strict=True):
            gain = 1.0
            for k, shift in enumerate(dither):
                image, gain, (y0, x0) = _stamp(thing, side, fine, shift * OVERSAMPLE)
                planes[k, y0 : y0 + image.shape[0], x0 : x0 + image.shape[1]] += flux[k] * image
            row = {name: thing[name] for name in ("kind", "east", "north", "z")}
            row |= {"theta_e": thing.get("theta_e", np.nan), "magnification": gain}
            truth.append({**row, **{f"flux_{b}": f * gain for b, f in zip(self.names, flux, strict=True)}})
        return planes, truth


def _stamp(thing, side, fine, shift):
    """Fine image of unit unlensed flux, its magnification, and its lower corner."""
    # East is towards -x. The middle of the grid is the target, moved by the dither.
    cx = (side - 1) / 2 + shift[0] - thing["east"] / fine
    cy = (side - 1) / 2 + shift[1] + thing["north"] / fine
    theta_e = thing.get("theta_e")
    if theta_e:
        mx, my = (side - 1) / 2 + shift[0], (side - 1) / 2 + shift[1]
        reach = (2 * theta_e + 8 * thing["r_e"]) / fine
        ys, xs = _window(mx, my, reach, side)
        x, y = (xs[None] - mx) * fine, (ys[:, None] - my) * fine
        bx, by = sis_sources(x, y, theta_e)
        shape = (thing["r_e"], thing["n"], thing["q"], thing["angle"])
        image = sersic(bx + thing["east"], by - thing["north"], *shape)
        total = sersic(x, y, *shape).sum()
        return image / total, image.sum() / total, (ys[0], xs[0])
    if thing["r_e"] == 0:
        return _point(cx, cy, side)
    ys, xs = _window(cx, cy, 8 * thing["r_e"] / fine, side)
    if not len(ys) or not len(xs):
        return np.zeros((0, 0)), 1.0, (0, 0)
    x, y = (xs[None] - cx) * fine, (ys[:, None] - cy) * fine
    image = sersic(x, y, thing["r_e"], thing["n"], thing["q"], thing["angle"])
    # The window may be cut by the border: the sum of the whole galaxy is that of a window around the middle.
    return image / _whole(thing, fine, cx, cy), 1.0, (ys[0], xs[0])


def _whole(thing, fine, cx, cy):
    half = int(np.ceil(8 * thing["r_e"] / fine))
    place = np.arange(-half, half + 1)
    x, y = (place[None] - cx % 1) * fine, (place[:, None] - cy % 1) * fine
    return sersic(x, y, thing["r_e"], thing["n"], thing["q"], thing["angle"]).sum()


def _point(cx, cy, side):
    """A star: bilinear between the four fine pixels around it, exact in flux and centroid."""
    ix, iy = int(np.floor(cx)), int(np.floor(cy))
    if not (0 <= ix < side - 1 and 0 <= iy < side - 1):
        return np.zeros((0, 0)), 1.0, (0, 0)
    fx, fy = cx - ix, cy - iy
    return np.outer([1 - fy, fy], [1 - fx, fx]), 1.0, (iy, ix)


def _window(cx, cy, reach, side):
    spans = []
    for centre in (cy, cx):
        spans.append(np.arange(max(0, int(centre - reach)), min(side, int(centre + reach) + 2)))
    return spans


def _draw_cluster(rng, target, size):
    """Objects of one cutout: BCG, intracluster light, members, field, stars and perhaps lensed sources."""
    z = target["z"] if np.isfinite(target["z"]) else rng.uniform(0.2, 0.6)
    richness = target["richness"] if np.isfinite(target["richness"]) else 30.0
    angle = rng.uniform(0, np.pi)
    # An L* galaxy of the red sequence is near i = 18.9 at z = 0.3; distance modulus and K-correction steepen it.
    bright = 18.9 + 6.0 * np.log10(z / 0.3)
    size_factor = 0.3 / z
    bcg = {"mag": bright - 1.8, "r_e": 4.0 * size_factor, "n": 4.0, "q": rng.uniform(0.6, 0.9), "angle": angle}
    icl = {"mag": bright - 1.3, "r_e": 14 * size_factor, "n": 1.0, "q": rng.uniform(0.5, 0.8), "angle": angle}
    flat = np.zeros(16)
    old = {"sed": "elliptical", "z_sed": z, "z": z, "scatter": flat}
    objects = [{"kind": k, "east": 0.0, "north": 0.0, **old, **s} for k, s in (("bcg", bcg), ("icl", icl))]
    for _ in range(rng.poisson(richness * (size / 240) ** 1.2)):
        r, t = size / 2 * np.sqrt(rng.beta(0.9, 2.0)), rng.uniform(0, 2 * np.pi)
        mag = bright - 1.0 + rng.gamma(2.0, 0.9)
        objects.append(
            _galaxy(rng, "member", r * np.sin(t), r * np.cos(t), mag, {**old, "scatter": rng.normal(0, 0.04, 16)})
        )
    objects += _draw_field(rng, size)
    return objects + _draw_lensed(rng, z)


def _galaxy(rng, kind, east, north, mag, spectrum):
    r_e = np.clip(10 ** (-0.12 * (mag - 22) - 0.3 + rng.normal(0, 0.15)), 0.12, 3.0)
    n = 4.0 if spectrum["sed"] == "elliptical" else 1.0
    shape = {"r_e": r_e, "n": n, "q": rng.uniform(0.35, 1), "angle": rng.uniform(0, np.pi)}
    return {"kind": kind, "east": east, "north": north, "mag": mag, **shape, **spectrum}


def _draw_field(rng, size):
    """Field galaxies at N(<i) growing by 10^0.33 a magnitude, some 40 per arcmin^2 at i < 25, and stars."""
    objects = []
    area = (size / 60) ** 2
    for _ in range(rng.poisson(40 * area)):
        mag = 25.0 + np.log10(rng.uniform(1e-3, 1)) / 0.33
        z = float(np.clip(rng.gamma(3.0, 0.1 + 0.12 * max(mag - 20, 0) / 3), 0.05, 2.0))
        sed = "elliptical" if rng.uniform() < 0.25 else "spiral"
        spectrum = {"sed": sed, "z_sed": z, "z": z, "scatter": rng.normal(0, 0.12, 16)}
        objects.append(_galaxy(rng, "field", *rng.uniform(-size / 2, size / 2, 2), mag, spectrum))
    for _ in range(rng.poisson(1.5 * area)):
        mag = rng.uniform(17, 23)
        place = rng.uniform(-size / 2, size / 2, 2)
        spectrum = {"sed": "spiral", "z_sed": 0.05, "z": np.nan, "scatter": rng.normal(0, 0.3, 16)}
        objects.append({"kind": "star", "east": place[0], "north": place[1], "mag": mag, "r_e": 0.0, **spectrum})
    return objects


def _draw_lensed(rng, z):
    """Three members of one cluster behind in half of the cutouts, one field source in a quarter, none in the rest."""
    draw = rng.uniform()
    if draw > LENS_FRACTION * 1.5:
        return []
    theta_e = rng.uniform(6, 14)
    z_source = min(z + rng.uniform(0.25, 0.6), 1.4)
    tandem = draw < LENS_FRACTION
    spectrum = {"sed": "elliptical" if tandem else "spiral", "z_sed": z_source, "z": z_source}
    objects = []
    for _ in range(3 if tandem else 1):
        r, t = theta_e * rng.uniform(0.08, 0.45), rng.uniform(0, 2 * np.pi)
        shape = {"r_e": rng.uniform(0.25, 0.5), "n": 1.5, "q": rng.uniform(0.6, 1), "angle": rng.uniform(0, np.pi)}
        place = {"east": r * np.sin(t), "north": r * np.cos(t), "theta_e": theta_e, "mag": rng.uniform(23.0, 24.0)}
        kind = "lensed_member" if tandem else "lensed_field"
        objects.append({"kind": kind, **place, **shape, **spectrum, "scatter": rng.normal(0, 0.03, 16)})
    return objects
