"""Atomic writers: a product appears under its name whole or not at all."""

import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from glob import escape
from pathlib import Path

#: names of half-written files say where their writer runs: another machine's processes cannot be looked at
_HOST = re.sub(r"\W", "-", platform.node()) or "host"
_scratch = None


def use_scratch(folder: str | Path | None) -> None:
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
def atomic_path(path: str | Path) -> Iterator[Path]:
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
    _drop_left_over(path)
    temporary = path.with_name(f".{_HOST}.{os.getpid()}.{path.name}")
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


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically.

    Parameters
    ----------
    path : str or Path
    text : str
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
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


def _drop_left_over(path: Path) -> None:
    """Remove what a killed process of this machine left half-written of `path`."""
    for left in path.parent.glob(f".{_HOST}.*.{escape(path.name)}"):
        pid = left.name.removeprefix(f".{_HOST}.").removesuffix(f".{path.name}")
        if pid.isdigit() and not _alive(int(pid)):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _sync_folder(folder: str | Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
