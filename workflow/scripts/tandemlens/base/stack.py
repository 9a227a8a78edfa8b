"""Image stacks: many systems in one HDF5 file, one system a chunk, read a row at a time.

Datasets: ``flux`` and ``variance`` (n, band, y, x) float32 in nJy and nJy^2, ``mask`` (n, band, y, x)
uint16 (`tandemlens.base.flags`), ``psf`` (n, band, ky, kx) float32 of sum 1, ``wcs`` (n, band) FITS header
text, ``target_id`` (n,). Systems smaller than the stack are padded at the upper edges with NO_DATA; ``shape``
(n, 2) remembers their true sizes. Further per-system arrays lie under ``extra/``.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from tandemlens.base.atomic import atomic_path
from tandemlens.base.errors import InputError
from tandemlens.base.flags import NO_DATA


@dataclass
class Cutout:
    """One system in all bands.

    Parameters
    ----------
    bands : tuple of str
    flux, variance : (band, y, x) float32 ndarray, nJy and nJy^2
        Where `mask` is non-zero, flux is 0 and variance inf.
    mask : (band, y, x) uint16 ndarray
        Bits of `tandemlens.base.flags`; a band without data has NO_DATA everywhere.
    psf : (band, ky, kx) float32 ndarray
        Odd sizes, centred, sum 1 per band; all zero for a band without data.
    wcs : tuple of str
        FITS header text per band (`header_text`); all equal after matching.
    extra : dict of ndarray
        Further arrays of fixed shape over the stack (noise factors, FWHM, ...).
    """

    bands: tuple[str, ...]
    flux: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    psf: np.ndarray
    wcs: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    def usable(self) -> np.ndarray:
        """Which bands hold any valid pixel.

        Returns
        -------
        (band,) bool ndarray
        """
        return (self.mask == 0).any(axis=(1, 2))

    def astropy_wcs(self, band: int = 0) -> WCS:
        """The celestial WCS of one band.

        Parameters
        ----------
        band : int

        Returns
        -------
        astropy.wcs.WCS
        """
        return WCS(fits.Header.fromstring(self.wcs[band], sep="\n"))


def header_text(wcs: WCS) -> str:
    """FITS header text of a celestial WCS, as a stack keeps it.

    Parameters
    ----------
    wcs : astropy.wcs.WCS

    Returns
    -------
    str
    """
    return wcs.celestial.to_header(relax=True).tostring(sep="\n", endcard=False, padding=False)


class StackWriter:
    """Appends systems to a stack; used through `write_stack`."""

    def __init__(self, handle: h5py.File, bands: Sequence[str], shape: tuple[int, int], psf_size: int) -> None:
        self._file, self.bands, self._shape, self._psf_size = handle, tuple(bands), tuple(shape), int(psf_size)
        n_band = len(self.bands)
        handle.attrs["bands"] = list(self.bands)
        # what a smaller system leaves free reads as no data
        self._image("flux", (n_band, *self._shape), dtype="f4", fillvalue=0)
        self._image("variance", (n_band, *self._shape), dtype="f4", fillvalue=np.inf)
        packed = {"compression": "lzf", "shuffle": True}
        self._image("mask", (n_band, *self._shape), dtype="u2", fillvalue=NO_DATA, **packed)
        self._image("psf", (n_band, self._psf_size, self._psf_size), dtype="f4")
        text = h5py.string_dtype()
        handle.create_dataset("wcs", (0, n_band), maxshape=(None, n_band), dtype=text)
        handle.create_dataset("target_id", (0,), maxshape=(None,), dtype=text)
        handle.create_dataset("shape", (0, 2), maxshape=(None, 2), dtype="i4")

    def _image(self, name: str, shape: tuple[int, ...], **options: Any) -> None:
        self._file.create_dataset(name, (0, *shape), maxshape=(None, *shape), chunks=(1, *shape), **options)

    def append(self, target_id: str, cutout: Cutout) -> None:
        """Add one system at the end.

        Parameters
        ----------
        target_id : str
        cutout : Cutout
            Bands as the stack; at most as large as the stack.

        Raises
        ------
        InputError
            If bands or sizes do not fit.
        """
        ny, nx = cutout.flux.shape[1:]
        if tuple(cutout.bands) != self.bands or ny > self._shape[0] or nx > self._shape[1]:
            raise InputError(
                f"system {target_id} has bands {tuple(cutout.bands)} and size {(ny, nx)} but the stack "
                f"holds {self.bands} and {self._shape}"
            )
        n = self._grow()
        for name in ("flux", "variance", "mask"):
            self._file[name][n, :, :ny, :nx] = getattr(cutout, name)
        self._file["psf"][n] = resize_psf(cutout.psf, self._psf_size)
        self._file["wcs"][n] = list(cutout.wcs)
        self._file["target_id"][n] = target_id
        self._file["shape"][n] = (ny, nx)
        for name, value in cutout.extra.items():
            self._extra(name, np.asarray(value), n)

    def _grow(self) -> int:
        n = len(self._file["target_id"])
        for name in ("flux", "variance", "mask", "psf", "wcs", "target_id", "shape"):
            self._file[name].resize(n + 1, axis=0)
        return n

    def _extra(self, name: str, value: Any, n: int) -> None:
        key = f"extra/{name}"
        if key not in self._file:
            self._file.create_dataset(
                key,
                (0, *value.shape),
                maxshape=(None, *value.shape),
                dtype=value.dtype,
                chunks=(1, *value.shape),
                fillvalue=np.nan if value.dtype.kind == "f" else 0,
            )
        self._file[key].resize(n + 1, axis=0)
        self._file[key][n] = value


class StackReader:
    """Reads a stack one system at a time; used through `read_stack`."""

    def __init__(self, handle: h5py.File) -> None:
        self._file = handle
        self.bands = tuple(handle.attrs["bands"])
        self.target_ids = tuple(handle["target_id"].asstr()[:])
        self.shape = tuple(handle["flux"].shape[2:])
        self.psf_size = handle["psf"].shape[-1]

    def __len__(self) -> int:
        return len(self.target_ids)

    def __getitem__(self, index: int) -> Cutout:
        """System number `index` without its padding.

        Parameters
        ----------
        index : int

        Returns
        -------
        Cutout
        """
        ny, nx = self._file["shape"][index]
        part = (index, slice(None), slice(0, ny), slice(0, nx))
        extra = {name: data[index] for name, data in self._file.get("extra", {}).items() if index < len(data)}
        return Cutout(
            bands=self.bands,
            flux=self._file["flux"][part],
            variance=self._file["variance"][part],
            mask=self._file["mask"][part],
            psf=self._file["psf"][index],
            wcs=tuple(self._file["wcs"].asstr()[index]),
            extra=extra,
        )


@contextmanager
def write_stack(path: str | Path, bands: Sequence[str], shape: tuple[int, int], psf_size: int) -> Iterator[StackWriter]:
    """Open a new stack for writing; it appears under `path` when the block ends without error.

    Parameters
    ----------
    path : str or Path
    bands : sequence of str
    shape : (int, int)
        Largest (y, x) size of a system, pixel.
    psf_size : int
        Odd side of the PSF arrays, pixel; larger PSFs are cropped and renormalised, smaller ones padded.

    Yields
    ------
    StackWriter
    """
    if psf_size % 2 == 0:
        raise InputError(f"stack {path} was asked for PSFs of even side {psf_size}; use an odd side")
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as handle:
        yield StackWriter(handle, bands, shape, psf_size)


@contextmanager
def read_stack(path: str | Path) -> Iterator[StackReader]:
    """Open a stack for reading.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    StackReader
    """
    with h5py.File(path, "r") as handle:
        yield StackReader(handle)


def sanitize(cutout: Cutout) -> Cutout:
    """Enforce the pixel contract: invalid pixels get a bit, flux 0 and variance inf; types are float32/uint16.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    Cutout
    """
    flux, variance, mask = (np.array(a) for a in (cutout.flux, cutout.variance, cutout.mask))
    bad = ~np.isfinite(flux) | ~np.isfinite(variance) | ~(variance > 0)
    mask = np.where(bad & (mask == 0), NO_DATA, mask).astype(np.uint16)
    invalid = mask != 0
    flux = np.where(invalid, 0.0, flux).astype(np.float32)
    variance = np.where(invalid, np.inf, variance).astype(np.float32)
    return replace(cutout, flux=flux, variance=variance, mask=mask)


def pixel_digest(cutout: Cutout) -> str:
    """SHA-256 of the pixels of a cutout: names of the bands, shape, then flux, variance and mask as stored.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    str
        Hexadecimal digest; that of a row of a stack can be found again from the file.
    """
    head = f"{' '.join(cutout.bands)} {cutout.flux.shape}"
    digest = hashlib.sha256(head.encode())
    for values, dtype in ((cutout.flux, "<f4"), (cutout.variance, "<f4"), (cutout.mask, "<u2")):
        digest.update(np.ascontiguousarray(values, dtype).data)
    return digest.hexdigest()


def resize_psf(psf: np.ndarray, size: int) -> np.ndarray:
    """Pad centred PSFs, or cut and renormalise them.

    Parameters
    ----------
    psf : (band, k, k) ndarray
        k odd.
    size : int
        Odd side.

    Returns
    -------
    (band, size, size) ndarray
    """
    have = psf.shape[-1]
    if have < size:
        pad = (size - have) // 2
        return np.pad(psf, ((0, 0), (pad, pad), (pad, pad)))
    cut = (have - size) // 2
    out = psf[:, cut : have - cut, cut : have - cut]
    total = out.sum(axis=(1, 2), keepdims=True)
    return np.divide(out, total, out=np.zeros_like(out), where=total > 0)
