"""The names that Hugging Face ``datasets`` gives to Arrow's types of plain values."""

from __future__ import annotations

import re
from functools import cache

import pyarrow as pa

_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, ?tz=(.+))?\]")
_DECIMAL = re.compile(r"decimal(128|256)\((\d+), ?(-?\d+)\)")
_OTHER_NAMES = {
    "double": "float64",
    "float": "float32",
    "halffloat": "float16",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}
_FACTORIES = {
    "binary_view": pa.binary_view,
    "large_binary": pa.large_binary,
    "large_string": pa.large_string,
    "string_view": pa.string_view,
}


@cache
def arrow_type_of(dtype: str) -> pa.DataType:
    """Return the Arrow type of a name such as ``"int8"``, ``"timestamp[us, tz=UTC]"`` or ``"decimal128(9, 2)"``.

    Raises
    ------
    ValueError
        When there is none.
    """
    if match := _TIMESTAMP.fullmatch(dtype):
        return pa.timestamp(match[1], tz=match[2])
    if match := _DECIMAL.fullmatch(dtype):
        make = pa.decimal128 if match[1] == "128" else pa.decimal256
        return make(int(match[2]), int(match[3]))
    if dtype in _FACTORIES:
        return _FACTORIES[dtype]()
    return pa.type_for_alias(dtype)


def stored_type(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type for Parquet files: one that pyarrow 25 can read back, compare and take rows of.

    It cannot read back a missing list of fixed size, nor take rows of views.

    Raises
    ------
    ValueError
        For parts of which there are none: Parquet has no such type.
    """
    types = pa.types
    if types.is_string_view(arrow_type):
        return pa.string()
    if types.is_binary_view(arrow_type):
        return pa.binary()
    if types.is_struct(arrow_type):
        if not arrow_type.num_fields:
            raise ValueError("no parts")
        return pa.struct([(part.name, stored_type(part.type)) for part in arrow_type])
    if types.is_large_list(arrow_type):
        return pa.large_list(stored_type(arrow_type.value_type))
    if types.is_list(arrow_type) or types.is_fixed_size_list(arrow_type):
        return pa.list_(stored_type(arrow_type.value_type))
    return arrow_type


def dtype_of(arrow_type: pa.DataType) -> str:
    """Return the name of a plain Arrow type.

    Raises
    ------
    ValueError
        When it is no type of plain values.
    """
    name = _OTHER_NAMES.get(str(arrow_type), str(arrow_type))
    if arrow_type_of(name) != arrow_type:
        raise ValueError(f"no feature has the type {arrow_type}")
    return name
