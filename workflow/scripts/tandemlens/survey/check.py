"""What a survey file cannot ask of its source, refused before any job starts."""

from collections.abc import Collection
from typing import Any

from tandemlens.base.config import band_section
from tandemlens.base.errors import SettingsError

#: sources that give pictures: pixels resampled from others, of varying units
_PICTURES = ("hips", "skyview")
_LOCAL = ("files", "none")


def check_survey(
    name: str, survey: dict[str, Any], bands: list[str], size_arcsec: float, pixels: Collection[str]
) -> None:
    """Refuse a survey whose source cannot bring the images that are asked for.

    Parameters
    ----------
    name : str
    survey : dict
        As checked by ``survey.schema.yaml``.
    bands : list of str
        Those in use.
    size_arcsec : float
        Side of the cutouts.
    pixels : collection of str
        Pixels of the samples: survey, simulated, injected.

    Raises
    ------
    SettingsError
        One sentence with the setting, its value and what is allowed.
    """
    source, service = survey["source"], survey["service"]
    if source in _PICTURES:
        raise SettingsError(
            f"survey {name}: source {source!r} gives resampled pictures without variance and PSF, not for photometry; "
            "use the data service of the survey (legacy, ps1, sdss, des, hsc, euclid, mast, rubin) or files"
        )
    if source in _LOCAL or set(pixels) <= {"simulated"}:
        return
    if "collection" not in service:
        raise SettingsError(
            f"survey {name}: source {source!r} is a data service, and the survey file has no service.collection; "
            "add the section `service` with the layer, rerun or release as the service names it"
        )
    if "largest" not in service:
        return
    sizes = {"config.cutout.size_arcsec": size_arcsec}
    for band in bands:
        field = band_section(survey, band, "psf").get("field_arcsec", 0)
        sizes[f"survey {name}: psf.field_arcsec of {band}"] = field
    for setting, arcsec in sizes.items():
        side = round(arcsec / survey["pixel_scale"])
        if side > service["largest"]:
            raise SettingsError(
                f"{setting}: {arcsec:g} is {side} pixels of survey {name}, whose service gives at most "
                f"{service['largest']} (service.largest); allowed are up to "
                f"{service['largest'] * survey['pixel_scale']:g} arcsec"
            )
