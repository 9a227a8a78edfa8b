"""The page of the generator in parts; `tests/workflow/test_synthetic.py` makes one."""

import h5py
import numpy as np
import pytest

from tandemlens.catalogue import generator_page
from tandemlens.catalogue.generator_page import contact_sheet, passed

BANDS = ["g", "r", "i", "red", "blue"]


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (1.0, 0.95, 1.05, "yes"),
        (1.06, 0.95, 1.05, "no"),
        (0.02, 0.01, np.nan, "yes"),
        (0.005, 0.01, np.nan, "no"),
        (0.9, np.nan, np.nan, ""),
        (np.nan, 0.95, 1.05, "too little to tell"),
    ],
)
def test_a_test_that_cannot_be_made_is_not_failed(value, low, high, told):
    assert passed({"value": value, "low": low, "high": high}) == told


def test_colours_of_the_sheet_are_those_of_the_survey(tmp_path, monkeypatch):
    path, seen = tmp_path / "stamps.h5", []
    flux = np.broadcast_to(np.arange(5.0).reshape(1, 5, 1, 1), (6, 5, 8, 8))
    with h5py.File(path, "w") as file:
        file.attrs.update({"bands": BANDS, "geometry": ["is_centre"], "scale": [1.0] * 5, "pixel_scale": 0.4})
        file["flux"], file["sigma"] = np.arcsinh(flux), np.full(flux.shape, 0.3)
        file["mask"], file["geometry"] = np.ones(flux.shape, bool), np.zeros((6, 1))
        file["label"], file["start"] = np.array([0, 7] * 3), np.array([0, 2, 4, 6])
        file["target"] = np.repeat([0, 1, 2], 2)
        file.create_dataset("target_id", data=["real", "restored", "generated"], dtype=h5py.string_dtype())

    def composite(flux, noise):
        seen.append(flux[:, 0, 0])
        return np.zeros((8, 8, 3))

    monkeypatch.setattr(generator_page, "composite", composite)
    assert contact_sheet(path)
    # i, r and g, and never what is left of the light behind a lens
    np.testing.assert_allclose(seen, [[2, 1, 0]] * 6, atol=1e-9)
