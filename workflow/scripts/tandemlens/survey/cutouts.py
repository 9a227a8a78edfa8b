"""Calibrated cutouts from images of any layout: where every survey's pixels come in, whatever brought the files.

A source (`tandemlens.survey.services`) says for each target which files hold its bands; the source `files` has nothing
to say beyond the survey file. Units, variance, mask, PSF and sky are then the same for all.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.ndimage import zoom

from tandemlens.base.columns.fetch import COLUMNS
from tandemlens.base.config import band_section
from tandemlens.base.errors import DataError, of_the_machine
from tandemlens.base.flags import BAD, NO_DATA, SATURATED
from tandemlens.base.secrets import redact
from tandemlens.base.stack import Cutout, header_text, resize_psf, sanitize, write_stack
from tandemlens.base.tables import write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.survey.calibrate import njy_per_pixel_unit
from tandemlens.survey.layers import Files
from tandemlens.survey.noise import checked_variance, sky_model
from tandemlens.survey.outcome import target_outcome
from tandemlens.survey.psf import MOFFAT_BETA, centre_psf, check_psf, fwhm, moffat, star_psf
from tandemlens.survey.window import SkyMap, Window

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.wcs import WCS

    from tandemlens.survey.layers import Layer
    from tandemlens.survey.psf import StarPsf
    from tandemlens.survey.services.service import Service

log = logging.getLogger("tandemlens")
PSF_SIZE = 63
#: an image smaller than this along a side has no room for a PSF and a sky, pixel
_MIN_SIDE = 16
_MAX_FIELDS = 64
_LAYERS = ("image", "variance", "mask", "psf")


@dataclass
class _Band:
    """One band of one target, on its own grid."""

    flux: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    psf: np.ndarray
    wcs: "WCS"
    facts: dict[str, Any]


def fetch_shard(
    targets: pd.DataFrame,
    cfg: dict[str, Any],
    stack_path: "str | Path",
    table_path: "str | Path",
    progress: Callable[[int, int], None],
    source: "Service | None" = None,
    workers: int = 1,
) -> dict[str, str]:
    """Cut the targets of a shard out of a survey's images.

    Parameters
    ----------
    targets : pandas.DataFrame
        Rows of the target table.
    cfg : dict
        ``survey`` (as checked by ``survey.schema.yaml``), ``bands``, ``data`` (folder or None) and ``size_arcsec``.
    stack_path, table_path : str or Path
        Products: cutouts.h5 with the targets that have two usable bands, fetch.parquet with every target and band.
    progress : callable
    source : tandemlens.survey.services.service.Service, optional
        Brings the files of a target; None where the survey file names them.
    workers : int
        Targets that the source works on at a time.

    Returns
    -------
    dict of str
        File that was read -> SHA-256.
    """
    reader = CutoutReader(cfg["survey"], cfg["bands"], cfg["data"], cfg["size_arcsec"])
    rows = []
    try:
        with write_stack(stack_path, cfg["bands"], (reader.side, reader.side), PSF_SIZE) as stack:
            for index, (target, found) in enumerate(_ahead(source, targets.to_dict("records"), workers)):
                cutout, facts = reader.cutout(target, found)
                rows += facts
                if target_outcome([(f["status"], f["reason"]) for f in facts])[0] == "ok":
                    stack.append(target["target_id"], cutout)
                progress(index + 1, len(targets))
        read = reader.read
    finally:
        reader.close()
    write_table(table_path, pd.DataFrame(rows, columns=[c.name for c in COLUMNS]), COLUMNS)
    return read


def _ahead(
    source: "Service | None", targets: list[dict[str, Any]], workers: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | DataError]]:
    """Targets in order with what the source found, while it works on the next ones."""
    if source is None:
        yield from ((target, {}) for target in targets)
        return
    waiting: deque[tuple[dict[str, Any], Future[dict[str, Any] | DataError]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for target in targets:
                waiting.append((target, pool.submit(_layers, source, target)))
                if len(waiting) > 2 * workers:
                    first, found = waiting.popleft()
                    yield first, found.result()
            while waiting:
                first, found = waiting.popleft()
                yield first, found.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _layers(source: "Service", target: dict[str, Any]) -> DataError | dict[str, Any]:
    try:
        return source.layers(target)
    except DataError as error:
        return error
    except Exception as error:  # one broken answer must not take the shard down
        if of_the_machine(error):
            raise
        log.exception("%s: unforeseen error", target["target_id"])
        return DataError("stage_failed", redact(f"{type(error).__name__}: {error}"))


class CutoutReader:
    """Cutouts from files, calibrated.

    Parameters
    ----------
    survey : dict
    bands : list of str
    data_dir : str or None
        Folder that relative paths start from.
    size_arcsec : float
        Side of the cutouts.
    """

    def __init__(self, survey: dict[str, Any], bands: list[str], data_dir: str | None, size_arcsec: float) -> None:
        self._files = Files(data_dir or ".")
        self._bands = tuple(bands)
        self._survey, self._size = survey, size_arcsec
        self._specs: dict[str, dict[str, dict[str, Any]]] = {}
        self._read: dict[tuple[str, str], dict[Path, None]] = {}
        self._stated = {band: {layer: band_section(survey, band, layer) for layer in _LAYERS} for band in bands}
        self.side = max(1, round(size_arcsec / survey["pixel_scale"]))
        self._fields: dict[tuple[Any, ...], dict[str, Any]] = {}

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    @property
    def read(self) -> dict[str, str]:
        """SHA-256 of every file that was read, by its path."""
        paths = sorted({path for paths in self._read.values() for path in paths})
        return {str(path): self._files.digest(path)[1] for path in paths}

    def cutout(
        self, target: dict[str, Any], found: dict[str, Any] | DataError | None = None
    ) -> tuple[Cutout, list[dict[str, Any]]]:
        """All bands of one target.

        Parameters
        ----------
        target : dict
            Keys target_id, name, ra, dec, source_row.
        found : dict or DataError, optional
            What a source found for the target: band -> sections image, variance, mask and psf over those of the survey
            file, and ``facts`` of the row; or the reason why there is nothing, for a band or for all.

        Returns
        -------
        cutout : Cutout
            Bands that failed are NO_DATA everywhere.
        facts : list of dict
            One row of fetch.parquet a band.
        """
        parts: dict[str, _Band] = {}
        facts, found = [], {} if found is None else found
        for band in self._bands:
            said = found if isinstance(found, DataError) else found.get(band, {})
            row: dict[str, Any] = {c.name: np.nan for c in COLUMNS if c.dtype == "float64"}
            row |= {"target_id": target["target_id"], "band": band, "status": "ok", "reason": "", "bytes": 0}
            row |= {"sha256": "", "release": self._survey["release"], "tries": 0, "psf_source": "", "n_psf_stars": 0}
            try:
                if isinstance(said, DataError):
                    raise said
                row |= said.get("facts", {})
                self._specs[band] = {n: {**self._stated[band][n], **said.get(n, {})} for n in _LAYERS}
                part = self._band(target, band, row)
                parts[band] = part
                row.update(part.facts)
            except DataError as error:
                row.update(status=error.status, reason=redact(str(error)))
            except Exception as error:  # one broken file must not take the shard down
                if of_the_machine(error):
                    raise
                log.exception("%s %s: unforeseen error", target["target_id"], band)
                row.update(status="stage_failed", reason=redact(f"{band}: {type(error).__name__}: {error}"))
            row["files"] = json.dumps([str(path) for path in self._read.get((target["target_id"], band), ())])
            facts.append(row)
        return self._stack(parts), facts

    def _stack(self, parts: dict[str, _Band]) -> Cutout:
        """Bands side by side, padded to one shape with NO_DATA."""
        side = self.side
        shape = (len(self._bands), side, side)
        flux, variance = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32)
        mask = np.full(shape, NO_DATA, np.uint16)
        psf = np.zeros((len(self._bands), PSF_SIZE, PSF_SIZE), np.float32)
        empty = header_text(next(iter(parts.values())).wcs) if parts else ""
        wcs = []
        for k, band in enumerate(self._bands):
            if band not in parts:
                wcs.append(empty)
                continue
            part = parts[band]
            ny, nx = (min(side, n) for n in part.flux.shape)
            flux[k, :ny, :nx], variance[k, :ny, :nx] = part.flux[:ny, :nx], part.variance[:ny, :nx]
            mask[k, :ny, :nx] = part.mask[:ny, :nx]
            psf[k] = resize_psf(part.psf[None], PSF_SIZE)[0]
            wcs.append(header_text(part.wcs))
        return sanitize(Cutout(self._bands, flux, variance, mask, psf, tuple(wcs)))

    def _band(self, target: dict[str, Any], band: str, row: dict[str, Any]) -> _Band:
        specs = self._specs[band]
        image = self._layer("image", target, band)
        if not row["sha256"]:
            row["bytes"], row["sha256"] = self._files.digest(image.path)
        where = f"{band}: {image.path.name}"
        if min(image.shape) < _MIN_SIDE:
            raise DataError("too_small", f"{where} is {image.shape[1]}x{image.shape[0]} pixels; {_MIN_SIDE} are needed")
        wcs = self._wcs(image, specs["image"], target)
        scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
        window = Window(wcs, target, self._size / scale, image.shape, where, self.side)
        factor = njy_per_pixel_unit(specs["image"], image.header, scale**2, where)
        pixels = window.cut(image.read(*window.part).astype(np.float64), np.nan) * factor
        mask = np.where(np.isfinite(pixels), 0, NO_DATA).astype(np.uint16)
        saturation = specs["image"].get("saturation", np.inf) * factor
        mask[np.nan_to_num(pixels) >= saturation] |= SATURATED
        mask |= self._survey_mask(target, band, window, image.shape)
        if not (mask == 0).any():
            raise DataError("masked", f"{where}: no pixel of the cutout is valid (NaN or masked)")
        field = self._field(image, window, factor, band, saturation)
        variance, ratio = self._variance(target, band, window, factor, pixels, mask, field, image.shape)
        mask[~np.isfinite(variance) & (mask == 0)] = BAD
        coverage = float((mask == 0).mean())
        if coverage == 0:
            raise DataError("bad_variance", f"{where}: no valid pixel has a positive finite variance")
        psf, stars = self._psf(target, band, field, scale, where)
        width = fwhm(psf) * scale
        if not np.isfinite(width):
            raise DataError("bad_psf", f"{where}: the PSF never falls to half its peak")
        facts = {"psf_fwhm": width, "psf_source": stars[0], "n_psf_stars": stars[1], "psf_quality": stars[2]}
        facts["noise_ratio"] = ratio
        return _Band(pixels, variance, mask, psf, window.wcs, {**facts, "coverage": coverage})

    def _layer(self, name: str, target: dict[str, Any], band: str) -> "Layer":
        spec = self._specs[band][name]
        if "file" not in spec:
            raise DataError("fetch_failed", f"{band}: the survey names no {name}.file; add it to the survey file")
        layer = self._files.layer(spec, band, target["name"], int(target["source_row"]))
        read = self._read.setdefault((target["target_id"], band), {})
        read |= dict.fromkeys([layer.path, *filter(None, [layer.head])])
        return layer

    def _wcs(self, image: "Layer", spec: dict[str, Any], target: dict[str, Any]) -> "WCS":
        if spec.get("wcs", "file") == "file":
            return image.wcs()
        return tangent_wcs(target["ra"], target["dec"], image.shape, self._survey["pixel_scale"])

    def _survey_mask(
        self, target: dict[str, Any], band: str, window: Window, shape: tuple[int, int]
    ) -> np.ndarray | int:
        spec = self._specs[band]["mask"]
        if "file" not in spec:
            return 0
        layer = self._same_shape("mask", target, band, shape)
        bits = np.nan_to_num(window.cut(layer.read(*window.part), 0)).astype(np.int64)
        names = spec.get("bits")
        if {"saturated", "bad"} & spec.keys():
            flags = np.where(bits & spec.get("saturated", 0) != 0, SATURATED, 0)
            return (flags | np.where(bits & spec.get("bad", 0) != 0, BAD, 0)).astype(np.uint16)
        if names is None:
            return np.where(bits != 0, BAD, 0).astype(np.uint16)
        out = np.zeros(bits.shape, np.uint16)
        for name in names:
            key = f"MP_{name}"
            if key not in layer.header:
                raise DataError("fetch_failed", f"{band}: {layer.path.name} has no mask plane {key}; correct mask.bits")
            flag = SATURATED if name.startswith("SAT") else NO_DATA if name == "NO_DATA" else BAD
            out[(bits >> int(layer.header[key])) & 1 == 1] |= flag
        return out

    def _same_shape(self, name: str, target: dict[str, Any], band: str, shape: tuple[int, int]) -> "Layer":
        layer = self._layer(name, target, band)
        if layer.shape != shape:
            status = "bad_variance" if name == "variance" else "fetch_failed"
            raise DataError(status, f"{band}: the {name} is {layer.shape} pixels but the image {shape}")
        return layer

    def _variance(
        self,
        target: dict[str, Any],
        band: str,
        window: Window,
        factor: float,
        pixels: np.ndarray,
        mask: np.ndarray,
        field: dict[str, Any],
        shape: tuple[int, int],
    ) -> tuple[np.ndarray, float]:
        spec = self._specs[band]["variance"]
        kind = spec.get("kind", "sky")
        valid = mask == 0
        if kind == "sky" or "file" not in spec:
            variance = np.where(valid, window.cut(field["sigma"].on(window.part), np.inf) ** 2, np.inf)
            gain = self._specs[band]["image"].get("gain")
            if gain:
                level = window.cut(field["level"].on(window.part), 0.0)
                variance = variance + np.where(valid, np.maximum(pixels - level, 0) * factor / gain, 0)
            return variance, np.nan
        layer = self._same_shape("variance", target, band, shape)
        values = window.cut(layer.read(*window.part).astype(np.float64), np.nan)
        if "correct" in spec:
            # what a source knows about its own noise map
            values = spec["correct"](values, window.wcs)
        if "bad_above" in spec:
            values = np.where(values >= spec["bad_above"], np.nan, values)
        # In image units the map keeps its meaning; the factor comes after.
        image = np.where(valid, pixels / factor, np.nan)
        variance, ratio = checked_variance(
            image, np.where(valid, values, np.nan), kind, f"{band}: {layer.path.name} {kind} map"
        )
        return variance * factor**2, ratio

    def _field(self, image: "Layer", window: Window, factor: float, band: str, saturation: float) -> dict[str, Any]:
        """Sky and, where needed, star PSF of the field around a target; kept for its neighbours."""
        part = window.field(image.shape)
        key = (image.path, band, part[0].start, part[1].start)
        needs_stars = "file" not in self._specs[band]["psf"]
        needs_sky = self._specs[band]["variance"].get("kind", "sky") == "sky" or needs_stars
        if not needs_sky:
            return {}
        target_plane = self._specs[band]["image"].get("plane") == "target"
        if key in self._fields and not target_plane and "{name}" not in self._specs[band]["image"]["file"]:
            return self._fields[key]
        pixels = image.read(*part).astype(np.float32) * np.float32(factor)
        valid = np.isfinite(pixels)
        level, sigma = sky_model(pixels, valid)
        field: dict[str, Any] = {"level": SkyMap(level, part), "sigma": SkyMap(sigma, part)}
        if needs_stars:
            field["stars"] = _stars(pixels - level, sigma, valid, f"{band}: {image.path.name}", saturation)
        # coarse maps and a PSF are small; the oldest go first
        while len(self._fields) >= _MAX_FIELDS:
            del self._fields[next(iter(self._fields))]
        self._fields[key] = field
        return field

    def _psf(
        self, target: dict[str, Any], band: str, field: dict[str, Any], scale: float, where: str
    ) -> tuple[np.ndarray, tuple[str, int, float]]:
        spec = self._specs[band]["psf"]
        if "file" in spec:
            layer = self._layer("psf", target, band)
            psf = check_psf(layer.read(), where)
            if "scale" in spec and abs(spec["scale"] / scale - 1) > 1e-3:
                psf = centre_psf(
                    np.maximum(zoom(psf, spec["scale"] / scale, order=3, grid_mode=True, mode="nearest"), 0)
                )
            return psf, ("survey", 0, np.nan)
        stars = field["stars"]
        if not isinstance(stars, DataError):
            return stars.psf, ("stars", stars.n_stars, stars.quality)
        if "fwhm" not in spec:
            raise stars
        return moffat(PSF_SIZE, scale, spec["fwhm"], beta=MOFFAT_BETA), ("nominal", 0, np.nan)


def _stars(
    pixels: np.ndarray, sigma: np.ndarray, valid: np.ndarray, where: str, saturation: float
) -> "StarPsf | DataError":
    """The star PSF, or the refusal as data: a nominal PSF may still serve."""
    try:
        return star_psf(np.where(valid, pixels, 0), float(np.median(sigma)), valid, where, saturation)
    except DataError as error:
        return error
