"""The outcome of a target from the outcomes of its bands."""

from collections.abc import Sequence

#: colours need two bands
MIN_BANDS = 2


def target_outcome(bands: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Status of a target after fetching.

    Parameters
    ----------
    bands : sequence of (str, str)
        Status and reason of every band of one target in `fetch.parquet`.

    Returns
    -------
    status, reason : str
        ok with two usable bands or more; too_few_bands with one; without any, what the first band says.
    """
    bad = [(status, reason) for status, reason in bands if status != "ok"]
    n_ok = len(bands) - len(bad)
    if n_ok >= MIN_BANDS:
        return "ok", ""
    told = "; ".join(dict.fromkeys(reason for _, reason in bad))
    if n_ok == 1:
        return "too_few_bands", told
    return bad[0][0], told
