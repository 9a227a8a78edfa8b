"""The outcome of a target from the outcomes of its bands."""

#: colours need two bands
MIN_BANDS = 2


def target_outcome(rows):
    """Status of a target after fetching.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows of one target in `fetch.parquet`.

    Returns
    -------
    status, reason : str
        ok with two usable bands or more; too_few_bands with one; without any, what the first band says.
    """
    bad = rows[rows["status"] != "ok"]
    n_ok = len(rows) - len(bad)
    if n_ok >= MIN_BANDS:
        return "ok", ""
    told = "; ".join(dict.fromkeys(bad["reason"]))
    if n_ok == 1:
        return "too_few_bands", told
    return bad["status"].iloc[0], told
