"""Fluxes and colours of segments on matched images, with errors that know the correlated noise."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sep

from tandemlens.base.columns import measure
from tandemlens.base.columns.photometry import COLUMNS
from tandemlens.base.columns.registry import expand
from tandemlens.base.stack import read_stack
from tandemlens.base.stage import run_targets
from tandemlens.base.tables import empty_frame, read_table, write_table
from tandemlens.base.units import AB_ZERO_POINT_NOMINAL, asinh_mag
from tandemlens.image.extinction import asked_reddening, reddening, transmission
from tandemlens.image.noise import circle_factor_at, factor_at
from tandemlens.image.segment import open_images

if TYPE_CHECKING:
    from tandemlens.base.stack import Cutout

#: a fixed aperture narrower than this many FWHM measures the PSF, not the object
_MIN_FIXED_FWHM = 1.5
#: an aperture or segment with more of its area masked than this has no flux
_MAX_MASKED = 0.1


def measure_shard(
    stack_path: str,
    images_path: str,
    segments_path: str,
    targets: pd.DataFrame,
    photometry_path: str,
    status_path: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
    dust_path: str | None = None,
) -> None:
    """Measure every segment of a shard.

    Parameters
    ----------
    stack_path, images_path, segments_path : str
        matched.h5, segments.h5, segments.parquet.
    targets : pandas.DataFrame
        Target table of the shard.
    photometry_path, status_path : str
        photometry.parquet, measure.parquet.
    cfg : dict
        Section ``measure`` of the settings, and ``extinction``, A over E(B-V) of every band.
    progress : callable
    dust_path : str, optional
        dust.parquet, where the dust service was asked.
    """
    segments = read_table(segments_path)
    by_target = dict(tuple(segments.groupby("target_id")))
    rows = targets.set_index("target_id")
    asked = asked_reddening(dust_path)
    tables, facts = [], []
    with read_stack(stack_path) as reader, open_images(images_path) as images:
        ids = [t for t in reader.target_ids if t in images]
        place = {t: i for i, t in enumerate(reader.target_ids)}
        columns = expand(COLUMNS, reader.bands)

        def work(index: int, target_id: str) -> None:
            target = rows.loc[target_id]
            service = asked.get(target_id, np.nan)
            ebv, source = reddening(target["ra"], target["dec"], target["ebv"], cfg["ebv_map"], service)
            cutout = reader[place[target_id]]
            labels, _, residual = images[target_id]
            frame = by_target.get(target_id, segments.iloc[:0])
            dim = 1 / transmission(ebv, cfg["extinction"])
            table, depth = measure_system(cutout, labels, residual, frame, dim, cfg)
            tables.append(table.assign(target_id=target_id))
            depths = {f"depth_{b}": d for b, d in zip(reader.bands, depth, strict=True)}
            fwhm = float(cutout.extra["fwhm"])
            facts.append({"target_id": target_id, "ebv": ebv, "ebv_source": source, "fwhm": fwhm, **depths})

        status = run_targets(ids, work, progress)
        status_columns = expand(measure.COLUMNS, reader.bands)
    frame = pd.concat([empty_frame(columns), *tables])
    write_table(photometry_path, frame[[c.name for c in columns]], columns)
    known = pd.DataFrame(facts, columns=[c.name for c in status_columns if c.name not in ("status", "reason")])
    status = status.merge(known, on="target_id", how="left")
    write_table(status_path, status.fillna({"ebv_source": "none"}), status_columns)


def measure_system(
    cutout: "Cutout",
    labels: np.ndarray,
    residual: np.ndarray,
    segments: pd.DataFrame,
    dim: np.ndarray,
    cfg: dict[str, Any],
) -> tuple[pd.DataFrame, np.ndarray]:
    """Photometry of the segments of one system.

    Parameters
    ----------
    cutout : Cutout
        Matched; its extras noise_factor and fwhm are used.
    labels : (y, x) uint16 ndarray
    residual : (band, y, x) float32 ndarray, nJy
        Central light and sky removed.
    segments : pandas.DataFrame
        Columns label, x, y, area, perimeter, kind; the central galaxy (kind bcg) is measured with its light on.
    dim : (band,) ndarray
        Extinction as a factor, at least 1; fluxes are multiplied by it.
    cfg : dict
        Section ``measure`` of the settings.

    Returns
    -------
    table : pandas.DataFrame
        One row per segment, columns of photometry.parquet but target_id.
    depth : (band,) ndarray, mag
        5 sigma AB magnitude in the aperture.
    """
    scale = np.sqrt(np.abs(np.linalg.det(cutout.astropy_wcs().pixel_scale_matrix))) * 3600
    fwhm = float(cutout.extra["fwhm"])
    radius = cfg["aperture_fwhm"] * fwhm / 2
    fixed = cfg["aperture_arcsec"] / 2 if cfg["aperture_arcsec"] >= _MIN_FIXED_FWHM * fwhm else np.nan
    label = segments["label"].to_numpy(int)
    out = {"label": label, "aperture_radius": np.full(len(label), radius)}
    shape = segments[["x", "y", "area", "perimeter"]].to_numpy(float).T
    depth = np.full(len(cutout.bands), np.nan)
    magnitudes = []
    for k, band in enumerate(cutout.bands):
        plane = _Plane(cutout, residual, labels, k, segments)
        results = {
            "aper": plane.circles(shape[0], shape[1], radius / scale, label),
            "fix": plane.circles(shape[0], shape[1], fixed / scale, label),
            "seg": plane.segments(label, shape[2], shape[3]),
        }
        for name, (flux, err) in results.items():
            out[f"flux_{name}_{band}"], out[f"flux_{name}_err_{band}"] = flux * dim[k], err * dim[k]
        mag, mag_err = asinh_mag(out[f"flux_seg_{band}"], out[f"flux_seg_err_{band}"])
        out[f"mag_{band}"], out[f"mag_err_{band}"] = mag, mag_err
        magnitudes.append((band, mag, mag_err))
        depth[k] = plane.depth(radius / scale) - 2.5 * np.log10(dim[k])
    for (blue, mag_b, err_b), (red, mag_r, err_r) in itertools.pairwise(magnitudes):
        out[f"colour_{blue}_{red}"], out[f"colour_err_{blue}_{red}"] = mag_b - mag_r, np.hypot(err_b, err_r)
    return pd.DataFrame(out), depth


class _Plane:
    """One band of a system, ready for sums."""

    def __init__(
        self, cutout: "Cutout", residual: np.ndarray, labels: np.ndarray, k: int, segments: pd.DataFrame
    ) -> None:
        invalid = cutout.mask[k] != 0
        self._flux = np.ascontiguousarray(residual[k])
        self._variance = np.where(invalid, 0, cutout.variance[k]).astype(np.float32)
        self._invalid = invalid.astype(np.float32)
        self._labels = labels.astype(np.int32)
        self._factors = cutout.extra["noise_factor"][k]
        self._empty = bool(invalid.all())
        bcg = segments.loc[segments["kind"] == "bcg", "label"]
        if len(bcg):
            # The central galaxy's own light was modelled away; its label sees the image instead.
            core = labels == bcg.iloc[0]
            self._flux = np.where(core & ~invalid, cutout.flux[k], self._flux)

    def circles(self, x: np.ndarray, y: np.ndarray, radius: float, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flux and error in circles; pixels of other segments are left out and made up for by area."""
        if self._empty or not np.isfinite(radius) or not len(x):
            return np.full(len(x), np.nan), np.full(len(x), np.nan)
        near = {"seg_id": label, "segmap": self._labels, "subpix": 5}
        flux, _, _ = sep.sum_circle(self._flux, x, y, radius, mask=self._invalid, **near)
        variance, _, _ = sep.sum_circle(self._variance, x, y, radius, mask=self._invalid, **near)
        lost, _, _ = sep.sum_circle(self._invalid, x, y, radius, subpix=5)
        err = np.sqrt(variance) * circle_factor_at(np.array([radius]), self._factors)
        bad = (lost > _MAX_MASKED * np.pi * radius**2) | ~(variance > 0) | ~np.isfinite(flux)
        return np.where(bad, np.nan, flux), np.where(bad, np.nan, err)

    def segments(self, label: np.ndarray, area: np.ndarray, perimeter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flux and error in the pixels of each segment."""
        if self._empty or not len(label):
            return np.full(len(label), np.nan), np.full(len(label), np.nan)
        n = int(self._labels.max()) + 1
        on = np.flatnonzero(self._labels)
        mine = self._labels.ravel()[on]
        flux, variance, lost = (
            np.bincount(mine, plane.ravel()[on], n)[label] for plane in (self._flux, self._variance, self._invalid)
        )
        err = np.sqrt(variance) * factor_at(2 * area / np.maximum(perimeter, 1), self._factors)
        bad = (lost > _MAX_MASKED * area) | ~(variance > 0)
        return np.where(bad, np.nan, flux), np.where(bad, np.nan, err)

    def depth(self, radius: float) -> float:
        """5 sigma AB magnitude of the aperture on a typical pixel."""
        if self._empty:
            return np.nan
        sigma = np.sqrt(np.pi * radius**2 * np.median(self._variance[self._variance > 0][::7]))
        limit = 5 * sigma * circle_factor_at(np.array([radius]), self._factors)[0]
        return -2.5 * np.log10(limit) + AB_ZERO_POINT_NOMINAL
