"""Columns of `coverage.parquet`: one row per band."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("band", "str", "", "band; all is where every band is usable"),
    Column("area", "float64", "deg2", "sky with usable pixels", 0),
    Column("order", "int32", "", "HEALPix order of the coverage map", 0, 29),
    Column("cells", "int64", "", "HEALPix cells of that order", 0),
]
