"""MAST: cutouts in zips and whole mosaics, and each trap of services.md C6."""

import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from asking import assert_star_places, assert_true_flux, fetch, survey_of
from astropy.io import fits

from skyserver.mast import MOSAIC, UNREACHED, ZCUT, packed
from skyserver.server import Server
from skyserver.sky import SIGMA, Sky
from tandemlens.base.errors import DataError, SettingsError
from tandemlens.survey.services.client import BadAnswer
from tandemlens.survey.services.mast import Mast, _planes, _ZipCheck

BANDS = ("F606W", "F814W", "F160W")
PLACE = (177.4064, 22.3804)
RECORDED = "service_recordings/mast/tests/data/astrocut_189.49206_62.20615_100x100px"
BUFFALO = "hlsp:hlsps/buffalo/{name}/images/hlsp_buffalo_hst_{label}-30mas_{name}_{band}_v1.0_{ext}.fits"
CLASH = "hlsp:missions/hlsp/clash/{name}/data/hst/scale_65mas/hlsp_clash_hst_{label}-65mas_{name}_{band}_v1_{ext}.fits"


def zcut_survey():
    survey = survey_of("hst-hap", collection=f"zcut:{ZCUT}")
    survey["pixel_scale"] = 0.03
    for name, band in survey["bands"].items():
        band["label"] = name.lower()
    return survey


def hlsp_survey(pattern, acs, ir):
    survey = survey_of("hst-hap", collection=pattern)
    survey["pixel_scale"] = 0.06
    for band in survey["bands"].values():
        band["label"] = ir if "ir_" in band["label"] else acs
    return survey


@pytest.fixture
def named(monkeypatch):
    """Targets bear the name that MAST gives the cluster."""
    import asking

    plain = asking.targets_at
    monkeypatch.setattr(asking, "targets_at", lambda *places: plain(*places).assign(name="Abell370"))


