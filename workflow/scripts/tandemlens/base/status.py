"""The one list of statuses a target or a band can leave a stage with."""

OK = "ok"
SCORED = "scored"
NO_SEGMENTS = "no_segments"

#: status -> what it means; targets carry one in the catalogue, bands one in `fetch.parquet`.
STATUS = {
    OK: "usable so far (never a final status of a target)",
    SCORED: "went the whole road and has a score",
    "bad_coordinates": "coordinates are missing, not numbers, or out of range",
    "duplicate": "the same object stands in an earlier row of the target list",
    "no_coverage": "no image pixel of any band lies on the cutout",
    "masked": "pixels exist but too few are valid (masked, NaN or without weight)",
    "fetch_failed": "a file or answer is missing, truncated or cannot be read",
    "bad_unit": "the pixel unit is unknown or its zero point is missing",
    "bad_variance": "the variance, weight or noise map is unusable",
    "bad_psf": "the point-spread function is unusable and could not be replaced",
    "too_small": "the image is smaller than the point-spread function needs",
    "too_few_bands": "fewer than two bands are usable, so no colour exists",
    "cannot_paint": "a simulated system cannot be painted: no redshift behind the lens, or an uneven pixel grid",
    "stage_failed": "a stage met an unforeseen error on this target; the reason names it",
    NO_SEGMENTS: "fewer than two arc-like segments with a measured colour, so nothing can be compared",
}


def check(status: str) -> str:
    """Return `status` if it is registered, else raise `KeyError` naming it.

    Parameters
    ----------
    status : str

    Returns
    -------
    str
    """
    if status not in STATUS:
        raise KeyError(f"status {status!r} is not registered in tandemlens.base.status.STATUS")
    return status
