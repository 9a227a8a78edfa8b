"""Noise, sampling and kept pixels of the diffusion of stamps against closed forms."""

import numpy as np
import pytest
import torch

from tandemlens.base.errors import InputError
from tandemlens.learn.diffusion import (
    STEPS,
    Denoiser,
    Sampling,
    denoising_loss,
    mixed_bottleneck,
    noise_schedule,
    sample,
)

PLAIN = Sampling(steps=20, eta=1.0, guidance=1.0, mix=1.0, resample=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def denoiser(seed=0):
    torch.manual_seed(seed)
    return Denoiser(2, 16, 3, (8, 16), 2).eval()


@pytest.mark.parametrize("step", [100, 500, 900])
def test_forward_noise_has_its_moments(step):
    schedule, x = noise_schedule(), torch.full((20000,), 1.5)
    noised = schedule.add_noise(x, torch.randn(20000, generator=generator()), torch.tensor([step]))
    kept = schedule.alphas_cumprod[step]
    assert noised.mean().item() == pytest.approx(float(kept.sqrt() * 1.5), abs=0.02)
    assert noised.var().item() == pytest.approx(float(1 - kept), rel=0.03, abs=1e-3)


def test_the_last_step_is_noise_alone_and_the_first_almost_none():
    kept = noise_schedule().alphas_cumprod
    assert len(kept) == STEPS
    assert kept[-1] < 1e-8
    assert kept[0] > 0.999
    assert (kept.diff() < 0).all()


def exact_velocity(mean, spread):
    """The best prediction for data of a Gaussian: v = sqrt(a) E[noise | x] - sqrt(1 - a) E[x0 | x]."""
    kept = noise_schedule().alphas_cumprod.double()

    def predict(x, step, condition):
        a = kept[step].reshape(-1, 1, 1, 1)
        variance = a * spread**2 + 1 - a
        first = mean + a.sqrt() * spread**2 / variance * (x - a.sqrt() * mean)
        noise = (1 - a).sqrt() / variance * (x - a.sqrt() * mean)
        return (a.sqrt() * noise - (1 - a).sqrt() * first).float()

    return predict


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_gaussian_comes_back_by_its_exact_score(eta):
    settings = Sampling(steps=100, eta=eta, guidance=1, mix=1, resample=1)
    found = sample(exact_velocity(2.0, 0.5), torch.zeros(4000, 1), (1, 1, 1), settings, generator(1))
    assert found.mean().item() == pytest.approx(2.0, abs=0.03)
    assert found.std().item() == pytest.approx(0.5, rel=0.04)


def test_kept_pixels_are_the_anchors_and_the_others_are_not():
    known = torch.randn(3, 2, 16, 16, generator=generator(2))
    keep = torch.zeros(3, 2, 16, 16, dtype=torch.bool)
    keep[:, :, 4:9, 5:11] = True
    settings = Sampling(steps=4, eta=1, guidance=1, mix=0.1, resample=2)
    found = sample(denoiser(), torch.zeros(3, 3), (2, 16, 16), settings, generator(3), known, keep)
    assert torch.equal(found[keep], known[keep])
    assert (found[~keep] != known[~keep]).all()


def test_what_is_new_fits_what_is_kept_the_better_the_more_often_steps_are_taken():
    """Two pixels of a Gaussian of correlation 0.9: kept the one, the other should follow."""
    known = torch.randn(3000, 1, 1, 2, generator=generator(4))
    keep = torch.zeros_like(known, dtype=torch.bool)
    keep[..., 0] = True
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]]).double()
    kept = noise_schedule().alphas_cumprod.double()

    def predict(x, step, condition):
        a = kept[step[0]]
        solved = torch.linalg.inv(a * covariance + (1 - a) * torch.eye(2)) @ x.double().reshape(-1, 2).T
        first, noise = a.sqrt() * covariance @ solved, (1 - a).sqrt() * solved
        return (a.sqrt() * noise - (1 - a).sqrt() * first).T.reshape(x.shape).float()

    found = []
    for again in (1, 8):
        settings = Sampling(steps=25, eta=1, guidance=1, mix=1, resample=again)
        new = sample(predict, torch.zeros(3000, 1), (1, 1, 2), settings, generator(5), known, keep)
        found.append(torch.corrcoef(new.reshape(-1, 2).T)[0, 1].item())
    assert found[0] < found[1] < 0.95
    assert found[1] > 0.8


