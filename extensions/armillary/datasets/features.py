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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets.arrow_types import arrow_type_of
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


#: Texts that parts may be marked in.
MARKED_TEXTS = (Value("string"), Value("large_string"))


def spans_feature(names: tuple[str, ...]) -> Sequence:
    """Return the feature of marked parts of a text: a list of ``start``, ``end`` (in characters) and ``label``."""
    return Sequence(Struct((("label", ClassLabel(names)), ("start", Value("int32")), ("end", Value("int32")))))


def is_spans(feature: Feature) -> bool:
    """Return whether a column holds marked parts of a text, as `spans_feature` stores them."""
    parts = feature.feature.parts if isinstance(feature, Sequence) and isinstance(feature.feature, Struct) else ()
    label = dict(parts).get("label")
    return isinstance(label, ClassLabel) and feature == spans_feature(label.names)
