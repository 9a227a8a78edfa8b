"""The red sequence: colours of old galaxies at a redshift, and the matched-filter richness of a second one."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.errors import InputError, SettingsError
from tandemlens.survey.filters import curve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: intrinsic scatter of red-sequence colours, mag (0.051 in F625W-F814W at z = 0.355, Connor et al. 2019)
SCATTER = 0.05
#: error of a colour that a template predicts beyond the redshifts of known members, mag
TEMPLATE_ERROR = 0.10
_Z_GRID = np.arange(0.02, 1.6001, 0.02)


@dataclass(frozen=True)
class Bands:
    """The bands of a run.

    Parameters
    ----------
    names : tuple of str
        In wavelength order.
    wavelength, width : tuple of float
        Centre and full width, Angstrom.
    filter : tuple of (str or None), optional
        Names of filter curves; where there is none the band is a top hat.
    """

    names: tuple[str, ...]
    wavelength: tuple[float, ...]
    width: tuple[float, ...]
    filter: tuple[str | None, ...] | None = None

    def curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Response curves.

        Returns
        -------
        list of (wavelength, response)
            As from `tandemlens.survey.filters.curve`.

        Raises
        ------
        SettingsError
            If a filter is unknown.
        """
        facts = zip(self.names, self.wavelength, self.width, self.filter or (None,) * len(self.names), strict=True)
        return [curve(name, {"wavelength": w, "width": d, "filter": f}) for name, w, d, f in facts]


def survey_bands(survey: dict[str, Any], names: Sequence[str]) -> Bands:
    """Bands of a survey.

    Parameters
    ----------
    survey : dict
        As checked by ``survey.schema.yaml``.
    names : sequence of str

    Returns
    -------
    Bands
    """
    facts = [survey["bands"][name] for name in names]
    return Bands(tuple(names), *(tuple(f.get(key) for f in facts) for key in ("wavelength", "width", "filter")))


