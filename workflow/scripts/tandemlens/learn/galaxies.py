"""Sets of galaxy images in the layout of GalaxiesML, brought into that of the run's own stamps.

GalaxiesML (zenodo.org/records/13878122) holds ``image`` (n, band, y, x), bands in the order g, r, i, z, y, and
properties of the galaxies, which are not looked at. Images have no noise map: the noise of a band is that of the rims
of all images, and it takes the place of the survey's on the scale of the stamps. Pixels are left as large as they are.
"""

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from tandemlens.base.atomic import atomic_path
from tandemlens.base.errors import InputError
from tandemlens.base.robust import robust_sigma

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from tandemlens.learn.stamps import Format

#: images read at a time, and those whose rims give the noise
_BLOCK, _NOISE_IMAGES = 256, 2000


def write_galaxies(settings: dict[str, Any], out_path: "str | Path", form: "Format", softening: float) -> list[str]:
    """Write images as stamps.h5, one target and one stamp a galaxy.

    Parameters
    ----------
    settings : dict
        ``file``: HDF5 file with a dataset ``image``; ``bands``: names of its bands, of which those of the run that are
        missing are masked; ``most``: largest number of galaxies, taken at equal steps.
    out_path : str or Path
    form : tandemlens.learn.stamps.Format
        Of the run's stamps. Larger images are cut around the middle, smaller ones are masked around them.
    softening : float
        Scale of a band in units of its noise.

    Returns
    -------
    list of str
        Names of the galaxies, as targets.

    Raises
    ------
    InputError
        If the file cannot be read, has another layout, or shares no band with the run.
    """
    path, bands = settings["file"], settings["bands"]
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"galaxy images {path} cannot be read as HDF5; give such a file in pretrain.galaxies"
        ) from error
    with handle:
        images = handle.get("image")
        if images is None or images.ndim != 4 or images.shape[1] != len(bands) or not len(images):
            found = "none" if images is None else images.shape
            raise InputError(
                f"galaxy images {path} have a dataset image of shape {found} and not (n, {len(bands)}, y, x); name "
                "their bands in pretrain.galaxies.bands"
            )
        shared = [(k, bands.index(band)) for k, band in enumerate(form.bands) if band in bands]
        if not shared:
            raise InputError(
                f"galaxy images {path} have the bands {', '.join(bands)} and the run {', '.join(form.bands)}; leave "
                "them out or choose other bands"
            )
        rows = np.unique(np.linspace(0, len(images) - 1, min(settings["most"], len(images))).astype(int))
        with atomic_path(out_path) as temporary, h5py.File(temporary, "w") as out:
            _write(out, images, rows, shared, form, softening)
    return [_name(row) for row in rows]


def _name(row: int) -> str:
    return f"galaxy {row}"


def _write(
    out: "torch.Tensor", images: "torch.Tensor", rows: np.ndarray, shared: Any, form: "Format", softening: float
) -> None:
    side, n = form.pixels, len(rows)
    scale = softening * _noise(images, [k for _, k in shared], rows)
    out.attrs.update({"bands": form.bands, "geometry": form.geometry, "scale": form.scale})
    out.attrs["pixel_scale"] = form.pixel_scale
    whole = (n, len(form.bands), side, side)
    flux, sigma = (out.create_dataset(name, whole, "f2") for name in ("flux", "sigma"))
    mask = out.create_dataset("mask", whole, "?")
    for low in range(0, n, _BLOCK):
        some = rows[low : low + _BLOCK]
        block = np.zeros((2, len(some), *whole[1:]), np.float32)
        for (to, source), unit in zip(shared, scale, strict=True):
            image, seen = _fitted(images[some, source], side)
            good = seen & np.isfinite(image)
            block[0, :, to][good] = np.arcsinh(image[good] / unit)
            block[1, :, to][good] = 1 / softening
        flux[low : low + len(some)], sigma[low : low + len(some)] = block
        mask[low : low + len(some)] = block[1] > 0
    out["geometry"] = np.zeros((n, len(form.geometry)), np.float32)
    out["label"] = np.zeros(n, np.int32)
    out["target"], out["start"] = np.arange(n, dtype=np.int32), np.arange(n + 1)
    out.create_dataset("target_id", data=[_name(row) for row in rows], dtype=h5py.string_dtype())


def _noise(images: "torch.Tensor", bands: list[str], rows: np.ndarray) -> np.ndarray:
    """Noise of every band from the outermost pixels."""
    some = images[rows[:: -(-len(rows) // _NOISE_IMAGES)]][:, bands]
    rim = np.ones(some.shape[2:], bool)
    rim[2:-2, 2:-2] = False
    values = some[:, :, rim].swapaxes(0, 1).reshape(len(bands), -1)
    levels = np.array([robust_sigma(value[np.isfinite(value)]) for value in values])
    if not (levels > 0).all():
        raise InputError(
            f"the noise of galaxy images is {levels.tolist()} by band, from their rims; leave out the bands without any"
        )
    return levels


def _fitted(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle of images (n, y, x), cut or padded to a side, and where there is an image."""
    out, seen = np.zeros((len(image), side, side), np.float32), np.zeros((side, side), bool)
    here, there = [], []
    for size in image.shape[1:]:
        common = min(size, side)
        here.append(slice((side - common) // 2, (side - common) // 2 + common))
        there.append(slice((size - common) // 2, (size - common) // 2 + common))
    out[:, *here], seen[tuple(here)] = image[:, *there], True
    return out, np.broadcast_to(seen, out.shape)
