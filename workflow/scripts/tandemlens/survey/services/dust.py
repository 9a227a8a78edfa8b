"""Galactic E(B-V) from IRSA's dust service (facts and format: astroquery.ipac.irsa.irsa_dust and its recorded answers).

The service tells two values: that of Schlegel, Finkbeiner & Davis (1998) and 0.86 of it, after Schlafly & Finkbeiner
(2011). The coefficients A/E(B-V) of either paper go with the first, whatever the header of its table says.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from astropy.coordinates import SkyCoord

from tandemlens.base.columns.dust import COLUMNS
from tandemlens.base.errors import DataError
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.service import ask_targets, question

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.survey.services.client import Client

HOST = "irsa.ipac.caltech.edu"
_URL = f"https://{HOST}/cgi-bin/DUST/nph-dust"
#: smallest region that the service takes, deg; its own default of 5 costs it more
_REGION = 2.0
_REDDENING = "E(B-V) Reddening"
#: the answer may be for a place this far off, arcsec
_OFF = 5.0


def dust_shard(
    targets: "pd.DataFrame", settings: dict[str, Any], table_path: str, progress: Callable[[int, int], None]
) -> dict[str, str]:
    """Ask E(B-V) of the targets whose catalogue has none.

    Parameters
    ----------
    targets : pandas.DataFrame
        Columns target_id, ra, dec, ebv.
    settings : dict
        Section ``fetch`` of the settings.
    table_path : str
        Product: dust.parquet, one row a target.
    progress : callable

    Returns
    -------
    dict of str
        File of an answer -> SHA-256.
    """
    return ask_targets(_row, targets, COLUMNS, settings, table_path, progress)


def ask_ebv(client: "Client", target: dict[str, Any]) -> float:
    """E(B-V) of a place.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    target : dict
        Keys ra, dec, deg.

    Returns
    -------
    float, mag
        Of Schlegel, Finkbeiner & Davis (1998).

    Raises
    ------
    DataError
        If no good answer comes.
    """
    ra, dec = target["ra"], target["dec"]
    answer = client.get(
        Request(
            _URL,
            question("irsa_dust", "sfd", "ebv", "", target, _REGION),
            lambda path: _read(path, ra, dec),
            {"locstr": f"{ra:.6f} {dec:.6f} equ J2000", "regSize": _REGION},
            suffix=".xml",
        )
    )
    return _read(answer.path, ra, dec)


def _row(client: "Client", target: dict[str, Any]) -> dict[str, Any]:
    row = {"ebv": np.nan, "ebv_source": "none", "status": "ok", "reason": ""}
    if np.isfinite(target["ebv"]):
        return row
    try:
        return row | {"ebv": ask_ebv(client, target), "ebv_source": "service"}
    except DataError as error:
        return row | {"status": error.status, "reason": str(error)}


def _read(path: Path, ra: float, dec: float) -> float:
    try:
        root = ElementTree.fromstring(Path(path).read_bytes())
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise BadAnswer(f"the answer is no XML: {error}") from error
    if root.get("status") != "ok":
        message = " ".join((root.findtext("message") or "").split())
        raise BadAnswer(f"the dust service says {root.get('status')!r}: {message}")
    statistics = next(
        (r for r in root.findall("result") if (r.findtext("desc") or "").strip() == _REDDENING), ElementTree.Element("")
    )
    try:
        value = float(statistics.findtext("statistics/refPixelValueSFD", "").split()[0])
        there = [float(v) for v in statistics.findtext("statistics/refCoordinate", "").split()[:2]]
    except (ValueError, IndexError) as error:
        raise BadAnswer(f"the answer holds no reddening ({type(error).__name__}: {error})") from error
    if not (np.isfinite(value) and value >= 0):
        raise BadAnswer(f"the answer holds E(B-V) = {value}")
    off = SkyCoord(*there, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).arcsec
    if off > _OFF:
        raise BadAnswer(f"the answer is for a place {off:.0f} arcsec from the target")
    return value
