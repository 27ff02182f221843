"""The typed columns of a dataset, described as in Hugging Face ``datasets``.

The description of each feature (`to_json`) is the one that ``datasets.Features.to_dict`` gives, so either library reads
what the other wrote. A shard's Parquet schema carries it under the key ``huggingface``, so that
``datasets.load_dataset("parquet", ...)`` finds images and class names without being told.

========================= ====================================================================
text                      ``Value("string")``
number, truth value, time ``Value("float64")``, ``Value("bool")``, ``Value("timestamp[s]")``
class                     `ClassLabel`
image, sound, video       `Image`, `Audio`, `Video`
words with a label each   ``Sequence(Value("string"))`` and `TokenLabels`
objects in an image       `Boxes`
translation pair          `Translation`
array of one shape        `Array`
several values            `Sequence`
parts with names          `Struct`
========================= ====================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets.arrow_types import arrow_type_of, dtype_of, stored_type
from armillary.datasets.names import refuse_text_or_repeated
from armillary.errors import DatasetError

_ = translator(__file__)

_MEDIA_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Value:
    """A plain value; ``dtype`` is Hugging Face's name of its Arrow type, such as ``"string"`` or ``"float64"``.

    Raises
    ------
    DatasetError
        When there is no such type.
    """

    dtype: str

    def __post_init__(self) -> None:
        _require_type(self.dtype)

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the same name."""
        return arrow_type_of(self.dtype)

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {"dtype": self.dtype, "_type": "Value"}


@dataclass(frozen=True)
class ClassLabel:
    """One of a fixed list of classes, stored as its index.

    Raises
    ------
    DatasetError
        When the names are no list, or two of them are the same.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        refuse_text_or_repeated(self.names, "names")

    @property
    def arrow_type(self) -> pa.DataType:
        """``int64``: the index into ``names``."""
        return pa.int64()

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {"names": list(self.names), "_type": "ClassLabel"}


@dataclass(frozen=True, repr=False)
class _Media:
    """A file of its own: its bytes and the path it was imported from; a long one lies beside the shards.

    ``settings`` are those of Hugging Face's feature that say how it is read there, such as ``("decode", False)``.
    """

    settings: Settings = ()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings)
        return f"{type(self).__name__}({settings})"

    @property
    def arrow_type(self) -> pa.DataType:
        """``struct<bytes: binary, path: string>``."""
        return _MEDIA_TYPE

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {**dict(self.settings), "_type": type(self).__name__}


@dataclass(frozen=True, repr=False)
class Image(_Media):
    """One picture: its encoded bytes (PNG, JPEG and the like)."""


@dataclass(frozen=True, repr=False)
class Audio(_Media):
    """One sound: its encoded bytes (WAV, FLAC, Ogg, MP3)."""


@dataclass(frozen=True, repr=False)
class Video(_Media):
    """One video: its encoded bytes (MP4 and the like)."""


@dataclass(frozen=True)
class Sequence:
    """Several values of one feature; exactly ``length`` of them unless that is -1."""

    feature: Feature
    length: int = -1
    large: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """A list, a list of fixed size, or one with 64-bit offsets."""
        if self.large:
            return pa.large_list(self.feature.arrow_type)
        return pa.list_(self.feature.arrow_type, self.length)

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        length = {} if self.length < 0 else {"length": self.length}
        return {"feature": self.feature.to_json(), **length, "_type": "LargeList" if self.large else "List"}


@dataclass(frozen=True)
class Struct:
    """Parts with a name and a feature each; they may be given as a mapping."""

    parts: tuple[tuple[str, Feature], ...]

    def __post_init__(self) -> None:
        if isinstance(self.parts, Mapping):
            object.__setattr__(self, "parts", tuple(self.parts.items()))

    @property
    def arrow_type(self) -> pa.DataType:
        """A struct with a field for each part."""
        return pa.struct([(name, feature.arrow_type) for name, feature in self.parts])

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {name: feature.to_json() for name, feature in self.parts}


@dataclass(frozen=True)
class TokenLabels:
    """One class for each token of a text: parts of speech, named entities; errors as of `ClassLabel`."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        refuse_text_or_repeated(self.names, "names")

    @property
    def plain(self) -> Sequence:
        """The same without the meaning."""
        return Sequence(ClassLabel(self.names))

    @property
    def arrow_type(self) -> pa.DataType:
        """``list<int64>``: indices into ``names``."""
        return self.plain.arrow_type

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return self.plain.to_json()


