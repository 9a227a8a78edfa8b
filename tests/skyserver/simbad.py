"""SIMBAD's TAP service as far as a search for objects of some types around a place asks it."""

import re

from astropy.coordinates import SkyCoord

from skyserver.server import HTML, Reply
from skyserver.votable import votable

_COLUMNS = {"main_id": "char", "otype": "char", "ra": "double", "dec": "double", "rvz_redshift": "double"}
#: name, ra, dec, type, redshift
OBJECTS = []


def around(objects, ra, dec, radius_arcsec):
    """Objects within a radius of a place."""
    place = SkyCoord(ra, dec, unit="deg")
    near = lambda row: place.separation(SkyCoord(row[1], row[2], unit="deg")).arcsec <= radius_arcsec  # noqa: E731
    return [row for row in objects if near(row)]


def sync(sky, asked):
    query = asked.query.get("QUERY", "")
    circle = re.search(r"CIRCLE\('ICRS', ([-\d.]+), ([-\d.]+), ([-\d.]+)\)", query)
    if asked.path != "/simbad/sim-tap/sync" or not circle:
        return Reply(HTML, 404)
    types = re.findall(r"'([^']+)'", re.search(r"otype IN \(([^)]*)\)", query).group(1))
    ra, dec, radius = map(float, circle.groups())
    found = [row for row in around(OBJECTS, ra, dec, radius * 3600) if row[3] in types]
    rows = [
        {"main_id": name, "otype": kind, "ra": a, "dec": d, "rvz_redshift": "" if z is None else z}
        for name, a, d, kind, z in found
    ]
    most = int(asked.query["MAXREC"])
    return votable(_COLUMNS, rows[:most], "OK" if len(rows) <= most else "OVERFLOW")


HOSTS = {"simbad.cds.unistra.fr": sync}
