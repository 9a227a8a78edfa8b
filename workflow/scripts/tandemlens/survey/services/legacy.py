"""DESI Legacy Imaging Surveys: cutouts of the viewer, or brick files cut here (facts: its own source, map/views.py)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits

from tandemlens.base.errors import DataError
from tandemlens.survey.services.bricks import brick_at, images_over
from tandemlens.survey.services.checks import FitsCheck, whole_fits
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.service import answer_facts, each_band, question

if TYPE_CHECKING:
    import pandas as pd
    from astropy.wcs import WCS

    from tandemlens.survey.services.bricks import Brick
    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_VIEWER = "https://www.legacysurvey.org"
_FILES = "https://portal.nersc.gov"
_FOLDERS = {
    "ls-dr10": "dr10/south",
    "ls-dr10-south": "dr10/south",
    "ls-dr9-south": "dr9/south",
    "ls-dr9-north": "dr9/north",
}
_NORTH = 32.375
#: maskbits (legacysurvey.org, DR10 bitmasks): saturated, and bad in every exposure
_SATURATED = {"g": 0x4, "r": 0x8, "z": 0x10, "i": 0x4000}
_BAD = {"g": 0x20, "r": 0x40, "z": 0x80, "i": 0x8000}
#: what the viewer says, with HTTP 200, where asking again is of no use
_SENTENCES = {
    b"no CCDs overlapping": ("no_coverage", "the layer has no exposure there"),
    b"no such layer": ("fetch_failed", "the viewer does not know the layer; correct service.collection"),
    b"No cutouts enabled": ("fetch_failed", "the layer gives no cutouts; correct service.collection"),
}
#: the overlap of bricks is followed on every so many pixels
_STEP = 8


class Legacy:
    """Service of the Legacy Surveys.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    survey : dict
    bands : list of str
    size_arcsec : float
    targets : pandas.DataFrame
        Of the shard; tells which bricks are worth downloading.
    """

    hosts = (_VIEWER.removeprefix("https://"), _FILES.removeprefix("https://"))

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._bands, self._size = client, list(bands), size_arcsec
        self._scale, service = survey["pixel_scale"], survey["service"]
        self._layer, self._release = service["collection"], survey["release"]
        self._side = round(size_arcsec / self._scale)
        names = [brick_at(ra, dec).name for ra, dec in zip(targets["ra"], targets["dec"], strict=True)]
        least = {"cutouts": np.inf, "bricks": 1, "auto": service["bulk"]}[service["mode"]]
        self._bricks = {name for name in names if names.count(name) >= least}

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        brick = brick_at(target["ra"], target["dec"])
        whole = brick.holds(target["ra"], target["dec"], self._size / 7200)
        if brick.name in self._bricks and whole and self._layer in _FOLDERS:
            return each_band(self._bands, lambda band: self._in_brick(brick, band))
        return self._cutouts(target)

    def _cutouts(self, target: dict[str, Any]) -> dict[str, Any]:
        place = {"ra": f"{target['ra']:.7f}", "dec": f"{target['dec']:.7f}", "layer": self._layer}
        ours = "".join(self._bands)
        image = self._client.get(
            Request(
                f"{_VIEWER}/viewer/fits-cutout",
                question("legacy", self._layer, "cutout", ours, target, self._side),
                _CutoutCheck((target["ra"], target["dec"]), self._side, ours),
                {**place, "pixscale": self._scale, "bands": ours, "size": self._side, "invvar": "", "maskbits": ""},
            )
        )
        psf = self._psf(target, place, ours)
        out: dict[str, Any] = {}
        version, weighted = _read_facts(image.path, ours)
        for k, band in enumerate(self._bands):
            if not weighted[k]:
                out[band] = DataError("no_coverage", f"{band}: {self._layer} has no {band} image there (all weights 0)")
                continue
            file = str(image.path)
            out[band] = {
                "image": {"file": file, "select": {"IMAGETYP": "IMAGE"}, "plane": k, "unit": "nanomaggies"},
                "variance": {
                    "file": file,
                    "select": {"IMAGETYP": "INVVAR"},
                    "plane": k,
                    "kind": "invvar",
                    "correct": _once_per_brick,
                },
                "mask": {"file": file, "select": {"IMAGETYP": "MASKBITS"}, **_bits(band)},
                "psf": {} if psf is None or band not in psf[1] else {"file": str(psf[0].path), "hdu": psf[1][band]},
                "facts": {**answer_facts(image, *psf[:1] if psf else ()), "release": self._named(version)},
            }

        return out

    def _psf(self, target: dict[str, Any], place: dict[str, str], ours: str) -> "tuple[Answer, dict[str, int]] | None":
        """Answer with the PSFs and the HDU of each band; None where the service has none, and stars must do."""
        request = Request(
            f"{_VIEWER}/viewer/coadd-psf/",
            question("legacy", self._layer, "psf", ours, target, 0),
            _check_psf,
            {**place, "bands": ours},
        )
        try:
            answer = self._client.get(request)
        except DataError:
            return None
        with fits.open(answer.path) as hdus:
            return answer, {str(h.header.get("BAND", "")).strip(): k for k, h in enumerate(hdus)}

    def _in_brick(self, brick: "Brick", band: str) -> dict[str, Any]:
        image = self._brick_file(brick, f"image-{band}", band)
        invvar = self._brick_file(brick, f"invvar-{band}", band)
        mask = self._brick_file(brick, "maskbits", "")
        return {
            "image": {"file": str(image.path), "hdu": 1, "unit": "nanomaggies"},
            "variance": {"file": str(invvar.path), "hdu": 1, "kind": "invvar"},
            "mask": {"file": str(mask.path), "hdu": 1, **_bits(band)},
            "facts": {**answer_facts(image, invvar), "release": self._named(self._folder(brick))},
        }

    def _folder(self, brick: "Brick") -> str:
        """DR10 is that of the south; north of its limit and of the Galaxy the layer holds DR9."""
        north = self._layer == "ls-dr10" and brick.dec > _NORTH
        if north and SkyCoord(brick.ra, brick.dec, unit="deg").galactic.b.deg > 0:
            return _FOLDERS["ls-dr9-north"]
        return _FOLDERS[self._layer]

    def _brick_file(self, brick: "Brick", product: str, band: str) -> "Answer":
        name = f"legacysurvey-{brick.name}-{product}.fits.fz"
        folder = f"{self._folder(brick)}/coadd/{brick.name[:3]}/{brick.name}"
        missing = {404: ("no_coverage", f"{band or 'mask'}: there is no file {name}")}
        return self._client.get(
            Request(
                f"{_FILES}/cfs/cosmo/data/legacysurvey/{folder}/{name}",
                question("legacy", self._layer, product, band, {"ra": brick.ra, "dec": brick.dec}, 0),
                FitsCheck(({"hdu": 1},), suffix=".fits.fz"),
                suffix=".fits.fz",
                final=missing,
            )
        )

    def _named(self, version: str) -> str:
        return f"{self._release} ({version})" if version else self._release


class _CutoutCheck:
    """An answer of fits-cutout with every band that was asked for, and no other."""

    def __init__(self, place: tuple[float, float], side: int, bands: str) -> None:
        image = {"select": {"IMAGETYP": "IMAGE"}}
        self._bands = bands
        self._pixels = FitsCheck(
            tuple({**image, "plane": k} for k in range(len(bands))),
            tuple({"select": {"IMAGETYP": "INVVAR"}, "plane": k} for k in range(len(bands))),
            place,
            side,
        )

    def __call__(self, path: Path) -> None:
        _listen(path)
        with whole_fits(path) as hdus:
            header = hdus[0].header
            found = header.get("BANDS") or "".join(str(header.get(f"BAND{k}", "")) for k in range(10))
        if str(found).strip() != self._bands:
            raise BadAnswer(f"the answer holds the bands {found!r}, {self._bands!r} were asked for")
        self._pixels(path)


def _check_psf(path: Path) -> None:
    _listen(path)
    with whole_fits(path) as hdus:
        if any(h.data is None or h.data.ndim != 2 or not np.isfinite(h.data).all() for h in hdus):
            raise BadAnswer("a PSF of the answer has no finite pixels")


def _listen(path: Path) -> None:
    """Refuse an answer of words that another try would not change."""
    first = Path(path).read_bytes()[:512]
    for words, (status, sentence) in _SENTENCES.items():
        if words in first:
            raise DataError(status, f"{sentence} (it says {words.decode()!r})")


def _read_facts(path: Path, bands: str) -> tuple[str, list[bool]]:
    """Version of the layer, and whether each plane has any weight."""
    with fits.open(path) as hdus:
        weight = next(h.data for h in hdus if str(h.header.get("IMAGETYP", "")).upper() == "INVVAR")
        return str(hdus[0].header.get("VERSION", "")), [bool((plane > 0).any()) for plane in weight[: len(bands)]]


def _bits(band: str) -> dict[str, int]:
    return {"saturated": _SATURATED.get(band, 0), "bad": _BAD.get(band, 0)}


def _once_per_brick(invvar: np.ndarray, wcs: "WCS") -> np.ndarray:
    """Inverse variance where brick images overlap: the viewer sums it, though the exposures are the same."""
    ny, nx = invvar.shape
    y, x = np.arange(0, ny, _STEP), np.arange(0, nx, _STEP)
    ra, dec = wcs.all_pix2world(*np.meshgrid(x, y), 0)
    count = np.maximum(images_over(ra, dec), 1)
    return invvar / np.repeat(np.repeat(count, _STEP, 0), _STEP, 1)[:ny, :nx]
