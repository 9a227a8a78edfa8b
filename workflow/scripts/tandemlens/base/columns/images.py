"""Columns of `images.parquet`: one row per image of a strongly lensed source of a simulated system."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "system"),
    Column("source", "int32", "", "row of the source among those of the system in truth.parquet", 0),
    Column("east", "float64", "arcsec", "offset of the image east of the target"),
    Column("north", "float64", "arcsec", "offset of the image north of the target"),
    Column("magnification", "float64", "", "of a point source, negative where the image is mirrored"),
]
