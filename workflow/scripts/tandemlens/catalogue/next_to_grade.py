"""What to grade next: where a grade would tell most.

priority = sqrt(rank fraction of the uncertainty * rank fraction of the disagreement), where the uncertainty is the
entropy of the calibrated probability and the disagreement the scatter of the heads' ranks. Ranks, because at the
prevalence of a survey all entropies are tiny and would weigh nothing against any other number; their product, because a
target about which heads disagree in vain, far below all candidates, teaches nothing.
"""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.special import entr
from scipy.stats import rankdata

from tandemlens.base.columns.grades import NEXT
from tandemlens.base.tables import read_table, write_table


def write_next(catalogue_path: str, heads: dict[str, tuple[str, str]], enough: int, out_path: str) -> None:
    """Write the priority of every target, the most urgent first.

    Parameters
    ----------
    catalogue_path : str
        candidates.parquet.
    heads : dict of (str, str)
        Head that takes part in the ranking -> column of its score, and the kind of that.
    enough : int
        Votes with which a target need not be graded again.
    out_path : str
        next_to_grade.parquet.
    """
    signs = {column: -1.0 if kind == "pvalue" else 1.0 for column, kind in heads.values()}
    wanted = {"target_id", "probability", "n_votes", *signs}
    candidates = read_table(catalogue_path, [n for n in pq.read_schema(catalogue_path).names if n in wanted])
    scores = candidates[list(signs)] * pd.Series(signs)
    absent = pd.Series(np.nan, candidates.index)
    votes = candidates.get("n_votes", absent).fillna(0).astype(int)
    table = priorities(candidates.get("probability", absent), scores, votes, enough)
    table = candidates[["target_id"]].join(table)
    write_table(out_path, table.sort_values("priority", ascending=False, kind="stable"), NEXT)


def priorities(probability: pd.Series, scores: pd.DataFrame, n_votes: pd.Series, enough: int) -> pd.DataFrame:
    """How much a grade of each target would tell.

    Parameters
    ----------
    probability : (n,) pandas.Series
        Calibrated; NaN where there is none.
    scores : (n, H) pandas.DataFrame
        A column for each head, larger is more lens-like; NaN where it has none.
    n_votes : (n,) pandas.Series of int
    enough : int

    Returns
    -------
    (n, 4) pandas.DataFrame
        priority, uncertainty, disagreement and n_votes. Where only one of the two is known, priority is its rank
        fraction; without either it is NaN.
    """
    uncertainty = (entr(probability) + entr(1 - probability)) / np.log(2)
    ranks = scores.apply(_rank_fraction)
    # the largest standard deviation of numbers in [0, 1] is one half
    disagreement = 2 * ranks.std(axis=1, ddof=0).where(ranks.notna().sum(axis=1) > 1)
    parts = pd.DataFrame({"uncertainty": uncertainty, "disagreement": disagreement})
    # the mean of logarithms leaves out what is missing
    priority = np.exp(np.log(parts.apply(_rank_fraction)).mean(axis=1))
    priority = priority.where((n_votes < enough) | priority.isna(), 0.0)
    return parts.assign(priority=priority, n_votes=n_votes)


def _rank_fraction(values: pd.Series) -> pd.Series:
    """Rank over number, ties at their mean; NaN stays."""
    return pd.Series(rankdata(values, nan_policy="omit") / values.notna().sum(), values.index)
