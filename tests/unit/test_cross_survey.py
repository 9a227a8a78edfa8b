"""Scores of one survey by heads of another: none by a head that has seen the field."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd

from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from cross_survey import unseen_mean


def test_a_field_is_scored_by_heads_that_have_not_seen_it():
    frame = pd.DataFrame({"group_id": ["a", "b", "c", "d"], "status": ["ok", "ok", "ok", "no_segments"]})
    heads = [
        (SimpleNamespace(score=lambda f, s=s: np.full(len(f), s)), seen)
        for s, seen in ((1.0, ["b"]), (4.0, ["a", "b"]))
    ]
    np.testing.assert_array_equal(unseen_mean(frame, heads), [1.0, np.nan, 2.5, np.nan])
