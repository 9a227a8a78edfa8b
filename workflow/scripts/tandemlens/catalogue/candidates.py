"""The candidate catalogue: every row of the target list once, ranked, with what happened to it."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.columns import features, measure
from tandemlens.base.columns.candidates import FROM_FEATURES, LISTED, PIXELS, columns
from tandemlens.base.columns.crossmatch import SERVICES
from tandemlens.base.columns.registry import expand
from tandemlens.base.errors import InputError
from tandemlens.base.status import NO_SEGMENTS, OK, SCORED
from tandemlens.base.tables import read_columns, read_table
from tandemlens.base.version import VERSION
from tandemlens.catalogue.crossmatch import crossmatch
from tandemlens.catalogue.exports import write_exports
from tandemlens.catalogue.grades import graded_columns
from tandemlens.catalogue.identity import model_id, run_id
from tandemlens.learn.conformal import candidate_list, conformal_p_values
from tandemlens.learn.fuse import Fusion
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.outcome import target_outcome
from tandemlens.survey.tandems import find_tandems
from tandemlens.survey.targets import clean_targets

if TYPE_CHECKING:
    from tandemlens.base.columns.registry import Column

log = logging.getLogger("tandemlens")
_STAGES = ("match", "segment", "measure", "features")
#: shards whose tables are in memory at a time
_SHARDS = 64
_FROM_MEASURE = ("ebv", "ebv_source", "fwhm")


def build_catalogue(
    given: dict[str, Any],
    digests: dict[str, str],
    cfg: dict[str, Any],
    code: dict[str, str],
    outputs: dict[str, str],
    progress: Callable[[int, int], None],
) -> None:
    """Join the tables of all shards to one ranked row per target.

    Parameters
    ----------
    given : dict
        Paths of the inputs: ``targets``, the cleaned target table; one list each, a path a shard, of ``fetch``,
        ``match``, ``segment``, ``measure``, ``features``, of the scores of every head by its name, and of ``ned`` and
        ``simbad``; lists ``models`` in the order of ``cfg["heads"]`` and ``catalogues`` in that of
        ``cfg["crossmatch"]["catalogues"]``; ``tandems``, clusters behind (empty takes the targets themselves),
        ``lenscat``, and ``grades``, of people. What a run does not have is empty.
    digests : dict of str
        Path -> SHA-256 of the inputs, for the name of the run.
    cfg : dict
        ``heads``, the names of all (``fused`` among them where heads were trained), ``bands``, ``survey``, ``fdr``, and
        the sections ``tandems`` and ``crossmatch`` of the settings.
    code : dict of str
        Digest of the code of this stage.
    outputs : dict of str
        Paths of the products (`tandemlens.catalogue.exports.write_exports`).
    progress : callable

    Raises
    ------
    InputError
        If a target were lost or doubled.
    """
    targets = read_table(given["targets"])
    known = cfg["crossmatch"]
    catalogues = dict(zip(known["catalogues"], given["catalogues"], strict=True))
    answers = {service: _concat(given[service]) for service in SERVICES if known[service]}
    found = crossmatch(targets, known, given["lenscat"], catalogues, answers)
    elsewhere = found.merge(_tandem_columns(targets, cfg["tandems"], given["tandems"]), on="target_id", how="left")
    shown = {head: read_columns(given[head][0]) for head in cfg["heads"]}
    frame = _gathered(targets, elsewhere.set_index("target_id"), given, shown, cfg["bands"], progress)
    models = {head: model_id(folder) for head, folder in zip(cfg["heads"], given["models"], strict=True)}
    run = run_id([digests[path] for path in _files(given)], models.values(), code, cfg)
    frame = frame.assign(survey=cfg["survey"], run_id=run, models=" ".join(f"{h}:{m}" for h, m in models.items()))
    fusion = Fusion.load(given["models"][cfg["heads"].index("fused")]) if "fused" in cfg["heads"] else None
    if "fused" in cfg["heads"]:
        frame = _listed(frame, fusion, cfg["fdr"])
    if given["grades"]:
        frame = graded_columns(frame, given["grades"])
    ranking = "color_evidence" if fusion is None else "fused"
    if len(frame) != len(targets) or frame["target_id"].duplicated().any():
        raise InputError(f"the catalogue has {len(frame)} rows for {len(targets)} targets; a stage doubled or lost one")
    wanted = columns(shown, cfg["bands"], bool(given["lenscat"]), catalogues, answers, bool(given["grades"]))
    order = _order(frame, ranking)
    # column by column, so that the table is never there twice
    ranked = {c.name: frame.pop(c.name).take(order).array for c in wanted if c.name != "rank"}
    frame = pd.DataFrame({"rank": np.arange(1, len(order) + 1), **ranked}, copy=False)
    meta = {
        "software": f"tandemlens {VERSION}",
        "ranking": ranking,
        "survey": cfg["survey"],
        "frame": "ICRS",
        "run_id": run,
    }
    if fusion is not None:
        meta |= {
            "prevalence": f"{fusion.prevalence:.3g}",
            "prevalence_by": fusion.prevalence_by,
            "fdr": f"{cfg['fdr']:g}",
        }
    write_exports(frame[[c.name for c in wanted]], wanted, meta, outputs)


def _gathered(
    targets: pd.DataFrame,
    elsewhere: pd.DataFrame,
    given: dict[str, Any],
    shown: "dict[str, list[Column]]",
    bands: list[str],
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """Rows of all targets with what is measured of them, read some shards at a time; in no order."""
    names = ("fetch", *_STAGES, *shown)
    paths = {Path(files[1]).parent.name: files for files in zip(*(given[name] for name in names), strict=True)}
    # floats and text where a value may be missing, so that the parts agree
    kinds = {c.name: {"str": "str"}.get(c.dtype, "float64") for c in _measured_columns(shown, bands)}
    shards, gathered = sorted(targets["shard"].unique()), defaultdict(list)
    for start in range(0, len(shards), _SHARDS):
        some = shards[start : start + _SHARDS]
        files = [paths[shard] for shard in some if shard in paths]
        tables = {name: _concat([row[k] for row in files]) for k, name in enumerate(names)}
        rows = targets[targets["shard"].isin(some)]
        part = _some_rows(rows, tables, shown, bands).join(elsewhere, on="target_id")
        part = part.astype(kinds).fillna({"ebv_source": "none", "ebv": 0.0, "n_tandems": 0})
        for name in part:
            gathered[name].append(part[name])
        progress(start + len(some), len(shards))
    parts = {name: pd.concat(gathered.pop(name), ignore_index=True) for name in list(gathered)}
    return pd.DataFrame(parts, copy=False)


def _measured_columns(shown: "dict[str, list[Column]]", bands: list[str]) -> "list[Column]":
    """Columns of what stages and heads say of a target, which may be missing."""
    of_heads = [c for own in shown.values() for c in own[1:]]
    of_features = [c for c in features.COLUMNS if c.name in FROM_FEATURES]
    of_measure = [c for c in measure.COLUMNS if c.name in _FROM_MEASURE]
    return [*of_heads, *of_features, *of_measure, *expand(PIXELS, bands)]


def _some_rows(
    targets: pd.DataFrame, tables: dict[str, pd.DataFrame], shown: "dict[str, list[Column]]", bands: list[str]
) -> pd.DataFrame:
    """Targets with the rows of all tables; those that are in no shard have none."""
    frame = targets.drop(columns=["ebv", "status", "reason"]).merge(_road(targets, tables), on="target_id", how="left")
    for head, own in shown.items():
        frame = frame.merge(_take(tables[head], [c.name for c in own[1:]]), on="target_id", how="left")
    frame = frame.merge(_take(tables["features"], FROM_FEATURES), on="target_id", how="left")
    frame = frame.merge(_take(tables["measure"], _FROM_MEASURE), on="target_id", how="left")
    return frame.merge(_pixel_columns(tables, bands), on="target_id", how="left")


def _files(given: dict[str, Any]) -> list[str]:
    """Every input but the models, which are folders."""
    listed = [[value] if isinstance(value, str) else value for name, value in given.items() if name != "models"]
    return [path for part in listed for path in part if path]


def _pixel_columns(tables: dict[str, pd.DataFrame], bands: list[str]) -> pd.DataFrame:
    """Coverage, PSF and digest of the cutouts."""
    fetched = tables["fetch"]
    if not len(fetched):
        return _take(fetched, ["coverage_fraction", *(f"psf_fwhm_{b}" for b in bands), "cutout_sha256"])
    ok = fetched[fetched["status"] == OK]
    targets = pd.Index(fetched["target_id"].unique(), name="target_id")
    widths = ok.pivot(index="target_id", columns="band", values="psf_fwhm").reindex(index=targets, columns=bands)
    out = widths.add_prefix("psf_fwhm_")
    out["coverage_fraction"] = ok.groupby("target_id")["coverage"].min().reindex(targets, fill_value=0.0)
    digests = tables["match"].drop_duplicates("target_id") if len(tables["match"]) else tables["match"]
    return out.reset_index().merge(_take(digests, ["cutout_sha256"]), on="target_id", how="left")


def _listed(frame: pd.DataFrame, fusion: Fusion | None, level: float) -> pd.DataFrame:
    """Chance of every target among what is no tandem, and whether it stands on the list of candidates."""
    frame = frame.assign(p_conformal=np.nan, fdr=np.nan, listed=False)
    some = frame["fused"].notna().to_numpy()
    if fusion is None or not some.any():
        return frame
    fused = frame.loc[some, "fused"].to_numpy()
    found = candidate_list(fused, fusion.null_scores, level)
    p_values = conformal_p_values(fused, fusion.null_scores)
    frame.loc[some, [c.name for c in LISTED[:2]]] = np.column_stack([p_values, found.adjusted])
    frame.loc[some, "listed"] = found.selected
    if found.message:
        log.warning("%s", found.message)
    return frame


def _concat(paths: list[str]) -> pd.DataFrame:
    frames = [frame for frame in map(read_table, paths) if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else read_table(paths[0]) if paths else pd.DataFrame()


def _take(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    if not len(table):
        return pd.DataFrame({"target_id": pd.Series(dtype="str"), **{n: pd.Series(dtype="object") for n in names}})
    return table[["target_id", *names]]


def _road(targets: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Status, reason, stage, release and bands of every target: the first stage that it did not leave with ok."""
    rows = {t: {"status": s, "reason": r, "stage": "targets"} for t, s, r in _three(targets) if s != OK}
    fetched, facts = _fetched(tables)
    left = {stage: _first_rows(tables[stage]) for stage in _STAGES}
    for target_id in targets["target_id"]:
        if target_id in rows:
            continue
        rows[target_id] = _outcome(target_id, fetched, left)
    empty = {"release": "", "bands": ""}
    return pd.DataFrame([{"target_id": t, **row, **facts.get(t, empty)} for t, row in rows.items()])


