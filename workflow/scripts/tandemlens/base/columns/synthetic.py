"""Columns of `synthetic.parquet` and of the checks of synthetic stamps."""

from tandemlens.base.columns.registry import Column

#: one row per synthetic system that was asked for
COLUMNS = [
    Column("target_id", "str", "", "synthetic system"),
    Column("anchor", "str", "", "training system whose lensed light, truth, group and role it has"),
    Column("pool", "str", "", "restored (the anchor's light in a new field) or generated (all of it new)"),
    Column("status", "str", "", "ok, rejected (no stamp was accepted) or no_generator"),
    Column("varied", "int32", "", "stamps that are new; the others are the anchor's", 0),
    Column("rejected", "int32", "", "stamps that were sampled and not accepted", 0),
    Column("reason", "str", "", "tests that they failed, each with its number"),
]

#: one row per test of synthetic stamps against held-out ones
CHECKS = [
    Column("pool", "str", "", "restored or generated"),
    Column("test", "str", "", "what is compared"),
    Column("band", "str", "", "band, or empty for all together"),
    Column("value", "float64", "", "what was found; NaN where it could not be"),
    Column("low", "float64", "", "least that passes; NaN where nothing is asked for"),
    Column("high", "float64", "", "largest that passes; NaN where nothing is asked for"),
    Column("n", "int64", "", "synthetic stamps", 0),
    Column("note", "str", "", "what it means"),
]
