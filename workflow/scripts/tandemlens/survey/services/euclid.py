"""Euclid MER mosaics: pieces of IRSA's files, or else cutouts of ESA's archive.

Facts: IRSA's tutorials and astroquery (addresses, parameters), real file names and headers of Q1. astroquery's Euclid
class itself calls its server when it is imported, and logs HTTP errors instead of raising them. Unverified: that ESA's
cutouts are squares of twice the radius.
"""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from pyvo.dal.tap import TAPResults

from tandemlens.base.config import band_section
from tandemlens.base.errors import DataError
from tandemlens.survey.services.checks import FitsCheck, whole_fits
from tandemlens.survey.services.client import Request
from tandemlens.survey.services.mosaics import piece
from tandemlens.survey.services.service import answer_facts, band_labels, field_side, question
from tandemlens.survey.services.votables import off_middle, read_votable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_IRSA = "https://irsa.ipac.caltech.edu"
_ESA = "https://eas.esac.esa.int"
#: EUC_MER_BGSUB-MOSAIC-NIR-Y_TILE102018211-..., EUC_MER_MOSAIC-NIR-Y-RMS_TILE..., EUC_MER_MOSAIC-NIR-Y-FLAG_TILE...
_NAME = re.compile(r"EUC_MER_(BGSUB-)?MOSAIC-(?P<band>[A-Z0-9-]+?)(?:-(?P<kind>RMS|FLAG))?_TILE(?P<tile>\d+)-")
#: a target is looked for within this radius, deg
_NEAR = 1 / 3600
_ROWS = 2000
#: ESA's limit of the radius, deg
_WIDEST = 0.5


