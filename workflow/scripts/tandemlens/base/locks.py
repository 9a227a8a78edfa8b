"""Locks that a killed Snakemake left behind, so that the same command just goes on.

Snakemake locks by files that hold no process and outlive a kill -9 or a power cut; its own way out, --unlock, asks the
user to know that no run is alive. The kernel knows: a lock of its own goes with the process that held it.
"""

import fcntl
from pathlib import Path
from typing import IO

#: open as long as the process lives
_held: list[IO[str]] = []


def drop_stale_locks(folder: str | Path = ".snakemake") -> int:
    """Remove the locks of Snakemake if no Snakemake of this working directory is alive; hold that one is, from now on.

    Parameters
    ----------
    folder : str or Path
        Where Snakemake keeps its state.

    Returns
    -------
    int
        Number of locks removed; 0 too where the file system knows no locks, and Snakemake's own then stand.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    handle = open(folder / "alive", "a")  # noqa: SIM115  held until the process ends
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stale = list((folder / "locks").glob("*.lock"))
        for path in stale:
            path.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_SH)
    except BlockingIOError:
        stale = []
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError:
        handle.close()
        return 0
    _held.append(handle)
    return len(stale)
