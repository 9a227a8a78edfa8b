"""One self-supervised training as lightning runs it: steps, schedules, monitors and checkpoints.

All that is random in a step follows from the seed and the numbers of epoch and step, so that training which was stopped
at any point goes on from the end of the last epoch to the same weights.
"""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.warnings import PossibleUserWarning
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from tandemlens.base.atomic import atomic_path
from tandemlens.base.errors import InputError
from tandemlens.base.warning_filters import warning_filters
from tandemlens.learn.checkpoint import OWN, read_checkpoint, saying_lost_gpu
from tandemlens.learn.classifier import reproducible
from tandemlens.learn.views import Views

# isort: split
# after the cure of torchvision
from lightly.utils.scheduler import CosineWarmupScheduler
from timm.optim import param_groups_weight_decay

if TYPE_CHECKING:
    from pathlib import Path

    from tandemlens.learn.generator import GeneratorTask
    from tandemlens.learn.lens_pairs import LensPairs
    from tandemlens.learn.positives import Positives
    from tandemlens.learn.stream import StampBatch

log = logging.getLogger("tandemlens")
#: norm of the gradient above which it is cut
_CLIP = 1.0
#: spread of vectors (1 on a sphere) below which they are all alike
COLLAPSED = 0.3
#: what to do when the GPU goes
_LOST = "run again, training goes on from its last epoch, or set pretrain.device to cpu or a smaller pretrain.batch"


@dataclass(frozen=True)
class TaskSettings:
    """How `run_task` trains.

    Parameters
    ----------
    epochs : int
    minutes : float, min
        Training ends with the epoch in which they are spent, those before a stop counted.
    batch : int
        Stamps that are contrasted with each other, on each device.
    accumulate : int
        Batches a step.
    learning_rate, weight_decay : float
        Of AdamW; biases and norms do not decay.
    warmup : float
        Share of the steps in which the learning rate rises; then it falls as a cosine.
    same_lens : float
        Share of a batch that is replaced by pairs of systems of one lens, where there are any.
    probe_every : int
        Epochs between probes; 0 for none.
    workers : int
        Processes that read stamps, on each device.
    devices : int
    precision : str
        full, or bfloat16 on a GPU that has it.
    compile : bool
        Whether torch compiles the encoder, on a GPU.
    """

    epochs: int
    minutes: float
    batch: int
    accumulate: int
    learning_rate: float
    weight_decay: float
    warmup: float
    same_lens: float
    probe_every: int
    workers: int
    devices: int
    precision: str
    compile: bool


def spread(vectors: torch.Tensor) -> torch.Tensor:
    """How different unit vectors are: 1 where they fill a sphere, 0 where all are alike.

    Parameters
    ----------
    vectors : (n, d) Tensor

    Returns
    -------
    () Tensor
        Mean over the dimensions of the standard deviation of z / |z|, times sqrt(d) (SimSiam, arXiv:2011.10566).
    """
    return normalize(vectors.float(), dim=1).std(0).mean() * vectors.shape[1] ** 0.5


