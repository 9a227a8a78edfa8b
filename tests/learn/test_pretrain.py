"""Pretraining from stamps on disk to an encoder: what it sees, how it goes on after a stop, and when it gives up."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from killed import kill_amid
from places import ROOT
from tandemlens.base.errors import InputError
from tandemlens.learn.encoders import create_encoder, load_encoder
from tandemlens.learn.galaxies import write_galaxies
from tandemlens.learn.lens_pairs import LensPairs
from tandemlens.learn.pretrain import Sample, pretrain, pretraining_targets
from tandemlens.learn.pretrain_task import PretrainTask, spread
from tandemlens.learn.probe import probe, radius_r2, system_features
from tandemlens.learn.stamps import open_stamps
from tandemlens.learn.views import Views

BANDS, SIDE = ["g", "r"], 16
GEOMETRY = ["radius_arcsec", "cos_azimuth", "sin_azimuth", "is_centre"]


def defaults(name):
    def of(schema):
        return {
            key: of(part) if part.get("type") == "object" and "default" not in part else part["default"]
            for key, part in schema["properties"].items()
        }

    return of(yaml.safe_load((ROOT / f"config/schemas/{name}.schema.yaml").read_text()))


CFG = {
    **defaults("pretrain"),
    **{"epochs": 3, "batch": 16, "hidden": 16, "projection": 8, "decoder_width": 32, "decoder_depth": 1},
    **{"probe_every": 0, "device": "cpu", "threads": 1, "learning_rate": 2e-3, "probe_systems": 40},
    **{"encoder": {**defaults("encoder"), "name": "vit_mini_patch8"}, "views": defaults("views")},
    **{"bands": BANDS, "radius_arcmin": 30.0, "softening": 3.0, "seed": 5, "code": {}},
}


def quiet(done, total):
    pass


def write_stamps(path, systems, rng, bands=BANDS):
    """Stamps of systems (name -> number of segments); the size of a blob is the lens, its colour the label."""
    n = [k + 1 if k >= 0 else 0 for k in systems.values()]
    start = np.concatenate([[0], np.cumsum(n)])
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    flux = 0.3 * rng.normal(size=(start[-1], len(bands), SIDE, SIDE))
    label = np.concatenate([np.arange(k) for k in n]).astype(np.int32)
    for row in range(start[-1]):
        system = list(systems)[int(np.searchsorted(start, row, "right")) - 1]
        width = 1.0 + 0.4 * (hash_of(system.split("-")[0]) % 5)
        blob = 3 * np.exp(-(x**2 + y**2) / (2 * width**2))
        flux[row, 0] += blob
        flux[row, 1] += blob * (0.3 if system.endswith("tandem") else 1.5)
    with h5py.File(path, "w") as out:
        out.attrs.update({"bands": bands, "geometry": GEOMETRY, "scale": [1.0] * len(bands), "pixel_scale": 0.25})
        out["flux"] = np.arcsinh(flux).astype(np.float16)
        out["sigma"] = np.full(flux.shape, 0.3, np.float16)
        out["mask"] = rng.uniform(size=flux.shape) > 0.02
        out["flux"][...] = np.where(out["mask"][:], out["flux"][:], 0)
        out["geometry"] = np.zeros((start[-1], len(GEOMETRY)), np.float32)
        out["label"], out["start"] = label, start
        out["target"] = np.repeat(np.arange(len(n)), n).astype(np.int32)
        out.create_dataset("target_id", data=list(systems), dtype=h5py.string_dtype())
    return str(path)


def hash_of(text):
    return sum(map(ord, text))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """20 canvases of two systems with one lens, in two shards; and a search sample, partly in fields of the test."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("stamps")
    canvases = [f"c{k:02d}" for k in range(20)]
    names = [f"{canvas}-{kind}" for canvas in canvases for kind in ("tandem", "arc")]
    roles = np.repeat(np.array(["train", "train", "stop", "test"])[np.arange(20) % 4], 2)
    number = np.repeat(np.arange(20), 2)
    shards = [dict.fromkeys(names[:20], 2), dict.fromkeys(names[20:], 2)]
    shards[0]["c01-arc"] = -1
    train = [write_stamps(folder / f"t{k}.h5", shard, rng) for k, shard in enumerate(shards)]
    search = [write_stamps(folder / "s0.h5", {f"s{k}-x": 2 for k in range(10)}, rng)]
    systems = pd.DataFrame(
        {
            **{"target_id": names, "canvas": np.repeat(canvases, 2), "label": [True, False] * 20},
            **dict.fromkeys(("m200c", "c200c", "q", "angle", "shear"), 1.0),
            "theta_e": [1.0 + 0.4 * (hash_of(name.split("-")[0]) % 5) for name in names],
        }
    )
    folds = pd.DataFrame({"target_id": names, "role": roles, "group": number})
    places = pd.DataFrame({"target_id": names, "ra": 10.0 + 2 * number, "dec": 0.0})
    # s3 stands beside c03, which is in the test, s1 beside c01 of role train
    where = pd.DataFrame({"target_id": [f"s{k}-x" for k in range(10)], "ra": 10.1 + 2 * np.arange(10), "dec": 0.1})
    where.loc[where.index % 4 == 0, "dec"] = 40.0
    return Sample(folds, systems, places, where, train, search)


