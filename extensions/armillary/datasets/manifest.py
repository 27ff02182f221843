"""The manifest of one dataset version: all there is to know about it except its examples."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.features import ClassLabel, Feature
from armillary.datasets.places import Place
from armillary.datasets.schemas import features_from_json, features_to_json
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)

FORMAT_VERSION = 2
FILE_NAME = "manifest.json"
#: What a dataset may be called.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredFile:
    """A file of a version: its name, rows, size in bytes and SHA-256.

    Raises
    ------
    ValueError
        When it would lie outside the version: a manifest may come from somebody else, and its files are copied.
    """

    file: str
    rows: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.file)
        if not path.parts or path.is_absolute() or ".." in path.parts or not _SHA256.fullmatch(self.sha256):
            raise ValueError(_("{file!r} is no file of a version", file=self.file))


@dataclass(frozen=True)
class Manifest:
    """What one version holds and where it came from.

    Attributes
    ----------
    target
        The column with the class, or None.
    input
        The form in which models take an example, or None for examples that have to be prepared first.
    split_file
        The file that says for each row, in shard order, which split it belongs to.
    splits
        Examples per split, in order.
    class_counts
        Per split, the number of examples of each class, in the order of the class names; empty without a target.
    media
        Long videos and sounds that lie beside the shards, each named by its SHA-256.
    skipped_file
        What the import left out: place, reason and, where it was set aside, the data itself.
    source, licence
        Where the data came from, and on what terms.
    parent
        The version this one was made from, such as ``"digits@1"``.
    recipe
        The steps that made it, each with its parameters.
    report
        What the import noticed: ``missing`` values per column, ``ignored`` files, and the first that were ``skipped``,
        with reasons.
    """

    name: str
    version: int
    features: dict[str, Feature]
    target: str | None
    input: InputSpec | None
    shards: tuple[StoredFile, ...]
    split_file: StoredFile
    splits: dict[str, int]
    class_counts: dict[str, tuple[int, ...]]
    author: str
    created: str
    source: str
    licence: str = ""
    media: tuple[StoredFile, ...] = ()
    skipped_file: StoredFile | None = None
    parent: str | None = None
    recipe: tuple[dict[str, Any], ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes of the target; none without one."""
        feature = self.features[self.target] if self.target is not None else None
        return feature.names if isinstance(feature, ClassLabel) else ()

    @property
    def examples(self) -> int:
        """The number of examples."""
        return sum(shard.rows for shard in self.shards)

    @property
    def content(self) -> tuple[object, ...]:
        """What two equal versions have in common: the bytes of their shards and splits, and how they are read."""
        hashes = tuple(file.sha256 for file in (*self.shards, *self.media, self.split_file))
        return (hashes, self.input, self.target, tuple(self.features.items()))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {
            "features": features_to_json(self.features),
            "input": self.input.to_json() if self.input else None,
            "shards": [asdict(shard) for shard in self.shards],
            "media": [asdict(file) for file in self.media],
            "split_file": asdict(self.split_file),
            "skipped_file": asdict(self.skipped_file) if self.skipped_file else None,
            "class_counts": {split: list(counts) for split, counts in self.class_counts.items()},
            "recipe": list(self.recipe),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        """Return the manifest that ``to_json`` wrote, now or in an older version of this format.

        Raises
        ------
        ValueError, KeyError, TypeError, AttributeError
            When it is none.
        """
        values = _upgraded(values)
        _check_kinds(values)
        return cls(
            **values
            | {
                "features": features_from_json(values["features"]),
                "input": InputSpec.from_json(values["input"]) if values["input"] else None,
                "shards": tuple(StoredFile(**file) for file in values["shards"]),
                "media": tuple(StoredFile(**file) for file in values["media"]),
                "split_file": StoredFile(**values["split_file"]),
                "skipped_file": StoredFile(**values["skipped_file"]) if values["skipped_file"] else None,
                "class_counts": {split: tuple(counts) for split, counts in values["class_counts"].items()},
                "recipe": tuple(values["recipe"]),
            }
        )


def _check_kinds(values: Mapping[str, Any]) -> None:
    """Refuse what others trip over: one person's damaged manifest must not spoil a whole group's list."""
    wrong = [name for name, kind in _KINDS.items() if not isinstance(values[name], kind)]
    if not wrong and not NAME.fullmatch(values["name"]):
        wrong = ["name"]
    if not wrong and values["target"] is not None and values["target"] not in values["features"]:
        wrong = ["target"]
    if wrong:
        raise ValueError(_("its {part!r} is {value!r}", part=wrong[0], value=values[wrong[0]]))


_KINDS = {
    "name": str,
    "version": int,
    "features": dict,
    "splits": dict,
    "class_counts": dict,
    "report": dict,
    "author": str,
    "created": str,
    "source": str,
    "licence": str,
}


def _upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest's values in the present format: 1 knew no media, licence or file of what was left out."""
    if values["format_version"] == 1:
        added: dict[str, Any] = {"media": [], "licence": "", "skipped_file": None, "format_version": FORMAT_VERSION}
        return {**values, **added}
    return dict(values)


def read_manifest(folder: Place) -> Manifest:
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
        what = _("{path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
        raise DatasetError(what, _("Check the permissions of the file.")) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            _("{path} is damaged: {error}.", path=path, error=error),
            _("Restore it from a backup, or delete this version and import the data anew."),
        ) from error
