"""NED's search around a position, in the words of the answers that astroquery recorded."""

from xml.sax.saxutils import escape

from skyserver.server import HTML, Reply
from skyserver.simbad import around

_HEAD = """<?xml version="1.0"?>
<VOTABLE version="1.1">
<DEFINITIONS>
<COOSYS ID="J2000" equinox="2000." epoch="2000." system="eq_FK5" />
</DEFINITIONS>
<RESOURCE type="results">
<INFO name="QUERY_STATUS" value="OK"/>
<PARAM name="queryDateTime" ucd="time.creation" datatype="char" arraysize="*" value="2013-07-18T04:13:16PDT"/>
"""
_FIELDS = """<TABLE ID="NED_MainTable" name="Main Information Table for NED objects">
<FIELD ID="main_col1" name="No." ucd="meta.number" datatype="int" width="4" type="hidden"></FIELD>
<FIELD ID="main_col2" name="Object Name" ucd="meta.id;meta.main" datatype="char" arraysize="30" width="30"></FIELD>
<FIELD ID="main_col3" name="RA(deg)" ucd="pos.eq.ra;meta.main" datatype="double" unit="degrees" width="10"></FIELD>
<FIELD ID="main_col4" name="DEC(deg)" ucd="pos.eq.dec;meta.main" datatype="double" unit="degrees" width="10"></FIELD>
<FIELD ID="main_col5" name="Type" ucd="src.class" datatype="char" arraysize="*" width="10"></FIELD>
<FIELD ID="main_col7" name="Redshift" ucd="src.redshift" datatype="double" width="10"></FIELD>
<DATA>
<TABLEDATA>
"""
#: name, ra, dec, type, redshift
OBJECTS = []


def objsearch(sky, asked):
    query = asked.query
    if asked.path != "/cgi-bin/objsearch" or query.get("search_type") != "Near Position Search":
        return Reply(HTML, 404)
    ra, dec = (float(query[key].removesuffix("d")) for key in ("lon", "lat"))
    # a longitude without its unit counts hours
    ra *= 1 if query["lon"].endswith("d") else 15
    found = around(OBJECTS, ra, dec, float(query["radius"]) * 60)
    if not found:
        body = '<PARAM name="Error" value=" No object found."/>\n'
    else:
        rows = "".join(
            f"<TR>\n<TD>{k}</TD>\n<TD>{escape(name)}</TD>\n<TD> {a:.5f} </TD>\n<TD> {d:.5f} </TD>\n<TD>{kind}</TD>\n"
            f"<TD>{'' if z is None else z}</TD>\n</TR>\n"
            for k, (name, a, d, kind, z) in enumerate(found, 1)
        )
        body = f"{_FIELDS}{rows}</TABLEDATA>\n</DATA>\n</TABLE>\n"
    return Reply(f"{_HEAD}{body}</RESOURCE>\n</VOTABLE>\n".encode(), headers={"Content-Type": "text/xml"})


HOSTS = {"ned.ipac.caltech.edu": objsearch}
