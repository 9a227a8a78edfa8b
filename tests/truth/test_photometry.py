"""Known GalSim scenes through resampling, PSF matching and photometry: bias of colours and pulls of errors."""

import galsim
import numpy as np
import pandas as pd
import pytest

from tandemlens.base.stack import Cutout, header_text
from tandemlens.base.wcs import tangent_wcs
from tandemlens.image.match import match_system
from tandemlens.image.photometry import measure_system

BANDS, FWHM, SCALE, SIZE = ("g", "r", "i"), (1.1, 0.9, 0.8), 0.25, 300
SIGMA = (8.0, 10.0, 14.0)
#: sub-pixel places of the bands' grids, so that two of them are resampled and their noise correlated
SHIFTS = ((0.0, 0.0), (0.37, -0.41), (-0.23, 0.48))
MATCH = {"common_psf": True, "max_residual": 0.3, "min_valid": 0.3, "noise_apertures": 400, "pixel_scale": SCALE}
MEASURE = {"aperture_fwhm": 2.0, "aperture_arcsec": 0.7, "ebv_map": None}


def wcs_of(shift):
    wcs = tangent_wcs(150.0, 2.0, (SIZE, SIZE), SCALE)
    wcs.wcs.crpix = (SIZE + 1) / 2 + np.array(shift)
    return wcs


class Scene:
    """Galaxies on a jittered grid, every one of one colour throughout; noiseless images of every band."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        places = np.stack(np.meshgrid(np.arange(-4, 5), np.arange(-4, 5)), -1).reshape(-1, 2) * 7.5
        self.places = places + rng.uniform(-0.5, 0.5, places.shape)
        self.flux = 10 ** rng.uniform(3.3, 4.3, len(places))[:, None] * 10 ** (
            0.4 * rng.normal(0, 0.4, (len(places), 3))
        )
        psf = [galsim.Moffat(beta=3.0, fwhm=f) for f in FWHM]
        profiles = [
            galsim.Exponential(half_light_radius=r).shear(g1=e, g2=0.1)
            for r, e in rng.uniform(0.1, 0.5, (len(places), 2))
        ]
        self.clean = []
        for k in range(3):
            image = galsim.ImageF(SIZE, SIZE, scale=SCALE)
            shift = np.array(SHIFTS[k]) * SCALE
            for place, flux, profile in zip(self.places, self.flux[:, k], profiles, strict=True):
                # Pixel +x is west: the scene is drawn in pixels, so no sign enters.
                moved = galsim.Convolve(profile * flux, psf[k]).shift(*(place + shift))
                moved.drawImage(image, add_to_image=True)
            self.clean.append(image.array.astype(float))
        self.psf = np.array([p.drawImage(nx=63, ny=63, scale=SCALE).array for p in psf])
        self.psf = (self.psf / self.psf.sum((1, 2), keepdims=True)).astype(np.float32)

    def cutout(self, rng=None):
        """The scene with noise, or without it."""
        flux = np.array([c + (rng.normal(0, s, c.shape) if rng else 0) for c, s in zip(self.clean, SIGMA, strict=True)])
        variance = np.array([np.full((SIZE, SIZE), s**2) for s in SIGMA], np.float32)
        wcs = tuple(header_text(wcs_of(s)) for s in SHIFTS)
        return Cutout(BANDS, flux.astype(np.float32), variance, np.zeros(flux.shape, np.uint16), self.psf, wcs)

    def measure(self, cutout, name):
        """Photometry at the true places of a matched cutout, in apertures and in true segments."""
        matched, _ = match_system(cutout, name, MATCH)
        centre = self.places / SCALE + (SIZE - 1) / 2
        y, x = np.mgrid[:SIZE, :SIZE]
        labels = np.zeros((SIZE, SIZE), np.uint16)
        for label, (cx, cy) in enumerate(centre, 1):
            # Elongated footprints, 13 by 5 pixels, as arcs have.
            labels[(np.abs(x - cx) < 6.5) & (np.abs(y - cy) < 2.5)] = label
        area = np.bincount(labels.ravel())[1:]
        frame = pd.DataFrame(
            {"label": np.arange(1, len(centre) + 1), "x": centre[:, 0], "y": centre[:, 1], "kind": "arc"}
        )
        frame = frame.assign(area=area, perimeter=2 * (13 + 5))
        return measure_system(matched, labels, matched.flux, frame, np.ones(3), MEASURE)[0]


@pytest.fixture(scope="module")
def campaign():
    """Pulls and biases of 4 scenes of 81 galaxies, 12 noise realisations each."""
    tables = []
    for seed in range(4):
        scene = Scene(seed)
        truth = scene.measure(scene.cutout(), "truth-00000000")
        for k in range(12):
            seen = scene.measure(scene.cutout(np.random.default_rng([seed, k])), f"noise-{seed:04d}{k:04d}")
            for which in ("aper", "seg"):
                part = {"which": which, "n": np.arange(len(seen))}
                for band in BANDS:
                    part[band] = seen[f"flux_{which}_{band}"]
                    part[f"err_{band}"] = seen[f"flux_{which}_err_{band}"]
                    part[f"truth_{band}"] = truth[f"flux_{which}_{band}"]
                tables.append(pd.DataFrame(part))
    return pd.concat(tables)


@pytest.mark.parametrize("which", ["aper", "seg"])
@pytest.mark.parametrize("band", BANDS)
def test_flux_pulls(campaign, which, band):
    part = campaign[campaign["which"] == which]
    pulls = (part[band] - part[f"truth_{band}"]) / part[f"err_{band}"]
    assert len(pulls) == 3888
    assert 0.95 < pulls.std() < 1.05
    assert abs(pulls.mean()) < 0.1


@pytest.mark.parametrize("which", ["aper", "seg"])
@pytest.mark.parametrize("pair", [("g", "r"), ("r", "i")])
def test_colour_pulls(campaign, which, pair):
    part = campaign[campaign["which"] == which]
    (blue, red), colour = pair, 0
    bright = (part[blue] / part[f"err_{blue}"] > 20) & (part[red] / part[f"err_{red}"] > 20)
    part = part[bright]
    for band, sign in ((blue, 1), (red, -1)):
        colour = colour - sign * 2.5 * np.log10(part[band] / part[f"truth_{band}"])
    err = 1.0857 * np.hypot(part[f"err_{blue}"] / part[blue], part[f"err_{red}"] / part[red])
    assert len(part) > 500
    assert 0.95 < (colour / err).std() < 1.05


@pytest.mark.parametrize("pair", [("g", "r"), ("r", "i")])
def test_colours_are_unbiased(pair):
    """Without noise: matched aperture colours against the true ones, of galaxies with neighbours 7.5 arcsec away."""
    blue, red = pair
    off = []
    for seed in range(3):
        scene = Scene(seed)
        seen = scene.measure(scene.cutout(), "truth-00000000")
        true = -2.5 * np.log10(scene.flux[:, BANDS.index(blue)] / scene.flux[:, BANDS.index(red)])
        off.append(-2.5 * np.log10(seen[f"flux_aper_{blue}"] / seen[f"flux_aper_{red}"]) - true)
    off = np.concatenate(off)
    assert abs(off.mean()) < 0.003
    assert np.abs(off).max() < 0.01


def test_unmatched_colours_would_be_biased():
    """The same aperture without matching is off by more than 0.05 mag: the test above can fail."""
    scene = Scene(0)
    from tandemlens.survey.psf import growth_curve

    inside = [growth_curve(p.astype(float), [1.1 / SCALE])[0] for p in scene.psf]
    assert 2.5 * np.log10(inside[1] / inside[0]) > 0.05
