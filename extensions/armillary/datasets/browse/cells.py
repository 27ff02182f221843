"""What a browser is told of a value: plain JSON, with nothing in it that is longer than can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.datasets.features import (
    Audio,
    Boxes,
    ClassLabel,
    Feature,
    Image,
    Sequence,
    TokenLabels,
    Translation,
    Value,
    Video,
)

#: Characters of a text, tokens, and boxes that are sent of one example.
LONGEST_TEXT, MOST_TOKENS, MOST_BOXES = 2_000, 400, 500
Cell = dict[str, Any]
_KINDS: dict[type, str] = {Image: "image", Audio: "audio", Video: "video", ClassLabel: "class"}


def columns_of(features: Mapping[str, Feature]) -> list[Cell]:
    """Return the columns that are shown, each with its name and kind; a column that is drawn over another is none."""
    hidden = {part for pair in (tokens_of(features), boxes_of(features)) for part in pair.values()}
    return [{"name": name, "kind": kind_of(feature)} for name, feature in features.items() if name not in hidden]


def kind_of(feature: Feature) -> str:
    """Return how the values of a feature are shown."""
    if isinstance(feature, Translation):
        return "translation"
    if isinstance(feature, Value) and "string" not in feature.dtype:
        return "number"
    return _KINDS.get(type(feature), "text")


def tokens_of(features: Mapping[str, Feature]) -> dict[str, str]:
    """Return which column of words has which column of labels: the first of each."""
    words = [name for name, feature in features.items() if feature == Sequence(Value("string"))]
    labels = [name for name, feature in features.items() if isinstance(feature, TokenLabels)]
    return {words[0]: labels[0]} if words and labels else {}


def boxes_of(features: Mapping[str, Feature]) -> dict[str, str]:
    """Return which column of images has which column of boxes."""
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    boxes = [name for name, feature in features.items() if isinstance(feature, Boxes)]
    return {images[0]: boxes[0]} if images and boxes else {}


def cells_of(features: Mapping[str, Feature], example: Mapping[str, Any]) -> dict[str, Cell]:
    """Return the cells of an example, as `Page.examples` has it, by column."""
    tokens, boxes = tokens_of(features), boxes_of(features)
    cells = {}
    for column in columns_of(features):
        name = column["name"]
        cell = _cell(features[name], example[name])
        if name in tokens and example[name] is not None:
            cell = _tokens(example[name], example[tokens[name]])
        if name in boxes and example[boxes[name]] is not None:
            cell |= _boxes(example[boxes[name]])
        cells[name] = cell
    return cells


def _cell(feature: Feature, value: Any) -> Cell:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return {"kind": "missing"}
    if isinstance(feature, (Image, Audio, Video)):
        return {"kind": kind_of(feature), "name": _cut(str(value), 200)["text"]}
    if isinstance(feature, Translation):
        return {"kind": "translation", "parts": [[code, _cut(text)] for code, text in _translations(value)]}
    if isinstance(value, float):
        return {"kind": "number", "text": f"{value:.6g}"}
    kind = kind_of(feature)
    return {"kind": kind, **_cut(_text(value))}


def _translations(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    if set(value) == {"language", "translation"} and isinstance(value["language"], list):
        return list(zip(value["language"], value["translation"], strict=False))
    return [(code, text) for code, text in value.items() if text is not None]


def _text(value: Any) -> str:
    """Return a value in words; of a list or array no more than is shown."""
    if isinstance(value, list):
        shown = ", ".join(_text(part) for part in value[:100])
        return f"[{shown}{', …' if len(value) > 100 else ''}]"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(part)}" for name, part in value.items())
    if isinstance(value, bytes):
        return f"{len(value):,} B"
    if value is not None and type(value).__name__ == "Medium":
        return value.path or "…"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _cut(text: str, longest: int = LONGEST_TEXT) -> Cell:
    return {"text": text} if len(text) <= longest else {"text": text[:longest], "cut": len(text)}


def _tokens(words: list[str], labels: list[str] | None) -> Cell:
    """Return words with their labels, as far as both go."""
    labels = labels or []
    pairs = [[word, labels[index] if index < len(labels) else None] for index, word in enumerate(words[:MOST_TOKENS])]
    return {"kind": "tokens", "tokens": pairs} | ({"cut": len(words)} if len(words) > MOST_TOKENS else {})


def _boxes(value: Mapping[str, Any]) -> Cell:
    """Return boxes ``[x, y, width, height, class]`` in pixels of the original picture."""
    pairs = list(zip(value["bbox"], value["category"], strict=False))
    shown = [[*(round(float(side), 1) for side in box), category] for box, category in pairs[:MOST_BOXES]]
    return {"boxes": shown} | ({"all_boxes": len(pairs)} if len(pairs) > MOST_BOXES else {})
