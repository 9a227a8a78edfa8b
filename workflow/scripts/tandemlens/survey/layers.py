"""Numbers of a survey's files: the right file, HDU, plane and piece, whatever the layout."""

import re
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, FITSFixedWarning

from tandemlens.base.atomic import sha256
from tandemlens.base.errors import DataError
from tandemlens.base.warning_filters import warning_filters

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+,-]*")
_MAX_OPEN = 48
#: 2.5 log10(e)
_ASINH_MAG = 1.0857362


class Files:
    """Open FITS files of a data folder, the most recent ones kept open.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder or ".")
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._unpacked: dict[Any, np.ndarray] = {}
        self._digests: dict[Path, tuple[int, str]] = {}

    def close(self) -> None:
        """Close every file."""
        self._unpacked.clear()
        while self._open:
            self._open.popitem()[1].close()

    def path(self, pattern: str, band: str, name: str) -> Path:
        """The one file that a pattern of the survey stands for.

        Parameters
        ----------
        pattern : str
        band, name : str
            Put in for ``{band}`` and ``{name}``.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            With status fetch_failed.
        """
        if "{name}" in pattern and not (_SAFE_NAME.fullmatch(name) and ".." not in name):
            raise DataError(
                "fetch_failed", f"{band}: the name {name!r} cannot be part of a file name; rename the target"
            )
        text = pattern.replace("{band}", band).replace("{name}", name)
        if not any(letter in text for letter in "*?["):
            return self._folder / text
        found = sorted(self._folder.glob(text))
        if len(found) != 1:
            raise DataError("fetch_failed", f"{band}: {len(found)} files match {text!r}; one is needed")
        return found[0]

    def digest(self, path: Path) -> tuple[int, str]:
        """Size (byte) and SHA-256 of a file, read once.

        Parameters
        ----------
        path : Path

        Returns
        -------
        (int, str)
        """
        if path not in self._digests:
            self._digests[path] = (path.stat().st_size, sha256(path))
        return self._digests[path]

    def layer(self, spec: dict[str, Any], band: str, name: str, row: int) -> "Layer":
        """One image of a file, not yet read.

        Parameters
        ----------
        spec : dict
            Keys file, and hdu or select, plane, head.
        band, name : str
        row : int
            Row of the target in the user's catalogue, for planes of a cube.

        Returns
        -------
        Layer

        Raises
        ------
        DataError
            With status fetch_failed if there is no such image.
        """
        path = self.path(spec["file"], band, name)
        hdus = self._hdus(path, band)
        try:
            hdu = pick(hdus, spec, band)
            plane = row if spec.get("plane") == "target" else spec.get("plane")
            head = spec.get("head") and self.path(spec["head"], band, name)
            layer = Layer(band, path, hdu, plane, head, self._pixels(path, hdu))
        except (KeyError, IndexError, OSError, ValueError, TypeError) as error:
            raise DataError("fetch_failed", f"{band}: {path.name}: {error}") from error
        return layer

    def _hdus(self, path: Path, band: str) -> Any:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            if path.stat().st_size == 0:
                raise OSError("the file is empty")
            # A truncated file is an error here, not a warning.
            with warning_filters(error=AstropyWarning, ignore=VerifyWarning):
                hdus = fits.open(path, memmap=True)
                len(hdus)
        except (OSError, AstropyWarning, ValueError, TypeError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DataError("fetch_failed", f"{band}: {path.name} cannot be read: {said}") from error
        self._open[path] = hdus
        if len(self._open) > _MAX_OPEN:
            oldest, closing = self._open.popitem(last=False)
            closing.close()
            self._unpacked = {key: pixels for key, pixels in self._unpacked.items() if key[0] != oldest}
        return hdus

    def _pixels(self, path: Path, hdu: Any) -> Any:
        """What pieces of an image are read from.

        A compressed one is unpacked once, into a file without a name: many targets lie on it, and astropy unpacks whole
        rows for each of them.
        """
        if not isinstance(hdu, fits.CompImageHDU):
            return hdu.section
        key = path, id(hdu)
        if key not in self._unpacked:
            with TemporaryFile() as handle:
                self._unpacked[key] = _to_disk(handle, hdu)
        return self._unpacked[key]


class Layer:
    """A two-dimensional image in a file.

    Parameters
    ----------
    band : str
        For messages.
    path : Path
    hdu : astropy.io.fits HDU
    plane : int or None
        Plane of a cube.
    head : Path or None
        Sidecar whose cards replace those of the HDU.
    pixels : array_like
        Of the HDU, read where they are asked for.
    """

    def __init__(
        self, band: str, path: Path, hdu: Any, plane: int | None, head: Path | None, pixels: np.ndarray
    ) -> None:
        self._band, self.path, self._pixels, self._plane = band, path, pixels, plane
        self.head = head
        shape = hdu.shape
        if len(shape) == 3 and plane is None and shape[0] == 1:
            self._plane, plane = 0, 0
        if len(shape) != (2 if plane is None else 3):
            raise ValueError(f"HDU {hdu.name or '0'} has shape {shape}; an image of two axes is needed (image.plane)")
        if plane is not None and not 0 <= plane < shape[0]:
            raise ValueError(f"plane {plane} is outside the cube of {shape[0]} planes")
        self.shape = tuple(shape[-2:])
        self.header = hdu.header.copy()
        if head:
            self.header.update(_read_head(head))

    def read(self, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """The numbers of a piece.

        Parameters
        ----------
        rows, columns : slice

        Returns
        -------
        (y, x) ndarray
            Floats in native order, or integers for masks.

        Raises
        ------
        DataError
            With status fetch_failed if the file ends early.
        """
        part = (rows, columns) if self._plane is None else (self._plane, rows, columns)
        try:
            data = np.array(self._pixels[part])
        except (OSError, ValueError, TypeError, EOFError, IndexError) as error:
            raise DataError(
                "fetch_failed", f"{self._band}: {self.path.name} cannot be read to its end: {error}"
            ) from error
        data = data.astype(data.dtype.newbyteorder("="))
        return _stretched_back(data, self.header) if "BSOFTEN" in self.header else data

    def wcs(self) -> WCS:
        """Celestial WCS.

        Returns
        -------
        astropy.wcs.WCS

        Raises
        ------
        DataError
            With status fetch_failed if the header has none.
        """
        header = self.header
        try:
            with warning_filters(ignore=(FITSFixedWarning, RuntimeWarning)):
                wcs = WCS(header, naxis=2).celestial
        except Exception as error:  # wcslib raises a family of its own
            raise DataError("fetch_failed", f"{self._band}: {self.path.name} has a broken WCS: {error}") from error
        if not wcs.has_celestial or abs(np.linalg.det(wcs.pixel_scale_matrix)) == 0:
            raise DataError(
                "fetch_failed",
                f"{self._band}: {self.path.name} has no celestial WCS; give image.head or image.wcs: target",
            )
        return wcs


def _to_disk(handle: Any, hdu: Any) -> np.ndarray:
    """Pixels of a compressed image as a map of an open file, which lives as long as the map."""
    pixels = hdu.data
    out = np.memmap(handle, pixels.dtype, "w+", shape=pixels.shape)
    out[:] = pixels
    del hdu.data
    return out


def _stretched_back(data: np.ndarray, header: fits.Header) -> np.ndarray:
    """Linear counts of pixels that Pan-STARRS compressed by an asinh stretch (Waters et al. 2020, ApJS 251, 4)."""
    scaled = data / _ASINH_MAG
    return header.get("BOFFSET", 0.0) + header["BSOFTEN"] * (np.exp(scaled) - np.exp(-scaled))


def pick(hdus: Any, spec: dict[str, Any], band: str) -> Any:
    """The HDU that a survey file means.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
    spec : dict
        Keys hdu or select; without either the first image.
    band : str

    Returns
    -------
    astropy.io.fits HDU

    Raises
    ------
    KeyError, IndexError
        If there is none.
    """
    if "select" in spec:
        wanted = {k: v.replace("{band}", band) if isinstance(v, str) else v for k, v in spec["select"].items()}
        for hdu in hdus:
            if (
                all(_same(hdu.header.get(k), v) for k, v in wanted.items())
                and len(getattr(hdu, "shape", ()) or ()) >= 2
            ):
                return hdu
        raise KeyError(f"no image HDU has {wanted}")
    if "hdu" in spec:
        if spec["hdu"] >= len(hdus):
            raise IndexError(f"there is no HDU {spec['hdu']}; the file has {len(hdus)}")
        return hdus[spec["hdu"]]
    for hdu in hdus:
        if len(getattr(hdu, "shape", ()) or ()) >= 2:
            return hdu
    raise KeyError("no HDU holds an image")


def _same(found: str | None, wanted: str) -> bool:
    """Whether a header value is the one that is wanted; services change the case of words."""
    if isinstance(found, str) and isinstance(wanted, str):
        return found.lower() == wanted.lower()
    return found == wanted


def _read_head(path: Path) -> Any:
    """Cards of a SWarp-style sidecar: plain header lines up to END."""
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise OSError(f"the header sidecar {path.name} cannot be read: {error.strerror}") from error
    cards = [line for line in text.splitlines() if line.strip() and not line.startswith("END")]
    return fits.Header([fits.Card.fromstring(line.ljust(80)[:80]) for line in cards])
