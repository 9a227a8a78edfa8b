"""Columns of `truth.parquet`: one row per object painted into a simulated cutout."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target whose cutout holds the object"),
    Column("source", "int32", "", "number of the object within its system", 0),
    Column("kind", "str", "", "bcg, icl, member, added, behind, source, spiral, ring, merger, field or star"),
    Column("canvas", "bool", "", "the object belongs to the canvas and stands in all its systems"),
    Column("r_e", "float64", "arcsec", "half-light radius along the major axis, unlensed; 0 for stars", 0),
    Column("n", "float64", "", "Sersic index; 0 for stars", 0),
    Column("east", "float64", "arcsec", "offset of the object, or of its unlensed place, east of the target"),
    Column("north", "float64", "arcsec", "offset of the object, or of its unlensed place, north of the target"),
    Column("z", "float64", "", "redshift; NaN for stars", 0, 5),
    Column("magnification", "float64", "", "light in the cutout over unlensed light; 1 in front of the lens", 0),
    Column("n_images", "int32", "", "images brighter than half the unlensed object, inside the cutout", 0),
    Column("gain", "float64", "", "sum of their point-source magnifications", 0),
    Column("stretch", "float64", "", "axis ratio of the brightest image of a round source; NaN without an image", 1),
    Column("strong", "bool", "", "several images, or gain above 3 and stretch of 3 or more"),
    Column("snr", "float64", "", "ideal matched-filter S/N over all bands of a strongly lensed source; else NaN", 0),
    Column("flux_{band}", "float64", "nJy", "painted total flux in {band}, magnification included", 0),
]
