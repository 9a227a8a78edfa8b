"""VizieR as `../shared/services.md` C10 describes it: unknown columns are left out silently, 50 rows unless told."""

from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import numpy as np

from skyserver.server import HTML, Reply

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<DESCRIPTION>VizieR Astronomical Server</DESCRIPTION>
"""


@dataclass
class Served:
    """A table: columns name -> list of text or numbers, and what goes wrong when it is asked for."""

    columns: dict
    trap: str = ""


def clusters(n, **more):
    """Columns of `n` clusters; every other one has another 36 arcsec to its east, 0.3 behind."""
    k = np.arange(n)
    ra, dec = 10 + 0.5 * (k // 2) % 300 + 0.01 * (k % 2), -20 + 0.1 * (k // 1200)
    return {
        "Name": [f"C {i}" for i in k],
        "RAJ2000": ra.round(6).tolist(),
        "DEJ2000": dec.round(6).tolist(),
        "zlambda": (0.2 + 0.3 * (k % 4 == 1)).round(3).tolist(),
        "lambda": (20.0 + k % 50).tolist(),
        **more,
    }


#: id -> table; tests add theirs
TABLES = {"J/ApJS/224/1/cat_dr8": Served(clusters(26311))}


def votable(sky, asked):
    query = asked.query
    name = query.get("-source", "")
    found = {key: table for key, table in TABLES.items() if key == name or key.startswith(f"{name}/")}
    if any(table.trap == "words" for table in found.values()):
        return Reply(HTML)
    most = query.get("-out.max", "50")
    limit = None if most == "unlimited" else int(most)
    wanted = [c for key in ("-out", "-out.add") for c in query.get(key, "").split(",") if c]
    body = _HEAD + "".join(_resource(key, table, wanted, limit) for key, table in found.items()) + "</VOTABLE>\n"
    if any(table.trap == "truncated" for table in found.values()):
        body = body[: len(body) // 2]
    return Reply(body.encode(), headers={"Content-Type": "text/xml"})


def _resource(name, table, wanted, limit):
    if table.trap == "error":
        return '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">no database</INFO></RESOURCE>\n'
    columns = dict(table.columns)
    if {"RAJ2000", "DEJ2000"} <= columns.keys():
        columns |= {"_RAJ2000": columns["RAJ2000"], "_DEJ2000": columns["DEJ2000"]}
    names = [c for c in wanted if c in columns] or [c for c in columns if c[0] != "_"]
    limit = 50 if table.trap == "50 rows" else limit
    rows = list(zip(*(columns[c] for c in names), strict=True))[:limit]
    told = f'<INFO ID="MaxTuples" name="-out.max" value="{limit}"/>\n' if limit and table.trap != "50 rows" else ""
    name = "J/AJ/1/1/other" if table.trap == "another" else name
    fields = "".join(_field(c, columns[c]) for c in names)
    cells = "\n".join("<TR>" + "".join(f"<TD>{'' if v is None else v}</TD>" for v in row) + "</TR>" for row in rows)
    after = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n' if table.trap == "overflow" else ""
    data = f"<DATA><TABLEDATA>\n{cells}\n</TABLEDATA></DATA>"
    return (
        f"{told}<RESOURCE name={quoteattr(name.rsplit('/', 1)[0])}>\n<TABLE name={quoteattr(name)}>\n"
        f"{fields}{data}</TABLE>\n{after}</RESOURCE>\n"
    )


def _field(name, values):
    text = any(isinstance(v, str) for v in values)
    kind = 'datatype="char" arraysize="*"' if text else 'datatype="double"'
    # as VizieR: an ID where the name has a character that an ID cannot have
    return f"<FIELD ID={quoteattr(''.join(c if c.isalnum() else '_' for c in name))} name={quoteattr(name)} {kind}/>\n"


HOSTS = {"vizier.cds.unistra.fr": votable}
