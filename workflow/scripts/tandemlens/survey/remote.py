"""Catalogues of the settings that are no files: which they are, and a file in their place.

What asks for them takes long to import; every start of a run comes by here, and most ask nobody.
"""

SCHEME = "vizier:"


def is_remote(catalogue):
    """Whether a catalogue of the settings is a table of VizieR and no path.

    Parameters
    ----------
    catalogue : str or Path

    Returns
    -------
    bool
    """
    return str(catalogue).startswith(SCHEME)


def at_hand(section, fetch, known=None):
    """Settings that name a catalogue, with a file in the place of a table of VizieR.

    Parameters
    ----------
    section : dict
        Keys catalogue (a path, or ``vizier:`` and a name of ``resources/catalogues.yaml`` or the id of a table),
        columns (they go over those of the name), format.
    fetch : dict
        Section ``fetch`` of the settings.
    known : dict, optional
        In the place of ``resources/catalogues.yaml``.

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
    from tandemlens.survey.services.vizier import fetched

    return fetched(section, fetch, known)
