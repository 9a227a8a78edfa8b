"""What the settings of a sample mean for its rules: bands, classes in use, name of the release."""

from typing import Any

from tandemlens.base.errors import SettingsError

#: classes of simulated systems (DESIGN section 6), the only positive one first
CLASSES = ("tandem", "projected", "single_arc", "members", "spiral_ring_merger", "artefact")


def choose_bands(wanted: list[str] | None, survey_name: str, known: list[str]) -> list[str]:
    """Bands of a run.

    Parameters
    ----------
    wanted : list of str or None
        None takes every band of the survey.
    survey_name : str
    known : list of str
        Bands of the survey.

    Returns
    -------
    list of str

    Raises
    ------
    SettingsError
        For a band that the survey does not have.
    """
    unknown = [band for band in wanted or [] if band not in known]
    if unknown:
        raise SettingsError(
            f"config.samples.search.bands: {', '.join(unknown)} is no band of survey {survey_name}; "
            f"it has {', '.join(known)}"
        )
    return wanted or known


def used_settings(simulate: dict[str, Any]) -> dict[str, Any]:
    """Settings of a simulation without the classes that it does not draw, so that those rerun nothing.

    Parameters
    ----------
    simulate : dict
        Section ``simulate`` of a sample.

    Returns
    -------
    dict
    """
    return {k: v for k, v in simulate.items() if k not in CLASSES or v["share"] > 0}


def twin_classes(sample: dict[str, Any]) -> tuple[str, ...]:
    """Classes of which every target of a sample gets one system.

    Parameters
    ----------
    sample : dict
        Settings of a sample.

    Returns
    -------
    tuple of str
        Empty for pixels of the survey, and for a sample without twins.
    """
    if sample["pixels"] == "survey" or not sample["simulate"]["twins"]:
        return ()
    return tuple(name for name in CLASSES if name in used_settings(sample["simulate"]))


def release_name(release: str, pixels: str) -> str:
    """Release of a survey as a sample carries it.

    Parameters
    ----------
    release : str
    pixels : str
        survey, simulated or injected.

    Returns
    -------
    str
        Begins with simulated where the pixels, or what is painted into them, are.
    """
    return {"survey": release, "simulated": f"simulated {release}", "injected": f"simulated systems in {release}"}[
        pixels
    ]
