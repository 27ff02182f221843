"""One opened version of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import examples, shards, store
from armillary.datasets.features import Feature, Image
from armillary.datasets.manifest import Manifest, read_manifest
from armillary.datasets.splits import Assignment, stratified
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec, table_spec

if TYPE_CHECKING:
    from armillary.datasets.readers import Batches

_ = translator(__file__)


class Dataset:
    """A version of a dataset: immutable, cheap to open and to send to other processes.

    Examples
    --------
    >>> ds = datasets.open("digits@1")
    >>> X, y = ds.arrays("train")
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)

    def __reduce__(self) -> tuple[type[Dataset], tuple[Path]]:
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
    def reference(self) -> str:
        """Name and version, such as ``"digits@1"``."""
        return f"{self.name}@{self.version}"

    @property
    def features(self) -> dict[str, Feature]:
        """The typed columns."""
        return dict(self.manifest.features)

    @property
    def target(self) -> str:
        """The column with the class."""
        return self.manifest.target

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes; labels are indices into it."""
        return self.manifest.class_names

    @property
    def splits(self) -> dict[str, int]:
        """The number of examples in each split."""
        return dict(self.manifest.splits)

    @property
    def input_spec(self) -> InputSpec:
        """The raw form of an example and how it is normalised."""
        return self.manifest.input

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
        shape = "×".join(map(str, self.input_spec.shape))
        splits = ", ".join(f"{name} {count:,}" for name, count in self.splits.items())
        kind = "images" if self.input_spec.kind == "image" else "rows"
        return f"<Dataset {self.reference}: {len(self):,} {kind} of {shape}, {len(self.class_names)} classes; {splits}>"

    @cached_property
    def _assignment(self) -> Assignment:
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
        return self._assignment.rows(split)

    def labels(self, split: str | None = "train") -> NDArray[np.int64]:
        """Return the class indices of a split, ``(n,)``."""
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
        return shards.read_values(self.folder, self.manifest.shards, column, rows)

    def to_pandas(self, split: str | None = None) -> pd.DataFrame:
        """Return the stored columns as a table; classes and categories by name."""
        frame = shards.read_files(self.folder, self.manifest.shards).to_pandas().iloc[self.rows(split)]
        for name, feature in self.features.items():
            if hasattr(feature, "names"):
                codes = frame[name].fillna(-1).to_numpy().astype(int)
                frame[name] = pd.Categorical.from_codes(codes, list(feature.names))
        return frame

    def split(self, train: float = 0.8, validation: float = 0.1, test: float = 0.1, *, seed: int = 0) -> Dataset:
        """Divide the examples anew, stratified by class, and save that as the next version.

        Raises
        ------
        DatasetError
            When the shares do not add up to 1 or a class has too few examples.
        """
        shares = {"train": train, "validation": validation, "test": test}
        labels = self.labels(None)
        assignment = stratified(labels, self.class_names, shares, seed)
        content = store.Content(
            features=self.features,
            target=self.target,
            input=self._spec_of(assignment),
            labels=labels,
            split=assignment,
            place_shards=partial(shards.link_shards, source=self.folder, shards=self.manifest.shards),
            recipe=({"step": "split", **shares, "seed": seed},),
            source=self.manifest.source,
            report=self.report,
            parent=self.reference,
        )
        return Dataset(store.save(self.name, content, self.folder.parent.parent))

    def _spec_of(self, assignment: Assignment) -> InputSpec:
        if self.input_spec.kind == "image":
            return self.input_spec
        return table_spec(self.raw_examples.take(assignment.rows("train")), self.input_spec.columns)

    def to_torch(self, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
        """Return PyTorch batches; see `armillary.datasets.to_torch`."""
        from armillary.datasets.readers import to_torch

        return to_torch(self, split, batch_size, **options)

    def to_tensorflow(self, split: str = "train", batch_size: int = 64, **options: Any) -> Batches:
        """Return TensorFlow batches; see `armillary.datasets.to_tensorflow`."""
        from armillary.datasets.readers import to_tensorflow

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
    """Open a version: ``"digits@1"``, or ``"digits"`` for the newest. An opened dataset is returned as it is.

    Raises
    ------
    DatasetError
        When there is no such dataset or version, or its manifest is damaged.
    """
    return reference if isinstance(reference, Dataset) else Dataset(store.find(store.store_folder(), reference))


def list_datasets() -> list[DatasetInfo]:
    """Return every dataset of the store, by name. A damaged one is left out; opening it says what is wrong."""
    folder = store.store_folder()
    found = (_info(folder, name) for name in store.names(folder))
    return [info for info in found if info is not None]


def _info(folder: Path, name: str) -> DatasetInfo | None:
    known = store.versions(folder, name)
    try:
        manifest = read_manifest(folder / name / str(known[-1]))
    except DatasetError:
        return None
    return DatasetInfo(
        name,
        tuple(known),
        manifest.input.kind,
        manifest.examples,
        len(manifest.class_names),
        manifest.splits,
        manifest.author,
        manifest.created,
    )
