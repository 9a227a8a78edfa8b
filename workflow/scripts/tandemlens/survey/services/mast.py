"""HST and JWST at MAST: zips of cutouts from Hapcut and Zcut, or HLSP mosaics that come whole (facts: astroquery.mast).

Mosaics are kept once and cut by our own reader, which maps the file and reads its window: astrocut does no more for a
file on disk and drags in s3fs, gwcs and boto.
"""

import json
import re
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from tandemlens.base.atomic import atomic_path
from tandemlens.base.config import band_section
from tandemlens.base.errors import DataError, SettingsError
from tandemlens.survey.calibrate import photflam_zero_point
from tandemlens.survey.services.checks import FitsCheck, check_magic, whole_fits
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.service import answer_facts, each_band, question

if TYPE_CHECKING:
    import pandas as pd
    from astropy.wcs import WCS

    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_CUTOUTS = "https://mast.stsci.edu"
_FILES = "https://archive.stsci.edu"
_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
_SHOWN = 80


@dataclass(frozen=True)
class _Plane:
    """An image in a member of a zip; `weight` is the HDU of its weights, `valid` counts pixels that hold data."""

    member: str
    origin: str
    hdu: int
    weight: int | None
    valid: int
    calibration: dict[str, float]


class Mast:
    """Service of MAST; ``service.collection`` is hapcut, ``zcut:<survey>`` or ``hlsp:<path below archive.stsci.edu>``.

    In the path, ``{name}`` is the target's name in lower case, ``{band}`` the band, ``{label}`` its label and ``{ext}``
    drz or wht; without ``{ext}`` one file holds the image (SCI) and its weights (WHT) or errors (ERR). Public programs
    use these paths, none of them tried here; the folders of RELICS and BUFFALO are from memory:

    - CLASH ``missions/hlsp/clash/{name}/data/hst/scale_65mas/hlsp_clash_hst_{label}-65mas_{name}_{band}_v1_{ext}.fits``
    - HFF ``pub/hlsp/frontier/{name}/images/hst/v1.0-epoch1/``
      ``hlsp_frontier_hst_{label}-60mas_{name}_{band}_v1.0-epoch1_{ext}.fits``
    - RELICS ``missions/hlsp/relics/{name}/images/hlsp_relics_hst_{label}-60mas_{name}_{band}_v1_{ext}.fits``
    - BUFFALO ``hlsps/buffalo/{name}/images/hlsp_buffalo_hst_{label}-30mas_{name}_{band}_v1.0_{ext}.fits``

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    survey : dict
        The label of a band ends the name of its member in a zip of Hapcut (wfc_f814w, ir_f160w, ir_f160w_coarse), and
        is part of the name of its mosaic for Zcut (f814w).
    bands : list of str
    size_arcsec : float
    targets : pandas.DataFrame

    Raises
    ------
    SettingsError
        If there is no such collection.
    """

    hosts = (_CUTOUTS.removeprefix("https://"), _FILES.removeprefix("https://"))

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._bands = client, list(bands)
        self._collection, self._release = str(survey["service"]["collection"]), survey["release"]
        kind, _, self._what = self._collection.partition(":")
        ways = {"hapcut": self._hapcut, "zcut": self._zcut, "hlsp": self._whole}
        if kind not in ways or (kind != "hapcut") != bool(self._what):
            raise SettingsError(
                f"service.collection {self._collection!r} is none of MAST; use hapcut, zcut:<survey> or hlsp:<path>"
            )
        self._way = ways[kind]
        self._spec = {band: _Stated(survey, band) for band in bands}
        self._size = max([size_arcsec, *(spec.field for spec in self._spec.values())])
        self._lock = threading.Lock()

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        return self._way(target)

    def _hapcut(self, target: dict[str, Any]) -> dict[str, Any]:
        # a coarse twin, and the exposures of a filter, end otherwise
        return self._from_zip(self._cutouts("hapcut", target), lambda p, label: p.member.endswith(f"_{label}.fits"))

    def _zcut(self, target: dict[str, Any]) -> dict[str, Any]:
        known = self._client.get(
            Request(
                f"{_CUTOUTS}/zcut/api/v0.1/survey",
                question("mast", "zcut", "surveys", "", target, 0),
                _check_surveys,
                {"ra": f"{target['ra']:.7f}", "dec": f"{target['dec']:.7f}", "radius": 0},
                suffix=".json",
            )
        )
        names = json.loads(known.path.read_text())["surveys"]
        if self._what not in names:
            raise DataError("no_coverage", f"{self._what} is not there; Zcut has {', '.join(names) or 'no survey'}")
        answer = self._cutouts("zcut", target, survey=self._what)
        return self._from_zip(answer, lambda p, label: f"_{label}_" in p.origin)

    def _cutouts(self, service: str, target: dict[str, Any], **more: Any) -> "Answer":
        place = {"ra": f"{target['ra']:.7f}", "dec": f"{target['dec']:.7f}"}
        # in degrees, as the images have pixels of several sizes; the format is left out, as its parameter was renamed
        side = f"{self._size / 3600:.8f}"
        return self._client.get(
            Request(
                f"{_CUTOUTS}/{service}/api/v0.1/astrocut",
                question("mast", self._collection, "cutout", "", target, self._size),
                _ZipCheck((target["ra"], target["dec"])),
                {**place, "x": side, "y": side, "units": "d", **more},
                suffix=".zip",
            )
        )

    def _from_zip(self, answer: "Answer", is_band: Callable[..., Any]) -> dict[str, Any]:
        # one at a time: the images of a zip are large, and two targets may share it
        with self._lock:
            planes = list(_planes(answer.path))
            files: dict[str, str] = {}
            out: dict[str, Any] = {}
            for band in self._bands:
                label = self._spec[band].label
                mine = [p for p in planes if p.valid and is_band(p, label)]
                if not mine:
                    out[band] = DataError("no_coverage", f"{band}: {self._collection} has no image {label} there")
                    continue
                # cells of the sky overlap: the image that holds more of the cutout
                best = max(mine, key=lambda p: p.valid)
                if best.member not in files:
                    files[best.member] = str(_unpack(answer.path, best.member, len(files)))
                out[band] = self._sections(band, files[best.member], best, answer)
        return out

    def _sections(self, band: str, file: str, plane: _Plane, answer: "Answer") -> dict[str, Any]:
        stated, zero_point = self._spec[band], {}
        if plane.calibration and "zero_point" not in stated.image:
            zero_point = {"zero_point": photflam_zero_point(**plane.calibration)}
        if plane.weight is None:
            variance = _sky_where_reached({"file": file, "hdu": plane.hdu})
        else:
            variance = {"file": file, "hdu": plane.weight, "kind": stated.kind}
        return {
            "image": {"file": file, "hdu": plane.hdu, **zero_point},
            "variance": variance,
            "facts": {**answer_facts(answer), "release": f"{self._release} ({plane.origin or plane.member})"},
        }

    def _whole(self, target: dict[str, Any]) -> dict[str, Any]:
        name = target["name"].lower()
        if "{name}" in self._what and not _SAFE_NAME.fullmatch(name):
            raise DataError(
                "fetch_failed", f"the name {target['name']!r} cannot be in an address; name the target as MAST does"
            )
        return each_band(self._bands, lambda band: self._mosaic(name, band))

    def _mosaic(self, name: str, band: str) -> dict[str, Any]:
        stated = self._spec[band]
        image = self._file(name, band, "drz")
        facts = {**answer_facts(image), "release": f"{self._release} ({self._path(name, band, 'drz').name})"}
        if "{ext}" not in self._what:
            noise = "ERR" if stated.kind == "rms" else "WHT"
            variance = {"file": str(image.path), "select": {"EXTNAME": noise}, "kind": stated.kind}
            return {
                "image": {"file": str(image.path), "select": {"EXTNAME": "SCI"}},
                "variance": variance,
                "facts": facts,
            }
        try:
            weight = self._file(name, band, "wht")
        except DataError as error:
            if error.status != "no_coverage":
                raise
            variance = _sky_where_reached({"file": str(image.path)})
        else:
            facts |= answer_facts(image, weight)
            variance = {"file": str(weight.path), "kind": stated.kind}
        return {"image": {"file": str(image.path)}, "variance": variance, "facts": facts}

    def _path(self, name: str, band: str, ext: str) -> Path:
        filled = self._what
        for key, value in {"name": name, "band": band.lower(), "label": self._spec[band].label, "ext": ext}.items():
            filled = filled.replace("{" + key + "}", value)
        return Path(filled)

    def _file(self, name: str, band: str, ext: str) -> "Answer":
        path = self._path(name, band, ext)
        suffix = ".fits.gz" if path.suffix == ".gz" else ".fits"
        missing = {404: ("no_coverage", f"{band}: there is no file {path.name}; see service.collection")}
        return self._client.get(
            Request(
                f"{_FILES}/{path}",
                {"service": "mast", "file": str(path)},
                FitsCheck(({},), suffix=suffix),
                suffix=suffix,
                final=missing,
            )
        )


