"""The page of the evaluation: how well the heads find simulated tandems that no fit has looked at."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.evaluation import TABLES
from tandemlens.base.samples import CLASSES
from tandemlens.base.tables import read_meta, read_table
from tandemlens.catalogue import evaluation_figures as figures
from tandemlens.catalogue.figures import png
from tandemlens.catalogue.template import page_template
from tandemlens.learn.evaluate import COMPARED, EDGES, EXPERT_RADIUS, EXPERT_SNR, is_expert, lead_head, on_test, scored

#: metrics of the table of heads, with their headings
_COLUMNS = {
    "tpr_at_fpr_0.1": "TPR at FPR 0.1",
    "tpr_at_fpr_0.03": "at 0.03",
    "tpr_at_fpr_0.01": "at 0.01",
    "tpr_at_fpr_0.001": "at 0.001",
    "tpr0": "TPR0",
    "tpr10": "TPR10",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision_at_10": "precision of 10",
    "precision_at_30": "of 30",
    "unscored": "unscored",
}
#: what is told against one class
_RECALL = {name: _COLUMNS[name] for name in ("tpr_at_fpr_0.1", "tpr_at_fpr_0.03", "auroc")}
#: columns of the report of the fusion and of the ablation that are shown
_FUSION = ("kind", "chosen", "tpr", "tpr_low", "tpr_high", "auroc", "auroc_low", "auroc_high", "gain", "gain_error")
_FUSION += ("beats_equal", "weights", "note")
_ABLATION = ("component", "metric", "with", "without", "difference", "low", "high", "p_value", "n_pos", "n_neg")
_ABLATION += ("expected", "note")
#: mark of a rate at which not a single false positive is allowed
_NONE_ALLOWED = "†"


def write_evaluation_page(paths: dict[str, Any], template_path: str, out_path: str, cfg: dict[str, Any]) -> None:
    """Write the page.

    Parameters
    ----------
    paths : dict of str
        ``held_out``, ``scores``, and every table of `tandemlens.base.columns.evaluation.TABLES`; ``fusion``, the
        folder of the fusion's model; ``ablation``, a table, where it is there; ``trained``, folders of models, of which
        those that were trained over epochs have a learning curve.
    template_path, out_path : str
    cfg : dict
        ``survey`` and ``release`` of the training sample.
    """
    held_out = read_table(paths["held_out"])
    test, scores = on_test(held_out, read_table(paths["scores"]))
    tables = {name: read_table(paths[name]) for name in TABLES}
    reasons = {name: read_meta(paths[name])["reason"] for name in TABLES}
    fusion = json.loads((Path(paths["fusion"]) / "fusion.json").read_text(encoding="utf-8"))
    ablation, unknown = _ablation(paths["ablation"]) if paths.get("ablation") else ([], [])
    page = page_template(template_path).render(
        roles=_roles(held_out),
        others=test.loc[~test["label"], "class"].value_counts().to_dict(),
        n=len(test),
        n_pos=int(test["label"].sum()),
        shares={role: float(mine["label"].mean()) for role, mine in held_out.groupby("role")},
        surveys=sorted(test["survey"].unique()),
        ranking=None if reasons["metrics"] else _ranking(test, scores, tables),
        probabilities=None if reasons["reliability"] else _probabilities(tables),
        counts=tables["counts"].to_dict("records"),
        reasons=reasons,
        expert={"snr": EXPERT_SNR, "radius": EXPERT_RADIUS, "n": int((is_expert(test) & test["label"]).sum())},
        fusion=_rows(Path(paths["fusion"]) / "report.parquet", _FUSION),
        unfused=fusion["reason"],
        prior=fusion.get("prior"),
        ablation=ablation,
        unknown=unknown,
        trainings=list(_trainings(paths.get("trained", []))),
        columns={"fusion": _FUSION, "ablation": _ABLATION},
        survey=cfg["survey"],
        release=cfg["release"],
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out_path, page)


def _trainings(folders: list[Any]) -> Iterator[Any]:
    """Name, why it ended, what was kept and picture of everything that was trained over epochs."""
    for folder in map(Path, folders):
        path = folder / f"{folder.name}.json"
        facts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if facts.get("curve"):
            curve = pd.DataFrame(facts["curve"])
            unit = figures.unit_of(curve)
            best = facts.get(f"best_{unit}")
            yield {
                "name": folder.name,
                "ended": facts.get("ended") or facts.get("reason", ""),
                "best": best,
                "unit": unit,
                "picture": png(figures.figure_curve(curve, best)),
            }


def _roles(held_out: pd.DataFrame) -> list[tuple[str, int, int, int]]:
    """Tandems, other systems and groups of every role."""
    return [
        (role, int(mine["label"].sum()), int((~mine["label"]).sum()), mine["group"].nunique())
        for role, mine in held_out.groupby("role")
    ]


def _ranking(test: pd.DataFrame, scores: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Pictures and tables of how the heads rank."""
    metrics, heads = tables["metrics"], scored(scores)
    lead = lead_head(heads)
    part = dict(list(metrics.groupby("part")))
    expert = is_expert(test) | ~test["label"].to_numpy()
    shown = {"all": metrics[metrics["part"] == "overall"], "expert": metrics[metrics["part"] == "regime"]}
    completeness = tables["completeness"][tables["completeness"]["head"] == lead]
    found = int((is_expert(test) & test["label"]).sum())
    return {
        "lead": lead,
        "silent": [head for head in scores if head not in heads],
        "bins": {quantity: png(figures.figure_completeness(completeness, quantity)) for quantity in EDGES},
        "expert": png(figures.figure_roc(test[expert], scores.loc[expert, heads], shown["expert"], lead))
        if found
        else "",
        "roc": png(figures.figure_roc(test, scores[heads], shown["all"], lead, wide=True)),
        "contrast": png(figures.figure_contrast(metrics)),
        "columns": _COLUMNS,
        "heads": heads_by_metric(part["overall"], _COLUMNS),
        "expert_heads": heads_by_metric(part["regime"], _COLUMNS),
        "surveys": {name: heads_by_metric(mine, _RECALL) for name, mine in part["survey"].groupby("name")},
        "recall": _RECALL,
        "against": list(_against(part["contrast"], part["regime_contrast"])),
        "compared": [_heading(metric) for metric in COMPARED],
        "paired": [(*pair, mine.to_dict("records")) for pair, mine in tables["paired"].groupby(["a", "b"], sort=False)],
    }


