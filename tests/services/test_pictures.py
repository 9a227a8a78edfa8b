"""What a survey's source cannot give is refused before any job starts: pictures (services.md C9), and sizes."""

import pytest
import yaml
from asking import SCHEMAS, survey_of

from places import ROOT
from tandemlens.base.config import load_schema, load_survey, load_yaml
from tandemlens.base.errors import SettingsError
from tandemlens.survey.check import check_survey


def survey_file(folder, **changes):
    """A survey as it comes from a file."""
    content = load_yaml(ROOT / "config/surveys/legacy-dr10.yaml") | changes
    content = {key: value for key, value in content.items() if value is not None}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    return load_survey("mine", folder, load_schema(SCHEMAS / "survey.schema.yaml"))


@pytest.mark.parametrize("source", ["hips", "skyview"])
@pytest.mark.parametrize("pixels", ["survey", "simulated"])
def test_pictures_are_not_for_photometry(tmp_path, source, pixels):
    survey = survey_file(tmp_path, source=source, service={"collection": "CDS/P/DES-DR2/g"})
    with pytest.raises(SettingsError, match=r"resampled pictures without variance and PSF, not for photometry; use"):
        check_survey("mine", survey, ["g"], 60, [pixels])


def test_a_service_needs_its_section(tmp_path):
    with pytest.raises(SettingsError, match=r"has no service\.collection; add the section `service`"):
        check_survey("mine", survey_file(tmp_path, service=None), ["g"], 60, ["survey"])
    # what is only simulated asks nothing
    check_survey("mine", survey_file(tmp_path, service=None), ["g"], 60, ["simulated"])


@pytest.mark.parametrize("pixels", ["survey", "injected"])
def test_cutouts_beyond_what_the_service_gives_are_refused(pixels):
    survey = survey_of("legacy-dr10")
    check_survey("legacy-dr10", survey, ["g"], 786, [pixels, "simulated"])
    with pytest.raises(
        SettingsError, match=r"cutout\.size_arcsec: 787 is 3004 pixels .* at most 3000 .* up to 786 arcsec"
    ):
        check_survey("legacy-dr10", survey, ["g"], 787, [pixels, "simulated"])
    check_survey("legacy-dr10", survey, ["g"], 787, ["simulated"])


def test_the_field_of_the_psf_stars_counts_too():
    survey = survey_of("hst-hap")
    survey["bands"]["F160W"]["psf"]["field_arcsec"] = 240
    check_survey("hst-hap", survey, ["F606W"], 120, ["survey"])
    with pytest.raises(SettingsError, match=r"psf\.field_arcsec of F160W: 240 is 6000 pixels .* up to 200 arcsec"):
        check_survey("hst-hap", survey, ["F606W", "F160W"], 120, ["survey"])


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "config/surveys").glob("*.yaml")))
def test_the_surveys_that_come_along_pass(name):
    survey = survey_of(name)
    size = load_schema(SCHEMAS / "config.schema.yaml")["properties"]["cutout"]["properties"]["size_arcsec"]["default"]
    check_survey(name, survey, list(survey["bands"]), size, ["survey"])
