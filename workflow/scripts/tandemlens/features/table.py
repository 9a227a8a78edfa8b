"""One row of features per target."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.columns.features import COLUMNS
from tandemlens.base.columns.registry import adjacent_pairs, expand
from tandemlens.base.stack import read_stack
from tandemlens.base.stage import run_targets, target_rng
from tandemlens.base.tables import read_table, write_table
from tandemlens.features import geometry, second, sequence
from tandemlens.features.arcs import arc_colours, magnitudes, sequence_at, strongest
from tandemlens.features.behind import behind_features
from tandemlens.features.colour import (
    adjacent_colours,
    best_subset,
    bridged_colours,
    colour_gradient,
    consistency,
    huber_centroid,
    intrinsic_dispersion,
    sequence_offset,
)
from tandemlens.features.lens_contrast import Z_STEP, Sky, lens_contrast
from tandemlens.image.extinction import transmission

if TYPE_CHECKING:
    from tandemlens.features.colour import Colours

#: least distance of an arc from the centre for which a direction has a meaning, arcsec
_LEAST_RADIUS = 0.3
_GALAXIES = ("arc", "member", "other")
#: error of a template colour for photometric redshifts, mag
_TEMPLATE_SCATTER = 0.1


def features_shard(
    paths: dict[str, str],
    targets: pd.DataFrame,
    sequence_path: str,
    young_paths: list[str],
    out_path: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Write the feature table of a shard.

    Parameters
    ----------
    paths : dict of str
        ``segments``, ``photometry`` and ``measure``, those tables, and ``stack``, matched.h5.
    targets : pandas.DataFrame
        Target table of the shard.
    sequence_path : str
        Spectrum of an old galaxy.
    young_paths : list of str
        Spectra of young ones.
    out_path : str
        features.parquet.
    cfg : dict
        Section ``features`` of the settings, and ``colour``, ``bands``, ``wavelength``, ``width``, ``filter``,
        ``extinction``, ``pixel_scale``, ``seed``.
    progress : callable
    """
    measured = read_table(paths["measure"])
    ids = list(measured.loc[measured["status"] == "ok", "target_id"])
    ebv = measured.set_index("target_id")["ebv"]
    segments = read_table(paths["segments"]).merge(
        read_table(paths["photometry"]), on=["target_id", "label"], how="inner"
    )
    by_target = dict(tuple(segments.groupby("target_id")))
    rows = targets.set_index("target_id")
    bands = sequence.Bands(*(tuple(cfg[k]) for k in ("bands", "wavelength", "width", "filter")))
    sky = Sky(bands, sequence_path, young_paths)
    found: list[dict[str, Any]] = []
    seen: dict[str, second.Sources | None] = {}

    def work(index: int, target_id: str) -> None:
        frame = by_target.get(target_id, segments.iloc[:0])
        features = system_features(frame, rows.loc[target_id], target_id, sky, cfg)
        dim = 1 / transmission(ebv[target_id], cfg["extinction"])
        target = rows.loc[target_id]
        left = lens_contrast(frame, target, stack[place[target_id]], dim, sky, cfg["pixel_scale"])
        features |= behind_features(left)
        seen[target_id] = second.sources(left, target["z"], target["richness"])
        found.append({"target_id": target_id, **features})

    with read_stack(paths["stack"]) as stack:
        place = {t: i for i, t in enumerate(stack.target_ids)}
        status = run_targets(ids, work, progress)
    templates = sky.behind
    field = second.Field.of([s for s in seen.values() if s is not None], templates.z[templates.kind == "red"])
    for row in found:
        row |= second.second_features(seen[row["target_id"]], field)
    columns = expand(COLUMNS, bands.names)
    frame = pd.DataFrame(found, columns=[c.name for c in columns if c.name not in ("status", "reason")])
    frame = status.merge(frame, on="target_id", how="left")
    few = (frame["status"] == "ok") & frame["s_color"].isna()
    frame.loc[few, "status"] = "no_segments"
    frame.loc[few, "reason"] = [
        f"{int(n)} arc-like segments, fewer than two with S/N above {cfg['colour']['min_snr']} in two bands"
        for n in frame.loc[few, "n_arcs"]
    ]
    counts = dict.fromkeys(("n_segments", "n_arcs", "n_best"), 0)
    write_table(out_path, frame.fillna(counts), columns)


