"""Columns of the cleaned target table: one row per row of the user's catalogue."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "unique, file-name safe name of the target", ucd="meta.id;meta.main"),
    Column("name", "str", "", "name in the user's catalogue, unchanged", ucd="meta.id"),
    Column("ra", "float64", "deg", "right ascension, ICRS; NaN if unusable", 0, 360, "pos.eq.ra;meta.main"),
    Column("dec", "float64", "deg", "declination, ICRS; NaN if unusable", -90, 90, "pos.eq.dec;meta.main"),
    Column("z", "float64", "", "redshift of the cluster; NaN if unknown", 0, 5, "src.redshift"),
    Column("richness", "float64", "", "richness in the user's catalogue; NaN if unknown", 0, ucd="src.class.richness"),
    Column("ebv", "float64", "mag", "E(B-V) in the user's catalogue; NaN if unknown", 0, ucd="phot.color.excess"),
    Column("group_id", "str", "", "field group: targets linked by separation; none if unusable", ucd="meta.id.parent"),
    Column("shard", "str", "", "shard of the target's HEALPix cell; none if unusable", ucd="meta.id.parent"),
    Column("status", "str", "", "ok, or why the row cannot be used", ucd="meta.code.status"),
    Column(
        "flags",
        "str",
        "",
        "space-separated remarks: no_redshift, bad_redshift, name_repeated, those of lenscat",
        ucd="meta.code",
    ),
    Column("reason", "str", "", "one sentence with the value that led to the status, empty if ok", ucd="meta.note"),
    Column("canvas", "str", "", "target whose sky this row is painted on; itself unless it is a twin"),
    Column("wanted", "str", "", "class of simulated system that is to be painted; empty where none or drawn"),
    Column("source_row", "int64", "", "0-based row in the user's catalogue", 0, ucd="meta.record"),
]
