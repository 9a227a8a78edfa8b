"""The loop of every stage over its targets: one bad target becomes a row, never the end of its neighbours."""

import logging
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tandemlens.base.columns.stage import COLUMNS
from tandemlens.base.errors import DataError, of_the_machine
from tandemlens.base.status import OK, check
from tandemlens.base.tables import empty_frame

log = logging.getLogger("tandemlens")


def target_rng(target_id: str, seed: int | None = None, stream: int | None = None) -> np.random.Generator:
    """Random numbers of one target, the same whatever its neighbours.

    Parameters
    ----------
    target_id : str
    seed : int, optional
        Of the run.
    stream : int, optional
        Tells the users of one seed apart.

    Returns
    -------
    numpy.random.Generator
    """
    parts = (seed, zlib.crc32(target_id.encode()), stream)
    return np.random.default_rng([p for p in parts if p is not None])


def run_targets(target_ids: Sequence[str], work: Callable[..., Any], progress: Callable[..., Any]) -> pd.DataFrame:
    """Call `work` on every target and note how each ended.

    Parameters
    ----------
    target_ids : sequence of str
    work : callable
        ``work(index, target_id)``; raises `DataError` for a target that cannot go on.
    progress : callable
        ``progress(done, total)``.

    Returns
    -------
    pandas.DataFrame
        Columns target_id, status, reason; one row per target.

    Raises
    ------
    OSError, MemoryError
        Where the machine failed (`tandemlens.base.errors.of_the_machine`), whatever the target.
    """
    rows = []
    for index, target_id in enumerate(target_ids):
        status, reason = OK, ""
        try:
            work(index, target_id)
        except DataError as error:
            status, reason = check(error.status), str(error)
        except Exception as error:  # the next target must not pay for an unforeseen one
            if of_the_machine(error):
                raise
            status, reason = "stage_failed", f"{type(error).__name__}: {error}"
            log.exception("%s: unforeseen error", target_id)
        rows.append({"target_id": target_id, "status": status, "reason": reason})
        progress(index + 1, len(target_ids))
    return pd.DataFrame(rows) if rows else empty_frame(COLUMNS)
