"""Networks that turn a stamp into a feature vector: small vision transformers, and two compact convolutional ones.

All are timm's, with normalisation by layer or group: the features of a stamp do not depend on what else is in the
batch, which bags of segments of any number need. The first convolution takes as many bands as the survey has. The
residual network sees the brightest place beside the mean, and learns from hundreds of systems what the others learn
from many thousands.
"""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from tandemlens.base.atomic import sha256, write_text
from tandemlens.base.errors import InputError
from tandemlens.learn.stamps import band_statistics
from tandemlens.learn.vision import create_network, drawn
from tandemlens.learn.weights import save_weights

# isort: split
# after the cure of torchvision
from lightly.models.utils import initialize_2d_sine_cosine_positional_embedding
from timm.models import adapt_input_conv
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tandemlens.learn.stamps import Format

log = logging.getLogger("tandemlens")

#: three residual blocks of two convolutions, at the full, half and quarter scale
_RESIDUAL = ByoModelCfg(
    blocks=tuple(ByoBlockCfg("basic", d=1, c=c, s=s, gs=0, br=1.0) for c, s in ((32, 1), (64, 2), (128, 2))),
    **{"stem_chs": 32, "stem_type": "3x3", "stem_pool": "", "norm_layer": "groupnorm", "act_layer": "relu"},
)
#: name -> (network of timm, changes to it); the name residual stands for the blocks above
_CONVOLUTIONAL: dict[str, tuple[str | None, dict[str, Any]]] = {
    "residual": (None, {"cfg": _RESIDUAL, "global_pool": "catavgmax"}),
    "compact": (
        "convnext_zepto_rms",
        {"depths": (1, 1, 2, 1), "dims": (32, 64, 128, 192), "patch_size": 2, "output_stride": 16},
    ),
}
#: their first convolution
_FIRST = {"residual": "stem.conv.weight", "compact": "stem.0.weight"}
_TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit_mini": ("vit_tiny_patch16_224", {"embed_dim": 96, "depth": 4, "num_heads": 3}),
    "vit_tiny": ("vit_tiny_patch16_224", {}),
    "vit_small": ("vit_small_patch16_224", {}),
}
#: smallest stamps of the convolutional networks, twice and once the size of a pixel of their last layer
_SMALLEST = {"residual": 8, "compact": 16}
_NAME = re.compile(r"(\w+?)(?:_patch(\d+))?")
#: parameters of a classifier, which a weight file may have and an encoder has not
_CLASSIFIER = ("head.", "head_dist.", "fc_norm.")
_FACTS, _WEIGHTS = "encoder.json", "weights.safetensors"
_SCALE = ("centre", "spread")


@dataclass(frozen=True)
class WeightFile:
    """Weights in a local file, declared by their checksum.

    Parameters
    ----------
    path : str
        A safetensors file, or one of `torch.save` that holds nothing but tensors in dictionaries; its names are timm's.
    sha256 : str
        Hexadecimal digest of the file.
    """

    path: str
    sha256: str


