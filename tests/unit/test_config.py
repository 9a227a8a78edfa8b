import pytest

from tandemlens.base.config import load_survey, load_yaml, validate_settings
from tandemlens.base.errors import SettingsError

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
