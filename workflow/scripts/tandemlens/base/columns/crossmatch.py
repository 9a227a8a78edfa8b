"""Columns that say what is known of a target elsewhere: lenses, catalogues of clusters, and NED and SIMBAD."""

from collections.abc import Collection
from dataclasses import replace

from tandemlens.base.columns.registry import Column

#: the nearest system of the cleaned list of lenses; there only if the list was looked at
LENSES = [
    Column(
        "known_lens",
        "bool",
        "",
        "whether a system of the list of lenses lies within the radius of its type",
        ucd="meta.code",
    ),
    Column("lens_name", "str", "", "the nearest such system", ucd="meta.id.cross"),
    Column("lens_type", "str", "", "its scale: cluster, group, galaxy", ucd="src.class"),
    Column("lens_grade", "str", "", "its grade: confident, probable", ucd="meta.code.qual"),
    Column("lens_z", "float64", "", "its redshift; NaN if not measured", 0, ucd="src.redshift"),
    Column("lens_separation", "float64", "arcsec", "its angle from the target", 0, ucd="pos.angDistance"),
]

#: the nearest entry of a catalogue of clusters that the settings name
CATALOGUE = [
    Column("match_{catalogue}", "str", "", "nearest entry of {catalogue} within its radius", ucd="meta.id.cross"),
    Column("match_{catalogue}_z", "float64", "", "its redshift; NaN if unknown", ucd="src.redshift"),
    Column("match_{catalogue}_separation", "float64", "arcsec", "its angle from the target", 0, ucd="pos.angDistance"),
]

#: `ned.parquet` and `simbad.parquet`: one row per target of a shard
OBJECTS = [
    Column("target_id", "str", "", "target", ucd="meta.id;meta.main"),
    Column("name", "str", "", "nearest cluster, group or lens; empty if none lies there", ucd="meta.id.cross"),
    Column("type", "str", "", "its type in the words of the service", ucd="src.class"),
    Column("z", "float64", "", "its redshift; NaN if unknown", ucd="src.redshift"),
    Column("separation", "float64", "arcsec", "its angle from the target", 0, ucd="pos.angDistance"),
    Column(
        "lenses", "int32", "", "gravitational lenses and lensed images there; -1 if not asked", -1, ucd="meta.number"
    ),
    Column("status", "str", "", "ok, or why there is no answer (tandemlens.base.status)", ucd="meta.code.status"),
    Column("reason", "str", "", "one sentence, empty if ok", ucd="meta.note"),
]

#: as they stand in the catalogue, after the name of the service and an underscore
FROM_OBJECTS = ("name", "type", "z", "separation", "lenses", "status")
SERVICES = ("ned", "simbad")


def columns(lenscat: bool, catalogues: Collection[str], services: Collection[str]) -> list[Column]:
    """Columns of a catalogue for what it was crossmatched with.

    Parameters
    ----------
    lenscat : bool
        Whether the list of lenses was looked at.
    catalogues, services : sequence of str
        Names of the catalogues, and of `SERVICES`.

    Returns
    -------
    list of Column
    """
    own = [_named(column, name) for name in catalogues for column in CATALOGUE]
    asked = [_asked(column, name) for name in services for column in OBJECTS if column.name in FROM_OBJECTS]
    return [*(LENSES if lenscat else []), *own, *asked]


def _named(column: Column, catalogue: str) -> Column:
    name, description = (text.replace("{catalogue}", catalogue) for text in (column.name, column.description))
    return replace(column, name=name, description=description)


def _asked(column: Column, service: str) -> Column:
    return replace(column, name=f"{service}_{column.name}", description=f"{service.upper()}: {column.description}")
