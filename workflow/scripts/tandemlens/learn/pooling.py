"""A system as a bag of stamps: an encoder for every stamp, attention over them, one score of the bag.

Gated attention is that of Ilse, Tomczak & Welling (2018), as torchmil has it: right for every bag that holds a stamp,
NaN for one that holds none, and its attention comes out before the softmax; both are met here. The transformer layers
are torch's own: those of torchmil 1.0.2 drop out while scoring too, and mask what is valid when asked for attention.
"""

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn
from torchmil.nn import AttentionPool, masked_softmax

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from tandemlens.learn.encoders import Encoder


class BagPooling(nn.Module):
    """Features of stamps to one vector a bag.

    Parameters
    ----------
    width : int
        Length of a feature vector.
    layers : int
        Transformer layers in front, by which stamps see each other: attention alone sees each for itself and is blind
        to how they are arranged.
    heads : int
        Of a transformer layer; divides `width`.
    dropout : float
        Of the transformer layers.
    hidden : int
        Units of the attention.
    """

    def __init__(self, width: int, layers: int = 0, heads: int = 4, dropout: float = 0.0, hidden: int = 128) -> None:
        super().__init__()
        self.transformer = None
        if layers:
            layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, batch_first=True, norm_first=True)
            self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.attention = AttentionPool(width, hidden, gated=True)

    def forward(self, features: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool.

        Parameters
        ----------
        features : (b, k, width) Tensor
            Whatever stands in the padding is not looked at.
        valid : (b, k) bool Tensor
            False for padding.

        Returns
        -------
        pooled : (b, width) Tensor
            0 for a bag of padding alone.
        attention : (b, k) Tensor
            Of sum 1; 0 for padding, and all 0 for a bag of padding alone.
        """
        # 0 times NaN is NaN: padding is emptied before it is given no weight
        features = torch.where(valid[..., None], features, 0)
        some = valid.any(1)
        # a softmax over nothing is NaN: a bag of padding alone looks at its first slot, and is emptied at the end
        looked_at = valid | (~some[:, None] & (torch.arange(valid.shape[1], device=valid.device) == 0))
        if self.transformer is not None:
            features = self.transformer(features, src_key_padding_mask=~looked_at)
            features = torch.where(valid[..., None], features, 0)
        pooled, logits = self.attention(features, looked_at, return_att=True)
        return pooled * some[:, None], masked_softmax(logits, looked_at) * valid


def log_odds(scores: torch.Tensor) -> torch.Tensor:
    """Log odds of the first class against all others together.

    Parameters
    ----------
    scores : (b, c) Tensor
        Logarithms of probabilities, but for a constant of every row; c is 2 or more.

    Returns
    -------
    (b,) Tensor
    """
    return scores[:, 0] - scores[:, 1:].logsumexp(1)


class BagEmbedding(nn.Module):
    """Bags of stamps as one vector each.

    Parameters
    ----------
    encoder : nn.Module
        (n, band, side, side) to (n, ``width``).
    geometry : (k, g) array_like
        Where the stamps of the training sample lie and what they look like; sets zero and unit of every column. What
        is no number counts as the mean.
    width : int
        Of what describes a stamp after pixels and geometry are brought together; a multiple of 4.
    layers : int
        As for `BagPooling`.
    dropout : float
    """

    def __init__(
        self,
        encoder: torch.nn.Module,
        geometry: "ArrayLike",
        width: int = 64,
        layers: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        geometry = torch.as_tensor(geometry, dtype=torch.float64)
        known = torch.isfinite(geometry)
        count = known.sum(0).clamp(min=1)
        centre = torch.where(known, geometry, 0).sum(0) / count
        spread = (torch.where(known, geometry - centre, 0).square().sum(0) / count).sqrt()
        self.register_buffer("centre", centre.float())
        self.register_buffer("spread", torch.where(spread > 1e-6, spread, 1).float())
        self.encoder = encoder
        n_in = encoder.width + geometry.shape[1]
        self.describe = nn.Sequential(nn.Linear(n_in, width), nn.GELU(), nn.Dropout(dropout))
        self.pooling = BagPooling(width, layers, dropout=dropout)

    def embed(
        self, stamps: torch.Tensor, geometry: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool bags.

        Parameters
        ----------
        stamps : (n, band, side, side) Tensor
            Those of all bags, behind one another; padding never passes the encoder.
        geometry : (n, g) Tensor
        valid : (b, k) bool Tensor
            Places of the stamps in their bags; n of them are True.

        Returns
        -------
        pooled : (b, width) Tensor
        attention : (b, k) Tensor
        """
        described = self.describe_stamps(stamps, geometry)
        features = described.new_zeros(*valid.shape, described.shape[-1])
        features[valid] = described
        return self.pooling(features, valid)

    def describe_stamps(self, stamps: torch.Tensor, geometry: torch.Tensor) -> torch.Tensor:
        """Pixels and geometry of stamps, (n, band, side, side) and (n, g), as one vector each, (n, width)."""
        place = torch.nan_to_num((geometry - self.centre) / self.spread, posinf=0, neginf=0)
        return self.describe(torch.cat([self.encoder(stamps), place], dim=-1))


class BagClassifier(BagEmbedding):
    """Log odds of bags of stamps.

    Parameters
    ----------
    encoder, geometry, width, layers, dropout
        As for `BagEmbedding`.
    classes : int
        At least 2; the first one is looked for.

    Attributes
    ----------
    classifier : torch.nn.Linear
        From what is pooled to the scores of the classes.
    """

    def __init__(
        self,
        encoder: torch.nn.Module,
        geometry: "ArrayLike",
        width: int = 64,
        layers: int = 0,
        dropout: float = 0.0,
        classes: int = 2,
    ) -> None:
        super().__init__(encoder, geometry, width, layers, dropout)
        self.classifier = nn.Linear(width, classes)

    def forward(
        self, stamps: torch.Tensor, geometry: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score bags, given as to `BagEmbedding.embed`.

        Returns
        -------
        logits : (b,) Tensor
        attention : (b, k) Tensor
        pooled : (b, width) Tensor
            What the logits are made of.
        """
        pooled, attention = self.embed(stamps, geometry, valid)
        return log_odds(self.classifier(pooled)), attention, pooled


def create_classifier(
    encoder: "Encoder", geometry: "ArrayLike", settings: dict[str, Any], classes: int, rng: "np.random.Generator"
) -> BagClassifier:
    """A classifier of bags around an encoder, with random weights.

    Parameters
    ----------
    encoder : tandemlens.learn.encoders.Encoder
    geometry : (k, g) array_like
        As for `BagEmbedding`.
    settings : dict
        Keys width, layers and dropout.
    classes : int
    rng : numpy.random.Generator
        Draws the seed of the weights; torch's own random state is left as it was.

    Returns
    -------
    BagClassifier
    """
    return _create(BagClassifier, encoder, geometry, settings, rng, classes)


def create_embedding(
    encoder: torch.nn.Module, geometry: "ArrayLike", settings: dict[str, Any], rng: "np.random.Generator"
) -> BagEmbedding:
    """An embedding of bags, as `create_classifier` makes a classifier.

    Returns
    -------
    BagEmbedding
    """
    return _create(BagEmbedding, encoder, geometry, settings, rng)


_Network = TypeVar("_Network", bound=BagEmbedding)


def _create(
    kind: type[_Network],
    encoder: torch.nn.Module,
    geometry: "ArrayLike",
    settings: dict[str, Any],
    rng: "np.random.Generator",
    *more: Any,
) -> _Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        return kind(encoder, geometry, settings["width"], settings["layers"], settings["dropout"], *more)
