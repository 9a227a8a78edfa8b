"""Galactic reddening: catalogue, maps, service, in this order; and what it does to fluxes, once."""

import sys

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy_healpix import HEALPix

from places import ROOT, defaults
from tandemlens.base.columns import dust as dust_columns
from tandemlens.base.config import load_schema, load_survey
from tandemlens.base.errors import InputError
from tandemlens.base.stack import Cutout, header_text, write_stack
from tandemlens.base.tables import read_table, write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.image.extinction import read_map, read_sfd, reddening
from tandemlens.image.match import match_shard
from tandemlens.image.photometry import measure_shard
from tandemlens.image.segment import segment_shard
from tandemlens.survey.psf import moffat

SURVEYS = load_schema(ROOT / "config/schemas/survey.schema.yaml")
NORTH, SOUTH = SkyCoord(30.0, 60.0, unit="deg", frame="galactic"), SkyCoord(30.0, -60.0, unit="deg", frame="galactic")


@pytest.fixture
def dust_map(tmp_path):
    """E(B-V) = 0.1 in the north, 0.3 in the south, in equatorial coordinates."""
    grid = HEALPix(16, order="nested")
    _, lat = grid.healpix_to_lonlat(np.arange(grid.npix))
    column = fits.Column("EBV", "E", array=np.where(lat.deg > 0, 0.1, 0.3))
    hdu = fits.BinTableHDU.from_columns([column])
    hdu.header.update(NSIDE=16, ORDERING="NESTED", COORDSYS="C")
    hdu.writeto(tmp_path / "ebv.fits")
    return tmp_path / "ebv.fits"


@pytest.fixture
def sfd_maps(tmp_path):
    """The two maps in their Lambert projection, coarse: E(B-V) = 0.03 + 0.01 cos l cos b, 0.1 more in the south."""
    side = 257
    y, x = np.mgrid[:side, :side].astype(float)
    scale, middle = (side - 1) / 2, (side + 1) / 2
    for name, sign in (("ngp", 1), ("sgp", -1)):
        dx, dy = (x + 1 - middle) / scale, -sign * (y + 1 - middle) / scale
        # the radius in the projection is sqrt(1 - |sin b|)
        cos_b = np.sqrt(np.clip(1 - (1 - np.clip(dx**2 + dy**2, 0, 1)) ** 2, 0, 1))
        cos_l = dx / np.maximum(np.hypot(dx, dy), 1e-9)
        values = 0.02 + 0.01 * (1 + cos_l * cos_b) + (0.1 if sign < 0 else 0)
        header = fits.Header({"CRPIX1": middle, "CRPIX2": middle, "LAM_SCAL": scale, "LAM_NSGP": sign})
        fits.PrimaryHDU(values.astype("f4"), header).writeto(tmp_path / f"SFD_dust_4096_{name}.fits")
    return tmp_path


def sfd_truth(place):
    galactic = place.galactic
    value = 0.02 + 0.01 * (1 + np.cos(galactic.l.rad) * np.cos(galactic.b.rad))
    return value + (0.1 if galactic.b.deg < 0 else 0)


def test_reddening_from_catalogue_map_service_or_nothing(dust_map):
    assert reddening(10.0, 50.0, 0.05, dust_map, 0.2) == (0.05, "catalogue")
    assert reddening(10.0, 50.0, np.nan, dust_map, 0.2) == (pytest.approx(0.1), "map")
    assert reddening(10.0, -50.0, np.nan, dust_map) == (pytest.approx(0.3), "map")
    assert reddening(10.0, 50.0, np.nan, None, 0.2) == (0.2, "service")
    assert reddening(10.0, 50.0, np.nan, None) == (0.0, "none")
    # a negative value is none
    assert reddening(10.0, 50.0, -1.0, None, -1.0) == (0.0, "none")


def test_a_hole_in_the_map_is_filled_by_the_service(tmp_path):
    hdu = fits.BinTableHDU.from_columns([fits.Column("EBV", "E", array=np.full(12, np.nan))])
    hdu.header.update(NSIDE=1, ORDERING="RING", COORDSYS="G")
    hdu.writeto(tmp_path / "holes.fits")
    assert reddening(10.0, 50.0, np.nan, tmp_path / "holes.fits", 0.2) == (0.2, "service")


def test_a_map_that_is_none_is_refused(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "x.fits")
    with pytest.raises(InputError, match="cannot be read as a HEALPix FITS map"):
        read_map(str(tmp_path / "x.fits"))


@pytest.mark.parametrize("place", [NORTH, SOUTH, SkyCoord(0, 0, unit="deg"), SkyCoord(12, 89.9, unit="deg")])
def test_sfd_maps_are_read_as_they_are(sfd_maps, place):
    """The package's own default multiplies them by 0.86, which the coefficients of the survey files already hold."""
    value, source = reddening(place.icrs.ra.deg, place.icrs.dec.deg, np.nan, sfd_maps)
    assert source == "map"
    assert value == pytest.approx(sfd_truth(place), rel=2e-3)
    assert read_sfd(str(sfd_maps)).scaling == 1.0


