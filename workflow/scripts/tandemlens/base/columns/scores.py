"""Columns of the scores of all heads together, and of what heads keep beside their own (`tandemlens.heads`)."""

from tandemlens.base.columns.registry import Column

#: one row per target with features or without segments: all heads together
FUSED = [
    Column("target_id", "str", "", "target"),
    Column(
        "fused",
        "float64",
        "",
        "score of all heads together, by which targets are ranked; larger is better",
        ucd="stat.likelihood;meta.main",
    ),
    Column(
        "probability",
        "float64",
        "",
        "calibrated probability of a tandem at the prevalence of the run; simulated",
        0,
        1,
        "stat.probability;meta.main",
    ),
    Column(
        "probability_low",
        "float64",
        "",
        "lower end of its interval (Venn and Abers)",
        0,
        1,
        ucd="stat.probability;stat.min",
    ),
    Column("probability_high", "float64", "", "upper end", 0, 1, ucd="stat.probability;stat.max"),
]

#: one row per way to fuse the heads
FUSERS_COMPARED = [
    Column("kind", "str", "", "way to fuse (tandemlens.learn.fusers)"),
    Column("tpr", "float64", "", "TPR at a false-positive rate of at most 0.01, cross-validated on role fuse", 0, 1),
    Column("tpr_low", "float64", "", "lower end of its 95 per cent interval, by bootstrap over groups"),
    Column("tpr_high", "float64", "", "upper end"),
    Column("auroc", "float64", "", "area under the ROC curve"),
    Column("auroc_low", "float64", "", "lower end of its interval"),
    Column("auroc_high", "float64", "", "upper end"),
    Column("gain", "float64", "", "TPR beyond that of equal weights"),
    Column("gain_error", "float64", "", "its standard error"),
    Column("beats_equal", "bool", "", "whether the gain exceeds twice that"),
    Column("chosen", "bool", "", "whether this one ranks the targets"),
    Column("weights", "str", "", "weight of every head, as JSON"),
    Column("note", "str", "", "what the fit chose"),
]

#: one row per segment that may stand for an unrelated arc
POPULATION = [
    Column("target_id", "str", "", "target whose cutout holds the segment"),
    Column("group_id", "str", "", "field group of the target"),
    Column("kind", "str", "", "class guess of the segment"),
    Column("snr", "float64", "", "S/N in the combined image"),
    Column("colour_{colour}", "float64", "mag", "colour {colour}; NaN where a band has no measurement"),
]


#: one row per field group that the head of positive-unlabelled learning has learnt from
PU_FOLDS = [
    Column("group_id", "str", "", "field group of a target of the search or training sample"),
    Column("fold", "int32", "", "fold whose model has not seen it", 0),
]
