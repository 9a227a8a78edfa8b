"""Filter curves, and colours of spectra through them."""

import numpy as np
import pytest
from speclite.filters import load_filter

from places import ROOT
from tandemlens.base.config import load_schema, load_survey
from tandemlens.base.errors import InputError, SettingsError
from tandemlens.features.sequence import Bands, Sed, check_templates, read_sed, survey_bands, template_colours
from tandemlens.survey.filters import curve, filter_names

SEDS = {p.stem: str(p) for p in sorted((ROOT / "resources/seds").glob("*.csv"))}
SURVEYS = sorted(p.stem for p in (ROOT / "config/surveys").glob("*.yaml"))
WAVE = np.geomspace(500, 30000, 4000)


def bands_of(name):
    survey = load_survey(name, ROOT / "config/surveys", load_schema(ROOT / "config/schemas/survey.schema.yaml"))
    return survey_bands(survey, sorted(survey["bands"], key=lambda b: survey["bands"][b]["wavelength"]))


@pytest.mark.parametrize("name", SURVEYS)
def test_a_flat_spectrum_has_no_colour_in_any_survey(name):
    flat = Sed(WAVE, 1 / WAVE[None] ** 2, np.zeros(1))
    np.testing.assert_allclose(template_colours(flat, [0.0, 0.2], bands_of(name)), 0, atol=2e-3)


@pytest.mark.parametrize("name", SURVEYS)
def test_every_survey_can_be_simulated_up_to_redshift_three(name):
    check_templates(SEDS.values(), bands_of(name), 3.0)


def test_a_top_hat_has_its_closed_form():
    """A spectrum f_lambda = lambda between a and b: m = -2.5 log10((b^3 - a^3) / 3 / ln(b / a))."""
    bands = Bands(("g", "r"), (4800.0, 6200.0), (1400.0, 1000.0))
    edges = [(4100, 5500), (5700, 6700)]
    g, r = (-2.5 * np.log10((b**3 - a**3) / 3 / np.log(b / a)) for a, b in edges)
    found = template_colours(Sed(WAVE, WAVE[None], np.zeros(1)), [0.0], bands)
    assert found[0, 0] == pytest.approx(g - r, abs=1e-4)


def test_all_tables_of_the_package_are_read_as_it_reads_them():
    for name in filter_names():
        seen, response = curve("x", {"filter": name})
        theirs = load_filter(name)
        expected = np.interp(seen, np.asarray(theirs.wavelength, float), np.asarray(theirs.response, float))
        np.testing.assert_allclose(response, expected, rtol=1e-6, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", ["sdss2010-r", "decamDR1-g", "Euclid-VIS", "lsst2023-i", "hsc2017-i2", "twomass-J"])
def test_a_curve_is_that_of_its_package(name):
    seen, response = curve("x", {"filter": name})
    theirs = load_filter(name)
    pivot = np.sqrt(np.trapezoid(response * seen, seen) / np.trapezoid(response / seen, seen))
    wave, light = np.asarray(theirs.wavelength, float), np.asarray(theirs.response, float)
    expected = np.sqrt(np.trapezoid(light * wave, wave) / np.trapezoid(light / wave, wave))
    assert pivot == pytest.approx(expected, rel=1e-3)
    assert response[0] < 0.1 * response.max()


def test_no_curve_is_cut_where_light_is_lost():
    for name in filter_names():
        seen, response = curve("x", {"filter": name})
        theirs = load_filter(name)
        whole = np.trapezoid(np.asarray(theirs.response, float), np.asarray(theirs.wavelength, float))
        assert np.trapezoid(response, seen) == pytest.approx(whole, rel=0.01), name


def test_an_unknown_filter_is_refused_with_the_nearest_names():
    with pytest.raises(SettingsError, match=r"bands\.g\.filter 'decam-g' is no filter .* decam\w*-g"):
        Bands(("g",), (4800,), (1400,), ("decam-g",)).curves()


def test_a_band_that_leaves_the_templates_is_refused():
    with pytest.raises(SettingsError, match=r"bands\.W1 sees .* up to redshift 3 .* allows 2807 to 26333 Angstrom"):
        check_templates([SEDS["spiral"]], Bands(("W1",), (34000,), (6000,), ("wise2010-W1",)), 3.0)
    with pytest.raises(SettingsError, match=r"bands\.nuv sees"):
        check_templates([SEDS["spiral"]], Bands(("nuv",), (2300,), (700,)), 3.0)


def test_a_spectrum_may_change_with_redshift():
    sed = Sed(WAVE, np.array([1 + 0 * WAVE, 1 / WAVE]), np.array([0.2, 0.6]))
    np.testing.assert_allclose(sed.at(0.1), 1)
    np.testing.assert_allclose(sed.at(0.3), 0.75 + 0.25 / WAVE)
    np.testing.assert_allclose(sed.at(2.0), 1 / WAVE)
    assert list(read_sed(SEDS["elliptical"]).seen) == [0.0, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize("head", ["wavelength,light", "flux", "wavelength,z0.4,z0.2", "wavelength"])
def test_a_spectrum_with_other_columns_is_refused(tmp_path, head):
    path = tmp_path / "sed.csv"
    path.write_text(f"{head}\n" + ",".join("1" for _ in head.split(",")) + "\n")
    with pytest.raises(InputError, match="give wavelength and either flux or spectra"):
        read_sed(str(path))
