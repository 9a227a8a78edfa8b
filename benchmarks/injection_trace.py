"""Does painting leave a trace? A classifier told to find the cutouts into which cluster members were painted.

Run a sample of untouched cutouts (search) and one of the same cutouts with members painted in (train, only that class),
then::

    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/injection_trace.py RESULTS/SURVEY

The area under the curve is that of random forests on the feature table, out of fold, with both versions of a cutout in
one fold; its interval is the bootstrap over cutouts. 0.5 is no trace.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from tandemlens.base.tables import read_table

ROOT = Path(__file__).resolve().parents[1]
REPEATS, DRAWS = 20, 1000


def features(folder, sample):
    tables = [read_table(p).merge(read_table(p.with_name("targets.parquet"))[["target_id", "canvas"]], on="target_id")
              for p in sorted((folder / sample).glob("*/features.parquet"))]  # fmt: skip
    return pd.concat(tables, ignore_index=True).assign(painted=sample == "train")


def main(folder):
    frame = pd.concat([features(folder, s) for s in ("search", "train")], ignore_index=True)
    both = frame.groupby("canvas")["painted"].nunique() == 2
    frame = frame[frame["canvas"].isin(both.index[both])].reset_index(drop=True)
    x = frame.select_dtypes("number").fillna(-99.0)
    x = x.loc[:, x.nunique() > 1]
    y, groups, scores = frame["painted"].to_numpy(), frame["canvas"].to_numpy(), np.zeros(len(frame))
    for seed in range(REPEATS):
        model = RandomForestClassifier(300, min_samples_leaf=3, random_state=seed, n_jobs=2)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        scores += cross_val_predict(model, x, y, groups=groups, cv=folds, method="predict_proba")[:, 1] / REPEATS
    rng, names = np.random.default_rng(0), np.unique(groups)
    rows = {name: np.flatnonzero(groups == name) for name in names}
    draws = [np.concatenate([rows[n] for n in rng.choice(names, len(names))]) for _ in range(DRAWS)]
    spread = np.percentile([roc_auc_score(y[d], scores[d]) for d in draws], (2.5, 97.5))
    text = (
        f"{len(names)} cutouts, untouched and with members painted in, {x.shape[1]} features: AUROC "
        f"{roc_auc_score(y, scores):.2f} (95 per cent {spread[0]:.2f}-{spread[1]:.2f}); 0.5 is no trace.\n"
    )
    print(text)
    (ROOT / "benchmarks/results/injection_trace.md").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
