"""A classic head trained in one simulated survey and tried in others, against one trained and tried in the first.

Run from the root of the project on the products of one run a survey (see `benchmarks/rotations.py`):

    PYTHONPATH=workflow/scripts:benchmarks python benchmarks/cross_survey.py RESULTS:SURVEY RESULTS:OTHER ...

Where surveys were simulated on the same fields, their systems are drawn alike: a system is scored by those heads alone
that have not seen its field in the first survey.
"""

import logging
import sys

import numpy as np
import pandas as pd
from rotations import UNTUNED, rotations, sample

from tandemlens.heads.classic import fit_classic
from tandemlens.learn.metrics import ranking_value, tpr_at_fpr
from tandemlens.learn.ranking import ratio
from tandemlens.learn.resample import summarise

BANDS = ["g", "r", "i", "z"]
CFG = {**UNTUNED, "bands": BANDS}
DRAWS = 1000


def scored(frame, head):
    """Scores, NaN for systems without segments."""
    return np.where(frame["status"] == "ok", head.score(frame), np.nan)


def unseen_mean(frame, heads):
    """Mean score by heads that have not seen the field of a system.

    Parameters
    ----------
    frame : (n,) pandas.DataFrame
    heads : list of (head, groups that it has seen)

    Returns
    -------
    (n,) ndarray
        NaN for systems without segments, and where all heads have seen the field.
    """
    by_head = [np.where(frame["group_id"].isin(seen), np.nan, scored(frame, head)) for head, seen in heads]
    unseen = np.isfinite(by_head).sum(axis=0)
    return np.where(unseen, np.nansum(by_head, axis=0) / np.maximum(unseen, 1), np.nan)


def table(frame, scores):
    """Figures of merit with intervals over groups."""
    found = summarise(scores, frame["label"], np.random.default_rng(1), frame["group_id"].to_numpy())
    return found[found["metric"].isin(("auroc", "tpr_at_fpr_0.1", "tpr_at_fpr_0.03"))]


def main():
    """One rotation of the first survey trains; all its rotations tell the value within the survey."""
    logging.getLogger("tandemlens").setLevel(logging.ERROR)
    home, *others = (sample(*word.split(":")) for word in sys.argv[1:])
    group, roles = rotations(home, 5, 1)
    own, heads = np.full(len(home), np.nan), []
    for k in range(roles.shape[1]):
        head = fit_classic(home, home["label"], group, roles[:, k], {**CFG, "seed": k})
        test = roles[:, k] == "test"
        own[test] = scored(home[test], head)
        heads.append((head, home["group_id"][~test]))
    away = [unseen_mean(other, heads) for other in others]
    print(
        pd.concat(
            [table(f, s).assign(survey=w) for f, s, w in zip([home, *others], [own, *away], sys.argv[1:], strict=True)]
        )
        .round(3)
        .to_string()
    )
    rng = np.random.default_rng(2)
    for frame, scores, word in zip(others, away, sys.argv[2:], strict=True):
        pairs = [(frame["label"], frame["group_id"], scores), (home["label"], home["group_id"], own)]
        ratios = [ratio(*(redrawn(rng, *pair) for pair in pairs)) for _ in range(DRAWS)]
        low, high = np.nanquantile(ratios, (0.025, 0.975))
        value = tpr_at_fpr(scores, frame["label"], 0.03) / tpr_at_fpr(own, home["label"], 0.03)
        print(f"{word}: TPR at FPR 0.03 over that within {sys.argv[1]}: {value:.2f} (95 % {low:.2f}-{high:.2f})")


def redrawn(rng, labels, groups, scores, metric="tpr_at_fpr_0.03"):
    """A figure of merit of groups drawn with replacement."""
    code, names = pd.factorize(groups)
    rows = [np.flatnonzero(code == k) for k in range(len(names))]
    drawn = np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
    return ranking_value(metric, np.asarray(scores)[drawn], np.asarray(labels)[drawn])


if __name__ == "__main__":
    main()
