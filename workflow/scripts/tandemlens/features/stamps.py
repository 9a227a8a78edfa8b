"""Stamps of the segments of every system, with the place of each in the system: what the deep heads look at.

The scale of a band is a number of the run, never of the image: ``asinh(flux / scale)`` with
``scale = softening * sigma``, sigma being the pixel noise of an image of the survey's depth, is linear in what drowns
in noise and logarithmic in what stands out (Lupton, Gunn & Szalay 1999, AJ 118, 1406), and keeps how bright a thing is
and of what colour.

``stamps.h5`` holds one row a stamp, those of one target together: ``flux`` (n, band, s, s) float16 on that scale,
0 where invalid; ``sigma`` (n, band, s, s) float16, noise over scale, that of white noise which scatters sums over an
object as the noise of the matched images does; ``mask`` (n, band, s, s) bool, True where valid; ``geometry`` (n, g)
float32; ``label`` (n,) int32, 0 for the stamp of the centre; ``target`` (n,) int32, row of ``target_id`` (m,);
``start`` (m + 1,) int64, first row of each target. Fluxes are corrected for the dust of our Galaxy. Attributes: bands,
geometry (names of its columns), scale (nJy), pixel_scale and size_arcsec (arcsec) of the segments' stamps,
centre_arcsec. With the setting ``contrast`` the last two bands are no bands of the survey but what is left of galaxies
behind once the light of the lens is cancelled (`tandemlens.features.lens_contrast`), old ones (red) and young ones
(blue), in units of its noise.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from tandemlens.base.atomic import atomic_path
from tandemlens.base.robust import median, sampled
from tandemlens.base.stack import read_stack
from tandemlens.base.stage import run_targets
from tandemlens.base.tables import read_table
from tandemlens.base.units import AB_ZERO_POINT_NOMINAL
from tandemlens.features.behind import KINDS as KINDS_BEHIND
from tandemlens.features.geometry import expected_einstein_radius
from tandemlens.features.lens_contrast import Sky, contrast_maps, lens_contrast
from tandemlens.features.sequence import Bands
from tandemlens.image.extinction import transmission
from tandemlens.image.noise import factor_at
from tandemlens.image.segment import open_images
from tandemlens.image.stamps import cut_stamp

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.base.stack import Cutout

log = logging.getLogger("tandemlens")

#: kinds of segment that get a stamp; of each the brightest, in turn
KINDS = ("arc", "other", "member")
GEOMETRY = (
    "radius_arcsec",
    "cos_azimuth",
    "sin_azimuth",
    "radius_scaled",
    "log_snr",
    "log_lw",
    "alignment",
    *(f"is_{kind}" for kind in KINDS),
    "is_centre",
)
#: depth and FWHM that stand for those of a survey that does not say them, mag and arcsec
_DEPTH, _FWHM = 25.0, 1.0
#: richness and redshift that stand for those of a cluster that has none
_RICHNESS, _Z = 30.0, 0.4
#: a scale that is off from the noise of the images by more than this factor is remarked on
_FAR = 4.0
#: the most significant spectrum is hardly less so at steps of 0.1 in redshift, which take half the time
_EVERY = 2
#: S/N of what lies behind the lens at which its scale turns from linear to logarithmic
_CONTRAST_SCALE = 3.0
#: stamps in one chunk of the file
_CHUNK = 16


def stamps_shard(
    paths: dict[str, str],
    targets: "pd.DataFrame",
    out_path: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Cut the stamps of every system of a shard; a system that cannot be cut is there without any.

    Parameters
    ----------
    paths : dict of str
        stack (matched.h5), images (segments.h5), segments (segments.parquet), measure (measure.parquet); for contrast
        also photometry (photometry.parquet) and sequence, and in a list young, the spectra of old and young galaxies.
    targets : pandas.DataFrame
        Target table of the shard.
    out_path : str
        stamps.h5.
    cfg : dict
        Section ``stamps`` of the settings; ``bands``; ``extinction``, ``survey_depth`` and ``survey_fwhm`` of every
        band, None where unknown; ``pixel_scale``, arcsec; for contrast also ``wavelength``, ``width`` and ``filter``.
    progress : callable
    """
    segments = read_table(paths["segments"])
    by_target = dict(tuple(segments.groupby("target_id")))
    ebv = read_table(paths["measure"], ["target_id", "ebv"]).set_index("target_id")["ebv"].fillna(0.0)
    rows = targets.set_index("target_id")
    scale, levels = band_scales(cfg), []
    contrast = _Contrast(paths, cfg) if cfg["contrast"] else None
    with (
        read_stack(paths["stack"]) as stack,
        open_images(paths["images"]) as images,
        atomic_path(out_path) as temporary,
        h5py.File(temporary, "w") as handle,
    ):
        writer = _Writer(handle, *_channels(scale, cfg), cfg)

        def work(index: int, target_id: str) -> None:
            # a system that no segmentation came from has no centre either
            if target_id in images:
                dim = 1 / transmission(ebv.get(target_id, 0.0), cfg["extinction"])
                frame = by_target.get(target_id, segments.iloc[:0])
                cutout, residual = stack[index], images[target_id][2]
                variance = _white_variance(cutout, cfg["pixel_scale"])
                target = rows.loc[target_id]
                more = contrast(target_id, frame, target, cutout, dim) if contrast else None
                writer.append(index, *system_stamps(cutout, variance, residual, frame, target, dim, scale, cfg, more))
                levels.append(_median_noise(variance, cutout.mask == 0) * dim / scale)

        run_targets(stack.target_ids, work, progress)
        writer.close(stack.target_ids)
    _remark(cfg["bands"], levels, cfg["softening"])


