"""The candidate catalogue: every row of the target list once, ranked, with what happened to it."""

import logging

import numpy as np
import pandas as pd

from tandemlens.base.columns.candidates import FROM_FEATURES, LISTED, columns
from tandemlens.base.errors import InputError
from tandemlens.base.status import NO_SEGMENTS, OK, SCORED
from tandemlens.base.tables import read_table
from tandemlens.catalogue.exports import write_exports
from tandemlens.catalogue.grades import graded_columns
from tandemlens.learn.conformal import candidate_list, conformal_p_values
from tandemlens.learn.fuse import Fusion
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.outcome import target_outcome
from tandemlens.survey.tandems import find_tandems
from tandemlens.survey.targets import clean_targets

log = logging.getLogger("tandemlens")
_STAGES = ("match", "segment", "measure", "features")


def build_catalogue(
    targets_path, shard_tables, scores, model_dir, cfg, background_path, grades_path, outputs, progress
):
    """Join the tables of all shards to one ranked row per target.

    Parameters
    ----------
    targets_path : str
        The cleaned target table.
    shard_tables : dict of list of str
        Paths of fetch, match, segment, measure and features tables, one a shard.
    scores : dict of list of str
        Head -> paths of its scores, one a shard; ``fused`` is one of them where heads were trained.
    model_dir : str
        Of the fusion; empty without.
    cfg : dict
        ``tandems``, that section of the settings, ``survey``, and ``fdr``.
    background_path : str
        Catalogue of the clusters behind; empty takes the targets themselves.
    grades_path : str
        grades.parquet; empty where nothing was graded.
    outputs : dict of str
        Paths of the products ``parquet``, ``fits`` and ``csv``.
    progress : callable

    Raises
    ------
    InputError
        If a target were lost or doubled.
    """
    targets = read_table(targets_path)
    tables = {name: _concat(paths) for name, paths in shard_tables.items()}
    progress(1, 3)
    frame = targets.drop(columns=["ebv"]).merge(_road(targets, tables), on="target_id", how="left")
    for paths in scores.values():
        table = _concat(paths)
        frame = frame.merge(_take(table, [c for c in table if c != "target_id"]), on="target_id", how="left")
    frame = frame.merge(_take(tables["features"], FROM_FEATURES), on="target_id", how="left")
    frame = frame.merge(_take(tables["measure"], ("ebv", "ebv_source", "fwhm")), on="target_id", how="left")
    frame = frame.merge(_tandem_columns(targets, cfg["tandems"], background_path), on="target_id", how="left")
    progress(2, 3)
    frame = frame.assign(survey=cfg["survey"]).fillna({"ebv_source": "none", "ebv": 0.0, "n_tandems": 0})
    fusion = Fusion.load(model_dir) if model_dir else None
    if "fused" in scores:
        frame = _listed(frame, fusion, cfg["fdr"])
    if grades_path:
        frame = graded_columns(frame, grades_path)
    ranking = "color_evidence" if fusion is None else "fused"
    frame = _rank(frame, ranking)
    if len(frame) != len(targets) or frame["target_id"].duplicated().any():
        raise InputError(f"the catalogue has {len(frame)} rows for {len(targets)} targets; a stage doubled or lost one")
    meta = {"ranking": ranking, "survey": cfg["survey"], "frame": "ICRS"}
    if fusion is not None:
        meta |= {
            "prevalence": f"{fusion.prevalence:.3g}",
            "prevalence_by": fusion.prevalence_by,
            "fdr": f"{cfg['fdr']:g}",
        }
    wanted = columns(list(scores), bool(grades_path))
    write_exports(frame[[c.name for c in wanted]], wanted, meta, outputs)
    progress(3, 3)


def _listed(frame, fusion, level):
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


def _concat(paths):
    frames = [frame for frame in map(read_table, paths) if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else read_table(paths[0]) if paths else pd.DataFrame()


def _take(table, names):
    if not len(table):
        return pd.DataFrame({"target_id": pd.Series(dtype="str"), **{n: pd.Series(dtype="object") for n in names}})
    return table[["target_id", *names]]


def _road(targets, tables):
    """Status, reason, stage, release and bands of every target: the first stage that it did not leave with ok."""
    rows = {t: {"status": s, "reason": r, "stage": "targets"} for t, s, r in _three(targets) if s != OK}
    fetched = dict(tuple(tables["fetch"].groupby("target_id"))) if len(tables["fetch"]) else {}
    left = {stage: _first_rows(tables[stage]) for stage in _STAGES}
    bands, facts = _used_bands(tables["match"]), {}
    for target_id in targets["target_id"]:
        if target_id in rows:
            continue
        rows[target_id] = _outcome(target_id, fetched, left)
    for target_id, part in fetched.items():
        facts[target_id] = {"release": part["release"].iloc[0], "bands": bands.get(target_id, "")}
    empty = {"release": "", "bands": ""}
    return pd.DataFrame([{"target_id": t, **row, **facts.get(t, empty)} for t, row in rows.items()]).rename(
        columns={"status": "status_road", "reason": "reason_road"}
    )


def _outcome(target_id, fetched, left):
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


def _three(table):
    return table[["target_id", "status", "reason"]].itertuples(index=False, name=None)


def _first_rows(table):
    return {t: (s, r) for t, s, r in _three(table.drop_duplicates("target_id"))} if len(table) else {}


def _used_bands(match):
    if not len(match):
        return {}
    return match[match["used"]].groupby("target_id")["band"].agg(" ".join).to_dict()


def _tandem_columns(targets, cfg, background_path):
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


def _rank(frame, by):
    """Targets with a score, the best first, then the others by how far they came, then in the order of the list."""
    frame = frame.drop(columns=["status", "reason"]).rename(columns={"status_road": "status", "reason_road": "reason"})
    # fused knows what it means that a target has no segments
    order = {SCORED: 0, NO_SEGMENTS: 0 if by == "fused" else 1}
    frame["_class"] = frame["status"].map(order).fillna(2)
    value = frame[by].astype(float)
    frame["_value"] = -value.where(np.isfinite(value), -np.inf)
    frame = frame.sort_values(["_class", "_value", "source_row"], kind="stable")
    frame["rank"] = np.arange(1, len(frame) + 1)
    return frame.drop(columns=["_class", "_value"])
