"""What the examples of a dataset consist of, in a word or a few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow.types as types

from armillary.datasets.features import (
    Audio,
    Boxes,
    Feature,
    Image,
    Sequence,
    Struct,
    TokenLabels,
    Translation,
    Value,
    Video,
)

_ORDER = ("image", "video", "audio", "text", "translation")
#: Types of texts.
TEXT = frozenset({"string", "large_string", "string_view"})
_NUMBERS = (
    types.is_boolean,
    types.is_integer,
    types.is_floating,
    types.is_decimal,
    types.is_timestamp,
    types.is_duration,
)


def kinds_of(features: Mapping[str, Feature], target: str | None = None) -> tuple[str, ...]:
    """Return ``("image",)``, ``("image", "audio", "text")`` and so on; ``("table",)`` where there are numbers beside.

    >>> kinds_of({"image": Image(), "label": ClassLabel(("cat", "dog"))}, "label")
    ('image',)
    """
    inputs = [feature for name, feature in features.items() if name != target]
    found = {kind for feature in inputs for kind in _kinds(feature)}
    media = tuple(kind for kind in _ORDER if kind in found)
    has_table = not media or (media == ("text",) and any(not list(_kinds(feature)) for feature in inputs))
    return ("table",) if has_table else media


def is_text(feature: Feature) -> bool:
    """Return whether a column holds a text."""
    return isinstance(feature, Value) and feature.dtype in TEXT


def is_number_to_models(feature: Feature) -> bool:
    """Return whether a column holds what models take as a number: numbers, truth values, times and durations."""
    return isinstance(feature, Value) and any(is_one(feature.arrow_type) for is_one in _NUMBERS)


def _kinds(feature: Feature) -> Iterator[str]:
    if isinstance(feature, (Image, Audio, Video, Translation)):
        yield type(feature).__name__.lower()
    elif is_text(feature):
        yield "text"
    elif isinstance(feature, Sequence):
        yield from _kinds(feature.feature)
    elif isinstance(feature, Struct):
        for _name, part in feature.parts:
            yield from _kinds(part)
    elif isinstance(feature, (TokenLabels, Boxes)):
        yield from ()
