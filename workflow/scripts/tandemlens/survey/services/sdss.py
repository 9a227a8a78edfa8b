"""Sloan Digital Sky Survey: whole corrected frames (facts: data model `frame`; addresses: astroquery.sdss)."""

import bz2
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astroquery.sdss import SDSS
from astroquery.sdss import conf as sdss_conf
from scipy.ndimage import map_coordinates

from tandemlens.base.errors import DataError
from tandemlens.survey.services.checks import FitsCheck, check_magic
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.service import answer_facts, band_labels, each_band, question

if TYPE_CHECKING:
    import pandas as pd
    from astropy.wcs import WCS

    from tandemlens.survey.services.client import Client

_HOSTS = tuple(url.split("/")[2] for url in (sdss_conf.skyserver_baseurl, sdss_conf.sas_baseurl))
#: rows and columns of a frame, pixel
_FRAME = (1489, 2048)
#: objects within this radius tell which frames cover a place, arcmin; an empty patch of sky is smaller
_RADIUS = 1.0
_FRAME_KEYS = ("run", "rerun", "camcol", "field")
_BANDS = "ugriz"
_COLUMNS = (*_FRAME_KEYS, "mode", "ra", "dec", "rowc", "colc", "distance")
_NOISE = tuple(f"{name}_{band}" for name in ("gain", "darkVariance") for band in _BANDS)


class Sdss:
    """Service of the SDSS frames.

    The SkyServer lists the detections around a place, those of overlapping frames included, with the gain and the dark
    variance of their fields. Each frame is downloaded once, however many detections and targets lie on it. Its noise
    is computed as the data model says, from counts, gain and dark variance, and not measured: the frame then knows the
    noise of its bright galaxies too.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    survey : dict
    bands : list of str
    size_arcsec : float
    targets : pandas.DataFrame
    """

    hosts = _HOSTS

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._release = client, int(survey["service"]["collection"])
        self._labels = band_labels(survey, bands)
        self._half = size_arcsec / survey["pixel_scale"] / 2

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        found = self._detections(target)
        if not found:
            raise DataError("no_coverage", f"SDSS has no detection within {_RADIUS:g} arcmin")
        frame = best_frame(found, target, self._half)
        return each_band(self._labels, lambda band: self._band(frame, band, self._labels[band]))

    def _detections(self, target: dict[str, Any]) -> list[dict[str, float]]:
        # All detections, secondary ones included: a primary one names only one of the frames that overlap there.
        columns = ", ".join([*(f"p.{c}" for c in _COLUMNS[:-1]), "n.distance", *(f"f.{c}" for c in _NOISE)])
        sql = (
            f"SELECT {columns} FROM dbo.fGetNearbyObjAllEq({target['ra']:.7f}, {target['dec']:.7f}, {_RADIUS}) AS n"
            " JOIN PhotoObjAll AS p ON p.objID = n.objID JOIN Field AS f ON f.fieldID = p.fieldID"
        )
        answer = self._client.get(
            Request(
                sdss_conf.skyserver_baseurl + SDSS.QUERY_URL_SUFFIX_DR_NEW.format(dr=self._release),
                question("sdss", str(self._release), "detections", "", target, _RADIUS),
                _rows,
                {"cmd": sql, "format": "csv", "searchtool": "SQL"},
                suffix=".csv",
            )
        )
        return _rows(answer.path)

    def _band(self, frame: dict[str, float], band: str, label: str) -> dict[str, Any]:
        gain, dark = frame[f"gain_{label}"], frame[f"darkVariance_{label}"]
        if not (gain > 0 and dark >= 0):
            raise DataError("bad_variance", f"{band}: the field's gain is {gain:g} and its dark variance {dark:g}")
        name = {key: int(frame[key]) for key in _FRAME_KEYS}
        url = SDSS.IMAGING_URL_SUFFIX.format(
            base=sdss_conf.sas_baseurl, dr=self._release, instrument=_folder(self._release), band=label, **name
        )
        answer = self._client.get(
            Request(
                url,
                {"service": "sdss", "collection": str(self._release), "product": "frame", "band": label, **name},
                FitsCheck(({"hdu": 0},)),
                final={404: ("no_coverage", f"{band}: there is no frame {url.rsplit('/', 1)[1]}")},
                rework=_unpack,
            )
        )
        file = str(answer.path)
        noise = FrameNoise(file, gain, dark)
        return {
            "image": {"file": file, "hdu": 0},
            "variance": {"file": file, "hdu": 0, "kind": "variance", "correct": noise},
            "facts": answer_facts(answer),
        }


