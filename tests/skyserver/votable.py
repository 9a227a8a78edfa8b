"""Tables as services of the Virtual Observatory write them."""

from xml.sax.saxutils import escape

from skyserver.server import Reply

#: not a service itself
HOSTS = {}
_HEAD = '<?xml version="1.0"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'


def votable(columns, rows, status="OK", more=""):
    """Reply with a table.

    Parameters
    ----------
    columns : dict
        Name -> char, double, int or long.
    rows : list of dict
    status : str
        QUERY_STATUS; "" leaves it out.
    more : str
        Further RESOURCE elements.
    """
    size = {"char": 'arraysize="*"'}
    fields = [f'<FIELD ID="{n}" name="{n}" datatype="{kind}" {size.get(kind, "")}/>' for n, kind in columns.items()]
    cells = ["".join(f"<TD>{escape(str(row.get(name, '')))}</TD>" for name in columns) for row in rows]
    info = f'<INFO name="QUERY_STATUS" value="{status}"/>' if status else ""
    table = (
        f"<TABLE>{''.join(fields)}<DATA><TABLEDATA>{''.join(f'<TR>{c}</TR>' for c in cells)}</TABLEDATA></DATA></TABLE>"
    )
    text = f'{_HEAD}<RESOURCE type="results">{info}{table}</RESOURCE>{more}</VOTABLE>'
    return Reply(text.encode(), headers={"Content-Type": "application/x-votable+xml"})