@pytest.fixture(scope="module")
def hapcut(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hapcut")
    return folder, fetch(Mast, survey_of("hst-hap"), folder, [PLACE], BANDS, size=40)


def test_flux_and_places_are_those_of_the_sky(hapcut):
    _, done = hapcut
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    assert_star_places(done, "t0")
    # one question for all bands
    assert len(done.asked) == 1
    assert "hst_skycell-p2007x09y05_acs_wfc_f606w_all_drc.fits" in done.band("t0", "F606W")["release"]


def test_photflam_in_the_primary_header_only_is_found(hapcut):
    """WFC3 files; the flux of F160W is tested above, and would have no zero point."""
    folder, done = hapcut
    path = next((folder / "cache/mast").glob("*/*.zip"))
    plane = next(p for p in _planes(path) if p.member.endswith("_wfc3_ir_f160w.fits"))
    assert plane.calibration["photplam"] == pytest.approx(15369.18)
    assert done.band("t0", "F160W")["status"] == "ok"


def test_weights_are_relative_and_take_their_scale_from_the_sky(hapcut):
    _, done = hapcut
    cutout = done.cutouts["t0"]
    sigma = np.sqrt(cutout.variance) / (SIGMA * 0.04)
    half = cutout.flux.shape[2] // 2
    for k in range(len(BANDS)):
        deep, shallow = np.median(sigma[k][:, half + 5 :]), np.median(sigma[k][:, : half - 5])
        assert deep == pytest.approx(1, rel=0.05)
        assert shallow == pytest.approx(np.sqrt(2), rel=0.05)


def test_coarse_twins_exposures_and_the_poorer_cell_are_left_alone(hapcut):
    """The exposure holds half the light and the neighbouring cell twice: either would spoil the flux."""
    folder, done = hapcut
    path = next((folder / "cache/mast").glob("*/*.zip"))
    with zipfile.ZipFile(path) as file:
        assert sum("f160w" in name for name in file.namelist()) == 4
    assert (done.table["coverage"] == 1).all()
    assert done.cutouts["t0"].flux.shape[1:] == (1000, 1000)


def test_psf_is_nominal_without_stars_and_theirs_in_a_larger_field(hapcut, tmp_path):
    _, done = hapcut
    assert set(done.table["psf_source"]) == {"nominal"}
    survey = survey_of("hst-hap")
    survey["bands"]["F160W"]["label"] = "ir_f160w_coarse"
    survey["bands"]["F160W"]["psf"] = {"field_arcsec": 120, "fwhm": 0.2}
    done = fetch(Mast, survey, tmp_path, [(177.42, 22.369)], ["F160W"], size=24)
    row = done.band("t0", "F160W")
    assert (row["psf_source"], row["status"]) == ("stars", "ok")
    assert row["psf_fwhm"] == pytest.approx(0.36, rel=0.05)


def test_two_jobs_in_the_same_second_keep_both_answers(tmp_path):
    """astroquery names a zip after the second, so that one job's would overwrite the other's."""
    places = [PLACE, (177.3447, 22.4442)]
    with Server(Sky(), latency=0.3) as server, ThreadPoolExecutor(2) as pool:

        def run(k):
            shared = str(tmp_path / "cache")
            survey = survey_of("hst-hap")
            return fetch(Mast, survey, tmp_path / str(k), [places[k]], BANDS[:2], size=30, server=server, cache=shared)

        jobs = [job.result() for job in [pool.submit(run, k) for k in range(2)]]
        assert server.most["mast.stsci.edu"] == 2
    for done in jobs:
        assert set(done.table["status"]) == {"ok"}
        assert_true_flux(done, "t0")
    assert len(list((tmp_path / "cache/mast").glob("*/*.zip"))) == 2


def test_twins_on_one_place_share_an_answer(tmp_path):
    done = fetch(Mast, survey_of("hst-hap"), tmp_path, [PLACE] * 4, BANDS[:2], size=12)
    assert set(done.table["status"]) == {"ok"}
    assert len(done.asked) == 1


def test_nothing_is_asked_twice(tmp_path):
    with Server(Sky()) as server:
        for count in (1, 0):
            done = fetch(Mast, survey_of("hst-hap"), tmp_path, [PLACE], BANDS[:2], size=12, server=server)
            assert set(done.table["status"]) == {"ok"}
            assert len(done.asked) == count


def test_an_empty_answer_outside_is_no_coverage(tmp_path):
    done = fetch(Mast, survey_of("hst-hap"), tmp_path, [(10.0, -70.0)], BANDS, size=12)
    assert set(done.table["status"]) == {"no_coverage"}
    assert "Missing HAP files for input target" in done.table["reason"].iloc[0]
    assert len(done.asked) == 1


def test_a_filter_that_is_not_there_leaves_the_others(tmp_path):
    done = fetch(Mast, survey_of("hst-hap"), tmp_path, [(10.0, -55.0)], [*BANDS, "F105W"], size=12)
    assert list(done.table["status"]) == ["ok", "ok", "no_coverage", "no_coverage"]
    assert "hapcut has no image ir_f160w there" in done.band("t0", "F160W")["reason"]


@pytest.mark.parametrize("place", [(0.0, 0.0), (359.99999, 0.1), (358.45, 89.8977)])
def test_the_ends_of_the_coordinates(tmp_path, place):
    done = fetch(Mast, survey_of("hst-hap"), tmp_path, [place], BANDS[:2], size=30)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")


@pytest.mark.parametrize("fault", ["504", "500", "stall", "reset", "html"])
def test_a_service_that_never_answers_is_tried_again_and_recorded(tmp_path, fault):
    with Server(Sky(), fault_share=1.0, faults=[fault], slow=3) as server:
        done = fetch(
            Mast, survey_of("hst-hap"), tmp_path, [PLACE], BANDS, size=12, server=server, tries=2, request_seconds=1
        )
    assert set(done.table["status"]) == {"fetch_failed"}
    assert "2 tries, the last one failed" in done.table["reason"].iloc[0]
    assert len(done.asked) == 2


def test_large_cutouts_that_time_out_at_first_come_in_the_end(tmp_path):
    with Server(Sky(), fault_share=0.5, faults=["504", "500"], seed=3) as server:
        done = fetch(Mast, survey_of("hst-hap"), tmp_path, [PLACE], BANDS[:2], size=12, server=server, tries=8)
    assert set(done.table["status"]) == {"ok"}
    assert done.table["tries"].iloc[0] > 1


@pytest.fixture(scope="module")
def zcut(tmp_path_factory):
    return fetch(Mast, zcut_survey(), tmp_path_factory.mktemp("zcut"), [PLACE], BANDS, size=40)


def test_zcut_images_have_the_flux_of_the_sky(zcut):
    assert set(zcut.table["status"]) == {"ok"}
    assert_true_flux(zcut, "t0")
    assert_star_places(zcut, "t0")
    # the surveys at the place, and the cutout
    assert len(zcut.asked) == 2


def test_zcut_has_no_weights_so_that_the_sky_is_measured_where_exposures_reached(zcut):
    cutout = zcut.cutouts["t0"]
    edge = UNREACHED - 2
    assert (cutout.mask[:, :edge, :edge] != 0).all()
    assert (cutout.mask[:, UNREACHED:, UNREACHED:] == 0).all()
    sigma = np.sqrt(cutout.variance[:, UNREACHED:, UNREACHED:])
    np.testing.assert_allclose(np.median(sigma, (1, 2)), SIGMA * 0.03, rtol=0.05)


def test_zcut_without_the_survey_at_the_place_is_no_coverage(tmp_path):
    done = fetch(Mast, zcut_survey(), tmp_path, [(10.0, -70.0)], BANDS, size=12)
    assert set(done.table["status"]) == {"no_coverage"}
    assert "candels_gn_30mas is not there" in done.table["reason"].iloc[0]


def test_a_real_zip_of_zcut_is_understood(real, tmp_path):
    path = shutil.copy(real / f"{RECORDED}_f.zip", tmp_path)
    _ZipCheck((189.49206, 62.20615))(path)
    with pytest.raises(BadAnswer, match=r"the middle of the image is .* pixels from the target"):
        _ZipCheck((189.49206, 62.30615))(path)
    planes = list(_planes(path))
    assert [p.hdu for p in planes] == [1, 2, 3]
    assert all(p.weight is None and p.valid > 9000 for p in planes)
    assert "_f606w_" in planes[0].origin
    assert planes[0].calibration == {}


def test_a_real_zip_of_pictures_is_refused(real, tmp_path):
    path = shutil.copy(real / f"{RECORDED}.zip", tmp_path)
    with pytest.raises(BadAnswer, match=r"holds no FITS file but 'hlsp_candels_hst_acs_gn-tot-30mas_f606w"):
        _ZipCheck((189.49206, 62.20615))(path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (packed({"a.fits": b"SIMPLE  =" + bytes(100)}), "the FITS file is broken"),
        (packed({"a.fits": bytes(5000)})[:-30], "the zip is broken"),
        (b"sorry", r"no \.zip file but begins with 'sorry'"),
        (b'{"msg": "Internal error"}', "MAST answers 'Internal error' in place of images"),
        (b'{"msg": ', "broken JSON"),
    ],
)
def test_broken_answers_are_refused(tmp_path, body, message):
    (tmp_path / "a.zip").write_bytes(body)
    with pytest.raises(BadAnswer, match=message):
        _ZipCheck(PLACE)(tmp_path / "a.zip")


