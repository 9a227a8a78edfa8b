"""Few examples of a class that no episode has shown, and what synthetic systems add.

Run from the root of the project on a finished run with stamps (and, for ``synthetic``, synthetic.h5 and
synthetic.parquet beside them)::

    PYTHONPATH=workflow/scripts python benchmarks/shots.py shots RESULTS SURVEY ENCODER
    PYTHONPATH=workflow/scripts python benchmarks/shots.py synthetic RESULTS SURVEY ENCODER

ENCODER is a folder as models/encoder. It is frozen for all methods, so that they differ in what stands on it alone: the
embedding of head ``proto`` trained through episodes without any tandem; SimpleShot; and the attention of head ``mil``
trained by cross-entropy on the shots. Everything is judged on the systems of all roles but train.
"""

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from torch.nn.functional import binary_cross_entropy_with_logits

from tandemlens.base.config import validate_settings
from tandemlens.base.tables import read_table
from tandemlens.learn.bags import Bags
from tandemlens.learn.classifier import reproducible
from tandemlens.learn.encoders import load_encoder
from tandemlens.learn.episodes import EpisodeSampler, fine_classes
from tandemlens.learn.episodic import EpisodeTraining, train_episodes
from tandemlens.learn.frozen import FrozenBags, Given, freeze_bags
from tandemlens.learn.metrics import auroc, tpr_at_fpr
from tandemlens.learn.pooling import create_classifier, create_embedding
from tandemlens.learn.prototypes import Closeness
from tandemlens.learn.resample import paired_difference
from tandemlens.learn.shots import Episodes, SimpleShot
from tandemlens.learn.synthetic import with_synthetic
from tandemlens.learn.views import Views

ROOT = Path(__file__).parents[1]
SHOTS, LABELLED, SEEDS = (5, 10, 20), (20, 50, 200), range(5)
NETWORK = {"width": 64, "layers": 0, "dropout": 0.2}
CPU = torch.device("cpu")


def settings(name):
    return validate_settings({}, yaml.safe_load((ROOT / f"config/schemas/{name}.schema.yaml").read_text()))


def features(results, survey, encoder_dir, synthetic):
    """Frozen features of all systems of the training sample, and what is known of them; kept beside the encoder."""
    shards = sorted(path.parent for path in (Path(results) / survey / "train").glob("*/stamps.h5"))
    systems = pd.concat([read_table(shard / "systems.parquet") for shard in shards], ignore_index=True)
    folds = read_table(Path(results) / "training/folds.parquet")
    paths = [shard / "stamps.h5" for shard in shards]
    kept = Path(encoder_dir) / ("features_synthetic.npz" if synthetic else "features.npz")
    if synthetic:
        tables = [shard / "synthetic.parquet" for shard in shards if (shard / "synthetic.parquet").exists()]
        paths += [table.with_suffix(".h5") for table in tables]
        systems, folds = with_synthetic(systems, folds, tables)
        made = pd.concat(map(read_table, tables)).set_index("target_id")["anchor"]
    bags = Bags(list(map(str, paths)))
    rows = np.flatnonzero(bags.filled)
    if not kept.exists():
        facts = json.loads((Path(encoder_dir) / "encoder.json").read_text())
        encoder = load_encoder(encoder_dir, facts["bands"], bags.format.pixels)
        draws = [Views(settings("views"), torch.Generator().manual_seed(k)) for k in range(2)]
        frozen = freeze_bags(encoder, bags, rows, 16, CPU, draws)
        np.savez(kept, features=frozen.features, geometry=frozen.geometry, start=frozen.start)
    held = np.load(kept)
    frozen = FrozenBags(*(torch.from_numpy(held[name]) for name in ("features", "geometry")), held["start"])
    names = np.array(bags.target_ids, object)[rows]
    known = systems.merge(folds[["target_id", "group", "role"]], on="target_id").set_index("target_id").loc[names]
    return frozen, known.assign(anchor=made.reindex(names).to_numpy() if synthetic else None).reset_index()


