"""The figures of the overview: as PNG and SVG for papers, and what they draw as tables."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from astropy import units as u
from astropy_healpix import HEALPix
from mocpy import MOC

from tandemlens.base.columns.figures import CLASSES as CLASS_COLUMNS
from tandemlens.base.columns.figures import COLUMNS, SKY
from tandemlens.base.samples import CLASSES
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import empty_frame, read_meta, read_table, write_table
from tandemlens.catalogue import evaluation_figures
from tandemlens.catalogue import overview_figures as figures
from tandemlens.catalogue.figures import colour_picture, save_figure, stamp_of
from tandemlens.learn.evaluate import lead_head, on_test, scored
from tandemlens.learn.metrics import roc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: HEALPix order of the cells of the map, 0.9 degrees
_MAP_ORDER = 6
_COMPLETENESS = {
    "completeness_theta_e": "theta_e_fwhm",
    "completeness_magnitude": "mag_brightest",
    "completeness_seeing": "fwhm",
}


def write_figures(paths: dict[str, Any], cfg: dict[str, Any]) -> None:
    """Write the figures.

    Parameters
    ----------
    paths : dict
        ``catalogue``, ``moc`` (coverage in all bands) and ``coverage``, a table; with a training sample ``held_out``,
        ``scores``, ``metrics``, ``completeness`` and ``reliability`` of the evaluation, and lists, one a shard,
        ``systems`` and ``matched``.
    cfg : dict
        ``heads``, head -> columns of its table of scores; ``stems``, figure -> path without suffix; ``examples``,
        ``stamp_arcsec`` and ``pixel_scale``.
    """
    shown = {c.name for c in SKY} | {names[0] for names in cfg["heads"].values() if names}
    catalogue = read_table(paths["catalogue"], [n for n in pq.read_schema(paths["catalogue"]).names if n in shown])
    made = {"sky": _sky(catalogue, paths)}
    test = held = None
    if "held_out" in paths:
        test, held = on_test(read_table(paths["held_out"]), read_table(paths["scores"]))
        made |= _of_evaluation(test, held, paths)
        made["classes"] = _classes(paths, cfg)
    histograms = figures.score_histograms(_scores(catalogue, test, held, cfg["heads"]))
    made["scores"] = (figures.figure_scores(histograms), histograms)
    for name, stem in cfg["stems"].items():
        figure, table = made[name]
        save_figure(figure, stem)
        write_table(f"{stem}.parquet", table, COLUMNS[name])


def _sky(catalogue: pd.DataFrame, paths: dict[str, Any]) -> "tuple[Figure, pd.DataFrame]":
    table = catalogue.assign(listed=catalogue.get("listed", False))[[c.name for c in SKY]]
    area = read_table(paths["coverage"]).set_index("band")["area"]["all"]
    searched = MOC.from_fits(paths["moc"])
    cells = searched.degrade_to_order(_MAP_ORDER).flatten()
    lon, lat = HEALPix(2**_MAP_ORDER, order="nested").boundaries_lonlat(cells, 1)
    corners = np.stack([lon.to_value(u.deg), lat.to_value(u.deg)], axis=-1)
    return figures.figure_sky(table, corners, area), table


def _scores(
    catalogue: pd.DataFrame, test: pd.DataFrame | None, held: pd.DataFrame | None, heads: dict[str, Any]
) -> dict[str, dict[str, np.ndarray]]:
    """Head -> sample -> scores."""
    out = {}
    for head, names in reversed(heads.items()):
        out[head] = {"search": catalogue[names[0]].to_numpy(float)}
        if test is not None and held is not None and head in held:
            label = test["label"].to_numpy(bool)
            values = held[head].to_numpy(float)
            out[head] |= {"tandems": values[label], "others": values[~label]}
    return out


def _of_evaluation(
    test: pd.DataFrame, held: pd.DataFrame, paths: dict[str, Any]
) -> "dict[str, tuple[Figure, pd.DataFrame]]":
    """Figures of the evaluation, or why there are none."""
    tables = {name: read_table(paths[name]) for name in ("metrics", "completeness", "reliability")}
    reasons = {name: read_meta(paths[name])["reason"] for name in tables}
    made: dict[str, tuple[Figure, pd.DataFrame]] = {}
    if reasons["metrics"]:
        nothing = figures.figure_without(reasons["metrics"])
        made |= {name: (nothing, empty_frame(COLUMNS[name])) for name in ("roc", "contrast", *_COMPLETENESS)}
    else:
        heads = scored(held)
        lead, metrics = lead_head(heads), tables["metrics"]
        curves = [roc(held[head], test["label"]).assign(head=head) for head in heads]
        overall = metrics[metrics["part"] == "overall"]
        figure = evaluation_figures.figure_roc(test, held[heads], overall, lead, wide=True)
        made["roc"] = (figure, pd.concat(curves, ignore_index=True))
        made["contrast"] = (evaluation_figures.figure_contrast(metrics), metrics[metrics["part"] == "contrast"])
        mine = tables["completeness"][tables["completeness"]["head"] == lead]
        for name, quantity in _COMPLETENESS.items():
            part = mine[mine["quantity"] == quantity]
            made[name] = (evaluation_figures.figure_completeness(mine, quantity), part)
    if reasons["reliability"]:
        made["reliability"] = (figures.figure_without(reasons["reliability"]), tables["reliability"])
    else:
        figure = evaluation_figures.figure_reliability(tables["reliability"])
        made["reliability"] = (figure, tables["reliability"])
    return made


def _classes(paths: dict[str, Any], cfg: dict[str, Any]) -> "tuple[Figure, pd.DataFrame]":
    """Contact sheet of the first systems of every class, in the order of their names: none is picked for its looks."""
    rows = [
        read_table(systems, columns=["target_id", "class"]).assign(matched=matched)
        for systems, matched in zip(paths["systems"], paths["matched"], strict=True)
    ]
    table = pd.concat(rows, ignore_index=True).sort_values("target_id")
    table = table.groupby("class").head(cfg["examples"])
    shown = []
    sheet: dict[str, list[Any]] = {name: [] for name in CLASSES}
    for matched, part in table.groupby("matched"):
        with read_stack(matched) as reader:
            places = {target_id: k for k, target_id in enumerate(reader.target_ids)}
            for row in (r for r in part.to_dict("records") if r["target_id"] in places):
                rgb, _ = colour_picture(reader[places[row["target_id"]]])
                sheet[row["class"]].append(rgb[stamp_of(rgb.shape[:2], cfg)])
                shown.append({**row, "place": len(sheet[row["class"]])})
    frame = pd.DataFrame(shown, columns=[c.name for c in CLASS_COLUMNS]) if shown else empty_frame(CLASS_COLUMNS)
    return figures.figure_classes(sheet), frame
