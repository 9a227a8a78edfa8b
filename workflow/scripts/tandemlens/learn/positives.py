"""Synthetic positives of stamps, made before the training that asks for them (CLSP, Zeng et al. 2024)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch

from tandemlens.base.atomic import atomic_path
from tandemlens.base.errors import InputError
from tandemlens.base.stage import target_rng
from tandemlens.learn.augment import Maker, settings_of
from tandemlens.learn.classifier import pick_device, reproducible
from tandemlens.learn.conditions import physical
from tandemlens.learn.generator import load_generator
from tandemlens.learn.stamps import open_stamps

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("tandemlens")
#: numbers that a seed is told apart by from others of the run
_STREAM = 8


def make_positives(
    stamps_path: str,
    systems: "pd.DataFrame",
    folds: "pd.DataFrame",
    generator_dir: str,
    out_path: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Make the positives of a shard: other stamps whose colours, and what the network sees of them at large, are alike.

    Parameters
    ----------
    stamps_path : str
        stamps.h5 of a shard of the training sample.
    systems, folds : pandas.DataFrame
        systems.parquet of the shard, and folds.parquet.
    generator_dir : str
        models/generator.
    out_path : str
        positives.h5: ``flux`` (n, band, s, s) float16, as in stamps.h5, and ``row`` (n,) int64, the row there of the
        stamp that each is a positive of; attributes ``sampled`` and ``accepted``.
    cfg : dict
        Section ``augment`` of the settings, ``candidates`` (of a stamp), ``share`` (of the stamps), ``seed`` and
        ``threads``.
    progress : callable
        Called with systems done and systems in all.

    Raises
    ------
    InputError
        If there is no generator.
    """
    device = pick_device(cfg["device"])
    limits, sampling = settings_of(cfg)
    # a positive may be anything that has the colours
    limits = replace(limits, flux=np.inf, length=np.inf, turn_deg=np.inf)
    role, flux, rows, sampled = folds.set_index("target_id")["role"], [], [], 0
    with open_stamps(stamps_path) as file, reproducible(device, cfg["threads"]):
        generator = load_generator(generator_dir, stamps_path, file.format)
        generator.denoiser.to(device)
        maker = Maker(generator, physical(systems), limits, sampling, cfg, file.centre_arcsec)
        for k, name in enumerate(file.target_ids):
            progress(k + 1, len(file.target_ids))
            rng = target_rng(name, cfg["seed"], _STREAM)
            chosen = np.flatnonzero(rng.uniform(size=file.start[k + 1] - file.start[k]) < cfg["share"])
            if role.get(name) != "train" or not len(chosen):
                continue
            chosen = np.repeat(chosen, cfg["candidates"])
            system = file.system(k)
            stamps = system[chosen]
            new = maker.draw(name, "generated", stamps, None, maker.noise(system), maker.torch_rng(rng))
            good = [not maker.refused(stamps[i], image) for i, image in enumerate(new)]
            sampled += len(new)
            flux.append(new[good])
            rows.append(file.start[k] + chosen[good])
        shape = (0, len(file.format.bands), file.format.pixels, file.format.pixels)
    accepted = sum(map(len, rows))
    if sampled and not accepted:
        log.warning(
            "none of %d synthetic positives keeps its colours: train the generator longer, or widen augment.accept",
            sampled,
        )
    with atomic_path(out_path) as temporary, h5py.File(temporary, "w") as out:
        out["flux"] = np.concatenate([np.zeros(shape, np.float16), *flux])
        out["row"] = np.concatenate([np.zeros(0, np.int64), *rows])
        out.attrs.update({"sampled": sampled, "accepted": accepted})


class Positives:
    """The positives of all stamps of some shards, held in memory.

    Parameters
    ----------
    stamps_paths, paths : list of str
        stamps.h5 and positives.h5 of the same shards, the first ones of the training's stream.

    Raises
    ------
    InputError
        If there are none.
    """

    def __init__(self, stamps_paths: Sequence[str], paths: Sequence[str]) -> None:
        flux, numbers, first = [], [], 0
        for stamps_path, path in zip(stamps_paths if paths else [], paths, strict=True):
            with open_stamps(stamps_path) as file, h5py.File(path, "r") as made:
                flux.append(made["flux"][:])
                numbers.append(first + made["row"][:])
                first += len(file)
        numbers = np.concatenate([np.zeros(0, np.int64), *numbers])
        if not len(numbers):
            raise InputError(
                "pretrain.method clsp has no synthetic positive: none was made or accepted; train the generator "
                "longer, widen augment.accept, or take moco"
            )
        order = np.argsort(numbers, kind="stable")
        self._flux, self._numbers = torch.from_numpy(np.concatenate(flux)[order]), numbers[order]

    def __len__(self) -> int:
        """Number of positives."""
        return len(self._numbers)

    def draw(self, numbers: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A positive of every stamp that has any.

        Parameters
        ----------
        numbers : (n,) int ndarray
            Places of stamps in the stream.
        rng : numpy.random.Generator

        Returns
        -------
        whose : (m,) int64 Tensor
            Which of the stamps.
        flux : (m, band, s, s) float16 Tensor
        """
        low, high = (np.searchsorted(self._numbers, numbers, side) for side in ("left", "right"))
        whose = np.flatnonzero(high > low)
        return torch.from_numpy(whose), self._flux[rng.integers(low[whose], high[whose])]
