"""The head of prototypes on systems whose evidence is one stamp, with and without anything to learn from."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from test_head_mil import BANDS, SIDE, system, write_stamps

from places import defaults
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table
from tandemlens.heads.proto import fit, score
from tandemlens.learn.encoders import create_encoder, save_encoder

CFG = {
    **defaults("proto"),
    **{"pretrained": False, "episodes": 120, "learning_rate": 0.003, "width": 32, "device": "cpu", "drawn_views": 1},
    **{"ways": 3, "dropout": 0.0, "bands": BANDS, "seed": 4, "threads": 1},
}
CFG["encoder"] = {**defaults("encoder"), "name": "vit_mini_patch8"}
CFG["views"] = {**defaults("views"), "rotation": False, "shift_pixels": 0, "blur_pixels": 0}
SHORT = {**CFG, "episodes": 20}
CLASSES = np.array(["tandem", "projected", "single_arc", "spiral_ring_merger"])


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """200 systems of four classes; tandems have the blue stamp, others of small radius differ by nothing."""
    rng, folder, n = np.random.default_rng(0), tmp_path_factory.mktemp("sample"), 200
    names = [f"t{k:03d}" for k in range(n)]
    classes = CLASSES[np.arange(n) % 4]
    roles = np.array(["train", "train", "train", "stop", "test"])[np.arange(n) // 4 % 5]
    systems = {name: system(kind == "tandem", rng)[0] for name, kind in zip(names, classes, strict=True)}
    systems["t000"] = None
    items = list(systems.items())
    paths = [write_stamps(folder / f"{k}.h5", dict(part)) for k, part in enumerate((items[:90], items[90:]))]
    facts = {"class": classes, "label": classes == "tandem", "artefact": "", "n_seen": 2}
    table = pd.DataFrame({"target_id": names, **facts, "theta_e": np.where(np.arange(n) // 4 % 2, 3.0, 9.0)})
    return table, pd.DataFrame({"target_id": names, "group": names, "role": roles, "reason": ""}), paths


def train(sample, folder, cfg=CFG, encoder=None, **more):
    systems, folds, paths = sample
    fit(systems, folds, paths, encoder, folder, cfg, quiet, **more)
    return json.loads((folder / "proto.json").read_text())


def scores_of(path, model, tmp_path, cfg=CFG):
    score(path, model, tmp_path / "scores.parquet", cfg)
    return read_table(tmp_path / "scores.parquet").set_index("target_id")


@pytest.fixture(scope="module")
def fitted(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return folder, train(sample, folder, {**CFG, "guard": False})


def test_it_ranks_tandems_it_has_not_seen(sample, fitted, tmp_path):
    folder, facts = fitted
    assert facts["by"] == "episodes"
    found = pd.concat([scores_of(path, folder, tmp_path) for path in sample[2]])
    test = sample[0][(sample[1]["role"] == "test").to_numpy()]
    assert roc_auc_score(test["label"], found.loc[test["target_id"], "proto"]) > 0.9
    assert found.index.tolist() == sample[0]["target_id"].tolist()
    # one without a stamp has no score
    none = found[found["proto"].isna()]
    assert (none.index.tolist(), none["proto_by"].tolist()) == (["t000"], ["none"])
    assert set(found["proto_by"].drop("t000")) == {"episodes"}


def test_the_model_says_what_it_saw(fitted):
    facts = fitted[1]
    assert facts["train"] == {"systems": 119, "positives": 29}
    assert facts["stop"] == {"systems": 40, "positives": 10}
    assert facts["held_out_classes"] == ["spiral_ring_merger//0", "spiral_ring_merger//2"] or all(
        name.startswith("spiral_ring_merger") for name in facts["held_out_classes"]
    )
    assert not any(name.startswith("spiral") for name in facts["classes"])
    assert len(facts["classes"]) == 6
    assert 0.5 < facts["auroc_episodes"] <= 1


def test_the_embedding_must_beat_simple_shot(sample, tmp_path):
    """Not trained at all, it does not."""
    facts = train(sample, tmp_path, {**SHORT, "episodes": 1, "learning_rate": 1e-12})
    better = facts["auroc_episodes"] - facts["auroc_simpleshot"] > facts["error"]
    assert facts["by"] == ("episodes" if better else "simpleshot")
    table = scores_of(sample[2][0], tmp_path, tmp_path)
    assert set(table["proto_by"].drop("t000")) == {facts["by"]}
    assert np.isfinite(table["proto"].drop("t000")).all()


def test_same_seed_same_weights_and_no_look_at_other_roles(sample, tmp_path):
    systems, folds, paths = sample
    hidden = systems.assign(label=np.where(folds["role"] == "test", ~systems["label"], systems["label"]))
    for name, table, cfg in (("a", systems, SHORT), ("b", hidden, SHORT), ("c", systems, {**SHORT, "seed": 5})):
        train((table, folds, paths), tmp_path / name, {**cfg, "guard": False})
    a, b, c = (load_file(tmp_path / name / "weights.safetensors") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


@pytest.mark.parametrize("distance", ["squared", "cosine"])
def test_graded_candidates_move_the_prototype(sample, tmp_path, distance):
    rng = np.random.default_rng(9)
    names = [f"s{k}" for k in range(8)]
    search = [write_stamps(tmp_path / "s.h5", {name: system(k < 6, rng)[0] for k, name in enumerate(names)})]
    graded = pd.Series(np.arange(8) < 6, index=names)
    cfg, found = {**SHORT, "guard": False, "distance": distance}, {}
    for name, some in (("none", graded[:0]), ("some", graded), ("few", graded[3:])):
        facts = train(sample, tmp_path / name, cfg, graded=some, search_paths=search)
        assert facts["graded"] == {"lenses": int(some.sum()), "others": int((~some).sum())}
        labels = scores_of(search[0], tmp_path / name, tmp_path)["proto_label"]
        told = {"none": 0, "some": 6, "few": 0}[name], {"none": 0, "some": 2, "few": 2}[name]
        assert ((labels == "lens").sum(), (labels == "no_lens").sum()) == told
        found[name] = load_file(tmp_path / name / "weights.safetensors")["ranking.lens"]
    # three are less than proto.least_graded
    assert torch.equal(found["few"], found["none"])
    assert not torch.equal(found["some"], found["none"])


def reason(sample, tmp_path, cfg=SHORT, **options):
    facts = train(sample, tmp_path / "model", cfg, **options)
    assert not facts["trained"]
    table = scores_of(
        write_stamps(tmp_path / "o.h5", {"a": system(True, np.random.default_rng(6))[0]}), tmp_path / "model", tmp_path
    )
    assert (table["proto"].isna().tolist(), table["proto_by"].tolist()) == ([True], ["none"])
    return facts["reason"]


@pytest.mark.parametrize(("role", "left"), [("train", 4), ("stop", 1)])
def test_too_few_tandems(sample, tmp_path, role, left):
    systems, folds, paths = sample
    mine = np.flatnonzero((folds["role"] == role) & systems["label"] & (systems["target_id"] != "t000"))
    labels = systems["label"].to_numpy().copy()
    labels[mine[left:]] = False
    said = reason((systems.assign(label=labels), folds, paths), tmp_path)
    assert said.startswith(f"role {role} has {left} tandems of ")
    assert "enlarge the training sample (samples.train)" in said


def test_too_few_classes_leave_simple_shot(sample, tmp_path, caplog):
    facts = train(sample, tmp_path, {**SHORT, "shots": 40})
    assert (facts["trained"], facts["by"]) == (True, "simpleshot")
    assert "classes have the 40 + 3 members that an episode of 3 takes (too few: " in facts["reason"]
    assert "the proto head is SimpleShot: " in caplog.text
    assert np.isfinite(scores_of(sample[2][1], tmp_path, tmp_path)["proto"]).all()


def test_an_encoder_that_is_not_there_is_told(sample, tmp_path):
    with pytest.raises(InputError, match=r"proto\.pretrained is true but this run has no stage pretrain"):
        train(sample, tmp_path, {**SHORT, "pretrained": True})
    (tmp_path / "encoder.json").write_text(json.dumps({"trained": False, "reason": "there are 3 stamps"}))
    assert reason(sample, tmp_path, {**SHORT, "pretrained": True}, encoder=str(tmp_path)).endswith("there are 3 stamps")


def test_a_pretrained_encoder_stays_as_it_is(sample, tmp_path):
    encoder = create_encoder("vit_mini_patch8", 2, SIDE, np.random.default_rng(1))
    save_encoder(encoder, tmp_path, {"bands": BANDS})
    train(sample, tmp_path / "m", {**SHORT, "pretrained": True}, encoder=str(tmp_path))
    saved = load_file(tmp_path / "m/weights.safetensors")
    assert all(torch.equal(value, saved[f"encoder.{name}"]) for name, value in encoder.state_dict().items())


def test_stamps_of_another_make_are_refused(fitted, tmp_path):
    path = write_stamps(tmp_path / "i.h5", {"one": system(True, np.random.default_rng(6))[0]}, ["g", "i"])
    with pytest.raises(InputError, match=r"i\.h5 have bands .* but the proto head was fitted to .*; fit it again"):
        scores_of(path, fitted[0], tmp_path)


def test_an_empty_shard_is_an_empty_table(fitted, tmp_path):
    table = scores_of(write_stamps(tmp_path / "none.h5", {}), fitted[0], tmp_path)
    assert (len(table), table["proto"].dtype) == (0, float)


def test_layers_may_be_put_in_front(sample, tmp_path):
    facts = train(sample, tmp_path, {**SHORT, "layers": 1, "guard": False})
    assert facts["by"] == "episodes"
    assert np.isfinite(scores_of(sample[2][1], tmp_path, tmp_path)["proto"]).all()
