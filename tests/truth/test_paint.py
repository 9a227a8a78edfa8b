"""Painted light against closed forms, GalSim and lenstronomy's own image simulation."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from tandemlens.base.cosmology import efficiency
from tandemlens.base.errors import InputError
from tandemlens.sky.lens import DeflectionField, Lens, dpie, external_shear, nfw_halo
from tandemlens.sky.paint import TRUNCATION, Canvas, Galaxy, Picture, sersic, surface_brightness, transfer_functions
from tandemlens.survey.psf import moffat

SCALE, SIDE = 0.25, 160
ETA = efficiency(0.3, 1.0)
DISC = Galaxy("field", 0.0, 0.0, 1.0, 0.5, 1.0, 0.6, 0.7, np.array([100.0, 300.0]))


def picture_of(galaxy, step, angle=0.0):
    """Sersic light on pixels of its own frame, each the mean of five by five cells."""
    half = int(np.ceil(galaxy.reach / step))
    axis = (np.arange(5 * (2 * half + 1)) - (5 * (2 * half + 1) - 1) / 2) * step / 5
    light = sersic(axis[None], axis[:, None], replace(galaxy, angle=angle))
    light = light.reshape(2 * half + 1, 5, 2 * half + 1, 5).sum((1, 3))
    return Picture(light / light.sum(), step)


def lopsided():
    """Three unequal blobs, of centroid in the middle."""
    axis = np.arange(61) - 30
    blob = lambda x, y, s: np.exp(-((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2) / 2 / s**2) / s**2  # noqa: E731
    light = 3 * blob(-4, 2, 4) + 2 * blob(9, 0, 2.5) + blob(-6, -6, 2)
    return Picture(light / light.sum(), 0.07)


def identity():
    psf = np.zeros((2, 21, 21))
    psf[:, 10, 10] = 1
    return transfer_functions(psf, SIDE)


def massive():
    return Lens(0.3, [nfw_halo(0.3, 1e15, 6.0, 0.8, 0.4), dpie(0.3, 300.0, 0.05, 15.0), external_shear(0.03, 0.01)])


def field_of(lens, canvas):
    return DeflectionField(lens, SIDE * SCALE / 2 + 1).on_grid(canvas.axis, canvas.axis).astype(np.float32)


@pytest.mark.parametrize("n", [0.7, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("r_e", [0.15, 0.5, 1.5])
def test_the_whole_flux_arrives_where_it_belongs(n, r_e):
    canvas = Canvas(SIDE, SCALE, 2)
    galaxy = replace(DISC, n=n, r_e=r_e, x=1.37, y=-2.11)
    canvas.add(galaxy)
    np.testing.assert_allclose(canvas.planes.sum((1, 2)), galaxy.flux, rtol=0.01)
    weight = canvas.planes[0] / canvas.planes[0].sum()
    assert (weight.sum(0) * canvas.axis).sum() == pytest.approx(1.37, abs=0.01)
    assert (weight.sum(1) * canvas.axis).sum() == pytest.approx(-2.11, abs=0.01)


@pytest.mark.parametrize(("n", "q"), [(1.0, 0.5), (4.0, 0.8)])
def test_a_galaxy_looks_as_galsim_draws_it(n, q):
    """Sersic through a Moffat on shifted pixels: within one per cent of the peak everywhere."""
    r_e, angle, flux, shift = 0.6, 0.5, 1000.0, (0.31, -0.22)
    canvas = Canvas(SIDE, SCALE, 1)
    canvas.add(Galaxy("field", 2.0, 1.0, 0.5, r_e, n, q, angle, np.array([flux])))
    psf = moffat(121, SCALE / 2, 0.8)
    image = canvas.image(transfer_functions(psf[None], SIDE), [shift])[0]
    # galsim's radius is that of the circle of equal area, its flux that without truncation
    radius = r_e * np.sqrt(q)
    profile = galsim.Sersic(n, half_light_radius=radius, trunc=TRUNCATION * radius, flux_untruncated=True)
    theirs = galsim.Convolve(
        profile.withFlux(flux)
        .shear(q=q, beta=angle * galsim.radians)
        .shift(2.0 + shift[0] * SCALE, 1.0 + shift[1] * SCALE),
        galsim.InterpolatedImage(galsim.Image(psf, scale=SCALE / 2), flux=1.0),
    ).drawImage(nx=SIDE, ny=SIDE, scale=SCALE)
    assert np.abs(image - theirs.array).max() < 0.01 * theirs.array.max()


def test_a_star_is_its_psf():
    canvas = Canvas(SIDE, SCALE, 2)
    canvas.add(Galaxy("star", 3.01, -1.2, np.nan, 0.0, 0.0, 1.0, 0.0, np.array([5.0, 7.0])))
    np.testing.assert_allclose(canvas.planes.sum((1, 2)), [5, 7], rtol=1e-6)
    assert (canvas.planes[0].sum(0) * canvas.axis).sum() / 5 == pytest.approx(3.01, abs=1e-4)


def test_without_deflection_the_source_reappears():
    plain, bent = Canvas(SIDE, SCALE, 2), Canvas(SIDE, SCALE, 2)
    galaxy = replace(DISC, x=2.2, y=0.9)
    plain.add(galaxy)
    gain = bent.add_lensed(galaxy, np.zeros((2, SIDE * 2, SIDE * 2), np.float32), ETA)
    assert gain == pytest.approx(1.0, abs=2e-3)
    assert np.abs(plain.planes - bent.planes).max() < 0.01 * plain.planes.max()


def test_lensing_keeps_surface_brightness_and_colour():
    canvas = Canvas(SIDE, SCALE, 2)
    alpha = field_of(massive(), canvas)
    source = replace(DISC, x=1.0, y=0.5, r_e=1.2)
    gain = canvas.add_lensed(source, alpha, ETA)
    assert gain > 3
    brightest = sersic(0.0, 0.0, source) * source.flux * canvas.step**2
    peak = canvas.planes.max((1, 2))
    assert np.all(peak <= brightest * 1.0001)
    assert np.all(peak > 0.9 * brightest)
    lit = canvas.planes[0] > 0
    np.testing.assert_allclose(canvas.planes[1][lit] / canvas.planes[0][lit], 3.0, rtol=1e-5)
    np.testing.assert_allclose(canvas.planes.sum((1, 2)), gain * source.flux, rtol=1e-4)


def test_an_isothermal_sphere_magnifies_by_its_closed_form():
    """Both images of a small source at beta: total magnification 2 theta_E / beta."""
    theta_e, beta = 8.0, 3.0
    canvas = Canvas(SIDE, SCALE, 1)
    radius = np.hypot(canvas.axis[None], canvas.axis[:, None])
    alpha = np.stack(np.broadcast_arrays(canvas.axis[None], canvas.axis[:, None])) / radius * theta_e
    source = Galaxy("field", beta, 0.0, 1.0, 0.15, 1.0, 1.0, 0.0, np.array([1.0]))
    assert canvas.add_lensed(source, alpha.astype(np.float32), 1.0) == pytest.approx(2 * theta_e / beta, rel=0.02)


def test_arcs_agree_with_ray_shooting_of_lenstronomy():
    """Arcs on pixels against exact rays through ten by ten cells of every pixel."""
    lens, canvas = massive(), Canvas(SIDE, SCALE, 1)
    source = replace(DISC, x=0.8, y=-1.1, r_e=0.6, flux=np.array([1.0]))
    canvas.add_lensed(source, field_of(lens, canvas), ETA)
    model = LensModel([m.profile for m in lens.masses])
    rows, columns = np.nonzero(canvas.planes[0] > 0.02 * canvas.planes[0].max())
    cells = ((np.arange(5) + 0.5) / 5 - 0.5) * canvas.step
    exact = np.zeros(len(rows))
    for dy in cells:
        for dx in cells:
            x, y = canvas.axis[columns] + dx, canvas.axis[rows] + dy
            ax, ay = model.alpha(x, y, [m.parameters for m in lens.masses])
            exact += sersic(x - ETA * ax - source.x, y - ETA * ay - source.y, source)
    plane = np.zeros((SIDE * 2, SIDE * 2))
    plane[rows, columns] = exact * (canvas.step / 5) ** 2
    ours = np.where(plane > 0, canvas.planes[0], 0)
    ours, exact = (a.reshape(SIDE, 2, SIDE, 2).sum((1, 3)) for a in (ours, plane))
    assert np.abs(ours - exact).max() < 0.01 * exact.max()
    assert ours.sum() == pytest.approx(exact.sum(), rel=1e-3)


def test_what_lies_outside_leaves_no_light():
    canvas = Canvas(SIDE, SCALE, 2)
    for place in (500.0, -500.0):
        canvas.add(replace(DISC, x=place))
        canvas.add(replace(DISC, x=place, r_e=0.0))
        assert canvas.add_lensed(replace(DISC, y=place), np.zeros((2, SIDE * 2, SIDE * 2), np.float32), ETA) == 0
    assert not canvas.planes.any()


def test_a_galaxy_on_the_edge_keeps_the_part_inside():
    canvas = Canvas(SIDE, SCALE, 2)
    canvas.add(replace(DISC, x=SIDE * SCALE / 2))
    np.testing.assert_allclose(canvas.planes.sum((1, 2)), DISC.flux / 2, rtol=0.02)
    assert canvas.image(identity()).sum() == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize("step", [0.01, 0.03, 0.07, 0.25])
@pytest.mark.parametrize("angle", [0.0, 1.1])
def test_the_whole_flux_of_a_picture_arrives_where_it_belongs(step, angle):
    canvas = Canvas(SIDE, SCALE, 2)
    galaxy = replace(DISC, x=1.37, y=-2.11, angle=angle, picture=replace(lopsided(), step=step))
    canvas.add(galaxy)
    np.testing.assert_allclose(canvas.planes.sum((1, 2)), galaxy.flux, rtol=0.01)
    weight = canvas.planes[0] / canvas.planes[0].sum()
    assert (weight.sum(0) * canvas.axis).sum() == pytest.approx(1.37, abs=0.01)
    assert (weight.sum(1) * canvas.axis).sum() == pytest.approx(-2.11, abs=0.01)


@pytest.mark.parametrize(("n", "r_e", "step"), [(1.0, 0.5, 0.03), (1.0, 2.0, 0.1), (2.5, 1.0, 0.03), (4.0, 1.0, 0.03)])
def test_a_picture_of_a_sersic_looks_like_the_sersic(n, r_e, step):
    galaxy = replace(DISC, x=2.03, y=1.11, n=n, r_e=r_e)
    transfer = transfer_functions(np.repeat(moffat(83, SCALE / 2, 0.8)[None], 2, 0), SIDE)
    images = []
    for light in (galaxy, replace(galaxy, picture=picture_of(galaxy, step))):
        canvas = Canvas(SIDE, SCALE, 2)
        canvas.add(light)
        images.append(canvas.image(transfer)[1])
    assert np.abs(images[0] - images[1]).max() < 0.01 * images[0].max()


def test_a_picture_turns_with_its_angle():
    """A quarter turn of the angle turns the image, and any angle agrees with a picture drawn at it."""
    planes = []
    for angle in (0.4, 0.4 + np.pi / 2):
        canvas = Canvas(SIDE, SCALE, 2)
        canvas.add(replace(DISC, angle=angle, picture=lopsided()))
        planes.append(canvas.planes[0])
    # west is the first axis and north the second: a turn from west to north takes columns to rows
    np.testing.assert_allclose(planes[1], np.rot90(planes[0], -1), atol=1e-4 * planes[0].max())
    turned = replace(DISC, angle=0.0, picture=picture_of(DISC, 0.03, angle=0.7))
    along = replace(DISC, angle=0.7, picture=picture_of(DISC, 0.03))
    x, y = np.random.default_rng(2).uniform(-1.5, 1.5, (2, 400))
    one, other = (surface_brightness(x, y, g) for g in (turned, along))
    assert np.abs(one - other).max() < 0.01 * sersic(0.0, 0.0, DISC)


def test_lensing_a_picture_keeps_surface_brightness():
    canvas = Canvas(SIDE, SCALE, 2)
    source = replace(DISC, x=1.0, y=0.5, picture=replace(lopsided(), step=0.1))
    gain = canvas.add_lensed(source, field_of(massive(), canvas), ETA)
    assert gain > 3
    brightest = source.picture.pixels.max() / 0.1**2 * source.flux * canvas.step**2
    peak = canvas.planes.max((1, 2))
    assert np.all(peak <= brightest * 1.0001)
    assert np.all(peak > 0.9 * brightest)
    np.testing.assert_allclose(canvas.planes.sum((1, 2)), gain * source.flux, rtol=1e-4)


def test_without_deflection_a_picture_reappears():
    plain, bent = Canvas(SIDE, SCALE, 2), Canvas(SIDE, SCALE, 2)
    galaxy = replace(DISC, x=2.2, y=0.9, picture=lopsided())
    plain.add(galaxy)
    gain = bent.add_lensed(galaxy, np.zeros((2, SIDE * 2, SIDE * 2), np.float32), ETA)
    assert gain == pytest.approx(1.0, abs=5e-3)
    assert np.abs(plain.planes - bent.planes).max() < 0.01 * plain.planes.max()


@pytest.mark.parametrize(("pixels", "step"), [(np.ones(9) / 9, 0.1), (np.ones((3, 3)), 0.1), (np.ones((3, 3)) / 9, 0.0),
                                              (np.full((3, 3), np.nan), 0.1)])  # fmt: skip
def test_what_is_no_picture_is_refused(pixels, step):
    with pytest.raises(InputError, match="give an image divided by its sum"):
        Picture(pixels, step)
