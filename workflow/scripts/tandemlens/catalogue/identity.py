"""What made a catalogue: names for its models and for the run, of their content and not of the time."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tandemlens.base.atomic import sha256

DIGITS = 12
#: kept beside a model and no part of it: sidecars, and the diary of the search for settings, which holds times
_BESIDE = (".prov.json", ".db")


def model_id(folder: str | Path) -> str:
    """First digits of the digest of a model.

    Parameters
    ----------
    folder : str or Path
        What a head was fitted to, for example ``models/classic``.

    Returns
    -------
    str
        Of the lines ``sha256 name`` of its files in the order of their names; sidecars hold the same digests.
    """
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file() and not p.name.endswith(_BESIDE))
    return _digest("".join(f"{sha256(p)} {p.relative_to(folder)}\n" for p in files))


def run_id(digests: Iterable[str], models: Iterable[str], code: dict[str, str], cfg: dict[str, Any]) -> str:
    """First digits of the digest of all that a catalogue is made of.

    Parameters
    ----------
    digests : iterable of str
        SHA-256 of every input; where they lie does not count.
    models : iterable of str
        From `model_id`.
    code : dict of str
        Digests of the code (`tandemlens.base.digest.code_digest`).
    cfg : dict
        Settings that it reads, without paths.

    Returns
    -------
    str
        Equal runs have equal ones.
    """
    return _digest(json.dumps([sorted(digests), sorted(models), code, cfg], sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
