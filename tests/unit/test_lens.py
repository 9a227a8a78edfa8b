"""The lens: closed forms, and lenstronomy's own solver as oracle."""

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver
from scipy.optimize import brentq

from tandemlens.base.cosmology import COSMOLOGY, efficiency
from tandemlens.sky.images import critical_lines, eigenvalues, einstein_radius, magnification, point_images
from tandemlens.sky.lens import DeflectionField, Lens, dpie, external_shear, nfw_halo, project_prolate
from tandemlens.sky.planes import TwoPlanes

Z_LENS, Z_SOURCE = 0.3, 1.0
ETA = efficiency(Z_LENS, Z_SOURCE)
PIXEL = 0.25


def wright_brainerd(x):
    """g(x) of the NFW deflection (Wright & Brainerd 2000, eq. 13)."""
    inside = np.arccosh(1 / x) / np.sqrt(1 - x**2) if x < 1 else np.arccos(1 / x) / np.sqrt(x**2 - 1)
    return np.log(x / 2) + inside


def sis(theta_e):
    """A singular isothermal sphere for D_ls/D_s = 1 as a dPIE of no core and no edge."""
    sigma = 299792.458 * np.sqrt(theta_e / 206264.806 / (4 * np.pi))
    return dpie(Z_LENS, sigma, 1e-6, 1e7)


def test_the_einstein_radius_of_1000_km_per_s():
    radius = ETA * 4 * np.pi * (1000 / 299792.458) ** 2 * 206264.806
    assert radius == pytest.approx(18.4137, abs=1e-4)
    lens = Lens(Z_LENS, [dpie(Z_LENS, 1000.0, 1e-6, 1e7)])
    assert ETA * lens.deflection(30.0, 0.0)[0] == pytest.approx(radius, rel=1e-4)


@pytest.mark.parametrize("x", [0.05, 0.2, 0.5, 0.9, 1.5, 3.0])
def test_nfw_follows_the_closed_form(x):
    halo = nfw_halo(Z_LENS, 1e15, 5.0)
    lens = Lens(Z_LENS, [halo])
    scale, bend = halo.parameters["Rs"], halo.parameters["alpha_Rs"]
    expected = bend / (1 + np.log(0.5)) * wright_brainerd(x) / x
    assert lens.deflection(x * scale, 0.0)[0] == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    ("mass", "concentration", "radius"),
    [(1e15, 4, 5.6), (1e15, 6, 13.8), (1e15, 8, 20.6), (5e14, 4, 2.0), (5e14, 6, 6.5), (5e14, 8, 11.1)],
)
def test_nfw_einstein_radii(mass, concentration, radius):
    lens = Lens(Z_LENS, [nfw_halo(Z_LENS, mass, concentration)])
    assert brentq(lambda t: ETA * lens.deflection(t, 0.0)[0] - t, 0.1, 60) == pytest.approx(radius, abs=0.06)
    grid = np.arange(-40, 40.01, 0.2)
    alpha = DeflectionField(lens, 42).on_grid(grid, grid)
    tangential, _ = eigenvalues(alpha, 0.2, ETA)
    assert einstein_radius(tangential, 0.2) == pytest.approx(radius, abs=0.1)


def test_images_of_an_isothermal_sphere():
    """Images at beta +- theta_E, magnified by 1 / (1 - theta_E / theta)."""
    lens, grid = Lens(Z_LENS, [sis(12.0)]), np.arange(-30, 30.01, PIXEL)
    alpha = np.array(lens.deflection(grid[None], grid[:, None]))
    theta_e, beta = 12.0 * ETA, 3.0
    _, images, gain = point_images(lens, grid, alpha, [ETA], [(beta, 0.0)])
    strong = np.abs(gain) > 0.01
    np.testing.assert_allclose(images[strong], [[beta + theta_e, 0], [beta - theta_e, 0]], atol=1e-3)
    expected = [1 / (1 - theta_e / (theta_e + beta)), 1 / (1 - theta_e / (theta_e - beta))]
    np.testing.assert_allclose(gain[strong], expected, rtol=1e-3)


def test_many_sources_at_once_are_as_one_by_one():
    rng = np.random.default_rng(5)
    lens, grid = random_lens(rng), np.arange(-40, 40.01, PIXEL)
    alpha = DeflectionField(lens, 41).on_grid(grid, grid)
    sources, bends = rng.normal(0, 6, (12, 2)), rng.uniform(0.3, 0.8, 12)
    owner, images, gain = point_images(lens, grid, alpha, bends, sources)
    assert np.all(np.diff(owner) >= 0)
    for k in range(12):
        _, alone, its_gain = point_images(lens, grid, alpha, bends[[k]], sources[[k]])
        np.testing.assert_allclose(images[owner == k], alone, atol=1e-6)
        np.testing.assert_allclose(gain[owner == k], its_gain, rtol=1e-4)


