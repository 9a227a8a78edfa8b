"""Columns of the heads' tables: the population of the colour head and `scores/colour.parquet`."""

from tandemlens.base.columns.registry import Column

#: one row per target that the colour head scored
COLOUR = [
    Column("target_id", "str", "", "target"),
    Column("color_evidence", "float64", "", "-log10(p_chance): the ranking score of the colour head; larger is better"),
    Column("p_chance", "float64", "", "chance that unrelated arcs agree as well", 0, 1),
    Column(
        "log_bayes", "float64", "", "largest ln Bayes factor over subsets: one common colour against unrelated arcs"
    ),
    Column("n_chosen", "int32", "", "arcs in the subset of the largest Bayes factor", 0),
    Column("chosen", "str", "", "their labels, separated by spaces"),
    Column("delta_rs_chosen", "float64", "", "Mahalanobis distance of their colour from the foreground sequence", 0),
    Column("n_population", "int32", "", "segments that stand for unrelated arcs", 0),
    Column("population", "str", "", "what they are: arcs or galaxies, of other groups, other targets or this field"),
]

#: one row per segment that may stand for an unrelated arc
POPULATION = [
    Column("target_id", "str", "", "target whose cutout holds the segment"),
    Column("group_id", "str", "", "field group of the target"),
    Column("kind", "str", "", "class guess of the segment"),
    Column("snr", "float64", "", "S/N in the combined image"),
    Column("colour_{colour}", "float64", "mag", "colour {colour}; NaN where a band has no measurement"),
]
