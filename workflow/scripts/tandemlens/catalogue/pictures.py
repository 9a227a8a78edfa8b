"""What the inspection page shows of one system: pictures, outlines and colours of its segments, as plain data."""

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.image import imsave
from scipy.ndimage import find_objects
from skimage.measure import approximate_polygon, find_contours

from tandemlens.catalogue.figures import colour_picture, stamp_of
from tandemlens.features.arcs import sequence_at, usable_bands
from tandemlens.features.sequence import read_sed, template_magnitudes

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.base.stack import Cutout
    from tandemlens.features.sequence import Bands

#: side of the pictures in the list, pixel
THUMB = 56
#: longest side of the picture of the whole cutout, pixel; larger ones are averaged
_WIDEST = 640
#: JPEG in which colour has the resolution of brightness: subsampled, the colours of arcs would smear
_CLOSE, _WIDE, _GREY = ({"quality": quality, "subsampling": 0} for quality in (92, 82, 85))
#: what is shown of a segment, after its label and kind
_SEGMENT = ("snr", "length", "width", "east", "north")
_TRACK = np.arange(0.1, 1.51, 0.1)


def system_pictures(
    cutout: "Cutout",
    images: tuple[np.ndarray, np.ndarray, np.ndarray],
    frame: "pd.DataFrame",
    z: float,
    sequence_path: str,
    bands: "Bands",
    cfg: dict[str, Any],
) -> tuple[dict[str, Any], np.ndarray]:
    """Everything the page shows of one system but its row of the catalogue.

    Parameters
    ----------
    cutout : Cutout
        Matched.
    images : (labels, detection, residual)
        As from `tandemlens.image.segment.open_images`.
    frame : pandas.DataFrame
        Segments of the system with their photometry.
    z : float
        Redshift of the near cluster; NaN if unknown.
    sequence_path : str
        Spectrum of an old galaxy.
    bands : tandemlens.features.sequence.Bands
    cfg : dict
        ``stamp_arcsec`` and ``pixel_scale``.

    Returns
    -------
    payload : dict
        Of plain types: pictures as data URIs, segments as lists, the foreground red sequence.
    thumb : (THUMB, THUMB, 3) uint8 ndarray
        North up.
    """
    labels, detection, _ = images
    scale = cfg["pixel_scale"]
    stamp = stamp_of(labels.shape, cfg)
    rgb, names = colour_picture(cutout)
    close, (ny, nx) = rgb[stamp], rgb.shape[:2]
    payload = {
        "size": [close.shape[1], close.shape[0]],
        "arcsec": [close.shape[1] * scale, nx * scale],
        "rgb": names,
        "close": _jpeg(close, _CLOSE),
        "wide": _jpeg(_averaged(rgb, -(-max(ny, nx) // _WIDEST)), _WIDE) if close.shape != rgb.shape else "",
        "bands": [
            [band, _jpeg(_grey(cutout, k)[stamp], _GREY)] for k, band in enumerate(cutout.bands) if cutout.usable()[k]
        ],
        "residual": _jpeg(_stretched(detection[stamp], -2, 40), _GREY),
        "outlines": outlines(labels[stamp]),
        "segments": [_segment(row, bands.names) for row in frame.to_dict("records")],
        "sequence": _sequence(frame, z, sequence_path, bands),
    }
    return payload, _thumb(close)


def outlines(labels: np.ndarray) -> list[list[int | str]]:
    """Outlines of segments as paths of SVG, in pixels of a picture whose first row is at the bottom of the image.

    Parameters
    ----------
    labels : (y, x) int ndarray
        0 is no segment.

    Returns
    -------
    list of [int, str]
        Label and path.
    """
    paths: list[list[int | str]] = []
    for index, box in enumerate(find_objects(labels.astype(int)), 1):
        if box is None:
            continue
        mask = np.pad(labels[box] == index, 1)
        parts = []
        for line in find_contours(mask, 0.5):
            y, x = approximate_polygon(line, 0.3).T
            # centre of pixel (0, 0) of the unpadded part is half a pixel from the edge of the picture
            across, up = x - 0.5 + box[1].start, labels.shape[0] - (y - 0.5 + box[0].start)
            parts.append(
                "M" + "L".join(f"{a:g},{b:g}" for a, b in zip(across.round(1), up.round(1), strict=True)) + "Z"
            )
        paths.append([index, "".join(parts)])
    return paths


def sequence_track(sequence_path: str, bands: "Bands") -> dict[str, Any]:
    """Magnitudes of old galaxies along redshift, up to a constant of each redshift.

    Parameters
    ----------
    sequence_path : str
    bands : tandemlens.features.sequence.Bands

    Returns
    -------
    dict
        ``z`` and ``mags``, one list a redshift; None where a band leaves the spectrum.
    """
    mags = template_magnitudes(read_sed(sequence_path), _TRACK, bands)
    return {
        "z": [round(float(z), 2) for z in _TRACK],
        "mags": [[_number(m, 4) for m in row - np.nanmean(row)] if np.isfinite(row).any() else None for row in mags],
    }


def contact_sheet(thumbs: list[np.ndarray], columns: int) -> bytes:
    """Small pictures side by side, row by row; cells that are left over are black.

    Parameters
    ----------
    thumbs : list of (THUMB, THUMB, 3) uint8 ndarray
    columns : int

    Returns
    -------
    bytes
        JPEG.
    """
    rows = -(-len(thumbs) // columns)
    sheet = np.zeros((rows * THUMB, columns * THUMB, 3), np.uint8)
    for k, thumb in enumerate(thumbs):
        y, x = (THUMB * n for n in divmod(k, columns))
        sheet[y : y + THUMB, x : x + THUMB] = thumb
    return _jpeg_bytes(sheet, _CLOSE)


def _segment(row: dict[str, Any], bands: tuple[str, ...]) -> list[float | str]:
    """Label, kind, `_SEGMENT`, then magnitude and error of every band."""
    photometry = [_number(row[f"{kind}_{band}"], 3) for band in bands for kind in ("mag", "mag_err")]
    return [int(row["label"]), row["kind"], *(_number(row[name], 2) for name in _SEGMENT), *photometry]


def _sequence(frame: "pd.DataFrame", z: float, path: str, bands: "Bands") -> dict[str, Any] | None:
    """Colours of the foreground red sequence between the bands in use and their covariance; None if unknown."""
    used = usable_bands(frame, bands.names)
    if used.sum() < 2:
        return None
    colours, covariance = sequence_at(frame, z, path, bands, used)
    if not np.isfinite(colours).all():
        return None
    return {
        "bands": [band for band, ok in zip(bands.names, used, strict=True) if ok],
        "colours": [round(float(c), 4) for c in colours],
        "covariance": [[round(float(c), 6) for c in row] for row in covariance],
    }


def _grey(cutout: "Cutout", band: int) -> np.ndarray:
    """One band as 0 to 255, asinh in units of its noise."""
    good = cutout.mask[band] == 0
    noise = np.sqrt(np.median(cutout.variance[band][good]))
    picture = _stretched(cutout.flux[band] / noise, -1.5, 150)
    picture[~good] = 0
    return picture


def _stretched(values: np.ndarray, low: float, high: int) -> np.ndarray:
    """Values in units of the noise as 0 to 255: linear up to three times the noise, logarithmic far above."""
    low, high = (np.arcsinh(v / 3) for v in (low, high))
    return (255 * np.clip((np.arcsinh(values / 3) - low) / (high - low), 0, 1)).astype(np.uint8)


def _averaged(rgb: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return rgb
    ny, nx = (n // factor for n in rgb.shape[:2])
    cut = rgb[: ny * factor, : nx * factor].astype(np.float32)
    return cut.reshape(ny, factor, nx, factor, 3).mean(axis=(1, 3)).astype(np.uint8)


def _thumb(rgb: np.ndarray) -> np.ndarray:
    small = _averaged(rgb, max(1, min(rgb.shape[:2]) // THUMB))
    out = np.zeros((THUMB, THUMB, 3), np.uint8)
    ny, nx = (min(n, THUMB) for n in small.shape[:2])
    y, x = ((n - m) // 2 for n, m in zip(small.shape[:2], (ny, nx), strict=True))
    oy, ox = (THUMB - ny) // 2, (THUMB - nx) // 2
    out[oy : oy + ny, ox : ox + nx] = small[y : y + ny, x : x + nx]
    return out[::-1]


def _jpeg(picture: np.ndarray, quality: dict[str, int]) -> str:
    """A picture, first row at the bottom, as data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg_bytes(picture[::-1], quality)).decode()


def _jpeg_bytes(picture: np.ndarray, quality: dict[str, int]) -> bytes:
    buffer = BytesIO()
    imsave(buffer, np.ascontiguousarray(picture), format="jpg", cmap="gray", vmin=0, vmax=255, pil_kwargs=quality)
    return buffer.getvalue()


def _number(value: float, digits: int) -> float | None:
    """A number rounded, None where there is none."""
    return round(float(value), digits) if np.isfinite(value) else None
