"""Synthetic systems among those that heads learn from."""

import pandas as pd

from tandemlens.base.tables import read_table

#: what sets a synthetic system apart from its anchor
_NAMES = ["target_id", "anchor"]


def with_synthetic(systems: pd.DataFrame, folds: pd.DataFrame, paths: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training sample and its synthetic systems, each with the truth, the group and the role of its anchor.

    Parameters
    ----------
    systems, folds : pandas.DataFrame
        systems.parquet of all shards, and folds.parquet.
    paths : list of str
        synthetic.parquet of the shards; none leaves the sample as it is.

    Returns
    -------
    systems, folds : pandas.DataFrame
        Synthetic systems come last.
    """
    if not paths:
        return systems, folds
    made = pd.concat(map(read_table, paths), ignore_index=True)
    made = made.loc[made["status"] == "ok", _NAMES]
    return tuple(
        pd.concat([table, _copies(made, table)[table.columns]], ignore_index=True) for table in (systems, folds)
    )


def _copies(made: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    inherited = table.rename(columns={"target_id": "anchor"})
    return made.merge(inherited, on="anchor", validate="many_to_one")
