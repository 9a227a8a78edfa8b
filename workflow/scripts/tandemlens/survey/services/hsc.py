"""HSC-SSP: image, mask and variance of das_cutout, PSFs of the PSF picker; an account is needed.

Facts: a real answer (DAS Cutout version 200424), public clients (unagi).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from tandemlens.base.errors import DataError
from tandemlens.survey.services.checks import FitsCheck, whole_fits
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.logins import password_login
from tandemlens.survey.services.service import answer_facts, band_labels, each_band, question

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_HOST = "https://hsc-release.mtk.nao.ac.jp"
_KINDS = ("IMAGE", "MASK", "VARIANCE")
#: an answer reaches this far beyond what was asked for, pixel: its side is odd, whatever the width
_MARGIN, _SLACK = 1, 8
_FINAL = {
    404: ("no_coverage", "the rerun has no image of this filter there"),
    406: (
        "fetch_failed",
        "the service does not understand the request; correct service.collection or the band's label",
    ),
}


class Hsc:
    """Service of the HSC-SSP data releases.

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
        If there is no login.
    """

    hosts = (_HOST.removeprefix("https://"),)

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._scale = client, survey["pixel_scale"]
        self._labels = band_labels(survey, bands)
        self._rerun = survey["service"]["collection"]
        # pdr3_wide and pdr3_dud_rev are reruns of pdr3
        self._release = self._rerun.split("_")[0]
        self._side = round(size_arcsec / self._scale)
        self._login = password_login("HSC_SSP", _HOST)

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        return each_band(self._labels, lambda band: self._band(target, band))

    def _band(self, target: dict[str, Any], band: str) -> dict[str, Any]:
        image = self._cutout(target, band)
        psf = self._psf(target, band)
        file = str(image.path)
        return {
            "image": {"file": file, "hdu": 1, **_zero_point(file)},
            "mask": {"file": file, "hdu": 2},
            "variance": {"file": file, "hdu": 3},
            "psf": {"file": str(psf.path), "hdu": 0} if psf else {},
            "facts": answer_facts(image, *([psf] if psf else [])),
        }

    def _cutout(self, target: dict[str, Any], band: str) -> "Answer":
        # sw and sh are half of the width and the height
        half = f"{(self._side / 2 + _MARGIN) * self._scale:.3f}asec"
        layers = {"type": "coadd", "image": "on", "mask": "on", "variance": "on"}
        return self._ask(
            f"das_cutout/{self._release}/cgi-bin/cutout",
            question("hsc", self._rerun, "cutout", band, target, self._side),
            _CutoutCheck((target["ra"], target["dec"]), self._side),
            {**self._where(target, band), "sw": half, "sh": half, **layers, "tract": ""},
        )

    def _psf(self, target: dict[str, Any], band: str) -> "Answer | None":
        """Answer of the PSF picker; None where it has none, and stars must do."""
        try:
            return self._ask(
                f"psf/{self._release}/cgi/getpsf",
                question("hsc", self._rerun, "psf", band, target, 0),
                FitsCheck(({"hdu": 0},)),
                {**self._where(target, band), "type": "coadd", "centered": "on", "tract": "", "patch": ""},
            )
        except DataError:
            return None

    def _where(self, target: dict[str, Any], band: str) -> dict[str, str]:
        place = {"ra": f"{target['ra']:.7f}", "dec": f"{target['dec']:.7f}"}
        return {**place, "filter": self._labels[band], "rerun": self._rerun}

    def _ask(
        self, path: str, key: dict[str, Any], check: "_CutoutCheck | FitsCheck", params: dict[str, str]
    ) -> "Answer":
        return self._client.get(Request(f"{_HOST}/{path}", key, check, params, auth=self._login, final=_FINAL))


class _CutoutCheck:
    """An answer of das_cutout of the right size, with its three layers in their order."""

    def __init__(self, place: tuple[float, float], side: int) -> None:
        self._side = side
        self._pixels = FitsCheck(({"hdu": 1}, {"hdu": 3}), ({"hdu": 3},), place)

    def __call__(self, path: "Path") -> None:
        with whole_fits(path) as hdus:
            kinds = tuple(str(h.header.get("EXTTYPE", "")).strip() for h in hdus[1:4])
            shape: tuple[int, ...] = hdus[1].shape if len(hdus) > 1 else ()
        if kinds != _KINDS:
            raise BadAnswer(f"the answer holds {kinds}, {_KINDS} were asked for")
        if not all(self._side <= n <= self._side + _SLACK for n in shape):
            raise BadAnswer(f"the image is {shape[1]}x{shape[0]} pixels, {self._side} were asked for")
        self._pixels(path)


def _zero_point(path: str) -> dict[str, float]:
    """AB zero point as the primary header has it; nothing where it does not, and the survey file's holds."""
    flux = fits.getheader(path, 0).get("FLUXMAG0")
    return {"zero_point": float(2.5 * np.log10(flux))} if flux else {}
