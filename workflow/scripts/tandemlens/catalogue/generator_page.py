"""The page of the generator: synthetic stamps beside the held-out ones that they were made for, and their tests."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.synthetic import COLUMNS
from tandemlens.base.tables import read_meta, read_table
from tandemlens.catalogue.figures import composite, png, rgb_bands
from tandemlens.catalogue.template import page_template
from tandemlens.features.behind import KINDS
from tandemlens.learn.stamps import open_stamps

#: stamps of a sheet: columns, and rows of them
_COLUMNS, _ROWS = 12, 4
_SIDE, _DPI = 0.95, 110


def write_generator_page(paths: dict[str, Any], template_path: str, out_path: str, cfg: dict[str, Any]) -> None:
    """Write the page.

    Parameters
    ----------
    paths : dict
        ``checks`` and ``stamps``, of `tandemlens.learn.generator_checks`; ``tables``, synthetic.parquet of the shards.
    template_path, out_path : str
    cfg : dict
        ``survey`` and ``release`` of the training sample.
    """
    checks = read_table(paths["checks"])
    tables = [read_table(path) for path in paths["tables"]]
    made = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[c.name for c in COLUMNS])
    page = page_template(template_path).render(
        sheet=contact_sheet(paths["stamps"]),
        checks=[{**row, "passed": passed(row)} for row in checks.to_dict("records")],
        reason=read_meta(paths["checks"]).get("reason", ""),
        counts=_counts(made),
        survey=cfg["survey"],
        release=cfg["release"],
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out_path, page)


def passed(row: dict[str, Any]) -> str:
    """Whether a test passed, in words; empty where nothing is asked for.

    Parameters
    ----------
    row : dict
        Keys value, low and high; an end that is NaN asks for nothing.

    Returns
    -------
    str
    """
    if pd.isna(row["low"]) and pd.isna(row["high"]):
        return ""
    if pd.isna(row["value"]):
        return "too little to tell"
    low, high = np.nan_to_num([row["low"]], nan=-np.inf)[0], np.nan_to_num([row["high"]], nan=np.inf)[0]
    return "yes" if low <= row["value"] <= high else "no"


def contact_sheet(path: str) -> str:
    """Held-out stamps, and below each what either pool makes of it.

    Parameters
    ----------
    path : str
        File in the layout of stamps.h5 with the targets real, restored and generated.

    Returns
    -------
    str
        PNG as base64 text; empty where there are none.
    """
    with open_stamps(path) as file:
        pools = {name: file.system(k) for k, name in enumerate(file.target_ids)}
        used = ~np.isin(file.format.bands, KINDS)
    if not pools:
        return ""
    # the wide stamps of the centres, then as many segments
    wide = pools["real"].label == 0
    chosen = np.concatenate([np.flatnonzero(kind)[: _COLUMNS * _ROWS // 2] for kind in (wide, ~wide)])
    lines = -(-len(chosen) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _SIDE, 3 * lines * _SIDE), dpi=_DPI)
    axes = figure.subplots(3 * lines, _COLUMNS, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    for axis in axes.flat:
        axis.axis("off")
    rgb = rgb_bands(used)
    for k, row in enumerate(chosen):
        line, column = divmod(k, _COLUMNS)
        for j, (name, stamps) in enumerate(pools.items()):
            axis = axes[3 * line + j, column]
            flux = np.sinh(stamps.flux[row].astype(float))[rgb]
            noise = np.median(stamps.sigma[row][rgb].astype(float), axis=(1, 2))
            axis.imshow(composite(flux, np.where(noise > 0, noise, 1)), origin="lower")
            if not column:
                axis.text(-0.06, 0.5, name, rotation=90, ha="right", va="center", transform=axis.transAxes, fontsize=7)
    figure.subplots_adjust(0.02, 0.005, 0.998, 0.995)
    return png(figure)


def _counts(made: pd.DataFrame) -> list[dict[str, Any]]:
    """Systems and stamps by pool and status."""
    if made.empty:
        return []
    grouped = made.groupby(["pool", "status"])[["varied", "rejected"]]
    return grouped.sum().assign(systems=grouped.size()).reset_index().to_dict("records")
