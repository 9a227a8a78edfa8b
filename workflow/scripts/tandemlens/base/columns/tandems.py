"""Columns of the catalogue tandems: clusters of a catalogue that lie behind a target."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "foreground cluster"),
    Column("bg_name", "str", "", "name of the cluster behind"),
    Column("bg_ra", "float64", "deg", "right ascension of the cluster behind, ICRS", 0, 360),
    Column("bg_dec", "float64", "deg", "declination of the cluster behind, ICRS", -90, 90),
    Column("bg_z", "float64", "", "redshift of the cluster behind", 0, 5),
    Column("separation_arcsec", "float64", "arcsec", "angle between the two centres", 0),
    Column("dz", "float64", "", "redshift of the cluster behind minus that of the target", 0),
]
