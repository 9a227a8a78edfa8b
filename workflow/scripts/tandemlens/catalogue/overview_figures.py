"""Figures of the overview that the evaluation does not have: scores, the sky, and the classes of the simulation."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tandemlens.base.columns.figures import SCORES
from tandemlens.base.samples import CLASSES
from tandemlens.base.status import SCORED

#: how the samples are drawn (Okabe & Ito 2008)
_SAMPLES = {
    "search": {"color": "#56b4e9", "fill": True, "alpha": 0.55, "label": "search"},
    "tandems": {"color": "#d55e00", "lw": 1.6, "label": "simulated tandems"},
    "others": {"color": "#444444", "lw": 1.2, "ls": "--", "label": "other simulated systems"},
}
_BINS = 24
_DPI = 130
_EMPTY = (5.4, 1.6)


def figure_without(reason: str) -> Figure:
    """A figure that says why there is nothing to draw.

    Parameters
    ----------
    reason : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=_EMPTY, dpi=_DPI)
    figure.text(0.5, 0.5, reason, ha="center", va="center", fontsize=9, wrap=True)
    return figure


def score_histograms(by_head: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    """Histograms of the scores of every head in bins that its samples share.

    Parameters
    ----------
    by_head : dict of dict of (n,) ndarray
        Head -> sample -> scores, NaN where there is none.

    Returns
    -------
    pandas.DataFrame
        Columns `tandemlens.base.columns.figures.SCORES`.
    """
    rows = []
    for head, samples in by_head.items():
        finite = {name: values[np.isfinite(values)] for name, values in samples.items()}
        together = np.concatenate(list(finite.values()))
        if not len(together):
            continue
        edges = np.histogram_bin_edges(together, _BINS)
        for name, values in finite.items():
            n = np.histogram(values, edges)[0]
            share = n / max(len(values), 1)
            facts = {"head": head, "sample": name, "from": edges[:-1], "to": edges[1:], "n": n, "share": share}
            rows.append(pd.DataFrame(facts))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=[c.name for c in SCORES])


def figure_scores(histograms: pd.DataFrame) -> Figure:
    """Distributions of the scores, one panel a head.

    Parameters
    ----------
    histograms : pandas.DataFrame
        From `score_histograms`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    heads = list(dict.fromkeys(histograms["head"]))
    if not heads:
        return figure_without("no target has a score")
    columns = min(3, len(heads))
    rows = -(-len(heads) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.6, 2.4 * rows + 0.6), dpi=_DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(heads) :]:
        axes.set_axis_off()
    for axes, head in zip(grid, heads, strict=False):
        for name, style in _SAMPLES.items():
            mine = histograms[(histograms["head"] == head) & (histograms["sample"] == name)]
            if mine["n"].sum():
                axes.stairs(mine["share"], [*mine["from"], mine["to"].iloc[-1]], **style)
        axes.set_title(head, fontsize=9)
        axes.tick_params(labelsize=7)
    grid[0].set_ylabel("share of the systems", fontsize=8)
    handles = {label: h for axes in grid for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def figure_sky(targets: pd.DataFrame, cells: np.ndarray, area: float) -> Figure:
    """Targets on the sky, and where the sky was searched.

    Parameters
    ----------
    targets : pandas.DataFrame
        Columns `tandemlens.base.columns.figures.SKY`.
    cells : (n, 4, 2) ndarray, deg
        Corners, right ascension and declination, of large cells that hold sky that was searched.
    area : float, deg2
        Sky with usable pixels in all bands.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(8.4, 4.4), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot(projection="mollweide")
    for corners in cells:
        x, y = _on_map(corners[:, 0], corners[:, 1])
        # a cell across the edge of the map would be drawn all across it
        if np.ptp(x) < np.pi:
            axes.fill(x, y, color="#56b4e9", alpha=0.5, lw=0)
    known = targets[np.isfinite(targets["ra"]) & np.isfinite(targets["dec"])]
    scored = known["status"] == SCORED
    groups: tuple[tuple[Any, dict[str, Any]], ...] = (
        (~scored, {"marker": "x", "s": 14, "color": "#888888", "lw": 0.9, "label": "without a score"}),
        (scored & ~known["listed"], {"s": 10, "color": "#0072b2", "lw": 0, "label": "scored"}),
        (known["listed"], {"marker": "*", "s": 46, "color": "#d55e00", "lw": 0, "label": "on the list of candidates"}),
    )
    for mine, style in groups:
        x, y = _on_map(known.loc[mine, "ra"], known.loc[mine, "dec"])
        axes.scatter(x, y, rasterized=True, zorder=3, **style | {"label": f"{style['label']} ({int(mine.sum())})"})
    hours = np.arange(2, 24, 4)
    axes.set_xticks(np.radians(180 - 15.0 * hours), [f"{h}h" for h in hours], fontsize=7, color="#555555")
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(color="#dddddd", lw=0.5)
    axes.set_title(
        f"searched in all bands: {area:.3g} square degrees (cells of 0.9 degrees that hold some: blue)", fontsize=8
    )
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _on_map(ra: pd.Series, dec: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Places on the map, east to the left and 12 h in the middle."""
    return np.radians(180.0 - np.asarray(ra, float)), np.radians(np.asarray(dec, float))


def figure_classes(sheet: dict[str, list[np.ndarray]]) -> Figure:
    """Contact sheet of the simulated systems, a row a class.

    Parameters
    ----------
    sheet : dict of list of (y, x, 3) uint8 ndarray
        Class -> pictures, first row at the bottom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    classes = [name for name in CLASSES if sheet.get(name)]
    if not classes:
        return figure_without("no simulated system of the training sample has images")
    columns = max(len(sheet[name]) for name in classes)
    figure = Figure(figsize=(1.5 * columns + 1.0, 1.5 * len(classes)), dpi=_DPI)
    grid = figure.subplots(len(classes), columns, squeeze=False)
    figure.subplots_adjust(left=1.0 / (1.5 * columns + 1.0), right=1, bottom=0, top=1, wspace=0.03, hspace=0.03)
    for row, name in zip(grid, classes, strict=True):
        for axes in row:
            axes.set_axis_off()
        for axes, picture in zip(row, sheet[name], strict=False):
            axes.imshow(picture, origin="lower", interpolation="nearest")
        label = name.replace("_", "\n")
        row[0].text(-0.06, 0.5, label, transform=row[0].transAxes, ha="right", va="center", fontsize=9)
    return figure
