"""Blank fields of surveys, their galaxies counted on the image as a catalogue would count them."""

import numpy as np
import pytest
import sep
from scipy.spatial import cKDTree
from test_simulate import SEDS, survey_of

from tandemlens.features.sequence import survey_bands
from tandemlens.sky.field import density, draw_field
from tandemlens.sky.site import Telescope
from tandemlens.sky.spectra import Spectra

SIZE, FIELDS = 300.0, 12
#: whole magnitudes between these, over FIELDS * 25 arcmin^2
EDGES = np.arange(18.0, 25.0)
_SMOOTH = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], float)


def magnitudes(cutout):
    """Places (pixel) and Kron magnitudes of what SExtractor's method finds, neighbours taken out of the apertures."""
    pixels = cutout.flux[0].astype(float)
    back = sep.Background(pixels, bw=256, bh=256)
    pixels -= back.back()
    found, segments = sep.extract(
        pixels, 1.5, err=back.globalrms, minarea=8, filter_kernel=_SMOOTH, segmentation_map=True
    )
    ids = np.arange(1, len(found) + 1)
    turn = np.clip(found["theta"], -np.pi / 2, np.pi / 2)
    shape = *(found[c] for c in ("x", "y", "a", "b")), turn
    radius, _ = sep.kron_radius(pixels, *shape, 6.0, segmap=segments, seg_id=ids)
    aperture = 2.5 * np.maximum(radius, 1.4)
    flux, _, _ = sep.sum_ellipse(pixels, *shape, aperture, subpix=5, segmap=segments, seg_id=ids)
    return np.column_stack(shape[:2]), 31.4 - 2.5 * np.log10(np.maximum(flux, 1e-3))


def galaxies_of(telescope, spectra, seed):
    """Magnitudes of the galaxies that are found in one field; what lies on a star is left out."""
    rng = np.random.default_rng(seed)
    site, facts = telescope.site(rng)
    painted = draw_field(rng, SIZE, spectra, facts["depth_i"] + 1)
    canvas = site.canvas()
    for galaxy in painted:
        canvas.add(galaxy)
    clean = site.expose(canvas)
    cutout, _ = telescope.observe(site, clean, np.zeros(clean.shape, bool), 10.0, 0.0, rng)
    places, mags = magnitudes(cutout)
    stars = np.array([(g.x, g.y) for g in painted if g.kind == "star"]) / site.scale
    stars += (site.side - 1) / 2 + site.shift[0]
    far, _ = cKDTree(stars).query(places)
    return mags[far * site.scale > 1.0]


@pytest.mark.parametrize(("name", "last"), [("hsc-pdr3-wide", 24), ("des-dr2", 23)])
def test_a_blank_field_has_the_counts_of_its_table(name, last):
    """To where the survey is complete: galaxies a magnitude within 20 %, or 2.5 standard deviations of so few."""
    survey = {**survey_of(name), "mock": {"masked": 0.0, "missing": 0.0}}
    telescope, spectra = Telescope(survey, ["i"], SIZE), Spectra(SEDS, survey_bands(survey, ["i"]))
    mags = np.concatenate([galaxies_of(telescope, spectra, seed) for seed in range(FIELDS)])
    for bright in EDGES[: last - 18]:
        inside = np.linspace(bright, bright + 1, 50)
        stated = np.trapezoid(density(inside), inside) * FIELDS * (SIZE / 60) ** 2
        counted = ((mags > bright) & (mags < bright + 1)).sum()
        assert abs(counted - stated) < max(0.2 * stated, 2.5 * np.sqrt(stated)), (bright, counted / stated)
