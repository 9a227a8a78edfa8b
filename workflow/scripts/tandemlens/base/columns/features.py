"""Columns of `features.parquet`: one row per target; every feature with unit, range, meaning and null value."""

from collections.abc import Iterator

from tandemlens.base.columns.registry import Column

PI = 3.1415927


def _feature(
    name: str, unit: str, description: str, low: float | None = None, high: float | None = None, ucd: str = ""
) -> Column:
    return Column(name, "float64", unit, description, low, high, ucd)


#: within which sources behind are summed, arcsec
RADII = (6, 12, 20)


def _behind(kind: str, age: str) -> Iterator[Column]:
    """Sources behind with the spectrum of old or young stars."""
    for r in RADII:
        near = f"{age} sources behind within {r} arcsec"
        yield _feature(f"{kind}_peaks{r}", "", f"{near}, above S/N 5", 0)
        yield _feature(f"{kind}_snr{r}", "", f"largest S/N of {near}", 0)
        yield _feature(f"{kind}_bright{r}", "mag", f"by how much the brightest of {near} outshines L*")
        yield _feature(f"{kind}_second{r}", "mag", f"the same for the second brightest of {near}")
        yield _feature(f"{kind}_light{r}", "", f"log10 of the light of {near}, in L*")
    yield _feature(f"{kind}_field", "", f"{age} sources behind beyond 30 arcsec", 0)
    yield _feature(f"{kind}_blobs", "", f"regions of {age} light behind within 20 arcsec", 0)
    yield _feature(f"{kind}_stretch", "", "largest length over width of those, less 1", 0)
    yield _feature(f"{kind}_arc", "", "largest stretch along a circle around the centre", 0)
    yield _feature(f"{kind}_aligned", "", "sum of stretches along circles; random 0, radial negative")
    yield _feature(f"{kind}_area", "", f"share of the pixels within 15 arcsec with {age} light behind", 0, 1)


