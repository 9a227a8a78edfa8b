"""Exceptions of the library; each message is one sentence: what, where, the value, what to do."""

import errno
from typing import Any


class TandemlensError(Exception):
    """Base of every error that a user is meant to read."""


class SettingsError(TandemlensError):
    """A configuration value is refused before any job starts."""


class InputError(TandemlensError):
    """An argument of a public function or a file has the wrong shape, unit or content."""


class DataError(TandemlensError):
    """Data of one target or band cannot be used; it becomes a row with a status.

    Parameters
    ----------
    status : str
        A member of `tandemlens.base.status.STATUS`.
    message : str
        One sentence for the `reason` column.
    **numbers
        The values that led to the refusal, kept as attributes for logs and tests.
    """

    def __init__(self, status: str, message: str, **numbers: Any) -> None:
        super().__init__(message)
        self.status = status
        self.numbers = numbers


#: what a full, read-only, broken or vanished disk or an exhausted machine says, whatever is being worked on
_OF_THE_MACHINE = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ESTALE", "ENOMEM", "EMFILE", "ENFILE", "ENODEV")
    if hasattr(errno, name)
)


def of_the_machine(error: BaseException) -> bool:
    """Whether an error tells of the machine and not of the target at hand.

    Such an error must end the job, which can be run again; as the status of a target it would stay for good.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE)