def test_a_folder_without_the_maps_and_a_missing_package_are_told(sfd_maps, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"lacks SFD_dust_4096_ngp\.fits and SFD_dust_4096_sgp\.fits; give the folder"):
        reddening(0, 0, np.nan, tmp_path / "empty")
    monkeypatch.setitem(sys.modules, "sfdmap2.sfdmap", None)
    read_sfd.cache_clear()
    with pytest.raises(InputError, match=r"needs the package sfdmap2 .*; pip install sfdmap2, or give a HEALPix map"):
        reddening(0, 0, np.nan, sfd_maps)


def test_coefficients_of_the_survey_files_multiply_the_sfd_value():
    """SDSS g at E(B-V) of 0.037 loses 0.121 mag (IRSA's own table for M51), not 0.86 of it."""
    survey = load_survey("sdss", ROOT / "config/surveys", SURVEYS)
    lost = {"u": 0.155, "g": 0.121, "r": 0.083, "i": 0.062, "z": 0.046}
    for band, value in lost.items():
        assert survey["bands"][band]["extinction"] * 0.0366 == pytest.approx(value, abs=7e-4)
    assert survey["bands"]["g"]["extinction"] == 3.303
    # the same scale in another survey: those of the Legacy Surveys are stated for SFD98
    legacy = load_survey("legacy-dr10", ROOT / "config/surveys", SURVEYS)
    assert legacy["bands"]["g"]["extinction"] == 3.214


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """A segmented cutout of SDSS g and r: a galaxy in the middle and four others."""
    folder, side, scale = tmp_path_factory.mktemp("shard"), 201, 0.396
    y, x = np.mgrid[:side, :side]
    places, rng = [(100, 100, 6), (60, 60, 3), (140, 70, 3), (70, 150, 3), (150, 140, 3)], np.random.default_rng(1)
    light = sum(4000 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for a, b, s in places)
    flux = np.array([light, 1.5 * light]) + rng.normal(0, 20, (2, side, side))
    wcs = header_text(tangent_wcs(150.0, 2.0, (side, side), scale))
    psf = np.array([moffat(63, scale, 1.3)] * 2, np.float32)
    variance, mask = np.full(flux.shape, 400, np.float32), np.zeros(flux.shape, np.uint16)
    with write_stack(folder / "in.h5", "gr", (side, side), 63) as stack:
        stack.append("t0", Cutout(("g", "r"), flux.astype(np.float32), variance, mask, psf, (wcs, wcs)))
    targets = pd.DataFrame([{"target_id": "t0", "ra": 150.0, "dec": 2.0, "ebv": np.nan}])
    for name, run, names in (
        ("match", match_shard, (folder / "in.h5", folder / "m.h5", folder / "m.parquet")),
        (
            "segment",
            segment_shard,
            (folder / "m.h5", targets, folder / "s.parquet", folder / "s.h5", folder / "t.parquet"),
        ),
    ):
        run(*names, {**defaults(name), "pixel_scale": scale}, lambda done, total: None)
    return folder, targets


def measured(shard, ebv, dust=None):
    """Fluxes and status of the shard with E(B-V) of the catalogue, or of the dust service."""
    folder, targets = shard
    sdss = load_survey("sdss", ROOT / "config/surveys", SURVEYS)["bands"]
    cfg = {**defaults("measure"), "extinction": [sdss[b]["extinction"] for b in "gr"]}
    path = None
    if dust is not None:
        path = folder / "dust.parquet"
        row = {"target_id": "t0", "ebv": dust, "ebv_source": "service", "status": "ok", "reason": ""}
        write_table(path, pd.DataFrame([row]), dust_columns.COLUMNS)
    names = [folder / n for n in ("m.h5", "s.h5", "s.parquet")]
    products = [folder / n for n in ("p.parquet", "mt.parquet")]
    measure_shard(*names, targets.assign(ebv=ebv), *products, cfg, lambda done, total: None, path)
    return read_table(products[0]), read_table(products[1]).iloc[0]


@pytest.mark.parametrize("source", ["catalogue", "service"])
def test_coefficients_are_applied_once(shard, source):
    """SDSS g gains 0.121 mag and r 0.083 at E(B-V) = 0.0366, to every flux and its error."""
    bare, status = measured(shard, np.nan)
    assert (status["ebv"], status["ebv_source"]) == (0, "none")
    seen, status = measured(shard, 0.0366) if source == "catalogue" else measured(shard, np.nan, 0.0366)
    assert (status["ebv"], status["ebv_source"]) == (0.0366, source)
    assert len(seen) >= 5
    for band, lost in (("g", 3.303 * 0.0366), ("r", 2.285 * 0.0366)):
        for name in ("flux_aper", "flux_aper_err", "flux_seg", "flux_seg_err"):
            ratio = (seen[f"{name}_{band}"] / bare[f"{name}_{band}"]).dropna()
            assert len(ratio) >= 5
            np.testing.assert_allclose(2.5 * np.log10(ratio), lost, atol=1e-6)
    assert lost == pytest.approx(0.083, abs=7e-4)


def test_the_catalogue_goes_before_the_service(shard):
    _, status = measured(shard, 0.05, 0.2)
    assert (status["ebv"], status["ebv_source"]) == (0.05, "catalogue")
    # asked without an answer
    _, status = measured(shard, np.nan, np.nan)
    assert (status["ebv"], status["ebv_source"]) == (0, "none")
