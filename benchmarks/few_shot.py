"""The classic head from twenty labelled tandems: share of tandems among the best twenty of systems not seen before.

Run from the root of the project on the products of a campaign (see `benchmarks/rotations.py`):

    PYTHONPATH=workflow/scripts:benchmarks python benchmarks/few_shot.py results-campaign mock
"""

import sys

import numpy as np
from rotations import UNTUNED, sample

from tandemlens.base.columns.features import COLUMNS
from tandemlens.base.columns.registry import expand
from tandemlens.heads.classic import fit_classic
from tandemlens.learn.folds import assign_folds
from tandemlens.learn.metrics import auroc, precision_at, tpr_at_fpr

SHARES = {"train": 0.45, "stop": 0.15, "calibrate": 0.0, "fuse": 0.0, "test": 0.4}
#: tandems that are labelled, for the fit and for its end
LABELLED = {"train": 16, "stop": 4}
DRAWS = 10


def draw(frame, bands, seed):
    """Precision of the best 20, TPR at FPR 0.03 and AUROC of one draw, and the tandems and systems of its test."""
    rng = np.random.default_rng(seed)
    folds = assign_folds(frame, {"shares": SHARES}, rng)
    role, label = folds["role"].to_numpy(object), frame["label"].to_numpy(bool)
    for name, n in LABELLED.items():
        mine = np.flatnonzero((role == name) & label)
        role[np.setdiff1d(mine, rng.choice(mine, n, replace=False))] = "dropped"
    cfg = {**UNTUNED, "bands": bands, "seed": seed}
    head = fit_classic(frame, label, folds["group"], role, cfg)
    test = role == "test"
    scores = np.where(frame["status"][test] == "ok", head.score(frame[test]), np.nan)
    found = [metric(scores, label[test], *more) for metric, *more in ((precision_at, 20), (tpr_at_fpr, 0.03), (auroc,))]
    return [*found, int(label[test].sum()), int(test.sum())], head.learner


def main():
    """Ten draws."""
    frame = sample(*sys.argv[1:3])
    bands = [b for b in "ugrizyY" if f"fwhm_{b}" in frame and frame[f"fwhm_{b}"].notna().any()]
    assert {c.name for c in expand(COLUMNS, bands)} <= set(frame)
    rows = []
    for seed in range(DRAWS):
        row, learner = draw(frame, bands, seed)
        rows.append(row)
        print(seed, learner, *(f"{v:.3f}" for v in row[:3]), f"{row[3]} tandems of {row[4]}", flush=True)
    mean, error = np.mean(rows, 0), np.std(rows, 0, ddof=1) / np.sqrt(DRAWS)
    for name, m, e in zip(("precision of the best 20", "TPR at FPR 0.03", "AUROC"), mean, error, strict=False):
        print(f"{name}: {m:.3f} +- {e:.3f} (mean of {DRAWS} draws)")


if __name__ == "__main__":
    main()
