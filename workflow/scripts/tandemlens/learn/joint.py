"""The joint loss of the founding sketch: lens or not, agreement of two views, and a small sphere for what is no lens.

Kept for comparison, off unless weighted. The sketch gives 0.6, 0.2 and 0.2. The part of the hypersphere is Deep SVDD
(Ruff et al. 2018) behind a map without biases; the encoder in front of it has biases, so that it could map everything
to one point, and only the other two parts hold it back.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from tandemlens.learn.hypersphere import fixed_centre, projection
from tandemlens.learn.pretext import PretextSettings, create_pretext

if TYPE_CHECKING:
    import numpy as np

    from tandemlens.learn.pooling import BagClassifier

#: dimension of the hypersphere
_DIMENSIONS = 16
#: heads narrower than those of the paper: features of stamps are
_PRETEXT = PretextSettings(
    hidden=256,
    projection=128,
    temperature=0.2,
    momentum=0.99,
    mask_ratio=0.75,
    normalise_patches=True,
    decoder_width=64,
    decoder_depth=1,
)


class JointLoss(nn.Module):
    """A weighted mean of three losses.

    Parameters
    ----------
    network : tandemlens.learn.pooling.BagClassifier
    agreement, hypersphere : float
        Weights; the rest is that of the main loss.
    rng : numpy.random.Generator
        Draws the weights of what is added.
    """

    def __init__(
        self, network: "BagClassifier", agreement: float, hypersphere: float, rng: "np.random.Generator"
    ) -> None:
        super().__init__()
        self.agreement, self.hypersphere = agreement, hypersphere
        self.pretext = create_pretext("simsiam", network.encoder, _PRETEXT, rng)
        self.map = projection(network.classifier.in_features, (_DIMENSIONS,), rng)
        self.register_buffer("centre", torch.zeros(_DIMENSIONS, dtype=torch.float64))

    def added(self) -> list[torch.nn.Parameter]:
        """Parameters beside those of the network."""
        return [p for name, p in self.named_parameters() if not name.startswith("pretext.encoder.")]

    @torch.no_grad()
    def fix_centre(self, pooled: torch.Tensor) -> None:
        """Put the centre, for good, where systems without a lens are before the training.

        Parameters
        ----------
        pooled : (n, width) Tensor
            Of `BagClassifier`.
        """
        self.centre.copy_(fixed_centre(self.map(pooled.double())))

    def forward(
        self, main: torch.Tensor, first: torch.Tensor, second: torch.Tensor, pooled: torch.Tensor, other: torch.Tensor
    ) -> torch.Tensor:
        """Total loss.

        Parameters
        ----------
        main : () Tensor
        first, second : (n, band, side, side) Tensor
            Two views of every stamp.
        pooled : (b, width) Tensor
        other : (b,) bool Tensor
            Which bags are no lens.

        Returns
        -------
        () Tensor
        """
        total = (1 - self.agreement - self.hypersphere) * main
        if self.agreement:
            total = total + self.agreement * self.pretext(first, second, None, None)[0]
        # a step without such a bag does without
        if self.hypersphere and other.any():
            distance = (self.map(pooled[other].double()) - self.centre).square().sum(-1)
            total = total + self.hypersphere * distance.mean()
        return total
