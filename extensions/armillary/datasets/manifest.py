"""The manifest of one dataset version: all there is to know about it except its examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.features import ClassLabel, Feature, feature_from_json
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)

FORMAT_VERSION = 1
FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class StoredFile:
    """A file of a version: its name, rows, size in bytes and SHA-256."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What one version holds and where it came from.

    Attributes
    ----------
    splits
        Examples per split, in the order train, validation, test.
    class_counts
        Per split, the number of examples of each class, in the order of the class names.
    split_file
        The file that says for each row, in shard order, which split it belongs to.
    parent
        The version this one was made from, such as ``"digits@1"``.
    recipe
        The steps that made it, each with its parameters.
    report
        What the import noticed: ``missing`` values per column, ``skipped`` and ``ignored`` files with reasons.
    """

    name: str
    version: int
    features: dict[str, Feature]
    target: str
    input: InputSpec
    shards: tuple[StoredFile, ...]
    split_file: StoredFile
    splits: dict[str, int]
    class_counts: dict[str, tuple[int, ...]]
    author: str
    created: str
    source: str
    parent: str | None = None
    recipe: tuple[dict[str, Any], ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes of the target."""
        feature = self.features[self.target]
        return feature.names if isinstance(feature, ClassLabel) else ()

    @property
    def examples(self) -> int:
        """The number of examples."""
        return sum(shard.rows for shard in self.shards)

    @property
    def content(self) -> tuple[object, ...]:
        """What two equal versions have in common: the bytes of their shards and splits, and how they are read."""
        hashes = tuple(shard.sha256 for shard in self.shards)
        return (hashes, self.split_file.sha256, self.input, self.target, tuple(self.features.items()))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {
            "features": {name: feature.to_json() for name, feature in self.features.items()},
            "input": self.input.to_json(),
            "shards": [asdict(shard) for shard in self.shards],
            "split_file": asdict(self.split_file),
            "class_counts": {split: list(counts) for split, counts in self.class_counts.items()},
            "recipe": list(self.recipe),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        """Return the manifest that ``to_json`` wrote."""
        return cls(
            **dict(values)
            | {
                "features": {name: feature_from_json(value) for name, value in values["features"].items()},
                "input": InputSpec.from_json(values["input"]),
                "shards": tuple(StoredFile(**shard) for shard in values["shards"]),
                "split_file": StoredFile(**values["split_file"]),
                "class_counts": {split: tuple(counts) for split, counts in values["class_counts"].items()},
                "recipe": tuple(values["recipe"]),
            }
        )


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a version's folder.

    Raises
    ------
    DatasetError
        When it cannot be read, is damaged, or was written by a newer Armillary.
    """
    path = folder / FILE_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format_version"] > FORMAT_VERSION:
            raise DatasetError(
                _("{path} was written by a newer Armillary.", path=path), _("Upgrade Armillary to read this dataset.")
            )
        return Manifest.from_json(values)
    except OSError as error:
        what = _("{path} cannot be read: {reason}.", path=path, reason=error.strerror)
        raise DatasetError(what, _("Check the permissions of the file.")) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            _("{path} is damaged: {error}.", path=path, error=error),
            _("Restore it from a backup or import the data anew."),
        ) from error
