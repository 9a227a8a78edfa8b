"""The plan of a sample: its cleaned targets and shards, known when the DAG is built.

Rules take the digest of their shard's rows as a parameter, so that changing one target reruns one shard.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tandemlens.base.atomic import sha256, write_text
from tandemlens.base.errors import SettingsError
from tandemlens.base.sidecar import job_facts, sidecar_of, write_sidecar
from tandemlens.survey.remote import at_hand


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


def load_plan(
    settings: dict[str, Any],
    path: str | Path,
    code: dict[str, str],
    write: bool,
    classes: Sequence[str] = (),
    fetch: dict[str, Any] | None = None,
    tandems: dict[str, Any] | None = None,
) -> dict[str, Shard]:
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
        return _shards(json.loads(cache.read_text())["shards"])
    settings = at_hand(settings, fetch or {})
    clusters = [at_hand(_plain(name), fetch or {}) for name in settings.get("lens_clusters", ())]
    asked = {**settings, "twins": list(classes), "tandems": tandems}
    files = _files(settings, *clusters, tandems)
    key = _key(asked, files, code)
    if cache.is_file() and path.is_file() and sidecar_of(path).is_file():
        stored = json.loads(cache.read_text())
        if stored["key"] == key:
            return _shards(stored["shards"])
    # takes long to import, and mostly the cache has it all
    from tandemlens.survey.planning import plan_targets, write_targets

    frame, dropped, facts_of_shards = plan_targets(settings, clusters, classes, tandems)
    shards = _shards(facts_of_shards)
    if write:
        write_targets(path, frame, dropped)
        facts = job_facts("plan", started, [str(path)], {str(file): sha256(file) for file in files}, None, code, asked)
        write_sidecar(path, facts)
        write_text(cache, json.dumps({"key": key, "shards": shards}, indent=1))
    return shards


def _shards(stored: dict[str, Any]) -> dict[str, Shard]:
    return {name: Shard(*facts) for name, facts in stored.items()}


def _plain(catalogue: str) -> dict[str, Any]:
    return {"catalogue": catalogue, "columns": {}, "format": "auto", "hdu": 1}


def _files(*sections: dict[str, Any] | None) -> list[str]:
    files = [section["catalogue"] for section in sections if section and section["catalogue"]]
    for file in files:
        if not Path(file).is_file():
            raise SettingsError(f"target catalogue {file} does not exist; check targets.catalogue and DATA")
    return files


def _key(settings: dict[str, Any], files: list[str], code: dict[str, Any]) -> str:
    text = json.dumps([settings, code, [sha256(file) for file in files]], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