def test_guidance_of_zero_ignores_the_condition_and_of_one_takes_it():
    def told(x, step, condition):
        return torch.where(condition.isnan(), 0.0, condition)[:, :, None, None] + 0 * x

    def by(guidance, condition=2.0):
        settings = Sampling(steps=3, eta=0, guidance=guidance, mix=1, resample=1)
        return sample(told, torch.full((2, 1), condition), (1, 2, 2), settings, generator())

    nothing = by(1, torch.nan)
    torch.testing.assert_close(by(0), nothing)
    shift = by(1) - nothing
    assert (shift.abs() > 0.1).all()
    torch.testing.assert_close(by(2) - nothing, 2 * shift, rtol=1e-4, atol=1e-4)


def bottlenecks(network, share, x, anchor, step):
    seen = []
    with mixed_bottleneck(network, share):
        hook = network.unet.mid_block.register_forward_hook(lambda module, given, out: seen.append(out))
        network(torch.cat([x, anchor]), torch.full((len(x) * 2,), step), torch.zeros(len(x) * 2, 3))
        hook.remove()
    return seen[0].chunk(2)


@pytest.mark.parametrize("step", [10, 500, 990])
@torch.no_grad()
def test_the_bottleneck_is_the_anchors_at_share_zero_and_its_own_at_one(step):
    network = denoiser()
    x, anchor = (torch.randn(2, 2, 16, 16, generator=generator(k)) for k in (1, 2))
    own, of_anchor = bottlenecks(network, None, x, anchor, step)
    for share, expected in ((0.0, of_anchor), (1.0, own), (0.3, 0.3 * own + 0.7 * of_anchor)):
        mixed, unmoved = bottlenecks(network, share, x, anchor, step)
        torch.testing.assert_close(mixed, expected)
        torch.testing.assert_close(unmoved, of_anchor)


def test_at_share_one_the_anchor_is_ignored():
    anchor = torch.randn(2, 2, 16, 16, generator=generator(1))
    found = [
        sample(denoiser(), torch.zeros(2, 3), (2, 16, 16), PLAIN, generator(), anchor=a) for a in (anchor, -anchor)
    ]
    torch.testing.assert_close(*found)
    mixing = Sampling(steps=20, eta=1, guidance=1, mix=0.0, resample=1)
    found = [
        sample(denoiser(), torch.zeros(2, 3), (2, 16, 16), mixing, generator(), anchor=a) for a in (anchor, -anchor)
    ]
    assert not torch.allclose(*found)


def test_pixels_that_are_not_valid_are_not_learnt():
    network, schedule = denoiser(), noise_schedule()
    x, valid = torch.randn(4, 2, 16, 16, generator=generator()), torch.ones(4, 2, 16, 16, dtype=torch.bool)
    valid[:, 0] = False

    # a network that is right about the valid band alone has no loss
    class Right(torch.nn.Module):
        def forward(self, noised, step, condition):
            draws = generator(7)
            noise = torch.randn(x.shape, generator=draws)
            exact = schedule.get_velocity(x, noise, step)
            return torch.where(valid, exact, 99.0)

    assert denoising_loss(Right(), schedule, x, valid, torch.zeros(4, 3), generator(7)).item() == 0
    assert denoising_loss(network, schedule, x, ~valid & False, torch.zeros(4, 3), generator()).item() == 0


def test_what_is_unknown_is_told_as_such():
    network, x = denoiser(), torch.zeros(3, 2, 16, 16)
    condition = torch.tensor([[0.0, 1, 2], [torch.nan, 1, 2], [torch.nan] * 3])
    found = network(x, torch.full((3,), 500), condition)
    assert torch.isfinite(found).all()
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize(
    ("name", "value"), [("guidance", 2.5), ("guidance", -1), ("mix", 1.1), ("eta", -0.1), ("steps", 0)]
)
def test_sampling_out_of_range_is_refused(name, value):
    with pytest.raises(InputError, match=rf"{name} \S+ of the sampling of stamps is outside \["):
        Sampling(**{**vars(PLAIN), name: value})


def test_stamps_that_cannot_be_folded_are_refused():
    with pytest.raises(InputError, match=r"stamps of 18 pixels cannot be halved .* to a multiple of 4"):
        Denoiser(2, 18, 3, (8, 16), 2)


def test_one_seed_one_sample():
    one, two, other = (sample(denoiser(), torch.zeros(2, 3), (2, 16, 16), PLAIN, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not np.allclose(one, other)
