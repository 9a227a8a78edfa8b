import galsim
import numpy as np
import pytest
from reproject import reproject_exact

from tandemlens.base.flags import BAD, EDGE, NO_DATA
from tandemlens.base.wcs import tangent_wcs
from tandemlens.image.grid import fill_invalid, pixel_mapping, resample

SCALE, SIZE = 0.25, 200


def image_of(shift=(0.0, 0.0), scale=SCALE, size=SIZE, flux=1000.0):
    """One galaxy at the place of the target, seen on a grid shifted by `shift` pixels."""
    galaxy = galsim.Convolve(galsim.Sersic(2, half_light_radius=0.8).shear(g1=0.2, g2=0.1), galsim.Moffat(3, fwhm=0.9))
    moved = (galaxy * flux).shift(shift[0] * scale, shift[1] * scale)
    return moved.drawImage(nx=size, ny=size, scale=scale).array.astype(float)


def wcs_of(shift=(0.0, 0.0), scale=SCALE, size=SIZE):
    wcs = tangent_wcs(150.0, 2.0, (size, size), scale)
    wcs.wcs.crpix = wcs.wcs.crpix + np.array(shift)
    return wcs


def to_grid(image, wcs_in, wcs_out, size=SIZE, mask=None):
    mask = np.zeros(image.shape, np.uint16) if mask is None else mask
    return resample(image, np.full(image.shape, 4.0), mask, pixel_mapping(wcs_in, wcs_out, (size, size)))


@pytest.mark.parametrize("shift", [(0.5, 0.5), (0.31, -0.42), (7.3, 2.9)])
def test_a_shifted_grid_gives_the_image_drawn_there(shift):
    flux, _, mask = to_grid(image_of(shift), wcs_of(shift), wcs_of())
    truth = image_of()
    good = mask == 0
    assert np.abs(flux - truth)[good].max() < 2e-3 * truth.max()
    assert flux.sum() == pytest.approx(truth.sum(), rel=1e-3)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.3, 2.0, 3.0])
def test_flux_is_conserved_across_pixel_sizes(ratio):
    size_out = int(SIZE / ratio) + 2
    wcs_out = tangent_wcs(150.0, 2.0, (size_out, size_out), SCALE * ratio)
    image = image_of()
    flux, _, mask = to_grid(image, wcs_of(), wcs_out, size_out)
    assert flux[mask == 0].sum() == pytest.approx(image.sum(), rel=5e-3)


def test_rotated_grid_agrees_with_reproject():
    """Flux-conserving reproject_exact is the independent code."""
    wcs_out = wcs_of()
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs_out.wcs.cd = wcs_out.wcs.cd @ turn
    image = image_of()
    flux, _, mask = to_grid(image, wcs_of(), wcs_out)
    peer, footprint = reproject_exact((image, wcs_of()), wcs_out, shape_out=(SIZE, SIZE))
    inner = (mask == 0) & (footprint > 0.999)
    # Averaging over pixels broadens reproject's image a little; sums over 5 pixels do not see that.
    edges = range(0, SIZE, 8)
    summed = [np.add.reduceat(np.add.reduceat(np.where(inner, a, 0), edges, 0), edges, 1) for a in (flux, peer)]
    assert np.abs(summed[0] - summed[1]).max() < 0.005 * image.sum()
    assert summed[0].sum() == pytest.approx(summed[1].sum(), rel=2e-3)


def test_a_bilinear_mapping_is_exact_enough():
    wcs_out = tangent_wcs(150.004, 2.003, (SIZE, SIZE), SCALE)
    x, y, area = pixel_mapping(wcs_of(), wcs_out, (SIZE, SIZE))
    grid_y, grid_x = np.mgrid[:SIZE, :SIZE]
    exact = wcs_of().all_world2pix(*wcs_out.all_pix2world(grid_x.ravel(), grid_y.ravel(), 0), 0)
    np.testing.assert_allclose(x.ravel(), exact[0], atol=1e-3)
    np.testing.assert_allclose(y.ravel(), exact[1], atol=1e-3)
    assert area == pytest.approx(1, abs=1e-5)


def test_the_same_grid_is_not_touched():
    image = np.random.default_rng(0).normal(0, 1, (SIZE, SIZE))
    flux, variance, mask = to_grid(image, wcs_of(), wcs_of())
    np.testing.assert_array_equal(flux, image)
    np.testing.assert_array_equal(variance, 4.0)
    assert not mask.any()


def test_noise_of_sums_is_that_of_the_input():
    """White-equivalent variance: sums over large areas scatter as stated, on finer and coarser pixels."""
    rng = np.random.default_rng(1)
    for scale_out, size_out in ((0.25, 200), (0.35, 140), (0.2, 250)):
        mapping = pixel_mapping(
            wcs_of((0.3, 0.4)), tangent_wcs(150.0, 2.0, (size_out, size_out), scale_out), (size_out, size_out)
        )
        sums, stated = [], []
        for _ in range(60):
            noise = rng.normal(0, 2, (SIZE, SIZE))
            flux, variance, _ = resample(noise, np.full(noise.shape, 4.0), np.zeros(noise.shape, np.uint16), mapping)
            n = size_out // 4
            for j in range(4):
                for i in range(4):
                    block = (slice(j * n + 5, (j + 1) * n - 5), slice(i * n + 5, (i + 1) * n - 5))
                    sums.append(flux[block].sum())
                    stated.append(np.sqrt(variance[block].sum()))
        assert np.std(np.array(sums) / np.array(stated)) == pytest.approx(1, abs=0.06)


def test_masked_pixels_stay_masked_and_spoil_their_neighbours():
    mask = np.zeros((SIZE, SIZE), np.uint16)
    mask[50, 60] = BAD
    image = image_of()
    image[50, 60] = 1e9
    flux, variance, out = to_grid(image, wcs_of((0.4, 0.4)), wcs_of(), mask=mask)
    assert out[out != 0].size < 40
    assert (out & BAD).any()
    assert (out & EDGE).any()
    assert np.isinf(variance[out != 0]).all()
    assert (flux[out != 0] == 0).all()
    assert np.abs(flux).max() < 2 * image_of().max()


def test_beyond_the_image_there_is_no_data():
    flux, _, mask = to_grid(image_of(), wcs_of((30.0, 0.0)), wcs_of())
    assert (mask[:, 175:] == NO_DATA).all()
    assert (flux[:, 175:] == 0).all()


def test_holes_are_filled_from_around():
    image = np.full((40, 40), 7.0)
    invalid = np.zeros((40, 40), bool)
    invalid[18:22, 18:22] = True
    image[invalid] = 0
    np.testing.assert_allclose(fill_invalid(image, invalid), 7.0, rtol=1e-5)
