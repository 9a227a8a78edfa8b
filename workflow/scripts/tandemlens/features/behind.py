"""What lies behind the lens, on images in which everything of the lens's colour cancels.

Galaxies of a cluster share a colour, so a weighted sum of PSF-matched bands can be blind to all of them, the central
galaxy and the intracluster light included, and keep what is of another colour: the difference of two bands by which
RingFinder looks for blue rings around red galaxies (Gavazzi et al. 2014, ApJ 785, 144), in any number of bands, and for
old galaxies at every redshift behind the lens as well as for young ones. Arcs that segmentation loses in the light of
the lens are found here, and so are the unlensed members of a second cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from astropy.stats import sigma_clipped_stats
from scipy.ndimage import gaussian_filter
from skimage.feature import peak_local_max
from skimage.measure import label, regionprops_table

from tandemlens.base.columns.features import COLUMNS, RADII
from tandemlens.base.galaxies import star_magnitude
from tandemlens.base.robust import median, robust_sigma, sampled
from tandemlens.features.sequence import read_sed, template_magnitudes

if TYPE_CHECKING:
    from tandemlens.features.sequence import Bands

KINDS = ("red", "blue")
_NAMES = [c.name for c in COLUMNS if c.name.startswith(("behind_", "red_", "blue_"))]
#: redshifts of what may lie behind; young spectra change more slowly
_STEP = {"red": 0.05, "blue": 0.15}
#: what is nearer to the lens than this has its colours, within their scatter
_DZ_MIN = 0.12
_ANCHOR = 7600.0
#: scatter of colours of galaxies of the lens, gradients and errors of the PSF included, as a fraction of the flux
_COLOUR_SCATTER = 0.04
#: a central galaxy whose colours are farther from those of old stars at its redshift is none, or a blend; mag
_CENTRAL_OFF = 0.25
_LEAST_SNR, _PEAK_SNR, _AREA_SNR = 4.0, 5.0, 4.0
#: noise is measured beyond, and the field counted beyond, arcsec
_NOISE_FROM, FIELD_FROM = 20.0, 30.0
#: the field of a peak is too small to tell noise below this number of pixels
_LEAST_FIELD = 1000
#: relative loss of S/N of a peak at the redshift of others that still counts as the same redshift
_SAME = 0.06
#: significances that differ by less, relatively, are equal
_ALIKE = 1e-6
#: scale of the radial weight, arcsec
_SCALE = 12.0
#: peaks of a second cluster are counted to this many mag below L*
_FAINTEST = -2.0
#: two spectra whose fluxes are more parallel than this cannot be told apart
_LEAST_SINE = 0.03
#: variance below which it is none, nJy^2, and pixels that are worked on at a time
_TINY, _BLOCK = 1e-12, 2048
#: distance from the centre below which a direction is meaningless, arcsec
_CORE = 2.0


@dataclass(frozen=True, eq=False)
class Templates:
    """Spectra of what may lie behind.

    Parameters
    ----------
    kind : (t,) ndarray of str
        red or blue.
    z : (t,) ndarray
    flux : (t, band) ndarray
        1 in the anchor band.
    star : (t,) ndarray, mag
        Magnitude of an L* galaxy of a cluster in i, taken for that in the anchor band, that nearest to 7600 Angstrom.
    """

    kind: np.ndarray
    z: np.ndarray
    flux: np.ndarray
    star: np.ndarray

    @classmethod
    def of(cls, old: str, young: Sequence[str], bands: "Bands", z_max: float) -> "Templates":
        """From spectra.

        Parameters
        ----------
        old : str
            Path of the spectrum of old stars, as for `read_sed`.
        young : sequence of str
        bands : tandemlens.features.sequence.Bands
        z_max : float

        Returns
        -------
        Templates
        """
        anchor = int(np.argmin(np.abs(np.array(bands.wavelength) - _ANCHOR)))
        kinds, redshifts, fluxes = [], [], []
        for kind, path in [("red", old), *(("blue", p) for p in young)]:
            z = np.arange(0.2, z_max + 1e-6, _STEP[kind])
            magnitudes = template_magnitudes(read_sed(path), z, bands)
            known = np.isfinite(magnitudes).all(1)
            fluxes.append(10 ** (-0.4 * (magnitudes - magnitudes[:, anchor, None]))[known])
            redshifts.append(z[known])
            kinds += [kind] * int(known.sum())
        z = np.concatenate(redshifts)
        return cls(np.array(kinds), z, np.concatenate(fluxes), star_magnitude(z))

    def behind(self, z_lens: float) -> "Templates":
        """Those that lie behind a lens."""
        return self[self.z > z_lens + _DZ_MIN]

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> "Templates":
        return Templates(self.kind[rows], self.z[rows], self.flux[rows], self.star[rows])

    def in_bands(self, used: np.ndarray) -> "Templates":
        """Those of some of the bands."""
        return Templates(self.kind, self.z, self.flux[:, used], self.star)


def blind_weights(lens: np.ndarray, behind: np.ndarray, noise: np.ndarray) -> np.ndarray | None:
    """Weights of the bands that cancel one spectrum and keep another at the least noise.

    Minimises ``sum w^2 noise^2`` with ``w . lens = 0`` and ``w . behind = 1``.

    Parameters
    ----------
    lens, behind : (band,) ndarray
        Fluxes, of any norm.
    noise : (band,) ndarray
        Standard deviation of a pixel.

    Returns
    -------
    (band,) ndarray or None
        None where the spectra are too alike.
    """
    pair = np.stack([lens, behind]) / noise
    unit = pair / np.linalg.norm(pair, axis=1, keepdims=True)
    if 1 - (unit[0] @ unit[1]) ** 2 < _LEAST_SINE**2:
        return None
    return np.linalg.solve(pair @ pair.T, [0.0, 1.0]) @ pair / noise


@dataclass(frozen=True, eq=False)
class Contrast:
    """Significance of every spectrum on every pixel of a cutout.

    A map a spectrum would be a hundred times the cutout; kept are the largest of each kind and of all, and what gives
    the others at some places.

    Parameters
    ----------
    templates : Templates
        Of the t spectra that are told from the lens.
    snr : (kind, y, x) float32 ndarray
        Largest of any spectrum of each of `KINDS`, 0 for a kind that is not told from the lens. The scatter of the
        lens's colours is part of its error, in proportion to all light there.
    plain : (y, x) float32 ndarray
        Largest of all spectra by the noise alone, on one scale for all: it tells which of them fits best where
        something is.
    weights : (t, band) ndarray
        That cancel the lens and keep a spectrum.
    level, excess : (t,) ndarray
        Of the weighted images on empty sky: their median (nJy), and their scatter over that by the variance.
    lens : (band,) ndarray
        Relative fluxes of what cancels.
    light, variance : (band, y, x) ndarray, nJy and nJy^2
        Flux of a point source there in every band, and its error from the variance alone.
    radius : (y, x) ndarray, arcsec
        From the centre.
    valid : (y, x) bool ndarray
    beam : float, pixel
        FWHM.
    scale : float, arcsec
    """

    templates: Templates
    snr: np.ndarray
    plain: np.ndarray
    weights: np.ndarray
    level: np.ndarray
    excess: np.ndarray
    lens: np.ndarray
    light: np.ndarray
    variance: np.ndarray
    radius: np.ndarray
    valid: np.ndarray
    beam: float
    scale: float

    def at(self, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every spectrum at some valid places.

        Parameters
        ----------
        row, column : (n,) int ndarray

        Returns
        -------
        flux : (t, n) ndarray, nJy
            Anchor-band flux of a point source there.
        plain : (t, n) ndarray
            Its significance by the noise alone.
        """
        flux = self.weights @ self.light[:, row, column] - self.level[:, None]
        white = np.sqrt(self.weights**2 @ self.variance[:, row, column])
        return flux, flux / white / np.median(self.excess)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where point-like sources are: row, column, (n,) int ndarrays, and the largest S/N of any spectrum there."""
        best = self.snr.max(0)
        apart = max(int(0.7 * self.beam), 2)
        row, column = peak_local_max(best, min_distance=apart, threshold_abs=_LEAST_SNR, exclude_border=3).T
        # bright sources are flat on top where the scatter of colours is in the error
        return *_climb(self.plain, row, column, apart), best[row, column]


def lens_flux(colours: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Relative fluxes of the galaxies of the lens.

    Parameters
    ----------
    colours : (band - 1,) ndarray, mag
        Of the central galaxy; NaN where unknown.
    expected : (band - 1,) ndarray, mag
        Of old stars at its redshift, which stand in for colours that are far from them.

    Returns
    -------
    (band,) ndarray
    """
    central = np.isfinite(colours).all() and np.abs(colours - expected).max() < _CENTRAL_OFF
    return 10 ** (0.4 * np.append(0.0, np.cumsum(colours if central else expected)))


