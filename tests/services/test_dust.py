"""IRSA's dust service: its values, once per target, and each trap of services.md C11."""

from pathlib import Path

import astroquery.ipac.irsa.irsa_dust
import numpy as np
import pytest
from asking import settings_of, targets_at

from skyserver.irsa_dust import sfd_at
from skyserver.server import Server
from tandemlens.base.tables import read_table
from tandemlens.survey.services.client import BadAnswer
from tandemlens.survey.services.dust import _read, dust_shard

RECORDED = Path(astroquery.ipac.irsa.irsa_dust.__file__).parent / "tests/data"
PLACES = [(150.1, 2.2), (0.0, 0.0), (359.99999, -0.1), (12.0, 89.9), (266.4, -29.0)]


def ask(server, folder, targets, **changes):
    start = len(server.asked)
    dust_shard(targets, settings_of(server, folder, **changes), folder / "dust.parquet", lambda done, total: None)
    return read_table(folder / "dust.parquet").set_index("target_id"), server.asked[start:]


@pytest.fixture
def targets():
    return targets_at(*PLACES).assign(ebv=np.nan)


def test_every_target_without_a_value_is_asked_once(tmp_path, targets):
    targets.loc[4, "ebv"] = 0.4
    with Server() as server:
        table, asked = ask(server, tmp_path, targets)
        again, more = ask(server, tmp_path, targets)
    assert len(asked) == 4
    assert not more
    assert table.equals(again)
    assert list(table["ebv_source"]) == ["service"] * 4 + ["none"]
    assert set(table["status"]) == {"ok"}
    np.testing.assert_allclose(table["ebv"][:4], [sfd_at(*p) for p in PLACES[:4]], atol=1e-9)
    assert np.isnan(table["ebv"].iloc[4])
    # the smallest region is asked for
    assert all("regSize=2.0" in line for _, line in asked)


def test_the_value_is_that_of_sfd_and_not_the_recalibrated_one():
    """The recorded answer for M31 has both: 0.6943, and 0.86 of it."""
    assert "0.5971 (mag)" in (RECORDED / "dustm31.xml").read_text()
    assert _read(RECORDED / "dustm31.xml", 10.68479, 41.26906) == 0.6943


def test_coefficients_of_schlafly_and_finkbeiner_go_with_the_sfd_value():
    """The recorded table says that its ratios are per "SandF E(B-V)"; its own numbers say otherwise."""
    text = (RECORDED / "dust_ext_detail.tbl").read_text()
    assert "Ratio of SandF band extinction to SandF E(B-V)" in text
    sfd = float(text.split("E(B-V)_SFD_1998 =")[1].split()[0])
    assert sfd == 0.037
    rows = [line.split() for line in text.splitlines() if line.startswith(" SDSS ")]
    ratio, extinction = ({row[1]: float(row[k]) for row in rows} for k in (3, 4))
    assert (ratio["g"], extinction["g"]) == (3.303, 0.121)
    for band in "ugriz":
        # to the rounding of both
        assert extinction[band] / ratio[band] == pytest.approx(sfd, abs=5e-4 + 5e-4 / ratio[band])
        assert extinction[band] / ratio[band] > 0.95 * sfd > 0.86 * sfd


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html><body>busy</body>", "the answer is no XML"),
        (b"", "the answer is no XML"),
        (b"<results status='ok'></results>", "holds no reddening"),
        (b"<results><message>wait</message></results>", "the dust service says None: wait"),
    ],
)
def test_broken_answers_are_refused(tmp_path, body, message):
    (tmp_path / "a.xml").write_bytes(body)
    with pytest.raises(BadAnswer, match=message):
        _read(tmp_path / "a.xml", 0.0, 0.0)


def test_a_truncated_answer_an_error_and_another_place_are_refused(tmp_path):
    whole = (RECORDED / "dustm31.xml").read_bytes()
    (tmp_path / "a.xml").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadAnswer, match="the answer is no XML"):
        _read(tmp_path / "a.xml", 10.68479, 41.26906)
    (tmp_path / "a.xml").write_bytes(whole.replace(b"0.6943", b"  -0.1"))
    with pytest.raises(BadAnswer, match=r"E\(B-V\) = -0\.1"):
        _read(tmp_path / "a.xml", 10.68479, 41.26906)
    with pytest.raises(BadAnswer, match=r"says 'error': Coordinate .* lookup error: Invalid object name"):
        _read(RECORDED / "dust-error.xml", 10.68479, 41.26906)
    with pytest.raises(BadAnswer, match="for a place 360 arcsec from the target"):
        _read(RECORDED / "dustm31.xml", 10.68479, 41.36906)


def test_a_service_that_fails_leaves_a_row_with_its_reason(tmp_path, targets):
    with Server(fault_share=1.0, faults=["500", "html"]) as server:
        table, _ = ask(server, tmp_path, targets, tries=2)
    assert set(table["status"]) == {"fetch_failed"}
    assert table["ebv"].isna().all()
    assert set(table["ebv_source"]) == {"none"}
    assert table["reason"].str.contains("irsa.ipac.caltech.edu").all()


def test_one_that_fails_now_and_then_is_asked_again(tmp_path, targets):
    with Server(fault_share=0.4, faults=["503", "reset", "html"], seed=4) as server:
        table, asked = ask(server, tmp_path, targets, tries=12)
    assert set(table["ebv_source"]) == {"service"}
    assert len(asked) > len(targets)
