"""What telescopes add to images: satellite trails, saturated stars, ghosts, residuals of cosmic rays.

Strengths are in units of the pixel noise of each band, drawn log-uniformly; all ranges are from memory, after the
images that public surveys show.
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from tandemlens.survey.psf import MOFFAT_BETA

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

KINDS = ("trail", "spike", "ghost", "cosmic")
#: FWHM to sigma
_SIGMA = 2 * np.sqrt(2 * np.log(2))
#: trail: peak in sigma, defocus in arcsec (a mirror of 4 to 8 m against a satellite at 500 to 1500 km), how much
#: tumbling varies it, and over what length in arcsec
_TRAIL, _DEFOCUS, _TUMBLE, _TUMBLE_LENGTH = (1.0, 60.0), (0.8, 3.0), (0.0, 0.5), (20.0, 200.0)
#: star: saturation in sigma, peak over it, scatter of a band's brightness in mag, farthest place in sides from the edge
_SATURATION, _PEAK, _COLOUR, _OUTSIDE = (2e3, 2e4), (2.0, 200.0), 0.5, 0.15
#: aureole and diffraction spikes over the peak, their core radii in FWHM, decay of the spikes (King 1971 for the
#: aureole's r^-2), and the share of stars whose spikes turn from band to band
_AUREOLE, _AUREOLE_CORE, _SPIKES, _SPIKE_CORE, _SPIKE_DECAY, _TURNING = (1e-5, 3e-4), 5.0, (1e-3, 1e-2), 2.0, 1.3, 0.5
#: share of stars that bleed along columns rather than have spikes; half length and half width of a column, pixel
_BLEEDING, _BLEED_LENGTH, _BLEED_WIDTH = 0.4, (15.0, 150.0), (1.0, 3.0)
#: ghost: brightness in sigma, outer radius and softness of its edge in arcsec, hole over the radius and how far it is
#: off the middle over what the annulus allows, share of discs without a hole, scatter between bands (ln)
_GHOST, _GHOST_RADIUS, _SOFT, _HOLE, _HOLE_OFF, _DISC = (0.3, 5.0), (8.0, 45.0), (0.5, 3.0), (0.25, 0.5), 0.6, 0.3
_GHOST_SCATTER = 0.5
#: cosmic rays: number of tracks, their length in pixels, peak in sigma, FWHM over that of the PSF, bend in rad a pixel
_TRACKS, _TRACK_LENGTH, _TRACK_PEAK, _SHARP, _BEND = (1, 6), (1.0, 40.0), (5.0, 150.0), (0.25, 0.6), (0.003, 0.15)


def draw_artefact(
    rng: np.random.Generator, side: int, scale: float, sigma: "ArrayLike", fwhm: "ArrayLike"
) -> tuple[str, np.ndarray, np.ndarray]:
    """One artefact of a cutout.

    Parameters
    ----------
    rng : numpy.random.Generator
    side : int, pixel
    scale : float, arcsec
        Pixel.
    sigma : (band,) array_like, nJy
        Pixel noise.
    fwhm : (band,) array_like, arcsec
        Of the PSF.

    Returns
    -------
    kind : str
        One of `KINDS`: ``trail``, a satellite in one or two bands; ``spike``, a saturated star in the frame or just
        outside; ``ghost``, a reflection out of focus; ``cosmic``, tracks of cosmic rays in one band.
    flux : (band, side, side) float32 ndarray, nJy
        To be added to the image after the PSF.
    masked : (band, side, side) bool ndarray
        Pixels that the survey flags as saturated: only a star has some.
    """
    sigma, fwhm = np.asarray(sigma, float), np.asarray(fwhm, float) / scale
    kind = KINDS[rng.integers(len(KINDS))]
    draw = {"trail": _trail, "spike": _star, "ghost": _ghost, "cosmic": _cosmic}[kind]
    strength, masked = draw(rng, side, scale, fwhm)
    return kind, (strength * sigma[:, None, None]).astype(np.float32), masked


def _trail(rng: np.random.Generator, side: int, scale: float, fwhm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    out, masked = _blank(side, fwhm)
    x, y = _grid(side)
    # two bands share a trail only where their exposures are simultaneous: each has its own
    for band in rng.choice(len(fwhm), min(int(rng.integers(1, 3)), len(fwhm)), replace=False):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.45, 0.45) * side
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle) - offset
        width = np.hypot(fwhm[band], _log_uniform(rng, _DEFOCUS) / scale) / _SIGMA
        wave = 2 * np.pi * along * scale / _log_uniform(rng, _TUMBLE_LENGTH) + rng.uniform(0, 2 * np.pi)
        tumble = 1 - rng.uniform(*_TUMBLE) * (1 + np.sin(wave)) / 2
        out[band] = _log_uniform(rng, _TRAIL) * tumble * np.exp(-0.5 * (across / width) ** 2)
    return out, masked


def _star(rng: np.random.Generator, side: int, scale: float, fwhm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x0, y0 = rng.uniform(-0.5 - _OUTSIDE, 0.5 + _OUTSIDE, 2) * side
    x, y = (v - c for v, c in zip(_grid(side), (x0, y0), strict=True))
    full = _log_uniform(rng, _SATURATION)
    peak = full * _log_uniform(rng, _PEAK) * 10 ** (-0.4 * rng.normal(0, _COLOUR, len(fwhm)))
    halo, arms = _log_uniform(rng, _AUREOLE), _log_uniform(rng, _SPIKES)
    bleeding, turning, angle = rng.uniform() < _BLEEDING, rng.uniform() < _TURNING, rng.uniform(0, np.pi / 2)
    out, masked = _blank(side, fwhm)
    for band, width in enumerate(fwhm):
        alpha = width / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
        r2 = x**2 + y**2
        shape = (1 + r2 / alpha**2) ** -MOFFAT_BETA + halo / (1 + r2 / (_AUREOLE_CORE * width) ** 2)
        if not bleeding:
            shape = shape + arms * _cross(x, y, width, rng.uniform(0, np.pi / 2) if turning else angle)
        light = peak[band] * shape
        masked[band] = light > full
        if bleeding:
            masked[band] |= _column(rng, x, y, peak[band] / full)
        out[band] = np.where(masked[band], full, light)
    return out, masked


def _cross(x: np.ndarray, y: np.ndarray, width: float, angle: float) -> np.ndarray:
    """Four diffraction spikes as wide as the PSF, 1 at the middle."""
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)

    def arm(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * (v * _SIGMA / width) ** 2) / np.hypot(1, u / (_SPIKE_CORE * width)) ** _SPIKE_DECAY

    return arm(along, across) + arm(across, along)


def _column(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, excess: float) -> np.ndarray:
    """Pixels that a saturated star's charge bleeds into; it reaches farther the more there is of it."""
    length = min(_log_uniform(rng, _BLEED_LENGTH), _BLEED_LENGTH[0] * max(excess, 0)) * rng.uniform(0.7, 1, 2)
    return (np.abs(x) < rng.uniform(*_BLEED_WIDTH)) & (y < length[0]) & (y > -length[1])