class FrameNoise:
    """Variance of a frame, from its own counts (data model `frame`: counts over gain, plus dark variance).

    Parameters
    ----------
    path : str
        The frame.
    gain : float
        Electrons per count.
    dark : float
        Dark variance with that of reading out, count^2.
    """

    def __init__(self, path: str, gain: float, dark: float) -> None:
        self._gain, self._dark = gain, dark
        with fits.open(path) as hdus:
            self._reference = float(hdus[0].header["CRPIX1"]), float(hdus[0].header["CRPIX2"])
            self._shape = hdus[0].shape
            self._calibration = np.array(hdus[1].data, float)
            row = hdus[2].data[0]
            self._sky = np.array(row["ALLSKY"], float)
            self._columns, self._rows = np.array(row["XINTERP"], float), np.array(row["YINTERP"], float)

    def __call__(self, image: np.ndarray, wcs: "WCS") -> np.ndarray:
        """Variance of a window of the frame.

        Parameters
        ----------
        image : (y, x) ndarray, nanomaggies
            NaN off the frame.
        wcs : astropy.wcs.WCS
            Of the window; its reference pixel tells where on the frame it lies.

        Returns
        -------
        (y, x) ndarray, nanomaggies^2
        """
        x0, y0 = (round(f - w) for f, w in zip(self._reference, wcs.wcs.crpix, strict=True))
        x = np.clip(x0 + np.arange(image.shape[1]), 0, self._shape[1] - 1)
        y = np.clip(y0 + np.arange(image.shape[0]), 0, self._shape[0] - 1)
        grid = np.meshgrid(self._rows[y], self._columns[x], indexing="ij")
        sky = map_coordinates(self._sky, grid, order=1, mode="nearest")
        per_count = self._calibration[x]
        # counts cannot be negative, whatever the noise
        counts = np.maximum(image / per_count + sky, 0)
        return (counts / self._gain + self._dark) * per_count**2


def best_frame(detections: list[dict[str, Any]], target: dict[str, Any], half: float) -> dict[str, Any]:
    """The frame to take for a target, out of those that its surroundings were detected on.

    Parameters
    ----------
    detections : list of dict
        Keys run, rerun, camcol, field, mode (1 is primary), ra, dec (deg), rowc, colc (pixel), distance.
    target : dict
        Keys ra, dec, deg.
    half : float
        Half a side of the cutout, pixel.

    Returns
    -------
    dict
        The detection closest to the target on the frame that holds the whole cutout, if there is one; then the one
        whose detection is the primary one; then the one with the most room to its edges.
    """
    by_frame: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in sorted(detections, key=lambda r: r["distance"]):
        by_frame.setdefault(tuple(row[k] for k in _FRAME_KEYS), []).append(row)

    def worth(rows: Sequence[Any]) -> tuple[Any, ...]:
        y, x = _pixel(rows, target)
        room = min(y, _FRAME[0] - y, x, _FRAME[1] - x)
        return room >= half, rows[0]["mode"] == 1, room

    return max(by_frame.values(), key=worth)[0]


def _pixel(rows: Sequence[Any], target: dict[str, Any]) -> np.ndarray:
    """Row and column of a target on a frame, from those of the detections around it."""
    pixels = np.array([[r["rowc"], r["colc"]] for r in rows])
    if len(rows) < 3:
        return pixels[0]
    east = [((r["ra"] - target["ra"] + 180) % 360 - 180) * np.cos(np.radians(r["dec"])) for r in rows]
    north = [r["dec"] - target["dec"] for r in rows]
    return np.linalg.lstsq(np.column_stack([np.ones(len(rows)), east, north]), pixels)[0][0]


def _folder(release: int) -> str:
    """Where the frames of a release lie (astroquery.sdss)."""
    return "boss" if release <= 12 else "eboss" if release <= 17 else "prior-surveys/sdss4-dr17-eboss"


def _unpack(path: Path) -> None:
    """Undo the compression of a frame, which would be undone again for every piece that is read."""
    check_magic(path, ".fits.bz2")
    plain = path.with_suffix(".plain")
    try:
        with bz2.open(path) as packed, open(plain, "wb") as handle:
            shutil.copyfileobj(packed, handle)
        os.replace(plain, path)
    except (OSError, EOFError) as error:
        raise BadAnswer(f"the frame ends early or is broken: {error}") from error
    finally:
        plain.unlink(missing_ok=True)


def _rows(path: Path) -> list[dict[str, float]]:
    """Detections of an answer as dicts; refuses an answer that is no such table."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    if "error_message" in text:
        raise BadAnswer("the SkyServer reports an error in place of a table")
    try:
        table = Table.read(text.splitlines(), format="ascii.csv", comment="#")
        return [{name: float(row[name]) for name in (*_COLUMNS, *_NOISE)} for row in table[[*_COLUMNS, *_NOISE]]]
    except Exception as error:  # astropy's readers raise a family of their own
        raise BadAnswer(f"the answer is no table of detections: {' '.join(text.split())[:60]!r}") from error