def attend(frozen, labels, rows, seed, epochs=40):
    """Log odds of all systems by attention over frozen features, trained on some."""
    rng = np.random.default_rng(seed)
    network = create_classifier(Given(frozen.features.shape[2]), frozen.geometry[0], NETWORK, 2, rng)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    target, batches = torch.tensor(labels, dtype=torch.float32), -(-len(rows) // 32)
    weight = torch.tensor((len(rows) - labels[rows].sum()) / labels[rows].sum())
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, epochs * batches)
    torch.manual_seed(seed)
    for _ in range(epochs):
        network.train()
        for some in np.array_split(rng.permutation(rows), batches):
            logits = network(*frozen.batch(some, rng))[0]
            loss = binary_cross_entropy_with_logits(logits, target[some], pos_weight=weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
    network.eval()
    with torch.no_grad():
        parts = [network(*frozen.batch(some))[0] for some in np.array_split(np.arange(len(frozen)), 20)]
    return torch.cat(parts).numpy()


def embed(frozen, known, seed):
    """An embedding that was trained through episodes of every class but tandems."""
    cfg, rng = settings("heads/proto"), np.random.default_rng(seed)
    held = known["class"].isin(["spiral_ring_merger"]).to_numpy()
    train = (known["role"] == "train").to_numpy() & ~held & (known["class"] != "tandem").to_numpy()
    names = []
    for rows in (train, held & (known["role"] == "train").to_numpy()):
        names.append(np.full(len(known), "", object))
        names[-1][rows] = fine_classes(known[rows], cfg["shots"] + cfg["queries"])
    sizes = cfg["shots"], cfg["queries"]
    samplers = EpisodeSampler(names[0], cfg["ways"], *sizes), EpisodeSampler(names[1], 2, *sizes)
    network = create_embedding(Given(frozen.features.shape[2]), frozen.geometry[0], NETWORK, rng)
    near = Closeness(cfg["distance"])
    training = EpisodeTraining(**{name: cfg[name] for name in EpisodeTraining.__dataclass_fields__})
    report = train_episodes(network, near, frozen, *samplers, training, rng, lambda done, total: None)
    return Episodes(network, near, NETWORK["width"]), report


def shots(frozen, known):
    """AUROC and TPR at FPR 0.1 from 5, 10 and 20 tandems."""
    label, train = known["label"].to_numpy(bool), (known["role"] == "train").to_numpy()
    judged, others = ~train, np.flatnonzero(train & ~label)
    found = []
    for seed in SEEDS:
        ranking, report = embed(frozen, known, seed)
        simple = SimpleShot(2 * frozen.features.shape[2])
        simple.centre += torch.from_numpy(frozen.plain_means()[others].mean(0))
        vectors, plain = ranking.vectors_of(frozen), simple.vectors_of(frozen)
        for n in SHOTS:
            some = np.random.default_rng([seed, n]).choice(np.flatnonzero(train & label), n, replace=False)
            ranking.fit(vectors[some].mean(0), vectors[others], 8, seed)
            simple.fit(plain[some].mean(0), plain[others], known["class"].to_numpy()[others])
            scores = {
                "proto (episodes)": ranking(frozen),
                "SimpleShot": simple(frozen),
                "mil": attend(frozen, label, np.r_[some, others], seed),
            }
            for name, score in scores.items():
                pair = score[judged], label[judged]
                found.append((name, n, seed, auroc(*pair), tpr_at_fpr(*pair, 0.1)))
        best = max(entry["held_out_accuracy"] for entry in report["curve"])
        print(f"seed {seed}: accuracy on two held-out classes {best:.3f}", flush=True)
    table = pd.DataFrame(found, columns=["method", "shots", "seed", "auroc", "tpr_at_fpr_0.1"])
    told = table.groupby(["method", "shots"])[["auroc", "tpr_at_fpr_0.1"]].agg(["mean", "sem"])
    print(f"{label[judged].sum()} tandems of {judged.sum()} systems; mean and error over {len(SEEDS)} draws")
    print(told.round(3).to_string())


def synthetic(frozen, known):
    """TPR at FPR 0.01 with and without synthetic systems, of 20, 50 and 200 tandems or as many as there are."""
    label, train = known["label"].to_numpy(bool), (known["role"] == "train").to_numpy()
    real = known["anchor"].isna().to_numpy()
    judged, groups = ~train & real, known["group"].to_numpy()
    ids, anchor = known["target_id"].to_numpy(), known["anchor"].to_numpy()
    tandems, others = (np.flatnonzero(train & real & kind) for kind in (label, ~label))
    for n in LABELLED:
        if n > len(tandems):
            print(f"{n} tandems: there are {len(tandems)}, which are taken")
        scores = {"with": [], "without": []}
        for seed in SEEDS:
            some = np.random.default_rng([seed, n]).choice(tandems, min(n, len(tandems)), replace=False)
            rows = np.r_[some, others]
            made = np.flatnonzero(~real & np.isin(anchor.astype(str), ids[rows].astype(str)))
            scores["without"].append(attend(frozen, label, rows, seed)[judged])
            scores["with"].append(attend(frozen, label, np.r_[rows, made], seed)[judged])
        for metric in ("tpr_at_fpr_0.01", "tpr_at_fpr_0.1", "auroc"):
            rows = []
            for one, other in zip(scores["with"], scores["without"], strict=True):
                rng = np.random.default_rng(0)
                rows.append(paired_difference(one, other, label[judged], metric, rng, groups[judged]))
            mean = pd.DataFrame(rows)[["a", "b", "difference", "low", "high"]].mean()
            spread = pd.DataFrame(rows)["difference"].std(ddof=1) / np.sqrt(len(rows))
            print(
                f"{min(n, len(tandems))} tandems, {metric}: with {mean['a']:.3f}, without {mean['b']:.3f}, difference "
                f"{mean['difference']:+.3f} (mean 95% over groups {mean['low']:+.3f} to {mean['high']:+.3f}; error "
                f"over seeds {spread:.3f})",
                flush=True,
            )


def main():
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["shots", "synthetic"])
    parser.add_argument("results")
    parser.add_argument("survey")
    parser.add_argument("encoder")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    started = time.monotonic()
    with reproducible(CPU, 1):
        frozen, known = features(given.results, given.survey, given.encoder, given.what == "synthetic")
        print(f"features of {len(frozen)} systems after {time.monotonic() - started:.0f} s", flush=True)
        {"shots": shots, "synthetic": synthetic}[given.what](frozen, known)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
