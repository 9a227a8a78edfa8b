"""The class and label of a system, case by case (DESIGN section 6)."""

import numpy as np
import pandas as pd
import pytest

from sites import galaxy, scene, site
from tandemlens.base.cosmology import efficiency
from tandemlens.sky.classes import System, classed
from tandemlens.sky.lens import Lens, Mass, dpie, external_shear
from tandemlens.sky.scene import Scene, Second

STRONG, WEAK = (4.0, 1.0), (22.0, 5.0)


def second(galaxies, z=1.0):
    return Second(z, 30.0, 0.0, galaxies, Lens(z, []))


def behind(*places, flux=3000.0):
    return [galaxy("behind", *place, 1.0, flux) for place in places]


def found(system, **kwargs):
    return classed(scene(**kwargs), system)


def test_two_lensed_and_seen_members_make_a_tandem():
    members = behind(STRONG, (-3.0, 2.0))
    system = found(System(members, second(members)))
    assert system.found == "tandem"
    assert system.why == "strongly lensed above S/N 5: 2 members of a second cluster, 0 others"
    assert (system.census["n_images"] == 2).all()
    assert (system.census["snr"] > 5).all()


@pytest.mark.parametrize(
    "members",
    [
        behind(STRONG),
        behind(STRONG, WEAK),
        behind(WEAK, (-25.0, 0.0)),
        behind(STRONG) + behind((-3.0, 2.0), flux=5.0),
    ],
    ids=["one member", "one of two is not lensed", "none is lensed", "one of two is not seen"],
)
def test_fewer_than_two_make_a_projection(members):
    assert found(System(members, second(members))).found == "projected"


def test_members_of_two_redshifts_are_no_tandem():
    """A lensed field galaxy does not count for the second cluster."""
    members = behind(STRONG)
    system = found(System([*members, galaxy("field", -3.0, 2.0, 1.4)], second(members)))
    assert system.found == "projected"
    assert "1 others" in system.why


@pytest.mark.parametrize(
    ("kappa", "gamma", "strong"), [(0.45, 0.35, True), (0.55, 0.0, False), (0.0, 0.55, False), (0.3, 0.3, False)]
)
def test_one_image_counts_if_magnified_and_stretched(kappa, gamma, strong):
    """Magnification 1 / (a b) and stretch b / a with a, b = 1 - kappa -+ gamma: above 3 and at least 3."""
    eta = efficiency(0.3, 1.0)
    sheet = Mass("CONVERGENCE", {"kappa": kappa / eta, "ra_0": 0.0, "dec_0": 0.0}, False)
    sky = Scene(Lens(0.3, [sheet, external_shear(gamma / eta, 0.0)]), [], {}, site())
    summary, images = sky.lensed_images(behind((1.0, 0.5)))
    a, b = 1 - kappa - gamma, 1 - kappa + gamma
    assert summary["n_images"].iloc[0] == 1
    assert summary["gain"].iloc[0] == pytest.approx(1 / (a * b), rel=1e-6)
    assert summary["stretch"].iloc[0] == pytest.approx(b / a, rel=1e-6)
    assert summary["strong"].iloc[0] == strong
    np.testing.assert_allclose(images[["x", "y"]].iloc[0], [1.0 / a, 0.5 / b], atol=1e-6)


def test_one_lensed_field_galaxy_makes_a_single_arc():
    assert found(System([galaxy("source", *STRONG, 1.0)])).found == "single_arc"
    assert found(System([galaxy("source", *STRONG, 1.0, flux=5.0)])).found == "members"
    assert found(System([galaxy("source", *WEAK, 1.0)])).found == "members"


def test_a_lensed_galaxy_of_the_canvas_counts():
    assert found(System([]), galaxies=[galaxy("field", *STRONG, 1.0)]).found == "single_arc"


def test_galaxies_in_front_are_not_lensed():
    system = found(System([galaxy("added", *STRONG, 0.3), galaxy("added", 1.0, 1.0, 0.2)]))
    assert system.found == "members"
    assert not system.census["strong"].any()


def test_contaminants_and_artefacts_are_named_whatever_else_is_there():
    arc = galaxy("source", *STRONG, 1.0)
    assert found(System([galaxy("spiral", 3.0, 3.0, 0.2), arc])).found == "spiral_ring_merger"
    trail = ("trail", np.zeros((2, 160, 160)), np.zeros((2, 160, 160), bool))
    assert found(System([arc], artefact=trail)).found == "artefact"


def test_an_empty_canvas_is_members_only():
    system = found(System([]))
    assert system.found == "members"
    assert not len(system.census)
    assert not len(system.images)


@pytest.mark.parametrize("massive", [False, True])
def test_a_census_taken_once_a_canvas_is_that_of_every_system(massive):
    """What a second mass may image is looked at anew, near and far from it, and S/N is that of the light as bent."""
    rng = np.random.default_rng(4)
    # a mass in the corner lenses beyond those 25 arcsec within which a second cluster may add images
    lens = Lens(0.3, [dpie(0.3, sigma, 1e-4, 1e5, x=x, y=x) for sigma, x in ((500.0, 0.0), (600.0, 22.0))])
    places, redshifts = rng.uniform(-20, 20, (80, 2)), rng.uniform(0.2, 2.5, 80)
    places[:9], redshifts[:9] = np.mgrid[17:21:1.5, 17:21:1.5].reshape(2, -1).T, 1.5
    field = [galaxy("field", *place, z) for place, z in zip(places, redshifts, strict=True)]
    masses = [dpie(1.0, 700.0, 1e-4, 1e5, x=5.0)] if massive else []
    members = behind(STRONG, (-3.0, 2.0))
    back = Second(1.0, 100.0, 0.0, members, Lens(1.0, masses))
    sky = Scene(lens, field, {}, site())
    before = classed(sky, System([galaxy("source", *STRONG, 1.0)]))
    system = classed(sky, System(members, back))
    after = classed(sky, System([galaxy("source", *STRONG, 1.0)]))
    pd.testing.assert_frame_equal(before.census, after.census)
    everything = [*field, *members]
    census, images = sky.lensed_images(everything, back)
    pd.testing.assert_frame_equal(system.census.drop(columns="snr"), census)
    strong = np.flatnonzero(census["strong"])
    assert any(np.hypot(*places[k]) > 25 and redshifts[k] > 1 for k in strong if k < 80)
    assert set(system.lights) == set(strong)
    light = [sky.site.lensed_light(everything[k], *sky.bending(everything[k].z, back))[0] for k in strong]
    np.testing.assert_allclose(system.census["snr"][strong], list(map(sky.site.ideal_snr, light)))
    expected = images[images["source"].isin(strong)].sort_values("source", kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(system.images.sort_values("source", kind="stable", ignore_index=True), expected)


def test_a_second_cluster_bends_what_lies_behind_it():
    massive = Second(1.0, 100.0, 0.0, [], Lens(1.0, [dpie(1.0, 900.0, 1e-4, 1e5, x=5.0)]))
    sky = scene()
    far, near = galaxy("field", *STRONG, 2.0), galaxy("field", *STRONG, 0.8)
    alone, bent = (sky.lensed_images([far, near], s)[1] for s in (None, massive))
    moved = [bent[bent["source"] == k]["x"].iloc[0] - alone[alone["source"] == k]["x"].iloc[0] for k in (0, 1)]
    assert abs(moved[0]) > 0.5
    assert moved[1] == 0