def test_without_mass_nothing_moves():
    lens, grid = Lens(Z_LENS, []), np.arange(-5, 5.01, 0.5)
    alpha = DeflectionField(lens, 6).on_grid(grid, grid)
    assert np.all(alpha == 0)
    _, images, gain = point_images(lens, grid, alpha, [ETA], [(1.2, -0.7)])
    np.testing.assert_allclose(images, [[1.2, -0.7]], atol=1e-12)
    np.testing.assert_allclose(gain, [1.0])


def test_a_source_in_front_is_not_bent():
    assert efficiency(0.5, 0.4) == 0
    assert efficiency(0.5, 0.5) == 0
    assert 0 < efficiency(0.5, 0.6) < efficiency(0.5, 2.0) < 1


Z_BACK, Z_FAR = 0.7, 2.0


def random_back():
    rng = np.random.default_rng(8)
    halo = nfw_halo(Z_BACK, 4e14, 5.0, 0.7, 1.0, 3.0, -2.0)
    return Lens(Z_BACK, [halo, dpie(Z_BACK, 280.0, 0.05, 10.0, rng.uniform(-0.1, 0.1, 2), 3.0, -2.0)])


def multi_plane(planes, z_source):
    """Model and parameters of lenstronomy, whose strengths are those for the source."""
    masses = [(lens.z, m) for lens in (planes.front, planes.back) for m in lens.masses]
    model = LensModel(
        [m.profile for _, m in masses], multi_plane=True, z_source=z_source, cosmo=COSMOLOGY,
        lens_redshift_list=[z for z, _ in masses],
    )  # fmt: skip
    return model, [scale_strength(m, efficiency(z, z_source)) for z, m in masses]


def random_lens(rng, n_members=8):
    q, area = project_prolate(rng.uniform(0.4, 0.8), np.arccos(rng.uniform()))
    halo = nfw_halo(
        Z_LENS, 10 ** rng.uniform(14.5, 15.2), rng.uniform(4, 8), q, rng.uniform(0, np.pi),
        *rng.normal(0, 0.5, 2), area=area,
    )  # fmt: skip
    bcg = dpie(Z_LENS, rng.uniform(250, 350), 0.1, rng.uniform(5, 15), rng.uniform(-0.1, 0.1, 2))
    members = [
        dpie(
            Z_LENS, rng.uniform(60, 220), 0.05, rng.uniform(0.5, 6), rng.uniform(-0.1, 0.1, 2), *rng.uniform(-25, 25, 2)
        )
        for _ in range(n_members)
    ]
    return Lens(Z_LENS, [halo, bcg, *members, external_shear(*rng.normal(0, 0.03, 2))])


def test_the_field_is_the_exact_deflection():
    rng = np.random.default_rng(1)
    axis = np.sort(rng.uniform(-30, 30, 90))
    for _ in range(5):
        lens = random_lens(rng, 20)
        found = DeflectionField(lens, 32).on_grid(axis, axis)
        exact = np.array(lens.deflection(axis[None], axis[:, None]))
        assert np.abs(found - exact).max() < 1e-3


def test_images_agree_with_the_solver_of_lenstronomy():
    """200 random systems: every image brighter than the source, within half a pixel and five per cent."""
    rng = np.random.default_rng(2)
    grid = np.arange(-45, 45.01, PIXEL)
    compared = 0
    for _ in range(200):
        lens = random_lens(rng, 4)
        source = rng.normal(0, 4, 2)
        alpha = DeflectionField(lens, 46).on_grid(grid, grid)
        _, images, gain = point_images(lens, grid, alpha, [ETA], [source])
        model = LensModel([m.profile for m in lens.masses])
        scaled = [scale_strength(m) for m in lens.masses]
        x, y = LensEquationSolver(model).image_position_from_source(
            *source, scaled, min_distance=0.5, search_window=90, precision_limit=1e-10, num_iter_max=200
        )
        theirs = model.magnification(x, y, scaled)
        for place, mu in zip(np.column_stack([x, y]), theirs, strict=True):
            # neighbours of a critical line magnify without bound and merge within rounding
            if not 1 < abs(mu) < 50:
                continue
            nearest = np.argmin(np.hypot(*(images - place).T))
            assert np.hypot(*(images[nearest] - place)) < PIXEL / 2
            assert gain[nearest] == pytest.approx(mu, rel=0.05)
            compared += 1
    assert compared > 250


def scale_strength(mass, eta=ETA):
    strength = {
        "NFW_ELLIPSE_CSE": ("alpha_Rs",),
        "PJAFFE_ELLIPSE_POTENTIAL": ("sigma0",),
        "SHEAR": ("gamma1", "gamma2"),
    }
    parameters = dict(mass.parameters)
    for name in strength[mass.profile]:
        parameters[name] *= eta
    return parameters


