"""Losses by which an encoder learns from stamps without labels.

Each method is a module that holds the encoder and what the loss needs beside it; `create_pretext` makes one. Heads,
masked encoding, momentum and schedules are lightly's, but for three: its MoCo head ends in a batch normalisation with
weights, where MoCo v3 has none; its NTXentLoss is SimCLR's, with other negatives; its random masks and its gathering of
keys are bound to the global random state and to a running process group.
"""

import copy
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import distributed, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

import tandemlens.learn.vision  # noqa: F401
from tandemlens.base.errors import InputError

# isort: split
# after the cure of torchvision
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
from lightly.models.modules.heads import ProjectionHead, SimSiamPredictionHead, SimSiamProjectionHead
from lightly.models.utils import (
    concat_all_gather,
    deactivate_requires_grad,
    get_at_index,
    patchify,
    repeat_token,
    set_at_index,
    update_momentum,
)
from lightly.utils.scheduler import cosine_schedule

if TYPE_CHECKING:
    import numpy as np

    from tandemlens.learn.encoders import Encoder


@dataclass(frozen=True)
class PretextSettings:
    """What the methods leave open.

    Parameters
    ----------
    hidden, projection : int
        Widths of the projection heads: within, and of their output.
    temperature : float or None
        Of the contrast; None takes that of the method.
    momentum : float
        Of the slow encoder at the start; it ends at 1.
    mask_ratio : float
        Share of the patches that a masked autoencoder does not see.
    normalise_patches : bool
        Whether it is asked for patches of mean 0 and variance 1. That makes good features of shapes but hides how
        bright a patch is, and of what colour.
    decoder_width, decoder_depth : int
        Of the network that fills in the patches; the width is a multiple of 32.
    positive_weight : float
        Of the agreement with synthetic positives beside the contrast; Zeng et al. (2024) take 0.5 with MoCo.
    """

    hidden: int
    projection: int
    temperature: float | None
    momentum: float
    mask_ratio: float
    normalise_patches: bool
    decoder_width: int
    decoder_depth: int
    positive_weight: float = 0.5


