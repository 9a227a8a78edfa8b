"""The page of the simulation: a contact sheet per class with the truth over it, and what was drawn."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.atomic import write_text
from tandemlens.base.samples import CLASSES
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import read_table
from tandemlens.catalogue import figures, truth_figures
from tandemlens.catalogue.template import page_template
from tandemlens.image.segment import open_images

if TYPE_CHECKING:
    from pathlib import Path


def write_simulation(
    paths: dict[str, Any],
    expected_path: str,
    template_path: str,
    out_path: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Write the page.

    Parameters
    ----------
    paths : dict of list of str
        ``matched``, ``segments``, ``systems``, ``truth``, ``images`` and ``curves`` of every simulated shard, in one
        order.
    expected_path : str
        expected.parquet; empty where nothing is known of the survey.
    template_path, out_path : str
    cfg : dict
        Section ``report`` of the settings, and ``pixel_scale``, ``survey``, ``releases``, one a sample.
    progress : callable
    """
    systems = pd.concat(map(read_table, paths["systems"]), ignore_index=True)
    chosen = _chosen(systems, cfg["examples"])
    sheets: dict[str, dict[str, Any]] = {}
    names = ("matched", "segments", "truth", "images", "curves")
    for index, files in enumerate(zip(*(paths[n] for n in names), strict=True)):
        sheets |= _shard_cards(chosen, dict(zip(names, files, strict=True)), cfg)
        progress(index + 1, len(paths["systems"]))
    by_class = [
        (name, [{**row, **sheets[row["target_id"]]} for row in rows if row["target_id"] in sheets])
        for name, rows in _by_class(systems[systems["target_id"].isin(chosen)])
    ]
    page = page_template(template_path).render(
        classes=by_class,
        counts=_counts(systems),
        expected=_expected(expected_path),
        distributions=truth_figures.picture_distributions(systems),
        survey=cfg["survey"],
        releases=cfg["releases"],
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out_path, page)


def _chosen(systems: pd.DataFrame, examples: int) -> set[str]:
    """The first systems of every class, in the order of their names: nothing is picked for its looks."""
    ordered = systems.sort_values("target_id")
    return set(ordered.groupby("class").head(examples)["target_id"])


def _by_class(systems: pd.DataFrame) -> Iterator[Any]:
    for name in CLASSES:
        rows = systems[systems["class"] == name].sort_values("target_id").to_dict("records")
        if rows:
            yield name, rows


def _counts(systems: pd.DataFrame) -> list[Any]:
    """Systems by class asked for and class found."""
    table = pd.crosstab(systems["wanted"], systems["class"])
    table = table.reindex(index=[c for c in CLASSES if c in table.index], columns=[c for c in CLASSES if c in table])
    return [("asked for", list(table.columns))] + [(name, [int(v) for v in row]) for name, row in table.iterrows()]


def _expected(path: "str | Path") -> dict[str, Any] | None:
    """Prevalence among the targets of the search, and its picture."""
    if not path:
        return None
    table = read_table(path)
    mean, low, high = prevalence(table)
    facts = {"lenses": len(table), "draws": int(table["draws"].sum()), "tandems": int(table["tandems"].sum())}
    return {**facts, "mean": mean, "low": low, "high": high, "picture": truth_figures.picture_expected(table)}


def _shard_cards(chosen: set[str], files: dict[str, str], cfg: dict[str, Any]) -> dict[str, dict[str, Any]]:
    out = {}
    tables = {name: read_table(files[name]) for name in ("truth", "images", "curves")}
    with read_stack(files["matched"]) as reader, open_images(files["segments"]) as pictures:
        for index, target_id in enumerate(reader.target_ids):
            if target_id not in chosen or target_id not in pictures:
                continue
            cutout = reader[index]
            _, detection, _ = pictures[target_id]
            stamp = figures.stamp_of(cutout.flux.shape[1:], cfg)
            mine = {name: table[table["target_id"] == target_id] for name, table in tables.items()}
            out[target_id] = {
                "composite": figures.picture_composite(cutout, stamp),
                "truth_picture": truth_figures.picture_truth(cutout, stamp, cfg["pixel_scale"], **mine),
                "residual": truth_figures.picture_residual(detection, stamp),
                "seen": _seen(mine["truth"]),
            }
    return out


def _seen(truth: pd.DataFrame) -> Any:
    """The strongly lensed sources of a system, the brightest first."""
    strong = truth[truth["strong"]].sort_values("snr", ascending=False).head(6)
    names = ("source", "kind", "z", "n_images", "gain", "stretch", "snr")
    return strong[list(names)].to_dict("records")


def prevalence(expected: pd.DataFrame, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Mean expected number of tandems per target, with its error.

    Parameters
    ----------
    expected : pandas.DataFrame
        As from expected.parquet.
    seed, draws : int
        Of the bootstrap over targets.

    Returns
    -------
    mean, low, high : float
        The bootstrap's 16th and 84th percentiles; 0 where no draw was a tandem, which only bounds the prevalence.
    """
    values = expected["expected"].to_numpy(float)
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile(values[picks].mean(1), (16, 84))
    return float(values.mean()), float(low), float(high)
