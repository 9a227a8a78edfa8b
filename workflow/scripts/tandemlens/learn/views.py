"""Random views of stamps that keep colours: what a network must learn to see through, and nothing else.

Every operation works on linear flux and does the same to all bands, but for noise and background, which are drawn for
each band within its own uncertainty and have mean zero. Nothing is clipped, nothing is scaled in flux, and the pixel of
the sky keeps its size. Noise grows by k when ``N(0, (k^2 - 1) sigma^2)`` is added.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F


class View(NamedTuple):
    """Stamps as a network takes them.

    Parameters
    ----------
    x : (n, band, s, s) float32 tensor
        asinh of flux over scale; 0 where not valid.
    valid : (n, band, s, s) bool tensor
    turn : (n, 2, 2) float32 tensor
        By which directions (x, y) were turned or mirrored, for `turn_directions`.
    """

    x: torch.Tensor
    valid: torch.Tensor
    turn: torch.Tensor


#: mirrored and turned by quarters, and nothing else
MIRRORED = {
    **{"dihedral": True, "rotation": False, "shift_pixels": 0, "blur_pixels": 0},
    **{"noise": 1, "background": 0, "band_dropout": 0},
}


class Views:
    """Draws views of batches of stamps, on the device that they are on.

    Parameters
    ----------
    cfg : dict
        Settings of config/schemas/views.schema.yaml.
    generator : torch.Generator
        Of the same device as the stamps. Its state is all that there is to restore.
    """

    def __init__(self, cfg: dict[str, Any], generator: torch.Generator) -> None:
        self._cfg, self.generator = cfg, generator

    @torch.no_grad()
    def __call__(
        self, flux: torch.Tensor, sigma: torch.Tensor, mask: torch.Tensor, group: torch.Tensor | None = None
    ) -> View:
        """One view of every stamp.

        Parameters
        ----------
        flux, sigma : (n, band, s, s) float tensor
            asinh of flux over scale, and linear noise over scale, as in stamps.h5; a value that is not finite is not
            valid.
        mask : (n, band, s, s) bool tensor
        group : (n,) int64 tensor, optional
            Stamps of one number, those of one system, are turned alike, so that with `turn_directions` it is the whole
            system that turns; else each for itself.

        Returns
        -------
        View
        """
        valid = mask & torch.isfinite(flux) & torch.isfinite(sigma)
        linear = torch.where(valid, flux.float(), 0).sinh()
        sigma = torch.where(valid, sigma.float(), 0)
        mirrored, angle = self._orientation(len(flux), group, flux.device)
        turn = _rotation(angle) @ _mirror_matrix(mirrored)
        if self._cfg["rotation"] or self._cfg["shift_pixels"]:
            shift = self._cfg["shift_pixels"] * (2 * self._uniform(len(flux), 2, device=flux.device) - 1)
            linear, sigma, valid = _resample(linear, sigma, valid, turn, shift)
        elif self._cfg["dihedral"]:
            linear, sigma, valid = (_turn_quarters(plane, mirrored) for plane in (linear, sigma, valid))
        if self._cfg["blur_pixels"]:
            linear = _blur(linear, valid, self._cfg["blur_pixels"] * self._uniform(len(flux), device=flux.device))
        if self._cfg["noise"] > 1 or self._cfg["background"]:
            linear = linear + self._noise(sigma, valid)
        if self._cfg["band_dropout"]:
            valid = valid & self._kept(valid)
        return View(torch.where(valid, linear, 0).asinh(), valid, turn)

    def _orientation(
        self, n: int, group: torch.Tensor | None, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Which of the three mirrorings that make up the dihedral group, and the angle besides."""
        draws = self._uniform(n, 4, device=device)
        if group is not None:
            # the first stamp of a system decides for it
            number, inverse = torch.unique(group, return_inverse=True)
            first = torch.full((len(number),), n, device=device).scatter_reduce_(
                0, inverse, torch.arange(n, device=device), "amin"
            )
            draws = draws[first[inverse]]
        mirrored = (draws[:, :3] < 0.5) & self._cfg["dihedral"]
        return mirrored, 2 * math.pi * draws[:, 3] * self._cfg["rotation"]

    def _noise(self, sigma: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """White noise and an error of the background of every band."""
        n, band = sigma.shape[:2]
        factor = 1 + (self._cfg["noise"] - 1) * self._uniform(n, 1, 1, 1, device=sigma.device)
        noise = (factor**2 - 1).sqrt() * sigma * self._normal(sigma.shape, sigma.device)
        count = valid.sum((2, 3), keepdim=True).clamp(min=1)
        level = self._cfg["background"] * (sigma.square() * valid).sum((2, 3), keepdim=True).div(count).sqrt()
        return noise + level * self._normal((n, band, 1, 1), sigma.device)

    def _kept(self, valid: torch.Tensor) -> torch.Tensor:
        """Which bands of every stamp are kept; one with valid pixels, where there is any, is."""
        draws = self._uniform(*valid.shape[:2], device=valid.device)
        last = torch.where(valid.any(3).any(2), draws, -1).argmax(1, keepdim=True)
        kept = (draws >= self._cfg["band_dropout"]).scatter(1, last, True)
        return kept[:, :, None, None]

    def _uniform(self, *shape: int, device: torch.device) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator, device=device)

    def _normal(self, shape: Sequence[int], device: torch.device) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, device=device)


