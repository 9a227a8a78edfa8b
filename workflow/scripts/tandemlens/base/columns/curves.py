"""Columns of `curves.parquet`: points of the critical lines of a simulated lens, for the redshift of its sources."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "system"),
    Column("line", "int32", "", "number of the line within the system", 0),
    Column("kind", "str", "", "tangential or radial"),
    Column("east", "float32", "arcsec", "offset east of the target"),
    Column("north", "float32", "arcsec", "offset north of the target"),
]
