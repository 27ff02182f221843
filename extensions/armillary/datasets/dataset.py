"""One opened version of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import examples, shards, store
from armillary.datasets.card import Card, read_card
from armillary.datasets.features import Feature, Image
from armillary.datasets.kinds import kinds_of
from armillary.datasets.manifest import Manifest, read_manifest
from armillary.datasets.media import Medium
from armillary.datasets.names import one_or_several
from armillary.datasets.places import Place
from armillary.datasets.plain_values import plain_value
from armillary.datasets.shared_places import owner_of
from armillary.datasets.splits import Assignment
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec

if TYPE_CHECKING:
    from armillary.datasets.reading.readers import Batches

_ = translator(__file__)


class Dataset:
    """A version of a dataset: immutable, cheap to open and to send to other processes.

    Examples
    --------
    >>> ds = datasets.open("digits@1")
    >>> X, y = ds.arrays("train")
    """

    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)

    def __reduce__(self) -> tuple[type[Dataset], tuple[Place]]:
        return Dataset, (self.folder,)

    @property
    def name(self) -> str:
        """The name, such as ``"digits"``."""
        return self.manifest.name

    @property
    def version(self) -> int:
        """The version number, from 1."""
        return self.manifest.version

    @property
    def owner(self) -> str | None:
        """The person who shares it, None for a dataset of one's own store."""
        return owner_of(self.folder)

    @property
    def reference(self) -> str:
        """Name and version, such as ``"digits@1"``; of a shared one with its owner, such as ``"ann/digits@1"``."""
        own = f"{self.name}@{self.version}"
        return own if self.owner is None else f"{self.owner}/{own}"

    @property
    def store(self) -> Place:
        """Where what is made from it is saved: the store it lies in, one's own if another person shares it."""
        return self.folder.parent.parent if self.owner is None else store.store_folder()

    @property
    def features(self) -> dict[str, Feature]:
        """The typed columns."""
        return dict(self.manifest.features)

    def features_named(self, columns: str | Sequence[str] | None) -> dict[str, Feature]:
        """Return the features of these columns, of all for ``None``; raises DatasetError when there is no such one."""
        features, wanted = self.features, one_or_several(columns or ())
        for name in wanted:
            if name not in features:
                listed = ", ".join(map(repr, features))
                what = _(
                    "{dataset} has no column {name!r}; columns: {listed}.",
                    dataset=self.reference,
                    name=name,
                    listed=listed,
                )
                raise DatasetError(what, _("Name one of these."))
        return {name: features[name] for name in wanted or features}

    @property
    def target(self) -> str | None:
        """The column with the class, if there is one."""
        return self.manifest.target

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes; labels are indices into it. Empty without a target."""
        return self.manifest.class_names

    @property
    def splits(self) -> dict[str, int]:
        """The number of examples in each split."""
        return dict(self.manifest.splits)

    @property
    def input_spec(self) -> InputSpec:
        """The raw form of an example and how it is normalised.

        Raises
        ------
        DatasetError
            When the examples (texts, sounds, images of many sizes) have no form yet that models take.
        """
        if self.manifest.input is None:
            what = _("{dataset} ({kind}) has no form that models take.", dataset=self.reference, kind=self.kind)
            raise DatasetError(what, _("Read its examples with iterate(), to_pandas() or to_huggingface()."))
        return self.manifest.input

    @property
    def kind(self) -> str:
        """What an example consists of: ``"image"``, ``"table"``, ``"text"``, ``"image + audio + text"`` and so on."""
        return " + ".join(kinds_of(self.features, self.target))

    @property
    def card(self) -> Card:
        """The description and tags of this name, which all its versions share."""
        return read_card(self.folder.parent)

    @property
    def skipped(self) -> pd.DataFrame:
        """What the import left out: ``place``, ``reason`` and, where it was set aside, ``data``."""
        file = self.manifest.skipped_file
        if file is not None:
            return shards.read_files(self.folder, [file]).to_pandas()
        listed = [(entry["file"], entry["reason"], None) for entry in self.report.get("skipped", ())]
        return pd.DataFrame(listed, columns=["place", "reason", "data"])

    @property
    def report(self) -> dict[str, Any]:
        """What the import noticed: missing values, skipped and ignored files."""
        return dict(self.manifest.report)

    @property
    def class_counts(self) -> pd.DataFrame:
        """The number of examples per class (rows) and split (columns)."""
        return pd.DataFrame(self.manifest.class_counts, index=pd.Index(self.class_names, name="class"))

    def __len__(self) -> int:
        return self.manifest.examples

    def __repr__(self) -> str:
        spec = self.manifest.input
        form = f" of {'×'.join(map(str, spec.shape))}" if spec else ""
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        splits = ", ".join(f"{name} {count:,}" for name, count in self.splits.items())
        return f"<Dataset {self.reference}: {len(self):,} examples ({self.kind}){form}{classes}; {splits}>"

    @cached_property
    def assignment(self) -> Assignment:
        """The split of every row."""
        column = shards.read_files(self.folder, [self.manifest.split_file]).column("split").combine_chunks()
        chunk = column.chunk(0) if hasattr(column, "chunk") else column
        return Assignment(tuple(chunk.dictionary.to_pylist()), chunk.indices.to_numpy().astype(np.int64))

    @property
    def raw_examples(self) -> examples.Examples:
        """The raw examples by row number."""
        return examples.load_examples(self.folder, self.manifest.created)

    def rows(self, split: str | None = "train") -> NDArray[np.int64]:
        """Return the row numbers of a split, in stored order; of all examples for ``None``.

        Raises
        ------
        DatasetError
            When the dataset has no such split.
        """
        if split is None:
            return np.arange(len(self))
        if split not in self.splits:
            known = ", ".join(self.splits)
            what = _(
                "{dataset} has no split {split!r}; splits: {known}.", dataset=self.reference, split=split, known=known
            )
            raise DatasetError(what, _("Use one of these."))
        return self.assignment.rows(split)

    def split_of_rows(self) -> list[str]:
        """Return the split of every row, in stored order."""
        return [self.assignment.names[code] for code in self.assignment.codes]

    def splits_of(self, rows: Sequence[int] | NDArray[np.int64]) -> tuple[str, ...]:
        """Return the split of each of these rows."""
        return tuple(self.assignment.names[code] for code in self.assignment.codes[np.asarray(rows, np.int64)])

    def labels(self, split: str | None = "train") -> NDArray[np.int64]:
        """Return the class indices of a split, ``(n,)``.

        Raises
        ------
        DatasetError
            When the dataset has no target.
        """
        if self.target is None:
            raise DatasetError(
                _("{dataset} has no column with the class.", dataset=self.reference), _("Import it with a target.")
            )
        return examples.load_labels(self.folder, self.manifest.created)[self.rows(split)]

    def arrays(self, split: str | None = "train") -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the raw examples and class indices of a split.

        Returns
        -------
        X
            Images: uint8 ``(n, height, width, channels)``. Tables: float32 ``(n, features)``, missing values NaN.
        y
            int64 ``(n,)``, indices into ``class_names``.
        """
        return self.raw_examples.take(self.rows(split)), self.labels(split)

    def encoded_images(self, rows: Sequence[int]) -> list[bytes]:
        """Return the files (PNG or JPEG) of these rows; reads only the row groups they lie in."""
        column = next((name for name, feature in self.features.items() if isinstance(feature, Image)), None)
        if column is None:
            what = _("{dataset} holds no images.", dataset=self.reference)
            raise DatasetError(what, _("Use to_pandas() to see its rows."))
        return [example[column].read() for example in self.take(rows, [column])]

    def to_pandas(self, split: str | None = None) -> pd.DataFrame:
        """Return the stored columns as a table; see `armillary.datasets.to_pandas`."""
        from armillary.datasets.reading.frames import to_pandas

        return to_pandas(self, split)

    def to_dask(self, split: str | None = None, columns: str | Sequence[str] | None = None) -> Any:
        """Return a ``dask.dataframe`` of the stored columns; see `armillary.datasets.to_dask`."""
        from armillary.datasets.reading.frames import to_dask

        return to_dask(self, split, columns)

    def iterate(self, split: str | None = None, columns: str | Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the examples of a split (of all for ``None``) one by one, in stored order.

        Classes come by name, images, sounds and videos as `Medium`, whose ``image()``, ``sound()`` and ``frames()``
        decode them. No more than one row group is in memory.
        """
        wanted = np.zeros(len(self), bool)
        wanted[self.rows(split)] = True
        features = self.features_named(columns)
        first = 0
        for group in shards.row_groups(self.folder, self.manifest.shards, list(features)):
            here = np.flatnonzero(wanted[first : first + len(group)])
            first += len(group)
            for row in group.take(here).to_pylist():
                yield {name: plain_value(feature, row[name], self._medium) for name, feature in features.items()}

    def take(self, rows: int | Sequence[int], columns: str | Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return single examples, as `iterate` yields them; reads only the row groups they lie in.

        One row number gives a list of one.
        """
        numbers = one_or_several(rows)
        features = self.features_named(columns)
        for row in numbers:
            if not 0 <= row < len(self):
                what = _("{dataset} has no row {row}.", dataset=self.reference, row=row)
                raise DatasetError(what, _("Rows are numbered from 0 to {last}.", last=len(self) - 1))
        found = {name: shards.read_values(self.folder, self.manifest.shards, name, numbers) for name in features}
        return [
            {name: plain_value(feature, found[name][index], self._medium) for name, feature in features.items()}
            for index in range(len(numbers))
        ]

    def _medium(self, value: dict[str, Any]) -> Medium:
        return Medium.stored(value, self.folder, self.manifest.media)

    def split(
        self,
        train: float = 0.8,
        validation: float = 0.1,
        test: float = 0.1,
        *,
        seed: int = 0,
        group: str | Sequence[str] | None = None,
        time: str | None = None,
        column: str | None = None,
        duplicates: bool | None = None,
        name: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Dataset:
        """Divide the examples anew and save that as the next version.

        Parameters
        ----------
        train, validation, test
            The share of each, stratified by class where there are classes.
        seed
            The same seed gives the same split.
        group
            Examples with the same value in this column (or in all of these) stay together: those of one speaker, one
            patient, one video. Those without a value belong to nobody.
        time
            The earliest examples by this column (numbers, times, or texts such as 2026-01-31) train, the latest test.
        column
            The column that names the split of each example; then the shares and the seed say nothing.
        duplicates
            Whether examples that are the same in all but their class (and the columns named here) stay together, so
            that none is tested that was trained on. By default they do unless they are rows of a table, where different
            examples may look alike; ``group="text"`` keeps equal texts together there. By time, later copies go where
            the first is; a ``column`` that parts them is refused. Finding them reads the whole dataset; False does not.
        name
            Of what is made; default: it becomes the next version of the same dataset.
        progress
            Called with the number of rows read and of all, where examples are compared.

        Raises
        ------
        DatasetError
            When the shares do not add up to 1, a class or the groups are too few, or a column cannot divide examples.
        """
        from armillary.datasets.splitting import split

        shares = {"train": train, "validation": validation, "test": test}
        return Dataset(split(self, shares, seed, group, time, column, duplicates, name, progress))

    def to_huggingface(self) -> Any:
        """Return a ``datasets.DatasetDict``; see `armillary.datasets.to_huggingface`."""
        from armillary.datasets.huggingface import to_huggingface

        return to_huggingface(self)

    def to_torch(self, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
        """Return PyTorch batches; see `armillary.datasets.to_torch`."""
        from armillary.datasets.reading.readers import to_torch

        return to_torch(self, split, batch_size, **options)

    def to_tensorflow(self, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
        """Return TensorFlow batches; see `armillary.datasets.to_tensorflow`."""
        from armillary.datasets.reading.readers import to_tensorflow

        return to_tensorflow(self, split, batch_size, **options)


@dataclass(frozen=True)
class DatasetInfo:
    """A line of the list of datasets: the newest version of a name."""

    name: str
    versions: tuple[int, ...]
    kind: str
    examples: int
    classes: int
    splits: Mapping[str, int]
    author: str
    created: str

    @property
    def reference(self) -> str:
        """Name and newest version."""
        return f"{self.name}@{self.versions[-1]}"


def open_dataset(reference: str | Dataset) -> Dataset:
    """Open a version: ``"digits@1"``, or ``"digits"`` for the newest; ``"ann/digits@1"`` for one that Ann shares.

    An opened dataset is returned as it is.

    Raises
    ------
    DatasetError
        When there is no such dataset or version, or its manifest is damaged.
    """
    return reference if isinstance(reference, Dataset) else Dataset(store.find_anywhere(reference))


def list_datasets() -> list[DatasetInfo]:
    """Return every dataset of the store, by name. A damaged one is left out; opening it says what is wrong."""
    folder = store.store_folder()
    found = (info_of(folder, name) for name in store.names(folder))
    return [info for info in found if info is not None]


def info_of(folder: Place, name: str) -> DatasetInfo | None:
    """Return the line of a name in a store, None for a damaged one."""
    known = store.versions(folder, name)
    try:
        manifest = read_manifest(folder / name / str(known[-1]))
    except DatasetError:
        return None
    return DatasetInfo(
        name,
        tuple(known),
        " + ".join(kinds_of(manifest.features, manifest.target)),
        manifest.examples,
        len(manifest.class_names),
        manifest.splits,
        manifest.author,
        manifest.created,
    )
