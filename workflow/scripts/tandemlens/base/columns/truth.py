"""Columns of `truth.parquet`: one row per object painted into a simulated cutout."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target whose cutout holds the object"),
    Column("kind", "str", "", "bcg, icl, member, field, star, lensed_member or lensed_field"),
    Column("east", "float64", "arcsec", "offset of the object, or of its source, east of the target"),
    Column("north", "float64", "arcsec", "offset of the object, or of its source, north of the target"),
    Column("z", "float64", "", "redshift; NaN for stars", 0, 5),
    Column("theta_e", "float64", "arcsec", "Einstein radius that lensed it; NaN if unlensed", 0),
    Column("magnification", "float64", "", "lensed over unlensed flux; 1 if unlensed", 0),
    Column("flux_{band}", "float64", "nJy", "painted total flux in {band}, magnification included", 0),
]
