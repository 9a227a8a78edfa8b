"""Whether the files of a run are still those that its sidecars speak of."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandemlens.base.errors import InputError
from tandemlens.base.lineage import trace_back
from tandemlens.base.sidecar import digest_of, digest_of_files, files_of, sidecar_of
from tandemlens.catalogue.trail import find_row, row_lineage

if TYPE_CHECKING:
    from tandemlens.base.lineage import Lineage, Places


def verify_run(places: "Places") -> tuple[int, list[str]]:
    """Recompute the digest of every file of a run.

    Parameters
    ----------
    places : tandemlens.base.lineage.Places

    Returns
    -------
    n : int
        Files that were looked at.
    faults : list of str
        One line a file that no longer matches, which begins with its path.

    Raises
    ------
    InputError
        If the run has no crate, which says what belongs to it.
    """
    if not sidecar_of(places.crate).is_file():
        raise InputError(f"there is no {places.crate} with its sidecar, so the run is not finished; run it to its end")
    return verify_lineage(trace_back([places.crate], places, siblings=True), places)


def verify_row(target: str, places: "Places") -> tuple[int, list[str]]:
    """Recompute the digests of the files of the trail of one row.

    The way from a row to its files is read from tables of the run; where one of these is damaged, all that the
    catalogue was made from is looked at instead.

    Parameters
    ----------
    target : str
        As for `tandemlens.catalogue.trail.find_row`.
    places : tandemlens.base.lineage.Places

    Returns
    -------
    n, faults
        As of `verify_run`.

    Raises
    ------
    InputError
        If there is no catalogue or no such row.
    """
    whole = trace_back([places.catalogue], places)
    if Path(places.catalogue).is_file() and digest_of(places.catalogue) != whole.digests.get(places.catalogue):
        return verify_lineage(whole, places)
    row = find_row(places, target)
    try:
        return verify_lineage(row_lineage(row, places)[0], places)
    except (OSError, ValueError):
        return verify_lineage(whole, places)


def verify_lineage(lineage: "Lineage", places: "Places") -> tuple[Any, ...]:
    """Recompute the digests of the files of a lineage.

    Parameters
    ----------
    lineage : tandemlens.base.lineage.Lineage
    places : tandemlens.base.lineage.Places

    Returns
    -------
    n, faults
        As of `verify_run`.
    """
    present = cache(_present)
    faults = [*lineage.problems.values()]
    spoiled, n = set(lineage.problems), 0
    for path, facts in lineage.facts.items():
        if path in lineage.problems:
            continue
        files, found = present(path)
        n += len(files) if files else 1
        if found != lineage.digests[path]:
            spoiled.add(path)
            faults += _faults(path, facts, files, found, lineage.digests[path])
    for path, facts in lineage.facts.items():
        if facts is None or (not places.refit and _is_fit(facts["rule"])):
            continue
        for given, digest in facts["inputs"].items():
            # what is spoiled is told already; here it is whole, and another than that which the product is made from
            if given in lineage.facts and given not in spoiled and lineage.digests[given] != digest:
                faults.append(f"{path}: made from another {given}, whose sha256 was {digest}; run again")
    return n, faults


def _is_fit(rule: str) -> bool:
    return rule.startswith("fit_") or rule in ("fuse", "pretrain", "generator")


def _present(path: str) -> tuple[Any, ...]:
    """Files of a folder, None for a file; and the digest, None where there is nothing."""
    if Path(path).is_dir():
        files = files_of(path)
        return files, digest_of_files(files)
    return None, digest_of(path) if Path(path).is_file() else None


def _faults(
    path: str, facts: dict[str, Any] | None, files: dict[str, str] | None, found: str | None, wanted: str
) -> list[str]:
    if found is None:
        return [f"{path}: gone; its sha256 was {wanted}"]
    if files is None or not facts or "files" not in facts:
        return [f"{path}: sha256 is {found} and was {wanted}"]
    kept = facts["files"]
    names = sorted(kept.keys() | files.keys())
    return [
        f"{path}/{name}: "
        + (
            f"gone; its sha256 was {kept[name]}"
            if name not in files
            else f"not there when {path} was made"
            if name not in kept
            else f"sha256 is {files[name]} and was {kept[name]}"
        )
        for name in names
        if kept.get(name) != files.get(name)
    ]
