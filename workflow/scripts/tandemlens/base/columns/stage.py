"""Columns of a stage's status table: one row per target that entered the stage."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target that entered the stage"),
    Column("status", "str", "", "ok, or why the target leaves the road here (tandemlens.base.status)"),
    Column("reason", "str", "", "one sentence with the values that led to the status, empty if ok"),
]