@dataclass(frozen=True, eq=False)
class Sed:
    """A galaxy spectrum that may change with redshift.

    Parameters
    ----------
    wavelength : (n,) float ndarray, Angstrom
        Rest frame.
    flux : (k, n) float ndarray
        Per Angstrom, in one scale.
    seen : (k,) float ndarray
        Redshifts at which the rows are seen, increasing; linear between them, the nearest beyond.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    seen: np.ndarray

    def at(self, z: float) -> np.ndarray:
        """The spectrum of a galaxy seen at a redshift.

        Parameters
        ----------
        z : float

        Returns
        -------
        (n,) float ndarray
        """
        place = np.interp(z, self.seen, np.arange(len(self.seen)))
        low = min(int(place), max(len(self.seen) - 2, 0))
        high = min(low + 1, len(self.seen) - 1)
        return self.flux[low] + (place - low) * (self.flux[high] - self.flux[low])


@cache
def read_sed(path: str) -> Sed:
    """Read a galaxy spectrum.

    Parameters
    ----------
    path : str
        CSV with the column ``wavelength`` (Angstrom, rest frame) and either ``flux`` (per Angstrom, any scale) or
        several columns ``z0.0``, ``z0.2``, ...: the spectra, in one scale, of galaxies seen at those redshifts.

    Returns
    -------
    Sed

    Raises
    ------
    InputError
        If the columns are others.
    """
    table = pd.read_csv(path, comment="#")
    names = [c for c in table.columns if c != "wavelength"]
    if names == ["flux"]:
        seen = [0.0]
    else:
        seen = [float(c[1:]) if re.fullmatch(r"z\d+(\.\d+)?", c) else np.nan for c in names]
    if "wavelength" not in table or not seen or not (np.isfinite(seen).all() and (np.diff(seen) > 0).all()):
        raise InputError(
            f"{path} has the columns {', '.join(table.columns)}; "
            "give wavelength and either flux or spectra z0.0, z0.2, ... by increasing redshift"
        )
    return Sed(table["wavelength"].to_numpy(float), table[names].to_numpy(float).T, np.array(seen))


def check_templates(paths: Iterable[str], bands: Bands, z_max: float) -> None:
    """Refuse bands that leave a spectrum between redshift 0 and the largest.

    Parameters
    ----------
    paths : iterable of str
        Spectra.
    bands : Bands
    z_max : float

    Raises
    ------
    SettingsError
        If one does, or if a filter is unknown.
    """
    for name, (seen, _) in zip(bands.names, bands.curves(), strict=True):
        for path in paths:
            rest = read_sed(path).wavelength
            if seen[0] / (1 + z_max) < rest[0] or seen[-1] > rest[-1]:
                raise SettingsError(
                    f"bands.{name} sees {seen[0]:.0f} to {seen[-1]:.0f} Angstrom, but up to redshift {z_max:g} {path} "
                    f"allows {rest[0] * (1 + z_max):.0f} to {rest[-1]:.0f} Angstrom; leave the band out"
                )


def template_magnitudes(sed: Sed, z: "ArrayLike", bands: Bands) -> np.ndarray:
    """AB magnitudes of a redshifted spectrum, up to a constant of each redshift.

    ``m = -2.5 log10(int f_lambda R lambda dlambda / int R / lambda dlambda)`` with R per photon (Oke & Gunn 1983).

    Parameters
    ----------
    sed : Sed
    z : (k,) array_like
    bands : Bands

    Returns
    -------
    (k, band) float ndarray, mag
        NaN where a band leaves the spectrum.
    """
    curves, redshifts = bands.curves(), np.atleast_1d(z)
    out = np.full((len(redshifts), len(curves)), np.nan)
    for k, redshift in enumerate(redshifts):
        flux = sed.at(redshift)
        for j, (seen, response) in enumerate(curves):
            there = seen / (1 + redshift)
            if there[0] < sed.wavelength[0] or there[-1] > sed.wavelength[-1]:
                continue
            photons = np.trapezoid(np.interp(there, sed.wavelength, flux) * response * seen, seen)
            out[k, j] = -2.5 * np.log10(photons / np.trapezoid(response / seen, seen))
    return out


def template_colours(sed: Sed, z: np.ndarray | list[float], bands: Bands) -> np.ndarray:
    """Adjacent AB colours of a redshifted spectrum.

    Parameters
    ----------
    sed, z, bands
        As for `template_magnitudes`.

    Returns
    -------
    (k, band - 1) float ndarray, mag
        Bluer minus redder; NaN where a band leaves the spectrum.
    """
    return -np.diff(template_magnitudes(sed, z, bands), axis=1)


@cache
def _sequence(path: str, bands: Bands) -> np.ndarray:
    return template_colours(read_sed(path), _Z_GRID, bands)


def sequence_colours(path: str, bands: Bands, z: "ArrayLike") -> np.ndarray:
    """Colours of the red sequence at one redshift or more, interpolated on a grid of steps of 0.02.

    Parameters
    ----------
    path : str
        Spectrum of an old galaxy.
    bands : Bands
    z : float or (k,) array_like

    Returns
    -------
    (band - 1,) or (k, band - 1) float ndarray, mag
    """
    table = _sequence(str(path), bands)
    return np.stack([np.interp(np.asarray(z), _Z_GRID, column, np.nan, np.nan) for column in table.T], axis=-1)


def second_sequence(
    x: np.ndarray,
    y: np.ndarray,
    colours: np.ndarray,
    covariance: np.ndarray,
    z_lens: float,
    centre: tuple[float, float],
    sequence: Callable[..., Any],
    settings: dict[str, Any],
) -> tuple[float, float, float]:
    """Richness and significance of a red sequence behind the lens: the feature lambda_bg.

    At every redshift behind the lens each galaxy counts with ``exp(-chi2 / 2)`` of its colours from the sequence there,
    the colour filter of matched-filter richness (Rykoff et al. 2014, ApJ 785, 104). The richness is the count inside
    the radius minus what the field outside predicts for that area; its significance divides by the Poisson error of
    both. Significance is the largest over redshift, so its own null is above zero.

    Parameters
    ----------
    x, y : (n,) ndarray, arcsec
        Galaxies of the field, arc-like segments included, relative to any origin.
    colours : (n, p) ndarray, mag
    covariance : (n, p, p) ndarray, mag^2
    z_lens : float
        Redshift of the near cluster; NaN gives NaN.
    centre : (float, float), arcsec
    sequence : callable
        ``sequence(z (k,)) -> (k, p)`` colours.
    settings : dict
        ``dz_min``, ``radius_arcsec``, ``z_max`` and ``field_arcsec``, half the side of the field.

    Returns
    -------
    lambda_bg : float
        Excess galaxies at the best redshift.
    sigma : float
        That excess over its Poisson error, largest over z; 0 if there is no excess.
    z_bg : float
        Redshift of the largest excess.
    """
    if colours.shape != (len(x), covariance.shape[-1]):
        raise InputError(f"colours of shape {colours.shape} do not fit {len(x)} galaxies; give one row a galaxy")
    ok = np.isfinite(colours).all(1) & np.isfinite(covariance).all((1, 2))
    steps = np.arange(z_lens + settings["dz_min"], settings["z_max"], 0.02) if np.isfinite(z_lens) else np.array([])
    expected = sequence(steps) if len(steps) else np.empty((0, colours.shape[1]))
    steps, expected = steps[np.isfinite(expected).all(1)], expected[np.isfinite(expected).all(1)]
    if ok.sum() < 3 or not len(steps):
        return np.nan, np.nan, np.nan
    weight = _colour_weights(colours[ok], covariance[ok], expected)
    r = np.hypot(x[ok] - centre[0], y[ok] - centre[1])
    inside = r <= settings["radius_arcsec"]
    area_in = np.pi * settings["radius_arcsec"] ** 2
    area_out = max((2 * settings["field_arcsec"]) ** 2 - area_in, 0.2 * area_in)
    ratio = area_in / area_out
    # A floor of half a galaxy keeps an empty outer field from making any single galaxy infinitely significant.
    background = ratio * np.maximum(weight[:, ~inside].sum(1), 0.5)
    excess = weight[:, inside].sum(1) - background
    sigma = excess / np.sqrt(background * (1 + ratio) + 1)
    best = int(np.argmax(sigma))
    return float(excess[best]), float(max(sigma[best], 0.0)), float(steps[best])


def _colour_weights(colours: np.ndarray, covariance: np.ndarray, expected: np.ndarray) -> np.ndarray:
    # (z, galaxy): exp(-chi2/2) is 1 on the sequence; colours with no information are no evidence for it.
    p = colours.shape[1]
    total = covariance + (SCATTER**2 + TEMPLATE_ERROR**2) * np.eye(p)
    inverse = np.linalg.inv(total)
    away = colours[None] - expected[:, None]
    chi2 = np.einsum("zni,nij,znj->zn", away, inverse, away)
    known = np.sqrt(np.trace(covariance, axis1=1, axis2=2) / p) < 0.3
    return np.exp(-chi2 / 2) * known
