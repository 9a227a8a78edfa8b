"""Settings of a simulation that cannot be, refused before any job starts."""

from typing import Any

from tandemlens.base.errors import SettingsError
from tandemlens.base.samples import CLASSES
from tandemlens.features.sequence import check_templates, survey_bands


def check_sample(
    name: str,
    settings: dict[str, Any],
    survey_name: str,
    survey: dict[str, Any],
    bands: list[str],
    seds: dict[str, str],
) -> None:
    """Refuse a sample whose pixels cannot be made as its settings say.

    Parameters
    ----------
    name : str
    settings : dict
        Of the sample.
    survey_name : str
    survey : dict
        As checked by ``survey.schema.yaml``.
    bands : list of str
    seds : dict of str
        Name of a galaxy spectrum -> path.

    Raises
    ------
    SettingsError
        One sentence with the setting, its value and what is allowed.
    """
    where, pixels = f"config.samples.{name}", settings["pixels"]
    if pixels != "simulated" and survey["source"] == "none":
        raise SettingsError(
            f"{where}.pixels: survey {survey_name} has no images, {pixels!r} needs them; use 'simulated'"
        )
    if pixels == "survey":
        return
    for band in bands:
        facts = survey["bands"][band]
        if "filter" not in facts:
            raise SettingsError(
                f"{where}.pixels: band {band} of survey {survey_name} has no filter curve, which {pixels!r} needs; "
                f"give the band a `filter` or leave it out of config.samples.search.bands"
            )
        if pixels == "simulated" and "mock" not in facts:
            raise SettingsError(
                f"{where}.pixels: band {band} of survey {survey_name} does not say how deep and sharp its images are; "
                f"give it `mock` with fwhm and depth"
            )
    _check_classes(f"{where}.simulate", settings["simulate"])
    used = [settings["simulate"][c] for c in CLASSES if settings["simulate"][c]["share"] > 0]
    farthest = [c["behind"]["z_max"] for c in used if "behind" in c] + [c["z_max"] for c in used if "z_max" in c]
    try:
        check_templates(seds.values(), survey_bands(survey, bands), max(farthest, default=0.0))
    except SettingsError as error:
        raise SettingsError(f"{where}.simulate: {error}") from error


def _check_classes(where: str, simulate: dict[str, Any]) -> None:
    if not any(simulate[c]["share"] > 0 for c in CLASSES):
        raise SettingsError(f"{where}: every class has share 0; give one of {', '.join(CLASSES)} a share above 0")
    for name in ("tandem", "projected"):
        behind = simulate[name]["behind"]
        low, high = behind["richness_min"], behind["richness_max"]
        if low >= high:
            raise SettingsError(
                f"{where}.{name}.behind.richness_min: {low} must be below richness_max {high}; allowed are 1 to {high}"
            )
        if behind["z_max"] <= behind["dz_min"]:
            raise SettingsError(
                f"{where}.{name}.behind.z_max: {behind['z_max']} lies in front of every lens, as dz_min is "
                f"{behind['dz_min']}; allowed are {behind['dz_min']} to 3"
            )
