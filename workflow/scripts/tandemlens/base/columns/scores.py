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

#: one row per target that the classic head looked at
CLASSIC = [
    Column("target_id", "str", "", "target"),
    Column(
        "classic", "float64", "", "log odds of a tandem at the prior of the training sample; NaN if none was trained"
    ),
    Column("classic_by", "str", "", "trees, logistic, or none where the training sample is too small"),
    Column("drivers", "str", "", "the five features that moved the score most, each with what it added"),
]

#: one row per training system that the classic head has not learnt from
HELD_OUT = [
    Column("target_id", "str", "", "system"),
    Column("role", "str", "", "role in learning (tandemlens.learn.folds)"),
    Column("group", "str", "", "group that stays together"),
    Column("class", "str", "", "class by rule"),
    Column("label", "bool", "", "whether it is a tandem"),
    Column("score", "float64", "", "score of the head"),
]

#: one row per figure of merit of a head on systems that it has not learnt from
METRICS = [
    Column("part", "str", "", "overall, or survey or contrast (all tandems against one other class)"),
    Column("name", "str", "", "all, or the survey or class"),
    Column("metric", "str", "", "figure of merit (tandemlens.learn.metrics)"),
    Column("value", "float64", "", "its value; NaN where it is not defined"),
    Column("low", "float64", "", "lower end of its 95 per cent interval, by bootstrap over groups"),
    Column("high", "float64", "", "upper end"),
    Column("n_pos", "int64", "", "tandems", 0),
    Column("n_neg", "int64", "", "other systems", 0),
]

#: one row per segment that may stand for an unrelated arc
POPULATION = [
    Column("target_id", "str", "", "target whose cutout holds the segment"),
    Column("group_id", "str", "", "field group of the target"),
    Column("kind", "str", "", "class guess of the segment"),
    Column("snr", "float64", "", "S/N in the combined image"),
    Column("colour_{colour}", "float64", "mag", "colour {colour}; NaN where a band has no measurement"),
]