@pytest.mark.filterwarnings("ignore:Cosmology is provided")
def test_two_planes_at_one_redshift_are_one_plane():
    halo, bcg = nfw_halo(Z_LENS, 8e14, 6.0, q=0.8), dpie(Z_LENS, 300.0, 0.1, 10.0)
    model = LensModel(
        [halo.profile, bcg.profile], multi_plane=True, z_source=Z_SOURCE, lens_redshift_list=[Z_LENS] * 2,
        cosmo=COSMOLOGY,
    )  # fmt: skip
    x, y = np.array([5.0, -8.0]), np.array([3.0, 11.0])
    many = model.ray_shooting(x, y, [scale_strength(halo), scale_strength(bcg)])
    alpha = Lens(Z_LENS, [halo, bcg]).deflection(x, y)
    np.testing.assert_allclose(many, [x - ETA * alpha[0], y - ETA * alpha[1]], atol=1e-9)


@pytest.mark.filterwarnings("ignore:Cosmology is provided")
def test_two_planes_are_those_of_lenstronomy():
    rng = np.random.default_rng(11)
    planes = TwoPlanes(random_lens(rng, 4), random_back(), Z_FAR)
    model, parameters = multi_plane(planes, Z_FAR)
    x, y = rng.uniform(-40, 40, (2, 300))
    alpha = planes.deflection(x, y)
    np.testing.assert_allclose([x - alpha[0], y - alpha[1]], model.ray_shooting(x, y, parameters), atol=1e-8)
    # their derivatives are finite differences: twice the place, once the size of the step
    expected = 1 / model.magnification(x, y, parameters)
    found = 1 / magnification(planes, 1.0, np.column_stack([x, y]))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Cosmology is provided")
def test_images_through_two_planes_agree_with_the_solver_of_lenstronomy():
    rng = np.random.default_rng(12)
    grid = np.arange(-45, 45.01, PIXEL)
    compared = 0
    for _ in range(6):
        planes = TwoPlanes(random_lens(rng, 3), random_back(), Z_FAR)
        source = rng.normal(0, 3, 2)
        alpha = planes.on_grid(DeflectionField(planes.front, 46), DeflectionField(planes.back, 46), grid, grid)
        _, images, gain = point_images(planes, grid, alpha, np.ones(1), [source])
        shot = images - np.column_stack(planes.deflection(*images.T))
        np.testing.assert_allclose(shot, np.tile(source, (len(images), 1)), atol=1e-4)
        model, parameters = multi_plane(planes, Z_FAR)
        x, y = LensEquationSolver(model).image_position_from_source(
            *source, parameters, min_distance=0.5, search_window=90, precision_limit=1e-10, num_iter_max=200
        )
        theirs = model.magnification(x, y, parameters)
        for place, mu in zip(np.column_stack([x, y]), theirs, strict=True):
            if not 1 < abs(mu) < 50:
                continue
            nearest = np.argmin(np.hypot(*(images - place).T))
            assert np.hypot(*(images[nearest] - place)) < 1e-3
            assert gain[nearest] == pytest.approx(mu, rel=0.01)
            compared += 1
    assert compared >= 6


def test_two_planes_at_one_redshift_are_their_sum():
    rng = np.random.default_rng(13)
    one, two = random_lens(rng, 2), random_lens(rng, 2)
    planes, both = TwoPlanes(one, two, Z_SOURCE), Lens(Z_LENS, [*one.masses, *two.masses])
    x, y = rng.uniform(-30, 30, (2, 50))
    np.testing.assert_allclose(planes.deflection(x, y), ETA * np.array(both.deflection(x, y)), atol=1e-9)
    np.testing.assert_allclose(planes.jacobian(x, y), ETA * both.jacobian(x, y), atol=1e-9)


def test_a_source_between_the_planes_sees_the_first_alone():
    front = random_lens(np.random.default_rng(14), 2)
    planes = TwoPlanes(front, random_back(), 0.5)
    expected = efficiency(Z_LENS, 0.5) * np.array(front.deflection(4.0, -7.0))
    np.testing.assert_allclose(planes.deflection(4.0, -7.0), expected, atol=1e-12)


def test_the_second_plane_on_a_grid_is_the_exact_one():
    rng = np.random.default_rng(15)
    axis = np.arange(-30, 30.01, 0.3)
    for _ in range(3):
        planes = TwoPlanes(random_lens(rng, 5), random_back(), Z_FAR)
        found = planes.on_grid(DeflectionField(planes.front, 32), DeflectionField(planes.back, 32), axis, axis)
        exact = planes.deflection(axis[None], axis[:, None])
        # an error of the first plane, below 1e-3, moves the ray on the second
        assert np.abs(found - exact).max() < 2e-3
        alpha = np.array(planes.front.deflection(axis[None], axis[:, None]))
        second = planes.second_on_grid(DeflectionField(planes.back, 32), axis, axis, alpha)
        between = efficiency(Z_LENS, Z_BACK)
        place = axis[None] - between * alpha[0], axis[:, None] - between * alpha[1]
        assert np.abs(second - planes.back.deflection(*place)).max() < 1e-3


