"""Words that must never be written: passwords and tokens, known from the moment they are read."""

import logging

_KNOWN: set[str] = set()
_HIDDEN = "***"
#: anything shorter would hide ordinary words
_SHORTEST = 4


def remember(word: str) -> None:
    """Hide a word from now on.

    Parameters
    ----------
    word : str
    """
    if len(word) >= _SHORTEST:
        _KNOWN.add(word)


def redact(text: str) -> str:
    """Text without the words that are remembered.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    for word in _KNOWN:
        text = text.replace(word, _HIDDEN)
    return text


class RedactingFormatter(logging.Formatter):
    """Log lines, tracebacks included, without the words that are remembered."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record.

        Parameters
        ----------
        record : logging.LogRecord

        Returns
        -------
        str
        """
        return redact(super().format(record))
