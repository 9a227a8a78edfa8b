"""The mass of a cluster and how it bends light: halo, galaxies and shear, through lenstronomy's profiles.

Positions are arcsec from the target, x towards west, y towards north; angles run from west towards north. Deflections
are kept for D_ls / D_s = 1, so that one field serves every source plane: ``beta = theta - D_ls/D_s * alpha(theta)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lenstronomy.Cosmo.lens_cosmo import LensCosmo
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Profiles.cored_steep_ellipsoid import CSEProductAvgSet
from lenstronomy.Util.param_util import phi_q2_ellipticity
from scipy.interpolate import RectBivariateSpline

from tandemlens.base.cosmology import COSMOLOGY, efficiency
from tandemlens.sky.isothermal import DualIsothermals

#: any source redshift serves to turn masses into angles; its efficiency is divided out
_Z_REFERENCE = 5.0
_GALAXY = "PJAFFE_ELLIPSE_POTENTIAL"
#: points up to which a loop over ellipsoids costs more than their sum
_FEW = 300
#: nodes around a compact mass within which the coarse grid is replaced; a cubic spline forgets a cusp by 0.27 a node
_RING = 7


@dataclass(frozen=True)
class Mass:
    """One mass component: a profile of lenstronomy, its parameters, and whether it is steeper than a coarse grid."""

    profile: str
    parameters: dict[str, float]
    compact: bool


def nfw_halo(
    z: float,
    mass: float,
    concentration: float,
    q: float = 1.0,
    angle: float = 0.0,
    x: float = 0.0,
    y: float = 0.0,
    area: float = 1.0,
) -> Mass:
    """Elliptical NFW halo (Navarro, Frenk & White 1997; cored steep ellipsoids of Oguri 2021).

    Parameters
    ----------
    z : float
    mass : float, Msun
        M200c.
    concentration : float
        c200c.
    q : float
        Axis ratio of the surface density.
    angle : float, rad
    x, y : float, arcsec
    area : float
        Projected area over that of the sphere of equal mass and volume, from `project_prolate`: below 1 for a halo that
        points at us, whose surface density is higher by 1 / area on scales smaller by its root.

    Returns
    -------
    Mass
    """
    lengths = LensCosmo(z, _Z_REFERENCE, COSMOLOGY)
    scale, bend = lengths.nfw_physical2angle(M=mass, c=concentration)
    e1, e2 = phi_q2_ellipticity(angle, q)
    # alpha ~ kappa R: a surface density of 1 / area on lengths of sqrt(area)
    bend = bend / np.sqrt(area) / efficiency(z, _Z_REFERENCE)
    parameters = {"Rs": scale * np.sqrt(area), "alpha_Rs": bend, "e1": e1, "e2": e2, "center_x": x, "center_y": y}
    return Mass("NFW_ELLIPSE_CSE", parameters, True)


def project_prolate(axis_ratio: float, inclination: float) -> tuple[float, float]:
    """Outline of a prolate ellipsoid of unit volume seen at an angle to its long axis.

    Parameters
    ----------
    axis_ratio : float
        Short over long axis.
    inclination : float, rad
        Between the line of sight and the long axis.

    Returns
    -------
    q : float
        Axis ratio of the projected ellipses.
    area : float
        Their area over that of the sphere's.
    """
    short = axis_ratio ** (1 / 3)
    longer = np.sqrt((np.sin(inclination) / axis_ratio) ** 2 + np.cos(inclination) ** 2)
    return 1 / longer, short**2 * longer


def dpie(
    z: float, sigma: float, core: float, cut: float, e: tuple[float, float] = (0.0, 0.0), x: float = 0.0, y: float = 0.0
) -> Mass:
    """Dual pseudo-isothermal galaxy (Eliasdottir et al. 2007).

    Parameters
    ----------
    z : float
    sigma : float, km/s
        Of the isothermal sphere that it is between core and cut (lenstronomy's convention); Lenstool's dispersion of
        the same mass is smaller by sqrt(2/3) (Eliasdottir et al. 2007, from memory).
    core, cut : float, arcsec
    e : (e1, e2)
        Ellipticity of the potential; the mass has dimples beyond some 0.3.
    x, y : float, arcsec

    Returns
    -------
    Mass
    """
    if not 0 < core < cut:
        raise ValueError(f"dPIE core {core} arcsec must lie between 0 and its cut {cut} arcsec")
    strength = LensCosmo(z, _Z_REFERENCE, COSMOLOGY).vel_disp_dPIED_sigma0(sigma, Ra=core, Rs=cut)
    parameters = {"sigma0": strength / efficiency(z, _Z_REFERENCE), "Ra": core, "Rs": cut, "e1": e[0], "e2": e[1]}
    return Mass(_GALAXY, {**parameters, "center_x": x, "center_y": y}, True)


def external_shear(gamma1: float, gamma2: float) -> Mass:
    """Shear of the surroundings, for D_ls / D_s = 1.

    Parameters
    ----------
    gamma1, gamma2 : float

    Returns
    -------
    Mass
    """
    return Mass("SHEAR", {"gamma1": gamma1, "gamma2": gamma2, "ra_0": 0.0, "dec_0": 0.0}, False)


class Lens:
    """All mass at one redshift.

    Parameters
    ----------
    z : float
    masses : sequence of Mass
    """

    def __init__(self, z: float, masses: Sequence[Mass]) -> None:
        self.z, self.masses = z, tuple(masses)
        others = [m for m in self.masses if m.profile != _GALAXY]
        self._model = LensModel([m.profile for m in others])
        for profile in self._model.lens_model.func_list:
            if hasattr(profile, "cse_major_axis_set"):
                profile.cse_major_axis_set = _Cores()
        self._parameters = [m.parameters for m in others]
        self._galaxies = DualIsothermals([m.parameters for m in self.masses if m.profile == _GALAXY])

    def deflection(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exact deflection for D_ls / D_s = 1.

        Parameters
        ----------
        x, y : ndarray, arcsec

        Returns
        -------
        alpha_x, alpha_y : ndarray, arcsec
        """
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        alpha = self._galaxies.deflection(x.ravel(), y.ravel())
        if self._parameters:
            alpha += self._model.alpha(x.ravel(), y.ravel(), self._parameters)
        alpha_x, alpha_y = (np.reshape(a, x.shape) for a in alpha)
        return alpha_x, alpha_y

    def jacobian(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Exact derivatives of the deflection for D_ls / D_s = 1.

        Parameters
        ----------
        x, y : (n,) ndarray, arcsec

        Returns
        -------
        (n, 2, 2) ndarray
            Row: component of the deflection; column: direction of the step.
        """
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        xx, xy, yy = self._galaxies.jacobian(x, y)
        out = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)
        if self._parameters:
            out += np.reshape(self._model.hessian(x, y, self._parameters), (2, 2, -1)).transpose(2, 0, 1)
        return out


class _Cores(CSEProductAvgSet):
    """The ellipsoids of an NFW halo, at a few points all at once: lenstronomy takes one after the other."""

    def derivatives(
        self, x: np.ndarray, y: np.ndarray, a_list: list[float], s_list: list[float], q: float
    ) -> list[np.ndarray]:
        if len(x) > _FEW:
            return super().derivatives(x, y, a_list, s_list, q)
        return self._summed(self.major_axis_model.derivatives, x, y, a_list, s_list, q)

    def hessian(
        self, x: np.ndarray, y: np.ndarray, a_list: list[float], s_list: list[float], q: float
    ) -> list[np.ndarray]:
        if len(x) > _FEW:
            return super().hessian(x, y, a_list, s_list, q)
        return self._summed(self.major_axis_model.hessian, x, y, a_list, s_list, q)

    @staticmethod
    def _summed(
        terms: Callable[..., Any], x: np.ndarray, y: np.ndarray, a_list: list[float], s_list: list[float], q: float
    ) -> list[np.ndarray]:
        return [part.sum(1) for part in terms(x[:, None], y[:, None], np.array(a_list), np.array(s_list), q)]


class DeflectionField:
    """The deflection of a lens on any regular grid: exact near compact masses, splined through a coarse grid elsewhere.

    A spline is linear in what it interpolates. Near a compact mass its own splined part is therefore taken out and its
    exact one put in, while all that is smooth there stays splined.

    Parameters
    ----------
    lens : Lens
    half : float, arcsec
        The field covers ``-half..half`` both ways.
    step : float, arcsec
        Of the coarse grid.
    """

    def __init__(self, lens: Lens, half: float, step: float = 1.0) -> None:
        self.lens, self.half = lens, half
        count = int(np.ceil(2 * half / step)) + 1
        # one node to spare on each side: a spline is worst at its ends
        self._nodes = (np.arange(count + 2) - (count + 1) / 2) * step
        self._step = step
        y, x = np.meshgrid(self._nodes, self._nodes, indexing="ij")
        total = np.zeros((2, *x.shape))
        self._near = []
        for mass in lens.masses:
            alone = Lens(lens.z, [mass])
            alpha = np.array(alone.deflection(x, y))
            total += alpha
            if mass.compact:
                self._near.append((alone, mass.parameters, self._cut(mass.parameters, alpha)))
        self._total = [RectBivariateSpline(self._nodes, self._nodes, a) for a in total]

    def _cut(self, parameters: dict[str, float], alpha: np.ndarray) -> list[Any]:
        """Splines of one mass around it, wide enough to forget their own ends."""
        spans = []
        for centre in (parameters["center_y"], parameters["center_x"]):
            middle = int(np.clip(np.searchsorted(self._nodes, centre), 0, len(self._nodes) - 1))
            low = int(np.clip(middle - 2 * _RING, 0, max(len(self._nodes) - 5, 0)))
            spans.append(slice(low, max(middle + 2 * _RING, low + 5)))
        rows, columns = self._nodes[spans[0]], self._nodes[spans[1]]
        return [RectBivariateSpline(rows, columns, a[spans[0], spans[1]]) for a in alpha]

    def on_grid(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Deflection at every crossing of ascending coordinates.

        Parameters
        ----------
        x : (nx,) ndarray, arcsec
        y : (ny,) ndarray, arcsec

        Returns
        -------
        (2, ny, nx) float ndarray, arcsec
            For D_ls / D_s = 1; x component first.
        """
        alpha = np.array([spline(y, x) for spline in self._total])
        reach = _RING * self._step
        for alone, parameters, splines in self._near:
            columns = _between(x, parameters["center_x"], reach)
            rows = _between(y, parameters["center_y"], reach)
            if columns.start >= columns.stop or rows.start >= rows.stop:
                continue
            exact = alone.deflection(x[None, columns], y[rows, None])
            for k, spline in enumerate(splines):
                alpha[k, rows, columns] += exact[k] - spline(y[rows], x[columns])
        return alpha

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Deflection at any points inside the field, which need not form a grid.

        Parameters
        ----------
        x, y : ndarray, arcsec
            Of one shape.

        Returns
        -------
        (2, ...) float ndarray, arcsec
            For D_ls / D_s = 1; x component first.
        """
        alpha = np.array([spline.ev(y, x) for spline in self._total])
        reach = _RING * self._step
        for alone, parameters, splines in self._near:
            near = (np.abs(x - parameters["center_x"]) < reach) & (np.abs(y - parameters["center_y"]) < reach)
            exact = alone.deflection(x[near], y[near])
            for k, spline in enumerate(splines):
                alpha[k, near] += exact[k] - spline.ev(y[near], x[near])
        return alpha


def _between(axis: np.ndarray, centre: float, reach: float) -> slice:
    return slice(int(np.searchsorted(axis, centre - reach)), int(np.searchsorted(axis, centre + reach)))
