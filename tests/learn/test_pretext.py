"""Losses of self-supervised learning against their closed forms."""

import copy
import math
from itertools import combinations

import numpy as np
import pytest
import torch

from tandemlens.base.errors import InputError
from tandemlens.learn.encoders import create_encoder
from tandemlens.learn.pretext import (
    METHODS,
    PretextSettings,
    agreement,
    contrast,
    create_pretext,
    pair_means,
    positive_term,
    quarters,
    random_masks,
    reconstruction,
)

# isort: split
# after the cure of torchvision
from lightly.models.utils import patchify, unpatchify

SETTINGS = PretextSettings(16, 8, 0.2, 0.99, 0.75, True, 32, 1)
BANDS, SIZE, PATCH = 3, 16, 4


def encoder(name="vit_mini_patch4", seed=1):
    return create_encoder(name, BANDS, SIZE, np.random.default_rng(seed))


def pretext(method, name="vit_mini_patch4", settings=SETTINGS):
    return create_pretext(method, encoder(name), settings, np.random.default_rng(2))


def images(n=6, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, BANDS, SIZE, SIZE)).astype(np.float32))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def loss_of(module, first, second, seed=0):
    return module(first, second, torch.ones_like(first, dtype=torch.bool), generator(seed))[0]


def test_contrast_of_equal_and_of_orthonormal_rows():
    tau, n = 0.2, 8
    equal, apart = torch.ones(n, 5), torch.eye(n)
    # both views, each times twice the temperature
    assert 4 * tau * contrast(equal, equal, tau).item() == pytest.approx(4 * tau * math.log(n), abs=1e-6)
    assert 4 * tau * contrast(equal, equal, tau).item() == pytest.approx(1.66355, abs=1e-5)
    assert 4 * tau * contrast(apart, apart, tau).item() == pytest.approx(0.036870, abs=1e-6)
    # lengths are no matter
    assert contrast(7 * apart, 0.1 * apart, tau).item() == pytest.approx(contrast(apart, apart, tau).item(), rel=1e-6)


def test_keys_of_all_devices_are_contrasted(monkeypatch):
    q, k, other = (torch.randn(4, 5, generator=generator(s)) for s in range(3))
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    unit = torch.nn.functional.normalize
    monkeypatch.setattr(
        "tandemlens.learn.pretext.concat_all_gather", lambda keys: torch.cat([unit(other, dim=1), keys])
    )
    found = contrast(q, k, 0.3)
    cosines = unit(q, dim=1) @ unit(torch.cat([other, k]), dim=1).T / 0.3
    assert found.item() == pytest.approx(
        torch.nn.functional.cross_entropy(cosines, torch.arange(4, 8)).item(), rel=1e-6
    )


def test_moco_is_the_sum_of_both_contrasts():
    module, (a, b) = pretext("moco"), (images(), images(seed=1))
    found = loss_of(module, a, b)
    queries = [module.predictor(module.projector(module.encoder(view))) for view in (a, b)]
    keys = [module.slow(view) for view in (b, a)]
    wanted = 0
    for q, k in zip(queries, keys, strict=True):
        q, k = q / q.norm(dim=1, keepdim=True), k / k.norm(dim=1, keepdim=True)
        wanted += 2 * 0.2 * torch.nn.functional.cross_entropy(q @ k.T / 0.2, torch.arange(len(a)))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_slow_encoder_follows_exactly_and_without_gradient():
    module = pretext("moco")
    before = copy.deepcopy(module.slow)
    loss_of(module, images(), images(seed=1)).backward()
    assert all(p.grad is None and not p.requires_grad for p in module.slow.parameters())
    assert all(p.grad is not None for n, p in module.encoder.named_parameters() if p.requires_grad)
    with torch.no_grad():
        for p in module.encoder.parameters():
            p.add_(0.5)
    module.after_step(0, 100)
    quick = [*module.encoder.parameters(), *module.projector.parameters()]
    for old, new, now in zip(before.parameters(), module.slow.parameters(), quick, strict=True):
        torch.testing.assert_close(new, 0.99 * old + 0.01 * now, rtol=1e-6, atol=1e-7)


def test_momentum_ends_at_one():
    module = pretext("moco")
    with torch.no_grad():
        for p in module.encoder.parameters():
            p.add_(1.0)
    before = [p.clone() for p in module.slow.parameters()]
    module.after_step(99, 100)
    assert all(torch.equal(a, b) for a, b in zip(before, module.slow.parameters(), strict=True))


