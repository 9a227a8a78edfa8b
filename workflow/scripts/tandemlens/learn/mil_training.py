"""Training a classifier of bags of stamps, and scoring with it.

A system is mirrored and turned as a whole, all its stamps alike and their places with them. What it is trained on are
labelled systems, and if it is so set also systems without labels, taken as a mixture with a known share of positives.
"""

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

import tandemlens.learn.vision  # noqa: F401
from tandemlens.learn.bags import bag_loader
from tandemlens.learn.checkpoint import OWN, saying_lost_gpu
from tandemlens.learn.classifier import VIEWS
from tandemlens.learn.classifier import view as dihedral
from tandemlens.learn.nnpu import nnpu_loss
from tandemlens.learn.views import Views, plain_view, turn_directions

# isort: split
# after the cure of torchvision
from timm.optim import param_groups_layer_decay, param_groups_weight_decay

if TYPE_CHECKING:
    from tandemlens.learn.bags import BagBatch, Bags
    from tandemlens.learn.checkpoint import CheckpointFile
    from tandemlens.learn.joint import JointLoss
    from tandemlens.learn.pooling import BagClassifier

log = logging.getLogger("tandemlens")
#: natural logarithms of the temperatures that are tried
_TEMPERATURES = (-3.0, 7.0)
_REPORT = ("curve", "best_epoch", "ended")
#: what to do when the GPU goes
_LOST = "run again, training goes on from its last epoch, or set mil.device to cpu or a smaller mil.batch"


@dataclass(frozen=True)
class BagTraining:
    """How `train_bags` trains.

    Parameters
    ----------
    epochs : int
        Passes over the training systems.
    patience : int
        Training ends after so many passes without a new least loss on the stopping systems.
    minutes : float, min
        Training ends with the pass in which they are spent.
    batch : int
        Systems a step.
    learning_rate : float
        Peak of the one cycle (Smith & Topin 2017, arXiv:1708.07120) of all but the encoder's deeper layers.
    weight_decay : float
        Of AdamW; biases and norms are free of it.
    layer_decay : float
        Factor on the learning rate for every layer of the encoder on the way down from its output.
    balance : bool
        Weigh systems so that all classes count the same.
    precision : str
        full or bfloat16, for what is differentiated.
    unlabelled_weight : float
        Share of the loss that the non-negative risk of unlabelled systems has.
    prior : float
        Share of positives among them.
    workers : int
        Processes that read stamps ahead; 0 reads in between.
    """

    epochs: int
    patience: int
    minutes: float
    batch: int
    learning_rate: float
    weight_decay: float
    layer_decay: float
    balance: bool
    precision: str
    unlabelled_weight: float
    prior: float
    workers: int


@dataclass(frozen=True)
class BagRows:
    """Which bags are trained on and how.

    Parameters
    ----------
    classes : (n,) int ndarray
        Of every bag, 0 for what is looked for; of no meaning for the unlabelled.
    train, stop, unlabelled : (k,) int ndarray
        Rows to train on, rows whose loss picks the epoch, and rows without label.
    """

    classes: np.ndarray
    train: np.ndarray
    stop: np.ndarray
    unlabelled: np.ndarray