class Euclid:
    """Service of the Euclid releases.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    survey : dict
    bands : list of str
    size_arcsec : float
    targets : pandas.DataFrame
        Not needed: the rows of a mosaic are shared only by targets that lie side by side.
    """

    hosts = (_IRSA.removeprefix("https://"), _ESA.removeprefix("https://"))

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._scale = client, survey["pixel_scale"]
        self._labels = band_labels(survey, bands)
        self._flagged = {band: bool({"saturated", "bad"} & band_section(survey, band, "mask").keys()) for band in bands}
        self._collection, self._release = survey["service"]["collection"], survey["release"]
        self._sides = {band: field_side(survey, band, size_arcsec) for band in bands}

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        out = self._from_irsa(target)
        failed = [band for band, found in out.items() if isinstance(found, DataError)]
        for band, found in self._from_esa(target, failed).items() if failed else ():
            out[band] = _both(out[band], found) if isinstance(found, DataError) else found
        return out

    def _from_irsa(self, target: dict[str, Any]) -> dict[str, Any]:
        try:
            files = self._irsa_files(target)
        except DataError as error:
            return dict.fromkeys(self._labels, error)
        return {band: self._pieces(target, band, files) for band in self._labels}

    def _irsa_files(self, target: dict[str, Any]) -> dict[tuple[str, str | None], str]:
        """(band, kind) -> address, of the tile in whose middle the target is most."""
        request = Request(
            f"{_IRSA}/SIA",
            question("euclid", self._collection, "list", "", target, 0),
            read_votable,
            {"POS": f"CIRCLE {target['ra']:.7f} {target['dec']:.7f} {_NEAR:.7f}", "COLLECTION": self._collection}
            | {"MAXREC": _ROWS},
            suffix=".xml",
        )
        tiles: dict[str, dict[tuple[str, str | None], str]] = {}
        off: dict[str, float] = {}
        for row in read_votable(self._client.get(request).path):
            name = _NAME.search(row["access_url"])
            if name:
                tile = name["tile"]
                tiles.setdefault(tile, {})[name["band"], name["kind"]] = row["access_url"]
                off[tile] = off_middle(target, row["s_ra"], row["s_dec"])
        if not tiles:
            raise DataError("no_coverage", "IRSA has no mosaic there")
        return tiles[min(off, key=off.__getitem__)]

    def _pieces(
        self, target: dict[str, Any], band: str, files: dict[tuple[str, str | None], str]
    ) -> dict[str, Any] | DataError:
        label = self._labels[band]
        flagged = self._flagged[band] and (label, "FLAG") in files
        try:
            if (label, None) not in files:
                raise DataError("no_coverage", f"IRSA has no {label} mosaic there")
            image = self._piece(target, band, files[label, None])
            rms = self._piece(target, band, files[label, "RMS"]) if (label, "RMS") in files else None
            flag = self._piece(target, band, files[label, "FLAG"]) if flagged else None
        except DataError as error:
            return error
        return {
            "image": {"file": str(image.path), "hdu": 0},
            "variance": {"file": str(rms.path), "hdu": 0} if rms else {"kind": "sky"},
            "mask": {"file": str(flag.path), "hdu": 0} if flag else {},
            "facts": answer_facts(*(a for a in (image, rms, flag) if a)),
        }

    def _piece(self, target: dict[str, Any], band: str, url: str) -> "Answer":
        name = url.rsplit("/", 1)[1]
        key = {"service": "euclid", "collection": self._collection, "product": name}
        return piece(self._client, url, key, target, self._sides[band])

    def _from_esa(self, target: dict[str, Any], bands: list[str]) -> dict[str, Any]:
        try:
            rows = self._esa_rows(target)
        except DataError as error:
            return dict.fromkeys(bands, error)
        return {band: self._esa_cutout(target, band, rows) for band in bands}

    def _esa_rows(self, target: dict[str, Any]) -> dict[str, Any]:
        """Band -> row of the mosaic in whose middle the target is most."""
        place = f"{target['ra']:.7f}, {target['dec']:.7f}"
        query = (
            f"SELECT TOP {_ROWS} file_name, file_path, tile_index, instrument_name, ra, dec FROM sedm.mosaic_product "
            f"WHERE product_type = '{self._collection.removeprefix('euclid_')}' "
            f"AND INTERSECTS(CIRCLE({place}, {_NEAR:.7f}), fov) = 1"
        )
        request = Request(
            f"{_ESA}/tap-server/tap/sync",
            question("euclid", self._collection, "esa list", "", target, 0),
            lambda path: read_votable(path, TAPResults),
            data={"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable_plain", "QUERY": query},
            suffix=".xml",
        )
        out: dict[str, Any] = {}
        for row in read_votable(self._client.get(request).path, TAPResults):
            name = _NAME.search(row["file_name"])
            if name and not name["kind"]:
                off = off_middle(target, row["ra"], row["dec"])
                out[name["band"]] = min(out.get(name["band"], (np.inf,)), (off, dict(row)), key=lambda v: v[0])
        return {band: row for band, (_, row) in out.items()}

    def _esa_cutout(self, target: dict[str, Any], band: str, rows: dict[str, Any]) -> dict[str, Any] | DataError:
        """An image without noise map: its noise is measured, and the pixels without data are blanked."""
        radius = (self._sides[band] / 2 + 1) * self._scale / 3600
        try:
            row = rows.get(self._labels[band])
            if row is None or radius > _WIDEST:
                why = f"of {radius:.2f} deg in radius" if row else "there"
                raise DataError("no_coverage", f"ESA has no {self._labels[band]} mosaic {why}")
            answer = self._client.get(
                Request(
                    f"{_ESA}/sas-cutout/cutout",
                    question("euclid", self._collection, "esa cutout", band, target, self._sides[band]),
                    FitsCheck(({},), place=(target["ra"], target["dec"]), cut=True),
                    data={
                        "TAPCLIENT": "tandemlens",
                        "FILEPATH": f"{row['file_path']}/{row['file_name']}",
                        "COLLECTION": row["instrument_name"],
                        "OBSID": row["tile_index"],
                        "POS": f"CIRCLE,{target['ra']:.7f},{target['dec']:.7f},{radius:.7f}",
                    },
                    rework=_blank_zeros,
                )
            )
        except DataError as error:
            return error
        return {
            "image": {"file": str(answer.path)},
            "variance": {"kind": "sky"},
            "facts": {**answer_facts(answer), "release": f"{self._release} (ESA cutout, measured noise)"},
        }


def _both(irsa: DataError, esa: DataError) -> DataError:
    status = irsa.status if irsa.status == esa.status else "fetch_failed"
    return DataError(status, f"{irsa}; ESA instead: {esa}")


def _blank_zeros(path: "Path") -> None:
    """Make NaN of pixels that are exactly zero: outside the exposures there is nothing else (from memory: SWarp)."""
    with whole_fits(path) as hdus:
        out = [hdu.copy() for hdu in hdus]
    for hdu in out:
        if hdu.data is not None and getattr(hdu, "is_image", False) and hdu.data.dtype.kind == "f":
            hdu.data[hdu.data == 0] = np.nan
    fits.HDUList(out).writeto(path, overwrite=True, checksum=True)
