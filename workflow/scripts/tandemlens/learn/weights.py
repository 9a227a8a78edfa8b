"""Weights of networks on disk: tensors alone, which cannot run code when they are read."""

from safetensors.torch import save_file

from tandemlens.base.atomic import atomic_path


def save_weights(path, state):
    """Write tensors, atomically.

    Parameters
    ----------
    path : str or Path
    state : dict of torch.Tensor
        As from ``state_dict``, on any device.
    """
    with atomic_path(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary)