def train_bags(
    network: "BagClassifier",
    bags: "Bags",
    rows: BagRows,
    settings: BagTraining,
    views: dict[str, Any],
    rng: np.random.Generator,
    device: torch.device,
    progress: Callable[[int, int], None],
    joint: "JointLoss | None" = None,
    checkpoint: "CheckpointFile | None" = None,
) -> dict[str, Any]:
    """Train, and keep the epoch that does best on systems not trained on.

    All that is random in an epoch follows from the seed and its number, so that a training which was stopped goes on
    from the end of its last epoch to the same weights.

    Parameters
    ----------
    network : tandemlens.learn.pooling.BagClassifier
        Is left with the weights of the best epoch, on `device`.
    bags : tandemlens.learn.bags.Bags
    rows : BagRows
    settings : BagTraining
    views : dict
        Section ``views`` of the settings (`tandemlens.learn.views.Views`).
    rng : numpy.random.Generator
        Draws the seed; torch's own random state is left as it was.
    device : torch.device
    progress : callable
        Called with epochs done and epochs at most.
    joint : tandemlens.learn.joint.JointLoss, optional
        Further losses; what they add to the network is trained with it and thrown away.
    checkpoint : tandemlens.learn.checkpoint.CheckpointFile, optional
        Read at the start and written after every epoch.

    Returns
    -------
    dict
        ``curve`` (per epoch: train and stop loss), ``best_epoch`` (from 1; 0 where the loss is finite after no epoch),
        ``ended`` (why).

    Raises
    ------
    InputError
        If the GPU is lost.
    """
    network.to(device)
    seed, started = int(rng.integers(2**62)), time.monotonic()
    training = _Training(network, bags, rows, settings, device, joint)
    done = training.resume(checkpoint.read() if checkpoint else None)
    spent, first = done["seconds"], len(done["curve"])
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        saying_lost_gpu(device, lambda: f"in epoch {len(done['curve']) + 1}", _LOST),
    ):
        while not done["ended"]:
            epoch = len(done["curve"]) + 1
            training.epoch(epoch, views, seed, done)
            done["seconds"] = spent + time.monotonic() - started
            done["ended"] = _verdict(done, settings)
            if checkpoint:
                checkpoint.write(training.state(), done)
            progress(epoch, settings.epochs)
    if not done["best_epoch"]:
        done["ended"] = (
            f"training diverged: the loss is no finite number in any of {len(done['curve'])} epochs; lower "
            f"learning_rate, now {settings.learning_rate:g}"
        )
        return {name: done[name] for name in _REPORT}
    network.load_state_dict(training.best)
    seconds, trained = time.monotonic() - started, (len(done["curve"]) - first) * len(rows.train)
    log.info("%s after %.0f s on %s: %.0f systems/s", done["ended"], seconds, device, trained / seconds)
    return {name: done[name] for name in _REPORT}


def _verdict(done: dict[str, Any], settings: BagTraining) -> str:
    """Why training ends with this epoch; empty if it does not."""
    epoch, epochs = len(done["curve"]), settings.epochs
    if epoch == epochs:
        return f"all {epochs} epochs done"
    if epoch - done["best_epoch"] >= settings.patience:
        return f"no better for {settings.patience} epochs, in epoch {epoch} of {epochs}"
    if done["seconds"] > settings.minutes * 60:
        return f"the budget of {settings.minutes:g} min was spent in epoch {epoch} of {epochs}"
    return ""


