"""The inspection page: one self-contained HTML file with a picture row per candidate and the whole table."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.registry import adjacent_pairs
from tandemlens.base.stack import read_stack
from tandemlens.base.status import STATUS
from tandemlens.base.tables import read_meta, read_table
from tandemlens.catalogue import figures
from tandemlens.image.segment import open_images


def write_page(
    catalogue_path,
    matched_paths,
    images_paths,
    segments_paths,
    photometry_paths,
    template_path,
    out_path,
    cfg,
    progress,
):
    """Write the page.

    Parameters
    ----------
    catalogue_path : str
        candidates.parquet.
    matched_paths, images_paths, segments_paths, photometry_paths : list of str
        Of every shard, in one order.
    template_path : str
        Jinja template; every value is escaped.
    out_path : str
    cfg : dict
        Section ``report`` of the settings, and ``pixel_scale``, ``survey``, ``release``.
    progress : callable
    """
    catalogue = read_table(catalogue_path)
    wanted = catalogue[catalogue["status"].isin(("scored", "no_segments"))].head(cfg["candidates"])
    cards = {}
    paths = zip(matched_paths, images_paths, segments_paths, photometry_paths, strict=True)
    for matched, images, segments, photometry in paths:
        cards |= _shard_cards(wanted, matched, images, segments, photometry, cfg, cards, progress)
    rows = [_plain(row) for row in catalogue.to_dict("records")]
    counts = catalogue["status"].value_counts()
    page = page_template(template_path).render(
        cards=[
            {**_plain(row), **cards[row["target_id"]]} for row in wanted.to_dict("records") if row["target_id"] in cards
        ],
        rows=rows,
        counts=[(status, int(n), STATUS[status]) for status, n in counts.items()],
        meta=read_meta(catalogue_path),
        listed=int(catalogue["listed"].sum()) if "listed" in catalogue else 0,
        survey=cfg["survey"],
        release=cfg["release"],
        simulated=cfg["release"].lower().startswith("simulated"),
        kinds=figures.KIND_COLOURS,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out_path, page)


def page_template(path):
    """A template of a page.

    Parameters
    ----------
    path : str

    Returns
    -------
    jinja2.Template
    """
    # autoescape: names come from users' catalogues and may hold HTML.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    environment.filters["small"] = _small
    return environment.from_string(Path(path).read_text(encoding="utf-8"))


def _number(value, digits=2):
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _small(value):
    """A number that may be tiny, with two digits."""
    return "–" if not np.isfinite(value) else f"{value:.2g}"


def _plain(row):
    """A row with NaN of text columns as empty text."""
    return {
        k: ("" if v is None or (isinstance(v, float) and np.isnan(v) and k in _TEXT) else v) for k, v in row.items()
    }


_TEXT = frozenset(
    ("chosen", "population", "classic_by", "drivers", "tandem_name", "reason", "bands", "release", "flags", "stage")
)


def _shard_cards(wanted, matched, images, segments, photometry, cfg, done, progress):
    ids = set(wanted["target_id"])
    chosen = dict(zip(wanted["target_id"], wanted["chosen"].fillna(""), strict=True))
    out = {}
    frame = read_table(segments).merge(read_table(photometry), on=["target_id", "label"])
    by_target = dict(tuple(frame.groupby("target_id")))
    with read_stack(matched) as reader, open_images(images) as pictures:
        for index, target_id in enumerate(reader.target_ids):
            if target_id not in ids or target_id not in pictures:
                continue
            mine = by_target.get(target_id, frame.iloc[:0])
            labels = {int(word) for word in chosen[target_id].split()}
            out[target_id] = _pictures(reader[index], pictures[target_id], mine, labels, cfg)
            progress(len(done) + len(out), len(ids))
    return out


def _pictures(cutout, images, frame, chosen, cfg):
    labels, detection, _ = images
    half = cfg["stamp_arcsec"] / cfg["pixel_scale"] / 2
    ny, nx = labels.shape
    stamp = tuple(slice(max(0, int(n / 2 - half)), min(n, int(n / 2 + half) + 1)) for n in (ny, nx))
    central = frame[frame["kind"] == "bcg"]
    pairs = _two_colours(frame, cutout.bands)
    place = [float(central[f"colour_{p}"].iloc[0]) for p in pairs] if len(central) and pairs else None
    return {
        "composite": figures.picture_composite(cutout, stamp),
        "segments": figures.picture_segments(detection, labels, frame, chosen, stamp, cfg["pixel_scale"]),
        "colours": figures.picture_colours(frame, pairs, chosen, place) if pairs else "",
        "kind_counts": frame["kind"].value_counts().to_dict(),
        "arcs": _arc_rows(frame, chosen),
    }


def _two_colours(frame, bands):
    """The two colours that most arcs have; with two bands the one colour stands on both axes."""
    arcs = frame[frame["kind"] == "arc"]
    pairs = adjacent_pairs(bands)
    known = [p for p in pairs if frame[f"colour_{p}"].notna().any()]
    known.sort(key=lambda p: -arcs[f"colour_{p}"].notna().sum())
    first = sorted(known[:2], key=pairs.index)
    return tuple(first) if len(first) == 2 else tuple(first * 2)


def _arc_rows(frame, chosen):
    arcs = frame[frame["kind"] == "arc"].sort_values("snr", ascending=False).head(12)
    return [
        {
            "label": int(r["label"]),
            "chosen": int(r["label"]) in chosen,
            "snr": float(r["snr"]),
            "length": float(r["length"]),
            "lw": float(r["length"] / r["width"]) if r["width"] else np.nan,
            "radius": float(np.hypot(r["east"], r["north"])),
        }
        for r in arcs.to_dict("records")
    ]
