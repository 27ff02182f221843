"""Batches for training: sharded exactly over ranks, in a seeded order, as tensors of either framework.

One permutation of the split per epoch, a pure function of seed and epoch, is dealt out like cards: of ``p``,
rank ``r`` of ``w`` reads ``p[r::w]``. So step k of all ranks together is step k of one process with ``w`` times
the batch size, no example comes twice, none is missing, and every rank takes the same number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.errors import DatasetError
from armillary.inputs.input_spec import Layout

if TYPE_CHECKING:
    import tensorflow as tf
    import torch

_ = translator(__file__)


def shard_rows(
    rows: NDArray[np.int64], rank: int = 0, world_size: int = 1, *, seed: int = 0, epoch: int = 0, shuffle: bool = True
) -> NDArray[np.int64]:
    """Return the rows that one rank reads in one epoch, in order."""
    order = np.random.default_rng([seed, epoch]).permutation(len(rows)) if shuffle else np.arange(len(rows))
    return rows[order[rank::world_size]]


class Batches:
    """A sized iterable of ``(x, y)`` for one rank and epoch; iterating it again gives the same batches.

    Every rank has the same length; the last batch of a rank may be short, or empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        batch_size: int,
        convert: Callable[[NDArray[Any]], Any],
        layout: Layout,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        epoch: int = 0,
    ) -> None:
        _check(batch_size, rank, world_size)
        rows = dataset.rows(split)
        self.dataset = dataset
        self.batch_size = batch_size
        self.examples = len(rows)
        self.rows = shard_rows(rows, rank, world_size, seed=seed, epoch=epoch, shuffle=shuffle)
        self._steps = math.ceil(len(rows) / (batch_size * world_size))
        self._convert = convert
        self._layout: Layout = layout

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        raw, labels, spec = self.dataset.raw_examples, self.dataset.labels(None), self.dataset.input_spec
        for step in range(self._steps):
            rows = self.rows[step * self.batch_size : (step + 1) * self.batch_size]
            x = spec.prepare(raw.take(rows), self._layout)
            yield self._convert(x), self._convert(labels[rows])


def _check(batch_size: int, rank: int, world_size: int) -> None:
    if batch_size < 1:
        raise DatasetError(_("The batch size is {n}.", n=batch_size), _("Give 1 or more."))
    if not 0 <= rank < world_size:
        what = _("Rank {rank} is not one of {n} ranks.", rank=rank, n=world_size)
        raise DatasetError(what, _("Ranks run from 0 to world_size - 1."))


def to_torch(data: Dataset | str, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
    """Return PyTorch batches of a split.

    Parameters
    ----------
    data
        A dataset or a reference to one.
    batch_size
        Examples per rank and step.
    options
        ``rank=0, world_size=1, seed=0, shuffle=True, epoch=0``.

    Returns
    -------
    Batches
        ``x`` float32 ``(batch, channels, height, width)`` in [0, 1], or ``(batch, features)`` standardised;
        ``y`` int64 ``(batch,)``.
    """
    import torch

    def tensor(values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values)

    return Batches(open_dataset(data), split, batch_size, tensor, "channels_first", **options)


def to_tensorflow(data: Dataset | str, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
    """Return TensorFlow batches of a split.

    Parameters and sharding as in `to_torch`; ``x`` is float32 ``(batch, height, width, channels)`` in [0, 1], or
    ``(batch, features)`` standardised; ``y`` int64 ``(batch,)``.
    """
    import tensorflow as tf

    def tensor(values: NDArray[Any]) -> tf.Tensor:
        return tf.convert_to_tensor(values)

    return Batches(open_dataset(data), split, batch_size, tensor, "channels_last", **options)
