"""Networks of timm, behind the one cure for a torchvision that lacks its compiled operators.

The registry's torchvision is a CUDA build. Beside a CPU build of torch its library of operators is not loaded, and
importing it, which timm does, ends in "operator torchvision::nms does not exist": it registers a shape function for
two operators (nms and qnms) that nobody has declared. Declaring their schemas is enough; no network here calls either.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

try:
    import torchvision
except RuntimeError as error:
    if "operator torchvision::nms does not exist" not in str(error):
        raise
    # the declarations last as long as this object
    _OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _OPERATORS.define(_name + _BOXES)
    import torchvision  # noqa: F401

# after the cure: timm imports torchvision
import timm  # noqa: E402

if TYPE_CHECKING:
    import numpy as np


def create_network(name: str, rng: "np.random.Generator", **options: Any) -> torch.nn.Module:
    """A network of timm with random weights; none are ever downloaded.

    Parameters
    ----------
    name : str
        As timm knows it.
    rng : numpy.random.Generator
        As for `drawn`.
    **options
        As in `timm.create_model`: in_chans, num_classes, ...

    Returns
    -------
    torch.nn.Module
        On the CPU.
    """
    return drawn(rng, timm.create_model, name, pretrained=False, **options)


def drawn(rng: "np.random.Generator", make: Callable[..., Any], *given: str, **options: Any) -> torch.nn.Module:
    """What a maker of networks makes, with weights of a seed.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the seed; torch's own random state is left as it was.
    make : callable
    *given, **options
        What it takes.

    Returns
    -------
    torch.nn.Module
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        return make(*given, **options)
