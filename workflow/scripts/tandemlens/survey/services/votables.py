"""Tables of Virtual Observatory services: read with PyVO from answers that our own client fetched."""

from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
from astropy.io.votable import parse
from astropy.io.votable.exceptions import VOTableSpecError
from pyvo.dal.exceptions import DALAccessError
from pyvo.dal.sia2 import SIA2Results

from tandemlens.base.warning_filters import warning_filters
from tandemlens.survey.services.client import BadAnswer


def read_votable(path: str | Path, kind: type = SIA2Results) -> Any:
    """Rows of an answer.

    Parameters
    ----------
    path : str or Path
    kind : type
        PyVO class of the answer: SIA2Results, DatalinkResults, TAPResults.

    Returns
    -------
    pyvo.dal.DALResults

    Raises
    ------
    BadAnswer
        If it is no table, reports an error, was cut short, or is empty without saying that all is well.
    """
    first = Path(path).read_bytes()[:512]
    if b"<VOTABLE" not in first.upper() and not first.lstrip().startswith(b"<?xml"):
        raise BadAnswer(f"the answer is no VOTable but begins with {' '.join(first.decode('latin-1').split())[:60]!r}")
    try:
        with warning_filters(ignore=Warning):
            rows = kind(parse(str(path)))
    except (ExpatError, VOTableSpecError, DALAccessError, ValueError, IndexError, OSError) as error:
        raise BadAnswer(f"the table of the answer cannot be read: {error}") from error
    status, said = rows.status
    if status.lower() == "overflow":
        raise BadAnswer(f"the service cut its list short after {len(rows)} rows")
    if not len(rows) and said == "QUERY_STATUS not specified":
        # some services answer an error with an empty table
        raise BadAnswer("the list is empty and does not say that the query went well")
    return rows


def off_middle(target: dict[str, Any], ra: float, dec: float) -> float:
    """How far a target is from the middle of an image: the larger of the offsets east and north.

    Parameters
    ----------
    target : dict
        Keys ra, dec, deg.
    ra, dec : float, deg
        The middle.

    Returns
    -------
    float, deg
    """
    east = ((target["ra"] - ra + 180) % 360 - 180) * np.cos(np.radians(dec))
    return max(abs(east), abs(target["dec"] - dec))
