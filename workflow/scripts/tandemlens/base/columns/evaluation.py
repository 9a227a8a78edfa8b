"""Columns of `evaluation/*.parquet`: what the heads did on systems that no fit has looked at."""

from tandemlens.base.columns.registry import Column

#: one row per training system of the roles calibrate, fuse and test
HELD_OUT = [
    Column("target_id", "str", "", "system"),
    Column("role", "str", "", "role in learning (tandemlens.learn.folds)"),
    Column("group", "str", "", "group that stays together"),
    Column("class", "str", "", "class by rule"),
    Column("label", "bool", "", "whether it is a tandem"),
    Column("survey", "str", "", "survey that it was painted for"),
    Column("theta_e", "float64", "arcsec", "Einstein radius", 0),
    Column("snr_brightest", "float64", "", "ideal matched-filter S/N of the brightest arc", 0),
    Column("mag_brightest", "float64", "mag", "lensed magnitude of the brightest arc"),
    Column("fwhm", "float64", "arcsec", "seeing: FWHM of the common PSF", 0),
    Column("probability", "float64", "", "probability of a tandem at the prior of the calibration systems", 0, 1),
    Column("probability_low", "float64", "", "lower end of its interval; NaN where there is none", 0, 1),
    Column("probability_high", "float64", "", "upper end", 0, 1),
]

#: one row per held-out system and head
HELD_OUT_SCORES = [
    Column("target_id", "str", "", "system"),
    Column("head", "str", "", "head, or fused"),
    Column("score", "float64", "", "its score; larger is more lens-like, NaN where there is none"),
]

#: one row per figure of merit of a head on the test systems
METRICS = [
    Column("head", "str", "", "head, or fused"),
    Column(
        "part",
        "str",
        "",
        "overall, survey, contrast (all tandems against one other class), regime (tandems that experts recover against "
        "all others) or regime_contrast (those against one other class)",
    ),
    Column("name", "str", "", "all, or the survey, class or regime"),
    Column("metric", "str", "", "figure of merit (tandemlens.learn.metrics); unscored is a share of the systems"),
    Column("value", "float64", "", "its value; NaN where it is not defined"),
    Column("low", "float64", "", "lower end of its 95 per cent interval, by bootstrap over groups"),
    Column("high", "float64", "", "upper end"),
    Column("n_pos", "int64", "", "tandems", 0),
    Column("n_neg", "int64", "", "other systems", 0),
]

#: one row per head, false-positive rate and bin of a quantity; an open bin has an infinite edge, and positives of an
#: unknown quantity have a bin of their own, whose edges are NaN
COMPLETENESS = [
    Column("head", "str", "", "head, or fused"),
    Column("fpr", "float64", "", "largest share of all test systems that are no tandem above the threshold", 0, 1),
    Column("quantity", "str", "", "theta_e_fwhm (Einstein radius over seeing), snr_brightest, mag_brightest or fwhm"),
    Column("from", "float64", "", "lower edge of the bin, inside it"),
    Column("to", "float64", "", "upper edge, outside it"),
    Column("n", "int64", "", "tandems in the bin", 0),
    Column("found", "int64", "", "of those the ones above the threshold", 0),
    Column("completeness", "float64", "", "their share; NaN in an empty bin", 0, 1),
    Column("low", "float64", "", "lower end of its 95 per cent interval, by Clopper and Pearson", 0, 1),
    Column("high", "float64", "", "upper end", 0, 1),
    Column("ideal", "float64", "", "share that a matched filter which knows the brightest arc would detect", 0, 1),
]

#: one row per bin of the fused probability
RELIABILITY = [
    Column("from", "float64", "", "lower edge of the bin", 0, 1),
    Column("to", "float64", "", "upper edge", 0, 1),
    Column("n", "int64", "", "test systems in the bin", 0),
    Column("n_pos", "int64", "", "of those the tandems", 0),
    Column("mean_probability", "float64", "", "their mean probability; NaN in an empty bin", 0, 1),
    Column("share", "float64", "", "share of tandems; NaN in an empty bin", 0, 1),
    Column("low", "float64", "", "lower end of its 95 per cent interval, by Clopper and Pearson", 0, 1),
    Column("high", "float64", "", "upper end", 0, 1),
]

#: one row per prevalence that the test systems are weighted to
COUNTS = [
    Column("prevalence", "float64", "", "share of tandems after weighting; first that of the test systems", 0, 1),
    Column("n", "int64", "", "test systems, which is also the sum of the weights", 0),
    Column("present", "float64", "", "weighted number of tandems", 0),
    Column("expected", "float64", "", "weighted sum of the probabilities, carried to this prevalence", 0),
    Column("low", "float64", "", "lower end of its 95 per cent interval, by bootstrap over groups", 0),
    Column("high", "float64", "", "upper end", 0),
    Column("sigma", "float64", "", "its standard deviation in the same bootstrap", 0),
    Column("excess", "float64", "", "(expected - present) / sigma; NaN without scatter"),
    Column("calibration_low", "float64", "", "the same sum of the lower ends of the probabilities; NaN without any", 0),
    Column("calibration_high", "float64", "", "the same sum of the upper ends", 0),
]

#: one row per two heads and figure of merit
PAIRED = [
    Column("a", "str", "", "head that is compared"),
    Column("b", "str", "", "head that it is compared with"),
    Column("metric", "str", "", "figure of merit (tandemlens.learn.metrics)"),
    Column("value_a", "float64", "", "value of a"),
    Column("value_b", "float64", "", "value of b"),
    Column("difference", "float64", "", "value_a - value_b"),
    Column("low", "float64", "", "lower end of its 95 per cent interval, by paired bootstrap over groups"),
    Column("high", "float64", "", "upper end"),
    Column("p_value", "float64", "", "two-sided, for no difference; not corrected for the number of rows", 0, 1),
    Column("n_pos", "int64", "", "tandems", 0),
    Column("n_neg", "int64", "", "other systems", 0),
    Column("n_groups", "int64", "", "groups that were resampled", 0),
]

#: tables that rule `evaluate` writes, by the name of their file
TABLES = {
    "metrics": METRICS,
    "completeness": COMPLETENESS,
    "reliability": RELIABILITY,
    "counts": COUNTS,
    "paired": PAIRED,
}

#: one row per component and figure of merit
ABLATION = [
    Column("component", "str", "", "what the ranking is measured with and without"),
    Column("metric", "str", "", "figure of merit (tandemlens.learn.metrics); of brier and ece less is better"),
    Column("with", "float64", "", "value with it; NaN where it cannot be had, as told in the note"),
    Column("without", "float64", "", "value without it"),
    Column("difference", "float64", "", "with - without"),
    Column("low", "float64", "", "lower end of its 95 per cent interval, by paired bootstrap over groups"),
    Column("high", "float64", "", "upper end"),
    Column("p_value", "float64", "", "two-sided, for no difference; not corrected for the number of rows", 0, 1),
    Column("n_pos", "int64", "", "tandems among the test systems", 0),
    Column("n_neg", "int64", "", "other test systems", 0),
    Column("n_groups", "int64", "", "groups that were resampled", 0),
    Column("expected", "str", "", "what the founding sketch expected; empty where it says nothing"),
    Column("note", "str", "", "how the component was taken away, or why it could not be measured"),
]
