"""Catalogues that lie elsewhere than on this machine.

Every process of Snakemake reads this, so that what asks for them, which takes long to import, is imported when asked.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SCHEME = "vizier:"


def is_remote(catalogue: "str | Path") -> bool:
    """Whether a catalogue of the settings is a table of VizieR and no path.

    Parameters
    ----------
    catalogue : str or Path

    Returns
    -------
    bool
    """
    return str(catalogue).startswith(SCHEME)


def at_hand(section: dict[str, Any], fetch: dict[str, Any]) -> dict[str, Any]:
    """Settings that name a catalogue, with a file in the place of a table of VizieR.

    Parameters
    ----------
    section : dict
        Keys catalogue (a path, or ``vizier:`` and a name of ``resources/catalogues.yaml`` or the id of a table),
        columns (they go over those of the name), format.
    fetch : dict
        Section ``fetch`` of the settings.

    Returns
    -------
    dict
        As given, if the catalogue is a path.

    Raises
    ------
    SettingsError
        If the table is unknown, or VizieR does not give it.
    """
    if not is_remote(section["catalogue"]):
        return section
    from tandemlens.survey.services.vizier import table_file

    return table_file(section, fetch)
