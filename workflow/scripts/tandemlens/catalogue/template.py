"""Templates of the pages: every value is escaped, numbers have a fixed number of digits."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, StrictUndefined

if TYPE_CHECKING:
    from jinja2 import Template


def page_template(path: str) -> "Template":
    """A template of a page.

    Parameters
    ----------
    path : str

    Returns
    -------
    jinja2.Template
    """
    # autoescape: names come from users' catalogues and may hold HTML.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    return environment.from_string(Path(path).read_text(encoding="utf-8"))


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
