"""Columns of `report/figures/*.parquet`: what the figures of the report draw."""

from tandemlens.base.columns import evaluation
from tandemlens.base.columns.registry import Column

#: one row per head, sample and bin
SCORES = [
    Column("head", "str", "", "head, or fused"),
    Column("sample", "str", "", "search, or tandems and others: simulated systems of role test"),
    Column("from", "float64", "", "lower edge of the bin of the score, inside it"),
    Column("to", "float64", "", "upper edge, outside it but for the last bin"),
    Column("n", "int64", "", "systems in the bin", 0),
    Column("share", "float64", "", "of the systems of the sample that have a score", 0, 1),
]

#: one row per head and point of its curve
ROC = [
    Column("head", "str", "", "head, or fused"),
    Column("fpr", "float64", "", "false-positive rate on the test systems", 0, 1),
    Column("tpr", "float64", "", "true-positive rate", 0, 1),
    Column("threshold", "float64", "", "found is a score of this or more"),
]

#: one row per target
SKY = [
    Column("target_id", "str", "", "target"),
    Column("ra", "float64", "deg", "right ascension, ICRS; NaN if unknown", 0, 360, "pos.eq.ra"),
    Column("dec", "float64", "deg", "declination, ICRS", -90, 90, "pos.eq.dec"),
    Column("rank", "int32", "", "rank in the catalogue", 1),
    Column("status", "str", "", "status in the catalogue"),
    Column("listed", "bool", "", "whether it is on the list of candidates"),
]

#: one row per system on the sheet
CLASSES = [
    Column("target_id", "str", "", "simulated system"),
    Column("class", "str", "", "class by rule"),
    Column("place", "int32", "", "place in the row of its class", 1),
]

#: figure -> columns of its data; those after SCORES and SKY need a training sample
COLUMNS = {
    "scores": SCORES,
    "sky": SKY,
    "classes": CLASSES,
    "roc": ROC,
    "completeness_theta_e": evaluation.COMPLETENESS,
    "completeness_magnitude": evaluation.COMPLETENESS,
    "completeness_seeing": evaluation.COMPLETENESS,
    "contrast": evaluation.METRICS,
    "reliability": evaluation.RELIABILITY,
}
