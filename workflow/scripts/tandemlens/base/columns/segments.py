"""Columns of `segments.parquet`: one row per segment."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target whose cutout holds the segment"),
    Column("label", "int32", "", "value of the segment's pixels in the label map", 1),
    Column("x", "float64", "pixel", "flux-weighted centroid, 0-based pixel of the matched grid"),
    Column("y", "float64", "pixel", "flux-weighted centroid, 0-based pixel of the matched grid"),
    Column("ra", "float64", "deg", "right ascension of the centroid, ICRS", 0, 360, "pos.eq.ra"),
    Column("dec", "float64", "deg", "declination of the centroid, ICRS", -90, 90, "pos.eq.dec"),
    Column("east", "float64", "arcsec", "centroid east of the central galaxy"),
    Column("north", "float64", "arcsec", "centroid north of the central galaxy"),
    Column("area", "int32", "pixel", "number of pixels", 1),
    Column("kind", "str", "", "class guess: arc, member, star, artefact, bcg or other"),
    Column("snr", "float64", "", "S/N in the combined image, correlated noise included"),
    Column("length", "float64", "arcsec", "length along the ridge line, PSF-corrected", 0),
    Column("width", "float64", "arcsec", "FWHM across the ridge line, PSF-corrected, at least half the PSF's", 0),
    Column("curvature_radius", "float64", "arcsec", "radius of the circle through the ridge; NaN if straight", 0),
    Column("circle_east", "float64", "arcsec", "centre of that circle east of the central galaxy"),
    Column("circle_north", "float64", "arcsec", "centre of that circle north of the central galaxy"),
    Column("theta", "float64", "rad", "major axis, from west towards north", 0, 3.1416),
    Column("q11", "float64", "arcsec2", "second moment along west, PSF-corrected; NaN if unresolved", 0),
    Column("q22", "float64", "arcsec2", "second moment along north, PSF-corrected; NaN if unresolved", 0),
    Column("q12", "float64", "arcsec2", "mixed second moment, PSF-corrected; NaN if unresolved"),
    Column("perimeter", "float64", "pixel", "length of the border", 0),
    Column("ridge", "str", "", "x,y points of the ridge line, pixel, separated by spaces"),
]
