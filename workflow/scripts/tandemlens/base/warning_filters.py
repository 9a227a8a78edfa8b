"""Filters of warnings for a block of code, in threads too: the standard library has one list for the process."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def warning_filters(**actions: type[Warning] | tuple[type[Warning], ...]) -> Iterator[None]:
    """Handle kinds of warnings in a block; blocks of other threads wait, so that each finds and leaves its own filters.

    Parameters
    ----------
    **actions : type or tuple of type
        ``error`` and ``ignore``: categories; ``ignore`` goes first.

    Yields
    ------
    None
    """
    with _LOCK, warnings.catch_warnings():
        for action in ("error", "ignore"):
            kinds = actions.get(action, ())
            for kind in kinds if isinstance(kinds, tuple) else (kinds,):
                warnings.simplefilter(action, kind)
        yield