def test_a_bit_that_fell_over_breaks_the_zip(tmp_path):
    body = bytearray(packed({"a.fits": b"SIMPLE  =" + bytes(range(256)) * 40}))
    body[60] ^= 16
    (tmp_path / "a.zip").write_bytes(body)
    with pytest.raises((BadAnswer, DataError)):
        _ZipCheck(PLACE)(tmp_path / "a.zip")


def test_buffalo_files_follow_their_rule_and_come_once(tmp_path, named):
    survey = hlsp_survey(BUFFALO, "acs-wfc", "wfc3-ir")
    survey["defaults"]["variance"] = {"kind": "invvar"}
    places = [MOSAIC, (MOSAIC[0] + 0.003, MOSAIC[1])]
    done = fetch(Mast, survey, tmp_path, places, BANDS, size=36)
    assert set(done.table["status"]) == {"ok"}
    for target in ("t0", "t1"):
        assert_true_flux(done, target)
        np.testing.assert_allclose(np.median(done.cutouts[target].variance, (1, 2)), (SIGMA * 0.06) ** 2, rtol=0.05)
    # image and weight of three bands, for both targets
    assert len(done.asked) == len(set(done.asked)) == 6
    names = {line.split("?")[0].rsplit("/", 1)[1] for _, line in done.asked}
    assert "hlsp_buffalo_hst_wfc3-ir-30mas_abell370_f160w_v1.0_wht.fits" in names


