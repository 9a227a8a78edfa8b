"""Tables of the user manual made from the JSON schemas, so that the manual cannot disagree with the code."""

import json

_START, _END = "<!-- settings: made from config/schemas by `make manual` -->", "<!-- end of settings -->"


def settings_table(schema, prefix="", told=()):
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
    rows, told = [], list(told)
    for key, part in schema.get("properties", {}).items():
        name = f"{prefix}.{key}" if prefix else key
        if part.get("type") == "object" and "properties" in part:
            same = next((k for k, p in told if p == part), None)
            rows += [(name, "", "object", f"As `{same}`.")] if same else settings_table(part, name, told)
            told += [(f"{name}.{k}", p) for k, p in part["properties"].items()] + [(name, part)]
        else:
            rows.append((name, _default(part, schema, key), _allowed(part), part.get("description", "")))
    return rows


def fill_manual(text, schema):
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


def _default(part, schema, key):
    if key in schema.get("required", []):
        return "(required)"
    return f"`{json.dumps(part['default'])}`" if "default" in part else ""


def _allowed(part):
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
