"""Time and memory of the classic head: training with 10,000 systems, scoring and explaining 100,000 rows.

::

    PYTHONPATH=workflow/scripts:tests/learn OMP_NUM_THREADS=1 .venv/bin/python benchmarks/classic_speed.py [peer]

Features are random numbers of which three tell. The trees are set beside scikit-learn's histogram boosting on the same
folds, with the same constraints, depth, learning rate and rounds, in CPU time on one thread; that ours look after every
round whether to stop, and go on for a while to be sure, counts for ours. With ``peer`` that is all; otherwise the whole
head follows: trees and line, and both anew without each fold, to choose between them.
"""

import resource
import sys
import time
from importlib.metadata import version

import numpy as np
from outcome import tell
from sklearn.ensemble import HistGradientBoostingClassifier
from test_classic import CFG, table

from tandemlens.heads.classic import fit_classic
from tandemlens.learn.grouped import inner_folds
from tandemlens.learn.matrix import feature_matrix
from tandemlens.learn.trees import CONSTRAINTS, Trees, tuned

SETTINGS = {**CFG, "rounds": 2000, "learning_rate": 0.05}
REPEATS = 2


def compare(features, labels, groups):
    """Ratios of the time of scikit-learn's boosting over that of our trees."""
    values, ratios = feature_matrix(features, list(features.columns)), []
    chosen = tuned(values, labels, groups, SETTINGS)
    for _ in range(REPEATS):
        started = time.process_time()
        trees = Trees.fit(values, labels, groups, chosen, SETTINGS)
        ours, started = time.process_time() - started, time.process_time()
        folds = inner_folds(labels, groups, SETTINGS["seed"])
        for (inside, _), booster in zip(folds, trees.boosters, strict=True):
            peer = HistGradientBoostingClassifier(
                max_iter=booster.num_boosted_rounds(),
                max_depth=chosen["max_depth"],
                learning_rate=chosen["learning_rate"],
                l2_regularization=chosen["reg_lambda"],
                monotonic_cst=CONSTRAINTS,
                early_stopping=False,
            )
            peer.fit(values.iloc[inside], labels[inside])
        ratios.append((time.process_time() - started) / ours)
        print(f"{len(trees.boosters)} boosters of {trees.rounds:.0f} rounds: {ours:.1f} s")
    return ratios


def main(whole):
    """Measure and print."""
    features, labels, groups, roles = table(12_500)
    inside = np.isin(roles, ("train", "stop"))
    ratios = compare(features[inside].reset_index(drop=True), labels[inside], groups[inside])
    what = f"CPU time to train an ensemble of trees with {inside.sum()} systems and monotone constraints"
    tell("scikit-learn's boosting", version("scikit-learn"), what, ratios)
    print(f"scikit-learn's takes {np.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})")
    if not whole:
        return
    started = time.process_time()
    head = fit_classic(features, labels, groups, roles, SETTINGS)
    fitted = time.process_time() - started
    many = features.sample(100_000, replace=True, random_state=1)
    started = time.process_time()
    head.score(many)
    scored = time.process_time() - started
    started = time.process_time()
    head.contributions(many)
    explained = time.process_time() - started
    print(f"{inside.sum()} systems, {features.shape[1]} features: the head in {fitted:.1f} s, {head.learner} shipped")
    print(f"100,000 rows scored in {scored:.2f} s, explained in {explained:.2f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main("peer" not in sys.argv[1:])
