"""Columns of `fetch.parquet`: one row per target and band."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target"),
    Column("band", "str", "", "band"),
    Column("status", "str", "", "ok, or why the band cannot be used (tandemlens.base.status)"),
    Column("reason", "str", "", "one sentence with the values that led to the status, empty if ok"),
    Column("bytes", "int64", "byte", "size of the source file; 0 if there is none", 0),
    Column("sha256", "str", "", "SHA-256 of the source file, empty if there is none"),
    Column("files", "str", "", "JSON list of the files that were read for the band"),
    Column("release", "str", "", "data release that the pixels come from; begins with simulated if they are"),
    Column("psf_fwhm", "float64", "arcsec", "full width at half maximum of the PSF; NaN if unusable", 0),
    Column("tries", "int32", "", "requests that the band's answers took; 0 from files and from the cache", 0),
    Column("psf_source", "str", "", "survey, stars (of the field) or nominal (a Moffat profile); empty if unusable"),
    Column("n_psf_stars", "int32", "", "field stars in the PSF; 0 if it came with the survey", 0),
    Column("psf_quality", "float64", "", "median residual fraction of the stars under the PSF; NaN if none", 0),
    Column(
        "noise_ratio", "float64", "", "sigma of blank pixels over the stated sigma before correction; NaN if none", 0
    ),
    Column("coverage", "float64", "", "fraction of the cutout with valid pixels", 0, 1),
]