def contrast(
    flux: np.ndarray,
    variance: np.ndarray,
    valid: np.ndarray,
    lens: np.ndarray,
    templates: Templates,
    beam: float,
    scale: float,
) -> Contrast | None:
    """Look for spectra behind a lens.

    Parameters
    ----------
    flux, variance : (band, y, x) ndarray, nJy and nJy^2
        On one PSF, corrected for extinction.
    valid : (band, y, x) bool ndarray
    lens : (band,) ndarray
        Relative fluxes of what is to cancel.
    templates : Templates
    beam : float, pixel
        FWHM of the PSF.
    scale : float, arcsec

    Returns
    -------
    Contrast or None
        None where nothing can be told from the lens, or no field is left to measure noise on.
    """
    everywhere = np.all(valid, axis=0)
    y, x = np.indices(everywhere.shape)
    radius = np.hypot(y - y.max() / 2, x - x.max() / 2) * scale
    far = (radius > _NOISE_FROM) & everywhere
    if far.sum() < _LEAST_FIELD:
        return None
    typical = np.array([np.sqrt(median(v[ok])) for v, ok in zip(variance, valid, strict=True)])
    weights = [blind_weights(lens, behind, typical) for behind in templates.flux]
    told = [k for k, w in enumerate(weights) if w is not None]
    if not told:
        return None
    templates, weights = templates[told], np.array([weights[k] for k in told])
    light, noise = _point_sources(flux, variance, valid, beam)
    # every fifth pixel tells noise and level as well as all
    field = np.flatnonzero(far)[::5]
    image = weights @ light.reshape(len(light), -1)[:, field]
    level = np.array([median(row) for row in image])
    white = np.sqrt(np.maximum(weights**2 @ noise.reshape(len(noise), -1)[:, field], _TINY))
    excess = np.array([robust_sigma(row) for row in (image - level[:, None]) / white])
    snr, plain = _largest(templates.kind, weights, level, excess, light, noise)
    snr, plain = np.where(everywhere, snr, 0), np.where(everywhere, plain / np.median(excess), 0)
    return Contrast(
        templates, snr, plain, weights, level, excess, lens, light, noise, radius, everywhere, beam, scale
    )  # fmt: skip


