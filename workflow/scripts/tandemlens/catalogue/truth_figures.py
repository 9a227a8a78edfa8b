"""Pictures of simulated systems: the truth over the image, the residual, and the distributions of what was drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from tandemlens.base.samples import CLASSES
from tandemlens.catalogue.figures import draw_composite, new_axes, png

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.base.stack import Cutout

#: colours of kinds of objects and of critical lines, distinguishable to colour-blind eyes (Okabe & Ito 2008)
_LINES = {"tangential": "#f0e442", "radial": "#56b4e9"}
_SOURCES = {"behind": "#ff6ec7", "source": "#ff6ec7"}
_CLASS_COLOURS = dict(zip(CLASSES, ("#d55e00", "#e69f00", "#0072b2", "#999999", "#009e73", "#cc79a7"), strict=True))
#: column of systems.parquet -> label and whether its axis is logarithmic
_DRAWN = {
    "z": ("redshift of the lens", False),
    "z_source": ("redshift of the source", False),
    "theta_e": ("Einstein radius (arcsec)", True),
    "snr_brightest": ("ideal S/N of the brightest arc", True),
    "mag_brightest": ("magnitude of the brightest arc", False),
    "n_seen": ("lensed sources above S/N 5", False),
    "blended": ("share of it below the central galaxy", False),
    "m200c": ("halo mass (Msun)", True),
}
#: ground experts recover lenses above these (Rojas et al. 2023)
_EXPERT_SNR = 25.0


def picture_truth(
    cutout: "Cutout",
    stamp: tuple[slice, slice],
    scale: float,
    truth: "pd.DataFrame",
    images: "pd.DataFrame",
    curves: "pd.DataFrame",
) -> str:
    """Colour picture with critical lines, images of strongly lensed sources, and what else was painted.

    Parameters
    ----------
    cutout : Cutout
    stamp : (slice, slice)
    scale : float, arcsec per pixel
    truth, images, curves : pandas.DataFrame
        Rows of this system, perhaps none.

    Returns
    -------
    str
        PNG as base64 text.
    """
    figure, axes = new_axes()
    draw_composite(axes, cutout, stamp)
    limits = axes.get_xlim(), axes.get_ylim()
    ny, nx = cutout.flux.shape[1:]

    def place(frame: "pd.DataFrame") -> "tuple[pd.Series, pd.Series]":
        # west is towards +x
        across, up = (nx - 1) / 2 - stamp[1].start, (ny - 1) / 2 - stamp[0].start
        return across - frame["east"] / scale, up + frame["north"] / scale

    for (_, kind), line in curves.groupby(["line", "kind"]):
        axes.plot(*place(line), color=_LINES[kind], lw=0.8)
    ring: dict[str, Any] = {"facecolors": "none", "lw": 0.8}
    kinds = truth.set_index("source")["kind"].reindex(images["source"]).to_numpy()
    for kind in np.unique(kinds):
        x, y = place(images[kinds == kind])
        axes.scatter(x, y, s=26, edgecolors=_SOURCES.get(kind, "#ffffff"), **ring)
    painted = truth[~truth["canvas"] & ~truth["strong"] & (truth["kind"] != "behind")]
    x, y = place(painted)
    axes.scatter(x, y, marker="s", s=40, edgecolors="#00e08a", **ring)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    return png(figure)


def picture_residual(detection: np.ndarray, stamp: tuple[slice, slice]) -> str:
    """What is left after the light of the centre, in sigma.

    Parameters
    ----------
    detection : (y, x) ndarray
    stamp : (slice, slice)

    Returns
    -------
    str
        PNG as base64 text.
    """
    figure, axes = new_axes()
    axes.imshow(detection[stamp], origin="lower", cmap="gray", vmin=-3, vmax=12, interpolation="nearest")
    return png(figure)


def picture_distributions(systems: "pd.DataFrame") -> str:
    """Histograms of what was drawn, by class.

    Parameters
    ----------
    systems : pandas.DataFrame
        As from systems.parquet.

    Returns
    -------
    str
        PNG as base64 text.
    """
    figure = Figure(figsize=(12.5, 5.6), dpi=100, layout="constrained")
    for axes, (column, (label, logarithmic)) in zip(figure.subplots(2, 4).ravel(), _DRAWN.items(), strict=True):
        values = systems[column].to_numpy(float)
        values = np.where(values > 0, values, np.nan) if logarithmic else values
        ends = values[np.isfinite(values)]
        axes.set_xlabel(label, fontsize=9)
        axes.tick_params(labelsize=8)
        if not len(ends):
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
            continue
        low, high = ends.min(), max(ends.max(), ends.min() + 1e-3)
        edges = np.geomspace(low, high, 15) if logarithmic else np.linspace(low, high, 15)
        groups = [(c, values[(systems["class"] == c) & np.isfinite(values)]) for c in CLASSES]
        groups = [(c, v) for c, v in groups if len(v)]
        names, parts = zip(*groups, strict=True)
        axes.hist(parts, edges, stacked=True, color=[_CLASS_COLOURS[c] for c in names], label=names)
        if logarithmic:
            axes.set_xscale("log")
        if column == "snr_brightest":
            axes.axvline(_EXPERT_SNR, color="k", lw=0.8, ls=":")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), fontsize=9, frameon=False)
    return png(figure)


def picture_expected(expected: "pd.DataFrame") -> str:
    """Expected number of tandems of each target against its richness.

    Parameters
    ----------
    expected : pandas.DataFrame
        As from expected.parquet.

    Returns
    -------
    str
        PNG as base64 text.
    """
    figure = Figure(figsize=(6.2, 3.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    some = expected["expected"] > 0
    left.plot(expected["richness"], expected["theta_e"], "o", ms=4, color="#0072b2")
    left.set_ylabel("Einstein radius for z = 2 (arcsec)", fontsize=8)
    right.plot(expected["richness"][some], expected["expected"][some], "o", ms=4, color="#d55e00", label="tandems")
    right.plot(expected["richness"], expected["clusters"], "x", ms=4, color="#999999", label="clusters behind")
    right.set_ylabel("expected number per target", fontsize=8)
    right.set_yscale("log")
    right.legend(fontsize=7, frameon=False)
    for axes in (left, right):
        axes.set_xlabel("richness of the lens", fontsize=8)
        axes.tick_params(labelsize=7)
    return png(figure)