def plain_view(flux: torch.Tensor, sigma: torch.Tensor, mask: torch.Tensor) -> View:
    """Stamps as they are, as a network takes them when it scores.

    Parameters
    ----------
    flux, sigma, mask : tensors
        As for `Views`.

    Returns
    -------
    View
    """
    valid = mask & torch.isfinite(flux) & torch.isfinite(sigma)
    turn = torch.eye(2, device=flux.device).expand(len(flux), 2, 2)
    return View(torch.where(valid, flux.float(), 0), valid, turn)


def turn_directions(geometry: torch.Tensor, names: Sequence[str], turn: torch.Tensor) -> torch.Tensor:
    """Turn the azimuths of segments as the views turned their stamps.

    Parameters
    ----------
    geometry : (n, g) float tensor
    names : sequence of str
        Of its columns; cos_azimuth and sin_azimuth are turned, the others do not change.
    turn : (n, 2, 2) tensor

    Returns
    -------
    (n, g) float tensor
    """
    place = [list(names).index(name) for name in ("cos_azimuth", "sin_azimuth")]
    out = geometry.clone()
    out[:, place] = torch.einsum("nij,nj->ni", turn.to(geometry.dtype), geometry[:, place])
    return out


def _turn_quarters(planes: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """The eight elements of the dihedral group without any interpolation."""
    chosen = mirrored[:, :, None, None, None]
    planes = torch.where(chosen[:, 0], planes.flip(-1), planes)
    planes = torch.where(chosen[:, 1], planes.flip(-2), planes)
    return torch.where(chosen[:, 2], planes.mT, planes)


def _mirror_matrix(mirrored: torch.Tensor) -> torch.Tensor:
    """Mirror x, mirror y, exchange x and y, for the stamps that are to: what `_turn_quarters` does to directions."""
    sign = 1 - 2 * mirrored[:, :2].float()
    straight = torch.diag_embed(sign)
    return torch.where(mirrored[:, 2, None, None], straight.flip(1), straight)


def _rotation(angle: torch.Tensor) -> torch.Tensor:
    """Matrices that turn (x, y) from x towards y, (n, 2, 2)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def _resample(
    linear: torch.Tensor, sigma: torch.Tensor, valid: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Turn, mirror and shift by one cubic interpolation that is common to all bands.

    A pixel is valid where all 4 x 4 pixels that the interpolation takes are, so that what is not never leaks.
    """
    size = linear.shape[-1]
    # the grid says where a pixel of the view comes from, in units of half a stamp
    inverse = turn.mT
    origin = -(inverse @ shift[:, :, None]) * 2 / size
    grid = F.affine_grid(torch.cat([inverse, origin], 2), linear.shape, align_corners=False)
    linear = F.grid_sample(linear, grid, "bicubic", "zeros", align_corners=False)
    spoiled = F.pad((~valid).float(), (2, 2, 2, 2), value=1.0)
    for window in ((1, 5), (5, 1)):
        spoiled = F.max_pool2d(spoiled, window, stride=1)
    nearest = F.grid_sample(torch.cat([sigma, 1 - spoiled], 1), grid, "nearest", "zeros", align_corners=False)
    sigma, whole = nearest.chunk(2, 1)
    valid = whole > 0.5
    return torch.where(valid, linear, 0), torch.where(valid, sigma, 0), valid


def _blur(linear: torch.Tensor, valid: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Convolve all bands of a stamp with one Gaussian, as means over what is valid."""
    place = torch.arange(linear.shape[-1], device=linear.device, dtype=torch.float32)
    distance = place - place[:, None]
    # below a hundredth of a pixel it is no convolution at all
    kernel = (-0.5 * (distance / width.clamp(min=1e-2)[:, None, None]).square()).exp()[:, None]
    total, weight = kernel @ linear @ kernel, kernel @ valid.float() @ kernel
    return torch.where(valid, total / weight.clamp(min=1e-6), 0)
