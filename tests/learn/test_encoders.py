"""Encoders: what they take, what is frozen, and which weights are refused."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tandemlens.base.errors import InputError
from tandemlens.learn.encoders import WeightFile, create_encoder, load_encoder, save_encoder, save_reason
from tandemlens.learn.vision import create_network

NAMES = ["residual", "compact", "vit_mini_patch8", "vit_mini_patch4"]
MINI = {"embed_dim": 96, "depth": 4, "num_heads": 3, "num_classes": 0}


def rng(seed=0):
    return np.random.default_rng(seed)


def stamps(n=3, bands=4, size=48, seed=0):
    return torch.from_numpy(rng(seed).normal(size=(n, bands, size, size)).astype(np.float32))


def declared(path):
    return WeightFile(str(path), hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bands", [1, 4, 7])
def test_any_number_of_bands(name, bands):
    encoder = create_encoder(name, bands, 48, rng())
    features = encoder(stamps(3, bands))
    assert features.shape == (3, encoder.width)
    assert torch.isfinite(features).all()
    assert features.std(0).mean() > 0


@pytest.mark.parametrize("name", NAMES)
def test_features_do_not_depend_on_the_batch(name):
    encoder, x = create_encoder(name, 4, 48, rng()), stamps()
    torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_half_stamps_are_taken(name):
    assert create_encoder(name, 4, 48, rng())(stamps(size=24)).shape[0] == 3


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("vit_mini_patch8", 44, "vit_mini_patch8 needs stamps of whole patches of 8 pixels and they have 44"),
        ("compact", 12, "compact needs stamps of at least 16 pixels and they have 12"),
        ("vit_tiny", 48, "encoder vit_tiny is unknown; use one of residual, compact, vit_mini_patch8, vit_tiny_patch8"),
        ("compact_patch8", 48, "encoder compact_patch8 is unknown"),
        ("resnet50", 48, "encoder resnet50 is unknown"),
        ("", 48, "encoder  is unknown"),
    ],
)
def test_what_there_is_not(name, size, said):
    with pytest.raises(InputError, match=said):
        create_encoder(name, 4, size, rng())


def test_the_seed_draws_the_weights():
    a, b, c = (create_encoder("compact", 2, 32, rng(s)).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], c[k]) for k in a)


def test_blocks_are_frozen_by_name():
    encoder = create_encoder("vit_small_patch16", 3, 48, rng())
    assert encoder.freeze_blocks(0.75) == [f"blocks.{k}" for k in range(9)]
    frozen = {name for name, p in encoder.backbone.named_parameters() if not p.requires_grad}
    blocks = {name for name in frozen if name.startswith("blocks.")}
    # positions are fixed from the start
    assert frozen - blocks == {"pos_embed"}
    assert {int(name.split(".")[1]) for name in blocks} == set(range(9))
    assert not any("norm" in name for name in frozen)
    inside = [
        name for name, _ in encoder.backbone.named_parameters() if name.startswith("blocks.0.") and "norm" not in name
    ]
    assert set(inside) <= frozen
    encoder.train()
    assert not encoder.backbone.blocks[8].training
    assert encoder.backbone.blocks[9].training
    assert encoder.freeze_blocks(0) == []
    assert {name for name, p in encoder.backbone.named_parameters() if not p.requires_grad} == {"pos_embed"}
    with pytest.raises(InputError, match=r"share 1\.5 of the blocks of encoder vit_small_patch16 is no share"):
        encoder.freeze_blocks(1.5)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("compact", ["stages.0.blocks.0", "stages.1.blocks.0", "stages.2.blocks.0"]),
        ("residual", ["stages.0.0"]),
    ],
)
def test_frozen_weights_do_not_move(name, wanted):
    encoder = create_encoder(name, 4, 32, rng())
    frozen = encoder.freeze_blocks(0.6)
    assert frozen == wanted
    before = {name: p.clone() for name, p in encoder.backbone.named_parameters()}
    optimiser = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], 0.1)
    encoder(stamps(size=32)).square().sum().backward()
    optimiser.step()
    moved = {name for name, p in encoder.backbone.named_parameters() if not torch.equal(p, before[name])}
    assert not {n for n in moved if n.startswith(tuple(frozen)) and "norm" not in n and ".bn." not in n}
    assert {n.split(".")[0] for n in moved} >= {"stem", "stages"}
    assert any(n.startswith(encoder.blocks()[-1]) for n in moved)


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_colour_weights_of_other_size_are_adapted_as_timm_does(tmp_path, kind):
    """A classifier on three bands of 64 pixels in patches of 16, taken for four bands of 48 in patches of 8."""
    options = {**MINI, "num_classes": 10, "img_size": 64, "patch_size": 16}
    given = create_network("vit_tiny_patch16_224", rng(3), in_chans=3, **options).state_dict()
    path = tmp_path / f"w.{kind}"
    save_file(given, path) if kind == "safetensors" else torch.save(given, path)
    encoder = create_encoder("vit_mini_patch8", 4, 48, rng(), declared(path))
    own = encoder.backbone.state_dict()
    assert torch.equal(own["blocks.2.mlp.fc1.weight"], given["blocks.2.mlp.fc1.weight"])
    assert torch.equal(own["norm.weight"], given["norm.weight"])
    assert own["pos_embed"].shape == (1, 37, 96)
    # same patches: repeated and scaled by 3 over 4
    same = create_encoder("vit_mini_patch16", 4, 48, rng(), declared(path)).backbone.patch_embed.proj.weight
    colour = given["patch_embed.proj.weight"]
    torch.testing.assert_close(same, torch.cat([colour, colour[:, :1]], 1) * 3 / 4)
    # a source as bright in all bands looks the same
    torch.testing.assert_close(
        torch.nn.functional.conv2d(torch.ones(1, 3, 16, 16), colour.mean(1, keepdim=True).expand(-1, 3, -1, -1)),
        torch.nn.functional.conv2d(torch.ones(1, 4, 16, 16), torch.cat([colour.mean(1, keepdim=True)] * 4, 1) * 3 / 4),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(("name", "width"), [("compact", 192), ("residual", 256)])
def test_own_weights_come_back(tmp_path, name, width):
    a = create_encoder(name, 4, 48, rng(1))
    plain = a(stamps())
    a.scale_bands([1.0, 0, 2, -3], [1.0, 2, 3, 0.5])
    moved = stamps() * torch.tensor([1.0, 2, 3, 0.5])[:, None, None] + torch.tensor([1.0, 0, 2, -3])[:, None, None]
    torch.testing.assert_close(a(moved), plain, atol=1e-4, rtol=0)
    save_encoder(a, tmp_path, {"bands": ["g", "r", "i", "z"], "method": "simsiam"})
    facts = json.loads((tmp_path / "encoder.json").read_text())
    assert (facts["trained"], facts["name"], facts["width"], facts["method"]) == (True, name, width, "simsiam")
    assert torch.equal(load_encoder(tmp_path, ["g", "r", "i", "z"], 48)(stamps()), a(stamps()))
    b = create_encoder(name, 4, 48, rng(2), declared(tmp_path / "weights.safetensors"))
    assert torch.equal(b(stamps()), plain)
    with pytest.raises(
        InputError, match=r"takes stamps of 48 pixels in the bands g, r, i, z and these have 64 in g, r;"
    ):
        load_encoder(tmp_path, ["g", "r"], 64)
    save_reason(tmp_path, "all stamps are alike", {"bands": []})
    with pytest.raises(InputError, match=r"there is no encoder in .*: all stamps are alike"):
        load_encoder(tmp_path, ["g", "r", "i", "z"], 48)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code of a weight file was run",))


def test_weight_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.pth is not there; weights are never downloaded"):
        create_encoder("compact", 4, 48, rng(), WeightFile(str(tmp_path / "none.pth"), "0" * 64))
    path = tmp_path / "w.safetensors"
    save_file(create_encoder("vit_mini_patch8", 4, 48, rng()).backbone.state_dict(), path)
    with pytest.raises(InputError, match=r"w\.safetensors has the sha256 [0-9a-f]{64} and not the declared 000"):
        create_encoder("vit_mini_patch8", 4, 48, rng(), WeightFile(str(path), "0" * 64))
    for name in ("vit_tiny_patch8", "compact"):
        with pytest.raises(InputError, match=rf"w\.safetensors does not fit encoder {name} \(.*; give weights of that"):
            create_encoder(name, 4, 48, rng(), declared(path))
    missing = tmp_path / "few.pth"
    torch.save({"patch_embed.proj.weight": torch.zeros(96, 4, 8, 8)}, missing)
    with pytest.raises(InputError, match=r"few\.pth does not fit encoder vit_mini_patch8 \(.*Missing key"):
        create_encoder("vit_mini_patch8", 4, 48, rng(), declared(missing))
    trap = tmp_path / "trap.pth"
    torch.save({"a": Trap()}, trap)
    with pytest.raises(InputError, match=r"trap\.pth cannot be read as tensors \(UnpicklingError\)"):
        create_encoder("compact", 4, 48, rng(), declared(trap))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"broken\.safetensors cannot be read as tensors"):
        create_encoder("compact", 4, 48, rng(), declared(broken))
