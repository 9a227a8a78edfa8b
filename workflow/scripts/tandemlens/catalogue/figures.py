"""Pictures of a candidate: composite, residual with segments, colours of the segments."""

import base64
from io import BytesIO

import numpy as np
from astropy.visualization import AsinhStretch, ManualInterval
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

#: colours of the classes, distinguishable to colour-blind eyes (Okabe & Ito 2008)
KIND_COLOURS = {
    "arc": "#56b4e9",
    "member": "#e69f00",
    "star": "#f0e442",
    "artefact": "#d55e00",
    "bcg": "#ffffff",
    "other": "#999999",
}
_CHOSEN = "#00e08a"
_SIDE = 2.9
_DPI = 110


def composite(flux, noise):
    """Three planes as red, green and blue, on one asinh scale in units of the noise.

    Parameters
    ----------
    flux : (3, y, x) ndarray, nJy
        Red, green, blue.
    noise : (3,) ndarray, nJy
        Pixel noise of each.

    Returns
    -------
    (y, x, 3) uint8 ndarray
    """
    # One factor a band, the same for every picture of equal depth: white is a flat AB spectrum at equal noise.
    planes = np.stack(list(flux), axis=-1) / np.median(noise)
    stretch = AsinhStretch(0.03)
    scaled = stretch(ManualInterval(-1.5, 120.0)(planes), clip=True)
    return (255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def rgb_bands(used):
    """Three of the usable bands for red, green and blue: the reddest, the middle and the bluest of up to four.

    Parameters
    ----------
    used : (band,) bool ndarray

    Returns
    -------
    (3,) int ndarray
        Indices, red first; two bands share the middle.
    """
    index = np.flatnonzero(used)
    index = index[:4] if len(index) > 4 else index
    return np.array([index[-1], index[len(index) // 2], index[0]])


def picture_composite(cutout, stamp, mark=None):
    """Colour picture of a matched system.

    Parameters
    ----------
    cutout : Cutout
    stamp : (slice, slice)
        Part of the image to show, y and x.
    mark : str, optional
        Text in the corner.

    Returns
    -------
    str
        PNG as base64 text.
    """
    figure, axes = new_axes()
    draw_composite(axes, cutout, stamp, mark)
    return png(figure)


def draw_composite(axes, cutout, stamp, mark=None):
    """Colour picture of a matched system on given axes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    cutout, stamp, mark
        As for `picture_composite`.
    """
    red, green, blue = rgb_bands(cutout.usable())
    planes = cutout.flux[[red, green, blue]][(slice(None), *stamp)]
    noise = [np.sqrt(np.median(cutout.variance[k][cutout.mask[k] == 0])) for k in (red, green, blue)]
    axes.imshow(composite(planes, np.array(noise)), origin="lower", interpolation="nearest")
    names = " ".join(cutout.bands[k] for k in (red, green, blue))
    axes.text(0.03, 0.03, f"{mark or ''}{names}", color="white", transform=axes.transAxes, fontsize=7)


def picture_segments(detection, labels, segments, chosen, stamp, scale):
    """Residual without central light, segments outlined by class, the chosen arcs bold.

    Parameters
    ----------
    detection : (y, x) ndarray
        In units of sigma.
    labels : (y, x) int ndarray
    segments : pandas.DataFrame
        Columns label, kind.
    chosen : set of int
        Labels of the arcs behind the score.
    stamp : (slice, slice)
    scale : float, arcsec per pixel

    Returns
    -------
    str
        PNG as base64 text.
    """
    figure, axes = new_axes()
    axes.imshow(detection[stamp], origin="lower", cmap="gray", vmin=-3, vmax=12, interpolation="nearest")
    part = labels[stamp]
    for kind, group in segments.groupby("kind"):
        mine = np.isin(part, group["label"])
        if mine.any():
            axes.contour(mine, [0.5], colors=KIND_COLOURS[kind], linewidths=0.6)
    picked = np.isin(part, list(chosen))
    if picked.any():
        axes.contour(picked, [0.5], colors=_CHOSEN, linewidths=1.5)
    bar = next((b for b in (10, 5, 2, 1) if b / scale < 0.4 * part.shape[1]), 1)
    length = bar / scale
    axes.plot([0.05 * part.shape[1], 0.05 * part.shape[1] + length], [0.06 * part.shape[0]] * 2, "w-", lw=1.5)
    axes.text(0.05, 0.09, f'{bar}"', color="white", transform=axes.transAxes, fontsize=7)
    axes.annotate(
        "", (0.95, 0.93), (0.95, 0.80), xycoords="axes fraction", arrowprops={"arrowstyle": "->", "color": "w"}
    )
    axes.text(0.93, 0.94, "N", color="white", transform=axes.transAxes, fontsize=7)
    return png(figure)


def picture_colours(frame, pairs, chosen, sequence=None):
    """Colour-colour plot of the segments with one-sigma ellipses of the arcs.

    Parameters
    ----------
    frame : pandas.DataFrame
        Segments with photometry.
    pairs : (str, str)
        Names of the two colours, as in ``colour_{pair}``; a single pair is plotted against magnitude.
    chosen : set of int
    sequence : (float, float), optional
        Place of the central galaxy.

    Returns
    -------
    str
        PNG as base64 text.
    """
    figure = Figure(figsize=(_SIDE * 1.25, _SIDE), dpi=_DPI)
    axes = figure.add_axes((0.17, 0.15, 0.80, 0.81))
    x, y = (frame[f"colour_{p}"] for p in pairs)
    ex, ey = (frame[f"colour_err_{p}"] for p in pairs)
    for kind in ("other", "member", "star"):
        mine = frame["kind"] == kind
        axes.plot(x[mine], y[mine], ".", ms=3, color=KIND_COLOURS[kind], alpha=0.6, label=kind)
    arcs = frame[(frame["kind"] == "arc")]
    for index, row in arcs.iterrows():
        bold = int(row["label"]) in chosen
        colour = "#009e73" if bold else "#0072b2"
        if np.isfinite([x[index], y[index], ex[index], ey[index]]).all():
            axes.add_patch(_error_ellipse(row, pairs, x[index], y[index], colour))
            axes.plot(x[index], y[index], "o", ms=5 if bold else 3, color=colour)
            axes.annotate(str(int(row["label"])), (x[index], y[index]), fontsize=6, color=colour)
    if sequence is not None and np.isfinite(sequence).all():
        axes.plot(*sequence, "*", ms=10, color="#d55e00", label="central galaxy")
    good = np.isfinite(x) & np.isfinite(y) & (ex < 0.3) & (ey < 0.3)
    behind = (frame["label"].isin(chosen) & np.isfinite(x) & np.isfinite(y)).to_numpy()
    if good.any():
        for values, limit in ((x, axes.set_xlim), (y, axes.set_ylim)):
            ends = np.append(np.percentile(values[good], [2, 98]), values[behind])
            limit(ends.min() - 0.4, ends.max() + 0.4)
    axes.set_xlabel(pairs[0].replace("_", " - "), fontsize=8)
    axes.set_ylabel(pairs[1].replace("_", " - "), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, loc="upper left", frameon=False)
    return png(figure)


def _error_ellipse(row, pairs, x, y, colour):
    """One-sigma ellipse; two colours that share a band are correlated negatively."""
    sx, sy = row[f"colour_err_{pairs[0]}"], row[f"colour_err_{pairs[1]}"]
    shared = set(pairs[0].split("_")) & set(pairs[1].split("_"))
    cross = -(row[f"mag_err_{shared.pop()}"] ** 2) if len(shared) == 1 else 0.0
    values, vectors = np.linalg.eigh([[sx**2, cross], [cross, sy**2]])
    angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
    major, minor = 2 * np.sqrt(np.maximum(values[::-1], 0))
    return Ellipse((x, y), major, minor, angle=angle, fill=False, color=colour, lw=0.7, alpha=0.7)


def new_axes():
    """A square figure without frame.

    Returns
    -------
    matplotlib.figure.Figure, matplotlib.axes.Axes
    """
    figure = Figure(figsize=(_SIDE, _SIDE), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def png(figure):
    """A figure as PNG in base64 text.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    str
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png", pil_kwargs={"optimize": True})
    return base64.b64encode(buffer.getvalue()).decode()
