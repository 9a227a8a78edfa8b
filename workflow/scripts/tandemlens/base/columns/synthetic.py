"""Columns of `synthetic.parquet` and of the checks of synthetic stamps."""

from tandemlens.base.columns.registry import Column

#: one row per synthetic system that was asked for
COLUMNS = [
    Column("target_id", "str", "", "synthetic system", ucd="meta.id"),
    Column("anchor", "str", "", "training system whose lensed light, truth, group and role it has", ucd="meta.id"),
    Column(
        "pool",
        "str",
        "",
        "restored (the anchor's light in a new field) or generated (all of it new)",
        ucd="meta.code.class",
    ),
    Column("status", "str", "", "ok, rejected (no stamp was accepted) or no_generator", ucd="meta.code.status"),
    Column("varied", "int32", "", "stamps that are new; the others are the anchor's", 0, ucd="meta.number"),
    Column("rejected", "int32", "", "stamps that were sampled and not accepted", 0, ucd="meta.number"),
    Column("reason", "str", "", "tests that they failed, each with its number", ucd="meta.note"),
]

#: one row per test of synthetic stamps against held-out ones
CHECKS = [
    Column("pool", "str", "", "restored or generated", ucd="meta.code.class"),
    Column("test", "str", "", "what is compared", ucd="meta.code.class"),
    Column("band", "str", "", "band, or empty for all together", ucd="meta.id.part"),
    Column("value", "float64", "", "what was found; NaN where it could not be", ucd="stat.value"),
    Column("low", "float64", "", "least that passes; NaN where nothing is asked for", ucd="stat.min"),
    Column("high", "float64", "", "largest that passes; NaN where nothing is asked for", ucd="stat.max"),
    Column("n", "int64", "", "synthetic stamps", 0, ucd="meta.number"),
    Column("note", "str", "", "what it means", ucd="meta.note"),
]
