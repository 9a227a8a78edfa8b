"""Looks at an answer before it is believed: a whole FITS file of the right place, size and bands, with weight."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, FITSFixedWarning

from tandemlens.base.errors import DataError
from tandemlens.base.warning_filters import warning_filters
from tandemlens.survey.layers import pick
from tandemlens.survey.services.client import BadAnswer

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = {".fits": b"SIMPLE  =", ".fz": b"SIMPLE  =", ".gz": b"\x1f\x8b", ".bz2": b"BZh", ".zip": b"PK\x03\x04"}
_BLOCK = 2880
#: the middle of an answer may be off the target by this much, pixel
_OFF_CENTRE = 2.0
_SHOWN = 60


@contextmanager
def whole_fits(path: "str | Path", suffix: str = ".fits") -> Iterator[Any]:
    """Open a FITS file that must be whole.

    Parameters
    ----------
    path : str or Path
    suffix : str
        What it should be: .fits, .fits.fz, .fits.gz, .fits.bz2.

    Yields
    ------
    astropy.io.fits.HDUList

    Raises
    ------
    BadAnswer
        If it is something else, or ends early.
    """
    check_magic(path, suffix)
    try:
        with (
            # a file that ends early is an error here, not a warning
            warning_filters(error=AstropyWarning, ignore=VerifyWarning),
            open(path, "rb") as handle,
            fits.open(handle, lazy_load_hdus=False, checksum=True) as hdus,
        ):
            last = hdus[-1].fileinfo() or {}
            whole = last.get("datLoc", 0) + last.get("datSpan", 0)
            if suffix in (".fits", ".fits.fz") and handle.seek(0, 2) < whole:
                raise BadAnswer("the FITS file ends early")
            yield hdus
    except (OSError, EOFError, ValueError, TypeError, IndexError, AstropyWarning) as error:
        raise BadAnswer(f"the FITS file is broken: {error}") from error


def check_magic(path: "str | Path", suffix: str) -> None:
    """Refuse a file that does not begin as its kind does; what it says instead is told.

    Parameters
    ----------
    path : str or Path
    suffix : str

    Raises
    ------
    BadAnswer
    """
    wanted = _MAGIC[suffix[suffix.rfind(".") :]]
    with open(path, "rb") as handle:
        first = handle.read(512)
    if not first:
        raise BadAnswer("the answer is empty")
    if not first.startswith(wanted):
        text = " ".join(first.decode("latin-1").split())[:_SHOWN]
        raise BadAnswer(f"the answer is no {suffix} file but begins with {text!r}")


@dataclass(frozen=True)
class FitsCheck:
    """What an answer must be; called with its path.

    Parameters
    ----------
    images : tuple of dict
        Which HDUs must hold pixels, as ``image`` of a survey file picks them (hdu or select, plane).
    weights : tuple of dict
        Which HDUs must hold a weight that is not all zero.
    place : (float, float) or None
        ra and dec (deg) that the middle of the images must have.
    side : int or None
        Size of the images, pixel, to one.
    suffix : str
    cut : bool
        Whether an edge of the survey's image may cut the answer short: the target need not be in the middle then, only
        on the image.
    """

    images: tuple[dict[str, Any], ...]
    weights: tuple[dict[str, Any], ...] = ()
    place: tuple[float, float] | None = None
    side: int | None = None
    suffix: str = ".fits"
    cut: bool = False

    def __call__(self, path: "str | Path") -> None:
        """Look at an answer.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        BadAnswer
            If it is not what was asked.
        DataError
            With status no_coverage, if it is, and there is no data there.
        """
        with whole_fits(path, self.suffix) as hdus:
            for spec in self.images:
                hdu, data = _pixels(hdus, spec)
                self._check_image(hdu, data)
            if self.weights and not any((np.nan_to_num(_pixels(hdus, w)[1]) > 0).any() for w in self.weights):
                raise DataError("no_coverage", "the survey has no data there: the weight of every pixel is 0")

    def _check_image(self, hdu: Any, data: np.ndarray) -> None:
        ny, nx = data.shape
        if self.side is not None and max(abs(ny - self.side), abs(nx - self.side)) > 1:
            raise BadAnswer(f"the image is {nx}x{ny} pixels, {self.side} were asked for")
        if not np.isfinite(data).any():
            raise BadAnswer("no pixel is finite", "masked")
        if self.place is None:
            return
        x, y = celestial(hdu.header).all_world2pix(*self.place, 0)
        if self.cut and -0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5:
            return
        off = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2)
        if self.cut or not off < _OFF_CENTRE:
            raise BadAnswer(f"the middle of the image is {off:.1f} pixels from the target")


def celestial(header: fits.Header) -> WCS:
    """Celestial WCS of a header; old spellings, which many archives keep, are put right without a word.

    Parameters
    ----------
    header : astropy.io.fits.Header

    Returns
    -------
    astropy.wcs.WCS
    """
    with warning_filters(ignore=FITSFixedWarning):
        return WCS(header, naxis=2).celestial


def _pixels(hdus: Any, spec: dict[str, Any]) -> tuple[Any, np.ndarray]:
    try:
        hdu = pick(hdus, spec, "")
        data = hdu.data if spec.get("plane") is None else hdu.data[spec["plane"]]
    except (KeyError, IndexError) as error:
        raise BadAnswer(f"the answer lacks an image: {error}") from error
    if data is None or data.ndim != 2:
        raise BadAnswer(f"an image of the answer has {'no' if data is None else data.ndim} axes")
    return hdu, data
