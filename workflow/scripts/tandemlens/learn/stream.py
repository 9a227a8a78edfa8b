"""Stamps of many shards as a stream of shuffled batches, in bounded memory and with any number of workers."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from tandemlens.learn.stamps import Stamps, open_stamps, stamp_blocks

if TYPE_CHECKING:
    from tandemlens.learn.stamps import Block

#: rows of a block: reading one costs little more than opening the file, and a pool mixes many of them
_BLOCK = 64


class StampBatch(NamedTuple):
    """A batch of stamps as tensors; the columns of `tandemlens.learn.stamps.Stamps`.

    Parameters
    ----------
    flux, sigma : (n, band, s, s) float16 tensor
    mask : (n, band, s, s) bool tensor
    geometry : (n, g) float32 tensor
    number : (n,) int64 tensor
        Place of the stamp among all stamps of all files, in their order.
    """

    flux: torch.Tensor
    sigma: torch.Tensor
    mask: torch.Tensor
    geometry: torch.Tensor
    number: torch.Tensor


class StampStream(IterableDataset):
    """Batches of stamps of many shards in random order.

    Every stamp comes once an epoch. Blocks of neighbouring rows are shuffled over all shards and dealt to the workers;
    each fills a pool with blocks, shuffles it, and gives it away in batches. The order follows from seed, epoch and
    number of workers, the set of stamps from none of them. Use with ``DataLoader(stream, batch_size=None)``.

    Parameters
    ----------
    paths : list of str
        stamps.h5 of the shards. They are opened by the process that reads, a block at a time.
    batch : int
    seed : int
    pool : int
        Largest number of stamps that a worker shuffles together; at least `batch` and a block of 64.
    wanted : set of str, optional
        Only the stamps of these targets.
    drop_last : bool
        Leave out what does not fill a batch at the end of a worker's share.
    part : (int, int)
        Which of how many equal parts of the blocks, for several processes that train together. Of more than one every
        part gives the same number of batches, so `drop_last` holds, and what one has more is left out.

    Attributes
    ----------
    format : tandemlens.learn.stamps.Format
    n_stamps : int
        In all parts.
    """

    def __init__(
        self,
        paths: list[str],
        batch: int,
        seed: int,
        pool: int = 2048,
        wanted: set[str] | None = None,
        drop_last: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self._blocks, self.format = stamp_blocks(paths, _BLOCK, wanted)
        self.n_stamps = sum(map(len, self._blocks))
        self._batch, self._seed, self._pool = batch, seed, max(pool, batch + _BLOCK)
        self._part, self._whole = part, drop_last or part[1] > 1
        # in shared memory, so that workers that outlive an epoch hear of the next one
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; call it before each.

        Parameters
        ----------
        epoch : int
        """
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[StampBatch]:
        """Batches of one epoch, or the share of them of the worker that asks.

        Yields
        ------
        StampBatch
        """
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch = int(self._epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._blocks))
        rank, parts = self._part
        shares = [[self._blocks[k] for k in order[p * workers + number :: parts * workers]] for p in range(parts)]
        rng = np.random.default_rng([self._seed, epoch, rank, number])
        found = _batches(shares[rank], self._batch, self._pool, rng)
        if self._whole:
            found = islice(found, min(sum(map(len, share)) for share in shares) // self._batch)
        for stamps, numbers in found:
            arrays = (stamps.flux, stamps.sigma, stamps.mask, stamps.geometry, numbers)
            yield StampBatch(*map(torch.from_numpy, arrays))


def _batches(
    blocks: "list[Block]", batch: int, pool: int, rng: np.random.Generator
) -> Iterator[tuple[Stamps, np.ndarray]]:
    """Shuffled batches of the stamps of some blocks, and their numbers; at most `pool` stamps are held at a time."""
    held, n = [], 0
    for k, block in enumerate(blocks):
        with open_stamps(block.path) as file:
            held.append((file.read(block.low, block.high), block.first + np.arange(len(block))))
        n += len(block)
        last = k == len(blocks) - 1
        if n + _BLOCK <= pool and not last:
            continue
        stamps, numbers = Stamps.concatenate([s for s, _ in held]), np.concatenate([m for _, m in held])
        order = rng.permutation(n)
        stop = n if last else n - n % batch
        for low in range(0, stop, batch):
            rows = order[low : min(low + batch, stop)]
            yield stamps[rows], numbers[rows]
        held, n = [(stamps[order[stop:]], numbers[order[stop:]])], n - stop