def band_scales(cfg: dict[str, Any]) -> np.ndarray:
    """Flux per pixel at which the scale of every band turns from linear to logarithmic.

    Parameters
    ----------
    cfg : dict
        As for `stamps_shard`; the setting ``depth`` goes before the survey's, and 25 mag stands for what neither says.

    Returns
    -------
    (band,) float64 ndarray, nJy
    """
    said = [_DEPTH if depth is None else depth for depth in cfg["survey_depth"]]
    depth = np.array([cfg["depth"].get(band, known) for band, known in zip(cfg["bands"], said, strict=True)], float)
    fwhm = np.array([_FWHM if known is None else known for known in cfg["survey_fwhm"]], float)
    # a depth is 5 sigma in an aperture of 2 FWHM across
    in_aperture = 10 ** (0.4 * (AB_ZERO_POINT_NOMINAL - depth)) / 5
    return cfg["softening"] * in_aperture * cfg["pixel_scale"] / (np.sqrt(np.pi) * fwhm)


def system_stamps(
    cutout: "Cutout",
    variance: np.ndarray,
    residual: np.ndarray,
    frame: "pd.DataFrame",
    target: "pd.Series",
    dim: np.ndarray,
    scale: np.ndarray,
    cfg: dict[str, Any],
    contrast: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stamps of one system: that of its centre first, then those of the chosen segments.

    Parameters
    ----------
    cutout : Cutout
        Matched.
    variance : (band, y, x) ndarray, nJy^2
        Noise as it adds up over an object.
    residual : (band, y, x) ndarray, nJy
        Central light and sky removed; the segments are cut from it, the centre from the image itself.
    frame : pandas.DataFrame
        The segments of the system.
    target : pandas.Series
        Its z and richness.
    dim : (band,) ndarray
        Extinction as a factor, at least 1.
    scale : (band,) ndarray, nJy
    cfg : dict
        As for `stamps_shard`.
    contrast : pair of (kind, y, x) ndarray, optional
        From `tandemlens.features.lens_contrast.contrast_maps`; further bands.

    Returns
    -------
    flux, sigma : (n, band, s, s) float16 ndarray
    mask : (n, band, s, s) bool ndarray
    geometry : (n, g) float32 ndarray
    label : (n,) int32 ndarray
    """
    chosen = choose_segments(frame, cfg["most"], cfg["radius_arcsec"])
    valid = cutout.mask == 0
    # what is invalid in one of the usable bands is missing from the residual of all
    everywhere = valid & valid[cutout.usable()].all(axis=0)
    matrix = cutout.astropy_wcs(int(np.flatnonzero(cutout.usable())[0])).pixel_scale_matrix * 3600
    centre = _central_pixel(frame, matrix, cutout.flux.shape[1:])
    wide = (cutout.flux, valid, centre, cfg["centre_arcsec"])
    near = [(residual, everywhere, place, cfg["size_arcsec"]) for place in chosen[["x", "y"]].to_numpy()]
    flux, sigma, mask = _cut([(f, variance, seen, place, side) for f, seen, place, side in (wide, *near)], cfg)
    unit = (dim / scale)[:, None, None]
    flux, sigma = flux * unit, sigma * unit
    if contrast is not None:
        snr, seen = contrast
        places = [(snr, np.ones_like(snr), seen, place, side) for _, _, place, side in (wide, *near)]
        found, _, there = _cut(places, cfg)
        # what is smooth on the scale of the PSF has the noise of a pixel in any average
        noise = np.where(there, 1.0, 0.0)
        parts = (flux, found / _CONTRAST_SCALE), (sigma, noise / _CONTRAST_SCALE), (mask, there)
        flux, sigma, mask = (np.concatenate(pair, axis=1) for pair in parts)
    sigma = np.minimum(sigma, np.finfo(np.float16).max).astype(np.float16)
    geometry = np.zeros((len(flux), len(GEOMETRY)), np.float32)
    geometry[0, GEOMETRY.index("is_centre")] = 1
    geometry[1:] = segment_geometry(chosen, matrix, target)
    label = np.append(0, chosen["label"]).astype(np.int32)
    return np.arcsinh(flux).astype(np.float16), sigma, mask, geometry, label


def _cut(places: Sequence[Any], cfg: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps of several places, behind one another."""
    side = [(*images, place, length / cfg["pixel_scale"], cfg["pixels"]) for *images, place, length in places]
    flux, sigma, mask = (np.stack(part) for part in zip(*(cut_stamp(*given) for given in side), strict=True))
    return flux, sigma, mask


def _channels(scale: np.ndarray, cfg: dict[str, Any]) -> tuple[list[str], np.ndarray]:
    """Names and scales of the bands of the stamps."""
    names = list(KINDS_BEHIND) if cfg["contrast"] else []
    return [*cfg["bands"], *names], np.append(scale, [_CONTRAST_SCALE] * len(names))


class _Contrast:
    """Maps of what lies behind the lens, for the systems of a shard."""

    def __init__(self, paths: dict[str, str], cfg: dict[str, Any]) -> None:
        photometry = read_table(paths["photometry"])
        self._photometry, self._empty = dict(tuple(photometry.groupby("target_id"))), photometry.iloc[:0]
        bands = Bands(*(tuple(cfg[name]) for name in ("bands", "wavelength", "width", "filter")))
        self._sky, self._scale = Sky(bands, paths["sequence"], paths["young"], _EVERY), cfg["pixel_scale"]

    def __call__(
        self, target_id: str, frame: "pd.DataFrame", target: "pd.Series", cutout: "Cutout", dim: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        own = self._photometry.get(target_id, self._empty).drop(columns="target_id")
        found = lens_contrast(frame.merge(own, on="label"), target, cutout, dim, self._sky, self._scale)
        return contrast_maps(found, cutout.flux.shape[1:])


def choose_segments(frame: "pd.DataFrame", most: int, radius: float) -> "pd.DataFrame":
    """The brightest segments of every kind in turn, so that bright members do not crowd out faint arcs.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns kind, snr, east, north.
    most : int
    radius : float, arcsec
        Largest distance from the centre.

    Returns
    -------
    pandas.DataFrame
        At most `most` rows, in the order of the choice.
    """
    near = frame["kind"].isin(KINDS) & (np.hypot(frame["east"], frame["north"]) <= radius)
    frame = frame[near].sort_values("snr", ascending=False, kind="stable")
    turn = frame.groupby("kind").cumcount().to_numpy()
    order = np.lexsort((frame["kind"].map(KINDS.index).to_numpy(int), turn))
    return frame.iloc[order[:most]]


def segment_geometry(frame: "pd.DataFrame", matrix: np.ndarray, target: "pd.Series") -> np.ndarray:
    """Where the segments lie around the centre and how they are shaped, in the frame of the pixels.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of segments.parquet.
    matrix : (2, 2) ndarray, arcsec
        Pixel steps to steps towards (east, north).
    target : pandas.Series
        z and richness; those of an ordinary cluster stand for unknown ones.

    Returns
    -------
    (n, g) float32 ndarray
        Columns of `GEOMETRY`, always finite: radius in arcsec and over the expected Einstein radius; cosine and sine of
        the polar angle from the x axis of the stamps towards y; log10 of S/N and of length over width, not below 0;
        alignment, ``cos 2 (theta - tangent)``, 1 for tangential; the kind.
    """
    sky = frame[["east", "north"]].to_numpy(float)
    away = sky @ np.linalg.inv(matrix).T
    distance = np.hypot(*away.T)
    direction = away / np.where(distance > 0, distance, 1)[:, None]
    radius = np.hypot(*sky.T)
    expected = expected_einstein_radius(target["richness"], target["z"])
    if not np.isfinite(expected):
        expected = expected_einstein_radius(_RICHNESS, _Z)
    azimuth = np.arctan2(sky[:, 1], -sky[:, 0])
    lw = frame["length"].to_numpy(float) / frame["width"].to_numpy(float)
    columns = [
        radius,
        *direction.T,
        radius / expected,
        np.log10(np.fmax(frame["snr"].to_numpy(float), 1)),
        np.log10(np.fmax(lw, 1)),
        np.where(radius > 0, -np.cos(2 * (frame["theta"].to_numpy(float) - azimuth)), 0),
        *(frame["kind"] == kind for kind in KINDS),
        np.zeros(len(frame)),
    ]
    return np.column_stack(columns).astype(np.float32)


def _central_pixel(
    frame: "pd.DataFrame", matrix: np.ndarray, shape: tuple[int, int]
) -> np.ndarray | tuple[float, float]:
    """(x, y) of the place that the segments' east and north are counted from; the middle of a cutout without any."""
    if not len(frame):
        return (shape[1] - 1) / 2, (shape[0] - 1) / 2
    first = frame.iloc[0]
    return first[["x", "y"]].to_numpy(float) - np.linalg.inv(matrix) @ first[["east", "north"]].to_numpy(float)


class _Writer:
    """Appends the stamps of one target after the other."""

    def __init__(self, handle: h5py.File, names: list[str], scale: np.ndarray, cfg: dict[str, Any]) -> None:
        self._file = handle
        self._rows: list[tuple[int, int]] = []
        bands, side = len(names), cfg["pixels"]
        handle.attrs.update({"bands": names, "geometry": list(GEOMETRY), "scale": scale})
        handle.attrs.update({name: cfg[name] for name in ("size_arcsec", "centre_arcsec")})
        handle.attrs["pixel_scale"] = cfg["size_arcsec"] / side
        packed = {"compression": "lzf", "shuffle": True}
        self._dataset("flux", (bands, side, side), "f2")
        self._dataset("sigma", (bands, side, side), "f2", **packed)
        self._dataset("mask", (bands, side, side), "?", **packed)
        self._dataset("geometry", (len(GEOMETRY),), "f4")
        self._dataset("label", (), "i4")
        self._dataset("target", (), "i4")

    def _dataset(self, name: str, shape: tuple[int, ...], dtype: str, **options: Any) -> None:
        chunks = (_CHUNK if len(shape) == 3 else 1024, *shape)
        self._file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks, **options)

    def append(
        self,
        target: int,
        flux: np.ndarray,
        sigma: np.ndarray,
        mask: np.ndarray,
        geometry: np.ndarray,
        label: np.ndarray,
    ) -> None:
        n, more = len(self._file["label"]), len(label)
        values = {"flux": flux, "sigma": sigma, "mask": mask, "geometry": geometry, "label": label, "target": target}
        for name, value in values.items():
            self._file[name].resize(n + more, axis=0)
            self._file[name][n:] = value
        self._rows.append((target, more))

    def close(self, target_ids: tuple[str, ...]) -> None:
        counts = np.zeros(len(target_ids) + 1, np.int64)
        for target, more in self._rows:
            counts[target + 1] = more
        self._file["start"] = np.cumsum(counts)
        self._file.create_dataset("target_id", data=list(target_ids), dtype=h5py.string_dtype())


def _white_variance(cutout: "Cutout", scale: float) -> np.ndarray:
    """Variance of white noise that scatters sums over 2 FWHM as the noise of the image, which is correlated, does."""
    radius = float(cutout.extra["fwhm"]) / scale
    factor = [float(factor_at(radius, factors)) for factors in cutout.extra["noise_factor"]]
    return cutout.variance * np.square(factor)[:, None, None].astype(np.float32)


def _median_noise(variance: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median noise of every band, nJy; NaN for a band without any."""
    pairs = zip(variance, valid, strict=True)
    return np.sqrt([median(sampled(v, seen)) if seen.any() else np.nan for v, seen in pairs])


def _remark(bands: list[str], levels: list[np.ndarray], softening: int) -> None:
    """Say where the scale is far from the noise of the images, for then the stretch is a poor one."""
    for band, known in zip(bands, softening * np.reshape(levels, (-1, len(bands))).T, strict=True):
        ratio = float(np.median(known[np.isfinite(known)])) if np.isfinite(known).any() else 1.0
        if not 1 / _FAR < ratio < _FAR:
            log.warning(
                "stamps: the noise of band %s is %.2g times that of the depth which sets its scale; "
                "give the depth of the survey in stamps.depth",
                band,
                ratio,
            )
