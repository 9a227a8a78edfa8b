"""The baseline head on rings that are there or not, and what it is given to see."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from places import ROOT
from tandemlens.base.errors import InputError
from tandemlens.base.flags import BAD
from tandemlens.base.stack import Cutout, header_text, sanitize, write_stack
from tandemlens.base.tables import read_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.heads.baseline import fit, score
from tandemlens.learn.classifier import VIEWS, pick_device, reproducible, view
from tandemlens.learn.cutouts import Framing, noise_levels, read_images
from tandemlens.learn.vision import create_network

BANDS = ["g", "r"]
SIDE, PIXEL = 40, 0.5
SCHEMA = yaml.safe_load((ROOT / "config/schemas/heads/baseline.schema.yaml").read_text())["properties"]
CFG = {
    **{name: entry["default"] for name, entry in SCHEMA.items()},
    **{"side_arcsec": 16, "pixels": 32, "epochs": 8, "batch": 16, "device": "cpu"},
    **{"bands": BANDS, "seed": 4, "threads": 1},
}
#: too coarse to learn rings from, and fast
COARSE = {**CFG, "pixels": 16, "epochs": 2, "batch": 64}


def quiet(done, total):
    pass


def cutout(flux, sigma=1.0, bands=BANDS, scales=None, shifts=None):
    """System at (150, 2) deg; bands may have pixel scales of their own and places off the middle."""
    n_band, shape = len(flux), np.shape(flux)[1:]
    scales, shifts = scales or [PIXEL] * n_band, shifts or [(0, 0)] * n_band
    wcs = [header_text(tangent_wcs(150, 2, shape, s, d)) for s, d in zip(scales, shifts, strict=True)]
    flux = np.array(flux, np.float32)
    psf = np.full((n_band, 3, 3), 1 / 9, np.float32)
    variance = np.full_like(flux, sigma**2)
    return sanitize(Cutout(tuple(bands), flux, variance, np.zeros(flux.shape, np.uint16), psf, tuple(wcs)))


def stack_of(path, systems, bands=BANDS, side=SIDE):
    with write_stack(path, bands, (side, side), 3) as stack:
        for name, system in systems.items():
            stack.append(name, system)
    return str(path)


def ring(there, rng):
    """Noise and a red galaxy anywhere, and perhaps a blue ring."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    place = rng.uniform(-10, 10, 2)
    galaxy = 8 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 8)
    blue = 6.0 * there * np.exp(-((np.hypot(x, y) - 9) ** 2) / 4)
    return cutout(np.stack([0.4 * galaxy + blue, galaxy + 0.4 * blue]) + rng.normal(size=(2, SIDE, SIDE)))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Systems, folds and two shards; one system of role train has no cutout and one no valid pixel."""
    rng, folder, n = np.random.default_rng(0), tmp_path_factory.mktemp("sample"), 110
    names = [f"t{k:03d}" for k in range(n)]
    labels = rng.uniform(size=n) < 0.4
    roles = np.array(["train", "train", "train", "stop", "test"])[np.arange(n) % 5]
    cutouts = {name: ring(label, rng) for name, label in zip(names, labels, strict=True)}
    cutouts["t000"].mask[:] = BAD
    cutouts["t000"] = sanitize(cutouts["t000"])
    del cutouts["t001"]
    shards = [dict(list(cutouts.items())[:50]), dict(list(cutouts.items())[50:])]
    paths = [stack_of(folder / f"{k}.h5", shard) for k, shard in enumerate(shards)]
    systems = pd.DataFrame({"target_id": names, "class": "any", "label": labels})
    folds = pd.DataFrame({"target_id": names, "group": names, "role": roles, "reason": ""})
    return systems, folds, paths


@pytest.fixture(scope="module")
def fitted(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fit(*sample, folder, CFG, quiet)
    return folder, json.loads((folder / "baseline.json").read_text())


def scores_of(path, model, tmp_path, cfg=CFG):
    score(path, model, tmp_path / "scores.parquet", cfg)
    return read_table(tmp_path / "scores.parquet").set_index("target_id")["baseline"]


def test_it_learns_rings(sample, fitted, tmp_path):
    systems, folds, paths = sample
    found = pd.concat([scores_of(path, fitted[0], tmp_path) for path in paths])
    test = systems[(folds["role"] == "test").to_numpy()]
    assert roc_auc_score(test["label"], found[test["target_id"]]) > 0.95
    # log odds: right on the side of its sign too
    assert ((found[test["target_id"]] > 0).to_numpy() == test["label"].to_numpy()).mean() > 0.8
    assert "t001" not in found
    assert found.index[found.isna()].tolist() == ["t000"]


def test_the_model_says_what_it_saw(sample, fitted):
    _, facts = fitted
    labels = sample[0].set_index("target_id")["label"]
    roles = sample[1].set_index("target_id")["role"].drop(["t000", "t001"])
    for role in ("train", "stop"):
        names = roles.index[roles == role]
        assert facts[role] == {"systems": len(names), "positives": int(labels[names].sum())}
    assert facts["without_image"] == 2
    assert facts["bands"] == BANDS
    np.testing.assert_allclose(facts["scale"], CFG["softening"], rtol=1e-3)
    assert facts["ended"] == "all 8 epochs done"
    losses = [epoch["stop_loss"] for epoch in facts["curve"]]
    assert facts["best_epoch"] == 1 + int(np.argmin(losses))
    assert min(losses) < 0.5 < losses[0]


def test_scores_are_of_the_epoch_that_was_kept(sample, fitted):
    """Log loss of role stop, from the weights on disk, is the least of the curve."""
    (systems, folds, paths), (folder, facts) = sample, fitted
    rows = systems.merge(folds[folds["role"] == "stop"], on="target_id").set_index("target_id")
    names, images, _ = read_images(paths, BANDS, Framing(16, 32), facts["scale"], set(rows.index))
    network = create_network("resnet18", np.random.default_rng(1), in_chans=2, num_classes=1).eval()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in load_file(folder / "weights.safetensors").items()})
    with torch.no_grad():
        logits = network(torch.from_numpy(images).float()).squeeze(1)
    wanted = torch.tensor(rows.loc[names, "label"].to_numpy(float))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.double(), wanted).item()
    assert loss == pytest.approx(min(epoch["stop_loss"] for epoch in facts["curve"]), rel=1e-3)


def test_turned_and_mirrored_systems_have_one_score(fitted, tmp_path):
    system = ring(True, np.random.default_rng(5))
    views = {}
    for k, (x, y, t) in enumerate(VIEWS):
        flux = system.flux[:, :: -1 if y else 1, :: -1 if x else 1]
        views[str(k)] = cutout(flux.transpose(0, 2, 1) if t else flux)
    found = scores_of(stack_of(tmp_path / "v.h5", views), fitted[0], tmp_path)
    # float16 images are turned exactly; sums in another order differ by rounding
    assert np.ptp(found) < 1e-3
    assert found.iloc[0] != pytest.approx(
        scores_of(stack_of(tmp_path / "w.h5", {"w": ring(False, np.random.default_rng(5))}), fitted[0], tmp_path)["w"],
        abs=0.1,
    )


def test_same_seed_same_weights_and_no_look_at_the_test_role(sample, tmp_path):
    systems, folds, paths = sample
    hidden = systems.assign(label=np.where(folds["role"] == "test", ~systems["label"], systems["label"]))
    for name, table, settings in (("a", systems, COARSE), ("b", hidden, COARSE), ("c", systems, {**COARSE, "seed": 5})):
        fit(table, folds, paths, tmp_path / name, settings, quiet)
    a, b, c = (load_file(tmp_path / name / "weights.safetensors") for name in "abc")
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert not all(np.array_equal(a[key], c[key]) for key in a)
    assert (tmp_path / "a/baseline.json").read_text() == (tmp_path / "b/baseline.json").read_text()


def test_training_ends_with_the_epoch_in_which_the_budget_is_spent(sample, tmp_path):
    said = []
    fit(*sample, tmp_path, {**COARSE, "minutes": 1e-6}, lambda done, total: said.append((done, total)))
    facts = json.loads((tmp_path / "baseline.json").read_text())
    assert facts["ended"] == "the budget of 1e-06 min was spent in epoch 1 of 2"
    assert (said, len(facts["curve"]), facts["best_epoch"]) == ([(1, 2)], 1, 1)


def reason(tmp_path, sample, cfg=CFG):
    """Why nothing was trained; what is then scored is NaN."""
    fit(*sample, tmp_path / "model", cfg, quiet)
    facts = json.loads((tmp_path / "model/baseline.json").read_text())
    assert not facts["trained"]
    if cfg["bands"] == BANDS:
        path = stack_of(tmp_path / "one.h5", {"one": ring(True, np.random.default_rng(6))})
        assert scores_of(path, tmp_path / "model", tmp_path).isna().tolist() == [True]
    return facts["reason"]


@pytest.mark.parametrize(("role", "left"), [("train", 9), ("stop", 1)])
def test_too_few_positives(sample, tmp_path, role, left):
    systems, folds, paths = sample
    positives = np.flatnonzero((folds["role"] == role) & systems["label"])
    labels = systems["label"].to_numpy().copy()
    labels[positives[left:]] = False
    said = reason(tmp_path, (systems.assign(label=labels), folds, paths))
    assert said.startswith(f"role {role} has {left} positives of ")
    assert "enlarge the training sample (samples.train)" in said


def test_positives_without_an_image_do_not_count(sample, tmp_path):
    systems, folds, _ = sample
    said = reason(
        tmp_path, (systems, folds, [stack_of(tmp_path / "x.h5", {"t002": ring(1, np.random.default_rng(1))})])
    )
    assert said.startswith("role train has ")
    assert "of 1 systems with an image" in said


def test_a_sample_that_could_not_be_dealt_says_why(sample, tmp_path):
    systems, folds, paths = sample
    said = reason(tmp_path, (systems, folds.assign(role="dropped", reason="two field groups are needed"), paths))
    assert said == "two field groups are needed"


def test_diverged_training_is_no_model(sample, tmp_path):
    said = reason(tmp_path, sample, {**COARSE, "epochs": 1, "learning_rate": 1e30})
    assert said.startswith(
        "training diverged: the log loss is no finite number in any of 1 epochs; lower learning_rate"
    )


def test_other_bands_are_refused(sample, fitted, tmp_path):
    said = reason(tmp_path, sample, {**CFG, "bands": ["g", "i"]})
    assert "hold the bands g, r but the head works on g, i" in said
    path = stack_of(tmp_path / "i.h5", {"one": cutout(np.ones((2, 40, 40)), bands=["g", "i"])}, ["g", "i"])
    with pytest.raises(InputError, match=r"i\.h5 hold the bands g, i but the head works on g, r; fit it again"):
        scores_of(path, fitted[0], tmp_path)


def test_an_empty_shard_is_an_empty_table(fitted, tmp_path):
    found = scores_of(stack_of(tmp_path / "none.h5", {}), fitted[0], tmp_path)
    assert (len(found), found.dtype) == (0, float)


def test_a_gpu_that_is_not_there_is_asked_for(monkeypatch, tmp_path, sample):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(InputError, match="torch sees no GPU; set device to auto or cpu"):
        fit(*sample, tmp_path, {**CFG, "device": "cuda"}, quiet)


def test_averaging_by_whole_blocks_is_the_mean_of_blocks():
    flux = np.random.default_rng(1).normal(size=(2, 40, 40))
    mean, variance = Framing(16, 8)(cutout(flux, sigma=3.0))
    inner = flux[:, 4:36, 4:36].reshape(2, 8, 4, 8, 4)
    np.testing.assert_allclose(mean, inner.mean(axis=(2, 4)), atol=1e-5)
    np.testing.assert_allclose(variance, 9 / 16, rtol=1e-4)


@pytest.mark.parametrize("pixels", [7, 33, 64])
def test_averaging_by_parts_of_pixels_keeps_the_flux(pixels):
    flux = np.random.default_rng(2).normal(3, 1, size=(2, 41, 41))
    mean, _ = Framing(41 * PIXEL, pixels)(cutout(flux))
    area = (41 / pixels) ** 2
    # the square on the sky is the cutout to rounding, so that its outermost pixels may miss a sliver
    np.testing.assert_allclose(mean.sum(axis=(1, 2)) * area, flux.sum(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(Framing(41 * PIXEL, pixels)(cutout(np.full((2, 41, 41), 2.5)))[0], 2.5, rtol=1e-6)


def test_invalid_pixels_are_left_out_and_their_absence_is_no_number():
    system = cutout(np.ones((2, 40, 40)))
    system.mask[0, 4:8, 4:6], system.flux[0, 4:8, 4:6] = BAD, 1e9
    system.mask[1, 4:8, 4:8], system.flux[1, 4:8, 4:8] = BAD, np.nan
    mean, variance = Framing(16, 8)(system)
    assert np.isnan(mean[1, 0, 0])
    mean[1, 0, 0] = 1
    np.testing.assert_allclose(mean, 1, rtol=1e-6)
    np.testing.assert_allclose(variance[0, 0, :2], [1 / 8, 1 / 16], rtol=1e-4)


def test_a_system_without_any_band_is_no_number():
    system = cutout(np.ones((2, 40, 40)))
    system.mask[:], system.wcs = BAD, ("", "")
    assert all(np.isnan(part).all() and part.shape == (2, 8, 8) for part in Framing(16, 8)(sanitize(system)))


def test_outside_of_the_cutout_there_is_nothing():
    mean, _ = Framing(40, 8)(cutout(np.ones((2, 40, 40))))
    assert np.isnan(mean).sum() == 2 * (64 - 16)
    np.testing.assert_allclose(mean[:, 2:6, 2:6], 1)


def test_bands_of_other_pixels_look_at_one_place():
    """A star off the target, on a fine grid and on a coarse one that lies in a corner of its array."""
    y, x = np.mgrid[:40, :40]
    star = np.exp(-((x - 27.5) ** 2 + (y - 15.5) ** 2) / 4)  # (8, -4) pixels of 0.5 arcsec off the target
    coarse = np.exp(-((x - 13.5) ** 2 + (y - 7.5) ** 2) / 1)  # (4, -2) of 1 arcsec off (9.5, 9.5)
    system = cutout([star, coarse], scales=[0.5, 1.0], shifts=[(0, 0), (-10, -10)])
    mean, _ = Framing(16, 32)(system)
    places = [np.unravel_index(np.nanargmax(image), image.shape) for image in mean]
    assert np.abs(np.subtract(places, (11.5, 23.5))).max() <= 1


def test_noise_is_that_of_averaged_pixels_of_the_wanted(tmp_path):
    systems = {f"s{k}": cutout(np.zeros((2, 40, 40)), sigma=s) for k, s in enumerate((1.0, 2.0, 6.0, 1e4))}
    path = stack_of(tmp_path / "n.h5", systems)
    found = noise_levels([path], BANDS, Framing(16, 8), {"s0", "s1", "s2"})
    np.testing.assert_allclose(found, 2 / 4, rtol=1e-4)


def test_a_band_that_is_nowhere_valid_is_named(tmp_path):
    system = cutout(np.ones((2, 40, 40)))
    system.mask[1] = BAD
    path = stack_of(tmp_path / "n.h5", {"s": sanitize(system)})
    with pytest.raises(InputError, match="band r has no valid pixel within 16 arcsec in any of 1 training cutouts"):
        noise_levels([path], BANDS, Framing(16, 8), {"s"})


def test_images_are_on_the_scale_of_the_bands(tmp_path):
    systems = {name: cutout(np.full((2, 40, 40), value)) for name, value in (("a", 3.0), ("b", -4.0), ("c", 1e6))}
    systems["c"].mask[1] = BAD
    systems["c"] = sanitize(systems["c"])
    names, images, valid = read_images([stack_of(tmp_path / "a.h5", systems)], BANDS, Framing(16, 8), [3.0, 6.0])
    assert (names, images.dtype, valid.tolist()) == (["a", "b", "c"], np.float16, [True, True, True])
    wanted = np.arcsinh([[1, 0.5], [-4 / 3, -2 / 3], [1e6 / 3, 0]])
    np.testing.assert_allclose(images.reshape(3, 2, -1), np.repeat(wanted[:, :, None], 64, axis=2), rtol=1e-3)


def test_the_eight_views_are_those_of_the_square():
    image = torch.arange(18.0).reshape(1, 2, 3, 3)
    views = {view(image, *v).numpy().tobytes() for v in VIEWS}
    turned = [np.rot90(image.numpy(), k, axes=(2, 3)) for k in range(4)]
    assert views == {np.ascontiguousarray(t).tobytes() for t in [*turned, *(t[..., ::-1] for t in turned)]}
    assert len(views) == 8


def test_every_image_may_have_a_view_of_its_own():
    images = torch.rand(8, 2, 5, 5)
    mixed = view(images, *torch.tensor(VIEWS).T)
    for k, v in enumerate(VIEWS):
        assert torch.equal(mixed[k], view(images[k : k + 1], *v)[0])


def test_settings_of_torch_are_put_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), reproducible(torch.device("cpu"), before + 1):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == before + 1
        assert not torch.backends.cudnn.allow_tf32
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before
    assert torch.backends.cudnn.allow_tf32


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    a, b, c = (create_network("resnet18", np.random.default_rng(k), in_chans=5, num_classes=1) for k in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(a.conv1.weight, b.conv1.weight)
    assert not torch.equal(a.conv1.weight, c.conv1.weight)
    assert a.conv1.weight.shape[1] == 5
