"""The typed columns of a dataset, named and stored as in Hugging Face ``datasets``.

A shard's Parquet schema carries the same description under the key ``huggingface``, so that
``datasets.load_dataset("parquet", ...)`` finds images and class names without being told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_ARROW_TYPES = {"bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64(), "string": pa.string()}


@dataclass(frozen=True)
class Image:
    """One picture: its encoded bytes (PNG or JPEG) and the path it was imported from."""

    @property
    def arrow_type(self) -> pa.DataType:
        """``struct<bytes: binary, path: string>``."""
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {"_type": "Image"}


@dataclass(frozen=True)
class ClassLabel:
    """One of a fixed list of classes, stored as its index."""

    names: tuple[str, ...]

    @property
    def arrow_type(self) -> pa.DataType:
        """``int64``: the index into ``names``."""
        return pa.int64()

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {"names": list(self.names), "_type": "ClassLabel"}


@dataclass(frozen=True)
class Value:
    """A plain column: ``bool``, ``int64``, ``float64`` or ``string``."""

    dtype: str

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the same name."""
        return _ARROW_TYPES[self.dtype]

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {"dtype": self.dtype, "_type": "Value"}


Feature = Image | ClassLabel | Value


def feature_from_json(description: Mapping[str, Any]) -> Feature:
    """Return the feature that ``to_json`` described."""
    kind = description["_type"]
    if kind == "Image":
        return Image()
    if kind == "ClassLabel":
        return ClassLabel(tuple(description["names"]))
    if kind == "Value" and description["dtype"] in _ARROW_TYPES:
        return Value(description["dtype"])
    raise ValueError(f"unknown feature {dict(description)!r}")


def arrow_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Return the schema of a shard, with the Hugging Face description in its metadata."""
    described = {name: feature.to_json() for name, feature in features.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": described}})}
    return pa.schema([(name, feature.arrow_type) for name, feature in features.items()], metadata=metadata)
