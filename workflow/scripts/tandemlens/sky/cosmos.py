"""Shapes of real galaxies from a catalogue in the layout of GalSim's RealGalaxy (Mandelbaum et al. 2012)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sep
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates

from tandemlens.base.errors import SettingsError
from tandemlens.sky.paint import Picture

_COLUMNS = ("IDENT", "MAG", "GAL_FILENAME", "GAL_HDU", "PSF_FILENAME", "PSF_HDU", "PIXEL_SCALE", "NOISE_VARIANCE")
#: objects are found on stamps smoothed by this sigma (pixel) above so many sigma of the smoothed noise, which is
#: correlated by drizzling: white noise would shrink more
_SMOOTH, _THRESHOLD = 1.5, 5.0
#: pixels by which a galaxy's footprint, and its neighbours', are grown
_GROW, _GROW_OTHERS = 3, 2
#: light fainter than this many sigma of a pixel is replaced, more and more, by that of its surroundings (sigma, pixel)
_FAINT, _CALM = 3.0, 2.0
#: a part of an object is one of its own if it holds this share of the light; less are clumps of one galaxy
_DEBLEND = 0.03
#: refused: fewer sky pixels, total S/N, half-light radius over the PSF's; larger share of the footprint that neighbours
#: cover, share of the light on the stamp's edge, distance of the centroid from the middle in half sides
_LEAST_SKY, _LEAST_SNR, _LEAST_SIZE, _MOST_COVERED, _MOST_CUT, _MOST_OFF = 20, 30.0, 1.15, 0.08, 0.02, 0.35


class _Unusable(Exception):
    """A stamp of which no picture can be made; the message says why."""


@dataclass(frozen=True)
class Morphology:
    """Shape of a real galaxy.

    Parameters
    ----------
    name : str
    picture : Picture
        As the telescope saw it, its PSF included.
    mag : float
        AB, of the catalogue's band.
    r_half : float, arcsec
        Radius of the circle around the centroid that holds half the light.
    """

    name: str
    picture: Picture
    mag: float
    r_half: float

    def sized(self, r_half: float) -> Picture:
        """The picture at another half-light radius.

        Parameters
        ----------
        r_half : float, arcsec

        Returns
        -------
        Picture
        """
        return self.picture.rescaled(r_half / self.r_half)


def read_cosmos(folder: str | Path, most: int = 2000) -> tuple[list[Morphology], list[str]]:
    """Shapes of galaxies, without sky, noise and neighbours.

    Parameters
    ----------
    folder : str or Path
        Holds ``real_galaxy_catalog*.fits`` and the files of images and PSFs that it names.
    most : int
        Stamps read of a longer catalogue, evenly spread over it.

    Returns
    -------
    shapes : list of Morphology
    refused : list of str
        One sentence for every stamp that is not used.

    Raises
    ------
    SettingsError
        If the folder has no such catalogue or no stamp of it can be used.
    """
    folder = Path(folder)
    table = _catalogue(folder)
    rows = table[np.unique(np.linspace(0, len(table) - 1, min(most, len(table))).astype(int))]
    rows.sort(["GAL_FILENAME", "GAL_HDU"])
    shapes, refused = [], []
    with _Files(folder) as files:
        for row in rows:
            try:
                shapes.append(_morphology(row, files))
            except _Unusable as why:
                refused.append(f"galaxy {row['IDENT']} of {folder} is left out: {why}")
    if not shapes:
        reason = refused[0] if refused else "its catalogue is empty"
        raise SettingsError(f"no galaxy of {folder} can be used ({reason}); give another folder of real galaxies")
    return shapes, refused


def half_light_radius(picture: Picture) -> float:
    """Radius of the circle around the middle that holds half the light.

    Parameters
    ----------
    picture : Picture

    Returns
    -------
    float, arcsec
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in picture.pixels.shape)
    radius = np.hypot(x[None], y[:, None]).ravel()
    order = np.argsort(radius)
    inside = np.cumsum(picture.pixels.ravel()[order])
    return float(np.interp(inside[-1] / 2, inside, radius[order])) * picture.step


def _catalogue(folder: Path) -> Table:
    """The table of the folder that lists stamps; GalSim keeps tables of fits under similar names beside it."""
    for path in sorted(folder.glob("real_galaxy_catalog*.fits")):
        try:
            table = Table.read(path, hdu=1)
        except (OSError, ValueError, IndexError):
            continue
        if set(_COLUMNS) <= set(table.colnames):
            for name in ("GAL_FILENAME", "PSF_FILENAME"):
                table[name] = [str(v.decode() if isinstance(v, bytes) else v).strip() for v in table[name]]
            return table
    raise SettingsError(
        f"{folder} holds no table real_galaxy_catalog*.fits with the columns {', '.join(_COLUMNS)}; "
        "give a folder in the layout of GalSim's RealGalaxy"
    )