def _outcome(
    target_id: str, fetched: dict[str, list[tuple[str, str]]], left: dict[str, dict[str, tuple[str, str]]]
) -> dict[str, str]:
    if target_id not in fetched:
        return {"status": "fetch_failed", "reason": "the fetch stage has no row of this target", "stage": "fetch"}
    status, reason = target_outcome(fetched[target_id])
    if status != OK:
        return {"status": status, "reason": reason, "stage": "fetch"}
    for stage in _STAGES:
        if target_id not in left[stage]:
            return {"status": "stage_failed", "reason": f"the {stage} stage has no row of this target", "stage": stage}
        status, reason = left[stage][target_id]
        if status != OK:
            return {"status": status, "reason": reason, "stage": stage}
    return {"status": SCORED, "reason": "", "stage": ""}


def _fetched(
    tables: dict[str, pd.DataFrame],
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, dict[str, str]]]:
    """Status and reason of every band of the targets that were fetched; their release and the bands that are used."""
    if not len(tables["fetch"]):
        return {}, {}
    outcomes: dict[str, list[tuple[str, str]]] = {}
    bands = _used_bands(tables["match"])
    for target_id, status, reason in _three(tables["fetch"]):
        outcomes.setdefault(target_id, []).append((status, reason))
    release = tables["fetch"].groupby("target_id")["release"].first()
    return outcomes, {t: {"release": r, "bands": bands.get(t, "")} for t, r in release.items()}


