"""What a head says of itself before it sees data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Declaration:
    """What a head gives and needs.

    Parameters
    ----------
    name : str
    score : str
        Column to rank by.
    columns : tuple of str
        Of its table.
    min_bands : int
    seeded : bool
        Whether it draws random numbers.
    """

    name: str
    score: str
    columns: tuple
    min_bands: int
    seeded: bool