@dataclass(frozen=True)
class Boxes:
    """Objects in an image: ``bbox`` ``(x, y, width, height)`` in pixels from the upper left, and ``category``.

    Errors are as of `ClassLabel`.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        refuse_text_or_repeated(self.names, "names")

    @property
    def plain(self) -> Struct:
        """The same without the meaning."""
        box = Sequence(Value("float32"), 4)
        return Struct((("bbox", Sequence(box)), ("category", Sequence(ClassLabel(self.names)))))

    @property
    def arrow_type(self) -> pa.DataType:
        """``struct<bbox: list<float32[4]>, category: list<int64>>``."""
        return self.plain.arrow_type

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return self.plain.to_json()


@dataclass(frozen=True)
class Translation:
    """One text in several languages.

    Each language stands in every example, unless ``variable``: then an example has some of them, or several
    translations into one.

    Raises
    ------
    DatasetError
        When the languages are no list, or two of them are the same.
    """

    languages: tuple[str, ...]
    variable: bool = False

    def __post_init__(self) -> None:
        refuse_text_or_repeated(self.languages, "languages")

    @property
    def arrow_type(self) -> pa.DataType:
        """A struct with a string per language, or one list of languages and one of texts."""
        if self.variable:
            return pa.struct({"language": pa.list_(pa.string()), "translation": pa.list_(pa.string())})
        return pa.struct({language: pa.string() for language in sorted(self.languages)})

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        described: dict[str, Any] = {"languages": list(self.languages)}
        if self.variable:
            return {**described, "num_languages": len(self.languages), "_type": "TranslationVariableLanguages"}
        return {**described, "_type": "Translation"}


@dataclass(frozen=True)
class Array:
    """An array of 2 to 5 axes; only the first may be of any length (None).

    Raises
    ------
    DatasetError
        When the shape is none of these, or there is no such type.
    """

    shape: tuple[int | None, ...]
    dtype: str

    def __post_init__(self) -> None:
        _require_type(self.dtype)
        if not isinstance(self.shape, (tuple, list)) or not 2 <= len(self.shape) <= 5 or None in self.shape[1:]:
            raise DatasetError(
                _("{shape!r} is no shape of an array.", shape=self.shape),
                _("Give 2 to 5 lengths, the first may be None; with one axis it is Sequence(Value(...), length=...)."),
            )
        object.__setattr__(self, "shape", tuple(self.shape))

    @property
    def arrow_type(self) -> pa.DataType:
        """Lists of lists."""
        nested = arrow_type_of(self.dtype)
        for _axis in self.shape:
            nested = pa.list_(nested)
        return nested

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face description."""
        return {"shape": list(self.shape), "dtype": self.dtype, "_type": f"Array{len(self.shape)}D"}


def _require_type(dtype: Any) -> None:
    try:
        arrow_type_of(dtype)
    except (ValueError, TypeError) as error:
        raise DatasetError(
            _("There is no type {dtype!r} of values.", dtype=dtype),
            _("Use one such as 'string', 'int64', 'float64', 'bool' or 'timestamp[s]'."),
        ) from error


Feature = Value | ClassLabel | Image | Audio | Video | Sequence | Struct | TokenLabels | Boxes | Translation | Array
MEDIA: dict[str, type[Image | Audio | Video]] = {"Image": Image, "Audio": Audio, "Video": Video}


def spans_feature(names: tuple[str, ...]) -> Sequence:
    """Return the feature of marked parts of a text: a list of ``start``, ``end`` (in characters) and ``label``."""
    return Sequence(Struct((("label", ClassLabel(names)), ("start", Value("int32")), ("end", Value("int32")))))


def is_spans(feature: Feature) -> bool:
    """Return whether a column holds marked parts of a text, as `spans_feature` stores them."""
    parts = feature.feature.parts if isinstance(feature, Sequence) and isinstance(feature.feature, Struct) else ()
    label = dict(parts).get("label")
    return isinstance(label, ClassLabel) and feature == spans_feature(label.names)


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
