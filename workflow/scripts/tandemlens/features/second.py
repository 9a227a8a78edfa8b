"""A second cluster behind the lens: a matched filter for its galaxies, in the plane where they lie.

Sources behind the lens are taken back to the source plane by a mean lens of the target's richness. There the galaxies
of a second cluster follow a known profile, luminosities and colours, which are held against those of the field: the
filter that finds clusters in one plane (Rykoff et al. 2014, ApJ 785, 104, section 5; Kepner et al. 1999, ApJ 517, 78)
behind a lens. What it finds says how many of the cluster's galaxies lie where the lens images strongly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import exp1, expit, logsumexp, ndtr

from tandemlens.base.columns.features import COLUMNS
from tandemlens.base.cosmology import COSMOLOGY, kpc_per_arcsec
from tandemlens.base.robust import median
from tandemlens.features.behind import FIELD_FROM
from tandemlens.features.mean_lens import RADIUS_SCATTER, expected_radius, nfw_enclosed, nfw_surface, unlensed

if TYPE_CHECKING:
    from tandemlens.features.behind import Contrast

_NAMES = [c.name for c in COLUMNS if c.name.startswith("second_")]
#: scatter of member colours and errors of templates, as a fraction of the flux of a band
_COLOUR_SCATTER = 0.05
#: what old stars behind must add to the light of the lens, in sigma, for a source to count
_LEAST_SNR = 4.5
#: noise over that of the variance alone: matching of PSFs correlates it
_CORRELATED = 1.4
#: matches below this say nothing
_LEAST_MATCH = 1e-3
#: bins of brightness above L* (mag) in which the field is counted
_EDGES = np.arange(-3.0, 4.51, 0.5)
#: members are looked for between these, mag above L*
_FAINTEST, _BRIGHTEST = -2.5, 4.0
#: where little sky was seen: sources of the field per arcsec^2 and mag, and the area that this counts for, arcsec^2
_FIELD, _FIELD_AREA, _LEAST_FIELD = 4e-5, 3e5, 4e-7
#: members are NFW with this scale radius, inside this radius (kpc); richness counts those above 0.2 L* (Rykoff et al.)
_SCALE_KPC, _EDGE_KPC, _RICHNESS_LIMIT = 150 / COSMOLOGY.h, 1000.0, 0.2
#: share of members on the red sequence, and of those above the threshold the share that blending and colours leave
_RED_SHARE, _FOUND = 0.8, 0.5
#: central galaxy: mag above L*, scatter (mag), and distance from the centre (arcsec) with what noise and lens add
_CENTRAL, _CENTRAL_SCATTER, _CENTRAL_PLACE = 1.45, 0.5, 2.5
#: richnesses that are tried, and the slope of their prior density per log richness
_RICHNESS = np.geomspace(4, 120, 8)
_RICHNESS_SLOPE = -1.5
#: places of the centre in the source plane, arcsec
_STEP, _REACH = 4.0, 28.0
#: richness of a target without one
_TYPICAL_RICHNESS = 40.0
#: images nearer than this many Einstein radii are strongly lensed (see `second_features`), and the width of the edge
_STRONG, _STRONG_WIDTH = 1.55, 0.15
#: hypotheses that images are counted under, the likeliest first
_COUNTED = 60
_NEAR = 12.0


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources behind a lens as old galaxies at each of several redshifts.

    Parameters
    ----------
    z : (k,) ndarray
    x, y : (n,) ndarray, arcsec
        Columns and rows from the centre.
    match : (k, n) ndarray
        ``exp(-chi^2 / 2)`` of lens and old stars at the redshift; 0 where the lens alone would do.
    bright : (k, n) ndarray, mag
        Above L* at the redshift.
    error : (k,) ndarray, mag
        Magnitude above L* of a source of S/N 1.
    area, outer : float, arcsec^2
        Valid sky, and that beyond the radius where the field is counted.
    z_lens, richness : float
    """

    z: np.ndarray
    x: np.ndarray
    y: np.ndarray
    match: np.ndarray
    bright: np.ndarray
    error: np.ndarray
    area: float
    outer: float
    z_lens: float
    richness: float


