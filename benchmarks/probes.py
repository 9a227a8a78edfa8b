"""What a frozen encoder knows: Einstein radii, and tandems from few labels; pretrained, random, and features by hand.

    PYTHONPATH=workflow/scripts python benchmarks/probes.py RESULTS/SURVEY [--methods simsiam lensiam] [--epochs 20]

Takes the stamps and feature tables of a finished run. Every method trains the encoder of the settings for so many
epochs on role train, with several seeds. Linear probes on the frozen features are fitted to role train, judged on all
other roles: R2 of the logarithm of the Einstein radius by ridge regression, and the AUROC of tandems by logistic
regression from 50 labelled systems, half of them tandems, the mean of 20 draws. Brackets are the scatter over seeds.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pretrain_speed import sample_of, settings_of
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tandemlens.learn.classifier import reproducible
from tandemlens.learn.encoders import create_encoder, load_encoder
from tandemlens.learn.matrix import Standard, feature_matrix, feature_names
from tandemlens.learn.pretrain import pretrain
from tandemlens.learn.probe import radius_r2, system_features
from tandemlens.learn.stamps import band_statistics, stamp_blocks

LABELS, DRAWS = 50, 20


def probes(features, table):
    """R2 of the Einstein radius, and AUROC of tandems from few labels, of features in the order of the table."""
    fit = (table["role"] == "train").to_numpy()
    radii, groups = table["theta_e"].to_numpy(float), table["group"].to_numpy()
    r2 = radius_r2(features, radii, groups, fit, ~fit)
    label, rng, areas = table["label"].to_numpy(bool), np.random.default_rng(0), []
    for _ in range(DRAWS):
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(fit & (label == side)), LABELS // 2, replace=False) for side in (True, False)]
        )
        line = make_pipeline(StandardScaler(), PCA(20), LogisticRegression(C=0.1, max_iter=2000))
        line.fit(features[rows], label[rows])
        areas.append(roc_auc_score(label[~fit], line.decision_function(features[~fit])))
    return r2, np.mean(areas)


def main():
    """Train, probe and print."""
    logging.getLogger("tandemlens").addHandler(logging.NullHandler())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--methods", nargs="+", default=["simsiam", "lensiam"])
    parser.add_argument("--encoder", default="residual")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, help="for 256 stamps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    sample = sample_of(given.results)
    _, form = stamp_blocks(sample.train_paths, 64)
    table = sample.systems.merge(sample.folds[["target_id", "role", "group"]], on="target_id")
    tables = [pd.read_parquet(path) for path in sorted(given.results.glob("train/*/features.parquet"))]
    hand = pd.concat(tables, ignore_index=True).set_index("target_id")

    def told(name, found):
        values = np.array(found)
        text = " | ".join(f"{m:.3f} ({s:.3f})" for m, s in zip(values.mean(0), values.std(0), strict=True))
        print(f"| {name} | {text} |", flush=True)

    def encoded(encoder):
        names, features = system_features(
            encoder, sample.train_paths, set(table["target_id"]), 256, torch.device("cpu")
        )
        return probes(features, table.set_index("target_id").loc[names])

    print(f"| features | R2 of log theta_E | AUROC from {LABELS} labels |\n|---|---|---|")
    known = table[table["target_id"].isin(hand.index)]
    names = [name for name in feature_names([b for b in form.bands if len(b) == 1]) if name in hand]
    values = feature_matrix(hand.loc[known["target_id"]], names)
    told("by hand", [probes(Standard.of(values)(values), known)])
    found = {"random": []} | {method: [] for method in given.methods}
    for seed in range(given.seeds):
        with reproducible(torch.device("cpu"), given.threads):
            encoder = create_encoder(given.encoder, len(form.bands), form.pixels, np.random.default_rng(seed))
            encoder.scale_bands(*band_statistics(sample.train_paths))
            found["random"].append(encoded(encoder))
        for method in given.methods:
            changes = {"method": method, "epochs": given.epochs, "batch": given.batch, "probe_every": 0}
            changes |= {"learning_rate": given.learning_rate}
            cfg = {**settings_of(form, given.encoder, changes, given.threads), "seed": seed}
            with tempfile.TemporaryDirectory() as folder:
                started = time.monotonic()
                pretrain(sample, Path(folder) / "e", Path(folder) / "c", cfg, lambda *_: None)
                print(f"{method} seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
                found[method].append(encoded(load_encoder(Path(folder) / "e", form.bands, form.pixels)))
    for name, values in found.items():
        told(name, values)


if __name__ == "__main__":
    main()