def create_pretext(
    method: str, encoder: "Encoder", settings: PretextSettings, rng: "np.random.Generator"
) -> torch.nn.Module:
    """A method with the encoder that it trains.

    Parameters
    ----------
    method : str
        Of `METHODS`.
    encoder : tandemlens.learn.encoders.Encoder
    settings : PretextSettings
    rng : numpy.random.Generator
        Draws the weights of what is added.

    Returns
    -------
    torch.nn.Module
        ``forward(first, second, valid, generator)`` takes two views (n, band, s, s) of every stamp, its valid pixels
        and a generator on their device, and returns the loss and the vectors that must not collapse, (n, d);
        ``after_step(step, steps)`` is called when the weights have changed. ``compares`` says whether the second view
        is looked at, and ``monitored`` whether vectors that are all alike mean a collapse.

    Raises
    ------
    InputError
        If there is no such method, or the encoder cannot be trained by it.
    """
    if method not in _MADE_BY:
        raise InputError(f"pretrain.method {method} is unknown; use one of {', '.join(METHODS)}")
    if method == "mae" and not encoder.patch:
        raise InputError(
            f"pretrain.method mae hides patches and encoder {encoder.name} has none; use a vit encoder or moco"
        )
    if method == "fast_moco" and (encoder.size % 2 or not encoder.takes(encoder.size // 2)):
        raise InputError(
            f"pretrain.method fast_moco quarters stamps of {encoder.size} pixels, and encoder {encoder.name} does not "
            "take the quarters; set stamps.pixels to a multiple of two patches, at least 32, or take moco"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        return _MADE_BY[method](encoder, settings)


def contrast(queries: torch.Tensor, keys: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE: how well every query finds its own key among the keys of the batch, on all devices.

    Parameters
    ----------
    queries, keys : (n, d) Tensor
        Row k belongs to row k; need not be normalised.
    temperature : float

    Returns
    -------
    () Tensor
        Mean cross-entropy; MoCo v3 takes it times 2 temperature (arXiv:2104.02057, algorithm 1).
    """
    queries, keys = normalize(queries.float(), dim=1), normalize(keys.float(), dim=1)
    own = torch.arange(len(queries), device=queries.device)
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        keys, own = concat_all_gather(keys), own + len(queries) * distributed.get_rank()
    # the cosines are divided by the temperature: half precision would be felt
    with torch.autocast(queries.device.type, enabled=False):
        return cross_entropy(queries @ keys.T / temperature, own)


def agreement(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Minus the mean cosine between predictions and targets, through which no gradient goes (SimSiam).

    Parameters
    ----------
    predicted, target : (n, d) Tensor

    Returns
    -------
    () Tensor
        -1 where all are parallel.
    """
    return -cosine_similarity(predicted.float(), target.detach().float(), dim=1).mean()


def positive_term(own: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """How far stamps are from their synthetic positives: the mean of 2 - 2 cosine (CLSP).

    Parameters
    ----------
    own, positive : (n, d) Tensor

    Returns
    -------
    () Tensor
        0 where they are parallel.
    """
    return 2 - 2 * cosine_similarity(own.float(), positive.float(), dim=1).mean()


def reconstruction(
    predicted: torch.Tensor,
    images: torch.Tensor,
    masked: torch.Tensor,
    patch: int,
    normalise: bool,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared error of patches that were not seen (MAE).

    Parameters
    ----------
    predicted : (n, m, patch^2 band) Tensor
        Of the masked patches.
    images : (n, band, s, s) Tensor
    masked : (n, m) int Tensor
        Their numbers, in rows from the top left.
    patch : int
        Side, pixel.
    normalise : bool
        Whether the target has mean 0 and (unbiased) variance 1 in every patch.
    valid : (n, band, s, s) bool Tensor, optional
        Pixels that count.

    Returns
    -------
    () Tensor
    """
    target = get_at_index(patchify(images, patch), masked)
    if normalise:
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    error = (predicted.float() - target.float()) ** 2
    if valid is None:
        return error.mean()
    weight = get_at_index(patchify(valid.to(error.dtype), patch), masked)
    return (error * weight).sum() / weight.sum().clamp(min=1)


def random_masks(n: int, patches: int, ratio: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches to keep and to mask, drawn for every stamp.

    Parameters
    ----------
    n, patches : int
    ratio : float
        Of the masked ones.
    generator : torch.Generator

    Returns
    -------
    keep, masked : (n, ...) int Tensor
        On the device of the generator; int(patches (1 - ratio)) are kept, but at least one.
    """
    order = torch.rand(n, patches, generator=generator, device=generator.device).argsort(dim=1)
    kept = max(1, int(patches * (1 - ratio)))
    return order[:, :kept], order[:, kept:]


def quarters(images: torch.Tensor) -> torch.Tensor:
    """The four quarters of every image, without overlap.

    Parameters
    ----------
    images : (n, band, s, s) Tensor

    Returns
    -------
    (4 n, band, s / 2, s / 2) Tensor
        All first quarters, then all second ones, ...
    """
    half = images.shape[-1] // 2
    rows, columns = (slice(0, half), slice(half, 2 * half)), (slice(0, half), slice(half, 2 * half))
    return torch.cat([images[..., r, c] for r in rows for c in columns])


def pair_means(features: torch.Tensor, parts: int) -> torch.Tensor:
    """Mean features of every pair of parts.

    Parameters
    ----------
    features : (parts n, d) Tensor
        Part after part.
    parts : int

    Returns
    -------
    (pairs n, d) Tensor
        Pair after pair; the features themselves where there is one part.
    """
    if parts == 1:
        return features
    pieces = features.chunk(parts)
    return torch.cat([(a + b) / 2 for a, b in combinations(pieces, 2)])


def _moco_head(width: int, hidden: int, out: int, layers: int) -> nn.Module:
    """As the official code: batch normalisation everywhere, the last one without weights."""
    inner = [(width, hidden), *[(hidden, hidden)] * (layers - 2)]
    blocks = [(a, b, nn.BatchNorm1d(b), nn.ReLU()) for a, b in inner]
    return ProjectionHead([*blocks, (hidden, out, nn.BatchNorm1d(out, affine=False), None)])


class Moco(nn.Module):
    """MoCo v3 (Chen, Xie & He 2021, arXiv:2104.02057): no queue, both views as queries, a predictor.

    The patch projection of a transformer stays as drawn, which keeps its training stable.
    """

    compares, monitored = True, True
    parts, temperature = 1, 0.2

    def __init__(self, encoder: "Encoder", settings: PretextSettings) -> None:
        super().__init__()
        self.encoder, self.start = encoder, settings.momentum
        self.temperature = settings.temperature or self.temperature
        if encoder.patch:
            deactivate_requires_grad(encoder.backbone.patch_embed)
        self.projector = _moco_head(encoder.width, settings.hidden, settings.projection, 3)
        self.predictor = _moco_head(settings.projection, settings.hidden, settings.projection, 2)
        self.slow = copy.deepcopy(nn.Sequential(self.encoder, self.projector))
        deactivate_requires_grad(self.slow)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and projections; see `create_pretext`."""
        loss, projected = self.contrasted(first, second)
        return loss, projected.detach()

    def contrasted(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss, and projections of the first view."""
        views = (first, second)
        projected = [self.projector(self.features(view)) for view in views]
        with torch.no_grad():
            keys = [self.slow(view) for view in views]
        losses = self.terms(self.predictor(projected[0]), keys[1]) + self.terms(self.predictor(projected[1]), keys[0])
        return self.scale() * torch.stack(losses).mean(), projected[0][: len(first)]

    def features(self, view: torch.Tensor) -> torch.Tensor:
        """Features of a view, as they are projected."""
        return self.encoder(view)

    def terms(self, queries: torch.Tensor, keys: torch.Tensor) -> list[torch.Tensor]:
        """The contrast of every set of queries with the keys."""
        return [contrast(some, keys, self.temperature) for some in queries.split(len(keys))]

    def scale(self) -> float:
        """Factor of the mean over all terms: the official loss is the sum of two, times twice the temperature."""
        return 4 * self.temperature

    def after_step(self, step: torch.Tensor, steps: int) -> None:
        """Let the slow encoder follow, once a step, ever more slowly."""
        moved = nn.Sequential(self.encoder, self.projector)
        update_momentum(moved, self.slow, cosine_schedule(step, steps, self.start, 1.0))


class FastMoco(Moco):
    """Fast-MoCo (Ci et al. 2022): queries are the means of pairs of quarters, keys are whole views.

    Quarters cut long arcs.
    """

    parts, temperature = 4, 1.0

    def features(self, view: torch.Tensor) -> torch.Tensor:
        """Mean features of the six pairs of quarters."""
        return pair_means(self.encoder(quarters(view)), self.parts)

    def scale(self) -> float:
        """The loss is the mean over the twelve terms."""
        return 1.0


class Clsp(Moco):
    """CLSP (Zeng et al. 2024, arXiv:2408.16965): MoCo v3, and agreement of a stamp with a synthetic positive of it."""

    def __init__(self, encoder: "Encoder", settings: PretextSettings) -> None:
        super().__init__(encoder, settings)
        self.weight = settings.positive_weight

    def forward(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        valid: torch.Tensor,
        generator: torch.Generator,
        third: torch.Tensor | None = None,
        whose: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and projections; see `create_pretext`.

        Parameters
        ----------
        third : (m, band, s, s) Tensor, optional
            Views of synthetic positives.
        whose : (m,) int64 Tensor, optional
            Stamps that they are positives of.
        """
        loss, projected = self.contrasted(first, second)
        # batch normalisation wants two
        if third is not None and len(third) > 1:
            loss = loss + self.weight * positive_term(projected[whose], self.projector(self.features(third)))
        return loss, projected.detach()


class Mae(nn.Module):
    """Masked autoencoder (He et al. 2021, arXiv:2111.06377)."""

    compares, monitored = False, False

    def __init__(self, encoder: "Encoder", settings: PretextSettings) -> None:
        super().__init__()
        self.encoder, self.settings = encoder, settings
        vit, width = encoder.backbone, settings.decoder_width
        # weights and positions stay as they are
        self.masked = MaskedVisionTransformerTIMM(vit, weight_initialization="skip", pos_embed_initialization="skip")
        # nothing in the encoder is replaced by it
        self.masked.mask_token.requires_grad_(False)
        self.patches = vit.patch_embed.num_patches
        self.bridge = nn.Linear(encoder.width, width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            self.patches, width, settings.decoder_depth, width // 32, vit.num_prefix_tokens
        )
        self.patch = vit.patch_embed.patch_size[0]
        self.pixels = nn.Linear(width, self.patch**2 * encoder.bands)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and mean features of what was seen; the second view is not looked at."""
        prefix = self.encoder.backbone.num_prefix_tokens
        keep, masked = random_masks(len(first), self.patches, self.settings.mask_ratio, generator)
        always = torch.arange(prefix, device=keep.device).expand(len(keep), -1)
        keep = torch.cat([always, keep + prefix], dim=1)
        seen = self.masked.encode(self.encoder.standard(first), idx_keep=keep)
        whole = repeat_token(self.decoder.mask_token, (len(first), self.patches + prefix))
        filled = set_at_index(whole.to(seen.dtype), keep, self.bridge(seen).to(seen.dtype))
        predicted = self.pixels(get_at_index(self.decoder(filled), masked + prefix))
        wanted = self.settings.normalise_patches
        loss = reconstruction(predicted, first, masked, self.patch, wanted, valid)
        return loss, seen[:, prefix:].mean(1).detach()

    def after_step(self, step: torch.Tensor, steps: int) -> None:
        """Nothing follows."""


class SimSiam(nn.Module):
    """SimSiam (Chen & He 2020, arXiv:2011.10566), and LenSiam (Chang et al. 2023, arXiv:2311.10100).

    The two differ in their pairs of views alone: those of LenSiam have the same lens and other sources.
    """

    compares, monitored = True, True

    def __init__(self, encoder: "Encoder", settings: PretextSettings) -> None:
        super().__init__()
        self.encoder, out = encoder, settings.projection
        self.projector = SimSiamProjectionHead(encoder.width, settings.hidden, out)
        self.predictor = SimSiamPredictionHead(out, max(out // 4, 1), out)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and projections; see `create_pretext`."""
        a, b = self.projector(self.encoder(first)), self.projector(self.encoder(second))
        return (agreement(self.predictor(a), b) + agreement(self.predictor(b), a)) / 2, a.detach()

    def after_step(self, step: torch.Tensor, steps: int) -> None:
        """Nothing follows."""


_MADE_BY = {"moco": Moco, "fast_moco": FastMoco, "mae": Mae, "simsiam": SimSiam, "lensiam": SimSiam, "clsp": Clsp}
METHODS = tuple(_MADE_BY)
