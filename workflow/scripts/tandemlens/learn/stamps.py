"""Reading stamps.h5 (`tandemlens.features.stamps`): system by system, or in blocks for training."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import h5py
import numpy as np

from tandemlens.base.atomic import atomic_path
from tandemlens.base.errors import InputError

#: rows of a block, and blocks, whose pixels tell zero and unit of a band
_SAMPLED = 64
#: datasets with one row a stamp
_ROWS = ("flux", "sigma", "mask", "geometry", "label", "target")


@dataclass(frozen=True)
class Format:
    """What the stamps of all shards of a run share.

    Parameters
    ----------
    bands, geometry : tuple of str
        Names of the bands and of the columns of the geometry.
    pixels : int
        Side of a stamp.
    scale : tuple of float, nJy
        Flux at which the scale of each band turns from linear to logarithmic.
    pixel_scale : float, arcsec
        Pixel of a segment's stamp.
    """

    bands: tuple[str, ...]
    geometry: tuple[str, ...]
    pixels: int
    scale: tuple[float, ...]
    pixel_scale: float


@dataclass(frozen=True)
class Stamps:
    """Some stamps; the columns of stamps.h5.

    Parameters
    ----------
    flux, sigma : (n, band, s, s) float16 ndarray
        asinh of flux over scale, 0 where invalid, and linear pixel noise over scale.
    mask : (n, band, s, s) bool ndarray
        True where valid.
    geometry : (n, g) float32 ndarray
    label, target : (n,) int32 ndarray
        Segment, 0 for the centre, and row of the target in its file.
    """

    flux: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    geometry: np.ndarray
    label: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: np.ndarray | int) -> "Stamps":
        return Stamps(*(getattr(self, name)[rows] for name in _ROWS))

    @staticmethod
    def concatenate(parts: "list[Stamps]") -> "Stamps":
        """Stamps of several blocks behind one another.

        Parameters
        ----------
        parts : list of Stamps
            At least one.

        Returns
        -------
        Stamps
        """
        return Stamps(*(np.concatenate([getattr(part, name) for part in parts]) for name in _ROWS))


class StampFile:
    """One stamps.h5; used through `open_stamps`.

    Attributes
    ----------
    format : Format
    centre_arcsec : float, arcsec
        Side of the wide stamp of a centre; NaN where the file does not say.
    target_ids : tuple of str
        Every target of the shard, also those without stamps.
    start : (m + 1,) int64 ndarray
        Target i has the rows start[i] to start[i + 1].
    """

    def __init__(self, handle: h5py.File) -> None:
        self._file = handle
        facts = handle.attrs
        self.format = Format(
            tuple(facts["bands"]),
            tuple(facts["geometry"]),
            handle["flux"].shape[-1],
            tuple(map(float, facts["scale"])),
            float(facts["pixel_scale"]),
        )
        self.centre_arcsec = float(facts["centre_arcsec"]) if "centre_arcsec" in facts else np.nan
        self.target_ids = tuple(handle["target_id"].asstr()[:])
        self.start = handle["start"][:]

    def __len__(self) -> int:
        return int(self.start[-1])

    def read(self, low: int, high: int) -> Stamps:
        """The stamps of a range of rows.

        Parameters
        ----------
        low, high : int

        Returns
        -------
        Stamps
        """
        return Stamps(*(self._file[name][low:high] for name in _ROWS))

    def system(self, index: int) -> Stamps:
        """The stamps of a target, none or its centre first.

        Parameters
        ----------
        index : int
            Row of `target_ids`.

        Returns
        -------
        Stamps
        """
        return self.read(self.start[index], self.start[index + 1])


@contextmanager
def open_stamps(path: str) -> Iterator[StampFile]:
    """Open a stamps.h5 for reading, in the process that reads it: a handle must not cross a fork.

    Parameters
    ----------
    path : str

    Yields
    ------
    StampFile
    """
    with h5py.File(path, "r") as handle:
        yield StampFile(handle)


def write_stamps(path: str, like: str, systems: list[tuple[str, Stamps]]) -> None:
    """Write stamps of systems that were made from those of a file.

    Parameters
    ----------
    path : str
    like : str
        stamps.h5 whose layout and facts it gets.
    systems : list of (str, Stamps)
        By target_id.
    """
    counts = [len(stamps) for _, stamps in systems]
    with h5py.File(like, "r") as source, atomic_path(path) as temporary, h5py.File(temporary, "w") as out:
        out.attrs.update(source.attrs)
        for name in _ROWS:
            rows = np.concatenate([source[name][:0], *(getattr(stamps, name) for _, stamps in systems)])
            chunks = source[name].chunks if len(rows) else None
            out.create_dataset(name, data=rows, chunks=chunks and (min(chunks[0], len(rows)), *chunks[1:]))
        out["target"][...] = np.repeat(np.arange(len(counts)), counts)
        out["start"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        out.create_dataset("target_id", data=[name for name, _ in systems], dtype=h5py.string_dtype())


@dataclass(frozen=True)
class Block:
    """Neighbouring rows of one file, the unit of reading.

    Parameters
    ----------
    path : str
    low, high : int
        Its rows.
    first : int
        Number of its first row among all stamps of all files.
    """

    path: str
    low: int
    high: int
    first: int

    def __len__(self) -> int:
        return self.high - self.low


def stamp_blocks(paths: Sequence[str], most: int, wanted: set[str] | None = None) -> tuple[list[Block], Format]:
    """Divide the stamps of many shards into blocks.

    Parameters
    ----------
    paths : list of str
    most : int
        Largest number of rows of a block.
    wanted : set of str, optional
        Only the stamps of these targets.

    Returns
    -------
    blocks : list of Block
        In the order of the files and rows.
    form : Format

    Raises
    ------
    InputError
        If there is no file, or two of them differ in bands, scale, pixels or geometry.
    """
    if not paths:
        raise InputError("there is no shard with stamps to read; add targets to the samples")
    blocks, forms, first = [], [], 0
    for path in map(str, paths):
        with open_stamps(path) as file:
            forms.append(file.format)
            for low, high in _ranges(file, wanted):
                # cut at multiples of the size, which those of the file's chunks divide
                edges = [low, *range(low - low % most + most, high, most), high]
                blocks += [Block(path, a, b, first + a) for a, b in itertools.pairwise(edges)]
            first += len(file)
        _check_alike(path, forms[-1], paths[0], forms[0])
    return blocks, forms[0]


def band_statistics(paths: list[str], wanted: set[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Zero and unit of every band of stamps.

    Parameters
    ----------
    paths : list of str
        stamps.h5 of the shards.
    wanted : set of str, optional
        Only the stamps of these targets.

    Returns
    -------
    mean, scatter : (band,) float64 ndarray
        Of the valid pixels of some thousand stamps at equal steps; 0 and 1 for a band without any.
    """
    blocks, form = stamp_blocks(paths, _SAMPLED, wanted)
    chosen = blocks[:: -(-len(blocks) // _SAMPLED)]
    count, total, squares = np.zeros((3, len(form.bands)))
    for block in chosen:
        with open_stamps(block.path) as file:
            stamps = file.read(block.low, block.high)
        seen = stamps.mask & np.isfinite(stamps.flux)
        flux = np.where(seen, stamps.flux, 0).astype(float)
        count += seen.sum((0, 2, 3))
        total += flux.sum((0, 2, 3))
        squares += np.square(flux).sum((0, 2, 3))
    mean = total / np.maximum(count, 1)
    scatter = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    return mean, np.where(scatter > 0, scatter, 1)


def _ranges(file: StampFile, wanted: set[str] | None) -> list[list[int]]:
    """Ranges of rows of the wanted targets, neighbours merged."""
    keep = np.array([wanted is None or name in wanted for name in file.target_ids], bool)
    rows = np.repeat(keep, np.diff(file.start))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2).tolist()


def _check_alike(path: str, form: Format, first_path: str, first: Format) -> None:
    for name in Format.__dataclass_fields__:
        have, expected = getattr(form, name), getattr(first, name)
        if have != expected:
            raise InputError(
                f"stamps {path} have {name} {have} but {first_path} has {expected}; make them again with one setting"
            )


def refuse_format(path: str, form: Format, saved: dict[str, Any], head: str) -> None:
    """Refuse stamps of another make than those that a head was fitted to.

    Parameters
    ----------
    path : str
    form : Format
    saved : dict
        That of the fit, as JSON gives it back.
    head : str

    Raises
    ------
    InputError
    """
    for name, value in asdict(form).items():
        other = tuple(saved[name]) if isinstance(saved[name], list) else saved[name]
        if value != other:
            raise InputError(
                f"stamps {path} have {name} {value} but the {head} head was fitted to {other}; fit it again with the "
                "settings of the run"
            )
