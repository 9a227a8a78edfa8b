"""Columns of `candidates.parquet`: one row per row of the user's catalogue, ranked."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from tandemlens.base.columns import crossmatch, features, match, targets
from tandemlens.base.columns.grades import GRADED
from tandemlens.base.columns.registry import Column, expand

#: what the catalogue takes from the target table and from the feature table
FROM_TARGETS = ("target_id", "name", "ra", "dec", "z", "richness", "group_id", "shard", "flags", "source_row")
FROM_FEATURES = (
    "n_segments",
    "n_arcs",
    "tangential_alignment",
    "tangential_alignment_z",
    "lw_max",
    "arc_radius",
    "s_color",
    "s_color_best",
    "n_best",
    "tau",
    "delta_rs",
    "delta_rs_best",
    "lambda_bg",
    "lambda_bg_sigma",
    "lambda_bg_z",
    "behind_match",
    "behind_z",
)
#: how sure the catalogue is of a target, where the heads are fused
LISTED = [
    Column(
        "p_conformal",
        "float64",
        "",
        "chance that a simulated system that is no tandem scores as high",
        0,
        1,
        "stat.falsePositive",
    ),
    Column(
        "fdr",
        "float64",
        "",
        "smallest false-discovery rate of a list of candidates that holds the target",
        0,
        1,
        "stat.falsePositive",
    ),
    Column("listed", "bool", "", "whether it is on the list at the rate fusion.fdr", ucd="meta.code"),
]
#: what the pixels of a target are like
PIXELS = [
    Column(
        "coverage_fraction",
        "float64",
        "",
        "share of the cutout with valid pixels, smallest of the usable bands; 0 without any, NaN if not fetched",
        0,
        1,
        "stat.filling;obs.image",
    ),
    Column(
        "psf_fwhm_{band}", "float64", "arcsec", "FWHM of the PSF in {band}; NaN if unusable", 0, ucd="instr.det.psf"
    ),
    *(c for c in match.COLUMNS if c.name == "cutout_sha256"),
]
#: what made the row
IDENTITY = [
    Column(
        "models", "str", "", "head:model of every head, the first 12 digits of its digest", ucd="meta.id;meta.modelled"
    ),
    Column(
        "run_id", "str", "", "first 12 digits of the digest of all that the catalogue is made of", ucd="meta.id.parent"
    ),
]


def _chosen(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    by_name = {c.name: c for c in columns}
    # Targets that left the road early have no value: whole numbers become floats with NaN.
    return [replace(by_name[n], dtype="float64" if by_name[n].dtype == "int32" else by_name[n].dtype) for n in names]


_BEFORE = [
    Column("rank", "int32", "", "1 is the best; scored targets first, every row has one", 1, ucd="stat.rank;meta.main"),
    *[c for c in targets.COLUMNS if c.name in FROM_TARGETS],
    Column("survey", "str", "", "survey of the pixels", ucd="meta.dataset"),
    Column("release", "str", "", "data release of the pixels; begins with simulated if they are", ucd="meta.version"),
    Column("bands", "str", "", "bands that were used, separated by spaces", ucd="instr.bandpass"),
    Column("status", "str", "", "scored, or why there is no score (tandemlens.base.status)", ucd="meta.code.status"),
    Column(
        "reason", "str", "", "one sentence with the values that led to the status, empty if scored", ucd="meta.note"
    ),
    Column("stage", "str", "", "stage at which the target left the road, empty if scored", ucd="meta.code"),
]
_AFTER = [
    *_chosen(features.COLUMNS, FROM_FEATURES),
    Column("ebv", "float64", "mag", "E(B-V) corrected for; 0 where none was known", 0, ucd="phot.color.excess"),
    Column("ebv_source", "str", "", "catalogue, map, service, or none: fluxes are then not corrected", ucd="meta.ref"),
    Column("fwhm", "float64", "arcsec", "FWHM of the common PSF", 0, ucd="instr.det.psf;meta.main"),
]
_TANDEM = [
    Column("n_tandems", "int32", "", "clusters of a catalogue that lie behind the target", 0, ucd="meta.number"),
    Column("tandem_name", "str", "", "the closest of them on the sky", ucd="meta.id.assoc"),
    Column("tandem_separation", "float64", "arcsec", "its angle from the target", 0, ucd="pos.angDistance"),
    Column("tandem_z", "float64", "", "its redshift", 0, 5, "src.redshift"),
]


def columns(
    heads: dict[str, list[Column]],
    bands: Sequence[str],
    lenscat: bool = False,
    catalogues: Collection[str] = (),
    services: Collection[str] = (),
    graded: bool = False,
) -> list[Column]:
    """Columns of the catalogue of a run.

    Parameters
    ----------
    heads : dict of list of Column
        Head -> columns of its table of scores; fused among them where the heads are.
    bands : sequence of str
    lenscat, catalogues, services
        What it was crossmatched with (`tandemlens.base.columns.crossmatch.columns`).
    graded : bool
        Whether people have graded targets.

    Returns
    -------
    list of Column
    """
    shown = [c for table in heads.values() for c in _chosen(table, [c.name for c in table[1:]])]
    known = crossmatch.columns(lenscat, catalogues, services)
    listed = LISTED if "fused" in heads else []
    grades = GRADED if graded else []
    return [*_BEFORE, *listed, *grades, *shown, *_AFTER, *expand(PIXELS, bands), *_TANDEM, *known, *IDENTITY]
