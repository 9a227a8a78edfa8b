"""Targets of a sample, read and cleaned, and the shards that they fall in."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.targets import COLUMNS
from tandemlens.base.errors import SettingsError
from tandemlens.base.tables import write_table
from tandemlens.survey.catalogues import read_catalogue
from tandemlens.survey.lenscat import read_lenscat
from tandemlens.survey.tandems import find_tandems
from tandemlens.survey.targets import add_twins, clean_targets, shard_digests, shard_sizes

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

log = logging.getLogger("tandemlens")


def plan_targets(
    settings: dict[str, Any],
    clusters: list[dict[str, Any]],
    classes: Sequence[str] = (),
    tandems: dict[str, Any] | None = None,
) -> "tuple[pd.DataFrame, pd.DataFrame | None, dict[str, Any]]":
    """Cleaned targets of a sample.

    Parameters
    ----------
    settings : dict
        The `targets` section of a sample, its catalogue a file.
    clusters : list of dict
        Catalogues of clusters that a list of lenses is held against, as sections of their own.
    classes : sequence of str
        Classes of the twins that every target gets; none leaves one row a target.
    tandems : dict, optional
        Section ``tandems`` of the settings: only targets with a cluster behind are kept.

    Returns
    -------
    pandas.DataFrame
        One row a target and class.
    pandas.DataFrame or None
        What was left out of a list of lenses, and why; None where the catalogue is no such list.
    dict
        shard -> digest and number of its rows with status ok.

    Raises
    ------
    SettingsError
        If the catalogue holds no row, or no target has a cluster behind it.
    """
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
    return frame, dropped, {name: (digest, sizes[name]) for name, digest in shard_digests(frame).items()}


def write_targets(path: "Path", frame: "pd.DataFrame", dropped: "pd.DataFrame | None") -> None:
    """Write the targets, and what was left out of a list of lenses beside them.

    Parameters
    ----------
    path : pathlib.Path
        Parquet; what was left out goes to its ``.dropped.csv`` neighbour.
    frame, dropped : pandas.DataFrame
        From `plan_targets`.
    """
    write_table(path, frame, COLUMNS)
    if dropped is not None:
        write_text(path.with_suffix(".dropped.csv"), dropped.to_csv(index=False))


def _read(settings: dict[str, Any], clusters: list[Any]) -> "tuple[pd.DataFrame, None]":
    """Rows of the catalogue; of a list of lenses also what was left out."""
    if settings["format"] != "lenscat":
        return _rows(settings), None
    return read_lenscat(settings["catalogue"], settings["lens_types"], [_rows(section) for section in clusters])


def _rows(section: dict[str, Any]) -> "pd.DataFrame":
    return read_catalogue(section["catalogue"], section["columns"], section["format"], section["hdu"])


def _with_tandems(frame: "pd.DataFrame", name: str, tandems: dict[str, Any]) -> "pd.DataFrame":
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
