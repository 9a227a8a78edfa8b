"""The plan of a sample: its cleaned targets and shards, known when the DAG is built.

Rules take the digest of their shard's rows as a parameter, so that changing one target reruns one shard.
"""

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import NamedTuple

from tandemlens.base.atomic import sha256, write_text
from tandemlens.base.columns.targets import COLUMNS
from tandemlens.base.errors import SettingsError
from tandemlens.base.sidecar import job_facts, sidecar_of, write_sidecar
from tandemlens.base.tables import write_table
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.lenscat import read_lenscat
from tandemlens.survey.services.vizier import at_hand
from tandemlens.survey.tandems import find_tandems
from tandemlens.survey.targets import add_twins, clean_targets, shard_digests, shard_sizes

log = logging.getLogger("tandemlens")


class Shard(NamedTuple):
    """What the plan knows of a shard.

    Parameters
    ----------
    digest : str
        Of its rows.
    systems : int
        How many these are.
    """

    digest: str
    systems: int


def load_plan(settings, path, code, write, classes=(), fetch=None, tandems=None):
    """Shards of a sample with digest and number of their rows, cached beside the cleaned table.

    Parameters
    ----------
    settings : dict
        The `targets` section of a sample: ``catalogue``, ``columns``, ``format``, ``hdu``,
        ``group_radius_arcmin``, ``nside``, and for a list of lenses ``lens_types``, ``lens_clusters``.
    path : str or Path
        Where the cleaned table (Parquet) goes; the cache is its ``.plan.json`` neighbour. What was left out of a
        list of lenses, and why, goes to its ``.dropped.csv`` neighbour.
    code : dict of str
        Digest of the code of this module.
    write : bool
        False in the processes of single jobs, which only read the cache.
    classes : sequence of str
        Classes of the twins that every target gets; none leaves one row a target.
    fetch : dict, optional
        Section ``fetch`` of the settings; needed for catalogues of VizieR.
    tandems : dict, optional
        Section ``tandems`` of the settings, its catalogue a path or None: only targets with a cluster behind are kept.

    Returns
    -------
    dict of Shard
        shard -> digest and number of its rows with status ok.

    Raises
    ------
    SettingsError
        If the catalogue is not there, or holds no row, or no target has a cluster behind it.
    """
    started, path = time.time(), Path(path)
    cache = path.with_suffix(".plan.json")
    if not write and cache.is_file():
        return _shards(json.loads(cache.read_text()))
    settings = at_hand(settings, fetch)
    clusters = [at_hand(_plain(name), fetch) for name in settings.get("lens_clusters", ())]
    asked = {**settings, "twins": list(classes), "tandems": tandems}
    files = _files(settings, *clusters, tandems)
    key = _key(asked, files, code)
    if cache.is_file() and path.is_file() and sidecar_of(path).is_file():
        stored = json.loads(cache.read_text())
        if stored["key"] == key:
            return _shards(stored)
    raw, dropped = _read(settings, clusters)
    if raw.empty:
        raise SettingsError(f"target catalogue {settings['catalogue']} holds no row; give at least one target")
    frame = clean_targets(raw, settings["group_radius_arcmin"], settings["nside"])
    if "flags" in raw:
        frame["flags"] = [f"{ours} {theirs}".strip() for ours, theirs in zip(frame["flags"], raw["flags"], strict=True)]
    if tandems:
        if dropped is not None:
            raise SettingsError(
                "targets.tandems_only is for catalogues of clusters, and lenscat lists lenses; drop one"
            )
        frame = _with_tandems(frame, settings["catalogue"], tandems)
    frame = add_twins(frame, classes)
    sizes = shard_sizes(frame)
    shards = {name: Shard(digest, sizes[name]) for name, digest in shard_digests(frame).items()}
    if write:
        write_table(path, frame, COLUMNS)
        if dropped is not None:
            write_text(path.with_suffix(".dropped.csv"), dropped.to_csv(index=False))
        facts = job_facts("plan", started, [path], {str(file): sha256(file) for file in files}, None, code, asked)
        write_sidecar(path, facts)
        write_text(cache, json.dumps({"key": key, "shards": shards}, indent=1))
    return shards


def _shards(stored):
    return {name: Shard(*facts) for name, facts in stored["shards"].items()}


def _read(settings, clusters):
    """Rows of the catalogue; of a list of lenses also what was left out."""
    if settings["format"] != "lenscat":
        return _rows(settings), None
    return read_lenscat(settings["catalogue"], settings["lens_types"], [_rows(section) for section in clusters])


def _rows(section):
    return read_catalogue(section["catalogue"], section["columns"], section["format"], section["hdu"])


def _plain(catalogue):
    return {"catalogue": catalogue, "columns": {}, "format": "auto", "hdu": 1}


def _with_tandems(frame, name, tandems):
    background = clean_targets(_rows(tandems), 0, 1) if tandems["catalogue"] else frame
    pairs = find_tandems(frame, background, tandems["dz_min"], tandems["radius_arcsec"])
    kept = frame[frame["target_id"].isin(pairs["target_id"])]
    if kept.empty:
        raise SettingsError(
            f"no target of {name} has a cluster behind it by more than {tandems['dz_min']} in redshift within "
            f"{tandems['radius_arcsec']} arcsec; change tandems.dz_min or tandems.radius_arcsec, or search all targets"
        )
    log.warning(
        "%s: %d of %d targets have a cluster behind them; the other %d are no targets (targets.tandems_only)",
        *(name, len(kept), len(frame), len(frame) - len(kept)),
    )
    return kept.reset_index(drop=True)


def _files(*sections):
    files = [section["catalogue"] for section in sections if section and section["catalogue"]]
    for file in files:
        if not Path(file).is_file():
            raise SettingsError(f"target catalogue {file} does not exist; check targets.catalogue and DATA")
    return files


def _key(settings, files, code):
    text = json.dumps([settings, code, [sha256(file) for file in files]], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
