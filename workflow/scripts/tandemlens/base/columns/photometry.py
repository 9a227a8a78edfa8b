"""Columns of `photometry.parquet`: one row per segment; fluxes are corrected for Galactic extinction."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target whose cutout holds the segment"),
    Column("label", "int32", "", "label of the segment", 1),
    Column("aperture_radius", "float64", "arcsec", "radius of the aperture, a fixed number of matched FWHM", 0),
    Column("flux_aper_{band}", "float64", "nJy", "{band} flux in the aperture at the centroid; NaN if masked"),
    Column("flux_aper_err_{band}", "float64", "nJy", "its error, correlated noise included", 0),
    Column("flux_fix_{band}", "float64", "nJy", "{band} flux in the fixed aperture; NaN where the PSF is too wide"),
    Column("flux_fix_err_{band}", "float64", "nJy", "its error, correlated noise included", 0),
    Column("flux_seg_{band}", "float64", "nJy", "{band} flux of the segment's pixels; NaN if masked"),
    Column("flux_seg_err_{band}", "float64", "nJy", "its error, correlated noise included", 0),
    Column("mag_{band}", "float64", "mag", "asinh AB magnitude of the segment flux in {band}", ucd="phot.mag"),
    Column("mag_err_{band}", "float64", "mag", "its error", 0),
    Column("colour_{colour}", "float64", "mag", "asinh colour {colour} of the segment, bluer minus redder"),
    Column("colour_err_{colour}", "float64", "mag", "error of {colour}; neighbouring colours share a band", 0),
]
