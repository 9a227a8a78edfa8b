"""Pictures of a system, and how figures become files."""

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.visualization import make_lupton_rgb
from matplotlib import rc_context
from matplotlib.figure import Figure

from tandemlens.base.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tandemlens.base.stack import Cutout

#: colours of the classes, distinguishable to colour-blind eyes (Okabe & Ito 2008)
KIND_COLOURS = {
    "arc": "#56b4e9",
    "member": "#e69f00",
    "star": "#f0e442",
    "artefact": "#d55e00",
    "bcg": "#ffffff",
    "other": "#999999",
}
#: of the composite, in units of the noise: what is black, and the linear range above it
_BLACK, _STRETCH, _SOFTENING = -1.0, 15.0, 9.0
#: colour of pixels that some band of the composite lacks
_MASKED = 70
_SIDE = 2.9
_DPI = 110


def stamp_of(shape: tuple[int, int], cfg: dict[str, Any]) -> tuple[slice, slice]:
    """The middle of an image, of the side that the settings ask for.

    Parameters
    ----------
    shape : (int, int)
    cfg : dict
        ``stamp_arcsec`` and ``pixel_scale``.

    Returns
    -------
    (slice, slice)
        y and x.
    """
    half = cfg["stamp_arcsec"] / cfg["pixel_scale"] / 2
    y, x = (slice(max(0, int(n / 2 - half)), min(n, int(n / 2 + half) + 1)) for n in shape)
    return y, x


def composite(flux: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Three planes as red, green and blue (Lupton et al. 2004, PASP 116, 133), on one scale in units of the noise.

    Colours stay what they are however bright a galaxy is, so that two arcs of one colour look alike.

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
    # One factor for all bands, the same for every picture of equal depth: white is a flat AB spectrum.
    planes = np.asarray(flux) / np.median(noise)
    return make_lupton_rgb(*planes, minimum=_BLACK, stretch=_STRETCH, Q=_SOFTENING)


def rgb_bands(used: np.ndarray) -> np.ndarray:
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


def picture_composite(cutout: "Cutout", stamp: tuple[slice, slice], mark: str | None = None) -> str:
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


def draw_composite(axes: "Axes", cutout: "Cutout", stamp: tuple[slice, slice], mark: str | None = None) -> None:
    """Colour picture of a matched system on given axes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    cutout, stamp, mark
        As for `picture_composite`.
    """
    rgb, names = colour_picture(cutout)
    axes.imshow(rgb[stamp], origin="lower", interpolation="nearest")
    axes.text(0.03, 0.03, f"{mark or ''}{names}", color="white", transform=axes.transAxes, fontsize=7)


def colour_picture(cutout: "Cutout") -> tuple[np.ndarray, str]:
    """Composite of a matched system.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    rgb : (y, x, 3) uint8 ndarray
        Grey where one of the three bands has no valid pixel.
    bands : str
        The bands that are red, green and blue.
    """
    planes = rgb_bands(cutout.usable())
    good = cutout.mask[planes] == 0
    noise = [np.sqrt(np.median(cutout.variance[k][g])) for k, g in zip(planes, good, strict=True)]
    rgb = composite(cutout.flux[planes], np.array(noise))
    rgb[~good.all(axis=0)] = _MASKED
    return rgb, " ".join(cutout.bands[k] for k in planes)


def new_axes() -> "tuple[Figure, Axes]":
    """A square figure without frame.

    Returns
    -------
    matplotlib.figure.Figure, matplotlib.axes.Axes
    """
    figure = Figure(figsize=(_SIDE, _SIDE), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def png(figure: Figure) -> str:
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


def save_figure(figure: Figure, stem: str) -> None:
    """Write a figure as ``<stem>.png`` and ``<stem>.svg``; equal figures give equal files.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    stem : str
    """
    with rc_context({"svg.hashsalt": "tandemlens"}):
        for suffix in ("png", "svg"):
            with atomic_path(f"{stem}.{suffix}") as temporary:
                figure.savefig(temporary, metadata={"Date": None} if suffix == "svg" else None)
