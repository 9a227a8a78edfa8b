"""Whether the inputs of a job are what the jobs that made them wrote, by their provenance sidecars."""

import json
import os
from pathlib import Path

from tandemlens.base.atomic import sha256
from tandemlens.base.errors import InputError

SIDECAR = ".prov.json"


def intact_inputs(paths):
    """Digests of the inputs of a job; one that has changed since it was made is set aside.

    A product that a full disk, a dying machine or an unlucky hand has altered must not go on down the road. It is
    renamed, not deleted, so that the same command, run again, makes it anew.

    Parameters
    ----------
    paths : iterable of str
        Files, and folders of files. What has no sidecar is no product and is only hashed.

    Returns
    -------
    dict of str
        Path of every file that stands for itself -> its SHA-256.

    Raises
    ------
    InputError
        Naming every product that was set aside.
    """
    digests, damaged = {}, []
    for path in dict.fromkeys(map(str, paths)):
        if os.path.isdir(path):
            if not all(_as_made(file, sha256(file)) for file in _products(path)):
                damaged.append(path)
        elif os.path.isfile(path):
            digests[path] = sha256(path)
            if not _as_made(path, digests[path]):
                damaged.append(path)
    for path in damaged:
        os.replace(path, f"{path.rstrip('/')}.damaged")
    if damaged:
        raise InputError(
            f"{', '.join(damaged)}: changed since it was made (its SHA-256 is not that of its sidecar), so it was "
            "renamed to *.damaged; run the same command again to make it anew"
        )
    return digests


def _products(folder):
    return [p for p in sorted(Path(folder).iterdir()) if p.is_file() and not p.name.endswith(SIDECAR)]


def _as_made(path, digest):
    """Whether a file has the digest that its sidecar states, or no readable sidecar."""
    try:
        stated = json.loads(Path(f"{path}{SIDECAR}").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return True
    return stated == digest
