"""Views keep colours, noise is unbiased, and what is invalid never leaks."""

import math

import numpy as np
import pytest
import torch
import yaml

from places import ROOT
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.learn.views import Views, plain_view, turn_directions

S, BANDS, N = 48, 3, 24
SCHEMA = ROOT / "config/schemas/views.schema.yaml"
FULL = validate_settings({}, load_schema(SCHEMA))
OFF = {"dihedral": False, "rotation": False, "shift_pixels": 0, "blur_pixels": 0}
OFF |= {"noise": 1, "background": 0, "band_dropout": 0}
#: one operation each, stronger than the default, and all that draw nothing for a band of its own
KEEPING = {
    "dihedral": {"dihedral": True},
    "rotation": {"rotation": True},
    "shift": {"shift_pixels": 2},
    "blur": {"blur_pixels": 2},
    "noise": {"noise": 4},
    "background": {"background": 1},
    "together": {"dihedral": True, "rotation": True, "shift_pixels": 2, "blur_pixels": 2},
}


def views(seed=0, **cfg):
    return Views({**OFF, **cfg}, torch.Generator().manual_seed(seed))


def source(n=N, ratios=(1.0, 2.0, 5.0), sigma=1.7, long=2.0, place=(0.0, 0.0)):
    """A noiseless elongated source of known colour near the centre of every stamp."""
    y, x = np.mgrid[:S, :S] - (S - 1) / 2
    profile = np.exp(-0.5 * (((x - place[0]) / (sigma * long)) ** 2 + ((y - place[1]) / sigma) ** 2))
    flux = torch.from_numpy(np.asarray(ratios)[:, None, None] * 20 * profile).float()
    return flux.asinh().expand(n, len(ratios), S, S).clone()


def quiet(flux, sigma=0.0):
    return torch.full(flux.shape, sigma), torch.ones(flux.shape, dtype=torch.bool)


def aperture(x, radius=14):
    grid = torch.arange(S) - (S - 1) / 2
    inside = grid[:, None] ** 2 + grid**2 <= radius**2
    return (x.sinh() * inside).sum((-2, -1))


def colours(x):
    return -2.5 * torch.log10(aperture(x)[:, 1:] / aperture(x)[:, :-1])


@pytest.mark.parametrize("name", KEEPING)
def test_colours_of_noiseless_sources_are_kept(name):
    flux = source()
    out = views(**KEEPING[name])(flux, *quiet(flux))
    assert (colours(out.x) - colours(flux)).abs().max() < 0.005
    assert out.x.shape == flux.shape
    assert out.valid.shape == flux.shape
    assert torch.isfinite(out.x).all()


@pytest.mark.parametrize("name", ["dihedral", "rotation", "shift"])
def test_colours_are_kept_where_bands_differ_in_shape(name):
    # a worse PSF does move light across the edge of an aperture then, as it does on the sky
    flux = torch.cat([source(ratios=(1.0,), long=1.0), source(ratios=(2.0,), long=2.5)], 1)
    out = views(**KEEPING[name])(flux, *quiet(flux))
    assert (colours(out.x) - colours(flux)).abs().max() < 0.005


def test_colours_are_kept_from_the_file_on():
    flux = source().half()
    out = plain_view(flux, *quiet(flux))
    assert (colours(out.x) - colours(source())).abs().max() < 0.005


@pytest.mark.parametrize("cfg", [{"noise": 3}, {"background": 1}, {"noise": 2, "background": 0.3}])
def test_noise_is_unbiased(cfg):
    flux = source(1500)
    out = views(**cfg)(flux, *quiet(flux, 0.05))
    shift = (colours(out.x) - colours(flux)).double()
    assert (shift.mean(0).abs() < 3 * shift.std(0) / math.sqrt(len(flux))).all()
    assert (shift.std(0) > 1e-4).all()


def test_noise_grows_by_the_factor_that_was_drawn():
    flux = torch.zeros(1500, 2, S, S)
    out = views(noise=2.0)(flux, *quiet(flux, 0.5)).x.sinh()
    # k is uniform in 1..2, and E(k^2 - 1) = 4/3
    assert float(out.square().mean()) == pytest.approx(0.25 * 4 / 3, rel=0.03)
    level = views(background=0.4)(flux, *quiet(flux, 0.5)).x.sinh()
    assert level.std((2, 3)).max() < 1e-6
    assert float(level.mean((2, 3)).std()) == pytest.approx(0.2, rel=0.05)


