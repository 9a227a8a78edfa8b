"""Pieces of images that are too large to download: a range of bytes for the header, one for the rows of a piece.

The image must be the first HDU, uncompressed, as the Euclid MER mosaics are.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from tandemlens.base.errors import DataError
from tandemlens.survey.services.checks import FitsCheck, celestial, check_magic
from tandemlens.survey.services.client import BadAnswer, Request

if TYPE_CHECKING:
    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_BLOCK, _CARD = 2880, 80
#: bytes asked for at first, in which the header must end
_HEAD = 40 * _BLOCK
_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
#: these would no longer be true of a piece
_OUTDATED = ("CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM")


def piece(client: "Client", url: str, key: dict[str, Any], target: dict[str, Any], side: int) -> "Answer":
    """The square around a target, cut out of a remote image, as a FITS file of its own.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    url : str
        Of the image; its server must give ranges of bytes.
    key : dict
        Names the image in the cache.
    target : dict
        Keys ra, dec, deg.
    side : int, pixel

    Returns
    -------
    tandemlens.survey.services.cache.Answer

    Raises
    ------
    DataError
        With status no_coverage if the target is not on the image.
    """
    head = client.get(Request(url, {**key, "part": "header"}, _check_head, suffix=".head", headers=_range(0, _HEAD)))
    header, start = _read_head(head.path)
    part = _Part(header, target, side)
    width = header["NAXIS1"] * np.dtype(part.type).itemsize
    first, last = start + part.rows[0] * width, start + part.rows[1] * width
    check = FitsCheck(({"hdu": 0},), place=(target["ra"], target["dec"]), cut=True)
    named = {**key, "rows": part.rows, "columns": part.columns}
    return client.get(Request(url, named, check, headers=_range(first, last), rework=part.write))


def _range(first: int, stop: int) -> dict[str, str]:
    # a packed answer would have other bytes
    return {"Range": f"bytes={first}-{stop - 1}", "Accept-Encoding": "identity"}


def _read_head(path: Path) -> tuple[fits.Header, int]:
    """Header of the first HDU, and the byte where its pixels begin."""
    check_magic(path, ".fits")
    text = Path(path).read_bytes()
    cards = [text[k : k + _CARD] for k in range(0, len(text), _CARD)]
    try:
        end = cards.index(b"END".ljust(_CARD))
        header = fits.Header.fromstring(b"".join(cards[: end + 1]))
    except ValueError as error:
        raise BadAnswer(f"no header ends within the first {len(text)} bytes") from error
    return header, -(-(end + 1) * _CARD // _BLOCK) * _BLOCK


def _check_head(path: Path) -> None:
    header, _ = _read_head(path)
    if header.get("NAXIS") != 2 or header["BITPIX"] not in _TYPES:
        raise DataError("fetch_failed", f"the file begins with {header.get('NAXIS')} axes; an image of two is needed")


class _Part:
    """Rows and columns around a target, and how the file of them is written."""

    def __init__(self, header: fits.Header, target: dict[str, Any], side: int) -> None:
        x, y = celestial(header).all_world2pix(target["ra"], target["dec"], 0)
        self._header, self.type = header, _TYPES[header["BITPIX"]]
        self.columns, self.rows = (self._span(float(at), side, header[f"NAXIS{k}"]) for at, k in ((x, 1), (y, 2)))

    @staticmethod
    def _span(at: float, side: int, n: int) -> list[int]:
        if not -0.5 <= at <= n - 0.5:
            raise DataError("no_coverage", f"the target falls at pixel {at:.0f} of an image of {n}")
        first = round(at - (side - 1) / 2)
        return [max(first, 0), min(first + side, n)]

    def write(self, path: Path) -> None:
        """Put a FITS file of the part in the place of its rows."""
        (x0, x1), (y0, y1) = self.columns, self.rows
        values = np.fromfile(path, self.type)
        if values.size != (y1 - y0) * self._header["NAXIS1"]:
            raise BadAnswer(f"{values.size} pixels came, {(y1 - y0) * self._header['NAXIS1']} were asked for")
        values = values.reshape(y1 - y0, -1)[:, x0:x1]
        header = self._header.copy()
        for name in _OUTDATED:
            header.remove(name, ignore_missing=True)
        header.update(NAXIS1=x1 - x0, NAXIS2=y1 - y0)
        header.update(CRPIX1=header["CRPIX1"] - x0, CRPIX2=header["CRPIX2"] - y0)
        # as bytes, so that whatever scaling the header states stays true
        body = values.tobytes()
        with open(path, "wb") as handle:
            handle.write(header.tostring().encode("latin-1"))
            handle.write(body + bytes(-len(body) % _BLOCK))