def trained(sample, folder, **changes):
    said = []
    cfg = {**CFG, **changes}
    pretrain(sample, folder / "encoder", folder / "p.ckpt", cfg, lambda done, total: said.append((done, total)))
    facts = json.loads((folder / "encoder/encoder.json").read_text())
    return facts, said


def weights_of(folder):
    return load_file(folder / "encoder/weights.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_only_role_train_and_fields_out_of_the_test_are_seen(sample):
    seen = pretraining_targets(sample.folds, sample.places, sample.search, 30.0, False)
    roles = sample.folds.set_index("target_id")["role"]
    assert {name for name in seen if name in roles} == set(roles.index[roles == "train"])
    # those beside canvases 2, 3, 6 and 7 of roles stop and test are left out
    assert {name for name in seen if name not in roles} == {f"s{k}-x" for k in (0, 1, 4, 5, 8, 9)}
    everything = pretraining_targets(sample.folds, sample.places, sample.search, 30.0, True)
    assert len(everything) == 50


@pytest.mark.parametrize("method", ["moco", "fast_moco", "mae", "simsiam", "lensiam"])
def test_every_method_trains(sample, tmp_path, method):
    encoder = {**CFG["encoder"], "name": "vit_mini_patch4"}
    facts, said = trained(sample, tmp_path, method=method, encoder=encoder, epochs=2, probe_every=2)
    assert facts["trained"], facts
    assert said == [(1, 2), (2, 2)]
    assert facts["ended"] == "all 2 epochs done"
    # 19 systems of role train have stamps, and 6 of the search
    assert (facts["systems"], facts["stamps"], facts["transductive"]) == (26, 25 * 3, False)
    assert set(facts["curve"][0]) == {"epoch", "loss", "spread"}
    assert set(facts["curve"][1]) == {
        "epoch",
        "loss",
        "spread",
        "knn_accuracy",
        "knn_auroc",
        "linear_auroc",
        "radius_r2",
    }
    assert load_encoder(tmp_path / "encoder", BANDS, SIDE)(torch.zeros(2, 2, SIDE, SIDE)).shape == (2, 96)
    # the checkpoint has served
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder"]


@pytest.mark.parametrize(("method", "views"), [("mae", 1), ("simsiam", 2)])
def test_a_view_that_is_not_looked_at_is_not_made(sample, tmp_path, monkeypatch, method, views):
    made = []

    class Counted(Views):
        def __call__(self, *planes):
            made.append(len(planes[0]))
            return super().__call__(*planes)

    monkeypatch.setattr("tandemlens.learn.pretrain_task.Views", Counted)
    facts, _ = trained(sample, tmp_path, method=method, epochs=1)
    assert made == [CFG["batch"]] * views * (facts["stamps"] // CFG["batch"])


def test_synthetic_positives_are_learnt_from(sample, tmp_path):
    made = []
    for k, path in enumerate(sample.train_paths):
        with open_stamps(path) as file, h5py.File(tmp_path / f"p{k}.h5", "w") as out:
            rows = np.arange(0, len(file), 2)
            out["flux"], out["row"] = file.read(0, len(file)).flux[rows] + np.float16(0.1), rows
        made.append(str(tmp_path / f"p{k}.h5"))
    sample = replace(sample, positives=made)
    curves = []
    for weight in (0.0, 0.5):
        (tmp_path / str(weight)).mkdir()
        facts, _ = trained(sample, tmp_path / str(weight), method="clsp", epochs=1, positive_weight=weight)
        assert facts["trained"], facts
        curves.append(facts["curve"][0]["loss"])
    assert curves[1] > curves[0] + 0.01


def test_two_devices_train_one_encoder(sample, tmp_path):
    """Processes on one CPU: what several GPUs do."""
    facts, said = trained(sample, tmp_path, method="moco", devices=2, batch=8, epochs=2, probe_every=2)
    # progress is told by the processes
    assert said == []
    assert [entry["epoch"] for entry in facts["curve"]] == [1, 2]
    assert facts["curve"][1]["knn_auroc"] is not None
    before = create_encoder("vit_mini_patch8", 2, SIDE, np.random.default_rng(CFG["seed"])).backbone.state_dict()
    after = weights_of(tmp_path)
    assert not torch.equal(before["blocks.0.attn.qkv.weight"], after["blocks.0.attn.qkv.weight"])


class Killed(Exception):
    """A stop at any point."""


@pytest.mark.parametrize(("method", "accumulate", "workers"), [("moco", 1, 0), ("mae", 2, 0), ("lensiam", 1, 2)])
def test_stopped_training_ends_with_the_same_weights(sample, tmp_path, monkeypatch, method, accumulate, workers):
    changes = {"method": method, "accumulate": accumulate, "workers": workers, "batch": 12}
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, _ = trained(sample, tmp_path / "whole", **changes)
    step = PretrainTask.training_step

    def stopping(epoch, number):
        def stopped(self, batch, k):
            if (self.current_epoch, k) == (epoch, number):
                raise Killed
            return step(self, batch, k)

        monkeypatch.setattr(PretrainTask, "training_step", stopped)

    # amid the second epoch, and again at the begin of the third
    for place in ((1, 3), (2, 0)):
        stopping(*place)
        with pytest.raises(Killed):
            trained(sample, tmp_path / "parts", **changes)
    assert not (tmp_path / "parts/encoder/encoder.json").exists()
    monkeypatch.setattr(PretrainTask, "training_step", step)
    parts, said = trained(sample, tmp_path / "parts", **changes)
    assert said == [(3, 3)]
    assert equal(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))
    assert whole == parts


def pretrain_until(sample, folder, cfg, progress):
    pretrain(sample, folder / "encoder", folder / "p.ckpt", cfg, progress)


def test_a_killed_training_ends_with_the_same_weights(sample, tmp_path):
    changes = {"epochs": 6, "batch": 12, "method": "moco", "probe_every": 0}
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, _ = trained(sample, tmp_path / "whole", **changes)
    done, when = kill_amid(pretrain_until, tmp_path, sample, tmp_path / "parts", {**CFG, **changes})
    assert not (tmp_path / "parts/encoder/encoder.json").exists()
    parts, said = trained(sample, tmp_path / "parts", **changes)
    # the epoch that was reported last may not have been kept yet
    assert said[0] in ((done, 6), (done + 1, 6), (done + 2, 6)), when
    assert equal(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")), when
    assert parts == whole


def test_a_stop_after_the_last_epoch_trains_no_more(sample, tmp_path, monkeypatch):
    def stop(*given):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tandemlens.learn.pretrain.save_encoder", stop)
        with pytest.raises(Killed):
            trained(sample, tmp_path)
    facts, said = trained(sample, tmp_path)
    assert (facts["ended"], said, len(facts["curve"])) == ("all 3 epochs done", [], 3)
    (tmp_path / "again").mkdir()
    trained(sample, tmp_path / "again")
    assert equal(weights_of(tmp_path), weights_of(tmp_path / "again"))


def test_checkpoints_of_other_settings_and_broken_ones_are_not_used(sample, tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr("tandemlens.learn.pretrain.save_encoder", lambda *given: None)
        patch.setattr("pathlib.Path.unlink", lambda *given, **named: None)
        trained_only(sample, tmp_path, epochs=1)
    checkpoint = tmp_path / "p.ckpt"
    # weights and plain values alone
    assert torch.load(checkpoint, weights_only=True)["tandemlens"]["ended"] == "all 1 epochs done"
    with caplog.at_level("INFO", "tandemlens"):
        _, said = trained(sample, tmp_path, epochs=2, seed=6)
    assert said == [(1, 2), (2, 2)]
    assert "is of other settings, code or stamps: training starts anew" in caplog.text
    checkpoint.write_bytes(b"half a checkpoint")
    with caplog.at_level("INFO", "tandemlens"):
        _, said = trained(sample, tmp_path, epochs=2, seed=6)
    assert said == [(1, 2), (2, 2)]
    assert "cannot be read (KeyError): training starts anew" in caplog.text


def trained_only(sample, folder, **changes):
    pretrain(sample, folder / "encoder", folder / "p.ckpt", {**CFG, **changes}, quiet)


def test_same_seed_same_weights_and_no_look_at_other_roles(sample, tmp_path):
    rng = np.random.default_rng(9)
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    shards = []
    for path in sample.train_paths:
        with open_stamps(path) as file:
            names = {name: int(n) - 1 for name, n in zip(file.target_ids, np.diff(file.start), strict=True)}
        copied = tmp_path / path.rsplit("/", 1)[1]
        shutil.copy(path, copied)
        with h5py.File(copied, "r+") as out:
            roles = sample.folds.set_index("target_id")["role"].loc[list(names)]
            rows = np.isin(out["target"][:], np.flatnonzero(roles != "train"))
            assert rows.any()
            flux = out["flux"][:]
            flux[rows] = rng.normal(size=flux[rows].shape)
            out["flux"][...] = flux
        shards.append(str(copied))
    trained(sample, folders[0], epochs=1)
    trained(replace(sample, train_paths=shards), folders[1], epochs=1)
    trained(sample, folders[2], epochs=1, seed=6)
    a, b, c = map(weights_of, folders)
    assert equal(a, b)
    assert not equal(a, c)


def test_collapse_is_seen(sample, tmp_path, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    assert spread(torch.randn(4000, 32, generator=rng)).item() == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(50, 8)).item() == 0
    bumps = torch.ones(500, 8) + 1e-3 * torch.randn(500, 8, generator=rng)
    assert spread(bumps).item() < 0.01
    # predictions that are all alike, as without the stopped gradient
    monkeypatch.setattr("tandemlens.learn.pretrain_task.spread", lambda z: spread(0 * z + 1))
    facts, said = trained(sample, tmp_path)
    assert said == [(1, 3)]
    assert not facts["trained"]
    assert facts["reason"].startswith("training collapsed: vectors of all stamps are alike in epoch 1 (spread 0, ")
    assert not (tmp_path / "encoder/weights.safetensors").exists()
    # features of a masked autoencoder may be alike and of use
    (tmp_path / "mae").mkdir()
    assert trained(sample, tmp_path / "mae", method="mae", epochs=1)[0]["trained"]


def test_what_cannot_be_learnt_is_said(sample, tmp_path):
    assert trained(sample, tmp_path, batch=64, accumulate=2)[0]["reason"].startswith(
        "75 stamps are too few for a step of 1 x 2 x 64; make pretrain.batch or accumulate smaller"
    )
    alone = sample.systems.assign(canvas=sample.systems["target_id"])
    reason = trained(replace(sample, systems=alone), tmp_path, method="lensiam")[0]["reason"]
    assert reason.startswith("none of 19 systems shares its lens with another: pretrain.method lensiam needs")
    reason = trained(sample, tmp_path, learning_rate=1e30)[0]["reason"]
    assert reason.startswith("training diverged: the loss of epoch ")
    (tmp_path / "p.ckpt").unlink(missing_ok=True)
    facts, said = trained(sample, tmp_path, minutes=1e-9)
    assert facts["ended"] == "the budget of 1e-09 min was spent in epoch 1 of 3"
    assert said == [(1, 3)]


def test_masked_bands_and_pixels_that_are_no_number_are_borne(sample, tmp_path):
    shards = []
    for path in sample.train_paths:
        shards.append(str(shutil.copy(path, tmp_path / path.rsplit("/", 1)[1])))
        with h5py.File(shards[-1], "r+") as out:
            flux, mask = out["flux"][:], out["mask"][:]
            mask[::3, 1] = False
            mask[1::7] = False
            flux[2::5, 0, 3, 3] = np.nan
            out["flux"][...], out["mask"][...] = flux, mask
    facts, _ = trained(replace(sample, train_paths=shards), tmp_path, probe_every=1, epochs=1)
    assert facts["trained"]
    assert np.isfinite([facts["curve"][0][name] for name in ("loss", "spread", "linear_auroc")]).all()
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(tmp_path).values())


def test_settings_that_cannot_be_used(sample, tmp_path):
    facts, _ = trained(sample, tmp_path, method="clsp")
    assert facts["reason"].startswith("pretrain.method clsp has no synthetic positive: none was made or accepted")
    with pytest.raises(InputError, match="mae hides patches and encoder compact has none"):
        trained(sample, tmp_path, method="mae", encoder={**CFG["encoder"], "name": "compact"})
    with pytest.raises(InputError, match="fast_moco quarters stamps of 16 pixels"):
        trained(sample, tmp_path, method="fast_moco", encoder={**CFG["encoder"], "name": "compact"})
    weights = {**CFG["encoder"], "weights": "file", "file": str(tmp_path / "w.pth"), "sha256": "0" * 64}
    with pytest.raises(InputError, match=r"w\.pth is not there"):
        trained(sample, tmp_path, encoder=weights)


def test_a_lost_gpu_is_said(sample, tmp_path, monkeypatch):
    def lost(*given, **named):
        raise RuntimeError("CUDA error: device lost\nmore")

    monkeypatch.setattr("tandemlens.learn.pretrain.pick_device", lambda wanted: torch.device("cuda"))
    monkeypatch.setattr("tandemlens.learn.pretrain_task.lightning.Trainer", lambda **named: None)
    monkeypatch.setattr("tandemlens.learn.pretrain_task.torch.cuda.is_bf16_supported", lambda: False)
    monkeypatch.setattr(
        "tandemlens.learn.pretrain_task.lightning.Trainer", lambda **named: type("T", (), {"fit": lost})
    )
    with pytest.raises(
        InputError, match=r"the GPU was lost or is full in epoch 1 \(CUDA error: device lost\); run again"
    ):
        trained(sample, tmp_path)


def test_pairs_have_one_lens_and_two_sources(sample):
    pairs = LensPairs(sample.train_paths, sample.systems, 100)
    # c01 has one system with a stamp
    assert len(pairs) == 19
    first, second = pairs.draw(50, np.random.default_rng(1))
    assert (first.label == 0).all()
    lens = [first.target // 2, second.target // 2]
    assert np.array_equal(*lens)
    assert (first.target != second.target).all()
    # colours tell the two classes apart
    assert not np.array_equal(first.flux, second.flux)


def test_probes_find_what_is_there_and_nothing_in_noise(sample):
    rng = np.random.default_rng(2)
    labels, radii = rng.uniform(size=300) < 0.4, rng.uniform(1, 3, 300)
    radii[::7] = np.nan
    fit = np.arange(300) < 150
    noise = rng.normal(size=(300, 12))
    told = noise.copy()
    told[:, 0] += 4 * labels
    told[:, 1] += 4 * np.log(np.nan_to_num(radii, nan=1.0))
    group = np.arange(300)
    good, bad = probe(told, labels, radii, group, fit, ~fit), probe(noise, labels, radii, group, fit, ~fit)
    assert good["linear_auroc"] > 0.97
    assert good["knn_auroc"] > 0.85
    assert good["radius_r2"] > 0.5
    assert abs(bad["linear_auroc"] - 0.5) < 0.15
    assert bad["radius_r2"] < 0.1
    few = probe(told[:8], labels[:8], radii[:8], group[:8], fit[:8], ~fit[:8])
    assert set(few.values()) == {None}


def test_a_radius_is_not_known_by_what_else_systems_of_one_lens_share():
    # features that know the lens and nothing of its radius
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(120), 4)
    features = rng.normal(size=(120, 60))[group] + 0.1 * rng.normal(size=(480, 60))
    radii, fit = np.exp(rng.normal(size=120))[group], group < 60
    assert -0.25 < radius_r2(features, radii, group, fit, ~fit) < 0.1
    assert radius_r2(features, radii, np.arange(480), fit, ~fit) < -1
    assert radius_r2(features, radii, np.zeros(480), fit, ~fit) is None


def test_features_of_a_system_are_its_centre_and_the_mean_of_its_segments(sample):
    encoder = create_encoder("vit_mini_patch8", 2, SIDE, np.random.default_rng(0))
    wanted = {"c00-tandem", "c01-arc", "c15-arc"}
    names, features = system_features(encoder, sample.train_paths, wanted, 4, torch.device("cpu"))
    assert names == ["c00-tandem", "c15-arc"]
    with open_stamps(sample.train_paths[1]) as file:
        stamps = file.system(file.target_ids.index("c15-arc"))
    found = encoder(torch.from_numpy(stamps.flux).float()).detach().numpy()
    np.testing.assert_allclose(features[1], np.concatenate([found[0], found[1:].mean(0)]), rtol=1e-4, atol=1e-5)


def galaxies(path, n=30, side=20, bands=3, seed=0):
    """Images in GalaxiesML's layout: noise of 2, 3, 4, ... by band, and a galaxy."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    image = (
        100 * np.exp(-(x**2 + y**2) / 2)
        + rng.normal(size=(n, bands, side, side)) * (2 + np.arange(bands))[:, None, None]
    )
    image[0, 1, 0, 0] = np.nan
    with h5py.File(path, "w") as out:
        out["image"] = image.astype(np.float32)
        out["specz_redshift"] = rng.uniform(size=n)
    return image


@pytest.mark.parametrize("side", [20, 11])
def test_galaxies_become_stamps(sample, tmp_path, side):
    image = galaxies(tmp_path / "g.hdf5", side=side)
    with open_stamps(sample.train_paths[0]) as file:
        form = file.format
    settings = {"file": str(tmp_path / "g.hdf5"), "bands": ["r", "y", "u"], "most": 10}
    names = write_galaxies(settings, tmp_path / "g.h5", form, 3.0)
    assert len(names) == 10
    with open_stamps(tmp_path / "g.h5") as file:
        assert (file.format, list(file.target_ids)) == (form, names)
        stamps = file.read(0, 10)
    # g is none of theirs
    assert not stamps.mask[:, 0].any()
    assert not stamps.flux[:, 0].any()
    common = min(side, SIDE)
    assert (stamps.mask[1, 1].sum(), stamps.mask[0, 1].sum()) == (common**2, common**2)
    assert stamps.flux[3, 1].argmax() in [(SIDE // 2 + a) * SIDE + SIDE // 2 + b for a in (-1, 0) for b in (-1, 0)]
    # on the scale of the stamps the noise is 1 / softening, whatever it was
    np.testing.assert_allclose(stamps.sigma[:, 1][stamps.mask[:, 1]], 1 / 3, rtol=1e-3)
    low, own = (side - common) // 2, (SIDE - common) // 2
    rows = np.unique(np.linspace(0, 29, 10).astype(int))
    cut = image[rows[3], 0, low : low + common, low : low + common]
    ratio = np.sinh(stamps.flux[3, 1].astype(float)[own : own + common, own : own + common]) / cut
    bright = cut > 20
    np.testing.assert_allclose(ratio[bright], 1 / (3 * 2.0), rtol=0.2)


def test_galaxies_are_learnt_from_besides(sample, tmp_path):
    galaxies(tmp_path / "g.hdf5", bands=2)
    (tmp_path / "run").mkdir()
    given = {"file": str(tmp_path / "g.hdf5"), "bands": BANDS, "most": 12}
    facts, _ = trained(sample, tmp_path / "run", epochs=1, galaxies=given)
    assert (facts["galaxies"], facts["stamps"]) == (12, 75 + 12)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["encoder"]


def test_galaxy_files_are_refused(sample, tmp_path):
    galaxies(tmp_path / "g.hdf5")
    with open_stamps(sample.train_paths[0]) as file:
        form = file.format
    given = {"file": str(tmp_path / "g.hdf5"), "bands": ["g", "r"], "most": 10}
    with pytest.raises(InputError, match=r"have a dataset image of shape \(30, 3, 20, 20\) and not \(n, 2, y, x\)"):
        write_galaxies(given, tmp_path / "o.h5", form, 3.0)
    with pytest.raises(InputError, match=r"have the bands u, y, j and the run g, r; leave them out"):
        write_galaxies({**given, "bands": ["u", "y", "j"]}, tmp_path / "o.h5", form, 3.0)
    (tmp_path / "g.txt").write_text("no images")
    with pytest.raises(InputError, match=r"g\.txt cannot be read as HDF5"):
        write_galaxies({**given, "file": str(tmp_path / "g.txt")}, tmp_path / "o.h5", form, 3.0)
    assert not (tmp_path / "o.h5").exists()
