import pytest

from places import ROOT
from tandemlens.base.config import load_schema, load_survey, load_yaml, validate_settings
from tandemlens.base.errors import SettingsError
from tandemlens.base.samples import CLASSES, choose_bands
from tandemlens.sky.check import check_sample

SCHEMAS = ROOT / "config/schemas"

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "mode": {"enum": ["fast", "slow"], "default": "fast"},
        "match": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"radius": {"type": "number", "minimum": 0, "default": 2.5}},
        },
    },
}


def test_nested_defaults_are_filled_and_input_is_untouched():
    given = {"name": "a"}
    assert validate_settings(given, SCHEMA) == {"name": "a", "mode": "fast", "match": {"radius": 2.5}}
    assert given == {"name": "a"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a", "match": {"raduis": 1}}, r"config\.match: unknown key 'raduis', did you mean 'radius'"),
        ({"name": "a", "mode": "fastt"}, r"config\.mode: 'fastt' is not allowed, did you mean 'fast'"),
        ({}, r"config: 'name' is a required property; add it"),
        ({"name": "a", "match": {"radius": -1}}, r"config\.match\.radius: -1 is less than the minimum of 0"),
    ],
)
def test_refused_settings_name_key_value_and_fix(settings, message):
    with pytest.raises(SettingsError, match=message):
        validate_settings(settings, SCHEMA)


def test_unknown_survey_names_the_nearest(tmp_path):
    (tmp_path / "kids.yaml").write_text("name: kids\n")
    assert load_survey("kids", tmp_path) == {"name": "kids"}
    with pytest.raises(SettingsError, match="survey 'kidz' is unknown, did you mean 'kids'"):
        load_survey("kidz", tmp_path)


def test_broken_yaml_names_the_line(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\nb: [1\n")
    with pytest.raises(SettingsError, match=r"a\.yaml line 3 is not valid YAML"):
        load_yaml(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1\n")
    with pytest.raises(SettingsError, match="holds a list"):
        load_yaml(tmp_path / "b.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml")


def sample(**simulate):
    return validate_settings(
        {"targets": {"catalogue": "a.csv"}, "simulate": simulate}, load_schema(SCHEMAS / "sample.schema.yaml")
    )


def check(settings, survey_name="mock", bands=("g", "r", "i"), **changes):
    survey = load_survey(survey_name, ROOT / "config/surveys", load_schema(SCHEMAS / "survey.schema.yaml"))
    seds = {p.stem: str(p) for p in (ROOT / "resources/seds").glob("*.csv")}
    check_sample("train", {**settings, **changes}, survey_name, survey, list(bands), seds)


@pytest.mark.parametrize(
    "name", ["mock", "legacy-dr10", "des-dr2", "hsc-pdr3-wide", "ps1", "sdss", "euclid-q1", "lsst-y10"]
)
def test_every_survey_can_be_simulated(name):
    survey = load_survey(name, ROOT / "config/surveys", load_schema(SCHEMAS / "survey.schema.yaml"))
    check(sample(), name, survey["bands"])


@pytest.mark.parametrize(
    ("simulate", "message"),
    [
        (
            {"tandem": {"behind": {"z_max": 0.1}}},
            r"tandem\.behind\.z_max: 0\.1 lies in front .* allowed are 0\.15 to 3",
        ),
        ({"projected": {"behind": {"richness_min": 130}}}, "richness_min: 130 must be below richness_max 120"),
        ({n: {"share": 0} for n in CLASSES}, r"train\.simulate: every class has share 0; give one of tandem"),
    ],
)
def test_impossible_simulations_are_refused(simulate, message):
    with pytest.raises(SettingsError, match=message):
        check(sample(**simulate))


@pytest.mark.parametrize(
    ("simulate", "message"),
    [
        ({"single_arc": {"z_max": 4}}, "4 is greater than the maximum of 3"),
        ({"tandem": {"behind": {"richness_min": -5}}}, "-5 is less than the minimum of 1"),
        ({"tandem": {"share": -1}}, "-1 is less than the minimum of 0"),
        ({"tandme": {"share": 1}}, "unknown key 'tandme', did you mean 'tandem'"),
    ],
)
def test_values_out_of_range_are_refused(simulate, message):
    with pytest.raises(SettingsError, match=message):
        sample(**simulate)


def test_pixels_that_a_survey_cannot_give_are_refused():
    with pytest.raises(SettingsError, match="survey mock has no images, 'injected' needs them; use 'simulated'"):
        check(sample(), pixels="injected")
    with pytest.raises(SettingsError, match="band Z of survey kids_viking has no filter curve"):
        check(sample(), "kids_viking", ["g", "r", "Z"], pixels="injected")
    with pytest.raises(SettingsError, match="band u of survey kids_viking does not say how deep and sharp"):
        check(sample(), "kids_viking", ["u", "g"])
    with pytest.raises(SettingsError, match="bands: q is no band of survey mock; it has g, r, i"):
        choose_bands(["g", "q"], "mock", ["g", "r", "i"])


def test_redshifts_outside_the_templates_are_refused():
    """A band so blue that a far source leaves the spectra."""
    survey = load_survey("mock", ROOT / "config/surveys", load_schema(SCHEMAS / "survey.schema.yaml"))
    survey["bands"]["g"] = {**survey["bands"]["g"], "filter": "galex-fuv"}
    seds = {p.stem: str(p) for p in (ROOT / "resources/seds").glob("*.csv")}
    with pytest.raises(
        SettingsError, match=r"train\.simulate: bands\.g sees .* up to redshift 3 .* leave the band out"
    ):
        check_sample("train", sample(), "mock", survey, ["g", "r"], seds)


def test_every_file_of_a_folder_is_a_section(tmp_path):
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads/one.schema.yaml").write_text("type: object\nproperties: {n: {type: integer, default: 3}}\n")
    (tmp_path / "all.yaml").write_text("type: object\nproperties:\n  $each: heads/*.schema.yaml\n  two: {default: 2}\n")
    schema = load_schema(tmp_path / "all.yaml")
    assert list(schema["properties"]) == ["one", "two"]
    assert validate_settings({}, schema) == {"one": {"n": 3}, "two": 2}
