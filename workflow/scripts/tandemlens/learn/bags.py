"""Bags of stamps from stamps.h5, in batches; those of a small sample are held in memory, others read when they are due.

A stamp without a valid pixel, or with one that is no number, is no member of its bag. A bag may therefore be empty;
`Bags.filled` tells which are not.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tandemlens.learn.stamps import Stamps, open_stamps, stamp_blocks

log = logging.getLogger("tandemlens")
#: rows of a block, of which only the format is looked at
_BLOCK = 4096
#: bytes of pixels that are held: unpacking them again in every epoch takes a third of the time of a small network
_MOST_HELD = 2**29


@dataclass(frozen=True)
class BagBatch:
    """Bags behind one another; only their features are ever padded.

    Parameters
    ----------
    rows : (b,) int ndarray
        Which bags.
    flux, sigma : (n, band, side, side) float16 Tensor
    mask : (n, band, side, side) bool Tensor
    geometry : (n, g) Tensor
    valid : (b, k) bool Tensor
        A row a bag, with as many places filled from the left as it has stamps; n in all.
    """

    rows: np.ndarray
    flux: torch.Tensor
    sigma: torch.Tensor
    mask: torch.Tensor
    geometry: torch.Tensor
    valid: torch.Tensor

    @property
    def bag(self) -> torch.Tensor:
        """Number of the bag of every stamp, (n,) int64 Tensor."""
        return self.valid.nonzero()[:, 0]

    def to(self, device: torch.device) -> "BagBatch":
        """On a device."""
        tensors = (getattr(self, name) for name in ("flux", "sigma", "mask", "geometry", "valid"))
        return BagBatch(self.rows, *(tensor.to(device) for tensor in tensors))


class Bags(Dataset):
    """The bags of all targets of some shards.

    Parameters
    ----------
    paths : list of str
        stamps.h5 of every shard; a file is open only while a system is read. Systems are held, in their order, until
        they take half a gigabyte.
    wanted : set of str, optional
        Only these targets.
    other_paths : sequence of str
        Shards of another sample, of which all targets come after them.

    Attributes
    ----------
    format : tandemlens.learn.stamps.Format
    target_ids : list of str
    labels : list of (k,) int ndarray
        Segment of every stamp of every bag; 0 for the stamp of the centre.
    geometry : list of (k, g) float32 ndarray
        Of its stamps.
    filled, other : (n,) bool ndarray
        Which bags hold a stamp, and which are of the other sample.

    Raises
    ------
    InputError
        If there is no file, or they differ in what the stamps of one run have in common.
    """

    def __init__(self, paths: Sequence[str], wanted: set[str] | None = None, other_paths: Sequence[str] = ()) -> None:
        self.format = stamp_blocks([*paths, *other_paths], _BLOCK)[1]
        self.target_ids: list[str] = []
        self.labels: list[np.ndarray] = []
        self.geometry: list[np.ndarray] = []
        self._places: list[tuple[str, int, np.ndarray]] = []
        self._held: dict[int, Stamps] = {}
        self._bytes = 0
        for path in map(str, paths):
            self._scan(path, wanted)
        first = len(self)
        for path in map(str, other_paths):
            self._scan(path, None)
        self.other = np.arange(len(self)) >= first
        self.filled = np.array([len(labels) > 0 for labels in self.labels], dtype=bool)

    def __len__(self) -> int:
        return len(self.target_ids)

    def __getitem__(self, row: int) -> tuple[int, Stamps]:
        """Row and stamps of a bag."""
        if row in self._held:
            return row, self._held[row]
        path, index, usable = self._places[row]
        with open_stamps(path) as file:
            return row, file.system(index)[usable]

    def collate(self, items: list[tuple[int, Stamps]]) -> "BagBatch":
        """One batch of what `__getitem__` gives."""
        counts = torch.tensor([len(stamps) for _, stamps in items])
        stamps = Stamps.concatenate([stamps for _, stamps in items])
        flux, sigma, mask, geometry = (
            torch.from_numpy(getattr(stamps, name)) for name in ("flux", "sigma", "mask", "geometry")
        )
        valid = torch.arange(int(counts.max())) < counts[:, None]
        return BagBatch(np.array([row for row, _ in items]), flux, sigma, mask, geometry, valid)

    def _scan(self, path: str, wanted: set[str] | None) -> None:
        """Note which stamps of every target of a file can be used."""
        strange = 0
        with open_stamps(path) as file:
            for index, target_id in enumerate(file.target_ids):
                if wanted is not None and target_id not in wanted:
                    continue
                stamps = file.system(index)
                finite = np.isfinite(stamps.flux).all(axis=(1, 2, 3))
                usable = finite & stamps.mask.any(axis=(1, 2, 3))
                strange += int((~finite).sum())
                self._hold(len(self), stamps[usable])
                self.target_ids.append(target_id)
                self.labels.append(stamps.label[usable])
                self.geometry.append(stamps.geometry[usable])
                self._places.append((path, index, usable))
        if strange:
            log.warning(
                "stamps %s: %d of them hold pixels that are no number and are left out; make them again", path, strange
            )

    def _hold(self, row: int, stamps: Stamps) -> None:
        """Keep a bag if there is room."""
        size = sum(getattr(stamps, name).nbytes for name in ("flux", "sigma", "mask"))
        if self._bytes + size <= _MOST_HELD:
            self._held[row], self._bytes = stamps, self._bytes + size


def bag_loader(bags: Bags, batches: list[np.ndarray], workers: int = 0) -> Iterable[BagBatch]:
    """Batches of bags, in order.

    Parameters
    ----------
    bags : Bags
    batches : list of (b,) int ndarray
        Rows of every batch.
    workers : int
        Processes that read ahead.

    Returns
    -------
    iterable of BagBatch
    """
    return DataLoader(bags, batch_sampler=batches, collate_fn=bags.collate, num_workers=workers)
