"""Dark Energy Survey: coadd cutouts of the NOIRLab image service (simple image access, version 1)."""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from astropy.io import fits
from pyvo.dal.sia import SIAResults

from tandemlens.base.errors import DataError
from tandemlens.survey.services.checks import FitsCheck, celestial
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.service import answer_facts, band_labels, each_band, question
from tandemlens.survey.services.votables import read_votable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_SERVICE = "https://datalab.noirlab.edu"
_COLUMNS = ("proctype", "prodtype", "obs_bandpass", "exptime", "access_url")
#: coadds with the sky left in carry this in their name; the others are the survey's standard
_WITH_SKY = "_nobkg"


class Des:
    """Service of DES DR2.

    The table of a place names every stack there: where tiles overlap there are several in a band. Read: columns,
    greatest exposure time, flipped images (hostphot); weight is an inverse variance (from memory; the pixels are held
    against it).

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    survey : dict
    bands : list of str
    size_arcsec : float
    targets : pandas.DataFrame
    """

    hosts = (_SERVICE.removeprefix("https://"),)

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._size = client, size_arcsec
        self._collection, self._scale = survey["service"]["collection"], survey["pixel_scale"]
        self._labels = band_labels(survey, bands)
        self._field = max(size_arcsec, survey["defaults"]["psf"]["field_arcsec"])

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        stacks = self._stacks(target)
        if not stacks:
            raise DataError("no_coverage", f"{self._collection} has no stack there")
        return each_band(self._labels, lambda band: self._band(target, band, stacks))

    def _stacks(self, target: dict[str, Any]) -> list[dict[str, str]]:
        """Rows of the table that are stacks, the greatest exposure time first."""
        # A size is always sent: without one the service may cut degrees.
        height = self._field / 3600
        width = min(height / max(np.cos(np.radians(target["dec"])), 1e-3), 360.0)
        answer = self._client.get(
            Request(
                f"{_SERVICE}/sia/{self._collection}",
                question("des", self._collection, "table", "", target, self._field),
                _rows,
                {"POS": f"{target['ra']:.7f},{target['dec']:.7f}", "SIZE": f"{width:.6f},{height:.6f}", "VERB": 2},
                suffix=".xml",
            )
        )
        stacks = [r for r in _rows(answer.path) if r["proctype"] == "Stack" and _WITH_SKY not in r["access_url"]]
        return sorted(stacks, key=_seconds, reverse=True)

    def _band(self, target: dict[str, Any], band: str, stacks: list[dict[str, str]]) -> dict[str, Any]:
        stacks = [s for s in stacks if s["obs_bandpass"] == self._labels[band]]
        images = [s for s in stacks if s["prodtype"] == "image"]
        if not images:
            raise DataError("no_coverage", f"{band}: {self._collection} has no stack there")
        tried = []
        for row in images:
            answer = self._cutout(target, band, row)
            tried.append((self._share(answer.path, target), row, answer))
            if tried[-1][0] == 1:
                break
        _, row, image = max(tried, key=lambda one: one[0])
        weights = [s for s in stacks if s["prodtype"] == "weight" and _stack_name(s) == _stack_name(row)]
        answers = [image, *(self._cutout(target, band, w) for w in weights[:1])]
        return {
            "image": {"file": str(image.path)},
            "variance": {"file": str(answers[1].path)} if weights else {},
            "facts": {**answer_facts(*answers)},
        }

    def _cutout(self, target: dict[str, Any], band: str, row: dict[str, str]) -> "Answer":
        product = f"{row['prodtype']} {_stack_name(row)}"
        weights: tuple[dict[str, Any], ...] = ({},) if row["prodtype"] == "weight" else ()
        return self._client.get(
            Request(
                # As it stands in the table: the service fails on names whose plus sign is written %2B.
                row["access_url"],
                question("des", self._collection, product, band, target, self._field),
                FitsCheck(({},), weights, (target["ra"], target["dec"]), cut=True),
            )
        )

    def _share(self, path: "Path", target: dict[str, Any]) -> float:
        """Share of the cutout that an image holds: the edge of a tile cuts it short."""
        with fits.open(path) as hdus:
            header = next(h.header for h in hdus if h.header.get("NAXIS", 0) >= 2)
        x, y = celestial(header).all_world2pix(target["ra"], target["dec"], 0)
        half = self._size / self._scale / 2
        sides = [
            min(place + half, header[f"NAXIS{axis}"] - 0.5) - max(place - half, -0.5)
            for axis, place in ((1, float(x)), (2, float(y)))
        ]
        # half a pixel is not worth another stack
        return float(np.prod([min(1.0, (side + 0.5) / (2 * half)) for side in sides]))


def _rows(path: "Path") -> list[dict[str, str]]:
    """Rows of an answer as dicts; refuses an answer that is no table, or that reports an error with HTTP 200."""
    table = read_votable(path, SIAResults).to_table()
    if len(table) and not set(_COLUMNS) <= set(table.colnames):
        raise BadAnswer(f"the table of images lacks one of the columns {', '.join(_COLUMNS)}")
    return [{name: str(row[name]) for name in _COLUMNS} for row in table]


def _seconds(row: dict[str, str]) -> float:
    """Exposure time; detection images, which mix bands, state none."""
    try:
        return float(np.nan_to_num(float(row["exptime"])))
    except ValueError:
        return 0.0


def _stack_name(row: dict[str, str]) -> str:
    return parse_qs(urlsplit(row["access_url"]).query).get("siaRef", [""])[0]
