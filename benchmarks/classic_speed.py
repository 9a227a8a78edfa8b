"""Time and memory of the classic head: training with 10,000 systems, scoring and explaining 100,000 rows.

::

    PYTHONPATH=workflow/scripts:tests/learn .venv/bin/python benchmarks/classic_speed.py

Features are random numbers of which three tell; beside them, scikit-learn's histogram boosting on the same rows.
"""

import resource
import time
from importlib.metadata import version

import numpy as np
from outcome import tell
from sklearn.ensemble import HistGradientBoostingClassifier
from test_classic import CFG, table

from tandemlens.heads.classic import fit_classic


def main():
    """Measure and print."""
    features, labels, groups, roles = table(12_500)
    started = time.perf_counter()
    head = fit_classic(features, labels, groups, roles, {**CFG, "threads": 2, "rounds": 2000, "learning_rate": 0.05})
    fitted = time.perf_counter() - started
    many = features.sample(100_000, replace=True, random_state=1)
    started = time.perf_counter()
    head.score(many)
    scored = time.perf_counter() - started
    started = time.perf_counter()
    head.contributions(many)
    explained = time.perf_counter() - started
    inside, rounds = np.isin(roles, ("train", "stop")), round(head.trees.rounds)
    started = time.perf_counter()
    HistGradientBoostingClassifier(max_iter=rounds, max_depth=3).fit(features[inside], labels[inside])
    peer = time.perf_counter() - started
    what = f"time to train {inside.sum()} systems with monotone constraints"
    tell("scikit-learn's boosting", version("scikit-learn"), what, [peer / fitted])
    print(
        f"{inside.sum()} systems, {features.shape[1]} features, {len(head.trees.boosters)} boosters of "
        f"{rounds} rounds in the mean, {head.learner} shipped"
    )
    print(f"training {fitted:.1f} s (one of scikit-learn, of as many rounds: {peer:.1f} s)")
    print(f"100,000 rows scored in {scored:.2f} s, explained in {explained:.2f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
