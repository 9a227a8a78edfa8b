"""Pictures of the evaluation: ROC curves, completeness in bins, contrast classes, reliability."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from tandemlens.base.samples import CLASSES
from tandemlens.learn.evaluate import EXPERT_RADIUS, EXPERT_SNR, FPRS
from tandemlens.learn.metrics import roc

if TYPE_CHECKING:
    import pandas as pd

#: colours that colour-blind eyes tell apart (Okabe & Ito 2008), without the yellow that is lost on white
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("-", "--", ":")
_FPR_COLOURS = dict(zip(FPRS, ("#0072b2", "#d55e00"), strict=True))
_IDEAL = "#777777"
#: label of every quantity, and the lower edge of the bins that experts see
_QUANTITIES = {
    "theta_e_fwhm": ("Einstein radius / seeing FWHM", EXPERT_RADIUS),
    "snr_brightest": ("ideal S/N of the brightest arc", EXPERT_SNR),
    "mag_brightest": ("magnitude of the brightest arc", None),
    "fwhm": ("seeing FWHM (arcsec)", None),
}
_DPI = 130


def head_styles(heads: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each head is drawn; the fused score is black and bold.

    Parameters
    ----------
    heads : sequence of str

    Returns
    -------
    dict of dict
        Arguments of matplotlib's ``plot``.
    """
    others = sorted(set(heads) - {"fused"})
    n = len(_COLOURS)
    styles = {
        h: {"color": _COLOURS[k % n], "ls": _DASHES[k // n % len(_DASHES)], "lw": 1.3} for k, h in enumerate(others)
    }
    return {"fused": {"color": "#000000", "ls": "-", "lw": 2.2}, **styles} if "fused" in heads else styles


def figure_completeness(completeness: "pd.DataFrame", quantity: str) -> Figure:
    """Share of tandems found by one head in bins, at two false-positive rates, and what an ideal observer sees.

    Parameters
    ----------
    completeness : pandas.DataFrame
        Columns `tandemlens.base.columns.evaluation.COMPLETENESS`, of one head.
    quantity : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5.4, 3.5), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    label, expert = _QUANTITIES[quantity]
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel("share of the tandems found", fontsize=9)
    axes.set_ylim(-0.02, 1.05)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    by_rate = {fpr: _filled_bins(completeness, quantity, fpr) for fpr in FPRS}
    bins = by_rate[FPRS[0]]
    if not len(bins):
        axes.text(0.5, 0.5, "unknown of all tandems", transform=axes.transAxes, ha="center", fontsize=9)
        return figure
    place = np.arange(len(bins))
    for shift, (fpr, at) in zip((-0.09, 0.09), by_rate.items(), strict=True):
        style: dict[str, Any] = {"fmt": "o", "ms": 5, "lw": 1.3, "capsize": 2, "color": _FPR_COLOURS[fpr]}
        axes.errorbar(place + shift, at["completeness"], _error(at, "completeness"), label=f"at FPR {fpr:g}", **style)
    ideal: dict[str, Any] = {
        "ms": 22,
        "mew": 1.5,
        "color": _IDEAL,
        "label": f"ideal observer of the arc at FPR {FPRS[-1]:g}",
    }
    axes.plot(place, by_rate[FPRS[-1]]["ideal"], "_", **ideal)
    if expert in set(bins["from"]):
        axes.axvline(np.flatnonzero(bins["from"] == expert)[0] - 0.5, color="k", lw=0.9, ls=":")
    names = [bin_name(low, high) for low, high in zip(bins["from"], bins["to"], strict=True)]
    axes.set_xticks(place, [f"{name}\nn={n}" for name, n in zip(names, bins["n"], strict=True)], fontsize=8)
    axes.set_xlim(-0.5, len(bins) - 0.5)
    handles, names = axes.get_legend_handles_labels()
    # bars come last of themselves
    order = [names.index(name) for name in (*(f"at FPR {fpr:g}" for fpr in FPRS), ideal["label"])]
    kept = [handles[k] for k in order], [names[k] for k in order]
    figure.legend(*kept, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def _filled_bins(completeness: "pd.DataFrame", quantity: str, fpr: float) -> "pd.DataFrame":
    """Bins of a quantity from the first to the last that holds tandems."""
    table = completeness[(completeness["quantity"] == quantity) & (completeness["fpr"] == fpr)]
    table = table.dropna(subset=["from"]).reset_index(drop=True)
    filled = np.flatnonzero(table["n"] > 0)
    return table.iloc[filled[0] : filled[-1] + 1] if len(filled) else table.iloc[:0]


def _error(table: "pd.DataFrame", column: str) -> np.ndarray:
    """Lengths of the bars on either side of a value, (2, n)."""
    return np.abs(table[["low", "high"]].to_numpy().T - table[column].to_numpy())


def bin_name(low: float, high: float) -> str:
    """Edges of a bin as text; an edge of 0 or infinity is open.

    Parameters
    ----------
    low, high : float

    Returns
    -------
    str
    """
    if not np.isfinite(high):
        return f"≥ {low:g}"
    return f"{low:g}–{high:g}" if np.isfinite(low) and low > 0 else f"< {high:g}"


def figure_roc(
    test: "pd.DataFrame", scores: "pd.DataFrame", metrics: "pd.DataFrame", lead: str, wide: bool = False
) -> Figure:
    """ROC curves over a logarithmic false-positive rate, with intervals of one head at two rates.

    Parameters
    ----------
    test, scores : pandas.DataFrame
        As from `tandemlens.learn.evaluate.on_test`, perhaps of some of the rows; heads with scores only.
    metrics : pandas.DataFrame
        Rows of one part of the metrics of these systems.
    lead : str
        Head whose intervals are drawn.
    wide : bool
        A wider picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(7.6, 4.4) if wide else (5.4, 5.4), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    n_neg = int((~test["label"]).sum())
    least = 0.5 / n_neg
    areas = metrics[metrics["metric"] == "auroc"].set_index("head")["value"]
    for head, style in head_styles(scores.columns).items():
        curve = roc(scores[head], test["label"])
        # what is found before any false positive has no place on a logarithmic axis but its end
        label = f"{head} (AUROC {areas[head]:.3f})"
        axes.plot(np.maximum(curve["fpr"], least), curve["tpr"], label=label, zorder=3 if head == lead else 2, **style)
    rates = np.geomspace(least, 1, 200)
    axes.plot(rates, rates, color=_IDEAL, lw=0.9, ls=(0, (1, 2)), label="chance")
    axes.axvspan(least, 1 / n_neg, color="#000000", alpha=0.07, lw=0)
    rows = metrics[metrics["head"] == lead].set_index("metric").loc[[f"tpr_at_fpr_{fpr}" for fpr in FPRS]]
    colour = head_styles(scores.columns)[lead]["color"]
    points = {"fmt": "o", "ms": 7, "mfc": "#ffffff", "mew": 1.6, "capsize": 4, "lw": 1.8, "color": colour, "zorder": 4}
    axes.errorbar(FPRS, rows["value"], _error(rows, "value"), **points)
    axes.set_xscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("false-positive rate", fontsize=9)
    axes.set_ylabel("true-positive rate", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#dddddd", lw=0.6)
    figure.legend(loc="outside right center" if wide else "outside upper center", fontsize=8, ncols=1 if wide else 2)
    return figure


def figure_contrast(metrics: "pd.DataFrame") -> Figure:
    """TPR of every head at a false-positive rate of 0.1 among each class of other systems alone, with intervals.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Columns `tandemlens.base.columns.evaluation.METRICS`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    table = metrics[(metrics["part"] == "contrast") & (metrics["metric"] == "tpr_at_fpr_0.1")]
    classes = [name for name in CLASSES if name in set(table["name"])]
    styles = head_styles(table["head"].unique())
    figure = Figure(figsize=(8.4, 0.8 + (0.14 * len(styles) + 0.12) * len(classes)), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    for k, (head, style) in enumerate(styles.items()):
        mine = table[table["head"] == head].set_index("name").reindex(classes)
        place = np.arange(len(classes)) + 0.75 * ((k + 0.5) / len(styles) - 0.5)
        marker = "s" if head == "fused" else "o^D"[_DASHES.index(style["ls"])]
        points = {"fmt": marker, "ms": 4.5, "lw": 1.1, "capsize": 2, "color": style["color"], "label": head}
        axes.errorbar(mine["value"], place, xerr=_error(mine, "value"), **points)
    counts = table.groupby("name")["n_neg"].first()
    axes.set_yticks(range(len(classes)), [f"{c.replace('_', ' ')}\nn={counts[c]}" for c in classes], fontsize=8)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    for border in np.arange(0.5, len(classes) - 1):
        axes.axhline(border, color="#bbbbbb", lw=0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("TPR at FPR 0.1, all tandems against this class alone", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    figure.legend(loc="outside right center", fontsize=8)
    return figure


def figure_reliability(reliability: "pd.DataFrame") -> Figure:
    """Share of tandems against the mean fused probability, and how many systems have it.

    Parameters
    ----------
    reliability : pandas.DataFrame
        Columns `tandemlens.base.columns.evaluation.RELIABILITY`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(4.6, 4.6), dpi=_DPI, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = reliability[reliability["n"] > 0]
    upper.plot([0, 1], [0, 1], color=_IDEAL, lw=1, ls="--")
    upper.errorbar(
        filled["mean_probability"],
        filled["share"],
        _error(filled, "share"),
        fmt="o",
        ms=5,
        lw=1.2,
        capsize=2,
        color="#0072b2",
    )
    upper.set_ylabel("share of tandems", fontsize=9)
    upper.set_ylim(-0.02, 1.02)
    width = reliability["to"] - reliability["from"]
    lower.bar(reliability["from"], reliability["n"], width, align="edge", color="#bbbbbb", label="all systems")
    lower.bar(
        reliability["from"], reliability["n_pos"], width, align="edge", color="#d55e00", label="tandems among them"
    )
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("systems", fontsize=9)
    lower.set_xlabel("calibrated probability of the fused score", fontsize=9)
    lower.set_xlim(-0.02, 1.02)
    lower.legend(fontsize=7, frameon=False)
    for axes in (upper, lower):
        axes.tick_params(labelsize=8)
        axes.grid(color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
    return figure


#: columns of a learning curve, in the panel of losses or of what probes find
_LOSSES = {
    "train_loss": "training systems",
    "stop_loss": "stopping systems",
    "loss": "what is trained on",
    "held_out_loss": "the class held out",
}
_PROBES = {
    "spread": "spread of the vectors",
    "knn_auroc": "AUROC of neighbours",
    "linear_auroc": "AUROC of a linear probe",
    "radius_r2": "R² of the Einstein radius",
    "held_out_accuracy": "accuracy with the class held out",
}


def unit_of(curve: "pd.DataFrame") -> str:
    """What a training is counted in.

    Parameters
    ----------
    curve : pandas.DataFrame

    Returns
    -------
    str
        episode or epoch, whichever is a column.
    """
    return "episode" if "episode" in curve else "epoch"


def figure_curve(curve: "pd.DataFrame", best: int | None = None) -> Figure:
    """Loss over the epochs or episodes of a training, and what probes of the features found.

    Parameters
    ----------
    curve : pandas.DataFrame
        Column epoch or episode, and some of train_loss, stop_loss, loss, held_out_loss, held_out_accuracy, spread and
        the results of `tandemlens.learn.probe.probe`.
    best : int, optional
        The epoch or episode that was kept.

    Returns
    -------
    matplotlib.figure.Figure
    """
    time = unit_of(curve)
    panels = [{n: label for n, label in part.items() if n in curve} for part in (_LOSSES, _PROBES)]
    panels = [panel for panel in panels if panel]
    figure = Figure(figsize=(4.4 * len(panels), 3.1), dpi=_DPI, layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for colour, (name, label) in zip(_COLOURS, panel.items(), strict=False):
            known = curve[[time, name]].dropna()
            axes.plot(known[time], known[name], "o-", ms=3, lw=1.2, color=colour, label=label)
        if best:
            axes.axvline(best, color="k", lw=0.9, ls=":")
        axes.set_xlabel(time, fontsize=9)
        axes.set_ylabel("loss" if panel.keys() & _LOSSES.keys() else "probes", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(color="#dddddd", lw=0.6)
        axes.legend(fontsize=7, frameon=False)
    return figure
