"""Columns of `candidates.parquet`: one row per row of the user's catalogue, ranked."""

from dataclasses import replace

from tandemlens.base.columns import features, scores, targets
from tandemlens.base.columns.grades import GRADED
from tandemlens.base.columns.registry import Column

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
    Column("p_conformal", "float64", "", "chance that a simulated system that is no tandem scores as high", 0, 1),
    Column("fdr", "float64", "", "smallest false-discovery rate of a list of candidates that holds the target", 0, 1),
    Column("listed", "bool", "", "whether it is on the list at the rate fusion.fdr"),
]


def _chosen(columns, names):
    by_name = {c.name: c for c in columns}
    # Targets that left the road early have no value: whole numbers become floats with NaN.
    return [replace(by_name[n], dtype="float64" if by_name[n].dtype == "int32" else by_name[n].dtype) for n in names]


_BEFORE = [
    Column("rank", "int32", "", "1 is the best; scored targets first, every row has one", 1),
    *[c for c in targets.COLUMNS if c.name in FROM_TARGETS],
    Column("survey", "str", "", "survey of the pixels"),
    Column("release", "str", "", "data release of the pixels; begins with simulated if they are"),
    Column("bands", "str", "", "bands that were used, separated by spaces"),
    Column("status", "str", "", "scored, or why there is no score (tandemlens.base.status)"),
    Column("reason", "str", "", "one sentence with the values that led to the status, empty if scored"),
    Column("stage", "str", "", "stage at which the target left the road, empty if scored"),
]
_AFTER = [
    *_chosen(features.COLUMNS, FROM_FEATURES),
    Column("ebv", "float64", "mag", "E(B-V) corrected for; 0 where none was known", 0),
    Column("ebv_source", "str", "", "catalogue, map, service, or none: fluxes are then not corrected"),
    Column("fwhm", "float64", "arcsec", "FWHM of the common PSF", 0),
    Column("n_tandems", "int32", "", "clusters of a catalogue that lie behind the target", 0),
    Column("tandem_name", "str", "", "the closest of them on the sky"),
    Column("tandem_separation", "float64", "arcsec", "its angle from the target", 0),
    Column("tandem_z", "float64", "", "its redshift", 0, 5),
]


def columns(heads, graded=False):
    """Columns of the catalogue of a run.

    Parameters
    ----------
    heads : list of str
        Names of the heads, and fused where they are.
    graded : bool
        Whether people have graded targets.

    Returns
    -------
    list of Column
    """
    shown = [c for head in heads for c in _chosen(scores.OF[head], [c.name for c in scores.OF[head][1:]])]
    return [*_BEFORE, *(LISTED if "fused" in heads else []), *(GRADED if graded else []), *shown, *_AFTER]
