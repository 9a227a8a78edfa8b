"""The plan of a sample: its cleaned targets and shards, known when the DAG is built.

Rules take the digest of their shard's rows as a parameter, so that changing one target reruns one shard.
"""

import hashlib
import json
from pathlib import Path

from tandemlens.base.atomic import sha256, write_text
from tandemlens.base.columns.targets import COLUMNS
from tandemlens.base.errors import SettingsError
from tandemlens.base.tables import write_table
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.targets import add_twins, clean_targets, shard_digests


def load_plan(settings, path, code, write, classes=()):
    """Shards of a sample with the digest of their rows, cached beside the cleaned table.

    Parameters
    ----------
    settings : dict
        The `targets` section of a sample: ``catalogue``, ``columns``, ``format``, ``hdu``,
        ``group_radius_arcmin``, ``nside``.
    path : str or Path
        Where the cleaned table (Parquet) goes; the cache is its ``.plan.json`` neighbour.
    code : str
        Digest of the code of this module.
    write : bool
        False in the processes of single jobs, which only read the cache.
    classes : sequence of str
        Classes of the twins that every target gets; none leaves one row a target.

    Returns
    -------
    dict
        shard -> digest of its rows with status ok.

    Raises
    ------
    SettingsError
        If the catalogue holds no row at all.
    """
    path = Path(path)
    cache = path.with_suffix(".plan.json")
    if not write and cache.is_file():
        return json.loads(cache.read_text())["shards"]
    key = _key({**settings, "twins": list(classes)}, code)
    if cache.is_file() and path.is_file():
        stored = json.loads(cache.read_text())
        if stored["key"] == key:
            return stored["shards"]
    raw = read_catalogue(settings["catalogue"], settings["columns"], settings["format"], settings["hdu"])
    if raw.empty:
        raise SettingsError(f"target catalogue {settings['catalogue']} holds no row; give at least one target")
    frame = add_twins(clean_targets(raw, settings["group_radius_arcmin"], settings["nside"]), classes)
    shards = shard_digests(frame)
    if write:
        write_table(path, frame, COLUMNS)
        write_text(cache, json.dumps({"key": key, "shards": shards}, indent=1))
    return shards


def _key(settings, code):
    if not Path(settings["catalogue"]).is_file():
        raise SettingsError(
            f"target catalogue {settings['catalogue']} does not exist; check targets.catalogue and DATA"
        )
    text = json.dumps([settings, code, sha256(settings["catalogue"])], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
