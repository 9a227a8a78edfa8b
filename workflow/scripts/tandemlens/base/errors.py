"""Exceptions of the library; each message is one sentence: what, where, the value, what to do."""


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

    def __init__(self, status, message, **numbers):
        super().__init__(message)
        self.status = status
        self.numbers = numbers