class _Training:
    """Network, optimiser, schedule and loss of a training."""

    def __init__(
        self,
        network: "BagClassifier",
        bags: "Bags",
        rows: BagRows,
        settings: BagTraining,
        device: torch.device,
        joint: "JointLoss | None",
    ) -> None:
        self.network, self.bags, self.rows, self.settings = network, bags, rows, settings
        self.device, self.joint, self.n_steps = device, joint, -(-len(rows.train) // settings.batch)
        self.best: dict[str, torch.Tensor] = {}
        groups = parameter_groups(network, settings)
        self.classes = torch.tensor(rows.classes, device=device)
        counts = np.bincount(rows.classes[rows.train], minlength=network.classifier.out_features)
        weight = len(rows.train) / np.maximum(counts, 1) if settings.balance else np.ones(len(counts))
        self.weight = torch.tensor(weight, dtype=torch.float32, device=device)
        if joint is not None:
            groups.append({"params": joint.to(device).added(), "lr": settings.learning_rate, "weight_decay": 0.0})
            others = rows.train[rows.classes[rows.train] > 0]
            joint.fix_centre(torch.cat([pooled for _, _, pooled in self._seen(others)]))
        self.optimiser = torch.optim.AdamW(groups)
        peaks = [group["lr"] for group in groups]
        self.cycle = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, peaks, settings.epochs * self.n_steps)

    def resume(self, found: dict[str, Any] | None) -> dict[str, Any]:
        """Go on from a checkpoint, or begin where there is none; what is known of the epochs done."""
        if found is None:
            return {"curve": [], "best_epoch": 0, "ended": "", "seconds": 0.0}
        for name, part in self._parts().items():
            part.load_state_dict(found[name])
        self.best = found["best"]
        return {name: value for name, value in found[OWN].items() if name != "fingerprint"}

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {"best": self.best}

    def _parts(self) -> dict[str, Any]:
        # the joint loss holds the network's encoder
        parts = {"network": self.network, "optimiser": self.optimiser, "cycle": self.cycle}
        return parts | ({"joint": self.joint} if self.joint else {})

    def epoch(self, epoch: int, views: dict[str, Any], seed: int, done: dict[str, Any]) -> None:
        """One pass over the training systems, and what it brought."""
        rng = np.random.default_rng([seed, epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        draw = Views(views, torch.Generator(self.device).manual_seed(int(rng.integers(2**62))))
        entry = {"epoch": epoch, "train_loss": self._pass(rng, draw), "stop_loss": self._held_out()}
        least = min((e["stop_loss"] for e in done["curve"] if e["epoch"] == done["best_epoch"]), default=np.inf)
        done["curve"].append(entry)
        if entry["stop_loss"] < least:
            done["best_epoch"], self.best = epoch, copy.deepcopy(self.network.state_dict())

    def _pass(self, rng: np.random.Generator, draw: Views) -> float:
        """Train once on every system; the mean loss of a step."""
        self.network.train()
        total = 0.0
        for some in bag_loader(self.bags, self._batches(rng), self.settings.workers):
            batch = some.to(self.device)
            loss = self._step_loss(batch, draw)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.cycle.step()
            total += loss.item() / self.n_steps
        return total

    def _held_out(self) -> float:
        """Loss on the stopping systems, at their best temperature."""
        pooled = torch.cat([pooled for _, _, pooled in self._seen(self.rows.stop)])
        scores = self.network.classifier(pooled).detach().double()
        return tempered_entropy(scores, self.classes[self.rows.stop], self.weight.double())

    def _seen(self, rows: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        batch, workers = self.settings.batch, self.settings.workers
        seen = _outputs(self.network, self.bags, rows, batch, self.device, VIEWS[:1], workers)
        return [outputs for _, (outputs,) in seen]

    def _batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Rows of every step: training systems, and as many unlabelled ones where they have a share of the loss."""
        batches = np.array_split(rng.permutation(self.rows.train), self.n_steps)
        if self.settings.unlabelled_weight:
            batches = [np.r_[b, rng.choice(self.rows.unlabelled, len(b))] for b in batches]
        return batches

    def _step_loss(self, batch: "BagBatch", draw: Views) -> torch.Tensor:
        view = draw(batch.flux, batch.sigma, batch.mask, batch.bag)
        geometry = turn_directions(batch.geometry, self.bags.format.geometry, view.turn)
        with autocast(self.settings.precision, self.device):
            logits, _, pooled = self.network(view.x, geometry, batch.valid)
        n = len(batch.rows) // 2 if self.settings.unlabelled_weight else len(batch.rows)
        tandem = self.classes[batch.rows[:n]] == 0
        loss = self._entropy(pooled[:n].float(), batch.rows[:n])
        # the risk needs a positive; a step that drew none does without
        if self.settings.unlabelled_weight and tandem.any():
            share, logits = self.settings.unlabelled_weight, logits.float()
            loss = (1 - share) * loss + share * nnpu_loss(logits[:n][tandem], logits[n:], self.settings.prior)[0]
        if self.joint is None:
            return loss
        second = draw(batch.flux, batch.sigma, batch.mask, batch.bag)
        with autocast(self.settings.precision, self.device):
            return self.joint(loss, view.x, second.x, pooled[:n], ~tandem)

    def _entropy(self, pooled: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        return cross_entropy(self.network.classifier(pooled), self.classes[rows], self.weight)


def tempered_entropy(scores: torch.Tensor, classes: torch.Tensor, weight: torch.Tensor) -> float:
    """Cross-entropy at the temperature at which it is least (Guo et al. 2017, arXiv:1706.04599).

    A network that trains on goes on to tell classes apart for long after it has become too sure of itself. Its scores
    are calibrated later, so that only the first counts.

    Parameters
    ----------
    scores : (n, c) Tensor
    classes : (n,) int Tensor
    weight : (c,) Tensor
        Of the classes.

    Returns
    -------
    float
        Not above that of scores that are all alike, but for rounding; NaN where scores are.
    """
    if not scores.isfinite().all():
        return np.nan

    def entropy(log_temperature: float) -> float:
        return cross_entropy(scores / np.exp(log_temperature), classes, weight).item()

    return float(minimize_scalar(entropy, bounds=_TEMPERATURES, method="bounded").fun)


def parameter_groups(network: "BagClassifier", settings: BagTraining) -> list[dict[str, Any]]:
    """Parameters in groups of one learning rate and weight decay; what is frozen is left out.

    Parameters
    ----------
    network : tandemlens.learn.pooling.BagClassifier
    settings : BagTraining

    Returns
    -------
    list of dict
        As `torch.optim.AdamW` takes them.
    """
    decay, rate = settings.weight_decay, settings.learning_rate
    encoder = param_groups_layer_decay(network.encoder.backbone, decay, layer_decay=settings.layer_decay)
    rest = torch.nn.ModuleDict({name: part for name, part in network.named_children() if name != "encoder"})
    return [
        {"params": group["params"], "weight_decay": group["weight_decay"], "lr": rate * group.get("lr_scale", 1.0)}
        for group in encoder + param_groups_weight_decay(rest, decay)
    ]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Context in which a network computes in bfloat16, or as it is for full precision.

    Parameters
    ----------
    precision : str
        full or bfloat16.
    device : torch.device

    Returns
    -------
    context manager
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def score_bags(
    network: "BagClassifier",
    bags: "Bags",
    rows: np.ndarray,
    batch: int,
    device: torch.device,
    views: Sequence[tuple[bool, bool, bool]],
    workers: int = 0,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits and attention, the mean over views.

    Parameters
    ----------
    network : tandemlens.learn.pooling.BagClassifier
    bags : tandemlens.learn.bags.Bags
    rows : (n,) int ndarray
    batch : int
    device : torch.device
    views : list of tuple of bool
        Of `tandemlens.learn.classifier.VIEWS`.
    workers : int
        Processes that read ahead.

    Returns
    -------
    logits : (n,) float ndarray
    attention : list of (k,) float ndarray
        Of the stamps of every bag, of sum 1.
    """
    network.to(device)
    logits, attention = [], []
    for some, seen in _outputs(network, bags, rows, batch, device, views, workers):
        logits.append(torch.stack([outputs[0] for outputs in seen]).mean(0).cpu().numpy())
        mean = torch.stack([outputs[1] for outputs in seen]).mean(0)
        attention += [weights[there].cpu().numpy() for weights, there in zip(mean, some.valid, strict=True)]
    return np.concatenate([np.zeros(0), *logits]), attention


@torch.no_grad()
def _outputs(
    network: "BagClassifier",
    bags: "Bags",
    rows: np.ndarray,
    batch: int,
    device: torch.device,
    views: Sequence[tuple[bool, bool, bool]],
    workers: int = 0,
) -> "Iterator[tuple[BagBatch, list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]]":
    """Batches, and what the network makes of each of some of their views."""
    network.eval()
    for some in bag_loader(bags, [rows[k : k + batch] for k in range(0, len(rows), batch)], workers):
        there = some.to(device)
        x = plain_view(there.flux, there.sigma, there.mask).x
        seen = []
        for mirrored in views:
            matrix = _matrix(mirrored, device).expand(len(x), 2, 2)
            geometry = turn_directions(there.geometry, bags.format.geometry, matrix)
            seen.append(network(dihedral(x, *mirrored), geometry, there.valid))
        yield there, seen


def _matrix(mirrored: tuple[bool, bool, bool], device: torch.device) -> torch.Tensor:
    """What `tandemlens.learn.classifier.view` does to directions (x, y)."""
    left_right, up_down, transposed = mirrored
    matrix = torch.diag(torch.tensor([-1.0 if left_right else 1.0, -1.0 if up_down else 1.0], device=device))
    return matrix.flip(0) if transposed else matrix