def system_features(
    frame: pd.DataFrame, target: pd.Series, target_id: str, sky: Sky, cfg: dict[str, Any]
) -> dict[str, Any]:
    """Features of one system.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its segments with their photometry.
    target : pandas.Series
        Its row of the target table: z, richness.
    target_id : str
        Seeds the simulated null.
    sky : tandemlens.features.lens_contrast.Sky
        Bands and sequence.
    cfg : dict
        As for `features_shard`.

    Returns
    -------
    dict
        Column of features.parquet -> value; without target_id, status and reason.
    """
    arcs = frame[frame["kind"] == "arc"]
    out: dict[str, Any] = {"n_segments": int((frame["kind"] != "bcg").sum()), "n_arcs": len(arcs), "n_best": 0}
    out |= _geometry_features(arcs, target, frame)
    out |= _colour_features(frame, target, target_id, sky, cfg)
    return out | _sequence_features(frame, target, sky, cfg)


def _geometry_features(arcs: pd.DataFrame, target: pd.Series, frame: pd.DataFrame) -> dict[str, float]:
    west, north = -arcs["east"].to_numpy(), arcs["north"].to_numpy()
    radius, azimuth = np.hypot(west, north), np.arctan2(north, west)
    away = radius > _LEAST_RADIUS
    weight = np.minimum(1.0, arcs["snr"].to_numpy() / 10) * away
    alignment, significance = geometry.tangential_alignment(arcs["theta"].to_numpy(), azimuth, weight)
    shear = geometry.shear_pattern(
        geometry.ellipticities(*(arcs[c].to_numpy() for c in ("q11", "q22", "q12"))), azimuth, weight
    )
    field = float(np.hypot(frame["east"], frame["north"]).max()) if len(frame) else 1.0
    thickness, ks = geometry.ring_shape(radius, max(field, 1e-3))
    gap, counter = geometry.azimuth_pattern(azimuth)
    lw = (arcs["length"] / arcs["width"]).to_numpy()
    middle = float(np.median(radius)) if len(arcs) else np.nan
    expected = geometry.expected_einstein_radius(target["richness"], target["z"])
    return {
        "tangential_alignment": alignment,
        "tangential_alignment_z": significance,
        "ellipticity_tangential": shear[0],
        "ellipticity_cross": shear[1],
        "coherence_rotated": shear[2],
        "coherence_raw": shear[3],
        **_curvature(arcs, radius),
        "lw_max": float(lw.max()) if len(arcs) else np.nan,
        "lw_median": float(np.median(lw)) if len(arcs) else np.nan,
        "n_lw7": float((lw >= 7).sum()),
        "coverage": float(arcs["length"].sum() / (2 * np.pi * middle)) if len(arcs) and middle > 0 else np.nan,
        "arc_radius": middle,
        "arc_radius_scaled": middle / expected,
        "ring_thickness": thickness,
        "radial_ks": ks,
        "separation_rms": geometry.separation_rms(west, north),
        "azimuth_gap": gap,
        "counter_image": counter,
        "arc_excess_z": _arc_excess(frame),
    }


def _curvature(arcs: pd.DataFrame, radius: np.ndarray) -> dict[str, float]:
    bent = arcs["curvature_radius"].notna().to_numpy() & (radius > _LEAST_RADIUS)
    if not bent.any():
        return dict.fromkeys(("curvature_ratio", "curvature_mismatch", "curvature_offset"), np.nan)
    ratio = arcs["curvature_radius"].to_numpy()[bent] / radius[bent]
    offset = np.hypot(arcs["circle_east"], arcs["circle_north"]).to_numpy()[bent] / radius[bent]
    return {
        "curvature_ratio": float(np.median(ratio)),
        "curvature_mismatch": float(np.median(np.abs(np.log(ratio)))),
        "curvature_offset": float(np.median(offset)),
    }


def _arc_excess(frame: pd.DataFrame) -> float:
    """Elongated segments within the median distance of all against the density of those beyond it."""
    if len(frame) < 10:
        return np.nan
    away = np.hypot(frame["east"], frame["north"]).to_numpy()
    border = np.median(away)
    elongated = ((frame["length"] / frame["width"]) >= 3).to_numpy() & frame["kind"].isin(_GALAXIES).to_numpy()
    inner, outer = int((elongated & (away <= border)).sum()), int((elongated & (away > border)).sum())
    # The outer area is that of the square field, whose half diagonal is the farthest segment.
    side2 = 2 * away.max() ** 2
    ratio = np.pi * border**2 / max(side2 - np.pi * border**2, 1e-6)
    return float((inner - outer * ratio) / np.sqrt(outer * ratio * (1 + ratio) + 1))


