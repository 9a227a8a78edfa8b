"""Training a network on images in two classes, and scoring with it.

Nothing on the sky tells a system from its mirror image or its turn by 90 degrees: training draws one of these eight
views of every image, and a score is the mean over all eight.
"""

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tandemlens.base.errors import InputError

log = logging.getLogger("tandemlens")
#: mirrored left to right, mirrored top to bottom, transposed
VIEWS = [(x, y, t) for x in (False, True) for y in (False, True) for t in (False, True)]


@dataclass(frozen=True)
class TrainingSettings:
    """How `train_classifier` trains.

    Parameters
    ----------
    epochs : int
        Passes over the training images.
    minutes : float, min
        Training ends with the epoch in which they are spent.
    batch : int
        Images a step.
    learning_rate : float
        Peak of the one cycle (Smith & Topin 2017, arXiv:1708.07120).
    weight_decay : float
        Of AdamW.
    """

    epochs: int
    minutes: float
    batch: int
    learning_rate: float
    weight_decay: float


def pick_device(wanted: str) -> torch.device:
    """Device to compute on.

    Parameters
    ----------
    wanted : str
        ``cpu``, ``cuda``, or ``auto``: cuda where there is one.

    Returns
    -------
    torch.device

    Raises
    ------
    InputError
        If a GPU is asked for and none is seen.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError("the device cuda is asked for but torch sees no GPU; set device to auto or cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


@contextmanager
def reproducible(device: torch.device, threads: int) -> Iterator[Any]:
    """Compute with so many threads, in full single precision, and alike every time; settings are put back at the end.

    Parameters
    ----------
    device : torch.device
    threads : int
        Of the CPU.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    # on a GPU this would refuse cuBLAS unless the environment is set before the start; cuDNN has a switch of its own
    torch.use_deterministic_algorithms(device.type == "cpu")
    try:
        # TensorFloat-32, which cuDNN takes by itself, would move scores by parts in a thousand from those of a CPU
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def view(
    images: torch.Tensor, left_right: bool | torch.Tensor, up_down: bool | torch.Tensor, transposed: bool | torch.Tensor
) -> torch.Tensor:
    """Mirror and transpose images, all alike or each in its own way.

    Parameters
    ----------
    images : (n, band, side, side) Tensor
    left_right, up_down, transposed : bool or (n,) bool Tensor

    Returns
    -------
    Tensor
    """
    chosen = [torch.as_tensor(c, device=images.device).reshape(-1, 1, 1, 1) for c in (left_right, up_down, transposed)]
    images = torch.where(chosen[0], images.flip(-1), images)
    images = torch.where(chosen[1], images.flip(-2), images)
    return torch.where(chosen[2], images.transpose(-1, -2), images)


def train_classifier(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: np.ndarray,
    train: np.ndarray,
    stop: np.ndarray,
    settings: TrainingSettings,
    rng: np.random.Generator,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train by cross-entropy, and keep the epoch that does best on images not trained on.

    Parameters
    ----------
    network : torch.nn.Module
        (n, band, side, side) to (n, 1); is left with the weights of the best epoch, on `device`.
    images : (n, band, side, side) float16 Tensor
    labels : (n,) bool ndarray
    train, stop : (k,) int ndarray
        Rows to train on, and rows whose log loss picks the epoch.
    settings : TrainingSettings
    rng : numpy.random.Generator
    device : torch.device
    progress : callable
        Called with epochs done and epochs at most.

    Returns
    -------
    dict
        ``curve`` (per epoch: train and stop log loss), ``best_epoch`` (from 1), ``ended`` (why).

    Raises
    ------
    InputError
        If the log loss is finite after no epoch.
    """
    started = time.monotonic()
    network.to(device)
    target = torch.tensor(np.asarray(labels, np.float32), device=device)
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    n_steps = -(-len(train) // settings.batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, settings.epochs * n_steps)
    curve, best, ended = [], {"stop_loss": np.inf}, f"all {settings.epochs} epochs done"
    for epoch in range(1, settings.epochs + 1):
        network.train()
        total = 0.0
        # batches of nearly one size: batch normalisation cannot work on one image
        for rows in np.array_split(rng.permutation(train), n_steps):
            draw = torch.as_tensor(rng.integers(2, size=(3, len(rows))) == 1, device=device)
            loss = _loss(network(view(_batch(images, rows, device), *draw)), target[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
            total += loss.item() * len(rows)
        held_out = _loss(_logits(network, images, stop, settings.batch, device, VIEWS[:1]), target[stop]).item()
        curve.append({"epoch": epoch, "train_loss": total / len(train), "stop_loss": held_out})
        if held_out < best["stop_loss"]:
            best, weights = curve[-1], copy.deepcopy(network.state_dict())
        progress(epoch, settings.epochs)
        if time.monotonic() - started > settings.minutes * 60 and epoch < settings.epochs:
            ended = f"the budget of {settings.minutes:g} min was spent in epoch {epoch} of {settings.epochs}"
            break
    if "epoch" not in best:
        raise InputError(
            f"training diverged: the log loss is no finite number in any of {len(curve)} epochs; lower learning_rate, "
            f"now {settings.learning_rate:g}"
        )
    network.load_state_dict(weights)
    seconds = time.monotonic() - started
    log.info("%s after %.0f s on %s: %.0f images/s", ended, seconds, device, len(curve) * len(train) / seconds)
    return {"curve": curve, "best_epoch": best["epoch"], "ended": ended}


def score_images(network: torch.nn.Module, images: torch.Tensor, batch: int, device: torch.device) -> np.ndarray:
    """Logits, the mean over the eight views.

    Parameters
    ----------
    network : torch.nn.Module
    images : (n, band, side, side) float16 Tensor
    batch : int
    device : torch.device

    Returns
    -------
    (n,) float ndarray
    """
    network.to(device)
    return _logits(network, images, np.arange(len(images)), batch, device, VIEWS).cpu().numpy().astype(float)


@torch.no_grad()
def _logits(
    network: torch.nn.Module,
    images: torch.Tensor,
    rows: np.ndarray,
    batch: int,
    device: torch.device,
    views: list[tuple[bool, bool, bool]],
) -> torch.Tensor:
    network.eval()
    out = torch.zeros(len(rows), device=device)
    for start in range(0, len(rows), batch):
        some = _batch(images, rows[start : start + batch], device)
        out[start : start + batch] = torch.stack([network(view(some, *v)).squeeze(-1) for v in views]).mean(0)
    return out


def _batch(images: torch.Tensor, rows: np.ndarray, device: torch.device) -> torch.Tensor:
    return images[rows].to(device).float()


def _loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits.reshape(-1), target)
