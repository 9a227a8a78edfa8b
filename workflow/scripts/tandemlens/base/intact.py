"""Whether the inputs of a job are what the jobs that made them wrote, by their provenance sidecars."""

import os
from collections.abc import Iterable

from tandemlens.base.errors import InputError
from tandemlens.base.sidecar import digest_of, read_sidecar


def intact_inputs(paths: Iterable[str]) -> dict[str, str]:
    """Digests of the inputs of a job; one that has changed since it was made is set aside.

    A product that a full disk, a dying machine or an unlucky hand has altered must not go on down the road. It is
    renamed, not deleted, so that the same command, run again, makes it anew.

    Parameters
    ----------
    paths : iterable of str
        Files, and folders that are one product. What has no sidecar is no product and is only hashed.

    Returns
    -------
    dict of str
        Path -> its digest (`tandemlens.base.sidecar.digest_of`), of all that exist.

    Raises
    ------
    InputError
        Naming every product that was set aside.
    """
    digests = {path: digest_of(path) for path in dict.fromkeys(map(str, paths)) if os.path.exists(path)}
    damaged = [path for path, digest in digests.items() if not _as_made(path, digest)]
    for path in damaged:
        os.replace(path, f"{path.rstrip('/')}.damaged")
    if damaged:
        raise InputError(
            f"{', '.join(damaged)}: changed since it was made (its SHA-256 is not that of its sidecar), so it was "
            "renamed to *.damaged; run the same command again to make it anew"
        )
    return digests


def _as_made(path: str, digest: str) -> bool:
    """Whether a product has the digest that its sidecar states, or no readable sidecar."""
    try:
        return read_sidecar(path)["sha256"] == digest
    except InputError:
        return True