def _colour_features(
    frame: pd.DataFrame, target: pd.Series, target_id: str, sky: Sky, cfg: dict[str, Any]
) -> dict[str, float]:
    settings = cfg["colour"]
    arcs, colours, used = arc_colours(frame, sky.bands.names, settings)
    names = ("x2", "s_color", "s_color_best", "tau", "delta_rs", "delta_rs_best", "photoz_overlap")
    out = dict.fromkeys(names, np.nan)
    radius = np.hypot(arcs["east"], arcs["north"]).to_numpy()
    for pair in adjacent_pairs(sky.bands.names):
        out[f"colour_gradient_{pair}"] = colour_gradient(
            arcs[f"colour_{pair}"].to_numpy(float), arcs[f"colour_err_{pair}"].to_numpy(float), radius
        )
    if len(colours) < 2:
        return out
    p = colours.value.shape[1]
    intrinsic = settings["floor_mag"] ** 2 * np.eye(p)
    rng = target_rng(target_id, cfg["seed"])
    out["x2"], out["s_color"] = consistency(colours, intrinsic)
    brightest = strongest(arcs, settings["max_segments"])
    out["s_color_best"], chosen = best_subset(colours[brightest], intrinsic, settings["null_draws"], rng)
    out["n_best"] = int(chosen.sum())
    out["tau"] = intrinsic_dispersion(colours)
    place, place_covariance = sequence_at(frame, target["z"], sky.path, sky.bands, used)
    for name, subset in (("delta_rs", colours), ("delta_rs_best", colours[brightest][chosen])):
        mu, _, _, covariance = huber_centroid(subset, intrinsic)
        out[name] = sequence_offset(mu, covariance, place, place_covariance)
    out["photoz_overlap"] = _photoz_overlap(colours, sky.template, used)
    return out


def _photoz_overlap(colours: "Colours", template: np.ndarray, used: np.ndarray) -> float:
    """Mean over pairs of ``int p_i p_j dz`` with p from the old-galaxy template and a flat prior."""
    expected = bridged_colours(template, used)
    known = np.isfinite(expected).all(1)
    if not known.any():
        return np.nan
    total = colours.covariance + _TEMPLATE_SCATTER**2 * np.eye(expected.shape[1])
    away = colours.value[:, None] - expected[None, known]
    chi2 = np.einsum("nza,nab,nzb->nz", away, np.linalg.inv(total), away)
    p = np.exp(-0.5 * (chi2 - chi2.min(1, keepdims=True)))
    p /= p.sum(1, keepdims=True) * Z_STEP
    overlap = p @ p.T * Z_STEP
    i, j = np.triu_indices(len(p), 1)
    return float(overlap[i, j].mean())


def _sequence_features(frame: pd.DataFrame, target: pd.Series, sky: Sky, cfg: dict[str, Any]) -> dict[str, float]:
    galaxies = frame[frame["kind"].isin(_GALAXIES)]
    names = sky.bands.names
    mags, errors = magnitudes(galaxies, names)
    used = np.isfinite(mags).any(0)
    if len(galaxies) < 3 or used.sum() < 2:
        return dict.fromkeys(("lambda_bg", "lambda_bg_sigma", "lambda_bg_z"), np.nan)
    colours = adjacent_colours(mags[:, used], errors[:, used])
    west, north = -galaxies["east"].to_numpy(), galaxies["north"].to_numpy()
    settings = {**cfg, "field_arcsec": float(max(np.abs(west).max(), np.abs(north).max()))}
    richness, sigma, z = sequence.second_sequence(
        west,
        north,
        colours.value,
        colours.covariance,
        target["z"],
        (0.0, 0.0),
        lambda z: bridged_colours(sequence.sequence_colours(sky.path, sky.bands, z), used),
        settings,
    )
    return {"lambda_bg": richness, "lambda_bg_sigma": sigma, "lambda_bg_z": z}