def test_patch_projection_of_moco_stays_as_drawn():
    module = pretext("moco")
    assert not any(p.requires_grad for p in module.encoder.backbone.patch_embed.parameters())
    assert not module.encoder.backbone.pos_embed.requires_grad
    # the last normalisation of both heads has no weights, unlike lightly's own
    assert all(not head.layers[-1].affine for head in (module.projector, module.predictor))


def test_fast_moco_has_twelve_terms_and_reduces_to_infonce(monkeypatch):
    calls = []
    monkeypatch.setattr("tandemlens.learn.pretext.contrast", lambda q, k, t: calls.append(len(q)) or contrast(q, k, t))
    module, (a, b) = pretext("fast_moco"), (images(), images(seed=1))
    many = loss_of(module, a, b)
    assert calls == [len(a)] * 12
    # one part, one combination: the mean of both directions
    monkeypatch.setattr("tandemlens.learn.pretext.quarters", lambda x: x)
    module.parts = 1
    calls.clear()
    whole = loss_of(module, a, b)
    assert len(calls) == 2
    moco = pretext("moco")
    moco.load_state_dict(module.state_dict())
    assert whole.item() == pytest.approx(loss_of(moco, a, b).item() / (4 * 0.2), rel=1e-6)
    assert many.item() != pytest.approx(whole.item(), rel=1e-3)


