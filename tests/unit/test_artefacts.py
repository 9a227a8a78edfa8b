"""Artefacts of images: which bands they touch, how strong and sharp they are, what is masked."""

import numpy as np
import pytest
from scipy.ndimage import label

from tandemlens.sky.artefacts import KINDS, draw_artefact

SIDE, SCALE = 120, 0.25
SIGMA, FWHM = np.array([2.0, 3.0, 5.0, 9.0]), np.array([1.0, 0.9, 0.8, 0.7])


def draw(seed, sigma=SIGMA):
    return draw_artefact(np.random.default_rng(seed), SIDE, SCALE, sigma, FWHM)


@pytest.fixture(scope="module")
def many():
    found = {kind: [] for kind in KINDS}
    for seed in range(160):
        kind, flux, masked = draw(seed)
        found[kind].append((flux / SIGMA[:, None, None], masked))
    return found


def test_every_kind_occurs_about_equally_often(many):
    assert all(20 < len(some) < 60 for some in many.values())


def test_shapes_types_and_finite_positive_light(many):
    for some in many.values():
        for flux, masked in some:
            assert flux.shape == masked.shape == (4, SIDE, SIDE)
            assert masked.dtype == bool
            assert np.isfinite(flux).all()
            assert flux.min() >= 0
    assert draw(0)[1].dtype == np.float32


def test_a_seed_draws_the_same_again():
    for seed in range(8):
        one, same, louder = draw(seed), draw(seed), draw(seed, 2 * SIGMA)
        assert one[0] == same[0] == louder[0]
        np.testing.assert_array_equal(one[1], same[1])
        np.testing.assert_array_equal(one[2], louder[2])
        np.testing.assert_allclose(louder[1], 2 * one[1], rtol=1e-5)


def test_bands_that_each_kind_touches(many):
    count = {kind: [int((flux.max((1, 2)) > 0.1).sum()) for flux, _ in some] for kind, some in many.items()}
    assert set(count["trail"]) == {1, 2}
    assert set(count["cosmic"]) <= {0, 1}
    assert max(count["ghost"]) > 1
    assert np.median(count["spike"]) == 4


def test_only_saturated_pixels_of_stars_are_masked(many):
    for kind in ("trail", "ghost", "cosmic"):
        assert not any(masked.any() for _, masked in many[kind])
    share = [masked.any() for _, masked in many["spike"]]
    # the others lie just outside the frame
    assert np.mean(share) > 0.3
    for flux, masked in many["spike"]:
        for plane, bad in zip(flux, masked, strict=True):
            if bad.any():
                assert len(np.unique(plane[bad])) == 1
                assert plane[~bad].max() <= plane[bad][0] * (1 + 1e-6)
                assert label(bad, np.ones((3, 3)))[1] == 1


def test_strengths_stay_in_their_ranges(many):
    peaks = {kind: np.array([flux.max() for flux, _ in some]) for kind, some in many.items()}
    assert peaks["trail"].max() <= 60.001
    assert peaks["cosmic"].max() <= 6 * 150
    assert peaks["ghost"].max() < 5 * np.exp(2.5)
    assert peaks["spike"].max() <= 2e4 * 1.0001


def test_trails_are_wider_than_the_psf_and_cosmic_rays_narrower(many):
    """Width by the light over the peak of a line: integral across for a trail, along and across for a compact hit."""
    for flux, _ in many["trail"]:
        for band in np.flatnonzero(flux.max((1, 2)) > 0):
            plane = flux[band]
            # light per pixel of length of the row or column that crosses it most steeply
            slope = np.array([np.abs(np.diff(plane, axis=k)).sum() for k in (0, 1)])
            axis = int(np.argmax(slope))
            profile = plane.take(int(np.argmax(plane.max(axis))), 1 - axis)
            assert profile.sum() / profile.max() > 0.9 * FWHM[band] / SCALE or profile[[0, -1]].max() > 0.01
    sharp = []
    for flux, _ in many["cosmic"]:
        band = int(np.argmax(flux.max((1, 2))))
        peak = np.unravel_index(np.argmax(flux[band]), (SIDE, SIDE))
        rows, columns = (slice(max(p - 6, 0), p + 7) for p in peak)
        # a track is narrow across: the thinner of its two cuts through the peak
        cuts = flux[band][rows, peak[1]], flux[band][peak[0], columns]
        sharp.append(min(c.sum() for c in cuts) / flux[band].max() / (FWHM[band] / SCALE))
    assert np.median(sharp) < 0.7
