"""One value of an example in the form its feature stores it, checked: each refusal names the column and the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from PIL import Image as PillowImage

from armillary.datasets.features import (
    Array,
    Audio,
    Boxes,
    ClassLabel,
    Feature,
    Image,
    Sequence,
    Struct,
    TokenLabels,
    Translation,
    Value,
    Video,
)
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.media import BadMediumError, Medium, check_medium
from armillary.datasets.plain_values import short
from armillary.inputs.pictures import encode_array, encode_png

_ = translator(__file__)

#: Stores the bytes of a file of that name, and returns the value that a shard keeps.
Keep = Callable[[bytes, str], dict[str, Any]]
#: Types that have no place for a fraction; times are whole numbers of their unit.
_WHOLE = ("int", "uint", "timestamp", "date", "time", "duration")


def encode_example(features: Mapping[str, Feature], example: Mapping[str, Any], keep: Keep) -> dict[str, Any]:
    """Return the stored values of one example; a column that it lacks is missing.

    Raises
    ------
    BadExampleError
        When a value does not fit its feature, or there is a column that no feature names.
    """
    if not isinstance(example, Mapping):
        raise BadExampleError(_("{value} has no named parts", value=short(example)))
    unknown = sorted(set(example) - set(features), key=str)
    if unknown:
        raise BadExampleError(_("unknown column {name!r}", name=unknown[0]))
    stored = {}
    for name, feature in features.items():
        try:
            stored[name] = encode(feature, example.get(name), keep)
        except (BadExampleError, BadMediumError) as error:
            raise BadExampleError(_("{column!r}: {reason}", column=name, reason=error)) from error
    _check_tokens(features, stored)
    return stored


def _check_tokens(features: Mapping[str, Feature], stored: Mapping[str, Any]) -> None:
    """Refuse labels that are not one for each token, where only one column can hold the tokens."""
    texts = [name for name, feature in features.items() if feature == Sequence(Value("string"))]
    for name, feature in features.items():
        if isinstance(feature, TokenLabels) and len(texts) == 1 and stored[name] is not None:
            n, tokens = len(stored[name]), len(stored[texts[0]] or ())
            if n != tokens:
                raise BadExampleError(_("{column!r}: {n} labels for {tokens} tokens", column=name, n=n, tokens=tokens))


def encode(feature: Feature, value: Any, keep: Keep) -> Any:
    """Return the stored form of one value, None for a missing one."""
    if value is None:
        return None
    if isinstance(feature, Value):
        return encode_value(feature, value)
    if isinstance(feature, ClassLabel):
        return _class_index(feature.names, value)
    if isinstance(feature, (Image, Audio, Video)):
        return _medium(feature, value, keep)
    if isinstance(feature, (Sequence, TokenLabels)):
        return _sequence(feature if isinstance(feature, Sequence) else feature.plain, value, keep)
    if isinstance(feature, Struct):
        return _struct(feature, value, keep)
    if isinstance(feature, Boxes):
        return _boxes(feature, value, keep)
    return _translation(feature, value) if isinstance(feature, Translation) else _array(feature, value)


def encode_value(feature: Value, value: Any) -> Any:
    """Return the stored form of one number, text or time.

    Raises
    ------
    BadExampleError
        When its column cannot hold it.
    """
    try:
        value = _of_python(value)
        pa.scalar(value, feature.arrow_type)
        if _would_be_cut(feature, value):
            raise ValueError(value)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise BadExampleError(_("{value} is no {dtype}", value=short(value), dtype=feature.dtype)) from error
    return value


def _of_python(value: Any) -> Any:
    """Return NumPy's values as Python's; a time in nanoseconds, which Python would make a number, as pandas has it."""
    plain = value.item() if isinstance(value, np.generic) else value
    is_time = isinstance(value, (np.datetime64, np.timedelta64))
    return pa.scalar(value).as_py() if is_time and isinstance(plain, int) else plain


def _would_be_cut(feature: Value, value: Any) -> bool:
    """Return whether Arrow would store a part of a number or of a time only; raises ArrowException for some times."""
    if isinstance(value, float):
        return feature.dtype.startswith(_WHOLE) and not value.is_integer()
    if isinstance(value, datetime) and feature.dtype.startswith("date"):
        return value.time() != time()
    if isinstance(value, (datetime, time, timedelta)):
        pa.scalar(value).cast(feature.arrow_type)  # which refuses to lose anything
    return False


def _class_index(names: tuple[str, ...], value: Any) -> int:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if 0 <= value < len(names):
            return int(value)
    elif str(value) in names:
        return names.index(str(value))
    raise BadExampleError(_("{value} is none of the {n} classes", value=short(value), n=len(names)))


def _medium(feature: Image | Audio | Video, value: Any, keep: Keep) -> dict[str, Any]:
    data, path = _file_of(value)
    check_medium(feature, data)
    return keep(data, path)


def _file_of(value: Any) -> tuple[bytes, str]:
    """Return the bytes and the name of what stands for a file."""
    if isinstance(value, Medium):
        return value.read(), value.path
    if isinstance(value, PillowImage.Image):
        return encode_png(value), ""
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3):
        return encode_array(value if value.ndim == 3 else value[..., None]), ""
    if isinstance(value, Mapping) and (value.get("bytes") is not None or value.get("path")):
        return (bytes(value["bytes"]), value.get("path") or "") if value.get("bytes") else _file_of(Path(value["path"]))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), ""
    if isinstance(value, Path):
        try:
            return value.read_bytes(), value.name
        except OSError as error:
            raise BadExampleError(_("it cannot be read ({error})", error=error.strerror)) from error
    raise BadExampleError(_("{value} is no file: give its bytes or its path", value=short(value)))


def _sequence(feature: Sequence, value: Any, keep: Keep) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise BadExampleError(_("{value} is no list", value=short(value)))
    values = [encode(feature.feature, part, keep) for part in value]
    if 0 <= feature.length != len(values):
        raise BadExampleError(_("{n} values instead of {length}", n=len(values), length=feature.length))
    return values


def _struct(feature: Struct, value: Any, keep: Keep) -> dict[str, Any]:
    return encode_example(dict(feature.parts), value, keep)


def _boxes(feature: Boxes, value: Any, keep: Keep) -> dict[str, Any]:
    stored = _struct(feature.plain, value, keep)
    if not stored["bbox"] and not stored["category"]:
        return {"bbox": [], "category": []}
    if len(stored["bbox"] or ()) != len(stored["category"] or ()):
        raise BadExampleError(_("there is not one category for each box"))
    for box in stored["bbox"]:
        if not all(side is not None and math.isfinite(side) for side in box) or box[2] <= 0 or box[3] <= 0:
            raise BadExampleError(_("{box} is no box (x, y, width, height)", box=tuple(box)))
    return stored


def _translation(feature: Translation, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise BadExampleError(_("{value} is no text for each language", value=short(value)))
    try:
        if feature.variable and set(value) == {"language", "translation"}:
            pairs = list(zip(value["language"], value["translation"], strict=True))
        else:
            pairs = [(language, text) for language, texts in value.items() for text in _texts(texts)]
    except (TypeError, ValueError) as error:
        raise BadExampleError(_("{value} is no text for each language", value=short(value))) from error
    unknown = sorted({language for language, _text in pairs} - set(feature.languages), key=str)
    if unknown:
        raise BadExampleError(_("unknown language {code!r}", code=unknown[0]))
    pairs = [(language, encode_value(Value("string"), text)) for language, text in pairs]
    if feature.variable:
        pairs.sort()
        return {"language": [language for language, _text in pairs], "translation": [text for _lang, text in pairs]}
    missing = [language for language in feature.languages if language not in dict(pairs)]
    if missing:
        raise BadExampleError(_("no text in {code!r}", code=missing[0]))
    return dict(pairs)


def _texts(texts: Any) -> list[Any]:
    return [texts] if isinstance(texts, str) or texts is None else list(texts)


def _array(feature: Array, value: Any) -> Any:
    try:
        given = np.asarray(value)
        if given.dtype.kind == "f" and np.dtype(feature.dtype).kind in "iu" and not (given == np.round(given)).all():
            raise ValueError("not whole")
        if given.dtype.kind == "c" and np.dtype(feature.dtype).kind != "c":
            raise ValueError("complex")
        array = np.asarray(value, dtype=feature.dtype)
        if array.shape == (0,) and feature.shape[0] is None:  # a list of no rows does not show its other axes
            array = array.reshape(0, *feature.shape[1:])
    except (ValueError, TypeError, OverflowError) as error:
        raise BadExampleError(_("{value} is no array of {dtype}", value=short(value), dtype=feature.dtype)) from error
    fits = array.ndim == len(feature.shape) and all(
        wanted in (None, size) for wanted, size in zip(feature.shape, array.shape, strict=True)
    )
    if not fits:
        raise BadExampleError(_("an array {shape} instead of {wanted}", shape=array.shape, wanted=feature.shape))
    return array.tolist()