class _Files:
    """Images by file and HDU; one file of images and one of PSFs are open at a time."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._open: dict[str, tuple[str, fits.HDUList]] = {}

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for _, file in self._open.values():
            file.close()

    def image(self, kind: str, name: str, hdu: int) -> np.ndarray:
        """Image of an HDU as float64; `_Unusable` if there is none."""
        try:
            if kind not in self._open or self._open[kind][0] != name:
                file = fits.open(self._folder / name)
                if kind in self._open:
                    self._open[kind][1].close()
                self._open[kind] = name, file
            data = self._open[kind][1][int(hdu)].data
        except (OSError, IndexError, ValueError, TypeError) as error:
            raise _Unusable(f"{name} has no readable HDU {hdu} ({type(error).__name__})") from error
        if data is None or data.ndim != 2 or min(data.shape) < 8 or not np.isfinite(data).all():
            raise _Unusable(f"HDU {hdu} of {name} is no finite image of at least 8x8 pixels")
        return data.astype(float)


def _morphology(row: Mapping[str, Any], files: _Files) -> Morphology:
    stamp = files.image("galaxy", row["GAL_FILENAME"], row["GAL_HDU"])
    psf = files.image("psf", row["PSF_FILENAME"], row["PSF_HDU"])
    variance, step, mag = (float(row[name]) for name in ("NOISE_VARIANCE", "PIXEL_SCALE", "MAG"))
    if not (variance > 0 and step > 0 and np.isfinite([variance, step, mag]).all()):
        raise _Unusable(f"its noise variance is {variance}, its pixel {step} arcsec and its magnitude {mag}")
    sigma = np.sqrt(variance)
    footprint, others = _footprint(stamp, sigma)
    sky = stamp[~(footprint | others)]
    if len(sky) < _LEAST_SKY:
        raise _Unusable(f"its stamp has {len(sky)} pixels of sky, of {_LEAST_SKY} needed")
    light = np.where(footprint, stamp - np.median(sky), 0.0)
    snr = light.sum() / (sigma * np.sqrt(footprint.sum()))
    if not snr > _LEAST_SNR:
        raise _Unusable(f"its S/N is {snr:.1f}, of {_LEAST_SNR:g} needed")
    cut = _border(light).sum() / light.sum()
    if cut > _MOST_CUT:
        raise _Unusable(f"{cut:.1%} of its light lies on the edge of its stamp")
    pixels = _centred(_calmed(light, footprint, sigma))
    picture = Picture((pixels / pixels.sum()).astype(np.float32), step)
    radius, sharp = half_light_radius(picture), _radius_of_psf(psf, step)
    if not radius > _LEAST_SIZE * sharp:
        raise _Unusable(f"its half-light radius of {radius:.3f} arcsec is not resolved by a PSF of {sharp:.3f}")
    return Morphology(str(row["IDENT"]), picture, mag, radius)


def _radius_of_psf(psf: np.ndarray, step: float) -> float:
    psf = _centred(np.maximum(psf, 0))
    return half_light_radius(Picture(psf / psf.sum(), step))


def _footprint(stamp: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the galaxy in the middle and of its neighbours."""
    smooth = gaussian_filter(stamp - np.median(_border(stamp)), _SMOOTH)
    noise = sigma / (2 * np.sqrt(np.pi) * _SMOOTH)
    objects, labels = sep.extract(
        smooth, _THRESHOLD, err=noise, filter_kernel=None, deblend_cont=_DEBLEND, segmentation_map=True
    )
    if not len(objects):
        raise _Unusable("nothing is detected on its stamp")
    middle = (np.array(stamp.shape) - 1) / 2
    nearest = int(np.argmin(np.hypot(objects["y"] - middle[0], objects["x"] - middle[1])))
    if np.hypot(objects["y"][nearest] - middle[0], objects["x"][nearest] - middle[1]) > _MOST_OFF * middle.min():
        raise _Unusable("nothing is detected in the middle of its stamp")
    mine, others = labels == nearest + 1, (labels > 0) & (labels != nearest + 1)
    grown, others = binary_dilation(mine, iterations=_GROW), binary_dilation(others, iterations=_GROW_OTHERS)
    covered = (grown & others).sum() / grown.sum()
    if covered > _MOST_COVERED:
        raise _Unusable(f"neighbours cover {covered:.0%} of it")
    return (grown & ~others) | mine, others


def _border(stamp: np.ndarray) -> np.ndarray:
    return np.concatenate([stamp[0], stamp[-1], stamp[1:-1, 0], stamp[1:-1, -1]])


def _calmed(light: np.ndarray, footprint: np.ndarray, sigma: float) -> np.ndarray:
    """Light with the noise of its faint parts smoothed away, so that a lens does not magnify noise into clumps."""
    around = gaussian_filter(light, _CALM) / np.maximum(gaussian_filter(footprint.astype(float), _CALM), 0.1)
    weight = np.clip(around / (_FAINT * sigma), 0, 1)
    calm = np.where(footprint, weight * light + (1 - weight) * around, 0)
    return np.maximum(calm, 0)


def _centred(light: np.ndarray) -> np.ndarray:
    """Light on an odd square large enough around its centroid, which lies in the middle."""
    total = light.sum()
    y, x = (np.arange(n) for n in light.shape)
    middle = (light.sum(1) * y).sum() / total, (light.sum(0) * x).sum() / total
    half = int(np.ceil(max(max(m, n - 1 - m) for m, n in zip(middle, light.shape, strict=True)))) + 1
    axis = np.arange(-half, half + 1)
    places = np.meshgrid(axis + middle[0], axis + middle[1], indexing="ij")
    return map_coordinates(light, places, order=1, mode="grid-constant")
