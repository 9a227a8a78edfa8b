"""Response curves of bands: those of real filters by their name, top hats where a survey names none."""

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from tandemlens.base.errors import SettingsError

#: responses below this fraction of the peak are left out, lest a red leak decide which redshifts a template reaches
_LEAST_RESPONSE = 1e-3
_FOLDER = files("speclite") / "data" / "filters"
_ANGSTROM = {"Angstrom": 1.0, "nm": 10.0, "um": 1e4, "micron": 1e4}
_STEPS, _TOP_HAT_STEPS = 401, 101


def curve(band: str, facts: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Response curve of a band, per photon.

    Parameters
    ----------
    band : str
        Name of the band in the survey, for messages.
    facts : dict
        ``filter``, a name of speclite (its data travel with that package), else ``wavelength`` and ``width`` (Angstrom)
        of a top hat.

    Returns
    -------
    wavelength : (n,) float ndarray, Angstrom
        Evenly spaced, around all responses above a thousandth of the peak.
    response : (n,) float ndarray
        Any scale.

    Raises
    ------
    SettingsError
        If speclite has no filter of that name.
    """
    name = facts.get("filter")
    if name is None:
        half = facts["width"] / 2
        seen = np.linspace(facts["wavelength"] - half, facts["wavelength"] + half, _TOP_HAT_STEPS)
        return seen, np.ones(_TOP_HAT_STEPS)
    if name not in filter_names():
        near = ", ".join(get_close_matches(name, filter_names(), 3, cutoff=0.0))
        raise SettingsError(
            f"bands.{band}.filter {name!r} is no filter of speclite; the nearest names are {near}, "
            "or leave it out for a top hat of wavelength and width"
        )
    return _named(name)


@cache
def filter_names() -> tuple[str, ...]:
    """Names of all filters.

    Returns
    -------
    tuple of str
    """
    return tuple(sorted(f.name.removesuffix(".ecsv") for f in _FOLDER.iterdir() if f.name.endswith(".ecsv")))


@cache
def _named(name: str) -> tuple[np.ndarray, np.ndarray]:
    # tables of speclite as they are: its module takes a second to import, at the start of every run and of most jobs
    text = (_FOLDER / f"{name}.ecsv").read_text(encoding="utf-8")
    unit = re.findall(r"name: wavelength, unit: (\w+)", text)[0]
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    wavelength, response = np.loadtxt(rows, skiprows=1).T
    wavelength *= _ANGSTROM[unit]
    used = np.flatnonzero(response > _LEAST_RESPONSE * response.max())
    # the neighbours keep the slopes down to nothing of coarsely sampled curves
    first, last = max(used[0] - 1, 0), min(used[-1] + 1, len(wavelength) - 1)
    seen = np.linspace(wavelength[first], wavelength[last], _STEPS)
    return seen, np.interp(seen, wavelength, response)