class PretrainTask(lightning.LightningModule):
    """A method of `tandemlens.learn.pretext` with what it is trained on.

    Parameters
    ----------
    pretext : torch.nn.Module
        From `create_pretext`.
    open_stream : callable
        Gives the `StampStream` of part (rank, number of devices).
    settings : TaskSettings
    views : dict
        Section ``views`` of the settings.
    seed : int
    fingerprint : str
        Of all that decides the weights; a checkpoint of another one is not used.
    pairs : tandemlens.learn.lens_pairs.LensPairs, optional
    positives : tandemlens.learn.positives.Positives, optional
    probes : callable, optional
        Gives a dict of numbers for encoder and device.
    progress : callable
        Called with epochs done and epochs at most.

    Attributes
    ----------
    curve : list of dict
        Per epoch: loss, spread, and what the probes found.
    ended : str
        Why training ended; empty before.
    failed : bool
        Whether it ended with weights that are of no use.

    Raises
    ------
    InputError
        If there are too few stamps for one step.
    """

    def __init__(
        self,
        pretext: torch.nn.Module,
        open_stream: Callable[..., Any],
        settings: TaskSettings,
        views: dict[str, Any],
        seed: int,
        fingerprint: str,
        progress: Callable[[int, int], None],
        pairs: "LensPairs | None" = None,
        probes: Callable[..., Any] | None = None,
        positives: "Positives | None" = None,
    ) -> None:
        super().__init__()
        self.pretext = pretext
        self._open_stream, self._settings, self._views, self._seed = open_stream, settings, views, seed
        self.fingerprint, self._progress = fingerprint, progress
        self._pairs, self._probes, self._positives = pairs, probes, positives
        self._loader: DataLoader[StampBatch] | None = None
        self.curve: list[dict[str, Any]] = []
        self.ended, self.failed, self._seconds = "", False, 0.0
        self.n_stamps = open_stream((0, 1)).n_stamps
        self.batches = self.n_stamps // (settings.batch * settings.devices)
        if self.batches < settings.accumulate:
            raise InputError(
                f"{self.n_stamps} stamps are too few for a step of {settings.devices} x {settings.accumulate} x "
                f"{settings.batch}; make pretrain.batch or accumulate smaller, or enlarge the samples"
            )
        self.steps = settings.epochs * -(-self.batches // settings.accumulate)

    def train_dataloader(self) -> "DataLoader[StampBatch]":
        """Batches of the coming epoch."""
        if self._loader is None:
            stream, workers = self._open_stream((self.global_rank, self.trainer.world_size)), self._settings.workers
            # processes that outlive an epoch start once
            options = {"num_workers": workers, "persistent_workers": workers > 0}
            self._loader = DataLoader(stream, batch_size=None, pin_memory=self.device.type == "cuda", **options)
        self._loader.dataset.set_epoch(self.current_epoch)
        return self._loader

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, with a learning rate that rises and falls."""
        groups = param_groups_weight_decay(self.pretext, self._settings.weight_decay)
        optimiser = torch.optim.AdamW(groups, self._settings.learning_rate)
        warmup = min(int(self._settings.warmup * self.steps), self.steps - 1)
        schedule = CosineWarmupScheduler(optimiser, warmup, self.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Begin to add up."""
        self._started, self._sums = time.monotonic(), torch.zeros(3, device=self.device, dtype=torch.float64)

    def training_step(self, batch: "StampBatch", number: int) -> torch.Tensor:
        """Loss of a batch."""
        rng = np.random.default_rng([self._seed, self.current_epoch, number, self.global_rank])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        views = Views(self._views, generator)
        planes, others = self._pair(batch, rng)
        first = views(*planes)
        second = views(*others) if self.pretext.compares else first
        loss, vectors = self.pretext(first.x, second.x, first.valid, generator, **self._third(batch, views, rng))
        self._sums += torch.stack([loss.detach(), spread(vectors), torch.ones_like(loss)]).double()
        return loss

    def _third(self, batch: "StampBatch", views: Views, rng: np.random.Generator) -> dict[str, Any]:
        """Views of synthetic positives, and whose they are, where there are any."""
        if self._positives is None:
            return {}
        whose, flux = self._positives.draw(batch.number.cpu().numpy(), rng)
        whose = whose.to(self.device)
        return {"third": views(flux.to(self.device), batch.sigma[whose], batch.mask[whose]).x, "whose": whose}

    def _pair(
        self, batch: "StampBatch", rng: np.random.Generator
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Stamps of the first and of the second views; some of a batch may be of two systems with one lens."""
        own = batch.flux, batch.sigma, batch.mask
        if self._pairs is None:
            return own, own
        n = len(batch.flux)
        replaced = round(self._settings.same_lens * n)
        drawn = self._pairs.draw(replaced, rng)
        names = ("flux", "sigma", "mask")
        others = [[torch.from_numpy(getattr(stamps, name)).to(self.device) for name in names] for stamps in drawn]
        first, second = (
            tuple(torch.cat([a[: n - replaced], b]) for a, b in zip(own, other, strict=True)) for other in others
        )
        return first, second

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """A step, and what follows the weights."""
        step = self.trainer.global_step
        optimizer.step(closure=optimizer_closure)
        self.pretext.after_step(min(step, self.steps), self.steps)

    def on_train_epoch_end(self) -> None:
        """Note what the epoch has brought, and whether it was the last one."""
        loss, alike, n = self.all_gather(self._sums).reshape(-1, 3).sum(0).tolist()
        epoch, settings = self.current_epoch + 1, self._settings
        entry = {"epoch": epoch, "loss": loss / n, "spread": alike / n}
        last = epoch == settings.epochs
        if self._probes and settings.probe_every and (epoch % settings.probe_every == 0 or last):
            if self.trainer.is_global_zero:
                entry |= self._probes(self.pretext.encoder, self.device)
            entry = self.trainer.strategy.broadcast(entry)
        self.curve.append(entry)
        self._seconds += time.monotonic() - self._started
        self.ended, self.failed = self.trainer.strategy.broadcast(self._verdict(entry, last))
        self.trainer.should_stop = bool(self.ended)
        if self.trainer.is_global_zero:
            log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in entry.items() if value is not None))
            self._progress(epoch, settings.epochs)

    def _verdict(self, entry: dict[str, float], last: bool) -> tuple[str, bool]:
        """Why training ends with this epoch, if it does, and whether its weights are of no use."""
        epoch, settings = entry["epoch"], self._settings
        if not np.isfinite(entry["loss"]):
            rate = settings.learning_rate
            return (
                f"training diverged: the loss of epoch {epoch} is no finite number; lower learning_rate {rate:g}",
                True,
            )
        if self.pretext.monitored and entry["spread"] < COLLAPSED:
            return (
                f"training collapsed: vectors of all stamps are alike in epoch {epoch} (spread {entry['spread']:.2g}, "
                f"at least {COLLAPSED} is wanted); lower learning_rate, raise batch, or take mae"
            ), True
        if last:
            return f"all {settings.epochs} epochs done", False
        if self._seconds > settings.minutes * 60:
            return f"the budget of {settings.minutes:g} min was spent in epoch {epoch} of {settings.epochs}", False
        return "", False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is not a weight."""
        names = {"curve": self.curve, "ended": self.ended, "failed": self.failed, "seconds": self._seconds}
        checkpoint[OWN] = {"fingerprint": self.fingerprint, **names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there."""
        own = checkpoint[OWN]
        self.curve, self.ended, self.failed = own["curve"], own["ended"], own["failed"]
        self._seconds = own["seconds"]


def run_task(task: PretrainTask, device: torch.device, path: "Path", settings: TaskSettings, threads: int) -> None:
    """Train, from the last checkpoint where there is one of this training; `task` is left as it ends.

    Parameters
    ----------
    task : PretrainTask
    device : torch.device
    path : pathlib.Path
        Checkpoint, written at the end of every epoch.
    settings : TaskSettings
    threads : int
        Of the CPU.

    Raises
    ------
    InputError
        If the GPU is lost.
    """
    found = read_checkpoint(path, task.fingerprint)
    if not (found and found[OWN]["ended"]):
        _train(task, device, path, settings, threads, str(path) if found else None)
    # several devices train copies of the task: the file holds how they ended
    found = torch.load(path, "cpu", weights_only=True)
    task.load_state_dict(found["state_dict"])
    task.on_load_checkpoint(found)


def _train(
    task: "GeneratorTask", device: torch.device, path: "Path", settings: TaskSettings, threads: int, resumed: str | None
) -> None:
    gpu = device.type == "cuda"
    # what devices there are, and what else one might install
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if settings.compile and gpu:
        task.pretext.encoder.compile()
    # processes for several devices are forked, which they cannot be once the GPU has been asked what it can do
    half = gpu and settings.precision == "bfloat16" and (settings.devices > 1 or torch.cuda.is_bf16_supported())
    trainer = lightning.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=settings.devices,
        # a script that Snakemake runs cannot be started once more
        strategy="auto" if settings.devices == 1 else "ddp_fork",
        precision="bf16-mixed" if half else 32,
        max_epochs=settings.epochs,
        limit_train_batches=task.batches,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=_CLIP,
        sync_batchnorm=gpu and settings.devices > 1,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        callbacks=[_EveryEpoch(path)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=path.parent,
        # the job has its devices: lightning is not to ask SLURM for tasks
        plugins=[LightningEnvironment()],
    )
    # advice about numbers of workers, which are a setting, and lightning's use of a part of torch that is to go
    with (
        reproducible(device, threads),
        warning_filters(ignore=(PossibleUserWarning, FutureWarning)),
        saying_lost_gpu(device, lambda: f"in epoch {len(task.curve) + 1}", _LOST),
    ):
        trainer.fit(task, ckpt_path=resumed, weights_only=True)


class _EveryEpoch(Checkpoint):
    """Writes the checkpoint whole or not at all."""

    def __init__(self, path: "Path") -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: "GeneratorTask") -> None:
        """Every device takes part, and the first one writes."""
        with atomic_path(self._path) if trainer.is_global_zero else nullcontext(self._path) as place:
            trainer.save_checkpoint(place)