def heads_table(metrics: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Figures of merit of every head on all test systems.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Columns `tandemlens.base.columns.evaluation.METRICS`.

    Returns
    -------
    columns : list of str
        Headings.
    rows : list of (str, list of str)
        Head, and a value with its interval for every heading.
    """
    return list(_COLUMNS.values()), heads_by_metric(metrics[metrics["part"] == "overall"], _COLUMNS)


def _ablation(path: str | Path) -> tuple[Any, list[Any]]:
    """What each component adds, as shown, and why it is not known of the others."""
    table = read_table(path)
    known = table["difference"].notna()
    reasons = table[~known].drop_duplicates(["component", "note"])[["component", "note"]]
    return table.loc[known, list(_ABLATION)].to_dict("records"), list(reasons.itertuples(index=False))


def _against(
    contrast: pd.DataFrame, experts: pd.DataFrame
) -> Iterator[tuple[str, int, list[tuple[str, Any]], list[tuple[str, Any]]]]:
    """Class, number of its systems, and the heads against it: on all tandems, and on those that experts recover."""
    for name in (name for name in CLASSES if name in set(contrast["name"])):
        mine = contrast[contrast["name"] == name]
        seen = experts[experts["name"] == name]
        yield name, int(mine["n_neg"].iloc[0]), heads_by_metric(mine, _RECALL), heads_by_metric(seen, _RECALL)


def _heading(metric: str) -> str:
    return metric.replace("tpr_at_fpr_", "TPR at FPR ").replace("tpr", "TPR").replace("auroc", "AUROC")


def heads_by_metric(metrics: pd.DataFrame, columns: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Heads with a cell a metric.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Rows of one part and name, with columns `tandemlens.base.columns.evaluation.METRICS`.
    columns : iterable of str
        Metrics.

    Returns
    -------
    list of (str, list of str)
        Head, fused first, and value with interval as text for every metric.
    """
    rows = []
    for head in sorted(metrics["head"].unique(), key=lambda head: (head != "fused", head)):
        known = metrics[metrics["head"] == head].set_index("metric").to_dict("index")
        rows.append((head, [_cell(name, known.get(name)) for name in columns]))
    return rows


def _cell(metric: str, row: dict[str, Any] | None) -> str:
    if row is None or pd.isna(row["value"]):
        return "–"
    if metric == "unscored":
        return f"{row['value']:.0%}"
    digits = 3 if metric == "auroc" else 2
    value, low, high = (f"{row[name]:.{digits}f}" for name in ("value", "low", "high"))
    interval = "" if pd.isna(row["low"]) else f" [{low},\u00a0{high}]"
    rate = float(metric.rpartition("_")[2]) if metric.startswith("tpr_at_fpr") else 1.0
    return f"{value}{_NONE_ALLOWED if rate * row['n_neg'] < 1 else ''}{interval}"


def _probabilities(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Picture, table and figures of merit of the fused probability."""
    metrics = tables["metrics"]
    mine = metrics[(metrics["head"] == "fused") & (metrics["part"] == "overall")].set_index("metric")
    return {
        "picture": png(figures.figure_reliability(tables["reliability"])),
        "bins": tables["reliability"].to_dict("records"),
        "merit": [(name, mine.loc[key].to_dict()) for key, name in _CALIBRATION.items() if key in mine.index],
    }


_CALIBRATION = {"ece": "expected calibration error in ten bins", "brier": "Brier score"}


def _rows(path: Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return read_table(path, columns=list(names)).to_dict("records")
