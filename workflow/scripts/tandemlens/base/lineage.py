"""What was made from what: the sidecars of a finished run as one graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandemlens.base.errors import InputError
from tandemlens.base.sidecar import read_sidecar


@dataclass
class Lineage:
    """Files of a run, from the last to the first.

    Parameters
    ----------
    facts : dict
        Path -> sidecar (`tandemlens.base.sidecar.read_sidecar`); None for a file that the run was given, and for a
        product whose sidecar cannot be used.
    digests : dict of str
        Path -> SHA-256 as its sidecar has it; of a file without one as the first of those made from it found it.
    problems : dict of str
        Path of a product whose sidecar cannot be used -> why, one sentence.
    """

    facts: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Places:
    """Where a run keeps what it makes and what services answered, as its settings name them.

    Parameters
    ----------
    results, cache : str
    refit : bool
        False where models are kept that were fitted to what has changed since.
    """

    results: str
    cache: str
    refit: bool = True

    @property
    def catalogue(self) -> str:
        """Path of the catalogue."""
        return f"{self.results}/catalogue/candidates.parquet"

    @property
    def crate(self) -> str:
        """Path of the crate."""
        return f"{self.results}/ro-crate-metadata.json"

    def is_made(self, path: str) -> bool:
        """Whether a path is a product of the run, which must have a sidecar, and no answer and no file it was given."""
        return Path(path).is_relative_to(self.results) and not Path(path).is_relative_to(self.cache)


def trace_back(
    ends: Sequence[str], places: Places, siblings: bool = False, follow: Callable[..., Any] = lambda facts, path: True
) -> Lineage:
    """Follow sidecars from products back to what the run was given.

    Parameters
    ----------
    ends : sequence of str
        Paths as the sidecars name them, relative to the folder that the run was started in.
    places : Places
    siblings : bool
        Whether the other products of each job are taken along.
    follow : callable
        ``follow(facts, path)``: whether to go from the job of these facts to its input `path`.

    Returns
    -------
    Lineage
    """
    out, waiting = Lineage(), list(reversed(ends))
    while waiting:
        path = waiting.pop()
        if path in out.facts:
            continue
        facts = _facts(path, places, out)
        out.facts[path] = facts
        if facts is None:
            continue
        out.digests[path] = facts["sha256"]
        inputs = [p for p in facts["inputs"] if follow(facts, p)]
        for given in inputs:
            out.digests.setdefault(given, facts["inputs"][given])
        waiting += reversed(inputs + (facts["outputs"] if siblings else []))
    return out


def _facts(path: str, places: Places, out: Lineage) -> dict[str, Any] | None:
    # what another run has made is given to this one, and its own crate tells the rest
    if not places.is_made(path):
        return None
    try:
        return read_sidecar(path)
    except InputError as error:
        out.problems[path] = str(error)
        return None
