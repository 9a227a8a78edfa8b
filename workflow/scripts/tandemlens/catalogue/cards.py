"""Model cards of the heads (Mitchell et al. 2019) and data cards of the samples (Gebru et al. 2021), of a run."""

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from tandemlens.base.atomic import write_text
from tandemlens.base.samples import CLASSES
from tandemlens.base.sidecar import code_version, read_sidecar
from tandemlens.base.status import STATUS
from tandemlens.base.tables import read_meta, read_table
from tandemlens.learn.evaluate import on_test
from tandemlens.learn.metrics import clopper_pearson, threshold_at_fpr

if TYPE_CHECKING:
    from jinja2 import Template

_HEADS = Path(__file__).parents[1] / "heads"
_RANKS = {"auroc": "AUROC", "average_precision": "average precision", "tpr_at_fpr_0.1": "TPR at FPR 0.1"}
_RANKS |= {"tpr_at_fpr_0.03": "TPR at FPR 0.03", "tpr0": "TPR0", "tpr10": "TPR10", "precision_at_10": "precision of 10"}
_RANKS |= {"brier": "Brier score of the probability", "ece": "its expected calibration error", "unscored": "unscored"}
#: rates of the table at the prevalence of the survey, and the one of the table of failures
_FPRS, _FPR = (0.1, 0.03, 0.01, 0.001), 0.1
#: bins of the completeness that are shown, the worst first; those with fewer tandems say nothing
_MISSED, _LEAST = 4, 5
_NAMES = {"theta_e_fwhm": "Einstein radius over seeing", "snr_brightest": "S/N of the brightest arc"}
_NAMES |= {"mag_brightest": "magnitude of the brightest arc", "fwhm": "seeing (arcsec)"}
#: what the card of a sample says of its bands; which files were read is long
_OF_BANDS = ["target_id", "band", "status", "release", "psf_fwhm", "psf_source", "coverage"]
_USE = {
    "search": "The targets that the run ranks.",
    "train": "What the heads learn from; never ranked.",
    "known": "Stands for known lenses; only ever used to check.",
}


def write_model_cards(
    heads: list[str],
    models: list[str],
    tables: dict[str, Any],
    template_path: str,
    out_paths: list[str],
    cfg: dict[str, Any],
) -> None:
    """One card a model.

    Parameters
    ----------
    heads : list of str
        Names, ``fusion`` among them where there is one.
    models : list of str
        Folder of each.
    tables : dict
        Paths: ``folds`` and ``systems`` (a list) of the training sample, ``metrics``, ``completeness``, ``held_out``,
        ``scores``, and ``fusion``, the folder of its model. Empty without a training sample.
    template_path : str
    out_paths : list of str
        Of each card.
    cfg : dict
        ``heads``: name -> ``score``, ``kind``, ``fused``, ``settings``, ``learns`` (sample, or ``run``, -> products),
        ``survey``, ``release`` and ``bands`` of the training sample, ``licence``.
    """
    template, given = _template(template_path), _Evaluated(tables) if tables else None
    for name, model, path in zip(heads, models, out_paths, strict=True):
        head = cfg["heads"][name]
        made = read_sidecar(model)
        facts = {**head, "settings": json.dumps(head["settings"], indent=1, sort_keys=True), "made": made}
        facts |= {key: cfg[key] for key in ("survey", "release", "bands", "licence")}
        facts |= {"name": name, "what": _what(name), "code": code_version(made["code"])}
        facts |= {"survey_simulated": given is not None, "classes": [c for c in CLASSES if c != "tandem"]}
        facts |= {"reads": _reads(head["learns"]), "use": _also_sees(name), **_measured(given, name)}
        write_text(path, template.render(facts))


def write_data_cards(
    samples: list[str],
    targets: list[str],
    fetched: list[list[str]],
    systems: list[list[str]],
    template_path: str,
    out_paths: list[str],
    cfg: dict[str, Any],
) -> None:
    """One card a sample.

    Parameters
    ----------
    samples : list of str
    targets : list of str
        targets.parquet of each.
    fetched, systems : list of list of str
        fetch.parquet and systems.parquet of the shards of each; no systems where nothing was painted.
    template_path : str
    out_paths : list of str
        Of each card.
    cfg : dict
        ``samples``: name -> ``pixels``, ``release``, ``catalogue``, ``simulate`` (None where nothing was painted);
        ``survey``, ``bands``, ``licence``.
    """
    template = _template(template_path)
    for name, list_path, tables, painted, path in zip(samples, targets, fetched, systems, out_paths, strict=True):
        own, frame = cfg["samples"][name], read_table(list_path)
        bands = _concat(tables, _OF_BANDS)
        facts = {key: cfg[key] for key in ("survey", "bands", "licence")} | own
        facts |= {"name": name, "n": len(frame), "groups": frame["group_id"].nunique(), "shards": len(tables)}
        facts |= {"use": _USE.get(name, f"What {name.removesuffix('_canvas')} is painted on."), "cosmos": False}
        facts |= {"redshift": _spread(frame["z"], 2), "sha256": read_sidecar(list_path)["sha256"]}
        facts |= {"statuses": _statuses(frame, bands), "images": _images(bands, cfg["bands"]), "classes": []}
        facts |= {"settings": json.dumps(own["simulate"], indent=1, sort_keys=True), "painted": ""}
        if painted:
            facts["classes"] = _classes(_concat(painted), cfg["bands"])
            facts["painted"] = (
                "All systems are simulated."
                if own["pixels"] == "simulated"
                else "The images are real, and the systems that are painted into them are simulated."
            )
            facts["cosmos"] = bool(own["simulate"]["cosmos"])
        write_text(path, template.render(facts))


