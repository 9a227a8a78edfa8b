"""The feature row of a system: invariances of every feature, and what it says of known arrangements."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from places import ROOT
from tandemlens.base.columns.features import COLUMNS
from tandemlens.base.columns.registry import expand
from tandemlens.base.flags import NO_DATA
from tandemlens.base.stack import Cutout, header_text, write_stack
from tandemlens.base.tables import read_table, write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.features.behind import behind_features
from tandemlens.features.lens_contrast import Sky
from tandemlens.features.second import second_features
from tandemlens.features.sequence import SCATTER, TEMPLATE_ERROR, Bands, second_sequence
from tandemlens.features.table import features_shard, system_features

SED, *YOUNG = (str(ROOT / f"resources/seds/{name}.csv") for name in ("elliptical", "spiral", "starburst"))
BANDS = Bands(("g", "r", "i"), (4800, 6220, 7540), (1400, 1400, 1300))
COLOUR = {"floor_mag": 0.03, "min_snr": 5, "max_segments": 8, "null_draws": 200}
CFG = {"dz_min": 0.1, "z_max": 1.4, "radius_arcsec": 40, "colour": COLOUR, "seed": 1, "pixel_scale": 0.25}
CFG |= {"bands": list(BANDS.names), "wavelength": list(BANDS.wavelength), "width": list(BANDS.width)}
CFG |= {"filter": [None] * 3, "extinction": [3.2, 2.2, 1.6]}
TARGET = pd.Series({"z": 0.3, "richness": 40.0})
SKY = Sky(BANDS, SED)


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
    row = {"target_id": "t", "status": "ok", "reason": "", **features(system()), **behind_features(None)}
    row |= second_features(None, None)
    write_table(tmp_path / "f.parquet", pd.DataFrame([row]), expand(COLUMNS, BANDS.names))


def test_a_system_without_segments_has_a_row(tmp_path):
    frame = system().iloc[:0]
    row = features(frame)
    assert row["n_arcs"] == 0
    assert np.isnan(row["s_color"])


def images(rng, size=200):
    """Noise, and 6 arcsec from the centre a point source with the colours of old stars at redshift 1."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    beam = np.exp(-((x - 24) ** 2 + y**2) / (2 * (4 / 2.3548) ** 2))
    source = np.array([300.0, 900.0, 3000.0])[:, None, None] * beam / beam.sum()
    flux = (source + rng.normal(0, 5, (3, size, size))).astype(np.float32)
    wcs = header_text(tangent_wcs(30.0, 2.0, (size, size), CFG["pixel_scale"]))
    psf = np.full((3, 1, 1), 1, np.float32)
    extra = {"fwhm": np.float32(4 * CFG["pixel_scale"])}
    return Cutout(BANDS.names, flux, np.full_like(flux, 25.0), np.zeros(flux.shape, np.uint16), psf, (wcs,) * 3, extra)


def shard(folder, segments, measured, cutouts, z):
    """Feature table of targets, with the tables and images that make it."""
    split = [c for c in segments if c.startswith(("mag", "flux", "colour"))]
    segments.drop(columns=split).to_parquet(folder / "segments.parquet")
    segments[["target_id", "label", *split]].to_parquet(folder / "photometry.parquet")
    measured.to_parquet(folder / "measure.parquet")
    with write_stack(folder / "matched.h5", BANDS.names, (200, 200), 1) as stack:
        for target_id, cutout in cutouts.items():
            stack.append(target_id, cutout)
    targets = pd.DataFrame({"target_id": measured["target_id"], "z": z, "richness": 40.0})
    paths = {name: str(folder / f"{name}.parquet") for name in ("segments", "photometry", "measure")}
    paths["stack"] = str(folder / "matched.h5")
    features_shard(paths, targets, SED, YOUNG, str(folder / "f.parquet"), CFG, lambda done, total: None)
    return read_table(folder / "f.parquet")


