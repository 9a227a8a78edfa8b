"""Conditional diffusion of stamps: a denoising network, the schedule of the noise, and ways to sample.

Network and schedule are those of diffusers. The network sees stamps folded into patches, which makes it quick on a CPU,
and predicts the velocity (Salimans & Ho 2022, arXiv:2202.00512), which is well behaved also where all is noise; the
schedule is the cosine of Nichol & Dhariwal (2021), of which 2e-9 of the power is left at the end. A loop
for sampling is our own, since no pipeline keeps pixels exactly or mixes bottlenecks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

import tandemlens.learn.vision  # noqa: F401
from tandemlens.base.errors import InputError

# isort: split
# after the cure of torchvision
from diffusers import DDIMScheduler, UNet2DModel

#: steps of the noise in training
STEPS = 1000
#: channels that share a normalisation
_GROUPS = 8


def noise_schedule(prediction: str = "v_prediction") -> DDIMScheduler:
    """The schedule of the noise, and DDIM (Song, Meng & Ermon 2020, arXiv:2010.02502) by it.

    Parameters
    ----------
    prediction : str
        What a network predicts, as diffusers calls it.

    Returns
    -------
    diffusers.DDIMScheduler
    """
    return DDIMScheduler(
        STEPS,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=False,
        prediction_type=prediction,
        timestep_spacing="trailing",
    )


class Denoiser(nn.Module):
    """Predicts the velocity of noised stamps.

    Parameters
    ----------
    bands, size : int
        Of the stamps.
    conditions : int
        Numbers that they are conditioned on.
    channels : sequence of int
        Of the levels of the network, each a multiple of 8.
    patch : int
        Side of the patches that stamps are folded into.

    Raises
    ------
    InputError
        If stamps cannot be folded so, and halved once a level.
    """

    def __init__(self, bands: int, size: int, conditions: int, channels: Sequence[int], patch: int) -> None:
        super().__init__()
        coarsest = patch * 2 ** (len(channels) - 1)
        if size % coarsest:
            raise InputError(
                f"stamps of {size} pixels cannot be halved as often as generator.channels and patch ask; set "
                f"stamps.pixels to a multiple of {coarsest}"
            )
        self.patch, width = patch, 4 * channels[0]
        self.unet = UNet2DModel(
            sample_size=size // patch,
            in_channels=bands * patch**2,
            out_channels=bands * patch**2,
            block_out_channels=tuple(channels),
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * len(channels),
            up_block_types=("UpBlock2D",) * len(channels),
            norm_num_groups=_GROUPS,
            attention_head_dim=_GROUPS,
            class_embed_type="identity",
        )
        # a number, and whether it is known
        self.describe = nn.Sequential(nn.Linear(2 * conditions, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: torch.Tensor, step: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Velocity.

        Parameters
        ----------
        x : (n, band, s, s) Tensor
        step : (n,) int Tensor
            Of the noise.
        condition : (n, c) Tensor
            NaN for what is unknown.

        Returns
        -------
        (n, band, s, s) Tensor
        """
        known = torch.isfinite(condition)
        told = self.describe(torch.cat([torch.where(known, condition, 0), known.to(condition.dtype)], 1))
        return pixel_shuffle(self.unet(pixel_unshuffle(x, self.patch), step, class_labels=told).sample, self.patch)