def _point_sources(
    flux: np.ndarray, variance: np.ndarray, valid: np.ndarray, beam: float
) -> tuple[np.ndarray, np.ndarray]:
    """Flux of a point source at every pixel of every band, and its variance, without the correlation of the noise."""
    sigma, everywhere = beam / 2.3548, valid.all(0)
    # flux of a point source over the height that it has left when smoothed by its own PSF
    point = 4 * np.pi * sigma**2
    light, noise = [], []
    for f, v, ok in zip(flux, variance, valid, strict=True):
        level = sigma_clipped_stats(sampled(f, ok), maxiters=3)[1]
        # what one band lacks is taken from all: galaxies of the lens cancel beside a hole too
        light.append(gaussian_filter(np.where(everywhere, f - level, 0.0), sigma) * point)
        # white noise through a Gaussian; what the correlation adds is measured on the field
        noise.append(gaussian_filter(np.where(everywhere, v, 0.0), sigma / np.sqrt(2)) * point)
    return np.array(light), np.array(noise)


def _largest(
    kind: np.ndarray, weights: np.ndarray, level: np.ndarray, excess: np.ndarray, light: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Largest significance of the spectra of each kind, and of all by the noise alone, on every pixel."""
    shape, n_band = light.shape[1:], len(light)
    light, noise = light.reshape(n_band, -1), noise.reshape(n_band, -1).astype(np.float32)
    scatter = ((_COLOUR_SCATTER * np.maximum(light, 0)) ** 2).astype(np.float32)
    square, excess = (weights**2).astype(np.float32), (excess**2).astype(np.float32)
    rows = [np.flatnonzero(kind == name) for name in KINDS]
    snr, plain = np.zeros((len(KINDS), light.shape[1]), np.float32), np.empty(light.shape[1], np.float32)
    # so many pixels at a time stay in the cache
    for start in range(0, light.shape[1], _BLOCK):
        part = slice(start, start + _BLOCK)
        # only where light cancels are seven digits too few
        image = (weights @ light[:, part] - level[:, None]).astype(np.float32)
        signed = image * np.abs(image)
        white = np.maximum(square @ noise[:, part], np.float32(_TINY))
        # the largest square with its sign is that of the largest ratio
        plain[part] = _signed_root((signed / white).max(0))
        signed /= white * excess[:, None] + square @ scatter[:, part]
        for best, mine in zip(snr, rows, strict=True):
            if len(mine):
                best[part] = _signed_root(signed[mine].max(0))
    return snr.reshape(-1, *shape), plain.reshape(shape)


def _signed_root(square: np.ndarray) -> np.ndarray:
    return np.copysign(np.sqrt(np.abs(square)), square)


def peaks(found: Contrast) -> tuple[pd.DataFrame, np.ndarray]:
    """Point-like sources behind the lens, and how well every redshift of old stars fits each.

    Parameters
    ----------
    found : Contrast

    Returns
    -------
    table : pandas.DataFrame
        kind, z, snr, radius (arcsec) and bright, the magnitude by which a peak outshines L* at its redshift.
    match : (z, n) ndarray
        Of the red spectra: 1 where the redshift explains a peak as well as the best does.
    """
    row, column, significance = found.places
    flux, profile = found.at(row, column)
    # in two bands all spectra fit alike, but for rounding: the first is taken
    which = (profile > (1 - _ALIKE) * profile.max(0)).argmax(0)
    flux = np.maximum(flux[which, np.arange(len(which))], 1e-3)
    table = pd.DataFrame(
        {
            "kind": found.templates.kind[which],
            "z": found.templates.z[which],
            "snr": significance,
            "radius": found.radius[row, column],
            "bright": found.templates.star[which] - (31.4 - 2.5 * np.log10(flux)),
        }
    )
    red = profile[found.templates.kind == "red"]
    top = np.maximum(red.max(0, initial=0.0), 1e-3)
    return table, np.exp(-0.5 * ((1 - red / top) / _SAME) ** 2)


def _climb(image: np.ndarray, row: np.ndarray, column: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """The brightest pixel within so many pixels of every place."""
    step = np.arange(-reach, reach + 1)
    down, right = (m.ravel() for m in np.meshgrid(step, step, indexing="ij"))
    rows = np.clip(row[:, None] + down, 0, image.shape[0] - 1)
    columns = np.clip(column[:, None] + right, 0, image.shape[1] - 1)
    top = image[rows, columns].argmax(1)
    return np.take_along_axis(rows, top[:, None], 1)[:, 0], np.take_along_axis(columns, top[:, None], 1)[:, 0]


def behind_features(found: Contrast | None) -> dict[str, float]:
    """Features of what lies behind.

    Parameters
    ----------
    found : Contrast or None

    Returns
    -------
    dict of float
        Columns ``behind_*``, ``red_*`` and ``blue_*`` of the feature table; all NaN for None.
    """
    if found is None:
        return dict.fromkeys(_NAMES, np.nan)
    table, match = peaks(found)
    out = _second_cluster(table, match, found.templates.z[found.templates.kind == "red"])
    for kind, best in zip(KINDS, found.snr, strict=True):
        out |= {f"{kind}_{name}": value for name, value in _peak_sums(table[table["kind"] == kind]).items()}
        out |= {f"{kind}_{name}": value for name, value in _blobs(best, found).items()}
    return out


def _second_cluster(table: pd.DataFrame, match: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Peaks that share the redshift of old stars at which they are most, weighted towards the centre."""
    use = ((table["kind"] == "red") & (table["snr"] > _PEAK_SNR) & (table["bright"] > _FAINTEST)).to_numpy()
    match, radius = match[:, use], table["radius"].to_numpy()[use]
    central = (match * np.exp(-radius / _SCALE)).sum(1)
    if not use.any():
        zero = dict.fromkeys(("behind_match", *(f"behind_n{r}" for r in RADII), "behind_n45", "behind_total"), 0.0)
        return {**zero, "behind_z": np.nan}
    k = int(np.argmax(central))
    counts = {f"behind_n{r}": float(match[k, radius < r].sum()) for r in (*RADII, 45)}
    return {
        "behind_match": float(central[k]),
        **counts,
        "behind_total": float(match.sum(1).max()),
        "behind_z": float(z[k]),
    }


def _peak_sums(table: pd.DataFrame) -> dict[str, float]:
    radius, strong = table["radius"].to_numpy(), table["snr"].to_numpy() > _PEAK_SNR
    bright, out = table["bright"].to_numpy(), {}
    for r in RADII:
        near = strong & (radius < r)
        light = np.sort(bright[near])[::-1]
        out[f"peaks{r}"] = float(near.sum())
        out[f"snr{r}"] = float(table["snr"].to_numpy()[near].max(initial=0.0))
        out[f"bright{r}"] = float(light[0]) if len(light) else np.nan
        out[f"second{r}"] = float(light[1]) if len(light) > 1 else np.nan
        # in L*, with a floor where there is none
        out[f"light{r}"] = float(np.log10(0.01 + (10 ** (0.4 * np.clip(light, None, 6.0))).sum()))
    out["field"] = float((strong & (radius > FIELD_FROM)).sum())
    return out


def _blobs(snr: np.ndarray, found: Contrast) -> dict[str, float]:
    """Connected regions near the centre: how many, how long, and whether they lie along circles around it."""
    within = found.radius < RADII[-1]
    regions = label((snr > _AREA_SNR) & within)
    wanted = ("area", "centroid", "axis_major_length", "axis_minor_length", "orientation")
    shape = pd.DataFrame(regionprops_table(regions, properties=wanted))
    middle = (np.array(snr.shape) - 1) / 2
    north, east = shape["centroid-0"] - middle[0], shape["centroid-1"] - middle[1]
    away = np.hypot(north, east)
    keep = (shape["area"] > 0.8 * found.beam**2) & (away * found.scale > _CORE)
    shape, north, east, away = shape[keep], north[keep], east[keep], away[keep]
    stretch = shape["axis_major_length"] / np.maximum(shape["axis_minor_length"], 0.6 * found.beam) - 1
    # the major axis points along (cos, sin) of the orientation in (row, column); a circle along (east, -north)
    along = (np.cos(shape["orientation"]) * east - np.sin(shape["orientation"]) * north) / away
    aligned = stretch * (2 * along**2 - 1)
    near = (found.radius < 15) & found.valid
    return {
        "blobs": float(len(shape)),
        "stretch": float(stretch.max()) if len(shape) else 0.0,
        "arc": float(max(aligned.max(), 0.0)) if len(shape) else 0.0,
        "aligned": float(aligned.sum()),
        "area": float((snr[near] > _AREA_SNR).mean()) if near.any() else 0.0,
    }