def test_quarters_do_not_overlap_and_pairs_average_to_the_mean_of_the_parts():
    x = torch.arange(SIZE * SIZE, dtype=torch.float32).reshape(1, 1, SIZE, SIZE)
    parts = quarters(x)
    assert parts.shape == (4, 1, SIZE // 2, SIZE // 2)
    assert torch.equal(parts.flatten().sort().values, x.flatten())
    features = torch.from_numpy(np.random.default_rng(3).normal(size=(4 * 5, 7)))
    pairs = pair_means(features, 4)
    assert pairs.shape == (len(list(combinations(range(4), 2))) * 5, 7)
    torch.testing.assert_close(pairs.reshape(6, 5, 7).mean(0), features.reshape(4, 5, 7).mean(0))
    assert pair_means(features, 1) is features


@pytest.mark.parametrize("name", ["vit_mini_patch4", "compact"])
def test_fast_moco_sees_quarters_in_any_encoder(name):
    module = create_pretext(
        "fast_moco", create_encoder(name, BANDS, 32, np.random.default_rng(1)), SETTINGS, np.random.default_rng(2)
    )
    x = torch.from_numpy(np.random.default_rng(4).normal(size=(4, BANDS, 32, 32)).astype(np.float32))
    loss_of(module, x, x.flip(-1)).backward()
    assert all(p.grad is not None for p in module.predictor.parameters())


def test_reconstruction_identities():
    x, m = images(), random_masks(6, 16, 0.75, generator())[1]
    target = torch.gather(patchify(x, PATCH), 1, m[..., None].expand(-1, -1, PATCH**2 * BANDS))
    assert reconstruction(target, x, m, PATCH, False).item() == 0
    scaled = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    assert reconstruction(scaled, x, m, PATCH, True).item() == pytest.approx(0, abs=1e-10)
    n = PATCH**2 * BANDS
    assert reconstruction(torch.zeros_like(target), x, m, PATCH, True).item() == pytest.approx((n - 1) / n, rel=1e-4)
    torch.testing.assert_close(unpatchify(patchify(x, PATCH), PATCH, BANDS), x)


def test_kept_patches_and_invalid_pixels_do_not_count():
    x = images()
    keep, masked = random_masks(6, 16, 0.75, generator())
    guess = torch.zeros(6, masked.shape[1], PATCH**2 * BANDS)
    changed = patchify(x, PATCH).scatter_add(1, keep[..., None].expand(-1, -1, 48), torch.full((6, 4, 48), 9.0))
    other = unpatchify(changed, PATCH, BANDS)
    assert not torch.equal(other, x)
    assert torch.equal(
        reconstruction(guess, x, masked, PATCH, False), reconstruction(guess, other, masked, PATCH, False)
    )
    valid = torch.rand(x.shape, generator=generator(1)) > 0.3
    spoilt = torch.where(valid, x, torch.tensor(100.0))
    found = reconstruction(guess, spoilt, masked, PATCH, False, valid)
    assert found.item() == pytest.approx(reconstruction(guess, x, masked, PATCH, False, valid).item(), rel=1e-6)
    nothing = reconstruction(guess, x, masked, PATCH, False, torch.zeros_like(valid))
    assert nothing.item() == 0


@pytest.mark.parametrize(("patches", "ratio"), [(16, 0.75), (49, 0.75), (16, 0.6), (3, 0.9)])
def test_share_of_masked_patches(patches, ratio):
    keep, masked = random_masks(5, patches, ratio, generator())
    kept = max(1, int(patches * (1 - ratio)))
    assert masked.shape[1] / patches == pytest.approx(1 - kept / patches)
    assert torch.equal(torch.cat([keep, masked], 1).sort(dim=1).values, torch.arange(patches).expand(5, -1))
    again = random_masks(5, patches, ratio, generator())
    assert torch.equal(keep, again[0])


def test_mae_encodes_only_what_it_keeps():
    module, x = pretext("mae"), images()
    masked = random_masks(len(x), 16, 0.75, generator())[1]
    hidden = patchify(x, PATCH).scatter(1, masked[..., None].expand(-1, -1, 48), 50.0)
    valid = torch.ones_like(x, dtype=torch.bool)
    a = module(x, x, valid, generator())[1]
    b = module(unpatchify(hidden, PATCH, BANDS), x, valid, generator())[1]
    assert torch.equal(a, b)
    loss_of(module, x, x).backward()
    assert module.encoder.backbone.patch_embed.proj.weight.grad is not None


def test_mae_learns():
    # smooth stamps: what is hidden can be told from what is seen
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    rng = np.random.default_rng(5)
    waves = [np.sin(2 * x * rng.normal() + 2 * y * rng.normal() + rng.uniform(0, 6)) for _ in range(32 * BANDS)]
    stamps = torch.tensor(np.reshape(waves, (32, BANDS, SIZE, SIZE)), dtype=torch.float32)
    module = create_pretext(
        "mae", encoder(), PretextSettings(16, 8, 0.2, 0.99, 0.5, False, 32, 1), np.random.default_rng(2)
    )
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 3e-3)
    losses = []
    for step in range(60):
        loss = loss_of(module, stamps, stamps, seed=step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.4 * losses[0]


def test_agreement_of_parallel_vectors_and_no_gradient_through_the_target():
    p = torch.randn(5, 7, generator=generator(), requires_grad=True)
    z = (3 * p).detach().requires_grad_()
    loss = agreement(p, z)
    assert loss.item() == pytest.approx(-1, abs=1e-6)
    (loss + agreement(p.flip(0), z)).backward()
    assert z.grad is None
    assert p.grad is not None


def test_simsiam_is_half_the_sum():
    module, (a, b) = pretext("simsiam"), (images(), images(seed=1))
    found = loss_of(module, a, b)
    za, zb = (module.projector(module.encoder(x)) for x in (a, b))
    wanted = (agreement(module.predictor(za), zb) + agreement(module.predictor(zb), za)) / 2
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_clsp_is_moco_where_the_positive_is_the_stamp_itself():
    module, (a, b, c) = pretext("clsp"), (images(seed=seed) for seed in range(3))
    whose = torch.tensor([0, 2, 3, 5])
    own, other = module.projector(module.encoder(a)), module.projector(module.encoder(c[:4]))
    assert positive_term(own, own).item() == pytest.approx(0, abs=1e-6)
    assert positive_term(own, -own).item() == pytest.approx(4, abs=1e-6)
    plain = loss_of(module, a, b)
    found = module(a, b, torch.ones_like(a, dtype=torch.bool), generator(), third=c[:4], whose=whose)[0]
    wanted = plain + 0.5 * positive_term(own[whose], other)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    # one alone cannot be normalised, and none is no loss
    for n in (0, 1):
        alone = module(a, b, torch.ones_like(a, dtype=torch.bool), generator(), third=c[:n], whose=whose[:n])[0]
        assert alone.item() == pytest.approx(plain.item(), rel=1e-6)
    moco = pretext("moco")
    moco.load_state_dict(module.state_dict())
    assert plain.item() == pytest.approx(loss_of(moco, a, b).item(), rel=1e-6)
    found.backward()
    assert module.encoder.backbone.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_what_cannot_be_done_is_said():
    with pytest.raises(InputError, match="mae hides patches and encoder compact has none"):
        pretext("mae", "compact")
    with pytest.raises(InputError, match="byol is unknown; use one of moco, fast_moco"):
        pretext("byol")
    assert METHODS[-1] == "clsp"


@pytest.mark.parametrize("method", ["moco", "fast_moco", "mae", "simsiam"])
def test_same_seed_same_loss_and_other_state_untouched(method):
    state = torch.get_rng_state()
    a, b = (loss_of(pretext(method), images(), images(seed=1)).item() for _ in range(2))
    assert a == b
    assert torch.equal(state, torch.get_rng_state())
