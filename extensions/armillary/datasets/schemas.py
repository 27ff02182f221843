"""What describes features: the plain values of Hugging Face's ``Features.to_dict``, and Arrow's schemas and types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets.arrow_types import arrow_type_of, dtype_of, stored_type
from armillary.datasets.features import (
    MEDIA,
    Array,
    Boxes,
    ClassLabel,
    Feature,
    Sequence,
    Struct,
    TokenLabels,
    Translation,
    Value,
)
from armillary.errors import DatasetError

_ = translator(__file__)


def feature_from_json(description: Any) -> Feature:
    """Return the feature that ``to_json``, or ``datasets.Features.to_dict``, described.

    Raises
    ------
    ValueError
        For a kind that this library does not know.
    """
    if isinstance(description, list):  # Hugging Face's older way to write a list
        return _sequence(feature_from_json(description[0]))
    kind = description.get("_type")
    if not isinstance(kind, str):  # no "_type", or a part of that name
        return _struct(tuple((name, feature_from_json(part)) for name, part in description.items()))
    if kind in MEDIA:
        settings = {name: value for name, value in description.items() if name != "_type"}
        return MEDIA[kind](tuple(sorted(settings.items())))
    if kind in ("List", "LargeList"):
        large = kind == "LargeList"
        return _sequence(feature_from_json(description["feature"]), description.get("length", -1), large)
    if kind == "Sequence":
        return _older_sequence(feature_from_json(description["feature"]), description.get("length", -1))
    return _simple(kind, description)


def _simple(kind: str, description: Mapping[str, Any]) -> Feature:
    if "dtype" in description:
        arrow_type_of(description["dtype"])  # of a file, an unknown one is no slip of a person's
    if kind == "Value":
        return Value(description["dtype"])
    if kind == "ClassLabel":
        return ClassLabel(tuple(description["names"]))
    if kind in ("Translation", "TranslationVariableLanguages"):
        return Translation(tuple(description["languages"]), variable=kind != "Translation")
    if kind in ("Array2D", "Array3D", "Array4D", "Array5D"):
        return Array(tuple(description["shape"]), description["dtype"])
    raise ValueError(f"unknown feature {kind!r}")


def _sequence(feature: Feature, length: int = -1, large: bool = False) -> Sequence | TokenLabels:
    if isinstance(feature, ClassLabel) and length < 0 and not large:
        return TokenLabels(feature.names)
    return Sequence(feature, length, large)


def _struct(parts: tuple[tuple[str, Feature], ...]) -> Struct | Boxes:
    category = dict(parts).get("category")
    if isinstance(category, TokenLabels) and parts == _canonical(Boxes(category.names)):
        return Boxes(category.names)
    return Struct(parts)


def _canonical(boxes: Boxes) -> tuple[tuple[str, Feature], ...]:
    """Return the parts of boxes as they are read from a description."""
    return tuple((name, feature_from_json(part.to_json())) for name, part in boxes.plain.parts)


def _older_sequence(feature: Feature, length: int) -> Feature:
    """Return what ``Sequence`` meant before ``datasets`` 4: of a struct, a list for each part."""
    if isinstance(feature, Struct):
        return _struct(tuple((name, _sequence(part, length)) for name, part in feature.parts))
    return _sequence(feature, length)


def features_to_json(features: Mapping[str, Feature]) -> dict[str, Any]:
    """Return the Hugging Face description of all columns."""
    return {name: feature.to_json() for name, feature in features.items()}


def features_from_json(description: Mapping[str, Any]) -> dict[str, Feature]:
    """Return the columns that ``features_to_json`` described.

    Raises
    ------
    ValueError
        When it is no description, or has a kind that this library does not know.
    """
    try:
        return {name: feature_from_json(part) for name, part in description.items()}
    except (LookupError, TypeError, AttributeError, RecursionError, DatasetError) as error:
        raise ValueError(f"no description of features ({type(error).__name__}: {error})") from error


def checked_features(features: Mapping[str, Feature]) -> dict[str, Feature]:
    """Return features that a person gave as they are stored.

    Raises
    ------
    DatasetError
        When one is none, such as the name of one, or its class in the place of an object.
    """
    if not isinstance(features, Mapping):
        raise DatasetError(
            _("{features!r} are no features.", features=features), _("Give a mapping of columns to features.")
        )
    found: dict[str, Feature] = {}
    for name, feature in features.items():
        try:
            found[name] = feature_from_json(feature.to_json())
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise DatasetError(
                _("Column {name!r}: {feature!r} is no feature.", name=name, feature=feature),
                _("Give one such as Value('string') or Image()."),
            ) from error
    return found


def arrow_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Return the schema of a shard, with the Hugging Face description in its metadata.

    Raises
    ------
    DatasetError
        When a column holds objects without parts, which a shard cannot store.
    """
    described = {"info": {"features": features_to_json(features)}}
    metadata = {"huggingface": json.dumps(described, default=np.generic.item)}
    stored = [(name, _stored(name, feature.arrow_type)) for name, feature in features.items()]
    return pa.schema(stored, metadata=metadata)


def _stored(name: str, arrow_type: pa.DataType) -> pa.DataType:
    try:
        return stored_type(arrow_type)
    except ValueError as error:
        what = _("Column {name!r} holds objects without parts, such as {example}.", name=name, example="{}")
        raise DatasetError(what, _("Leave the column out, or give the objects parts.")) from error


def features_of_schema(schema: pa.Schema) -> dict[str, Feature]:
    """Return the features of an Arrow schema: those in its metadata if it has any, else by its types.

    Raises
    ------
    ValueError
        For a type that no feature has, where the message names the column, and for metadata that are damaged.
    """
    described = _described(schema)
    if described and list(described) == schema.names:
        return features_from_json(described)
    features: dict[str, Feature] = {}
    for field in schema:
        try:
            features[field.name] = feature_of_arrow_type(field.type)
        except ValueError as error:
            raise ValueError(f"{field.name}: {error}") from error
    return features


def _described(schema: pa.Schema) -> Any:
    stored = (schema.metadata or {}).get(b"huggingface")
    try:
        return (json.loads(stored).get("info") or {}).get("features") if stored else None
    except (AttributeError, RecursionError) as error:
        raise ValueError(f"its 'huggingface' metadata are damaged ({type(error).__name__}: {error})") from error


def feature_of_arrow_type(arrow_type: pa.DataType) -> Feature:
    """Return the feature that stores its values as this Arrow type."""
    types = pa.types
    if types.is_dictionary(arrow_type):
        return feature_of_arrow_type(arrow_type.value_type)
    if types.is_struct(arrow_type):
        return Struct(tuple((part.name, feature_of_arrow_type(part.type)) for part in arrow_type))
    if types.is_fixed_size_list(arrow_type):
        return Sequence(feature_of_arrow_type(arrow_type.value_type), arrow_type.list_size)
    if types.is_list(arrow_type) or types.is_large_list(arrow_type):
        return Sequence(feature_of_arrow_type(arrow_type.value_type), large=types.is_large_list(arrow_type))
    return Value(dtype_of(arrow_type))
