"""The head of bags of stamps on systems whose evidence is one stamp, or is not there."""

import json
from contextlib import nullcontext
from dataclasses import fields

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from killed import kill_amid
from learn.bag_toy import BANDS, SIDE, system, write_stamps
from places import defaults
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table
from tandemlens.features.stamps import GEOMETRY
from tandemlens.heads.mil import fit, score
from tandemlens.learn import bags as bags_module
from tandemlens.learn.bags import Bags, bag_loader
from tandemlens.learn.classifier import VIEWS
from tandemlens.learn.encoders import create_encoder, save_encoder
from tandemlens.learn.mil_training import BagTraining, parameter_groups, score_bags, tempered_entropy
from tandemlens.learn.pooling import create_classifier

CFG = {
    **defaults("mil"),
    **{"epochs": 12, "learning_rate": 0.003, "batch": 20, "width": 32, "device": "cpu", "augment": "views"},
    **{"bands": BANDS, "seed": 4, "threads": 1, "code": "c0de"},
}
CFG["encoder"] = {**defaults("encoder"), "name": "vit_mini_patch8"}
CFG["views"] = {**defaults("views"), "rotation": False, "shift_pixels": 0, "blur_pixels": 0}
#: too short to learn anything, and fast
SHORT = {**CFG, "epochs": 2, "batch": 64}


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Systems, folds and two shards; t000 of role train has no stamp, t005 no valid pixel, and t010 one without."""
    rng, folder, n = np.random.default_rng(0), tmp_path_factory.mktemp("sample"), 200
    names = [f"t{k:03d}" for k in range(n)]
    labels = np.arange(n) % 3 == 0
    roles = np.array(["train", "train", "train", "stop", "test"])[np.arange(n) % 5]
    systems = {name: system(label, rng)[0] for name, label in zip(names, labels, strict=True)}
    systems["t000"] = None
    systems["t005"]["mask"][:], systems["t005"]["flux"][:] = False, 0
    systems["t010"]["mask"][1], systems["t010"]["flux"][1] = False, 0
    items = list(systems.items())
    paths = [write_stamps(folder / f"{k}.h5", dict(part)) for k, part in enumerate((items[:90], items[90:]))]
    table = pd.DataFrame({"target_id": names, "class": "any", "label": labels})
    folds = pd.DataFrame({"target_id": names, "group": names, "role": roles, "reason": ""})
    return table, folds, paths


@pytest.fixture
def few(sample):
    """Its first shard."""
    return sample[0][:90], sample[1][:90], sample[2][:1]


def train(sample, folder, cfg=CFG, search=(), encoder=None, progress=quiet):
    systems, folds, paths = sample
    fit(systems, folds, paths, list(search), encoder, folder, folder.with_name(f"{folder.name}.ckpt"), cfg, progress)
    return json.loads((folder / "mil.json").read_text())


def scores_of(path, model, tmp_path, cfg=CFG):
    score(path, model, tmp_path / "scores.parquet", cfg)
    return read_table(tmp_path / "scores.parquet").set_index("target_id")


@pytest.fixture(scope="module")
def fitted(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return folder, train(sample, folder)


@pytest.fixture(scope="module")
def found(sample, fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    return pd.concat([scores_of(path, fitted[0], folder) for path in sample[2]])


def test_it_learns_which_systems_hold_the_stamp(sample, found):
    systems, folds, _ = sample
    test = systems[(folds["role"] == "test").to_numpy()]
    assert roc_auc_score(test["label"], found.loc[test["target_id"], "mil"]) > 0.95
    assert found.index.tolist() == systems["target_id"].tolist()


def test_attention_tells_which_stamp_it_was(fitted, tmp_path):
    rng, systems, witnesses = np.random.default_rng(8), {}, []
    for k in range(30):
        systems[f"n{k}"], witness = system(True, rng)
        witnesses.append(10 * witness)
    table = scores_of(write_stamps(tmp_path / "new.h5", systems), fitted[0], tmp_path)
    shares = []
    for text, witness in zip(table["attention"], witnesses, strict=True):
        pairs = [part.split(":") for part in text.split()]
        values = [float(value) for _, value in pairs]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=0.0005 * len(values))
        shares.append({int(label): float(value) for label, value in pairs}[witness])
    assert np.mean(shares) > 0.5


def test_a_system_without_a_usable_stamp_has_no_score(found):
    none = found[found["mil"].isna()]
    assert none.index.tolist() == ["t000", "t005"]
    assert set(none["mil_by"]) == {"none"}
    assert set(none["attention"]) == {""}
    assert set(found["mil_by"].drop(none.index)) == {"vit_mini_patch8"}
    # a stamp without a valid pixel is no member of its bag
    assert "10:" not in f" {found.loc['t010', 'attention']}".replace(" 0:", "")


def test_the_model_says_what_it_saw(sample, fitted):
    facts, (systems, folds, _) = fitted[1], sample
    labels = systems.set_index("target_id")["label"]
    roles = folds.set_index("target_id")["role"].drop(["t000", "t005"])
    for role in ("train", "stop"):
        names = roles.index[roles == role]
        assert facts[role] == {"systems": len(names), "positives": int(labels[names].sum())}
    assert (facts["without_stamps"], facts["unlabelled"], facts["frozen"]) == (2, 0, [])
    assert facts["format"]["bands"] == BANDS
    losses = [epoch["stop_loss"] for epoch in facts["curve"]]
    assert facts["best_epoch"] == 1 + int(np.argmin(losses))
    assert min(losses) < 0.5 < losses[0]


def test_turned_and_mirrored_systems_have_one_score(fitted, tmp_path):
    """The stamps turn, and the azimuth of each with them."""
    plain, _ = system(True, np.random.default_rng(5))
    x, y = GEOMETRY.index("cos_azimuth"), GEOMETRY.index("sin_azimuth")
    mirrored = {**plain, "flux": plain["flux"][..., ::-1], "geometry": plain["geometry"].copy()}
    mirrored["geometry"][:, x] *= -1
    turned = {**plain, "flux": plain["flux"].swapaxes(2, 3), "geometry": plain["geometry"].copy()}
    turned["geometry"][:, [x, y]] = plain["geometry"][:, [y, x]]
    path = write_stamps(tmp_path / "v.h5", {"plain": plain, "mirrored": mirrored, "turned": turned})
    table = scores_of(path, fitted[0], tmp_path)
    np.testing.assert_allclose(table["mil"][["mirrored", "turned"]], table["mil"]["plain"], atol=1e-4)
    once = scores_of(path, fitted[0], tmp_path, {**CFG, "all_views": False})
    assert abs(once["mil"]["mirrored"] - once["mil"]["plain"]) > 1e-4


class Moment(torch.nn.Module):
    """Which way from its middle the light of a stamp lies, along the azimuth of the stamp."""

    def forward(self, stamps, geometry, valid):
        place = torch.arange(SIDE) - (SIDE - 1) / 2
        moment = torch.stack([(stamps.sum((1, 2)) * place).sum(-1), (stamps.sum((1, 3)) * place).sum(-1)], -1)
        along = (moment * geometry[:, [GEOMETRY.index("cos_azimuth"), GEOMETRY.index("sin_azimuth")]]).sum(-1)
        sums = torch.zeros(valid.shape)
        sums[valid] = along
        return sums.sum(1), valid / valid.sum(1, keepdim=True), None


def test_azimuth_turns_with_the_stamps_in_each_of_the_eight_views(sample):
    bags = Bags(sample[2])
    rows = np.flatnonzero(bags.filled)[:20]
    logits = [score_bags(Moment(), bags, rows, 7, torch.device("cpu"), [view])[0] for view in VIEWS]
    assert np.ptp(logits, axis=0).max() < 1e-3
    assert np.ptp(logits[0]) > 10


def test_a_score_does_not_depend_on_who_is_scored_beside(sample, fitted, found, tmp_path):
    alone = scores_of(sample[2][0], fitted[0], tmp_path, {**CFG, "batch": 1})
    np.testing.assert_allclose(alone["mil"], found["mil"][alone.index], atol=1e-5)


def test_same_seed_same_weights_and_no_look_at_the_test_role(few, tmp_path):
    systems, folds, paths = few
    hidden = systems.assign(label=np.where(folds["role"] == "test", ~systems["label"], systems["label"]))
    for name, table, cfg in (
        ("a", systems, SHORT),
        ("b", hidden, {**SHORT, "workers": 1}),
        ("c", systems, {**SHORT, "seed": 5}),
    ):
        train((table, folds, paths), tmp_path / name, cfg)
    a, b, c = (load_file(tmp_path / name / "weights.safetensors") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)
    assert (tmp_path / "a/mil.json").read_text() == (tmp_path / "b/mil.json").read_text()


def test_every_class_of_other_systems_is_learnt_or_all_as_one(few, tmp_path):
    systems, folds, paths = few
    kinds = np.where(systems["label"], "tandem", np.array(["members", "artefact"])[np.arange(len(systems)) % 2])
    named = systems.assign(**{"class": kinds})
    for k, (classes, wanted) in enumerate(((True, ["tandem", "artefact", "members"]), (False, ["tandem", "other"]))):
        facts = train((named, folds, paths), tmp_path / str(k), {**SHORT, "classes": classes})
        assert facts["classes"] == wanted
        weights = load_file(tmp_path / str(k) / "weights.safetensors")
        assert len(weights["classifier.bias"]) == len(wanted)
        assert np.isfinite(scores_of(paths[0], tmp_path / str(k), tmp_path)["mil"].drop(["t000", "t005"])).all()


def test_a_network_that_is_too_sure_is_judged_at_its_best_temperature():
    rng = torch.Generator().manual_seed(0)
    classes = torch.arange(3000) % 3
    scores = torch.randn(3000, 3, generator=rng, dtype=torch.float64)
    truth = torch.distributions.Categorical(logits=scores)
    classes = torch.multinomial(truth.probs, 1, generator=rng)[:, 0]
    weight = torch.ones(3, dtype=torch.float64)
    least = tempered_entropy(scores, classes, weight)
    assert least == pytest.approx(truth.entropy().mean().item(), abs=0.03)
    assert tempered_entropy(40 * scores, classes, weight) == pytest.approx(least, abs=1e-3)
    assert tempered_entropy(scores.flip(0), classes, weight) == pytest.approx(np.log(3), abs=2e-3)
    assert np.isnan(tempered_entropy(scores * np.nan, classes, weight))


def test_training_ends_when_nothing_is_gained_or_time_is_spent(few, tmp_path):
    said = []
    cfg = {**SHORT, "minutes": 1e-6}
    facts = train(few, tmp_path, cfg, progress=lambda done, total: said.append((done, total)))
    assert facts["ended"] == "the budget of 1e-06 min was spent in epoch 1 of 2"
    assert (said, facts["best_epoch"]) == ([(1, 2)], 1)
    facts = train(few, tmp_path, {**SHORT, "epochs": 9, "patience": 1, "learning_rate": 0.1})
    best = facts["best_epoch"]
    assert facts["ended"] == f"no better for 1 epochs, in epoch {best + 1} of 9"


def train_until(sample, folder, cfg, progress):
    train(sample, folder, cfg, progress=progress)


def test_killed_training_ends_with_the_same_weights(few, tmp_path, caplog):
    # the joint loss has weights of its own to go on with
    cfg = {**SHORT, "epochs": 6, "patience": 6, "joint": {"agreement": 0.2, "hypersphere": 0.2}}
    whole = train(few, tmp_path / "whole", cfg)
    done, when = kill_amid(train_until, tmp_path, few, tmp_path / "parts", cfg)
    assert not (tmp_path / "parts/mil.json").exists()
    # weights and plain values alone
    assert torch.load(tmp_path / "parts.ckpt", weights_only=True)["tandemlens"]["ended"] == ""
    said = []
    with caplog.at_level("INFO", "tandemlens"):
        parts = train(few, tmp_path / "parts", cfg, progress=lambda done, total: said.append(done))
    # the epoch that was reported last may not have been kept yet
    assert said[0] in (done, done + 1, done + 2), when
    assert said[-1] == 6
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(a[key], b[key]) for key in a), when
    assert parts == whole, when
    assert f"training goes on after epoch {said[0] - 1} of checkpoint" in caplog.text
    assert not (tmp_path / "parts.ckpt").exists()


def test_a_checkpoint_of_other_settings_is_not_used(few, tmp_path, caplog, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("tandemlens.heads.mil.CheckpointFile.remove", lambda file: None)
        train(few, tmp_path / "a", SHORT)
    assert (tmp_path / "a.ckpt").exists()
    said = []
    train(few, tmp_path / "a", {**SHORT, "seed": 5}, progress=lambda done, total: said.append(done))
    assert said == [1, 2]
    assert "a.ckpt is of other settings, code or stamps: training starts anew" in caplog.text


def lose(*given, **named):
    raise RuntimeError("CUDA error: device lost\nmore")


def test_a_lost_gpu_is_said_and_no_model_is_written(few, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("tandemlens.heads.mil.pick_device", lambda wanted: torch.device("cuda"))
    for name in ("torch.nn.Module.to", "torch.random.fork_rng", "tandemlens.heads.mil.reproducible"):
        monkeypatch.setattr(name, lambda *given, **named: nullcontext())
    monkeypatch.setattr("tandemlens.heads.mil.JointLoss", lambda *given: None)
    monkeypatch.setattr("tandemlens.learn.mil_training._Training.__init__", lambda *given: None)
    monkeypatch.setattr("tandemlens.learn.mil_training._Training.resume", lambda *given: dict(UNDONE))
    monkeypatch.setattr("tandemlens.learn.mil_training._Training.epoch", lose)
    with pytest.raises(InputError, match=r"the GPU was lost or is full in epoch 1 \(CUDA error: device lost\); run a"):
        train(few, tmp_path / "model", SHORT)
    assert not (tmp_path / "model/mil.json").exists()
    monkeypatch.setattr("tandemlens.heads.mil.score_bags", lose)
    with pytest.raises(InputError, match=r"lost or is full while scoring \(CUDA error: device lost\); run again, or"):
        scores_of(few[2][0], fitted[0], tmp_path)


#: of a training that has not begun
UNDONE = {"curve": [], "best_epoch": 0, "ended": "", "seconds": 0.0}


def reason(sample, tmp_path, cfg=SHORT, **options):
    """Why nothing was trained; what is then scored is NaN, and every target is there."""
    facts = train(sample, tmp_path / "model", cfg, **options)
    assert not facts["trained"]
    path = write_stamps(tmp_path / "one.h5", {"one": system(True, np.random.default_rng(6))[0], "two": None})
    table = scores_of(path, tmp_path / "model", tmp_path)
    assert table["mil"].isna().tolist() == [True, True]
    assert table["mil_by"].tolist() == ["none", "none"]
    return facts["reason"]


@pytest.mark.parametrize(("role", "left"), [("train", 9), ("stop", 1)])
def test_too_few_positives(few, tmp_path, role, left):
    systems, folds, paths = few
    positives = np.flatnonzero((folds["role"] == role) & systems["label"] & (systems["target_id"] != "t000"))
    labels = systems["label"].to_numpy().copy()
    labels[positives[left:]] = False
    said = reason((systems.assign(label=labels), folds, paths), tmp_path)
    assert said.startswith(f"role {role} has {left} positives of ")
    assert "enlarge the training sample (samples.train)" in said


def test_a_sample_that_could_not_be_dealt_or_is_not_there_says_why(few, tmp_path):
    systems, folds, paths = few
    said = reason((systems, folds.assign(role="dropped", reason="two field groups are needed"), paths), tmp_path)
    assert said == "two field groups are needed"
    assert reason((systems, folds, []), tmp_path).startswith("there is no shard with stamps to read")
    assert "of 0 systems with stamps" in reason((systems, folds, [write_stamps(tmp_path / "0.h5", {})]), tmp_path)


def test_diverged_training_is_no_model(few, tmp_path):
    said = reason(few, tmp_path, {**SHORT, "epochs": 1, "learning_rate": 1e30})
    assert said.startswith("training diverged: the loss is no finite number in any of 1 epochs; lower learning_rate")


def test_stamps_of_another_make_are_refused(sample, fitted, tmp_path):
    path = write_stamps(tmp_path / "i.h5", {"one": system(True, np.random.default_rng(6))[0]}, ["g", "i"])
    with pytest.raises(InputError, match=r"i\.h5 have bands .* but the mil head was fitted to .*; fit it again"):
        scores_of(path, fitted[0], tmp_path)
    said = reason((*sample[:2], [*sample[2], path]), tmp_path)
    assert "have bands ('g', 'i') but" in said


def test_pixels_that_are_no_number_cost_their_stamp_and_no_other(fitted, tmp_path, caplog):
    whole, _ = system(True, np.random.default_rng(6), 5)
    broken = {**whole, "flux": whole["flux"].copy()}
    broken["flux"][2, 0, 3, 3] = np.nan
    less = {name: np.delete(values, 2, 0) for name, values in whole.items()}
    path = write_stamps(tmp_path / "nan.h5", {"broken": broken, "less": less})
    table = scores_of(path, fitted[0], tmp_path)
    assert "nan.h5: 1 of them hold pixels that are no number and are left out; make them again" in caplog.text
    assert table["mil"]["broken"] == pytest.approx(table["mil"]["less"], abs=1e-5)
    assert table["attention"]["broken"] == table["attention"]["less"]


def test_a_band_that_is_masked_everywhere_is_borne(fitted, tmp_path):
    half, _ = system(True, np.random.default_rng(6))
    half["mask"][:, 1], half["flux"][:, 1] = False, 0
    table = scores_of(write_stamps(tmp_path / "h.h5", {"half": half}), fitted[0], tmp_path)
    assert np.isfinite(table["mil"]["half"])


def test_an_empty_shard_is_an_empty_table(fitted, tmp_path):
    table = scores_of(write_stamps(tmp_path / "none.h5", {}), fitted[0], tmp_path)
    assert (len(table), table["mil"].dtype) == (0, float)
    table = scores_of(write_stamps(tmp_path / "none.h5", {"a": None}), fitted[0], tmp_path)
    assert table["mil"].isna().tolist() == [True]


def test_a_gpu_that_is_not_there_is_asked_for(monkeypatch, few, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch sees no GPU; set device to auto or cpu"):
        train(few, tmp_path, {**SHORT, "device": "cuda"})


def test_first_weights_are_kept_in_frozen_blocks(few, tmp_path):
    encoder = create_encoder("vit_mini_patch8", 2, SIDE, np.random.default_rng(1))
    save_encoder(encoder, tmp_path, {"bands": BANDS})
    facts = train(few, tmp_path / "m", {**SHORT, "pretrained": True}, encoder=str(tmp_path))
    assert facts["frozen"] == encoder.blocks()[: int(0.75 * len(encoder.blocks()))] != []
    before, after = encoder.backbone.state_dict(), load_file(tmp_path / "m/weights.safetensors")
    kept = {name for name, value in before.items() if torch.equal(value, after[f"encoder.backbone.{name}"])}
    frozen = {name for name in before if name.startswith(tuple(facts["frozen"]))}
    assert {name for name in frozen if "norm" not in name} <= kept
    assert not any(name.startswith(("patch_embed", "blocks.3")) for name in kept)
    free = train(few, tmp_path / "f", {**SHORT, "pretrained": True, "frozen": 0}, encoder=str(tmp_path))
    assert free["frozen"] == []


def test_first_weights_that_are_not_there_are_told(few, tmp_path):
    with pytest.raises(InputError, match=r"mil\.pretrained is true but this run has no stage pretrain"):
        train(few, tmp_path, {**SHORT, "pretrained": True})
    (tmp_path / "encoder.json").write_text(json.dumps({"trained": False, "reason": "there are 3 stamps"}))
    said = reason(few, tmp_path, {**SHORT, "pretrained": True}, encoder=str(tmp_path))
    assert said.endswith("there are 3 stamps")
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    cfg = {**SHORT, "encoder": {**CFG["encoder"], "weights": "file", "file": str(path), "sha256": "0"}}
    with pytest.raises(InputError, match=r"has the sha256 .* and not the declared 0"):
        train(few, tmp_path, cfg)


def test_a_convolutional_encoder_with_layers_trains(few, tmp_path):
    facts = train(
        few, tmp_path, {**SHORT, "encoder": {"name": "compact", "weights": "random"}, "layers": 1, "epochs": 1}
    )
    assert facts["encoder"] == "compact"
    table = scores_of(few[2][0], tmp_path, tmp_path)
    assert np.isfinite(table["mil"].drop(["t000", "t005"])).all()


@pytest.mark.parametrize("name", ["vit_mini_patch8", "compact"])
def test_learning_rates_fall_on_the_way_down(name):
    encoder = create_encoder(name, 2, SIDE, np.random.default_rng(0))
    network = create_classifier(encoder, np.zeros((1, 3)), CFG, 2, np.random.default_rng(0))
    encoder.freeze_blocks(0.25)
    settings = BagTraining(**{f.name: {**CFG, "layer_decay": 0.5}[f.name] for f in fields(BagTraining)})
    groups = parameter_groups(network, settings)
    rate = {id(p): group["lr"] / CFG["learning_rate"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rate)
    assert set(rate) == {id(p) for p in network.parameters() if p.requires_grad}
    assert all((group["weight_decay"] == 0) == (group["params"][0].ndim < 2) for group in groups)
    blocks = [network.encoder.backbone.get_submodule(block) for block in encoder.blocks()]
    means = [np.mean([rate[id(p)] for p in block.parameters() if p.requires_grad]) for block in blocks]
    np.testing.assert_allclose(np.divide(means[1:], means[:-1]), 2)
    assert {rate[id(p)] for p in network.pooling.parameters()} == {1.0}


def test_unlabelled_systems_are_learnt_from(few, tmp_path):
    rng = np.random.default_rng(9)
    search = [write_stamps(tmp_path / "s.h5", {f"s{k}": system(k < 2, rng)[0] for k in range(30)})]
    with_them = train(few, tmp_path / "a", {**SHORT, "unlabelled_weight": 0.3, "prior": 0.05}, search)
    without = train(few, tmp_path / "b", SHORT, search)
    assert (with_them["unlabelled"], without["unlabelled"]) == (30, 0)
    assert with_them["curve"] != without["curve"]
    one = [write_stamps(tmp_path / "few.h5", {"s": system(False, rng)[0]})]
    said = reason(few, tmp_path, {**SHORT, "unlabelled_weight": 0.3}, search=one)
    assert said.startswith("the search has 1 systems with stamps; the mil head needs 20")


def test_the_joint_loss_is_there_for_comparison(few, tmp_path):
    joint = train(few, tmp_path / "a", {**SHORT, "joint": {"agreement": 0.2, "hypersphere": 0.2}})
    assert joint["curve"] != train(few, tmp_path / "b", SHORT)["curve"]
    weights = load_file(tmp_path / "a/weights.safetensors")
    assert set(weights) == set(load_file(tmp_path / "b/weights.safetensors"))
    with pytest.raises(InputError, match="leaves nothing for the labels; let the two be less than 1 together"):
        train(few, tmp_path, {**SHORT, "joint": {"agreement": 0.5, "hypersphere": 0.5}})


def test_bfloat16_trains_and_scores_in_full(few, tmp_path):
    facts = train(few, tmp_path, {**SHORT, "precision": "bfloat16"})
    assert facts["trained"]
    assert {value.dtype for value in load_file(tmp_path / "weights.safetensors").values()} == {torch.float32}


@pytest.mark.parametrize("held", [2**29, 2**20, 0])
def test_bags_come_as_asked_whether_they_are_held_or_read(sample, monkeypatch, held):
    monkeypatch.setattr(bags_module, "_MOST_HELD", held)
    bags = Bags(sample[2])
    batches = [np.array([3, 150, 0]), np.array([7])]
    first, second = bag_loader(bags, batches)
    assert first.rows.tolist() == [3, 150, 0]
    counts = [len(bags.labels[k]) for k in (3, 150, 0)]
    assert counts[2] == 0
    assert first.valid.sum(1).tolist() == counts
    assert first.bag.tolist() == [0] * counts[0] + [1] * counts[1]
    with h5py.File(sample[2][1]) as file:
        at = file["start"][150 - 90]
        wanted = file["flux"][at : at + counts[1]]
    np.testing.assert_array_equal(first.flux[counts[0] :].numpy(), wanted)
    np.testing.assert_array_equal(second.geometry.numpy(), bags.geometry[7])
