"""Rubin data previews: search (SIA 2), DataLink and SODA cutouts with mask and variance; a token is needed.

Facts: Rubin's tutorials and announcements, IVOA standards. Unverified: the names of the
layers in a cutout (as the Science Pipelines write a MaskedImage). The PSF is in none that can be read without them.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from astropy import units as u
from pyvo.dal.adhoc import DatalinkResults, SodaQuery
from pyvo.dal.exceptions import DALServiceError

from tandemlens.base.errors import DataError
from tandemlens.survey.services.checks import FitsCheck
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.logins import token_login
from tandemlens.survey.services.service import answer_facts, field_side, question
from tandemlens.survey.services.votables import off_middle, read_votable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_HOST = "https://data.lsst.cloud"
_SERVICE = "cutout-sync-maskedimage"
#: links hold for some 15 minutes; one that was kept is at most this old, s
_FRESH = 300
#: what Rubin asks for after a refusal for too many requests, s
_PAUSE = 60.0
#: a target is looked for within this radius, deg
_NEAR = 1 / 3600
_ROWS = 2000
_LAYERS = {name.lower(): {"EXTNAME": name} for name in ("IMAGE", "MASK", "VARIANCE")}
_FINAL = {
    403: ("fetch_failed", "the token may not read this image; it needs the scope read:image"),
    404: ("no_coverage", "there is no such image"),
}


class Rubin:
    """Service of the Rubin data previews.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    survey : dict
    bands : list of str
    size_arcsec : float
    targets : pandas.DataFrame
        Not needed: every target is asked for by itself.

    Raises
    ------
    SettingsError
        If there is no token.
    """

    hosts = (_HOST.removeprefix("https://"),)

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._scale = client, survey["pixel_scale"]
        self._collection = survey["service"]["collection"]
        self._wavelengths = {band: survey["bands"][band]["wavelength"] * 1e-10 for band in bands}
        self._sides = {band: field_side(survey, band, size_arcsec) for band in bands}
        self._token = token_login("RUBIN_TOKEN", _HOST)

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        out: dict[str, Any] = {}
        rows = None
        for band in self._wavelengths:
            key = question("rubin", self._collection, "maskedimage", band, target, self._sides[band])
            try:
                answer = self._client.kept(key)
                if answer is None:
                    rows = self._search(target) if rows is None else rows
                    answer = self._cutout(target, band, key, self._link(target, band, rows))
            except DataError as error:
                out[band] = error
                continue
            file = str(answer.path)
            out[band] = {layer: {"file": file, "select": select} for layer, select in _LAYERS.items()}
            out[band]["facts"] = answer_facts(answer)
        return out

    def _search(self, target: dict[str, Any]) -> list[Any]:
        """Deep coadds that hold the target; patches overlap, so that there are several of a band."""
        place = {"POS": f"CIRCLE {target['ra']:.7f} {target['dec']:.7f} {_NEAR:.7f}"}
        answer = self._ask(
            f"{_HOST}/api/sia/{self._collection}/query",
            question("rubin", self._collection, "list", "", target, 0),
            read_votable,
            {**place, "CALIB": 3, "DPSUBTYPE": "lsst.deep_coadd", "MAXREC": _ROWS},
            suffix=".xml",
        )
        return list(read_votable(answer.path))

    def _link(self, target: dict[str, Any], band: str, rows: list[Any]) -> str:
        """Address of the links of the patch in whose middle the target is most."""
        wave = self._wavelengths[band]
        mine = [row for row in rows if row["em_min"] <= wave <= row["em_max"]]
        if not mine:
            raise DataError("no_coverage", f"{self._collection} has no {band} coadd there")
        return min(mine, key=lambda row: off_middle(target, row["s_ra"], row["s_dec"]))["access_url"]

    def _cutout(self, target: dict[str, Any], band: str, key: dict[str, Any], link: str) -> "Answer":
        # a link that is no longer fresh is another answer
        named = {"service": "rubin", "product": "links", "link": link, "time": int(time.time() // _FRESH)}
        links = self._ask(link, named, _check_links, suffix=".xml")
        query = _soda(links.path)
        # a circle is answered by the square around it, whatever the declination
        radius = (self._sides[band] / 2 + 1) * self._scale / 3600
        query.circle = tuple(v * u.deg for v in (round(target["ra"], 7), round(target["dec"], 7), round(radius, 7)))
        seen = tuple({"select": _LAYERS[layer]} for layer in ("image", "variance"))
        check = FitsCheck(seen, seen[1:], (target["ra"], target["dec"]), cut=True)
        return self._ask(query.baseurl, key, check, dict(query))

    def _ask(
        self,
        url: str,
        key: dict[str, Any],
        check: Callable[..., Any] | FitsCheck,
        params: dict[str, Any] | None = None,
        suffix: str = ".fits",
    ) -> "Answer":
        if urlsplit(url).netloc != urlsplit(_HOST).netloc or not url.startswith("https://"):
            raise DataError(
                "fetch_failed", f"the service points to {urlsplit(url).netloc}, which must not get the token"
            )
        return self._client.get(
            Request(url, key, check, params or {}, suffix=suffix, auth=self._token, final=_FINAL, pause=_PAUSE)
        )


def _check_links(path: "Path") -> None:
    _soda(path)


def _soda(path: "Path") -> SodaQuery:
    """The service that cuts out image, mask and variance."""
    links = read_votable(path, DatalinkResults)
    try:
        return SodaQuery.from_resource(list(links)[:1], links.get_adhocservice_by_id(_SERVICE))
    except DALServiceError as error:
        raise BadAnswer(f"the links of the image name no service {_SERVICE}") from error
