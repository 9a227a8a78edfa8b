"""The feature row of a system: invariances of every feature, and what it says of known arrangements."""

import numpy as np
import pandas as pd
import pytest

from places import ROOT
from tandemlens.base.columns.features import COLUMNS
from tandemlens.base.columns.registry import expand
from tandemlens.base.tables import read_table, write_table
from tandemlens.features.sequence import Bands, sequence_colours
from tandemlens.features.table import _Z, _Sky, features_shard, system_features

SED = str(ROOT / "resources/seds/elliptical.csv")
BANDS = Bands(("g", "r", "i"), (4800, 6220, 7540), (1400, 1400, 1300))
COLOUR = {"floor_mag": 0.03, "min_snr": 5, "max_segments": 8, "null_draws": 200}
CFG = {"dz_min": 0.1, "z_max": 1.4, "radius_arcsec": 40, "colour": COLOUR, "seed": 1, "pixel_scale": 0.25}
CFG |= {"bands": list(BANDS.names), "wavelength": list(BANDS.wavelength), "width": list(BANDS.width)}
CFG |= {"filter": [None] * 3}
TARGET = pd.Series({"z": 0.3, "richness": 40.0})
SKY = _Sky(BANDS, SED, sequence_colours(SED, BANDS, _Z))


def system(seed=0, n_arcs=6, n_members=40):
    """Segments of one system: tangential arcs of one colour at 12 arcsec, a BCG, members and field galaxies."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in range(1, n_arcs + n_members + 2):
        kind = "arc" if label <= n_arcs else "bcg" if label == n_arcs + 1 else "member"
        azimuth = rng.uniform(-np.pi, np.pi)
        radius = {"arc": rng.normal(12, 1), "bcg": 0.0}.get(kind, rng.uniform(3, 70))
        theta = (azimuth + np.pi / 2 + rng.normal(0, 0.2)) % np.pi if kind == "arc" else rng.uniform(0, np.pi)
        long, short = (1.5, 0.1) if kind == "arc" else (0.4, 0.3)
        q11 = long * np.cos(theta) ** 2 + short * np.sin(theta) ** 2
        q22 = long * np.sin(theta) ** 2 + short * np.cos(theta) ** 2
        row = {"target_id": "t-00000000", "label": label, "kind": kind, "snr": rng.uniform(10, 80), "theta": theta}
        row |= {"east": -radius * np.cos(azimuth), "north": radius * np.sin(azimuth), "q11": q11, "q22": q22}
        row |= {"q12": (long - short) * np.sin(theta) * np.cos(theta), "length": 6.0 if kind == "arc" else 1.0}
        row |= {"width": 1.0 if kind == "arc" else 0.8, "curvature_radius": radius * 1.1 if kind == "arc" else np.nan}
        row |= {"circle_east": rng.normal(0, 1), "circle_north": rng.normal(0, 1)}
        base = {"arc": [24.0, 22.2, 21.2], "bcg": [19.6, 18.0, 17.4]}.get(kind, rng.normal([23, 22.2, 21.8], 0.5))
        for band, mag in zip(BANDS.names, np.array(base) + rng.normal(0, 0.03, 3), strict=True):
            flux = 10 ** (0.4 * (31.4 - mag))
            row |= {f"mag_{band}": mag, f"mag_err_{band}": 0.03, f"flux_seg_{band}": flux}
            row |= {f"flux_seg_err_{band}": flux * 0.03 / 1.0857}
        for a, b in ("gr", "ri"):
            row |= {f"colour_{a}_{b}": row[f"mag_{a}"] - row[f"mag_{b}"], f"colour_err_{a}_{b}": 0.042}
        rows.append(row)
    return pd.DataFrame(rows)


def turned(frame, angle=0.0, flip=False):
    """The system seen on a sky turned by an angle, or mirrored."""
    out = frame.copy()
    sign = -1 if flip else 1
    for east, north in (("east", "north"), ("circle_east", "circle_north")):
        west, up = -frame[east] * sign, frame[north]
        out[east] = -(west * np.cos(angle) - up * np.sin(angle))
        out[north] = west * np.sin(angle) + up * np.cos(angle)
    out["theta"] = (sign * frame["theta"] + angle) % np.pi
    q = frame[["q11", "q12", "q12", "q22"]].to_numpy().reshape(-1, 2, 2)
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([sign, 1])
    q = rotate @ q @ rotate.T
    return out.assign(q11=q[:, 0, 0], q12=q[:, 0, 1], q22=q[:, 1, 1])


def features(frame):
    return system_features(frame, TARGET, "t-00000000", SKY, CFG)


@pytest.mark.parametrize("how", ["turned", "flipped", "permuted"])
def test_no_feature_sees_orientation_or_order(how):
    frame = system()
    other = {
        "turned": lambda: turned(frame, 0.8),
        "flipped": lambda: turned(frame, flip=True),
        "permuted": lambda: frame.sample(frac=1, random_state=3),
    }[how]()
    # Field area is that of an upright square, so counts of arcs and of the second sequence see its corners.
    upright = {"arc_excess_z", "lambda_bg", "lambda_bg_sigma", "lambda_bg_z"} if how == "turned" else set()
    # The simulated null of the best subset meets the arcs in another order.
    upright |= {"s_color_best"}
    before, after = features(frame), features(other)
    for name in before.keys() - upright:
        expected = -before[name] if how == "flipped" and name == "ellipticity_cross" else before[name]
        assert after[name] == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True), name
    assert after["s_color_best"] == pytest.approx(before["s_color_best"], abs=0.1)


def test_turning_every_arc_by_a_right_angle_flips_the_alignment():
    frame = system()
    radial = frame.assign(theta=(frame["theta"] + np.pi / 2) % np.pi)
    assert features(radial)["tangential_alignment"] == pytest.approx(-features(frame)["tangential_alignment"])


def test_a_lensing_arrangement_looks_like_one():
    row = features(system(1, n_arcs=8))
    assert row["tangential_alignment"] > 0.8
    assert row["tangential_alignment_z"] > 2
    assert row["ellipticity_tangential"] > 0.3
    assert row["curvature_ratio"] == pytest.approx(1.1, rel=1e-6)
    assert row["ring_thickness"] < 0.15
    assert row["arc_radius"] == pytest.approx(12, abs=1)
    assert row["s_color"] > 0.01
    assert row["delta_rs"] > 2
    assert row["n_lw7"] == 0


def test_every_feature_is_registered_and_within_its_range(tmp_path):
    frame = pd.DataFrame([{"target_id": "t", "status": "ok", "reason": "", **features(system())}])
    write_table(tmp_path / "f.parquet", frame, expand(COLUMNS, BANDS.names))


def test_a_system_without_segments_has_a_row(tmp_path):
    frame = system().iloc[:0]
    row = features(frame)
    assert row["n_arcs"] == 0
    assert np.isnan(row["s_color"])


def test_too_few_coloured_arcs_have_a_status(tmp_path):
    frame = system(n_arcs=1)
    split = [c for c in frame if c.startswith(("mag", "flux", "colour"))]
    frame.drop(columns=split).to_parquet(tmp_path / "s.parquet")
    frame[["target_id", "label", *split]].to_parquet(tmp_path / "p.parquet")
    status = pd.DataFrame({"target_id": ["t-00000000", "u-00000000"], "status": ["ok", "masked"]})
    status.to_parquet(tmp_path / "m.parquet")
    targets = pd.DataFrame([{"target_id": t, "z": 0.3, "richness": 40.0} for t in status["target_id"]])
    paths = [str(tmp_path / f"{n}.parquet") for n in "spm"]
    features_shard(*paths, targets, SED, str(tmp_path / "f.parquet"), CFG, lambda done, total: None)
    found = read_table(tmp_path / "f.parquet")
    assert list(found["status"]) == ["no_segments"]
    assert found["reason"][0].startswith("1 arc-like segments, fewer than two with S/N above 5")
