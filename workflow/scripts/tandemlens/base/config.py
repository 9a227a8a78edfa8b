"""Settings: read, filled with defaults and refused with one sentence before any job starts."""

import difflib
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from tandemlens.base.errors import SettingsError

#: the loader in C where there is one: every start of Snakemake, and of each job on a cluster, reads all schemas
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict

    Raises
    ------
    SettingsError
        If the file is missing, broken or not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}; check the path") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise SettingsError(f"settings file {path}{line} is not valid YAML: {error.problem}; mend it") from error
    if not isinstance(content, dict):
        raise SettingsError(f"settings file {path} holds a {type(content).__name__}, not a mapping of keys to values")
    return content


def load_schema(path: str | Path) -> dict[str, Any]:
    """Read a JSON schema written in YAML, with references to neighbouring files put in their place.

    Parameters
    ----------
    path : str or Path
        For example ``config/schemas/config.schema.yaml``; a ``$ref`` names a file beside it, and ``$each: folder/*``
        among properties gives one to every file there, by the name before its first point.

    Returns
    -------
    dict
        One schema without references.
    """
    return _inline(load_yaml(path), Path(path).parent)


def load_survey(name: str, folder: str | Path, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read the survey file `name`.yaml.

    Parameters
    ----------
    name : str
    folder : str or Path
        Usually ``config/surveys``.
    schema : dict, optional
        Checked against it, defaults filled.

    Returns
    -------
    dict

    Raises
    ------
    SettingsError
        If there is no such survey, naming the nearest one.
    """
    names = sorted(p.stem for p in Path(folder).glob("*.yaml"))
    if name not in names:
        raise SettingsError(f"survey {name!r} is unknown{_nearest(name, names)}; known are {', '.join(names)}")
    path = Path(folder) / f"{name}.yaml"
    survey = load_yaml(path)
    return survey if schema is None else validate_settings(survey, schema, path.name)


def band_section(survey: dict[str, Any], band: str, section: str) -> dict[str, Any]:
    """What a survey says of a section of one band: its own words over those of all bands.

    Parameters
    ----------
    survey : dict
        As checked by ``survey.schema.yaml``.
    band : str
    section : str
        image, variance, mask or psf.

    Returns
    -------
    dict
    """
    return {**survey.get("defaults", {}).get(section, {}), **survey["bands"][band].get(section, {})}


def validate_settings(settings: dict[str, Any], schema: dict[str, Any], where: str = "config") -> dict[str, Any]:
    """Fill defaults and check against a JSON schema.

    Parameters
    ----------
    settings : dict
    schema : dict
        JSON schema 2020-12; every object forbids additional properties unless it maps free names.
    where : str
        Name of the file or section for messages.

    Returns
    -------
    dict
        A filled copy.

    Raises
    ------
    SettingsError
        One line per finding: the key, its value, the nearest valid key or the allowed values.
    """
    filled = _fill(deepcopy(dict(settings)), schema)
    errors = sorted(Draft202012Validator(schema).iter_errors(filled), key=lambda e: list(map(str, e.absolute_path)))
    if errors:
        raise SettingsError("\n".join(_sentence(error, where) for error in errors))
    return filled


def _inline(schema: Any, folder: Path) -> Any:
    if isinstance(schema, list):
        return [_inline(part, folder) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(load_yaml(folder / schema["$ref"]), folder)
    inlined: dict[str, Any] = {}
    for key, part in schema.items():
        if key == "$each":
            inlined |= {path.name.split(".")[0]: load_schema(path) for path in sorted(folder.glob(part))}
        else:
            inlined[key] = _inline(part, folder)
    return inlined


def _fill(value: Any, schema: dict[str, Any]) -> Any:
    # jsonschema only checks; defaults are filled here, nested ones too, without asking for `default: {}`.
    if not isinstance(value, dict):
        return value
    for key, part in schema.get("properties", {}).items():
        if key not in value and "default" in part:
            value[key] = deepcopy(part["default"])
        elif key not in value and part.get("type") == "object" and "properties" in part and "required" not in part:
            value[key] = {}
        if key in value:
            value[key] = _fill(value[key], part)
    free = schema.get("additionalProperties")
    if isinstance(free, dict):
        for key in value.keys() - schema.get("properties", {}).keys():
            value[key] = _fill(value[key], free)
    return value


def _sentence(error: ValidationError, where: str) -> str:
    path = ".".join([where, *map(str, error.absolute_path)])
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return " ".join(
            f"{path}: unknown key {key!r}{_nearest(key, known)}; valid keys are {', '.join(sorted(known))}."
            for key in unknown
        )
    if error.validator == "enum":
        allowed = list(map(str, error.validator_value))
        near = _nearest(error.instance, allowed)
        return f"{path}: {error.instance!r} is not allowed{near}; use one of {', '.join(allowed)}."
    if error.validator == "required":
        return f"{path}: {error.message}; add it."
    return f"{path}: {error.message}; see config/README.md."


def _nearest(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}" if close else ""