def _ghost(rng: np.random.Generator, side: int, scale: float, fwhm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius, soft = _log_uniform(rng, _GHOST_RADIUS) / scale, _log_uniform(rng, _SOFT) / scale
    x, y = (v - c for v, c in zip(_grid(side), rng.uniform(-0.5, 0.5, 2) * side, strict=True))
    shape = expit((radius - np.hypot(x, y)) / soft * 2)
    if rng.uniform() > _DISC:
        hole, way = rng.uniform(*_HOLE) * radius, rng.uniform(0, 2 * np.pi)
        off = rng.uniform(0, _HOLE_OFF) * (radius - hole)
        shape = shape * expit((np.hypot(x - off * np.cos(way), y - off * np.sin(way)) - hole) / soft * 2)
    out, masked = _blank(side, fwhm)
    used = rng.choice(len(fwhm), rng.integers(1, len(fwhm) + 1), replace=False)
    bright = _log_uniform(rng, _GHOST) * np.exp(rng.normal(0, _GHOST_SCATTER, len(used)))
    out[used] = bright[:, None, None] * shape
    return out, masked


def _cosmic(rng: np.random.Generator, side: int, scale: float, fwhm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    out, masked = _blank(side, fwhm)
    band = rng.integers(len(fwhm))
    for _ in range(rng.integers(_TRACKS[0], _TRACKS[1] + 1)):
        # steps of a quarter of a pixel, whose direction wanders: muons fly straight, electrons do not
        count = int(np.ceil(4 * _log_uniform(rng, _TRACK_LENGTH)))
        way = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, _log_uniform(rng, _BEND) / 2, count))
        place = rng.uniform(0, side, (2, 1)) + np.cumsum([np.sin(way), np.cos(way)], axis=1) / 4
        track = np.histogram2d(place[0], place[1], bins=side, range=[[0, side], [0, side]])[0]
        track = gaussian_filter(track, rng.uniform(*_SHARP) * fwhm[band] / _SIGMA, mode="constant")
        out[band] += _log_uniform(rng, _TRACK_PEAK) * track / track.max()
    return out, masked


def _blank(side: int, fwhm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shape = len(fwhm), side, side
    return np.zeros(shape), np.zeros(shape, bool)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from the middle of the frame."""
    axis = np.arange(side) - (side - 1) / 2
    return axis[None], axis[:, None]


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