class _Stated:
    """What the survey file says of a band."""

    def __init__(self, survey: dict[str, Any], band: str) -> None:
        self.label = survey["bands"][band].get("label", band).lower()
        self.image = band_section(survey, band, "image")
        # what _wht holds depends on how it was drizzled, so that its scale is measured unless the survey file knows
        self.kind = band_section(survey, band, "variance").get("kind", "weight")
        self.field = band_section(survey, band, "psf").get("field_arcsec", 0.0)


class _ZipCheck:
    """A zip of whole FITS files with the target in the middle; or words that say that there is nothing."""

    def __init__(self, place: tuple[float, float]) -> None:
        self._place = place

    def __call__(self, path: Path) -> None:
        _listen(path)
        check_magic(path, ".zip")
        try:
            with zipfile.ZipFile(path) as packed, tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
                members = [n for n in packed.namelist() if n.endswith(".fits")]
                if not members:
                    raise BadAnswer(f"the zip holds no FITS file but {', '.join(packed.namelist())[:_SHOWN]!r}")
                for member in members:
                    self._look(_copy(packed, member, Path(folder) / "member.fits"))
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            raise BadAnswer(f"the zip is broken: {error}") from error

    def _look(self, path: Path) -> None:
        with whole_fits(path) as hdus:
            seen = [k for k, h in enumerate(hdus) if _is_image(h) and np.isfinite(h.data).any()]
        FitsCheck(tuple({"hdu": k} for k in seen), place=self._place)(path)


