"""The stream of augmented batches: every batch is a pure function of configs, epoch and index."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repro.stages.errors import StageError
from repro.stages.images.dataset import Dataset
from repro.stages.images.transforms import Augmentation, generator

AUGMENTATION = "augmentation.json"
OFF = Augmentation()


ALL = slice(None)


@dataclass(frozen=True)
class Loaded:
    """What has been read of a training batch: uint8 (B, H, W, C), from the `first` of `whole` images on."""

    pixels: Tensor
    labels: Tensor
    epoch: int
    index: int
    first: int
    whole: int


class Stream:
    """Batches of a dataset's folder, augmented as `augmentation.json` says if there is one.

    No state but a cache stands between two batches: any of them can be had alone, in any order.

    Attributes:
        dataset: what is streamed.
        batches: training batches in an epoch; the last may be smaller.
        validation_batches: likewise of the validation split, which is never augmented or shuffled.

    Raises:
        StageError: the folder holds no dataset, no training images, or a broken augmentation.
    """

    def __init__(
        self,
        folder: Path,
        batch_size: int,
        device: str = "cpu",
        seed: int = 0,
        metadata: str = "metadata.json",
    ) -> None:
        if batch_size < 1:
            raise StageError(f'"batch_size": expected 1 or more, got: {batch_size}')
        self.dataset = Dataset(folder, metadata)
        self.batch_size, self.device, self.seed = batch_size, device, seed
        self.augmentation = _read_augmentation(folder)
        self._train = self.dataset.indices("train")
        self._validation = self.dataset.indices("validation")
        self.batches = -(-len(self._train) // batch_size)
        self.validation_batches = -(-len(self._validation) // batch_size)
        self._shuffled: tuple[int, NDArray[np.int64]] = (-1, self._train)

    def batch(self, epoch: int, index: int, part: slice = ALL) -> tuple[Tensor, Tensor]:
        """A training batch, or a part of it: images float32 (B, C, H, W) in [0, 1] and labels int64 (B,)."""
        return self._finish(self._load(epoch, index, part))

    def from_batch(
        self, epoch: int, index: int, part: Callable[[int], slice], ahead: bool | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch's batches from one of them on; `part`: of a batch's size, what of it is wanted.

        `ahead`: whether a thread reads the next one's pixels while this one is computed, which is so on a card: the
        host is to be ahead of it. On the CPU nothing would be left to do it with.
        """
        indices = range(index, self.batches)
        if not (self.device != "cpu" if ahead is None else ahead):
            yield from (self.batch(epoch, i, part(self.size(i))) for i in indices)
            return
        with ThreadPoolExecutor(1) as reader:
            waiting: deque[Future[Loaded]] = deque()
            for i in indices:
                waiting.append(reader.submit(self._load, epoch, i, part(self.size(i))))
                if len(waiting) > 1:
                    yield self._finish(waiting.popleft().result())
            yield from (self._finish(loaded.result()) for loaded in waiting)

    def size(self, index: int) -> int:
        """Images in a training batch."""
        return min(self.batch_size, len(self._train) - index * self.batch_size)

    def validation(self, index: int) -> tuple[Tensor, Tensor]:
        """A validation batch, plain and in the dataset's order; shapes as of `batch`."""
        return self.plain(self._slice(self._validation, index))

    def plain(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """These images and labels of the dataset, unaugmented; shapes as of `batch`."""
        return OFF.apply(self._pixels(indices), 0, 0), self._labels(indices)

    def augmented(self, indices: NDArray[np.int64], epoch: int, index: int = 0) -> Tensor:
        """These images, augmented with what is drawn for one batch; shape as of `batch`."""
        return self.augmentation.apply(self._pixels(indices), epoch, index)

    def _load(self, epoch: int, index: int, part: slice) -> Loaded:
        batch = self._slice(self._order(epoch), index)
        first, _, _ = part.indices(len(batch))
        pixels, labels = (torch.from_numpy(of[batch[part]]) for of in (self.dataset.images, self.dataset.labels))
        if self.device != "cpu":  # from locked memory it travels while the host goes on
            pixels, labels = pixels.pin_memory(), labels.pin_memory()
        return Loaded(pixels, labels, epoch, index, first, len(batch))

    def _finish(self, loaded: Loaded) -> tuple[Tensor, Tensor]:
        pixels, labels = (t.to(self.device, non_blocking=True) for t in (loaded.pixels, loaded.labels))
        images = self.augmentation.apply(pixels, loaded.epoch, loaded.index, loaded.first, loaded.whole)
        return images, labels

    def _pixels(self, indices: NDArray[np.int64]) -> Tensor:
        """uint8 (B, H, W, C) on the device; a byte a value travels, not four."""
        return torch.from_numpy(self.dataset.images[indices]).to(self.device)

    def _labels(self, indices: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.dataset.labels[indices]).to(self.device)

    def _slice(self, order: NDArray[np.int64], index: int) -> NDArray[np.int64]:
        if not 0 <= index < -(-len(order) // self.batch_size):
            raise IndexError(f"batch {index} of {-(-len(order) // self.batch_size)}")
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._shuffled[0] != epoch:
            order = torch.randperm(len(self._train), generator=generator("order", self.seed, epoch))
            self._shuffled = (epoch, self._train[order.numpy()])
        return self._shuffled[1]


def _read_augmentation(folder: Path) -> Augmentation:
    path = folder / AUGMENTATION
    try:
        return Augmentation(**json.loads(path.read_bytes())) if path.exists() else OFF
    except (TypeError, ValueError) as error:
        raise StageError(f'{AUGMENTATION} of source "{folder.name}" is broken: {error}') from error
