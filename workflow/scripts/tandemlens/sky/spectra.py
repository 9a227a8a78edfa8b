"""Fluxes of galaxies and stars in the bands of a survey."""

from typing import TYPE_CHECKING

import numpy as np

from tandemlens.base.units import njy_per_unit
from tandemlens.features.sequence import Bands, check_templates, read_sed, template_magnitudes
from tandemlens.sky.stars import LOCUS, locus_magnitudes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: simulated sources are never farther than this
Z_MAX = 3.0
_Z_GRID = np.linspace(0.0, Z_MAX, 151)
#: magnitudes of what is simulated are those of this band, whatever the bands of the survey
_REFERENCE = Bands(("i",), (7500.0,), (1200.0,), ("sdss2010-i",))


class Spectra:
    """Fluxes of template galaxies and of stars.

    Parameters
    ----------
    paths : dict of str
        Spectra by name; those that are drawn are ``elliptical``, ``central``, ``early_spiral``, ``spiral``,
        ``irregular`` and ``starburst``.
    bands : tandemlens.features.sequence.Bands

    Raises
    ------
    SettingsError
        If a band leaves a spectrum between redshift 0 and 3.
    """

    def __init__(self, paths: dict[str, str], bands: Bands) -> None:
        check_templates(paths.values(), bands, Z_MAX)
        self.n_band = len(bands.names)
        self.anchor = int(np.argmin(np.abs(np.array(bands.wavelength) - _REFERENCE.wavelength[0])))
        self._offset = {}
        for name, path in paths.items():
            sed = read_sed(path)
            self._offset[name] = template_magnitudes(sed, _Z_GRID, bands) - template_magnitudes(
                sed, _Z_GRID, _REFERENCE
            )
        self._locus = locus_magnitudes(bands)

    def flux(self, name: str, z: "ArrayLike", mag: "ArrayLike", scatter: np.ndarray) -> np.ndarray:
        """Flux of galaxies.

        Parameters
        ----------
        name : str
            Spectrum.
        z : float or (n,) array_like
        mag : float or (n,) array_like
            AB magnitude in the i band of SDSS.
        scatter : (band - 1,) or (n, band - 1) ndarray, mag
            Added to the adjacent colours.

        Returns
        -------
        (band,) or (n, band) ndarray, nJy
        """
        return self._flux(_Z_GRID, self._offset[name], z, mag, scatter)

    def star_flux(self, colour: "ArrayLike", mag: np.ndarray, scatter: np.ndarray) -> np.ndarray:
        """Flux of stars on the stellar locus.

        Parameters
        ----------
        colour : float or (n,) array_like, mag
            g - i of SDSS, which says where on the locus.
        mag, scatter
            As for `flux`.

        Returns
        -------
        (band,) or (n, band) ndarray, nJy
        """
        return self._flux(LOCUS[:, 0], self._locus, colour, mag, scatter)

    def _flux(
        self,
        grid: np.ndarray,
        offset: np.ndarray,
        place: "ArrayLike",
        mag: "ArrayLike",
        scatter: np.ndarray,
    ) -> np.ndarray:
        base = np.stack([np.interp(np.asarray(place), grid, column) for column in offset.T], axis=-1)
        moved = -np.cumsum(np.concatenate([np.zeros((*np.shape(scatter)[:-1], 1)), scatter], axis=-1), axis=-1)
        # the reference stays what it is: scatter moves the bands away from the one closest to it
        moved -= moved[..., [self.anchor]]
        return njy_per_unit(0.0) * 10 ** (-0.4 * (np.asarray(mag)[..., None] + base + moved))
