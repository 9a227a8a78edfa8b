"""Columns of `folds.parquet`: one row per system, with the part that it plays in learning."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "system"),
    Column("group", "str", "", "first system of its group: all that share sky, canvas or source stay together"),
    Column("block", "int32", "", "HEALPix pixel (nested) that holds it", 0),
    Column("fold", "int32", "", "fold for cross-fitting; -1 if dropped", -1),
    Column("role", "str", "", "train, stop, calibrate, fuse, test or dropped"),
    Column("reason", "str", "", "one sentence on why it was dropped, empty if not"),
]
