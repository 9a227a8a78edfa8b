"""Words that must never be written: passwords and tokens, known from the moment they are read."""

import logging

_KNOWN = set()
_HIDDEN = "***"
#: anything shorter would hide ordinary words
_SHORTEST = 4


def remember(word):
    """Hide a word from now on.

    Parameters
    ----------
    word : str
    """
    if len(word) >= _SHORTEST:
        _KNOWN.add(word)


def redact(text):
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

    def format(self, record):
        """Format a record.

        Parameters
        ----------
        record : logging.LogRecord

        Returns
        -------
        str
        """
        return redact(super().format(record))
