"""What a frozen encoder knows: Einstein radii, and tandems from few labels; pretrained, random, and features by hand.

    PYTHONPATH=workflow/scripts python benchmarks/probes.py RESULTS/SURVEY [--methods simsiam lensiam]
        [--set epochs=20 learning_rate=0.004 ...]

Takes the stamps and feature tables of a finished run. Every method trains the encoder on role train, with several
seeds; --set changes settings of the section pretrain. Linear probes on the frozen features are fitted to role train,
judged on all other roles: R2 of the logarithm of the Einstein radius by ridge regression, and the AUROC of tandems by
logistic regression from 50 labelled systems, half of them tandems, the mean of 20 draws. Both are told for the features
alone, and for their leading principal components beside the features by hand. Brackets are the scatter over seeds.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pretrain_speed import as_settings, sample_of, settings_of
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

LABELS, DRAWS, COMPONENTS = 50, 20, 16
#: standardised features by hand end here, as in `tandemlens.learn.linear`
BOUND = 4.0


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


def leading(features, fit):
    """Principal components of standardised features, of unit variance."""
    line = make_pipeline(StandardScaler(), PCA(COMPONENTS, whiten=True)).fit(features[fit])
    return line.transform(features)


def main():
    """Train, probe and print."""
    logging.getLogger("tandemlens").addHandler(logging.NullHandler())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--methods", nargs="*", default=["simsiam", "lensiam"])
    parser.add_argument("--encoder", default="residual")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
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

    known = table[table["target_id"].isin(hand.index)].set_index("target_id")
    names = [name for name in feature_names([b for b in form.bands if len(b) == 1]) if name in hand]
    values = feature_matrix(hand.loc[known.index], names)
    fit = (known["role"] == "train").to_numpy()
    by_hand = np.clip(Standard.of(values[fit])(values), -BOUND, BOUND)

    def encoded(encoder):
        device = torch.device("cpu")
        order, features = system_features(encoder, sample.train_paths, set(known.index), 256, device)
        features = pd.DataFrame(features, order).reindex(known.index, fill_value=0).to_numpy()
        return [*probes(features, known), *probes(np.hstack([by_hand, leading(features, fit)]), known)]

    names = "R2 of log theta_E", f"AUROC from {LABELS} labels"
    print(f"| features | {' | '.join([*names, *(f'{name}, beside those by hand' for name in names)])} |")
    print("|---|---|---|---|---|")
    told("by hand", [2 * probes(by_hand, known)])
    found = {"random": []} | {method: [] for method in given.methods}
    for seed in range(given.seeds):
        with reproducible(torch.device("cpu"), given.threads):
            encoder = create_encoder(given.encoder, len(form.bands), form.pixels, np.random.default_rng(seed))
            encoder.scale_bands(*band_statistics(sample.train_paths))
            found["random"].append(encoded(encoder))
        for method in given.methods:
            changes = {"probe_every": 0, **as_settings(given.set), "method": method}
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