def explain(
    flux: np.ndarray, noise: np.ndarray, lens: np.ndarray, spectra: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit every source by light of the lens and by a spectrum, neither of them negative.

    Parameters
    ----------
    flux, noise : (n, band) ndarray, nJy
    lens : (band,) ndarray
        Relative fluxes of the lens.
    spectra : (k, band) ndarray

    Returns
    -------
    chi2 : (k, n) ndarray
    chi2_lens : (n,) ndarray
        Of light of the lens alone.
    amount : (k, n) ndarray
        Of the spectrum.
    """
    data, a = flux / noise, lens / noise
    b = spectra[:, None] / noise
    aa, da = (a * a).sum(-1), (data * a).sum(-1)
    bb, ab, db = (b * b).sum(-1), (a * b).sum(-1), (data * b).sum(-1)
    # two spectra that are alike have no determinant
    determinant = np.maximum(aa * bb - ab**2, 1e-12 * aa * bb)
    amount = (db * aa - da * ab) / determinant
    lens_amount = (da * bb - db * ab) / determinant
    # at the border of what is allowed the other one is fitted alone
    amount = np.maximum(np.where(lens_amount < 0, db / bb, amount), 0)
    lens_amount = np.maximum((da - amount * ab) / aa, 0)
    left = data - lens_amount[..., None] * a - amount[..., None] * b
    alone = data - np.maximum(da / aa, 0)[:, None] * a
    return (left**2).sum(-1), (alone**2).sum(-1), amount


def sources(found: "Contrast | None", z_lens: float, richness: float) -> Sources | None:
    """Sources behind a lens.

    Parameters
    ----------
    found : tandemlens.features.behind.Contrast or None
    z_lens : float
    richness : float
        Of the lens; NaN takes 40.

    Returns
    -------
    Sources or None
        None where nothing can be told from the lens.
    """
    if found is None or not (found.templates.kind == "red").any():
        return None
    row, column, _ = found.places
    red = found.templates.kind == "red"
    spectra, star = found.templates.flux[red], found.templates.star[red]
    flux, noise = found.light[:, row, column].T, _CORRELATED * np.sqrt(found.variance[:, row, column].T)
    # what the colours of members scatter by goes with their flux
    chi2, alone, amount = explain(flux, np.hypot(noise, _COLOUR_SCATTER * np.abs(flux)), found.lens, spectra)
    typical = _CORRELATED * np.sqrt([median(v[found.valid]) for v in found.variance])
    lens, seen = found.lens / typical, spectra / typical
    across = (seen**2).sum(1) - (seen @ lens) ** 2 / (lens @ lens)
    middle = (np.array(found.radius.shape) - 1) / 2
    pixel = found.scale**2
    return Sources(
        found.templates.z[red],
        (column - middle[1]) * found.scale,
        (row - middle[0]) * found.scale,
        np.exp(-0.5 * chi2) * (alone > _LEAST_SNR**2),
        _above(star[:, None], amount),
        _above(star, 1 / np.sqrt(across)),
        float(found.valid.sum()) * pixel,
        float((found.valid & (found.radius > FIELD_FROM)).sum()) * pixel,
        float(z_lens),
        float(richness) if np.isfinite(richness) else _TYPICAL_RICHNESS,
    )


def _above(star: np.ndarray, flux: np.ndarray) -> np.ndarray:
    return star - 31.4 + 2.5 * np.log10(np.maximum(flux, 1e-3))


@dataclass(frozen=True, eq=False)
class Field:
    """Sources of the field that look like old galaxies at each redshift.

    Parameters
    ----------
    z : (k,) ndarray
    density : (k, bin) ndarray, 1 / (arcsec^2 mag)
        Sum of matches, in bins of brightness above L*.
    """

    z: np.ndarray
    density: np.ndarray

    @classmethod
    def of(cls, seen: Sequence[Sources], z: np.ndarray) -> "Field":
        """From the outskirts of all targets; few of them have anything behind.

        Parameters
        ----------
        seen : sequence of Sources
        z : (k,) ndarray
            All redshifts.

        Returns
        -------
        Field
        """
        width = np.diff(_EDGES)
        counts = np.full((len(z), len(width)), _FIELD * _FIELD_AREA) * width
        area = np.full(len(z), _FIELD_AREA)
        for one in seen:
            outside = np.hypot(one.x, one.y) > FIELD_FROM
            for k, match, bright in zip(np.searchsorted(z, one.z - 1e-6), one.match, one.bright, strict=True):
                counts[k] += np.histogram(bright[outside], _EDGES, weights=match[outside])[0]
                area[k] += one.outer
        return cls(z, np.maximum(counts / area[:, None] / width, _LEAST_FIELD))

    def at(self, z: float, bright: np.ndarray) -> np.ndarray:
        """Density of the field at a redshift and brightnesses above L*."""
        k = int(np.searchsorted(self.z, z - 1e-6))
        place = np.clip(np.searchsorted(_EDGES, bright, side="right") - 1, 0, self.density.shape[1] - 1)
        return self.density[k, place]


@dataclass(frozen=True, eq=False)
class _Plane:
    """One redshift: images of the cluster over those of the field.

    ``used`` are the sources; ``members`` (c, n) is the ratio of densities for richness 1 and every centre, ``central``
    (c, n) that of one central galaxy, ``expected`` the members that are found for richness 1, ``surface`` (c,)
    the members per arcsec^2 of the source plane on the axis.
    """

    used: np.ndarray
    members: np.ndarray
    central: np.ndarray
    expected: float
    surface: np.ndarray


def _luminosity(bright: np.ndarray) -> np.ndarray:
    """Members per mag for richness 1: Schechter function of faint slope -1."""
    light = 10 ** (0.4 * bright)
    return 0.4 * np.log(10) * np.exp(-light) / exp1(_RICHNESS_LIMIT)


def _plane(seen: Sources, k: int, einstein: float, centres: np.ndarray, field: Field) -> _Plane:
    used = np.flatnonzero((seen.bright[k] > _FAINTEST) & (seen.bright[k] < _BRIGHTEST) & (seen.match[k] > _LEAST_MATCH))
    x, y, bright = seen.x[used], seen.y[used], seen.bright[k, used]
    shrink, gain = unlensed(np.hypot(x, y), einstein)
    scale = _SCALE_KPC / kpc_per_arcsec(seen.z[k])
    edge = nfw_enclosed(_EDGE_KPC / _SCALE_KPC) * scale**2
    away = np.hypot(x * shrink - centres[:, :1], y * shrink - centres[:, 1:])
    source = bright - 2.5 * np.log10(gain)
    # images are fewer by the gain than sources on as large a sky
    over_field = seen.match[k, used] / field.at(seen.z[k], bright) / gain
    members = _RED_SHARE * nfw_surface(away / scale) / edge * _luminosity(source) * over_field
    place = np.exp(-0.5 * (away / _CENTRAL_PLACE) ** 2) / (2 * np.pi * _CENTRAL_PLACE**2)
    light = np.exp(-0.5 * ((source - _CENTRAL) / _CENTRAL_SCATTER) ** 2) / (np.sqrt(2 * np.pi) * _CENTRAL_SCATTER)
    step = np.diff(_EDGES).min() / 2
    grid = np.arange(_FAINTEST, _BRIGHTEST, step)
    # what falls below the threshold of S/N, or outside, is not expected
    depth = ndtr(10 ** (0.4 * (grid - seen.error[k])) - _LEAST_SNR)
    inside = nfw_enclosed(min(np.sqrt(seen.area / np.pi), _EDGE_KPC / _SCALE_KPC * scale) / scale) * scale**2 / edge
    expected = _RED_SHARE * _FOUND * inside * (_luminosity(grid) * depth).sum() * step
    surface = nfw_surface(np.maximum(np.hypot(*centres.T), _STEP / 2) / scale) / edge
    return _Plane(used, members, place * light * over_field, expected, surface)


def _centres() -> np.ndarray:
    axis = np.arange(-_REACH, _REACH + 1e-6, _STEP)
    x, y = (m.ravel() for m in np.meshgrid(axis, axis))
    return np.stack([x, y], 1)[np.hypot(x, y) <= _REACH]


def second_features(seen: Sources | None, field: Field) -> dict[str, float]:
    """Whether a second cluster lies behind, and how many of its galaxies the lens images strongly.

    A hypothesis is a redshift, a richness and a centre in the source plane. It adds to the density ``f`` of sources of
    the field the density ``c`` of the cluster's images; its log likelihood ratio is ``sum log(1 + c / f) - int c``.
    Behind a deflection ``~ theta^0.4`` sources are multiply imaged, or magnified and stretched by three, where the
    image lies within 1.55 Einstein radii. That is averaged over the scatter of lenses about the mean one, whatever the
    images would allow, so that numbers of lensed images run high; Einstein radii as part of the hypothesis told less.

    Parameters
    ----------
    seen : Sources or None
    field : Field

    Returns
    -------
    dict of float
        Columns ``second_*`` of the feature table, means over hypotheses; all NaN for None.
    """
    if seen is None:
        return dict.fromkeys(_NAMES, np.nan)
    centres = _centres()
    einstein = np.array([expected_radius(seen.richness, seen.z_lens, z) for z in seen.z])
    planes = [_plane(seen, k, radius, centres, field) for k, radius in enumerate(einstein)]
    # redshift, richness, centre
    ratio = np.array([_log_ratio(plane) for plane in planes])
    prior = _RICHNESS**_RICHNESS_SLOPE
    log = ratio + np.log(prior / prior.sum() / len(centres) / len(planes))[:, None]
    evidence = logsumexp(log)
    chance = np.exp(log - evidence)
    by_z = chance.sum((1, 2))
    radius, away = float(by_z @ einstein), float(chance.sum((0, 1)) @ np.hypot(*centres.T))
    surface = np.array([plane.surface for plane in planes])
    # members in the source plane within the circle of one Einstein radius around the axis
    expected = np.einsum("klc,l,kc,k->", chance, _RICHNESS, surface, np.pi * einstein**2, optimize=True)
    return {
        "second_evidence": float(evidence),
        "second_z": float(by_z @ seen.z),
        "second_richness": float(chance.sum((0, 2)) @ _RICHNESS),
        "second_offset": away,
        "second_theta_e": radius,
        "second_offset_scaled": away / radius,
        "second_expected": float(np.log10(expected)),
        **_images(seen, planes, einstein, chance, radius),
    }


def _log_ratio(plane: _Plane) -> np.ndarray:
    """Log likelihood ratio for every richness and centre, (l, c)."""
    density = _RICHNESS[:, None, None] * plane.members + plane.central
    return np.log1p(density).sum(-1) - _RICHNESS[:, None] * plane.expected - _FOUND


def _images(
    seen: Sources, planes: list[_Plane], einstein: np.ndarray, chance: np.ndarray, radius: float
) -> dict[str, float]:
    """Images that belong to the cluster, and those of them that are strongly lensed, under the likeliest hypotheses."""
    order = np.argsort(chance, axis=None)[::-1][:_COUNTED]
    share = chance.ravel()[order] / chance.ravel()[order].sum()
    spread = np.arange(-2.0, 3.0)
    weight = np.exp(-0.5 * spread**2) / np.exp(-0.5 * spread**2).sum()
    scatter = 10 ** (RADIUS_SCATTER * spread)[:, None]
    away, member = np.hypot(seen.x, seen.y), np.zeros(len(seen.x))
    strong = pair = 0.0
    for (k, rich, centre), part in zip(np.transpose(np.unravel_index(order, chance.shape)), share, strict=True):
        plane = planes[k]
        density = _RICHNESS[rich] * plane.members[centre] + plane.central[centre]
        belongs = density / (1 + density)
        member[plane.used] += part * belongs
        inside = expit((_STRONG - away[plane.used] / (einstein[k] * scatter)) / _STRONG_WIDTH)
        lensed = np.minimum(belongs * inside, 0.999)
        none = np.prod(1 - lensed, axis=1)
        strong += part * weight @ lensed.sum(1)
        pair += part * weight @ (1 - none * (1 + (lensed / (1 - lensed)).sum(1)))
    return {
        "second_members": float(member.sum()),
        "second_near": float(member[away < _NEAR].sum()),
        "second_inside": float(member[away < _STRONG * radius].sum()),
        "second_strong": float(strong),
        "second_pair": float(np.log10(max(pair, 0.0) + 1e-4)),
    }
