"""Batches for training: sharded exactly over ranks, in a seeded order, as tensors of either framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.examples import keeps_decoded
from armillary.datasets.features import Image
from armillary.datasets.reading.column_batches import ColumnBatches, column_batches
from armillary.datasets.reading.decoding import PictureDecoder
from armillary.datasets.reading.order import dealt, epoch_order
from armillary.datasets.reading.pictures import Pictures
from armillary.datasets.reading.prefetch import Prefetcher, Work, usable_threads
from armillary.datasets.reading.row_groups import row_groups_of
from armillary.errors import DatasetError
from armillary.inputs.input_spec import Layout

if TYPE_CHECKING:
    import tensorflow as tf
    import torch

_ = translator(__file__)

#: Frames of a video in a batch, unless said otherwise.
FRAMES = 16


class Batches:
    """A sized iterable of ``(x, y)`` for one rank and epoch; iterating it again gives the same batches.

    Every rank has the same length; the last batch of a rank may be short, or empty. Small pictures and tables are
    kept in memory; of all else, a buffer of row groups, decoded ahead by threads that end with the loop.

    Examples
    --------
    >>> batches = ds.to_torch("train", batch_size=32, seed=1, epoch=5)
    >>> for x, y in batches:
    ...     saved = batches.state()
    ...     break
    >>> rest = ds.to_torch(**saved)
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        batch_size: int,
        convert: Callable[[NDArray[Any]], Any],
        layout: Layout,
        *,
        columns: str | Sequence[str] | None = None,
        frames: int = FRAMES,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        epoch: int = 0,
        start_step: int = 0,
        buffer: int | None = None,
        threads: int | None = None,
    ) -> None:
        _check(batch_size, rank, world_size, {"buffer": buffer, "threads": threads, "frames": frames})
        _check_seeds({"seed": seed, "epoch": epoch})
        self.dataset = dataset
        self.batch_size = batch_size
        self.examples = len(dataset.rows(split))
        self._steps = math.ceil(self.examples / (batch_size * world_size))
        self._first = _checked_start(start_step, self._steps)
        self._next = start_step
        self._options: dict[str, Any] = {
            "rank": rank,
            "world_size": world_size,
            "seed": seed,
            "shuffle": shuffle,
            "epoch": epoch,
        }
        self._options |= {"split": split, "batch_size": batch_size, "buffer": buffer}
        self._options |= {"columns": columns, "frames": frames}
        self.rows = self._ordered(dataset.rows(split))
        self._threads = threads or usable_threads()
        self._convert = convert
        self._layout: Layout = layout
        self._columns = None if self._as_models_take_them else self._column_batches()

    def _ordered(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        options = self._options
        if options["shuffle"]:
            groups = row_groups_of(self.dataset.folder, self.dataset.manifest.created)
            size = options["buffer"] or groups.buffer
            rows = epoch_order(rows, groups.starts, size, seed=options["seed"], epoch=options["epoch"])
        return dealt(rows, options["rank"], options["world_size"])

    def __len__(self) -> int:
        return self._steps - self._first

    def state(self) -> dict[str, Any]:
        """Return the arguments that make batches of what is left of the epoch, after those the loop has been given."""
        return {**self._options, "start_step": self._next}

    def __iter__(self) -> Iterator[Any]:
        self._next = self._first
        for batch in self._arrays(self.rows[self._first * self.batch_size :]):
            self._next += 1
            yield self._converted(batch)

    def _converted(self, part: Any) -> Any:
        """Return a batch, or a part of it, as tensors of the framework."""
        if isinstance(part, tuple):
            return tuple(self._converted(each) for each in part)
        if isinstance(part, dict):
            return {name: self._converted(each) for name, each in part.items()}
        return self._convert(part)

    @property
    def _as_models_take_them(self) -> bool:
        """Whether no columns were named, and the dataset says itself what ``x`` and ``y`` are."""
        manifest = self.dataset.manifest
        return self._options["columns"] is None and manifest.input is not None and manifest.target is not None

    def _arrays(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        dataset = self.dataset
        if self._columns is not None or not keeps_decoded(dataset.manifest):
            work: Work = self._columns or self._pictures()
            yield from Prefetcher(work, rows, self.batch_size, len(self), self._threads)
            return
        spec, raw, labels = dataset.input_spec, dataset.raw_examples, dataset.labels(None)
        for first in range(0, len(self) * self.batch_size, self.batch_size):
            batch = rows[first : first + self.batch_size]
            yield spec.prepare(raw.take(batch), self._layout), labels[batch]

    def _pictures(self) -> Pictures:
        dataset = self.dataset
        image = next(name for name, feature in dataset.features.items() if isinstance(feature, Image))
        groups = row_groups_of(dataset.folder, dataset.manifest.created)
        return Pictures(dataset.reference, image, str(dataset.target), groups, self._decoder())

    def _column_batches(self) -> ColumnBatches:
        spec = self.dataset.manifest.input
        decoder = self._decoder() if spec is not None and spec.kind == "image" else None
        first = self._layout == "channels_first"
        return column_batches(self.dataset, self._options["columns"], self._options["frames"], decoder, first)

    def _decoder(self) -> PictureDecoder:
        return PictureDecoder(self.dataset.input_spec, self._layout)


def _check(batch_size: int, rank: int, world_size: int, numbers: dict[str, int | None]) -> None:
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise DatasetError(_("The batch size is {n}.", n=batch_size), _("Give 1 or more."))
    if not 0 <= rank < world_size:
        what = _("Rank {rank} is not one of {n} ranks.", rank=rank, n=world_size)
        raise DatasetError(what, _("Ranks run from 0 to world_size - 1."))
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise DatasetError(_("{name} is {n}.", name=name, n=number), _("Give 1 or more."))


def _check_seeds(numbers: dict[str, int]) -> None:
    for name, number in numbers.items():
        if not isinstance(number, (int, np.integer)) or number < 0:
            raise DatasetError(_("{name} is {n}.", name=name, n=number), _("Give a whole number, 0 or more."))


def _checked_start(start_step: int, steps: int) -> int:
    if 0 <= start_step <= steps:
        return start_step
    what = _("The epoch has {n} steps; it cannot be resumed at step {step}.", n=steps, step=start_step)
    raise DatasetError(what, _("Give the batch size and number of ranks that the state was saved with."))


def to_torch(data: Dataset | str, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
    """Return PyTorch batches of a split.

    Parameters
    ----------
    data
        A dataset or a reference to one.
    batch_size
        Examples per rank and step.
    options
        ``columns`` names what is read: a name gives ``x`` itself, a list of names a dictionary. By default the form
        that models take where the dataset has one, else all columns but the target.
        ``rank=0, world_size=1, seed=0, shuffle=True, epoch=0`` say which examples; ``start_step`` skips the first
        steps; ``buffer`` is the number of examples to shuffle among, by default as many as fit into 256 MiB;
        ``threads`` decode, by default as many as there are cores for this process; ``frames=16`` are taken of a video,
        evenly from its whole length.

    Returns
    -------
    Batches
        ``x`` float32 ``(batch, channels, height, width)`` in [0, 1], or ``(batch, features)`` standardised;
        ``y`` int64 ``(batch,)``. Of other columns `armillary.datasets.reading.columns` says what ``x`` is: texts come
        as lists, what has several lengths as ``{"values", "mask"}``. Without a target, or when ``columns`` names it,
        batches are ``x`` alone.

    Examples
    --------
    >>> texts, y = next(iter(datasets.to_torch("reviews@1")))
    >>> for x in datasets.to_torch("birds@1", columns=["image", "speech"]):
    ...     x["speech"]["values"].shape, x["speech"]["mask"].shape
    """
    import torch

    def tensor(values: NDArray[Any]) -> torch.Tensor | list[Any]:
        return values.tolist() if values.dtype == object else torch.from_numpy(values)

    dataset = open_dataset(data)
    return Batches(dataset, split, batch_size, tensor, "channels_first", **options)


def to_tensorflow(data: Dataset | str, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
    """Return TensorFlow batches of a split.

    Parameters and sharding as in `to_torch`; ``x`` is float32 ``(batch, height, width, channels)`` in [0, 1], or
    ``(batch, features)`` standardised; ``y`` int64 ``(batch,)``. Texts are tensors of strings.
    """
    import tensorflow as tf

    def tensor(values: NDArray[Any]) -> tf.Tensor:
        return tf.convert_to_tensor(values, tf.string if values.dtype == object else None)

    return Batches(open_dataset(data), split, batch_size, tensor, "channels_last", **options)
