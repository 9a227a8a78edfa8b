"""Atomic writers: a product appears under its name whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

_scratch = None


def use_scratch(folder):
    """Have products written in a folder of this machine first and moved whole to their place.

    A stack is written in many small steps, each of which a file system that many machines share answers slowly; the
    move is one copy from end to end.

    Parameters
    ----------
    folder : str or Path or None
        None writes beside the product, as is right where it lies on a disk of this machine.
    """
    global _scratch
    _scratch = folder


@contextmanager
def atomic_path(path):
    """Yield a temporary name beside `path`; on success fsync it and rename it to `path`.

    Parameters
    ----------
    path : str or Path
        Final name; its folder is made if missing.

    Yields
    ------
    Path
        The name to write to, with the same suffixes as `path`, or on the scratch folder of `use_scratch`; removed if
        the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with ExitStack() as cleared:
            if _scratch is None:
                yield temporary
            else:
                folder = cleared.enter_context(tempfile.TemporaryDirectory(prefix="tandemlens-", dir=_scratch))
                yield Path(folder) / path.name
                shutil.copyfile(Path(folder) / path.name, temporary)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` (UTF-8) to `path` atomically.

    Parameters
    ----------
    path : str or Path
    text : str
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path):
    """SHA-256 of a file, read in 1 MiB blocks.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str
        Hexadecimal digest.
    """
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