def test_too_few_coloured_arcs_have_a_status(tmp_path):
    """A target whose measurement failed is no row, and needs no image."""
    measured = pd.DataFrame({"target_id": ["t-00000000", "u-00000000"], "status": ["ok", "masked"], "ebv": 0.0})
    cutouts = {"t-00000000": images(np.random.default_rng(0))}
    found = shard(tmp_path, system(n_arcs=1), measured, cutouts, 0.3)
    assert list(found["status"]) == ["no_segments"]
    assert found["reason"][0].startswith("1 arc-like segments, fewer than two with S/N above 5")


def test_images_are_searched_behind_every_lens_of_known_redshift(tmp_path):
    """Dust is corrected for; a lost band is borne; without redshift or images there is nothing to say."""
    plain = images(np.random.default_rng(0))
    dim = (10 ** (-0.4 * 0.2 * np.array(CFG["extinction"])))[:, None, None].astype(np.float32)
    dusty = replace(plain, flux=plain.flux * dim, variance=plain.variance * dim**2)

    def without(bands):
        lost = np.isin(BANDS.names, bands)[:, None, None] & np.ones(plain.mask.shape, bool)
        masked = np.where(lost, NO_DATA, 0).astype(np.uint16)
        return replace(plain, flux=plain.flux * ~lost, variance=np.where(lost, np.inf, 25.0), mask=masked)

    cutouts = {"plain": plain, "dusty": dusty, "far": plain, "two": without(["r"]), "one": without(["g", "r"])}
    names = list(cutouts)
    segments = pd.concat([system().assign(target_id=name) for name in names], ignore_index=True)
    measured = pd.DataFrame({"target_id": names, "status": "ok", "ebv": np.where(np.array(names) == "dusty", 0.2, 0.0)})
    found = shard(tmp_path, segments, measured, cutouts, [0.3, 0.3, np.nan, 0.3, 0.3]).set_index("target_id")
    behind = found[[c for c in found if c.startswith(("behind_", "red_", "blue_", "second_"))]]
    assert found["tangential_alignment"].notna().all()
    assert behind.loc[["far", "one"]].isna().all(axis=None)
    # by its magnitude the source is near L* for old stars of redshift 1
    assert behind.loc["plain", "red_peaks12"] == 1
    assert behind.loc["plain", "red_snr12"] > 8
    assert abs(behind.loc["plain", "red_bright12"]) < 1.5
    np.testing.assert_allclose(behind.loc["dusty"], behind.loc["plain"], rtol=1e-3, atol=1e-3)
    two = behind.loc["two"]
    assert two.drop([c for c in two.index if "bright" in c or "second" in c or c == "behind_z"]).notna().all()
    assert two["red_snr12"] > 5


def test_a_second_sequence_is_counted_by_hand():
    """One redshift and colour: on the sequence and one sigma off inside, one outside, and one that says nothing."""
    off = np.sqrt(0.01**2 + SCATTER**2 + TEMPLATE_ERROR**2)
    x, colours = np.array([3.0, -20.0, 60.0, 10.0]), np.array([[1.0], [1.0 + off], [1.0], [1.0]])
    covariance = np.array([0.01, 0.01, 0.01, 0.3])[:, None, None] ** 2
    settings = {"dz_min": 0.1, "z_max": 0.41, "radius_arcsec": 40, "field_arcsec": 100}
    given = (x, np.zeros(4), colours, covariance, 0.3, (0.0, 0.0), lambda z: np.ones((len(z), 1)), settings)
    ratio = np.pi * 40**2 / (200**2 - np.pi * 40**2)
    excess = 1 + np.exp(-0.5) - ratio
    assert second_sequence(*given) == pytest.approx((excess, excess / np.sqrt(ratio * (1 + ratio) + 1), 0.4))
    # an empty field counts as half a galaxy
    x[2] = 0.0
    assert second_sequence(*given)[0] == pytest.approx(2 + np.exp(-0.5) - ratio / 2)
