"""Tables of the user manual and of the data model, made from schemas and columns, so that they agree with the code."""

import json
import re
from collections.abc import Sequence
from typing import Any

from tandemlens.base.columns.products import Product
from tandemlens.base.columns.registry import Column

_START, _END = "<!-- settings: made from config/schemas by `make manual` -->", "<!-- end of settings -->"
_MODEL_HEAD = """# Data model

<!-- made from workflow/scripts/tandemlens/base/columns by `make manual` -->

Every table that a run writes below its folder of results. Tables are Parquet; unit, UCD and description of every
column stand in the metadata of its field. A number that is not known is NaN, a text that is not known is missing or
empty. `{band}` and `{colour}` stand for each band and each pair of neighbours. `base.status` lists the statuses,
`base.flags` the mask bits.

The catalogue holds the same rows and values in every format. Parquet, HATS and CSV hold text byte for byte (UTF-8).
FITS holds printable ASCII alone: text is escaped as in Python source, so that in Python
`cell.encode().decode("unicode_escape")` is the text again. VOTable escapes in that way only control characters, which
XML cannot hold. `candidates.reg` (DS9) and HATS hold the rows that have coordinates."""


def settings_table(
    schema: dict[str, Any], prefix: str = "", told: Sequence[tuple[str, dict[str, Any]]] = ()
) -> list[tuple[str, str, str, str]]:
    """Rows of every setting below a schema: key, default, allowed values, meaning.

    Parameters
    ----------
    schema : dict
        JSON schema without references (`tandemlens.base.config.load_schema`).
    prefix : str
        Dotted key of the schema itself.
    told : sequence of (str, dict)
        Keys and schemas of sections told before; one that is the same again takes a single row.

    Returns
    -------
    list of (str, str, str, str)
    """
    rows: list[tuple[str, str, str, str]] = []
    told = list(told)
    for key, part in schema.get("properties", {}).items():
        name = f"{prefix}.{key}" if prefix else key
        if part.get("type") == "object" and "properties" in part:
            same = next((k for k, p in told if p == part), None)
            rows += [(name, "", "object", f"As `{same}`.")] if same else settings_table(part, name, told)
            told += [(f"{name}.{k}", p) for k, p in part["properties"].items()] + [(name, part)]
        else:
            rows.append((name, _default(part, schema, key), _allowed(part), part.get("description", "")))
    return rows


def fill_manual(text: str, schema: dict[str, Any]) -> str:
    """Replace the marked part of the manual by the table of every setting.

    Parameters
    ----------
    text : str
        Markdown with the two markers.
    schema : dict

    Returns
    -------
    str
    """
    head, rest = text.split(_START)
    tail = rest.split(_END)[1]
    lines = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for row in settings_table(schema):
        cells = [cell.replace("|", "\\|").replace("\n", " ").strip() for cell in row]
        lines.append("| " + " | ".join([f"`{cells[0]}`", *cells[1:]]) + " |")
    return "\n".join([head + _START, "", *lines, "", _END]) + tail


def _default(part: dict[str, Any], schema: dict[str, Any], key: str) -> str:
    if key in schema.get("required", []):
        return "(required)"
    return f"`{json.dumps(part['default'])}`" if "default" in part else ""


def _allowed(part: dict[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    kinds = part.get("type", "")
    text = " or ".join(kinds) if isinstance(kinds, list) else kinds
    low = part.get("minimum", part.get("exclusiveMinimum"))
    high = part.get("maximum", part.get("exclusiveMaximum"))
    left = "(" if "exclusiveMinimum" in part else "["
    right = ")" if "exclusiveMaximum" in part else "]"
    if low is None and high is None:
        return text
    return f"{text} in {left}{'-inf' if low is None else low}, {'inf' if high is None else high}{right}"


def data_model(products: Sequence[Product]) -> str:
    """Markdown page of every column of every table.

    Parameters
    ----------
    products : sequence of tandemlens.base.columns.products.Product

    Returns
    -------
    str
    """
    parts = [_MODEL_HEAD]
    for product in products:
        files = ", ".join(f"`{path}`" for path in _files(product.files))
        parts += ["", f"## {files}", "", f"One row per {product.row}.", ""]
        parts += ["| column | type | unit | range | UCD | meaning |", "|---|---|---|---|---|---|"]
        for c in product.columns:
            cells = [f"`{c.name}`", c.dtype, c.unit, _range(c), c.ucd, c.description]
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(parts) + "\n"


def _files(text: str) -> list[str]:
    """Paths of a list with commas; those within braces belong to a path."""
    return re.split(r", (?![^{]*})", text)


def _range(column: Column) -> str:
    if column.low is None and column.high is None:
        return ""
    low, high = (end if value is None else f"{value:g}" for value, end in ((column.low, "-inf"), (column.high, "inf")))
    return f"[{low}, {high}]"