class Encoder(nn.Module):
    """A network without classifier; made by `create_encoder`.

    Parameters
    ----------
    backbone : torch.nn.Module
        Network of timm.
    name : str
    bands, size : int
        Of the stamps that it takes.
    """

    def __init__(self, backbone: torch.nn.Module, name: str, bands: int, size: int) -> None:
        super().__init__()
        self.backbone, self.name, self.bands, self.size = backbone, name, bands, size
        # mean and largest value
        self.width = backbone.num_features * (2 if isinstance(backbone, ByobNet) else 1)
        self._frozen: list[torch.nn.Module] = []
        # a bright central galaxy is 20 times the noise and the same in every system: without a common zero and unit
        # the network learns nothing else for long
        self.register_buffer("centre", torch.zeros(bands, 1, 1))
        self.register_buffer("spread", torch.ones(bands, 1, 1))

    @property
    def patch(self) -> int | None:
        """Side of a patch of a transformer, pixel; None for a convolutional network."""
        return self.backbone.patch_embed.patch_size[0] if isinstance(self.backbone, VisionTransformer) else None

    def takes(self, size: int) -> bool:
        """Whether it works on stamps of a size.

        Parameters
        ----------
        size : int
            Pixel.

        Returns
        -------
        bool
        """
        return size % self.patch == 0 if self.patch else size >= _SMALLEST[self.name]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of stamps.

        Parameters
        ----------
        images : (n, band, s, s) float Tensor
            Invalid pixels are 0; s is `size`, or any other that it `takes`.

        Returns
        -------
        (n, width) Tensor
        """
        return self.backbone(self.standard(images))

    def standard(self, images: torch.Tensor) -> torch.Tensor:
        """Stamps with the zero and unit of `scale_bands`, as the backbone takes them."""
        return (images - self.centre) / self.spread

    def scale_bands(self, centre: "ArrayLike", spread: "ArrayLike") -> None:
        """Set zero and unit of every band.

        Parameters
        ----------
        centre, spread : (band,) array_like
            From `tandemlens.learn.stamps.band_statistics`.
        """
        for name, values in (("centre", centre), ("spread", spread)):
            getattr(self, name).copy_(torch.as_tensor(np.asarray(values), dtype=torch.float32)[:, None, None])

    def blocks(self) -> list[str]:
        """Names of the residual blocks, from the first to the last.

        Returns
        -------
        list of str
        """
        pattern = re.compile(r"blocks\.\d+|stages\.\d+(\.blocks)?\.\d+")
        return [name for name, _ in self.backbone.named_modules() if pattern.fullmatch(name)]

    def freeze_blocks(self, share: float) -> list[str]:
        """Fix the weights of the first blocks; patch embedding, norms and the last blocks stay trainable.

        Parameters
        ----------
        share : float
            Of the blocks, rounded down; 0 frees all.

        Returns
        -------
        list of str
            Names of the frozen blocks.

        Raises
        ------
        InputError
            If the share is outside [0, 1].
        """
        if not 0 <= share <= 1:
            raise InputError(f"share {share:g} of the blocks of encoder {self.name} is no share; use one from 0 to 1")
        names = self.blocks()
        self._frozen = names[: int(share * len(names))]
        for name in names:
            block = self.backbone.get_submodule(name)
            block.requires_grad_(name not in self._frozen)
            for part_name, part in block.named_modules():
                if "norm" in part_name or part_name.endswith("bn"):
                    part.requires_grad_(True)
        return self._frozen

    def train(self, mode: bool = True) -> "Encoder":
        """As in torch, but frozen blocks stay as they are in use: nothing is dropped at random in them."""
        super().train(mode)
        for name in self._frozen:
            self.backbone.get_submodule(name).eval()
        return self


def create_encoder(
    name: str, bands: int, size: int, rng: np.random.Generator, weights: WeightFile | None = None
) -> Encoder:
    """An encoder of stamps.

    Parameters
    ----------
    name : str
        ``residual``, ``compact``, or a transformer and its patch: ``vit_mini_patch8``, ``vit_tiny_patch8``,
        ``vit_small_patch16``.
    bands : int
    size : int
        Side of a stamp, pixel; a multiple of the patch.
    rng : numpy.random.Generator
        Draws the weights, where none are given.
    weights : WeightFile, optional
        Weights of such a network. Those for another number of bands are repeated or cut and scaled, patches and
        positions of another size interpolated, as timm does.

    Returns
    -------
    Encoder
        On the CPU. Positions of a transformer are sines and cosines, or those of the file, and fixed.

    Raises
    ------
    InputError
        If there is no such encoder, stamps do not fit its patches, or the file does not fit its checksum or network.
    """
    found = _NAME.fullmatch(name)
    kind, patch = found.groups() if found else (name, None)
    if kind in _TRANSFORMERS and patch:
        network, options = _TRANSFORMERS[kind]
        # the mean over patches, after the last norm; other sizes may follow
        options = options | {"patch_size": int(patch), "img_size": size, "dynamic_img_size": True}
        options = options | {"global_pool": "avg", "fc_norm": False}
    elif kind in _CONVOLUTIONAL and not patch:
        network, options = _CONVOLUTIONAL[kind]
    else:
        known = [*_CONVOLUTIONAL, *(f"{transformer}_patch8" for transformer in _TRANSFORMERS)]
        raise InputError(f"encoder {name} is unknown; use one of {', '.join(known)} (with patches of any side)")
    make = partial(create_network, network, rng) if network else partial(drawn, rng, ByobNet)
    encoder = Encoder(make(in_chans=bands, num_classes=0, **options), name, bands, size)
    if not encoder.takes(size):
        needed = f"whole patches of {encoder.patch}" if encoder.patch else f"at least {_SMALLEST[name]}"
        raise InputError(f"encoder {name} needs stamps of {needed} pixels and they have {size}; set stamps.pixels")
    if encoder.patch:
        places = encoder.backbone.pos_embed
        initialize_2d_sine_cosine_positional_embedding(places, num_prefix_tokens=encoder.backbone.num_prefix_tokens)
    if weights is not None:
        _load(encoder, weights)
    return encoder


def save_encoder(encoder: Encoder, folder: str | Path, facts: dict[str, Any]) -> None:
    """Write an encoder for `load_encoder`.

    Parameters
    ----------
    encoder : Encoder
    folder : str or Path
        Exists.
    facts : dict
        What else is to be known: ``bands`` (names), and how it was trained.
    """
    save_weights(Path(folder) / _WEIGHTS, encoder.backbone.state_dict())
    made = {"trained": True, "name": encoder.name, "size": encoder.size, "width": encoder.width}
    made |= {name: getattr(encoder, name).ravel().tolist() for name in _SCALE}
    write_text(Path(folder) / _FACTS, json.dumps({**made, **facts}, indent=1))


def save_reason(folder: str | Path, reason: str, facts: dict[str, Any]) -> None:
    """Write that there is no encoder, and why.

    Parameters
    ----------
    folder : str or Path
        Exists.
    reason : str
    facts : dict
    """
    write_text(Path(folder) / _FACTS, json.dumps({"trained": False, "reason": reason, **facts}, indent=1))


def load_encoder(folder: str | Path, bands: Sequence[str], size: int) -> Encoder:
    """The encoder of the pretraining.

    Parameters
    ----------
    folder : str or Path
        models/encoder.
    bands : list of str
    size : int
        Side of a stamp, pixel.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    InputError
        If none was trained, which says why, or it is for other stamps.
    """
    facts = json.loads((Path(folder) / _FACTS).read_text())
    if not facts["trained"]:
        raise InputError(f"there is no encoder in {folder}: {facts['reason']}")
    if (facts["bands"], facts["size"]) != (list(bands), size):
        raise InputError(
            f"the encoder in {folder} takes stamps of {facts['size']} pixels in the bands {', '.join(facts['bands'])} "
            f"and these have {size} in {', '.join(bands)}; pretrain again with the settings of the run"
        )
    # the weights drawn are all replaced
    encoder = create_encoder(facts["name"], len(bands), size, np.random.default_rng(0))
    encoder.backbone.load_state_dict(load_file(Path(folder) / _WEIGHTS))
    encoder.scale_bands(*(facts[name] for name in _SCALE))
    return encoder


def new_encoder(
    form: "Format", settings: dict[str, Any], rng: np.random.Generator, paths: list[str], wanted: set[str]
) -> Encoder:
    """The encoder that the settings name, not pretrained by the run, with the zero and unit of its stamps.

    Parameters
    ----------
    form : tandemlens.learn.stamps.Format
    settings : dict
        Section ``encoder`` of the settings.
    rng : numpy.random.Generator
        Draws the weights, where none are given.
    paths, wanted
        Stamps that it learns from, as for `tandemlens.learn.stamps.band_statistics`.

    Returns
    -------
    Encoder

    Raises
    ------
    InputError
        As `create_encoder`.
    """
    weights = WeightFile(settings["file"], settings["sha256"]) if settings["weights"] == "file" else None
    encoder = create_encoder(settings["name"], len(form.bands), form.pixels, rng, weights)
    encoder.scale_bands(*band_statistics(paths, wanted))
    return encoder


def _load(encoder: Encoder, weights: WeightFile) -> None:
    state, backbone = _read(weights), encoder.backbone
    try:
        if encoder.patch:
            state = checkpoint_filter_fn(state, backbone)
        own = backbone.state_dict()
        state = {name: value for name, value in state.items() if name in own or not name.startswith(_CLASSIFIER)}
        first = "patch_embed.proj.weight" if encoder.patch else _FIRST[encoder.name]
        if first in state:
            state[first] = adapt_input_conv(encoder.bands, state[first], base_chans=state[first].shape[1])
        backbone.load_state_dict(state)
    except (RuntimeError, AttributeError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"weight file {weights.path} does not fit encoder {encoder.name} ({said}); give weights of that network"
        ) from error


def _read(weights: WeightFile) -> dict[str, torch.Tensor]:
    path = Path(weights.path)
    if not path.is_file():
        raise InputError(f"weight file {path} is not there; weights are never downloaded, put the file in its place")
    found = sha256(path)
    if found != weights.sha256.lower():
        raise InputError(
            f"weight file {path} has the sha256 {found} and not the declared {weights.sha256}; get the right file or "
            "declare this one"
        )
    try:
        # nothing in it is run
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"weight file {path} cannot be read as tensors ({type(error).__name__}); give a safetensors file, or one "
            "of torch.save with tensors only"
        ) from error
