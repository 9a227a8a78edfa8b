"""Checkpoints of a training, from which it goes on to the same weights if it is stopped at any point.

A checkpoint holds tensors and plain values alone, and under `OWN` the fingerprint of all that decides the weights: one
of other settings, code or stamps is not used.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tandemlens.base.atomic import atomic_path
from tandemlens.base.errors import InputError

log = logging.getLogger("tandemlens")
#: what a checkpoint holds besides weights and the state of the optimiser
OWN = "tandemlens"
#: settings that change where or how fast is computed, and not what
_NO_MATTER = ("device", "threads", "minutes")


def fingerprint(cfg: dict[str, Any], paths: Iterable[str | Path], more: list[Any]) -> str:
    """Digest of all that decides the weights of a training.

    Parameters
    ----------
    cfg : dict
        Settings; device, threads and minutes do not count.
    paths : iterable of (str or Path)
        Files that are learnt from, told by size and time.
    more : list
        What else there is, as JSON takes it.

    Returns
    -------
    str
    """
    stats = [(str(path), Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in paths]
    settings = {name: value for name, value in cfg.items() if name not in _NO_MATTER}
    text = json.dumps([settings, stats, more], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_checkpoint(path: Path, wanted: str) -> dict[str, Any] | None:
    """The checkpoint of a training, if it can be read and is of this very one.

    Parameters
    ----------
    path : pathlib.Path
    wanted : str
        Its fingerprint.

    Returns
    -------
    dict or None
        None where there is none, which is said in the log if there is a file.
    """
    if not path.exists():
        return None
    try:
        found = torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        # a broken file may raise whatever its bytes happen to mean
        log.warning("checkpoint %s cannot be read (%s): training starts anew", path, type(error).__name__)
        return None
    if found.get(OWN, {}).get("fingerprint") != wanted:
        log.warning("checkpoint %s is of other settings, code or stamps: training starts anew", path)
        return None
    log.info("training goes on after epoch %d of checkpoint %s", len(found[OWN]["curve"]), path)
    return found


@dataclass(frozen=True)
class CheckpointFile:
    """The checkpoint of one training.

    Parameters
    ----------
    path : pathlib.Path
    fingerprint : str
        From `fingerprint`.
    """

    path: Path
    fingerprint: str

    def read(self) -> dict[str, Any] | None:
        """As `read_checkpoint`."""
        return read_checkpoint(self.path, self.fingerprint)

    def write(self, state: dict[str, Any], done: dict[str, Any]) -> None:
        """Write it, whole or not at all.

        Parameters
        ----------
        state : dict
            Tensors and plain values that the next epoch depends on.
        done : dict
            ``curve`` and what else is known of the epochs done, in plain values.
        """
        with atomic_path(self.path) as temporary:
            torch.save({**state, OWN: {"fingerprint": self.fingerprint, **done}}, temporary)

    def remove(self) -> None:
        """Remove it, if it is there."""
        self.path.unlink(missing_ok=True)


@contextmanager
def saying_lost_gpu(device: torch.device, when: Callable[..., Any], remedy: str) -> Iterator[Any]:
    """Turn the loss of a GPU into one sentence.

    Parameters
    ----------
    device : torch.device
    when : callable
        Gives the place in the work, in words.
    remedy : str
        What to do.

    Raises
    ------
    InputError
    """
    try:
        yield
    except RuntimeError as error:
        if device.type == "cuda" and "CUDA" in str(error):
            said = str(error).splitlines()[0]
            raise InputError(f"the GPU was lost or is full {when()} ({said}); {remedy}") from error
        raise
