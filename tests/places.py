"""Where things are for tests."""

from pathlib import Path

from tandemlens.base.config import load_schema, validate_settings

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "real"


def defaults(section):
    """A section of the settings as it is where a user sets nothing."""
    schema = next((ROOT / "config/schemas").rglob(f"{section}.schema.yaml"))
    return validate_settings({}, load_schema(schema))
