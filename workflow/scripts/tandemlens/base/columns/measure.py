"""Columns of `measure.parquet`: one row per target that entered the stage."""

from tandemlens.base.columns import stage
from tandemlens.base.columns.registry import Column

COLUMNS = [
    *stage.COLUMNS,
    Column("ebv", "float64", "mag", "E(B-V) used; 0 where none was known", 0),
    Column("ebv_source", "str", "", "catalogue, map, service, or none: fluxes are then not corrected"),
    Column("fwhm", "float64", "arcsec", "FWHM of the common PSF", 0),
    Column("depth_{band}", "float64", "mag", "5 sigma AB magnitude in the aperture in {band}; NaN if unused"),
]
