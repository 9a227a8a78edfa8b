"""The arcs of a system whose colours count, and the foreground red sequence that they are set against."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tandemlens.features.colour import adjacent_colours, bridged_colours
from tandemlens.features.sequence import SCATTER, TEMPLATE_ERROR, sequence_colours

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.features.colour import Colours
    from tandemlens.features.sequence import Bands


def magnitudes(frame: "pd.DataFrame", bands: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Segment magnitudes and errors of some rows.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``mag_{band}``, ``mag_err_{band}``.
    bands : sequence of str

    Returns
    -------
    mag, mag_err : (n, band) float ndarray, mag
    """
    return tuple(frame[[f"{kind}_{band}" for band in bands]].to_numpy(float) for kind in ("mag", "mag_err"))


def usable_bands(frame: "pd.DataFrame", bands: Sequence[str]) -> np.ndarray:
    """Bands in which any segment of a system has a magnitude.

    Parameters
    ----------
    frame : pandas.DataFrame
    bands : sequence of str

    Returns
    -------
    (band,) bool ndarray
    """
    return np.isfinite(magnitudes(frame, bands)[0]).any(axis=0)


def arc_colours(
    frame: "pd.DataFrame", bands: Sequence[str], settings: dict[str, Any], kinds: Sequence[str] = ("arc",)
) -> "tuple[pd.DataFrame, Colours, np.ndarray]":
    """Segments of some kinds with a measured colour.

    Parameters
    ----------
    frame : pandas.DataFrame
        Segments of one system with photometry.
    bands : sequence of str
    settings : dict
        Section ``colour``: min_snr, reached in two bands at least.
    kinds : sequence of str

    Returns
    -------
    arcs : pandas.DataFrame
        The rows that count.
    colours : Colours
        Between neighbouring usable bands.
    used : (band,) bool ndarray
    """
    used = usable_bands(frame, bands)
    names = [band for band, ok in zip(bands, used, strict=True) if ok]
    arcs = frame[frame["kind"].isin(kinds)]
    arcs = arcs[well_measured(arcs, names, settings["min_snr"])]
    return arcs, adjacent_colours(*magnitudes(arcs, names)), used


def well_measured(frame: "pd.DataFrame", bands: Sequence[str], min_snr: float) -> np.ndarray:
    """Segments whose flux reaches a S/N in two bands at least, so that they have a colour.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``flux_seg_{band}``, ``flux_seg_err_{band}``.
    bands : sequence of str
    min_snr : float

    Returns
    -------
    (n,) bool ndarray
    """
    flux, err = (frame[[f"flux_seg_{e}{b}" for b in bands]].to_numpy(float) for e in ("", "err_"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (flux / err >= min_snr).sum(axis=1) >= 2


def strongest(arcs: "pd.DataFrame", n: int) -> np.ndarray:
    """Places of the rows of highest S/N, in the order of the table.

    Parameters
    ----------
    arcs : pandas.DataFrame
        Column snr.
    n : int

    Returns
    -------
    (at most n,) int ndarray
    """
    return np.sort(np.argsort(-arcs["snr"].to_numpy(), kind="stable")[:n])


def sequence_at(
    frame: "pd.DataFrame", z: float, path: str, bands: "Bands", used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the foreground red sequence: those of the central galaxy, else of a template at the redshift.

    Parameters
    ----------
    frame : pandas.DataFrame
        Segments of the system; the one of kind bcg is the central galaxy.
    z : float
        NaN if unknown.
    path : str
        Spectrum of an old galaxy.
    bands : tandemlens.features.sequence.Bands
    used : (band,) bool ndarray

    Returns
    -------
    colours : (p,) ndarray, mag
        NaN where neither is known.
    covariance : (p, p) ndarray, mag^2
        Intrinsic scatter and the error of the place.
    """
    p = max(int(used.sum()) - 1, 0)
    scatter = SCATTER**2 * np.eye(p)
    names = [band for band, ok in zip(bands.names, used, strict=True) if ok]
    central = frame[frame["kind"] == "bcg"]
    if len(central):
        colours = adjacent_colours(*magnitudes(central.iloc[:1], names))
        if np.sqrt(np.trace(colours.covariance[0]) / p) < 2 * TEMPLATE_ERROR:
            return colours.value[0], colours.covariance[0] + scatter
    if not np.isfinite(z):
        return np.full(p, np.nan), scatter
    return bridged_colours(sequence_colours(path, bands, z), used), scatter + TEMPLATE_ERROR**2 * np.eye(p)
