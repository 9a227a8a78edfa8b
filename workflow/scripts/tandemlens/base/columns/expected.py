"""Columns of `expected.parquet`: one row per target for which second clusters were drawn."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target"),
    Column("z", "float64", "", "redshift of the lens, drawn where the target has none", 0, 5),
    Column("richness", "float64", "", "richness of the lens, 40 where the target has none", 0),
    Column("theta_e", "float64", "arcsec", "Einstein radius of the drawn lens for z = 2", 0),
    Column("draws", "int32", "", "second clusters drawn", 0),
    Column("tandems", "int32", "", "of those the ones with two members strongly lensed and seen", 0),
    Column("clusters", "float64", "", "expected number of second clusters within the limits of the draws", 0),
    Column("expected", "float64", "", "expected number of tandems, simulated", 0),
]