def test_the_order_of_planes_is_checked():
    with pytest.raises(ValueError, match=r"back lens at z = 0\.3 is nearer than the front lens at z = 0\.7"):
        TwoPlanes(random_back(), Lens(Z_LENS, []), Z_FAR)


def test_a_prolate_halo_keeps_its_mass():
    """Far out the deflection is the sphere's; pointing at us it is stronger near the centre."""
    sphere = Lens(Z_LENS, [nfw_halo(Z_LENS, 1e15, 5.0)])
    near = []
    for inclination in (0.0, 0.8, np.pi / 2):
        q, area = project_prolate(0.5, inclination)
        lens = Lens(Z_LENS, [nfw_halo(Z_LENS, 1e15, 5.0, q, area=area)])
        ring = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        for radius, store in ((5.0, near), (2e4, None)):
            x, y = radius * np.cos(ring), radius * np.sin(ring)
            inward = [
                np.mean(np.cos(ring) * a + np.sin(ring) * b)
                for a, b in (lens.deflection(x, y), sphere.deflection(x, y))
            ]
            if store is None:
                assert inward[0] == pytest.approx(inward[1], rel=0.06)
            else:
                store.append(inward[0] / inward[1])
    assert near[0] > 1.15 > 1 > near[2]
    assert project_prolate(0.5, 0.0)[0] == pytest.approx(1.0)
    assert project_prolate(0.5, np.pi / 2)[0] == pytest.approx(0.5)


def test_magnification_diverges_on_the_critical_lines():
    lens, grid = random_lens(np.random.default_rng(3)), np.arange(-40, 40.01, 0.1)
    alpha = DeflectionField(lens, 41).on_grid(grid, grid)
    tangential, _ = eigenvalues(alpha, 0.1, ETA)
    line = max(critical_lines(tangential, grid), key=len)
    assert np.median(np.abs(1 / magnification(lens, ETA, line))) < 2e-3


def test_a_galaxy_needs_a_core_inside_its_edge():
    with pytest.raises(ValueError, match=r"core 2\.0 arcsec must lie between 0 and its cut 1\.0"):
        dpie(0.3, 200.0, 2.0, 1.0)


def crowd(rng, n):
    """Galaxies of all ellipticities around a halo, in the shear of what surrounds them."""
    sigma, cut, e = rng.uniform(50, 300, n), rng.uniform(2, 20, n), rng.uniform(-0.2, 0.2, (n, 2))
    places = rng.uniform(-60, 60, (n, 2))
    galaxies = [dpie(0.3, sigma[k], 0.05, cut[k], tuple(e[k]), *places[k]) for k in range(n)]
    return [*galaxies, nfw_halo(0.3, 5e14, 4, 0.8, 0.3, 1.0, -2.0), external_shear(0.02, -0.03)]


@pytest.mark.parametrize(("n_galaxies", "n_points"), [(130, 5), (130, 1000), (1, 40), (0, 40)])
def test_all_masses_at_once_are_those_of_lenstronomy(n_galaxies, n_points):
    rng = np.random.default_rng(5)
    masses = crowd(rng, n_galaxies)
    lens, theirs = Lens(0.3, masses), LensModel([m.profile for m in masses])
    x, y = rng.uniform(-60, 60, (2, n_points))
    # the centre of a mass, where distance vanishes
    x[0], y[0] = (masses[0].parameters[f"center_{axis}"] for axis in "xy")
    parameters = [m.parameters for m in masses]
    assert np.allclose(lens.deflection(x, y), theirs.alpha(x, y, parameters), rtol=0, atol=1e-11)
    # lenstronomy takes one-sided differences
    assert np.allclose(
        lens.jacobian(x, y), np.reshape(theirs.hessian(x, y, parameters), (2, 2, -1)).transpose(2, 0, 1), atol=1e-4
    )


def test_round_galaxies_have_the_closed_form_of_lenstronomy():
    masses = [dpie(0.3, sigma, 0.1, 8.0, x=x) for sigma, x in ((120, -3.0), (220, 4.0))]
    x, y = np.random.default_rng(6).uniform(-20, 20, (2, 200))
    parameters = [{k: v for k, v in m.parameters.items() if not k.startswith("e")} for m in masses]
    exact = LensModel(["PJAFFE", "PJAFFE"]).hessian(x, y, parameters)
    assert np.allclose(Lens(0.3, masses).jacobian(x, y).reshape(-1, 4).T, exact, rtol=0, atol=1e-12)
