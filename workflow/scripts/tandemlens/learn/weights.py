"""Weights of networks on disk: tensors alone, which cannot run code when they are read."""

from typing import TYPE_CHECKING

from safetensors.torch import save_file

from tandemlens.base.atomic import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def save_weights(path: "str | Path", state: "dict[str, torch.Tensor]") -> None:
    """Write tensors, atomically.

    Parameters
    ----------
    path : str or Path
    state : dict of torch.Tensor
        As from ``state_dict``, on any device.
    """
    with atomic_path(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary)
