"""The inspection page: an overview, the best targets of the catalogue in a list, candidates with pictures, grading.

The page is static. ``index.html`` holds the overview; the folder beside it holds its scripts and, as scripts, its
data: ``rows.js`` what is listed of these targets, ``rows/<n>.js`` whole rows of the catalogue, ``pictures/<n>.js``
pictures of a few candidates, ``thumbs/<n>.jpg`` their small pictures. All but the first are read when looked at.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tandemlens.base.atomic import sha256, write_text
from tandemlens.base.columns import features
from tandemlens.base.columns.registry import expand
from tandemlens.base.stack import read_stack
from tandemlens.base.status import NO_SEGMENTS, SCORED, STATUS
from tandemlens.base.tables import read_meta, read_table
from tandemlens.catalogue.evaluation import heads_table
from tandemlens.catalogue.figures import KIND_COLOURS
from tandemlens.catalogue.packs import plain, write_script
from tandemlens.catalogue.pictures import THUMB, contact_sheet, sequence_track, system_pictures
from tandemlens.catalogue.template import page_template
from tandemlens.catalogue.timing import timing
from tandemlens.features.sequence import Bands
from tandemlens.image.segment import open_images

if TYPE_CHECKING:
    import pandas as pd

#: rows of the catalogue, candidates with pictures, and small pictures in one file, the last as columns and rows
_ROWS, _PICTURES, _THUMBS = 500, 8, (10, 10)
#: what the list can show and sort by beside the scores of the heads, where the catalogue has it
_LISTED = ("rank", "target_id", "name", "ra", "dec", "z", "richness", "status", "probability", "fdr", "listed")
_LISTED += ("n_arcs", "s_color_best", "behind_match", "lambda_bg_sigma", "n_tandems", "fwhm", "flags", "grade")
_LISTED += ("grade_score", "n_votes")
#: headings of a candidate's row and the columns below each; the first that fits takes a column, the last all the rest
_GROUPS = (
    ("Target", ("rank", "target_id", "name", "ra", "dec", "richness", "status", "reason", "stage", "flags")),
    ("Redshifts and clusters behind", ("z", "*tandem*", "lambda_bg*", "behind_*")),
    ("Grades", ("grade*", "n_votes", "p_lens", "used_as_label")),
    ("Provenance", ("survey", "release", "run_id", "models", "*sha256*", "bands", "shard", "group_id", "source_row")),
    ("Known objects nearby", ("known_lens", "lens_*", "match_*", "ned_*", "simbad_*")),
    ("Measurements", ("*",)),
)


def write_page(
    paths: dict[str, Any],
    out_path: str,
    data_dir: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
    opened: Callable[..., Any] = lambda paths: None,
) -> None:
    """Write the page.

    Parameters
    ----------
    paths : dict
        ``catalogue``, ``template``, ``scripts`` (the page's own scripts and styles), ``rubric``, ``sequence``; lists,
        one a shard of the search, ``matched``, ``images``, ``segments``, ``photometry``; the same of the simulated
        samples that calibrate graders as ``known_matched`` and so on, and their ``known_systems``; ``next``,
        ``metrics``, empty where there is none.
    out_path, data_dir : str
        The page, and the folder of its data beside it.
    cfg : dict
        Section ``report`` of the settings, ``pixel_scale``, ``survey``, ``release``, ``heads`` (head -> columns of its
        table of scores, the one to list first), ``bands``, ``wavelength``, ``width``, ``filter``,
        ``figures`` (names), ``links`` (further pages), ``benchmarks`` (folder).
    progress : callable
    opened : callable
        Is told the products of a shard before they are opened.
    """
    catalogue, meta = _best(paths["catalogue"], max(cfg["rows"], cfg["candidates"])), read_meta(paths["catalogue"])
    data_dir = Path(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    for path in map(Path, paths["scripts"]):
        shutil.copyfile(path, data_dir / path.name)
    wanted = catalogue[catalogue["status"].isin((SCORED, NO_SEGMENTS))].head(cfg["candidates"])
    bands = Bands(*(tuple(cfg[k]) for k in ("bands", "wavelength", "width", "filter")))
    draw = partial(system_pictures, sequence_path=paths["sequence"], bands=bands, cfg=cfg)
    drawn = partial(_drawn, draw=draw, opened=opened)
    shards = _by_shard(paths, "")
    sheets = _Sheets(data_dir)
    for shard, part in wanted.groupby("shard", sort=True):
        z = dict(zip(part["target_id"], part["z"], strict=True))
        for target_id, payload, thumb in drawn(shards[shard], z):
            sheets.add(target_id, payload, thumb)
            progress(len(sheets.places), len(wanted))
    cases = _calibration_cases(paths, cfg["grading"], drawn, sheets)
    sheets.close()
    facts = _facts(paths["catalogue"], cfg["heads"])
    _write_rows(catalogue, facts, data_dir)
    run = {
        "survey": cfg["survey"],
        "release": cfg["release"],
        "run_id": catalogue["run_id"].iloc[0]
        if len(catalogue) and "run_id" in catalogue
        else sha256(paths["catalogue"])[:12],
        "targets": pq.read_metadata(paths["catalogue"]).num_rows,
        "bands": cfg["bands"],
        "heads": list(cfg["heads"]),
        "ranking": meta["ranking"],
        "pixel_scale": cfg["pixel_scale"],
        "thumb": {"side": THUMB, "columns": _THUMBS[0], "rows": _THUMBS[1]},
        "packs": {"rows": _ROWS, "pictures": _PICTURES},
        "kinds": KIND_COLOURS,
        "features": {c.name: c.description for c in expand(features.COLUMNS, cfg["bands"])},
        "statuses": STATUS,
        "track": sequence_track(paths["sequence"], bands),
        "rubric": yaml.safe_load(Path(paths["rubric"]).read_text(encoding="utf-8")),
        "grading": {**cfg["grading"], "cases": cases},
    }
    listed = _listed(catalogue, facts, cfg["heads"], sheets.places, paths["next"])
    write_script(data_dir, "rows", {"run": run, **listed})
    write_text(out_path, _overview(catalogue, meta, paths, cfg, run))


def _best(path: str, most: int) -> "pd.DataFrame":
    """The first rows of the catalogue, read no further than they go."""
    groups, n = [], 0
    with pq.ParquetFile(path) as file:
        for k in range(file.num_row_groups):
            groups.append(file.read_row_group(k))
            n += len(groups[-1])
            if n >= most:
                break
    return pa.concat_tables(groups).slice(0, most).to_pandas()


class _Sheets:
    """Pictures as they come, a few candidates a file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._sheet = folder, 0
        self.places: dict[str, int] = {}
        self._pack: dict[str, dict[str, Any]] = {}
        self._thumbs: list[np.ndarray] = []

    def add(self, target_id: str, payload: dict[str, Any], thumb: np.ndarray) -> None:
        """Take the pictures of a system; its place is the number of those before it."""
        self.places[target_id] = len(self.places)
        self._pack[target_id] = payload
        self._thumbs.append(thumb)
        if len(self._pack) == _PICTURES:
            self._flush_pack()
        if len(self._thumbs) == _THUMBS[0] * _THUMBS[1]:
            self._flush_thumbs()

    def close(self) -> None:
        """Write what is left."""
        if self._pack:
            self._flush_pack()
        if self._thumbs:
            self._flush_thumbs()

    def _flush_pack(self) -> None:
        write_script(self._folder, f"pictures/{(len(self.places) - 1) // _PICTURES}", self._pack)
        self._pack = {}

    def _flush_thumbs(self) -> None:
        path = self._folder / f"thumbs/{self._sheet}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contact_sheet(self._thumbs, _THUMBS[0]))
        self._thumbs, self._sheet = [], self._sheet + 1


def _by_shard(paths: dict[str, Any], prefix: str) -> dict[str, tuple[str, str, str, str]]:
    """Shard -> paths of its four products."""
    products = (paths[prefix + name] for name in ("matched", "images", "segments", "photometry"))
    return {Path(four[0]).parent.name: four for four in zip(*products, strict=True)}


def _drawn(
    products: tuple[str, str, str, str], z: dict[str, float], draw: Callable[..., Any], opened: Callable[..., Any]
) -> Iterator[tuple[str, dict[str, Any], np.ndarray]]:
    """Pictures of the systems in `z` that the shard has images of, in the order of `z`."""
    opened(products)
    matched, images, segments, photometry = products
    only = [("target_id", "in", list(z))]
    frame = read_table(segments, filters=only).merge(read_table(photometry, filters=only), on=["target_id", "label"])
    by_target = dict(tuple(frame.groupby("target_id")))
    with read_stack(matched) as reader, open_images(images) as pictures:
        places = {target_id: k for k, target_id in enumerate(reader.target_ids)}
        for target_id in (t for t in z if t in places and t in pictures):
            mine = by_target.get(target_id, frame.iloc[:0])
            yield target_id, *draw(reader[places[target_id]], pictures[target_id], mine, z[target_id])


def _calibration_cases(
    paths: dict[str, Any], cfg: dict[str, Any], drawn: Callable[..., Any], sheets: _Sheets
) -> list[list[int | str]]:
    """Systems of known answer, half of them tandems as far as there are so many, drawn by the seed.

    They are shown among the candidates without saying so; what they are is told by no file of the page.
    """
    rows = []
    for path in paths["known_systems"]:
        table = read_table(path, columns=["target_id", "label", "z"]).assign(shard=Path(path).parent)
        rows += table.to_dict("records")
    rng = np.random.default_rng(cfg["seed"])
    piles = [[row for row in rows if row["label"] == label] for label in (True, False)]
    piles = [[pile[k] for k in rng.permutation(len(pile))] for pile in piles]
    shards = {Path(path).parent: four for path, four in zip(paths["known_matched"], _four(paths), strict=True)}
    cases = []
    for number in range(cfg["calibration"]):
        pile = piles[number % 2] or piles[1 - number % 2]
        while pile:
            row = pile.pop()
            found = list(drawn(shards[row["shard"]], {row["target_id"]: row["z"]}))
            if found:
                sheets.add(*found[0])
                cases.append([row["target_id"], sheets.places[row["target_id"]]])
                break
    return cases


def _four(paths: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    return zip(*(paths[f"known_{name}"] for name in ("matched", "images", "segments", "photometry")), strict=True)


def _facts(path: str, heads: dict[str, list[str]]) -> list[dict[str, str]]:
    """Name, unit, meaning and heading of every column of the catalogue."""
    of_heads = {name for names in heads.values() for name in names}
    of_heads |= {"p_conformal", "fdr", "listed"}
    facts = []
    for field in pq.read_schema(path):
        said = {key: (field.metadata or {}).get(key.encode(), b"").decode() for key in ("unit", "description")}
        group = "Scores of the heads" if field.name in of_heads else _group(field.name)
        facts.append({"name": field.name, **said, "group": group})
    return facts


def _group(name: str) -> str:
    return next(heading for heading, patterns in _GROUPS if any(fnmatchcase(name, p) for p in patterns))


def _write_rows(catalogue: "pd.DataFrame", facts: list[dict[str, str]], data_dir: Path) -> None:
    """Whole rows, a few hundred a file."""
    names = [fact["name"] for fact in facts]
    for start in range(0, len(catalogue), _ROWS):
        part = catalogue.iloc[start : start + _ROWS]
        rows = list(zip(*(plain(part[name]) for name in names), strict=True))
        write_script(data_dir, f"rows/{start // _ROWS}", rows)


def _listed(
    catalogue: "pd.DataFrame",
    facts: list[dict[str, str]],
    heads: dict[str, list[str]],
    places: dict[str, int],
    next_path: str,
) -> dict[str, Any]:
    """What the list needs of every target, column by column, and the facts of all columns."""
    main = [names[0] for names in reversed(heads.values())]
    names = [name for name in (*_LISTED[:8], *main, *_LISTED[8:]) if name in catalogue]
    columns = {name: plain(catalogue[name], 8 if name in ("ra", "dec") else 5) for name in names}
    if next_path:
        priority = read_table(next_path, columns=["target_id", "priority"]).set_index("target_id")["priority"]
        columns["priority"] = plain(catalogue["target_id"].map(priority), 5)
        facts = [*facts, {"name": "priority", "unit": "", "description": "next best to grade: the larger the sooner"}]
    columns["picture"] = [places.get(target_id) for target_id in catalogue["target_id"]]
    return {"facts": facts, "columns": columns, "scores": main}


def _overview(
    catalogue: "pd.DataFrame", meta: dict[str, str], paths: dict[str, Any], cfg: dict[str, Any], run: dict[str, Any]
) -> str:
    """The page itself, which counts all targets."""
    every = read_table(paths["catalogue"], columns=[name for name in ("status", "listed") if name in catalogue])
    counts = every["status"].value_counts()
    metrics = read_table(paths["metrics"]) if paths["metrics"] else None
    return page_template(paths["template"]).render(
        run=run,
        n=len(every),
        shown=len(catalogue),
        counts=[(status, int(n), STATUS[status]) for status, n in counts.items()],
        meta=meta,
        listed=int(every["listed"].sum()) if "listed" in every else 0,
        simulated=cfg["release"].lower().startswith("simulated"),
        heads=heads_table(metrics) if metrics is not None and len(metrics) else None,
        no_heads=read_meta(paths["metrics"])["reason"] if paths["metrics"] else "",
        figures=cfg["figures"],
        links=cfg["links"],
        timing=timing(cfg["benchmarks"], len(every)),
        scripts=[name for name in (Path(path).name for path in paths["scripts"]) if name.endswith(".js")],
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