class _Evaluated:
    """Tables of the training sample and of the evaluation, read once.

    Parameters
    ----------
    paths : dict
        As of `write_model_cards`.
    """

    def __init__(self, paths: dict[str, Any]) -> None:
        self.metrics, self.completeness = read_table(paths["metrics"]), read_table(paths["completeness"])
        self.reason = read_meta(paths["metrics"])["reason"]
        self.test, self.scores = on_test(read_table(paths["held_out"]), read_table(paths["scores"]))
        folds = read_table(paths["folds"])
        classes = _concat(paths["systems"], ["target_id", "class"])
        self.roles = _roles(folds.merge(classes, on="target_id"))
        self.fusion = json.loads((Path(paths["fusion"]) / "fusion.json").read_text(encoding="utf-8"))

    @property
    def prevalence(self) -> tuple[float | None, str]:
        """Expected share of tandems in the survey and where it comes from; None where the fusion does not know."""
        return self.fusion.get("prevalence"), self.fusion.get("prevalence_by", "")


def _template(path: str) -> "Template":
    # Markdown, which knows no HTML escapes
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string(Path(path).read_text(encoding="utf-8"))


def _what(name: str) -> str:
    """First paragraph of what the module says of itself."""
    if name == "fusion":
        return "The scores of the heads in one, calibrated and carried to the prevalence of the survey."
    text = ast.get_docstring(ast.parse((_HEADS / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _reads(learns: dict[str, list[str]]) -> str:
    told = "; ".join(f"{', '.join(names)} of `{sample}`" for sample, names in learns.items() if names)
    return f"It reads {told}." if told else "It reads nothing but the settings."


def _also_sees(name: str) -> str:
    if name == "fusion":
        return ", and `fuse` and `calibrate` set weights and probabilities"
    return "; early stopping and guards see `stop`"


def _concat(paths: list[str], columns: list[str] | None = None) -> pd.DataFrame:
    return pd.concat([read_table(path, columns) for path in paths], ignore_index=True)


def _roles(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for role, mine in frame.groupby("role"):
        counts = mine["class"].value_counts()
        own = {name: int(counts.get(name, 0)) for name in CLASSES}
        rows.append({"role": role, "groups": mine["group"].nunique(), **own})
    return rows


def _measured(given: _Evaluated | None, name: str) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(("roles", "ranks", "rates", "unmeasured", "failures", "missed"), ())
    empty |= {"n_pos": 0, "n_neg": 0, "prevalence": np.nan, "prevalence_by": ""}
    if given is None:
        return {**empty, "reason": "the run has no training sample"}
    head = "fused" if name == "fusion" else name
    mine = given.metrics[given.metrics["head"] == head]
    out: dict[str, Any] = {**empty, "roles": given.roles}
    # a head without any score may have one row, that it has none
    if mine["metric"].isin(["unscored"]).all():
        return {**out, "reason": given.reason or f"{head} has no score on any test system; the log of its fit says why"}
    overall = mine[mine["part"] == "overall"].set_index("metric")
    expert = mine[mine["part"] == "regime"].set_index("metric")
    out |= {"reason": "", "n_pos": int(overall["n_pos"].iloc[0]), "n_neg": int(overall["n_neg"].iloc[0])}
    out["ranks"] = [
        {"name": text, "all": _cell(overall, metric), "expert": _cell(expert, metric)}
        for metric, text in _RANKS.items()
        if metric in overall.index
    ]
    out["failures"] = _failures(given, head, mine[mine["part"] == "contrast"])
    out["missed"] = _missed(given.completeness, head)
    return out | _at_prevalence(given, overall, out["n_neg"])


def _cell(rows: pd.DataFrame, metric: str) -> str:
    if metric not in rows.index or pd.isna(rows.at[metric, "value"]):
        return "–"
    return _interval(*rows.loc[metric, ["value", "low", "high"]])


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3g}" + ("" if pd.isna(low) else f" [{low:.3g}, {high:.3g}]")


def _at_prevalence(given: _Evaluated, overall: pd.DataFrame, n_neg: int) -> dict[str, Any]:
    prevalence, source = given.prevalence
    if not prevalence:
        return {"reason": given.fusion["reason"] or "the fusion knows no prevalence"}
    rates, unmeasured = [], []
    for fpr in _FPRS:
        allowed = int(fpr * n_neg)
        if not allowed:
            unmeasured.append(fpr)
            continue
        low, high = (float(v) for v in clopper_pearson(allowed, n_neg))
        tpr = overall.at[f"tpr_at_fpr_{fpr}", "value"]
        false = [(1 - prevalence) * rate / (prevalence * tpr) if tpr > 0 else np.inf for rate in (fpr, low, high)]
        rates.append(
            {
                "fpr": _interval(fpr, low, high),
                "tpr": _cell(overall, f"tpr_at_fpr_{fpr}"),
                "false": f"{false[0]:,.0f} [{false[1]:,.0f}, {false[2]:,.0f}]" if tpr > 0 else "none is found",
                "purity": f"{1 / (1 + false[0]):.2g}",
            }
        )
    return {"rates": rates, "unmeasured": unmeasured, "prevalence": prevalence, "prevalence_by": source}


def _failures(given: _Evaluated, head: str, contrast: pd.DataFrame) -> list[dict[str, Any]]:
    """Contrast classes by the share that is called a tandem, the worst first."""
    scores, labels = given.scores[head].to_numpy(), given.test["label"].to_numpy()
    above = scores > threshold_at_fpr(scores, labels, _FPR)
    rows = []
    for name, own in contrast.groupby("name"):
        mine = (given.test["class"] == name).to_numpy() & ~labels
        false, n = int(above[mine].sum()), int(mine.sum())
        share = _interval(false / n, *(float(v) for v in clopper_pearson(false, n)))
        rows.append({"class": name, "n": n, "false": false, "share": share})
        rows[-1]["auroc"] = _cell(own.set_index("metric"), "auroc")
    return sorted(rows, key=lambda row: -row["false"] / row["n"])


def _missed(completeness: pd.DataFrame, head: str) -> list[dict[str, Any]]:
    """Bins in which the smallest share is found."""
    own = completeness[(completeness["head"] == head) & np.isclose(completeness["fpr"], _FPR)]
    own = own[(own["n"] >= _LEAST) & own["from"].notna()].sort_values(["completeness", "n"], ascending=[True, False])
    return [
        {
            "bin": f"{_NAMES[row['quantity']]} from {row['from']:g} to {row['to']:g}",
            "found": row["found"],
            "n": row["n"],
            "share": _interval(row["completeness"], row["low"], row["high"]),
        }
        for row in own.head(_MISSED).to_dict("records")
    ]


def _statuses(targets: pd.DataFrame, bands: pd.DataFrame) -> list[dict[str, Any]]:
    """Status of the targets: of the list, else the best of their bands."""
    ok = set(bands.loc[bands["status"] == "ok", "target_id"])
    first = bands.drop_duplicates("target_id").set_index("target_id")["status"]
    listed = targets.set_index("target_id")["status"]
    status = listed.where(listed != "ok", [("ok" if t in ok else first.get(t, "ok")) for t in listed.index])
    return [{"status": s, "n": int(n), "meaning": STATUS[s]} for s, n in status.value_counts().items()]


def _images(frame: pd.DataFrame, bands: list[str]) -> list[dict[str, Any]]:
    rows = []
    for band in bands:
        mine = frame[frame["band"] == band]
        good = mine[mine["status"] == "ok"]
        sources = good["psf_source"].value_counts()
        rows.append({"band": band, "n": len(mine), "ok": len(good), "fwhm": _spread(good["psf_fwhm"], 2)})
        rows[-1]["psf"] = ", ".join(f"{name} {n}" for name, n in sources.items()) or "–"
        rows[-1]["coverage"] = f"{good['coverage'].median():.2f}" if len(good) else "–"
        rows[-1]["release"] = ", ".join(sorted(good["release"].unique())) or "–"
    return rows


def _classes(systems: pd.DataFrame, bands: list[str]) -> list[dict[str, Any]]:
    widths = [f"fwhm_{band}" for band in bands if f"fwhm_{band}" in systems]
    systems = systems.assign(fwhm=systems[widths].max(axis=1) if widths else np.nan)
    rows = []
    for name in CLASSES:
        mine = systems[systems["class"] == name]
        if len(mine):
            spreads = {key: _spread(mine[key], 1) for key in ("theta_e", "snr_brightest", "mag_brightest")}
            spreads["fwhm"] = _spread(mine["fwhm"], 2)
            rows.append({"class": name, "n": len(mine), "share": f"{len(mine) / len(systems):.2f}", **spreads})
    return rows


def _spread(values: pd.Series, digits: int) -> str:
    """Median and the range from the 16th to the 84th percentile, as text."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "–"
    low, middle, high = np.percentile(values, (16, 50, 84))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
