"""Columns of the heads' tables: the population of the colour head and `scores/colour.parquet`."""

from tandemlens.base.columns.registry import Column

#: one row per target that the colour head scored
COLOUR = [
    Column("target_id", "str", "", "target"),
    Column(
        "color_evidence",
        "float64",
        "",
        "-log10(p_chance): the ranking score of the colour head; larger is better",
        ucd="stat.likelihood",
    ),
    Column("p_chance", "float64", "", "chance that unrelated arcs agree as well", 0, 1, ucd="stat.probability"),
    Column(
        "log_bayes",
        "float64",
        "",
        "largest ln Bayes factor over subsets: one common colour against unrelated arcs",
        ucd="stat.likelihood",
    ),
    Column("n_chosen", "int32", "", "arcs in the subset of the largest Bayes factor", 0, ucd="meta.number"),
    Column("chosen", "str", "", "their labels, separated by spaces", ucd="meta.id.part"),
    Column(
        "delta_rs_chosen",
        "float64",
        "",
        "Mahalanobis distance of their colour from the foreground sequence",
        0,
        ucd="stat.value;phot.color",
    ),
    Column("n_population", "int32", "", "segments that stand for unrelated arcs", 0, ucd="meta.number"),
    Column(
        "population",
        "str",
        "",
        "what they are: arcs or galaxies, of other groups, other targets or this field",
        ucd="meta.code.class",
    ),
]

#: one row per target that the classic head looked at
CLASSIC = [
    Column("target_id", "str", "", "target"),
    Column(
        "classic",
        "float64",
        "",
        "log odds of a tandem at the prior of the training sample; NaN if none was trained",
        ucd="stat.likelihood",
    ),
    Column(
        "classic_by",
        "str",
        "",
        "trees, logistic, or none where the training sample is too small",
        ucd="meta.code.class;meta.modelled",
    ),
    Column(
        "drivers", "str", "", "the five features that moved the score most, each with what it added", ucd="meta.note"
    ),
]

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
    Column("beats_equal", "bool", "", "whether the gain exceeds that"),
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

#: one row per target with a cutout
BASELINE = [
    Column("target_id", "str", "", "target"),
    Column(
        "baseline",
        "float64",
        "",
        "log odds of a tandem by a network on the whole cutout, at the prior of the training sample; NaN if none was "
        "trained or no pixel is valid",
        ucd="stat.likelihood",
    ),
]

#: one row per target that the head of positive-unlabelled learning looked at
PU = [
    Column("target_id", "str", "", "target"),
    Column(
        "pu",
        "float64",
        "",
        "log odds of a tandem in the sample of the fit; NaN if the head is not used",
        ucd="stat.likelihood",
    ),
    Column(
        "pu_by", "str", "", "trees, logistic, or none where the head is not used", ucd="meta.code.class;meta.modelled"
    ),
    Column(
        "pu_fold",
        "int32",
        "",
        "fold whose model, which has not seen the group, scored it; -1 for all of them",
        -1,
        ucd="meta.id.part;meta.modelled",
    ),
    Column(
        "pu_label",
        "str",
        "",
        "lens or no_lens where the head has learnt from its grade; empty elsewhere",
        ucd="meta.code.class;meta.modelled",
    ),
]

#: one row per field group that the head of positive-unlabelled learning has learnt from
PU_FOLDS = [
    Column("group_id", "str", "", "field group of a target of the search or training sample"),
    Column("fold", "int32", "", "fold whose model has not seen it", 0),
]

#: one row per target that the head of trends looked at
TREND = [
    Column("target_id", "str", "", "target"),
    Column(
        "trend",
        "float64",
        "",
        "score by the predictions over epochs; NaN if the head is not used",
        ucd="stat.likelihood",
    ),
    Column(
        "trend_by",
        "str",
        "",
        "trend, hawkes, mean (without guard only), or none where the head is not used",
        ucd="meta.code.class;meta.modelled",
    ),
]

#: one row per target that the anomaly head looked at
ANOMALY = [
    Column("target_id", "str", "", "target"),
    Column(
        "anomaly",
        "float64",
        "",
        "rank among held-out simulated non-lenses of how unlike those it is; NaN if the head was not trained",
        0,
        1,
        "stat.percentile",
    ),
    Column(
        "anomaly_by",
        "str",
        "",
        "how that is measured (tandemlens.learn.detectors), or none",
        ucd="meta.code.class;meta.modelled",
    ),
]

#: one row per target of the stamps
MIL = [
    Column("target_id", "str", "", "target"),
    Column(
        "mil",
        "float64",
        "",
        "log odds of a tandem by attention over its stamps, all classes weighed alike if so set; NaN if the head was "
        "not trained or the target has no stamp",
        ucd="stat.likelihood",
    ),
    Column(
        "mil_by",
        "str",
        "",
        "encoder of the stamps, or none where there is no score",
        ucd="meta.code.class;meta.modelled",
    ),
    Column(
        "attention",
        "str",
        "",
        "label:attention of every segment, the largest first; label 0 is the centre",
        ucd="stat.weight",
    ),
]

#: one row per target of the stamps
PROTO = [
    Column("target_id", "str", "", "target"),
    Column(
        "proto",
        "float64",
        "",
        "log odds of the tandem prototype against all others, at equal shares; NaN if the head was not trained or the "
        "target has no stamp",
        ucd="stat.likelihood",
    ),
    Column(
        "proto_by",
        "str",
        "",
        "episodes, simpleshot, or none where there is no score",
        ucd="meta.code.class;meta.modelled",
    ),
    Column(
        "proto_label",
        "str",
        "",
        "lens or no_lens where its grade is part of a prototype; empty elsewhere",
        ucd="meta.code.class;meta.modelled",
    ),
]

#: columns of `scores/{head}.parquet`
OF = {
    "colour": COLOUR,
    "classic": CLASSIC,
    "pu": PU,
    "trend": TREND,
    "baseline": BASELINE,
    "fused": FUSED,
    "anomaly": ANOMALY,
    "mil": MIL,
    "proto": PROTO,
}
