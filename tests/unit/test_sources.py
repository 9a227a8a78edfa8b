"""The source `files`: units, layouts and the real files of five surveys."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from places import ROOT
from tandemlens.base.config import load_schema, load_survey, validate_settings
from tandemlens.base.errors import DataError
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import read_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.survey.calibrate import njy_per_pixel_unit
from tandemlens.survey.cutouts import CutoutReader, fetch_shard
from tandemlens.survey.layers import Files

SCHEMA = load_schema(ROOT / "config/schemas/survey.schema.yaml")
SURVEYS = sorted(p.stem for p in (ROOT / "config/surveys").glob("*.yaml"))


def header(**cards):
    return fits.Header(list(cards.items()))


@pytest.mark.parametrize("name", SURVEYS)
def test_every_shipped_survey_is_valid(name):
    survey = load_survey(name, ROOT / "config/surveys", SCHEMA)
    waves = [band["wavelength"] for band in survey["bands"].values()]
    assert waves == sorted(waves)
    assert all({"width", "extinction"} <= band.keys() for band in survey["bands"].values())


@pytest.mark.parametrize(
    ("spec", "cards", "expected"),
    [
        ({"unit": "nJy"}, {}, 1.0),
        ({"unit": "uJy"}, {}, 1e3),
        ({"unit": "maggies"}, {}, 10 ** (0.4 * 31.4)),
        ({"unit": "nanomaggies"}, {}, 10 ** (0.4 * 8.9)),
        ({"unit": "ADU", "zero_point": 27.0}, {}, 10 ** (0.4 * 4.4)),
        ({"unit": "ADU", "zero_point": "MAGZERO"}, {"MAGZERO": 30.0}, 10 ** (0.4 * 1.4)),
        ({"unit": "ADU"}, {"MAGZERO": 30.0}, 10 ** (0.4 * 1.4)),
        ({"unit": "ADU", "zero_flux": "FLUXMAG0"}, {"FLUXMAG0": 10 ** (0.4 * 27)}, 10 ** (0.4 * 4.4)),
        ({}, {"BUNIT": "1.58479740e-02 nanomaggy"}, 1.5847974e-2 * 10 ** (0.4 * 8.9)),
        ({}, {"BUNIT": "MJy/sr"}, 1e15 * 0.04 / 206264.806**2),
        # HST ACS F606W: PHOTFLAM 7.862e-20, PHOTPLAM 5921.1 is the AB zero point 26.49 (Sirianni et al. 2005: 26.486).
        ({"unit": "e-/s"}, {"PHOTFLAM": 7.862e-20, "PHOTPLAM": 5921.1}, 10 ** (0.4 * (31.4 - 26.49))),
    ],
)
def test_units(spec, cards, expected):
    assert njy_per_pixel_unit(spec, header(**cards), 0.04, "g: x.fits") == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("spec", "cards", "said"),
    [
        ({}, {"BUNIT": "furlong"}, "BUNIT 'furlong' is no known unit"),
        ({}, {"BUNIT": "MJy"}, "BUNIT 'MJy' is no known unit"),
        ({}, {}, "counts without a zero point"),
        ({"unit": "ADU", "zero_point": "MAGZERO"}, {}, "keyword MAGZERO is missing or no number"),
        ({"unit": "ADU", "zero_flux": "FLUXMAG0"}, {"FLUXMAG0": -1.0}, "must be positive"),
        ({"unit": "e-/s"}, {}, "e-/s without PHOTFLAM and PHOTPLAM"),
    ],
)
def test_refused_units(spec, cards, said):
    with pytest.raises(DataError, match=said) as refusal:
        njy_per_pixel_unit(spec, header(**cards), 0.04, "g: x.fits")
    assert refusal.value.status == "bad_unit"


@given(st.text(max_size=30))
def test_any_unit_text_gives_a_number_or_a_refusal(text):
    class Cards(dict):
        pass

    try:
        factor = njy_per_pixel_unit({}, Cards(BUNIT=text, MAGZERO=30.0), 0.04, "g")
    except DataError as refusal:
        assert refusal.status == "bad_unit"
    else:
        assert np.isfinite(factor)


@given(st.text(min_size=1, max_size=40))
def test_no_name_leaves_the_folder(name):
    files = Files("/data")
    try:
        path = files.path("cutouts/{name}_{band}.fits", "g", name)
    except DataError as refusal:
        assert refusal.status == "fetch_failed"
    else:
        assert path.parent.as_posix() == "/data/cutouts"
        assert ".." not in path.name


def survey_of(folder, image=None, **layers):
    """A survey of two bands in `folder` whose layers are as given."""
    defaults = {"image": {"file": "{band}.fits", "unit": "nJy", **(image or {})}, "psf": {"fwhm": 0.9}, **layers}
    bands = {
        "g": {"wavelength": 4800, "width": 1000, "extinction": 3.2},
        "r": {"wavelength": 6200, "width": 1000, "extinction": 2.3},
    }
    survey = {"source": "files", "release": "test", "pixel_scale": 0.25, "defaults": defaults, "bands": bands}
    return validate_settings(survey, SCHEMA, "survey")


def write_sky(folder, size=120, names=("g", "r")):
    rng = np.random.default_rng(0)
    for name in names:
        image = rng.normal(0, 5, (size, size)).astype(np.float32)
        image[size // 2, size // 2] = 5000
        fits.writeto(
            folder / f"{name}.fits", image, tangent_wcs(150, 2, (size, size), 0.25).to_header(), overwrite=True
        )


TARGET = {"target_id": "t-00000000", "name": "t", "ra": 150.0, "dec": 2.0, "source_row": 0}


def test_the_target_is_at_the_centre(tmp_path):
    write_sky(tmp_path)
    source = CutoutReader(survey_of(tmp_path), ["g", "r"], tmp_path, 15)
    cutout, facts = source.cutout(TARGET)
    source.close()
    assert [f["status"] for f in facts] == ["ok", "ok"]
    ny, nx = cutout.flux.shape[1:]
    y, x = np.unravel_index(cutout.flux[0].argmax(), (ny, nx))
    sky = cutout.astropy_wcs(0).pixel_to_world(x, y)
    assert sky.separation(tangent_wcs(150, 2, (120, 120), 0.25).pixel_to_world(60, 60)).arcsec < 1e-6
    assert abs(x - (nx - 1) / 2) <= 1
    assert facts[0]["bytes"] == (tmp_path / "g.fits").stat().st_size
    assert len(facts[0]["sha256"]) == 64


def test_a_cutout_over_the_edge_is_padded_with_no_data(tmp_path):
    write_sky(tmp_path)
    source = CutoutReader(survey_of(tmp_path), ["g", "r"], tmp_path, 20)
    cutout, facts = source.cutout({**TARGET, "ra": 150.0 + 13 / 3600})
    source.close()
    assert 0.3 < facts[0]["coverage"] < 0.8
    assert (cutout.flux[cutout.mask != 0] == 0).all()


def test_sidecar_headers_replace_the_files_own(tmp_path):
    write_sky(tmp_path)
    for band in "gr":
        cards = tangent_wcs(10, -5, (120, 120), 0.25).to_header()
        text = cards.tostring(sep="\n", endcard=False, padding=False)
        (tmp_path / f"{band}.head").write_text(f"{text}\nMAGZERO = 31.4\nEND\n")
    survey = survey_of(tmp_path, {"head": "{band}.head", "unit": "ADU", "zero_point": "MAGZERO"})
    source = CutoutReader(survey, ["g", "r"], tmp_path, 15)
    cutout, facts = source.cutout({**TARGET, "ra": 10.0, "dec": -5.0})
    source.close()
    assert facts[0]["status"] == "ok"
    assert cutout.flux[0].max() == pytest.approx(5000, rel=1e-3)


def test_a_measured_sky_with_gain_has_the_sources_noise(tmp_path):
    write_sky(tmp_path)
    source = CutoutReader(survey_of(tmp_path, {"gain": 2.0}), ["g", "r"], tmp_path, 15)
    cutout, _ = source.cutout(TARGET)
    source.close()
    variance = cutout.variance[0]
    assert np.median(variance) == pytest.approx(25, rel=0.15)
    assert variance.max() == pytest.approx(25 + 2500, rel=0.05)


def run(name, real, tmp_path, size, row, bands=None):
    survey = load_survey(name, ROOT / "config/surveys", SCHEMA)
    bands = bands or list(survey["bands"])
    targets = pd.DataFrame([{**TARGET, **row}])
    cfg = {"survey": survey, "bands": bands, "data": real / name, "size_arcsec": size}
    fetch_shard(targets, cfg, tmp_path / "c.h5", tmp_path / "f.parquet", lambda a, b: None)
    with read_stack(tmp_path / "c.h5") as stack:
        return stack[0], read_table(tmp_path / "f.parquet").set_index("band")


def test_legacy_viewer(real, tmp_path):
    cutout, facts = run("legacy_viewer_cutout", real, tmp_path, 65, {"ra": 59.1067, "dec": -30.4848})
    assert (facts["status"] == "ok").all()
    # README: sigma * sqrt(invvar) = 0.86 in whole; the darkest part scatters less than twice a tenth from 1.
    assert facts["noise_ratio"].between(0.8, 1.1).all()
    assert facts["psf_fwhm"].between(0.8, 1.2).all()
    assert cutout.usable().all()


def test_hsc_cutout(real, tmp_path):
    cutout, facts = run("hsc_cutout_gama", real, tmp_path, 50, {"ra": 222.51551376, "dec": 0.09749601})
    assert (facts["status"] == "ok").all()
    # README: the true sigma is 1.10-1.13 times what the variance says.
    assert facts["noise_ratio"].between(1.0, 1.2).all()
    # The catalogue's Kron magnitude of the spiral is g 21.63, r 20.96 for its HII region; the disc itself is brighter.
    assert cutout.flux[1].max() > 0


def test_euclid(real, tmp_path):
    _, facts = run("euclid_q1", real, tmp_path, 10, {"ra": 57.004035, "dec": -50.77529})
    assert (facts["status"] == "ok").all()
    assert facts.loc["g", "psf_fwhm"] > 1.0
    assert facts.loc["VIS", "psf_fwhm"] == pytest.approx(0.165, abs=0.06)
    # Resampled: pixels scatter far less than the RMS says.
    assert (facts["noise_ratio"] < 0.7).all()


def test_des_cube_takes_the_plane_of_the_row(real, tmp_path):
    cutout, facts = run("des_lrg", real, tmp_path, 23, {"source_row": 5})
    assert (facts["status"] == "ok").all()
    with fits.open(real / "des_lrg/r.fits") as hdus:
        plane = hdus[0].data[5] * 10 ** (0.4 * 1.4)
    assert cutout.flux[1].max() == pytest.approx(plane[1:-1, 1:-1].max(), rel=1e-5)
    _, facts = run_beyond(real, tmp_path)
    assert "plane 99 is outside the cube of 23 planes" in facts.loc["g", "reason"]


def run_beyond(real, tmp_path):
    survey = load_survey("des_lrg", ROOT / "config/surveys", SCHEMA)
    source = CutoutReader(survey, list(survey["bands"]), real / "des_lrg", 23)
    cutout, facts = source.cutout({**TARGET, "source_row": 99})
    source.close()
    return cutout, pd.DataFrame(facts).set_index("band")


def test_kids_field(real, tmp_path):
    """README: FWHM g 3.1, r 2.5, Z 3.4 px of 0.339 arcsec, from field stars."""
    row = {"ra": 352.2905, "dec": -31.7428}
    _, facts = run("kids_viking", real, tmp_path, 60, row, ["g", "r", "Z"])
    assert (facts["status"] == "ok").all()
    assert (facts["n_psf_stars"] >= 10).all()
    assert (facts["psf_quality"] < 0.1).all()
    for band, pixels in (("g", 3.1), ("r", 2.5), ("Z", 3.4)):
        assert facts.loc[band, "psf_fwhm"] / 0.339 == pytest.approx(pixels, rel=0.1)