def denoising_loss(
    denoiser: Denoiser,
    schedule: DDIMScheduler,
    x: torch.Tensor,
    valid: torch.Tensor,
    condition: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared error of the velocity at random noise, over valid pixels.

    Parameters
    ----------
    denoiser : Denoiser
    schedule : diffusers.DDIMScheduler
    x : (n, band, s, s) Tensor
    valid : (n, band, s, s) bool Tensor
    condition : (n, c) Tensor
    generator : torch.Generator

    Returns
    -------
    () Tensor
    """
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    step = torch.randint(STEPS, (len(x),), generator=generator, device=x.device)
    predicted = denoiser(schedule.add_noise(x, noise, step), step, condition)
    error = (predicted - schedule.get_velocity(x, noise, step)).square() * valid
    return error.sum() / valid.sum().clamp(min=1)


@dataclass(frozen=True)
class Sampling:
    """How stamps are sampled.

    Parameters
    ----------
    steps : int
        Of DDIM.
    eta : float
        Share of new noise in every step; 1 is as the noise was added, 0 adds none.
    guidance : float
        Of the condition: 0 ignores it, 1 takes it as it is, more exaggerates it (Ho & Salimans 2022).
    mix : float
        Share of the sample in the bottleneck of the network, the rest being the anchor's (CLSP, Zeng et al. 2024,
        arXiv:2408.16965, who take 0.1); only of samples that have an anchor.
    resample : int
        Times that every step is taken where pixels are kept, so that what is new comes to fit them (RePaint, Lugmayr
        et al. 2022, arXiv:2201.09865).
    """

    steps: int
    eta: float
    guidance: float
    mix: float
    resample: int

    def __post_init__(self) -> None:
        ranges = {"guidance": (0, 2), "mix": (0, 1), "eta": (0, 1), "steps": (1, STEPS), "resample": (1, 100)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} {value:g} of the sampling of stamps is outside [{low}, {high}]; change it")


@torch.no_grad()
def sample(
    denoiser: "Denoiser",
    condition: torch.Tensor,
    shape: tuple[int, int, int],
    settings: Sampling,
    generator: torch.Generator,
    known: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    anchor: torch.Tensor | None = None,
    schedule: DDIMScheduler | None = None,
) -> torch.Tensor:
    """Draw stamps.

    Parameters
    ----------
    denoiser : Denoiser
    condition : (n, c) Tensor
    shape : (band, s, s)
    settings : Sampling
    generator : torch.Generator
        On the device of the condition.
    known : (n, band, s, s) Tensor, optional
        Stamps of which pixels are kept.
    keep : (n, band, s, s) bool Tensor, optional
        Which; in the samples they are as in `known`, exactly.
    anchor : (n, band, s, s) Tensor, optional
        Stamps whose bottleneck is mixed in.
    schedule : diffusers.DDIMScheduler, optional
        That of `noise_schedule` by default.

    Returns
    -------
    (n, band, s, s) Tensor
    """
    schedule = schedule or noise_schedule()
    schedule.set_timesteps(settings.steps, device=condition.device)

    def draw() -> torch.Tensor:
        return torch.randn((len(condition), *shape), generator=generator, device=condition.device)

    x = draw()
    for step in schedule.timesteps:
        before = step - STEPS // settings.steps
        for again in range(settings.resample if keep is not None else 1):
            if again:
                x = _noised_once_more(schedule, x, before, step, draw())
            noised = None if anchor is None else schedule.add_noise(anchor, draw(), step[None])
            predicted = _predict(denoiser, x, step, condition, settings, noised)
            x = schedule.step(predicted, step, x, eta=settings.eta, generator=generator).prev_sample
            if keep is not None:
                there = schedule.add_noise(known, draw(), before[None]) if before >= 0 else known
                x = torch.where(keep, there, x)
            if before < 0:
                break
    return x


def _noised_once_more(
    schedule: DDIMScheduler, x: torch.Tensor, before: torch.Tensor, step: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """From a step of the noise forward to a later one."""
    share = schedule.alphas_cumprod[step] / schedule.alphas_cumprod[before]
    return share.sqrt() * x + (1 - share).sqrt() * noise


def _predict(
    denoiser: Denoiser,
    x: torch.Tensor,
    step: torch.Tensor,
    condition: torch.Tensor,
    settings: Sampling,
    noised: torch.Tensor | None,
) -> torch.Tensor:
    """Guided prediction; with the anchor's bottleneck, where it has one."""
    conditions = [condition]
    if settings.guidance != 1:
        conditions.append(torch.full_like(condition, torch.nan))
    n = len(conditions)
    inputs, told, mixing = [x] * n, conditions, None
    if noised is not None and settings.mix < 1:
        inputs, told, mixing = inputs + [noised] * n, told * 2, settings.mix
    inputs, told = torch.cat(inputs), torch.cat(told)
    with mixed_bottleneck(denoiser, mixing):
        found = denoiser(inputs, step.expand(len(inputs)), told)[: n * len(x)]
    if n == 1:
        return found
    with_, without = found.chunk(2)
    return without + settings.guidance * (with_ - without)


@contextmanager
def mixed_bottleneck(denoiser: Denoiser, share: float | None) -> Iterator[Any]:
    """The first half of what is denoised gets a share of its own bottleneck, the rest from the second half.

    Parameters
    ----------
    denoiser : Denoiser
    share : float or None
        None leaves the network as it is.
    """
    if share is None:
        yield
        return

    def mix(module: Any, given: tuple[torch.Tensor, torch.Tensor], out: torch.Tensor) -> torch.Tensor:
        own, anchors = out.chunk(2)
        return torch.cat([share * own + (1 - share) * anchors, anchors])

    hook = denoiser.unet.mid_block.register_forward_hook(mix)
    try:
        yield
    finally:
        hook.remove()