COLUMNS = [
    Column("target_id", "str", "", "target"),
    Column("status", "str", "", "ok, or no_segments where fewer than two arcs have a colour (tandemlens.base.status)"),
    Column("reason", "str", "", "one sentence with the values that led to the status, empty if ok"),
    Column("n_segments", "int32", "", "segments of any kind; depends on depth", 0, ucd="meta.number"),
    Column("n_arcs", "int32", "", "arc-like segments; depends on depth", 0, ucd="meta.number"),
    _feature("arc_excess_z", "", "arcs above those that the outer field predicts, in Poisson sigma; null 0"),
    _feature(
        "tangential_alignment",
        "",
        "weighted mean of -cos 2(angle to the tangent); random 0, radial -1",
        -1,
        1,
        ucd="src.morph.param",
    ),
    _feature(
        "tangential_alignment_z",
        "",
        "the same over its scatter for random angles; standard normal if random",
        ucd="stat.snr;src.morph.param",
    ),
    _feature("ellipticity_tangential", "", "mean tangential ellipticity; null 0, lensing positive", -1, 1),
    _feature("ellipticity_cross", "", "mean cross ellipticity; null 0 always, else a systematic error", -1, 1),
    _feature("coherence_rotated", "", "aligned fraction of the ellipticities in the tangential frame", 0, 1.000001),
    _feature("coherence_raw", "", "aligned fraction on the sky; high for a bad PSF or a satellite trail", 0, 1.000001),
    _feature("curvature_ratio", "", "median curvature radius over distance from the centre; concentric 1", 0),
    _feature("curvature_mismatch", "", "median |ln(curvature radius / distance)|; concentric 0", 0),
    _feature("curvature_offset", "", "median distance of curvature centres from the centre over distance; null 0", 0),
    _feature("lw_max", "", "largest length over width", 0, ucd="src.morph.param;arith.ratio"),
    _feature("lw_median", "", "median length over width", 0),
    _feature("n_lw7", "", "arcs with length over width of at least 7", 0),
    _feature("coverage", "", "sum of lengths over the circumference at the median distance", 0),
    _feature(
        "arc_radius",
        "arcsec",
        "median distance of the arcs; unimodal in lensing strength",
        0,
        ucd="pos.angDistance;stat.median",
    ),
    _feature("arc_radius_scaled", "", "that distance over the Einstein radius expected from richness", 0),
    _feature("ring_thickness", "", "MAD over median of the distances; small for a ring", 0),
    _feature("radial_ks", "", "Kolmogorov-Smirnov distance of the distances from uniform in area", 0, 1),
    _feature("separation_rms", "arcsec", "root mean square separation of pairs", 0),
    _feature("azimuth_gap", "rad", "largest gap in azimuth", 0, 2 * PI),
    _feature("counter_image", "rad", "smallest deviation of a pair from lying opposite", 0, PI),
    _feature(
        "colour_gradient_{colour}", "", "slope of {colour} with ln distance over its error; images of one source 0"
    ),
    _feature("x2", "", "chi-square of all arcs' colours about their mean", 0),
    _feature(
        "s_color",
        "",
        "p-value of that chi-square; uniform if all arcs share a colour",
        0,
        1,
        ucd="stat.probability;phot.color",
    ),
    _feature(
        "s_color_best",
        "",
        "the same for the best half or more, look-elsewhere corrected; uniform",
        0,
        1,
        ucd="stat.probability;phot.color",
    ),
    Column("n_best", "int32", "", "arcs in that best subset", 0, ucd="meta.number"),
    _feature(
        "tau",
        "mag",
        "maximum-likelihood colour scatter beyond the errors; one source 0",
        0,
        ucd="stat.stdev;phot.color",
    ),
    _feature(
        "delta_rs",
        "",
        "Mahalanobis distance of the robust mean colour from the foreground sequence",
        0,
        ucd="stat.value;phot.color",
    ),
    _feature("delta_rs_best", "", "the same for the best subset", 0, ucd="stat.value;phot.color"),
    _feature(
        "photoz_overlap", "", "mean over pairs of the integral of p_i(z) p_j(z) dz, templates without evolution", 0
    ),
    _feature(
        "lambda_bg", "", "galaxies of a second red sequence behind the lens, field subtracted", ucd="src.class.richness"
    ),
    _feature("lambda_bg_sigma", "", "that richness over its Poisson error, largest over redshift", 0, ucd="stat.snr"),
    _feature("lambda_bg_z", "", "redshift of the second red sequence", 0, 5, ucd="src.redshift.phot"),
    # from images in which everything of the lens's colour cancels (tandemlens.features.behind)
    _feature(
        "behind_match",
        "",
        "red sources brighter than 0.16 L* at one redshift behind, weighted to the centre",
        0,
        ucd="src.density",
    ),
    *(_feature(f"behind_n{r}", "", f"of those the ones within {r} arcsec", 0) for r in (*RADII, 45)),
    _feature("behind_total", "", "of those all, at the redshift of most", 0),
    _feature("behind_z", "", "their redshift", 0, 5, ucd="src.redshift.phot"),
    *(column for kind, age in (("red", "old"), ("blue", "young")) for column in _behind(kind, age)),
    # a matched filter for galaxies of a second cluster in the source plane (tandemlens.features.second)
    _feature("second_evidence", "", "log of the odds of a second cluster behind to none, at even odds before"),
    _feature("second_z", "", "its mean redshift", 0, 5),
    _feature("second_richness", "", "its mean richness", 0),
    _feature("second_offset", "arcsec", "mean distance of its unlensed centre from the target", 0),
    _feature("second_theta_e", "arcsec", "mean Einstein radius of lenses of this richness for that redshift", 0),
    _feature("second_offset_scaled", "", "that distance over that radius", 0),
    _feature("second_expected", "", "log10 of its members within that radius of the axis, in the source plane"),
    _feature("second_members", "", "images of its members", 0),
    _feature("second_near", "", "of those the ones within 12 arcsec", 0),
    _feature("second_inside", "", "of those the ones within 1.55 Einstein radii", 0),
    _feature("second_strong", "", "images of its members that a lens of this richness images strongly; runs high", 0),
    _feature("second_pair", "", "log10 of 1e-4 + the chance that two images are such; runs high, to rank by"),
]
