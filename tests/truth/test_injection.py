"""Light painted into real KiDS cutouts: what the normal road measures of it, and what it does to the noise."""

import numpy as np
import pandas as pd
import pytest
from photutils.aperture import CircularAperture, aperture_photometry

from places import ROOT
from tandemlens.base.config import load_schema, load_survey
from tandemlens.base.robust import robust_sigma
from tandemlens.features.sequence import survey_bands
from tandemlens.image.match import match_system
from tandemlens.sky.paint import Galaxy
from tandemlens.sky.real import real_scene
from tandemlens.sky.site import inject, site_of
from tandemlens.sky.spectra import Spectra
from tandemlens.survey.cutouts import CutoutReader
from tandemlens.survey.psf import growth_curve

pytestmark = pytest.mark.real
BANDS = ["g", "r", "i"]
MATCH = {"common_psf": True, "max_residual": 0.3, "min_valid": 0.3, "noise_apertures": 300, "pixel_scale": 0.339}
SURVEY = load_survey("kids_viking", ROOT / "config/surveys", load_schema(ROOT / "config/schemas/survey.schema.yaml"))
FLUX = np.array([2000.0, 3000.0, 4000.0])


@pytest.fixture(scope="module")
def canvases(real):
    """Cutouts of four targets and their sites."""
    source = CutoutReader(SURVEY, BANDS, real / "kids_viking", 120)
    rows = pd.read_csv(real / "kids_viking/targets.csv").iloc[[5, 12, 17, 30]]
    out = []
    for number, row in zip(rows.index, rows.to_dict("records"), strict=True):
        cutout, _ = source.cutout({"target_id": row["name"], "source_row": number, **row})
        out.append((row, cutout, site_of(cutout, row["ra"], row["dec"], SURVEY, row["name"])))
    source.close()
    return out


def star_grid(rng):
    """Stars far enough from each other that no aperture holds two."""
    grid = np.linspace(-45, 45, 5)
    places = [(x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)) for x in grid for y in grid]
    return [Galaxy("star", *place, np.nan, 0.0, 0.0, 1.0, 0.0, FLUX) for place in places]


def test_flux_and_place_of_painted_stars_are_measured_right(canvases):
    """Aperture flux on the matched grid minus that of the untouched cutout, over what the matched PSF lets in."""
    rng = np.random.default_rng(1)
    for row, cutout, site in canvases:
        sources, canvas = star_grid(rng), site.canvas()
        for source in sources:
            canvas.add(source)
        clean = site.expose(canvas)
        both = [cutout, inject(site, cutout, clean, clean < 0, rng)]
        plain, more = (match_system(c, row["name"], MATCH)[0] for c in both)
        x, y = plain.astropy_wcs().all_world2pix(row["ra"], row["dec"], 0)
        places = [(float(x) + s.x / 0.339, float(y) + s.y / 0.339) for s in sources]
        radius = float(plain.extra["fwhm"]) / 0.339
        for k in range(3):
            added = np.nan_to_num(more.flux[k] - plain.flux[k])
            flux = np.array(aperture_photometry(added, CircularAperture(places, radius))["aperture_sum"])
            expected = FLUX[k] * growth_curve(plain.psf[k], [radius])[0]
            good = (plain.mask[k] == 0)[[round(p[1]) for p in places], [round(p[0]) for p in places]]
            # kernels between PSFs of this field misplace up to 1.5 per cent of the light
            assert np.median(flux[good]) == pytest.approx(expected, rel=0.015)
            noise = np.sqrt(np.pi) * radius * site.sigma[k]
            assert np.abs(np.median((flux[good] - expected) / noise)) < 0.3
            rows, columns = np.indices(added.shape)
            near = [np.hypot(columns - px, rows - py) < radius for px, py in places]
            off = [(added[n] * columns[n]).sum() / added[n].sum() - px for n, (px, _) in zip(near, places, strict=True)]
            assert np.abs(np.median(np.array(off)[good])) < 0.05


def test_noise_of_painted_and_untouched_pixels_agrees(canvases):
    """Faint light, as that of most painted galaxies, leaves the scatter of blank pixels what it was."""
    rng = np.random.default_rng(2)
    for _, cutout, site in canvases:
        clean = np.full(cutout.flux.shape, 0.5, np.float32) * site.sigma[:, None, None].astype(np.float32)
        done = inject(site, cutout, clean, clean < 0, rng)
        for k in range(3):
            good = cutout.mask[k] == 0
            dark = good & (cutout.flux[k] < np.median(cutout.flux[k][good]) + site.sigma[k])
            before, after = robust_sigma(cutout.flux[k][dark]), robust_sigma((done.flux - clean)[k][dark])
            assert after == pytest.approx(before, rel=0.02)
            claimed = np.sqrt(np.median(done.variance[k][dark]) / np.median(cutout.variance[k][dark]))
            assert claimed == pytest.approx(1.0, abs=0.02)
            assert np.array_equal(done.mask[k], cutout.mask[k])


def test_seen_members_carry_mass(canvases):
    """Galaxies on the red sequence become masses of the lens, near where they are seen."""
    seds = {p.stem: str(p) for p in (ROOT / "resources/seds").glob("*.csv")}
    spectra = Spectra(seds, survey_bands(SURVEY, BANDS))
    numbers = []
    for _, cutout, site in canvases:
        scene = real_scene(np.random.default_rng(1), 0.15, 40.0, cutout, site, spectra)
        assert scene.galaxies == []
        members = [m for m in scene.lens.masses[2:] if m.compact]
        numbers.append(len(members))
        for mass in members:
            row, column = (
                round(mass.parameters[f"center_{a}"] / site.scale + (site.side - 1) / 2 + site.shift[1][i])
                for i, a in ((1, "y"), (0, "x"))
            )
            stamp = cutout.flux[1, max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
            assert stamp.max() > 5 * site.sigma[1]
    assert max(numbers) >= 2
