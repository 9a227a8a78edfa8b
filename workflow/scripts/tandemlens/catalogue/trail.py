"""The trail of one row of the catalogue, back to what services answered."""

import difflib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandemlens.base.config import load_schema, load_yaml, validate_settings
from tandemlens.base.errors import InputError
from tandemlens.base.lineage import Lineage, Places, trace_back
from tandemlens.base.sidecar import code_version
from tandemlens.base.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

_SCHEMA = Path(__file__).parents[4] / "config/schemas/config.schema.yaml"
#: facts of the row in the first line of its trail
_SHOWN = ("rank", "status", "fused", "probability", "p_chance", "shard")
_MOST_NAMED = 5
#: digits of a place in the name of an answer, deg
_SAME_PLACE = 1e-6


def places_of(configfile: str | Path) -> Places:
    """Places of the run that a file of settings describes.

    Parameters
    ----------
    configfile : str or Path

    Returns
    -------
    tandemlens.base.lineage.Places

    Raises
    ------
    SettingsError
        If the settings are refused.
    """
    settings = validate_settings(load_yaml(configfile), load_schema(_SCHEMA))
    return Places(settings["results"], settings["fetch"]["cache"], settings["refit"])


def find_row(places: Places, target: str) -> dict[str, Any]:
    """The row of a target in the catalogue.

    Parameters
    ----------
    places : tandemlens.base.lineage.Places
    target : str
        Its ``target_id``, its name, or its rank.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If there is no catalogue, no such row, or more than one.
    """
    if not Path(places.catalogue).is_file():
        raise InputError(f"there is no catalogue {places.catalogue}; finish the run, or give its CONFIG")
    frame = read_table(places.catalogue)
    for rows in (frame[frame["target_id"] == target], frame[frame["name"] == target], _ranked(frame, target)):
        if len(rows) > 1:
            named = ", ".join(rows["target_id"].head(_MOST_NAMED))
            raise InputError(f"{len(rows)} rows of {places.catalogue} are named {target!r}; give a target_id: {named}")
        if len(rows):
            return rows.iloc[0].to_dict()
    near = difflib.get_close_matches(target, [*frame["target_id"], *frame["name"]], _MOST_NAMED, 0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else "; give a target_id, a name or a rank"
    raise InputError(f"{target!r} is no target of {places.catalogue}{hint}")


def row_lineage(row: dict[str, Any], places: Places) -> tuple[Lineage, Lineage]:
    """What a row was made from: by itself, and what it is ranked with or its models learnt from.

    Parameters
    ----------
    row : dict
        Of the catalogue.
    places : tandemlens.base.lineage.Places

    Returns
    -------
    own, rest : tandemlens.base.lineage.Lineage
        First the files of the row's own shard and of the whole run, without answers about other targets; then the
        files of other shards that the catalogue and the models were made from.
    """
    road = f"{places.results}/{row['survey']}"
    shard = re.compile(rf"{re.escape(road)}/(\w+)/(hp\d+_\d+)/")
    mine = {("search", row["shard"]), ("search_canvas", row["shard"])}

    read = _files_read(f"{road}/search/{row['shard']}", f"{road}/search_canvas/{row['shard']}", row["target_id"])

    def follow(facts: dict[str, Any], path: str) -> bool:
        found = shard.match(path)
        if found:
            return found.groups() in mine
        if places.is_made(path):
            return True
        if facts["rule"] == "fetch":
            return path in read
        return facts["rule"] not in ("dust", "ned", "simbad") or _is_about(path, row)

    own = trace_back([places.catalogue], places, follow=follow)
    whole = trace_back([places.catalogue], places)
    rest = Lineage(*({k: v for k, v in part.items() if k not in own.facts} for part in vars(whole).values()))
    return own, rest


def tell_trail(row: dict[str, Any], own: Lineage, rest: Lineage | None) -> Iterator[str]:
    """A trail as text.

    Parameters
    ----------
    row : dict
    own : tandemlens.base.lineage.Lineage
    rest : tandemlens.base.lineage.Lineage or None
        Named without more; None leaves it out.

    Returns
    -------
    iterable of str
        Lines.
    """
    facts = ", ".join(f"{key} {_short(row[key])}" for key in _SHOWN if key in row)
    yield f"{row['target_id']} ({row['name']}): {facts}"
    software: dict[str, Any] = {}
    code: dict[str, Any] = {}
    for path, made in own.facts.items():
        yield ""
        yield path
        yield f"  sha256    {own.digests.get(path, 'unknown')}"
        if path in own.problems:
            yield f"  PROBLEM   {own.problems[path]}"
        elif made is None:
            yield from _given(path)
        else:
            yield from _made(made, own, software)
            for module, digest in (made["code"] or {}).items():
                code.setdefault(module, {}).setdefault(digest, []).append(made["rule"])
    yield from _glossary(software, code)
    if rest is not None and rest.facts:
        yield ""
        yield f"Other shards, which the models learnt from or the row is ranked with: {len(rest.facts)} files"
        for path in rest.facts:
            yield f"  {rest.digests.get(path, 'unknown'):64}  {path}"
        yield from (f"  PROBLEM   {problem}" for problem in rest.problems.values())


def _ranked(frame: "pd.DataFrame", target: str) -> "pd.DataFrame":
    return frame[frame["rank"] == int(target)] if target.isdigit() else frame[:0]


def _files_read(shard: str, canvases: str, target_id: str) -> set[str]:
    """Files that were read for a target, or for the canvas that it is painted on."""
    ids = {target_id}
    targets = Path(shard) / "targets.parquet"
    if targets.is_file():
        frame = read_table(targets)
        ids |= set(frame.loc[frame["target_id"] == target_id, "canvas"]) if "canvas" in frame else set()
    out: set[str] = set()
    for folder in (shard, canvases):
        table = Path(folder) / "fetch.parquet"
        if table.is_file():
            rows = read_table(table, ["target_id", "files"])
            out.update(*map(json.loads, rows.loc[rows["target_id"].isin(ids), "files"]))
    return out


def _answer(path: str) -> dict[str, Any] | None:
    """What the cache knows of an answer; None for a file that is none."""
    facts = Path(f"{path}.json")
    return json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else None


def _is_about(path: str, row: dict[str, Any]) -> bool:
    """Whether an answer is about the place of a row; one that is not known to be about another may be."""
    try:
        key = (_answer(path) or {})["key"]
        return abs(key["ra"] - row["ra"]) < _SAME_PLACE and abs(key["dec"] - row["dec"]) < _SAME_PLACE
    except (ValueError, KeyError, TypeError):
        return True


def _given(path: str) -> Iterator[str]:
    try:
        answer = _answer(path)
        if answer is None:
            yield "  given     a file that the run found"
            return
        yield f"  answer    of {answer['url']}, fetched {answer['fetched']}, asked {json.dumps(answer['key'])}"
    except (ValueError, KeyError, TypeError) as error:
        yield f"  PROBLEM   {path}.json cannot be read ({type(error).__name__}: {error})"


def _made(made: dict[str, Any], own: Lineage, software: dict[str, Any]) -> Iterator[str]:
    versions = json.dumps({"python": made["python"], **made["versions"]}, sort_keys=True)
    letter = software.setdefault(versions, f"#{len(software) + 1}")
    commit = made["commit"]
    known = f"commit {commit['id']}{' with changes' if commit['dirty'] else ''}" if commit["id"] else "no commit known"
    yield f"  made by   {made['rule']}, {made['started']}, {made['seconds']} s, {made['device']}, {made['host_class']}"
    yield f"  code      {code_version(made['code'])} of {len(made['code'] or ())} files; {known}; software {letter}"
    yield f"  settings  {json.dumps(made['settings'], sort_keys=True)}"
    yield from (f"  from      {path}" for path in made["inputs"] if path in own.facts)
    others = sum(path not in own.facts for path in made["inputs"])
    if others:
        yield f"  from      {others} files of other targets and shards"


def _glossary(software: dict[str, str], code: dict[str, Any]) -> Iterator[str]:
    yield ""
    for versions, letter in software.items():
        yield f"Software {letter}: " + ", ".join(f"{name} {v}" for name, v in json.loads(versions).items())
    yield "Code:"
    for module, digests in sorted(code.items()):
        for digest, rules in digests.items():
            only = "" if len(digests) == 1 else f"  in {', '.join(sorted(set(rules)))}"
            yield f"  {digest}  {module}{only}"


def _short(value: int | str) -> str:
    return str(value) if not isinstance(value, float) else "none" if math.isnan(value) else f"{value:.4g}"
