"""Columns of `match.parquet`: one row per target and band that entered the stage."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target that entered the stage"),
    Column("band", "str", "", "band"),
    Column("status", "str", "", "ok, or why the target leaves the road here (tandemlens.base.status)"),
    Column("reason", "str", "", "one sentence with the values that led to the status, empty if ok"),
    Column("used", "bool", "", "whether the band takes part; a target needs two"),
    Column("band_fwhm", "float64", "arcsec", "FWHM of the PSF before matching; NaN if unused", 0),
    Column("fwhm", "float64", "arcsec", "FWHM of the common PSF; NaN if the target left", 0),
    Column(
        "kernel_residual", "float64", "", "misplaced fraction of the light after matching (D of Aniano et al. 2011)", 0
    ),
    Column("noise_factor", "float64", "", "measured over propagated sigma of a blank aperture of radius 3 pixels", 0),
    Column(
        "cutout_sha256",
        "str",
        "",
        "SHA-256 of the target's pixels in cutouts.h5 (tandemlens.base.stack.pixel_digest); empty if unreadable",
        ucd="meta.checksum",
    ),
]