def test_dihedral_is_exact_and_gives_all_eight():
    flux = torch.randn(400, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    flux = flux[:1].expand(400, -1, -1, -1)
    out = views(dihedral=True)(flux, *quiet(flux)).x
    group = {p.numpy().round(4).tobytes() for p in out}
    expected = [torch.rot90(f, k, (-2, -1)) for f in (flux[0], flux[0].flip(-1)) for k in range(4)]
    assert group == {p.sinh().asinh().numpy().round(4).tobytes() for p in expected}


@pytest.mark.parametrize("cfg", [{"dihedral": True}, {"rotation": True}, {"dihedral": True, "rotation": True}])
def test_directions_turn_as_the_pixels_do(cfg):
    flux = source(place=(12.0, 5.0), long=1.0)
    out = views(**cfg)(flux, *quiet(flux))
    grid = torch.arange(S) - (S - 1) / 2
    light = out.x.sinh().sum(1)
    seen = torch.stack([(light.sum(1) * grid).sum(1), (light.sum(2) * grid).sum(1)], 1) / light.sum((1, 2))[:, None]
    geometry = torch.tensor([[7.0, 12.0, 5.0]]).expand(N, 3)
    turned = turn_directions(geometry, ("radius", "cos_azimuth", "sin_azimuth"), out.turn)
    assert (turned[:, 1:] - seen).abs().max() < 0.1
    assert (turned[:, 0] == 7).all()
    assert (out.turn @ out.turn.mT - torch.eye(2)).abs().max() < 1e-5


def test_a_system_turns_as_one():
    flux = source()
    group = torch.arange(N) // 6
    turn = views(dihedral=True, rotation=True)(flux, *quiet(flux), group).turn
    for number in range(4):
        assert (turn[group == number] == turn[6 * number]).all()
    assert len({t.numpy().tobytes() for t in turn}) == 4


def test_shift_is_at_most_as_asked():
    flux = source(200, long=1.0)
    out = views(shift_pixels=1.5)(flux, *quiet(flux)).x.sinh().sum(1)
    grid = torch.arange(S) - (S - 1) / 2
    seen = torch.stack([(out.sum(1) * grid).sum(1), (out.sum(2) * grid).sum(1)]) / out.sum((1, 2))
    assert 1.3 < seen.abs().max() < 1.52
    assert seen.mean(1).abs().max() < 0.25


def test_blur_widens_by_what_was_drawn():
    flux = source(200, long=1.0)
    out = views(blur_pixels=2.0)(flux, *quiet(flux)).x.sinh().sum(1)
    grid = torch.arange(S) - (S - 1) / 2
    added = (out.sum(1) * grid**2).sum(1) / out.sum((1, 2)) - 1.7**2
    # sigma is uniform in 0..2
    assert added.min() > -0.01
    assert added.max() < 4.05
    assert float(added.clamp(min=0).sqrt().mean()) == pytest.approx(1, abs=0.15)
    assert out.sum((1, 2)) == pytest.approx(flux.sinh().sum((1, 2, 3)), rel=1e-3)


@pytest.mark.parametrize("poison", [1e4, math.nan, math.inf])
@pytest.mark.parametrize("cfg", [*KEEPING.values(), {}])
def test_invalid_pixels_stay_invalid_and_never_leak(cfg, poison):
    flux = source(long=1.0)
    sigma, mask = quiet(flux, 0.1)
    mask[:, :, 20:23, 5:9] = False
    poisoned = torch.where(mask, flux, poison)
    one, other = (views(**cfg)(f, sigma, mask) for f in (flux, poisoned))
    assert torch.equal(one.valid, other.valid)
    assert torch.equal(one.x, other.x)
    assert torch.isfinite(other.x).all()
    assert not other.x[~other.valid].any()
    # the hole is still there, wherever it was turned
    assert ((~other.valid).sum((2, 3)) >= 12).all()


def test_resampling_keeps_the_inside_valid():
    flux = source()
    valid = views(rotation=True, shift_pixels=1)(flux, *quiet(flux)).valid
    grid = torch.arange(S) - (S - 1) / 2
    assert valid[:, :, grid[:, None] ** 2 + grid**2 < (S / 2 - 4) ** 2].all()


def test_values_that_are_no_numbers_are_invalid():
    flux = source()
    sigma, mask = quiet(flux, 0.1)
    flux[0, 0, 3, 3], sigma[1, 1, 4, 4] = math.nan, math.inf
    for out in (views()(flux, sigma, mask), plain_view(flux, sigma, mask)):
        assert not out.valid[0, 0, 3, 3]
        assert not out.valid[1, 1, 4, 4]
        assert out.valid.sum() == flux.numel() - 2
        assert torch.isfinite(out.x).all()


def test_dropped_bands_are_masked_and_one_is_left():
    flux = source(2000)
    sigma, mask = quiet(flux, 0.1)
    mask[:, 0] = False
    out = views(band_dropout=0.5)(flux, sigma, mask)
    kept = out.valid.any(3).any(2)
    assert torch.equal(kept, out.valid.all(3).all(2))
    assert not kept[:, 0].any()
    assert kept.any(1).all()
    # of two bands both are kept a quarter of the time
    assert float(kept.all(1).float().mean()) == 0
    assert float(kept[:, 1:].all(1).float().mean()) == pytest.approx(0.25, abs=0.04)
    assert not out.x[~out.valid].any()


def test_stamps_without_a_valid_pixel_come_out_empty():
    flux = source()
    sigma, mask = quiet(flux, 0.1)
    out = Views(FULL, torch.Generator().manual_seed(1))(flux, sigma, torch.zeros_like(mask))
    assert not out.valid.any()
    assert not out.x.any()


def test_views_follow_from_the_state_of_the_generator_alone():
    flux = source()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    draw = Views(FULL, torch.Generator().manual_seed(3))
    first = draw(flux, *quiet(flux, 0.1))
    state = draw.generator.get_state()
    second = draw(flux, *quiet(flux, 0.1))
    draw.generator.set_state(state)
    assert torch.equal(draw(flux, *quiet(flux, 0.1)).x, second.x)
    assert not torch.equal(first.x, second.x)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_that_alters_colours_or_zooms_can_be_asked_for():
    schema = yaml.safe_load(SCHEMA.read_text())
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(OFF)
