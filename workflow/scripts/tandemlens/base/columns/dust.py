"""Columns of `dust.parquet`: one row per target, with what IRSA's dust service says where the catalogue is silent."""

from tandemlens.base.columns import stage
from tandemlens.base.columns.registry import Column

COLUMNS = [
    stage.COLUMNS[0],
    Column("ebv", "float64", "mag", "E(B-V) of Schlegel, Finkbeiner & Davis (1998); NaN if not asked or unknown", 0),
    Column("ebv_source", "str", "", "service, or none: the catalogue has a value, or no answer came (status)"),
    *stage.COLUMNS[1:],
]