def test_a_mosaic_without_weights_takes_its_noise_from_the_sky(tmp_path, named):
    done = fetch(Mast, hlsp_survey(CLASH, "acs", "wfc3ir"), tmp_path, [MOSAIC], BANDS[:2], size=36)
    assert set(done.table["status"]) == {"ok"}
    np.testing.assert_allclose(np.median(done.cutouts["t0"].variance, (1, 2)), (SIGMA * 0.06) ** 2, rtol=0.1)


def test_places_off_a_mosaic_and_files_that_are_not_there_have_no_coverage(tmp_path, named):
    survey = hlsp_survey(BUFFALO, "acs-wfc", "wfc3-ir")
    done = fetch(Mast, survey, tmp_path, [(MOSAIC[0], MOSAIC[1] + 0.1)], ["F606W", "F105W"], size=36)
    assert set(done.table["status"]) == {"no_coverage"}
    assert "there is no file hlsp_buffalo_hst_wfc3-ir-30mas" in done.band("t0", "F105W")["reason"]


def test_jwst_surface_brightness_has_its_own_unit_and_errors(tmp_path):
    survey = survey_of("hst-hap", collection="hlsp:hlsps/test/hlsp_test_jwst_nircam_{band}_v1_i2d.fits")
    survey["defaults"] = {"image": {"unit": "MJy/sr"}, "variance": {"kind": "rms"}}
    done = fetch(Mast, survey, tmp_path, [MOSAIC], BANDS[:2], size=36)
    assert set(done.table["status"]) == {"ok"}
    assert_true_flux(done, "t0")
    np.testing.assert_allclose(np.median(done.cutouts["t0"].variance, (1, 2)), (SIGMA * 0.04) ** 2, rtol=0.05)


def test_a_name_that_is_no_part_of_an_address_is_told(tmp_path, monkeypatch):
    import asking

    plain = asking.targets_at
    monkeypatch.setattr(asking, "targets_at", lambda *places: plain(*places).assign(name="MACS J0416.1/../x"))
    done = fetch(Mast, hlsp_survey(BUFFALO, "acs-wfc", "wfc3-ir"), tmp_path, [MOSAIC], BANDS, size=36)
    assert "cannot be in an address; name the target as MAST does" in done.table["reason"].iloc[0]
    assert not done.asked


@pytest.mark.parametrize("collection", ["hap", "zcut", "hlsp:", "hapcut:x"])
def test_an_unknown_collection_is_refused(tmp_path, collection):
    with pytest.raises(SettingsError, match="use hapcut, zcut:<survey> or hlsp:<path>"):
        fetch(Mast, survey_of("hst-hap", collection=collection), tmp_path, [PLACE], BANDS)


def test_unpacked_members_are_those_of_the_zip(hapcut):
    folder, _ = hapcut
    path = next((folder / "cache/mast").glob("*/*.zip"))
    unpacked = sorted(path.parent.glob("*-*.fits"))
    assert len(unpacked) == len(BANDS)
    with fits.open(unpacked[0]) as hdus:
        assert hdus[1].header["ORIG_FLE"].endswith("_all_drc.fits")
