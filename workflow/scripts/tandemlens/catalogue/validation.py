"""Tables of docs/validation.md, from the evaluation tables of runs.

Systems that were drawn, systems painted into real images, and real ones each have parts of their own: no number is
of two kinds.
"""

from typing import TYPE_CHECKING

import pandas as pd

from tandemlens.base.errors import InputError
from tandemlens.base.samples import CLASSES
from tandemlens.base.tables import read_table
from tandemlens.catalogue.evaluation import heads_by_metric

if TYPE_CHECKING:
    from pathlib import Path


KINDS = ("simulated", "injected", "real")
#: the row of a classifier that is told the truth (``benchmarks/ideal_observer.py``)
IDEAL = "ideal observer"
_NOT_GRANTED = "projected"
_TOLD = (
    "The ideal observer is no head: trees on the same systems that are told redshift and richness of both clusters and "
    "the true places of the members behind in units of the mean Einstein radius, and are granted every class but "
    f"`{_NOT_GRANTED}` as told apart."
)
RANKING = {
    "tpr_at_fpr_0.1": "TPR at FPR 0.1",
    "tpr_at_fpr_0.03": "at 0.03",
    "tpr_at_fpr_0.01": "at 0.01",
    "tpr_at_fpr_0.001": "at 0.001",
    "auroc": "AUROC",
}
AGAINST = {name: RANKING[name] for name in ("tpr_at_fpr_0.1", "tpr_at_fpr_0.03", "auroc")}


def fill_validation(text: str, kind: str, name: str, folder: "str | Path") -> str:
    """Replace a part of the document by the tables of an evaluation.

    Parameters
    ----------
    text : str
        Markdown with the marks ``<!-- KIND NAME: made by make validation -->`` and ``<!-- end of KIND NAME -->``.
    kind : str
        Of `KINDS`: what the systems are.
    name : str
        Of the part, for example the survey.
    folder : str or Path
        Holds the tables of the rule `evaluate` and ``held_out.parquet``.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If there is no such kind or part, or the tables have no ranking.
    """
    if kind not in KINDS:
        raise InputError(f"{kind} is no kind of systems; use one of {', '.join(KINDS)}")
    start, end = f"<!-- {kind} {name}: made by make validation -->", f"<!-- end of {kind} {name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise InputError(f"docs/validation.md has no part {kind} {name}; write its marks {start} and {end} once")
    head, rest = text.split(start)
    return "\n".join([head + start, "", *_tables(kind, folder), "", end]) + rest.split(end)[1]


def _tables(kind: str, folder: "str | Path") -> list[str]:
    """Lines of the tables of one evaluation."""
    held_out = read_table(f"{folder}/held_out.parquet")
    metrics = read_table(f"{folder}/metrics.parquet")
    if metrics.empty:
        raise InputError(f"{folder}/metrics.parquet is empty; its metadata say why, and a part needs a ranking")
    test = held_out[held_out["role"] == "test"]
    n, n_pos, n_groups = len(test), int(test["label"].sum()), test["group"].nunique()
    lines = [
        f"{kind.capitalize()} systems: {n}, {n_pos} of them tandems, in {n_groups} groups of sky; 95 per cent "
        "intervals by bootstrap over groups."
    ]
    parts = dict(list(metrics.groupby("part")))
    for part, heading in (("overall", "all tandems"), ("regime", "tandems that experts recover")):
        if part in parts:
            n = int(parts[part]["n_pos"].iloc[0])
            rows = [[head, *cells] for head, cells in heads_by_metric(parts[part], RANKING)]
            lines += ["", *_markdown([f"{heading} ({n})", *RANKING.values()], rows)]
    if IDEAL in set(metrics["head"]):
        lines += ["", _TOLD]
    lines += [
        "",
        *_markdown(["all tandems against one class", "systems", *AGAINST.values()], _against(parts["contrast"])),
    ]
    merit = parts["overall"][parts["overall"]["head"] == "fused"].set_index("metric")
    if "ece" in merit.index:
        ece, brier = (merit.loc[key] for key in ("ece", "brier"))
        lines += [
            "",
            f"Probability: expected calibration error {ece['value']:.3f} [{ece['low']:.3f}, {ece['high']:.3f}], Brier "
            f"score {brier['value']:.3f} [{brier['low']:.3f}, {brier['high']:.3f}]. Tandems that it promises:",
            "",
            *_counts(read_table(f"{folder}/counts.parquet")),
        ]
    return lines


def _against(contrast: pd.DataFrame) -> list[list[str]]:
    """The leading head against every class, and an ideal observer against the one that is not granted."""
    rows = []
    for name in (name for name in CLASSES if name in set(contrast["name"])):
        mine = contrast[contrast["name"] == name]
        leading, *others = heads_by_metric(mine, AGAINST)
        shown = [leading, *(row for row in others if row[0] == IDEAL and name == _NOT_GRANTED)]
        rows += [[f"{head} against {name}", str(int(mine["n_neg"].iloc[0])), *cells] for head, cells in shown]
    return rows


def _counts(counts: pd.DataFrame) -> list[str]:
    rows = [
        [f"{r['prevalence']:.3g}", f"{r['present']:.4g}", f"{r['expected']:.4g} [{r['low']:.4g}, {r['high']:.4g}]"]
        for r in counts.to_dict("records")
        if pd.notna(r["expected"])
    ]
    return _markdown(["systems weighted to a prevalence of", "tandems", "promised, one sigma"], rows)


def _markdown(columns: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]