def _listen(path: Path) -> None:
    """Refuse the JSON with which MAST says that it has nothing."""
    first = Path(path).read_bytes()[:4096]
    if not first.lstrip().startswith(b"{"):
        return
    try:
        said = json.loads(first)
    except ValueError as error:
        raise BadAnswer(f"the answer is broken JSON: {error}") from error
    message = str(said.get("msg", said))[:_SHOWN]
    if said.get("results") == []:
        raise DataError("no_coverage", f"MAST has no image there: {message}")
    raise BadAnswer(f"MAST answers {message!r} in place of images")


def _check_surveys(path: Path) -> None:
    try:
        names = json.loads(Path(path).read_text())["surveys"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnswer(f"the answer is no list of surveys ({type(error).__name__}: {error})") from error
    if not isinstance(names, list):
        raise BadAnswer("the answer is no list of surveys")


def _planes(path: Path) -> Iterator[_Plane]:
    """Every image in the FITS files of a zip."""
    with zipfile.ZipFile(path) as packed:
        for member in [n for n in packed.namelist() if n.endswith(".fits")]:
            with fits.open(BytesIO(packed.read(member))) as hdus:
                weights = {k for k, h in enumerate(hdus) if str(h.header.get("EXTNAME", "")).upper().startswith("WHT")}
                for k, hdu in enumerate(hdus):
                    if k not in weights and _is_image(hdu):
                        weight = k + 1 if k + 1 in weights else None
                        # uncovered pixels hold NaN or 0
                        held = np.isfinite(hdu.data) & (hdu.data != 0)
                        held &= True if weight is None else hdus[weight].data > 0
                        origin = str(hdu.header.get("ORIG_FLE", "")).lower()
                        yield _Plane(member, origin, k, weight, int(held.sum()), _calibration(hdus, hdu))


def _is_image(hdu: Any) -> bool:
    return hdu.is_image and hdu.data is not None and hdu.data.ndim == 2


def _calibration(hdus: Any, hdu: Any) -> dict[str, Any]:
    """Calibration of the primary header where that of the image has none (WFC3)."""
    names = ("PHOTFLAM", "PHOTPLAM")
    if all(hdu.header.get(n) for n in names) or not all(hdus[0].header.get(n) for n in names):
        return {}
    return {n.lower(): hdus[0].header[n] for n in names}


def _unpack(path: Path, member: str, number: int) -> Path:
    """Write a member beside its zip, which is what counts and is checked; anew, so that it is never a spoiled one."""
    out = path.with_name(f"{path.stem}-{number}.fits")
    with atomic_path(out) as staged, zipfile.ZipFile(path) as packed:
        _copy(packed, member, staged)
    return out


def _copy(packed: Any, member: str, path: Path) -> Path:
    with packed.open(member) as source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)
    return path


def _sky_where_reached(layer: dict[str, Any]) -> dict[str, Any]:
    """Noise of an image without weights: that of its sky, and none where no exposure reached."""
    return {**layer, "kind": "weight", "correct": _reached}


def _reached(values: np.ndarray, wcs: "WCS") -> np.ndarray:
    return (np.nan_to_num(values) != 0).astype(float)
