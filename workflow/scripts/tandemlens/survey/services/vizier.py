"""Cluster catalogues of VizieR: asked for once, whole, and kept (facts: astroquery.vizier, recorded answers)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astropy.io.votable import parse
from astropy.utils.exceptions import AstropyWarning

from tandemlens.base.config import load_yaml
from tandemlens.base.errors import DataError, SettingsError
from tandemlens.base.warning_filters import warning_filters
from tandemlens.survey.remote import SCHEME
from tandemlens.survey.services.client import BadAnswer, Client, Request

HOST = "vizier.cds.unistra.fr"
#: our name -> id, columns, rows of a table
_KNOWN = Path(__file__).resolve().parents[5] / "resources" / "catalogues.yaml"
#: a table has four parts where its paper has a journal (J/...), else three; a catalogue has one part less
_TABLE_ID = re.compile(r"(J/[^/]+/[^/]+/[^/]+|[A-Z]+/[^/]+)/[^/]+")
#: VizieR computes these, in deg, for every table that has places
_PLACES = {"ra": "_RAJ2000", "dec": "_DEJ2000"}
#: rows of an answer where none are asked for
_DEFAULT_ROWS = 50
_SHOWN = 80


def table_file(section: dict[str, Any], fetch: dict[str, Any], known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Settings that name a table of VizieR, with a file of it in its place.

    Parameters
    ----------
    section : dict
        Keys catalogue (``vizier:`` and a name of ``resources/catalogues.yaml`` or the id of a table), columns (they go
        over those of the name), format.
    fetch : dict
        Section ``fetch`` of the settings.
    known : dict, optional
        In the place of ``resources/catalogues.yaml``.

    Returns
    -------
    dict

    Raises
    ------
    SettingsError
        If the table is unknown, or VizieR does not give it.
    """
    entry = _entry(section["catalogue"].removeprefix(SCHEME), load_yaml(_KNOWN) if known is None else known)
    columns = {**_PLACES, **entry.get("columns", {}), **section["columns"]}
    try:
        answer = Client(fetch, {HOST: 1}).get(_request(entry, columns))
    except DataError as error:
        raise SettingsError(
            f"{section['catalogue']} ({entry['id']}) cannot be had from VizieR: {error}; run once on a machine with "
            "network and the same fetch.cache, or give the path of a file as catalogue"
        ) from error
    return {**section, "catalogue": str(answer.path), "columns": columns, "format": "votable"}


def _entry(name: str, known: dict[str, Any]) -> dict[str, Any]:
    if "/" not in name and name not in known:
        raise SettingsError(f"catalogue {SCHEME}{name} is unknown; known are {', '.join(known)}, or give a table's id")
    entry = {"id": name} if "/" in name else known[name]
    if not _TABLE_ID.fullmatch(entry["id"]):
        raise SettingsError(
            f"catalogue {SCHEME}{name}: {entry['id']} names no table; add it, as in J/ApJS/224/1/cat_dr8 (one of the "
            f"tables that https://{HOST}/viz-bin/VizieR?-source={entry['id']} lists)"
        )
    return entry


def _request(entry: dict[str, Any], columns: dict[str, str]) -> Request:
    computed = sorted(name for name in columns.values() if name.startswith("_"))
    own = sorted(set(columns.values()) - set(computed))
    question = {"service": "vizier", "collection": entry["id"], "product": "table", "columns": own + computed}
    params = {"-source": entry["id"], "-out.max": "unlimited", "-out": ",".join(own), "-oc.form": "d"}
    params |= {"-out.add": ",".join(computed)} if computed else {}
    check = _TableCheck(entry["id"], own + computed, entry.get("rows"))
    return Request(f"https://{HOST}/viz-bin/votable", question, check, params, suffix=".vot")


class _TableCheck:
    """An answer with the one table that was asked for, whole, with every column."""

    def __init__(self, table: str, columns: list[str], rows: int | None) -> None:
        self._table, self._columns, self._rows = table, columns, rows

    def __call__(self, path: Path) -> None:
        tree = _tree(path)
        infos = list(_infos(tree))
        _refuse_status(infos)
        tables = [t for t in tree.iter_tables() if t.fields]
        names = sorted({str(t.name or t.ID) for t in tables})
        if len(tables) > 1:
            raise DataError(
                "fetch_failed", f"the answer holds {len(tables)} tables ({', '.join(names)}), one is needed"
            )
        if not tables or not len(tables[0].array):
            raise BadAnswer(
                f"the answer holds no row; https://{HOST}/viz-bin/VizieR?-source={self._table} shows the table"
            )
        if names != [self._table]:
            raise BadAnswer(f"the answer holds the table {names[0]}, {self._table} was asked for")
        self._refuse_count(len(tables[0].array), infos)
        self._refuse_columns([field.name for field in tables[0].fields])

    def _refuse_count(self, n: int, infos: list[Any]) -> None:
        limits = [int(i.value) for i in infos if i.name == "-out.max" and str(i.value).strip().isdigit()]
        if limits and n >= min(limits):
            raise BadAnswer(f"the answer ends at {n} rows, where VizieR cut it (-out.max={min(limits)})")
        if self._rows and n < self._rows:
            raise BadAnswer(f"the answer holds {n} rows, {self._table} has {self._rows}")
        if not self._rows and n == _DEFAULT_ROWS:
            raise BadAnswer(
                f"the answer holds {n} rows, as many as VizieR gives where it overlooks that all are wanted"
            )

    def _refuse_columns(self, found: list[str]) -> None:
        missing = [name for name in self._columns if name not in found]
        if missing:
            raise DataError(
                "fetch_failed",
                f"{self._table} has no column {', '.join(missing)} (of those asked for it gave {', '.join(found)}); "
                f"look them up at https://{HOST}/viz-bin/VizieR?-source={self._table} and set columns",
            )


def _tree(path: Path) -> Any:
    with open(path, "rb") as handle:
        first = handle.read(512).lstrip()
    if not first.startswith((b"<?xml", b"<VOTABLE")):
        text = " ".join(first.decode("latin-1").split())[:_SHOWN]
        raise BadAnswer(f"the answer is no VOTable but begins with {text!r}")
    try:
        # VizieR writes COOSYS and UCDs of old standards, which change no number
        with warning_filters(ignore=AstropyWarning):
            return parse(path, verify="ignore", invalid="mask")
    except Exception as error:
        raise BadAnswer(f"the VOTable is broken: {' '.join(str(error).split())[:_SHOWN]}") from error


def _infos(part: Any) -> Iterator[Any]:
    yield from part.infos
    for table in getattr(part, "tables", ()):
        yield from table.infos
    for resource in getattr(part, "resources", ()):
        yield from _infos(resource)


def _refuse_status(infos: list[Any]) -> None:
    for info in infos:
        name, value = str(info.name or info.ID).upper(), str(info.value).strip()
        words = " ".join(str(info.content or value).split())[:_SHOWN]
        if "ERROR" in name or (name == "QUERY_STATUS" and value.upper() == "ERROR"):
            raise BadAnswer(f"VizieR says {words!r}")
        if name == "QUERY_STATUS" and value.upper() == "OVERFLOW":
            raise BadAnswer("VizieR cut the answer (OVERFLOW)")
