import numpy as np
import pandas as pd
import pytest
from astropy.wcs import WCS

from tandemlens.base.atomic import atomic_path, sha256, use_scratch, write_text
from tandemlens.base.columns.registry import Column, expand
from tandemlens.base.errors import InputError
from tandemlens.base.flags import BAD, NO_DATA
from tandemlens.base.stack import Cutout, header_text, read_stack, sanitize, write_stack
from tandemlens.base.status import check
from tandemlens.base.tables import read_columns, read_meta, read_table, write_table
from tandemlens.base.units import asinh_mag, njy_per_unit


def cutout(ny=10, nx=12):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.cdelt, wcs.wcs.crpix = [-1e-4, 1e-4], [5, 5]
    shape = (2, ny, nx)
    flux = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    psf = np.full((2, 7, 7), 1 / 49, "f4")
    return Cutout(("g", "r"), flux, np.ones(shape, "f4"), np.zeros(shape, "u2"), psf, (header_text(wcs),) * 2)


def test_stack_round_trip_pads_and_unpads(tmp_path):
    small, large = cutout(8, 9), cutout()
    small.extra["fwhm"] = np.array([3.0, 4.0])
    with write_stack(tmp_path / "a.h5", ("g", "r"), (10, 12), 9) as stack:
        stack.append("t1", small)
        stack.append("t2", large)
    with read_stack(tmp_path / "a.h5") as stack:
        assert stack.target_ids == ("t1", "t2")
        back = stack[0]
    np.testing.assert_array_equal(back.flux, small.flux)
    np.testing.assert_array_equal(back.extra["fwhm"], [3, 4])
    np.testing.assert_allclose(back.psf.sum(axis=(1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(back.astropy_wcs().wcs.crval, [150, 2])


def test_stack_refuses_other_bands_and_leaves_no_file(tmp_path):
    bad = cutout()
    bad.bands = ("g", "i")
    with (
        pytest.raises(InputError, match="t1 has bands"),
        write_stack(tmp_path / "a.h5", ("g", "r"), (10, 12), 9) as stack,
    ):
        stack.append("t1", bad)
    assert list(tmp_path.iterdir()) == []


def test_sanitize_gives_every_invalid_pixel_a_bit():
    c = cutout()
    c.flux[0, 0, 0], c.variance[0, 1, 1], c.variance[1, 2, 2] = np.nan, 0, np.inf
    c.mask[1, 3, 3] = BAD
    out = sanitize(c)
    assert out.mask[0, 0, 0] == out.mask[0, 1, 1] == out.mask[1, 2, 2] == NO_DATA
    assert out.mask[1, 3, 3] == BAD
    assert ((out.mask != 0) == np.isinf(out.variance)).all()
    assert (out.flux[out.mask != 0] == 0).all()


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    use_scratch(folder)
    yield folder
    use_scratch(None)


def test_a_product_is_written_on_the_scratch_folder_and_moved_whole(tmp_path, scratch):
    with atomic_path(tmp_path / "shared/x.h5") as temporary:
        assert temporary.name == "x.h5"
        assert scratch in temporary.parents
        temporary.write_bytes(b"whole")
        assert list((tmp_path / "shared").iterdir()) == []
    assert (tmp_path / "shared/x.h5").read_bytes() == b"whole"
    assert [p.name for p in (tmp_path / "shared").iterdir()] == ["x.h5"]
    assert list(scratch.iterdir()) == []


def test_an_error_leaves_nothing_on_the_scratch_folder(tmp_path, scratch):
    with pytest.raises(RuntimeError, match="stop"), atomic_path(tmp_path / "shared/x.h5") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("stop")
    assert list((tmp_path / "shared").iterdir()) == list(scratch.iterdir()) == []


def test_atomic_path_leaves_nothing_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), atomic_path(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    write_text(tmp_path / "x.txt", "abc")
    assert sha256(tmp_path / "x.txt").startswith("ba7816bf")


def test_table_round_trip_with_units(tmp_path):
    columns = expand(
        [Column("target_id", "str", "", "id"), Column("flux_{band}", "float64", "nJy", "in {band}", 0)], "gr"
    )
    frame = pd.DataFrame({"target_id": ["a", "<b>"], "flux_g": [1.0, np.nan], "flux_r": [2.0, 3.0]})
    write_table(tmp_path / "t.parquet", frame, columns, {"bands": "g,r"})
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), frame, check_dtype=False)
    assert read_meta(tmp_path / "t.parquet")["bands"] == "g,r"
    with pytest.raises(InputError, match="outside its registered range"):
        write_table(tmp_path / "t.parquet", frame.assign(flux_g=-1.0), columns)
    with pytest.raises(InputError, match="unregistered columns"):
        write_table(tmp_path / "t.parquet", frame.assign(new=1), columns)


def test_units():
    assert njy_per_unit(31.4) == 1
    assert njy_per_unit(27.0) == pytest.approx(57.54399, rel=1e-6)
    mag, err = asinh_mag([1000.0, -5.0, 1.0], [1.0, 1.0, 0.0])
    assert mag[0] == pytest.approx(31.4 - 7.5, abs=1e-5)
    assert err[0] == pytest.approx(1.0857e-3, rel=1e-3)
    assert np.isfinite(mag[1])
    assert np.isnan(mag[2])


def test_unknown_status_is_refused():
    assert check("masked") == "masked"
    with pytest.raises(KeyError, match="not registered"):
        check("maskd")


def test_a_table_says_its_columns(tmp_path):
    columns = [
        Column("target_id", "str", "", "target"),
        Column("flux", "float32", "nJy", "light", ucd="phot.flux"),
        Column("n", "int32", "", "how many"),
        Column("good", "bool", "", "whether"),
    ]
    frame = pd.DataFrame({"target_id": ["a"], "flux": [1.0], "n": [2], "good": [True]})
    write_table(tmp_path / "t.parquet", frame, columns)
    assert read_columns(tmp_path / "t.parquet") == columns
