"""Simulated shards: labels, noise, PSF, twins, real canvases, and that painting leaves no trace."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from places import ROOT
from sites import SCALE, SIDE, galaxy, scene, site
from tandemlens.base.config import load_schema, load_survey, validate_settings
from tandemlens.base.errors import DataError
from tandemlens.base.flags import BAD, NO_DATA, SATURATED
from tandemlens.base.samples import CLASSES, used_settings
from tandemlens.base.stack import Cutout, header_text, read_stack
from tandemlens.base.tables import read_table
from tandemlens.base.units import njy_per_unit
from tandemlens.base.wcs import tangent_wcs
from tandemlens.sky.simulate import render_shard
from tandemlens.sky.site import Telescope, inject, site_of
from tandemlens.survey.psf import moffat

SEDS = {p.stem: str(p) for p in (ROOT / "resources/seds").glob("*.csv")}
PARTS = ("stack", "table", "systems", "truth", "images", "curves")
SURVEYS = ("mock", "legacy-dr10", "des-dr2", "hsc-pdr3-wide", "ps1", "sdss", "euclid-q1", "lsst-y10")


def survey_of(name):
    return load_survey(name, ROOT / "config/surveys", load_schema(ROOT / "config/schemas/survey.schema.yaml"))


def simulate_settings(**changes):
    schema = load_schema(ROOT / "config/schemas/simulate.schema.yaml")
    return used_settings(validate_settings(changes, schema))


def targets_of(*names, wanted=CLASSES, **facts):
    row = {"ra": 150.0, "dec": 2.0, "z": 0.3, "richness": 90.0, "shard": "hp8_00001", "group_id": "g", "ebv": np.nan}
    row |= facts
    rows = [{"target_id": f"{n}-{w}" if w else n, "canvas": n, "wanted": w, **row} for n in names for w in wanted]
    return pd.DataFrame(rows)


def render(folder, targets, survey=None, bands=("g", "r", "i"), size=60, **changes):
    """Products of a small shard, as a dict."""
    survey = survey or survey_of("mock")
    cfg = {"survey": survey, "bands": list(bands), "size_arcsec": size, "seed": 7, "ebv_map": None}
    cfg["extinction"] = [survey["bands"][band]["extinction"] for band in bands]
    out = {part: str(Path(folder) / part) for part in PARTS}
    render_shard(targets, {**cfg, "simulate": simulate_settings(**changes)}, SEDS, out, lambda done, total: None)
    with read_stack(out["stack"]) as stack:
        cutouts = {t: stack[k] for k, t in enumerate(stack.target_ids)}
    return {"cutouts": cutouts, **{part: read_table(out[part]) for part in PARTS[1:]}}


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    return render(tmp_path_factory.mktemp("twins"), targets_of("a", "b"), twins=True)


def test_labels_are_what_the_truth_says(twins):
    systems, truth = twins["systems"], twins["truth"]
    assert len(systems) == 12
    assert systems["label"].equals(systems["class"] == "tandem")
    for row in systems.to_dict("records"):
        mine = truth[truth["target_id"] == row["target_id"]]
        behind = mine[mine["kind"] == "behind"]
        seen = behind["strong"] & (behind["snr"] > 5)
        assert row["label"] == (seen.sum() >= 2)
        assert row["class"] == row["wanted"] or row["class"] in ("single_arc", "members")
        assert (behind["z"] > row["z"] + 0.149).all()
        assert behind["z"].nunique() <= 1


def test_twins_share_their_canvas_and_differ_by_what_is_painted(twins):
    truth = twins["truth"]
    for canvas in "ab":
        tables = [truth[(truth["target_id"] == f"{canvas}-{c}") & truth["canvas"]] for c in CLASSES]
        facts = [t[["kind", "east", "north", "z", "r_e", "n"]].reset_index(drop=True) for t in tables]
        for other in facts[1:]:
            pd.testing.assert_frame_equal(facts[0], other)
    painted = truth[~truth["canvas"]].groupby("target_id")["kind"].agg(set)
    assert painted["a-members"] == {"added"}
    assert painted["a-projected"] == {"behind"}
    assert painted["a-spiral_ring_merger"] <= {"spiral", "ring", "merger"}
    assert "a-artefact" not in painted


def test_images_belong_to_strong_sources_and_map_back(twins):
    truth, images = twins["truth"], twins["images"]
    strong = truth[truth["strong"]].set_index(["target_id", "source"])
    assert set(map(tuple, images[["target_id", "source"]].to_numpy())) == set(strong.index)
    bright = images[images["magnification"].abs() > 0.5].groupby(["target_id", "source"]).size()
    assert (bright == strong["n_images"].reindex(bright.index)).all()


def test_every_system_has_its_row_in_every_table(twins):
    ids = set(twins["systems"]["target_id"])
    assert set(twins["table"]["target_id"]) == set(twins["cutouts"]) == set(twins["truth"]["target_id"]) == ids
    assert twins["table"]["release"].str.startswith("simulated").all()
    assert (twins["systems"]["theta_e"] > 0).all()
    assert (twins["table"]["coverage"] <= 1).all()


@pytest.mark.parametrize("wanted", ["projected", "single_arc"])
def test_a_system_does_not_depend_on_its_neighbours(tmp_path, wanted):
    targets = targets_of("a", "b", wanted=("members", wanted))
    whole = render(tmp_path, targets)
    alone = render(tmp_path, targets.iloc[[3]])
    np.testing.assert_array_equal(whole["cutouts"][f"b-{wanted}"].flux, alone["cutouts"][f"b-{wanted}"].flux)
    of_it = whole["truth"][whole["truth"]["target_id"] == f"b-{wanted}"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_it, alone["truth"].reset_index(drop=True))


def test_dust_dims_what_is_painted_by_what_its_measurement_is_corrected_for(tmp_path):
    """Brightest pixels of the same system, seen through dust and not."""
    targets = targets_of("a", wanted=("members",))
    parts = [render(tmp_path, targets.assign(ebv=ebv)) for ebv in (0.0, 0.3)]
    clear, dusty = (done["cutouts"]["a-members"].flux.astype(float) for done in parts)
    for k, band in enumerate("gri"):
        bright = clear[k] > np.quantile(clear[k], 0.999)
        extinction = survey_of("mock")["bands"][band]["extinction"]
        ratio = dusty[k][bright].sum() / clear[k][bright].sum()
        assert ratio == pytest.approx(10 ** (-0.4 * 0.3 * extinction), rel=0.02)


def test_a_lens_beyond_every_source_becomes_a_row(tmp_path):
    done = render(tmp_path, targets_of("far", wanted=("tandem", "members"), z=1.35))
    status = done["table"].drop_duplicates("target_id").set_index("target_id")
    assert status.at["far-tandem", "status"] == "cannot_paint"
    assert "raise z_max" in status.at["far-tandem", "reason"]
    assert status.at["far-members", "status"] == "ok"


def test_shares_choose_the_class(tmp_path):
    only = {name: {"share": 0} for name in CLASSES if name != "members"}
    done = render(tmp_path, targets_of("a", "b", wanted=("",), richness=20.0), **only)
    assert set(done["systems"]["wanted"]) == {"members"}


@pytest.mark.real
def test_lensed_sources_take_the_shapes_of_real_galaxies(tmp_path, real):
    """Other pixels, and a strongly lensed and seen source all the same."""
    folder = str(real / "cosmos_galaxies/cosmos")
    targets = targets_of("a", wanted=("single_arc",))
    (tmp_path / "smooth").mkdir()
    smooth, rough = render(tmp_path / "smooth", targets), render(tmp_path, targets, cosmos=folder)
    assert list(rough["systems"]["class"]) == ["single_arc"]
    assert not np.array_equal(smooth["cutouts"]["a-single_arc"].flux, rough["cutouts"]["a-single_arc"].flux)
    source = rough["truth"].set_index("kind").loc["source"]
    assert source["strong"]
    assert source["snr"] > 5


@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_has_its_noise_and_seeing(name):
    """Blank sky: apertures of two FWHM scatter by a fifth of the flux at the depth, point sources have the FWHM."""
    survey = survey_of(name)
    bands, rng = list(survey["bands"]), np.random.default_rng(3)
    plain = {**survey, "mock": {"masked": 0.0, "missing": 0.0}}
    telescope = Telescope(plain, bands, 300 * survey["pixel_scale"])
    for _ in range(2):
        place, facts = telescope.site(rng)
        none = np.zeros((len(bands), place.side, place.side), np.float32)
        cutout, errors = telescope.observe(place, none, none > 0, 10.0, 0.0, rng)
        for k, band in enumerate(bands):
            stated = survey["bands"][band]["mock"]
            assert facts[f"fwhm_{band}"] == pytest.approx(stated["fwhm"], rel=2.6 * stated["fwhm_scatter"] + 1e-6)
            assert facts[f"depth_{band}"] == pytest.approx(stated["depth"], abs=2.6 * stated["depth_scatter"] + 1e-6)
            factor = 10 ** (-0.4 * errors[f"zero_point_{band}"])
            # a block of many pixels, larger than the correlation, holds the noise of the aperture of equal area
            n = max(round(np.sqrt(np.pi) * facts[f"fwhm_{band}"] / place.scale), 10)
            cut = place.side // n * n
            sums = cutout.flux[k, :cut, :cut].reshape(cut // n, n, cut // n, n).sum((1, 3)).ravel()
            area = np.pi * (facts[f"fwhm_{band}"] / place.scale) ** 2
            limit = njy_per_unit(facts[f"depth_{band}"]) / 5 * n / np.sqrt(area) * factor
            allowed = 4 / np.sqrt(2 * len(sums)) + (0.15 if stated["correlation"] > 0.6 else 0.06)
            assert sums.std() == pytest.approx(limit, rel=allowed)
            assert np.median(cutout.variance[k]) == pytest.approx((limit / factor / n) ** 2, rel=1e-3)


def test_resampled_noise_looks_small_pixel_by_pixel():
    survey = survey_of("legacy-dr10")
    survey["mock"] = {"masked": 0.0, "missing": 0.0}
    telescope, rng = Telescope(survey, ["g"], 120), np.random.default_rng(1)
    place, _ = telescope.site(rng)
    none = np.zeros((1, place.side, place.side))
    cutout, _ = telescope.observe(place, none, none > 0, 10.0, 0.0, rng)
    ratio = cutout.flux[0].std() / np.sqrt(np.median(cutout.variance[0]))
    sigma = survey["bands"]["g"]["mock"]["correlation"]
    weights = np.exp(-0.5 * (np.arange(-6, 7) / sigma) ** 2)
    assert ratio == pytest.approx((weights**2).sum() / weights.sum() ** 2, rel=0.03)


def test_masks_and_missing_bands_come_as_often_as_stated():
    survey = survey_of("mock")
    survey["mock"] = {"masked": 0.5, "missing": 0.2}
    telescope, rng = Telescope(survey, ["g", "r"], 30), np.random.default_rng(2)
    place, _ = telescope.site(rng)
    none = np.zeros((2, place.side, place.side))
    masks = [telescope.observe(place, none, none > 0, 10.0, 0.0, rng)[0].mask for _ in range(300)]
    missing = np.mean([(m == NO_DATA).all((1, 2)) for m in masks])
    masked = np.mean([((m & BAD) > 0).any() for m in masks if not (m == NO_DATA).all()])
    assert missing == pytest.approx(0.2, abs=0.05)
    assert 0.35 < masked < 0.6


def test_bright_stars_saturate():
    survey = survey_of("mock")
    survey["mock"] = {"masked": 0.0, "missing": 0.0}
    telescope, rng = Telescope(survey, ["g", "r"], 40), np.random.default_rng(2)
    place, _ = telescope.site(rng)
    for mag, saturated in ((16.0, True), (19.0, False)):
        canvas = place.canvas()
        canvas.add(galaxy("star", 0.0, 0.0, np.nan, njy_per_unit(mag), 0.0))
        clean = place.expose(canvas)
        cutout, _ = telescope.observe(place, clean, clean < 0, 10.0, 0.0, rng)
        assert ((cutout.mask & SATURATED) > 0).any() == saturated


def blank(psf, shift=(0.0, 0.0), sigma=1.0, side=SIDE):
    """A real cutout of two bands and no light."""
    wcs = header_text(tangent_wcs(30.0, -10.0, (side, side), SCALE, shift))
    flux = np.zeros((2, side, side), np.float32)
    return Cutout(
        ("g", "r"), flux, np.full_like(flux, sigma**2), flux.astype(np.uint16), np.stack([psf, psf]), (wcs, wcs)
    )


def test_a_painted_star_is_the_psf_of_the_image():
    """A point source in the middle of a pixel reproduces the PSF of the cutout, wherever its grid lies."""
    psf = moffat(41, SCALE, 0.9).astype(np.float32)
    survey = survey_of("kids_viking")
    for shift in ((0.0, 0.0), (0.3, -0.4)):
        place = site_of(blank(psf, shift), 30.0, -10.0, survey, "test")
        assert place.scale == pytest.approx(SCALE, rel=1e-5)
        np.testing.assert_allclose(place.shift, [shift] * 2, atol=1e-3)
        canvas = place.canvas()
        x, y = ((0.5 - s) * SCALE for s in shift)
        canvas.add(galaxy("star", x, y, np.nan, 1000.0, 0.0))
        image = place.expose(canvas)[0]
        middle = SIDE // 2
        stamp = image[middle - 20 : middle + 21, middle - 20 : middle + 21] / 1000
        assert np.abs(stamp - psf).max() < 0.01 * psf.max()


def test_a_turned_grid_is_refused():
    cutout = blank(moffat(41, SCALE, 0.9).astype(np.float32))
    wcs = tangent_wcs(30.0, -10.0, (SIDE, SIDE), SCALE)
    angle = np.radians(3.0)
    wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    cutout.wcs = (header_text(wcs), cutout.wcs[1])
    with pytest.raises(DataError, match=r"test, band g: the pixel grid is off north up by \d+\.\d+ pixel") as error:
        site_of(cutout, 30.0, -10.0, survey_of("kids_viking"), "test")
    assert error.value.status == "cannot_paint"


def test_injection_adds_light_and_its_own_noise():
    place = site_of(blank(moffat(41, SCALE, 0.9).astype(np.float32)), 30.0, -10.0, survey_of("kids_viking"), "test")
    cutout, rng = blank(moffat(41, SCALE, 0.9).astype(np.float32)), np.random.default_rng(3)
    clean = np.zeros((2, SIDE, SIDE), np.float32)
    clean[:, 40:120, 40:120] = 2 * place.sky[:, None, None]
    done = inject(place, cutout, clean, clean < 0, rng)
    part = np.s_[:, 40:120, 40:120]
    assert np.array_equal(done.flux[:, :40], cutout.flux[:, :40])
    np.testing.assert_allclose(done.variance[part], 3.0, rtol=1e-5)
    assert (done.flux - clean)[part].std() == pytest.approx(np.sqrt(2.0), rel=0.02)
    assert (done.flux - clean)[part].mean() == pytest.approx(0, abs=0.05)


def test_the_ideal_observer_sees_what_is_painted():
    """Matched-filter S/N of an unlensed source: the norm of its image over the noise."""
    sky = scene(sigma_v=1.0)
    source = galaxy("field", 2.0, 1.0, 1.0)
    light, window = sky.site.lensed_light(source, *sky.bending(1.0))
    canvas = sky.site.canvas()
    canvas.add(source)
    image = site().expose(canvas)
    np.testing.assert_allclose(light.sum((1, 2)), source.flux, rtol=0.01)
    assert np.abs(image[(slice(None), *window)] - light).max() < 0.01 * light.max()
    assert sky.site.ideal_snr(light) == pytest.approx(np.linalg.norm(image / 10.0), rel=0.005)
