"""Stored values as a person reads them: classes by name, media as objects that decode themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from armillary.datasets.features import MEDIA, Boxes, ClassLabel, Feature, Sequence, Struct, TokenLabels

#: A longer value is cut where an error names it.
_LONGEST = 60


def short(value: Any) -> str:
    """Return a value as an error names it."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def plain_value(feature: Feature, value: Any, medium: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a stored value with the names of its classes; ``medium`` makes an object of each image, sound or video."""
    if value is None:
        return None
    if isinstance(feature, ClassLabel):
        return feature.names[value] if value >= 0 else None
    if isinstance(feature, tuple(MEDIA.values())):
        return medium(value)
    if isinstance(feature, (TokenLabels, Boxes)):
        return plain_value(feature.plain, value, medium)
    if isinstance(feature, Sequence):
        return [plain_value(feature.feature, part, medium) for part in value]
    if isinstance(feature, Struct):
        return {name: plain_value(part, value[name], medium) for name, part in feature.parts}
    return value


def with_media(feature: Feature, value: Any, medium: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a stored value with what ``medium`` makes of each image, sound or video in its place."""
    if value is None or not holds_media(feature):
        return value
    if isinstance(feature, Sequence):
        return [with_media(feature.feature, part, medium) for part in value]
    if isinstance(feature, Struct):
        return {name: with_media(part, value[name], medium) for name, part in feature.parts}
    return medium(value)


@cache
def holds_media(feature: Feature) -> bool:
    """Return whether there are pictures, sounds or videos in a column."""
    if isinstance(feature, Sequence):
        return holds_media(feature.feature)
    if isinstance(feature, Struct):
        return any(holds_media(part) for _name, part in feature.parts)
    return isinstance(feature, tuple(MEDIA.values()))