def _three(table: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    return table[["target_id", "status", "reason"]].itertuples(index=False, name=None)


def _first_rows(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    return {t: (s, r) for t, s, r in _three(table.drop_duplicates("target_id"))} if len(table) else {}


def _used_bands(match: pd.DataFrame) -> dict[str, str]:
    if not len(match):
        return {}
    return match[match["used"]].groupby("target_id")["band"].agg(" ".join).to_dict()


def _tandem_columns(targets: pd.DataFrame, cfg: dict[str, Any], background_path: str | None) -> pd.DataFrame:
    background = targets
    if background_path:
        raw = read_catalogue(background_path, cfg["columns"], cfg["format"], cfg["hdu"])
        background = clean_targets(raw, group_radius_arcmin=0, nside=1)
    pairs = find_tandems(targets, background, cfg["dz_min"], cfg["radius_arcsec"])
    closest = pairs.sort_values("separation_arcsec").groupby("target_id")
    first = closest.first()
    return pd.DataFrame(
        {
            "n_tandems": closest.size(),
            "tandem_name": first["bg_name"],
            "tandem_separation": first["separation_arcsec"],
            "tandem_z": first["bg_z"],
        }
    ).reset_index()


def _order(frame: pd.DataFrame, by: str) -> np.ndarray:
    """Places of the rows: with a score, the best first, then by how far they came, then in the order of the list."""
    # fused knows what it means that a target has no segments
    last = {SCORED: 0, NO_SEGMENTS: 0 if by == "fused" else 1}
    far = frame["status"].map(last).fillna(2)
    value = frame[by].to_numpy(float)
    return np.lexsort([frame["source_row"], -np.where(np.isfinite(value), value, -np.inf), far])
