"""Parquet and Arrow files as tables of pandas': an index is a column, texts are looked at, whole numbers stay whole."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
from armillary_kernels.texts import translator

from armillary.datasets.importing.columns import PLACE
from armillary.datasets.importing.rejects import Rejects
from armillary.errors import DatasetError

_ = translator(__file__)

#: What pandas calls an index without a name when it writes a file.
_NAMELESS = re.compile(r"__index_level_\d+__")
_WHOLE_NUMBERS = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def read_arrow(path: Path) -> pa.Table:
    """Return the rows of an Arrow file, or of a stream of its batches."""
    try:
        return feather.read_table(path)
    except pa.ArrowInvalid:
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
            return stream.read_all()


def as_frame(table: pa.Table, path: Path, rejects: Rejects) -> pd.DataFrame:
    """Return the columns of an Arrow table; an index of pandas' is one of them where it has a name."""
    holds_bytes = next((field.name for field in table.schema if _is_binary(field.type)), None)
    if holds_bytes is not None:
        raise DatasetError(
            _("Column {name!r} of {file} holds bytes.", name=holds_bytes, file=path.name),
            _("Import the file with import_arrow(), or leave the column out of it."),
        )
    table = table.drop_columns([name for name in table.column_names if _NAMELESS.fullmatch(name)])
    misread = _misread_rows(table)
    for row, column in sorted(misread.items()):
        reason = _("{column!r}: it is not encoded in {encoding}", column=column, encoding="UTF-8")
        rejects.add(_("row {row}", row=row + 1), reason)
    if misread:
        kept = [row for row in range(len(table)) if row not in misread]
        places = pa.array([_("row {row}", row=row + 1) for row in kept])
        table = table.take(kept).append_column(PLACE, places)
    return table.to_pandas(ignore_metadata=True, types_mapper=_WHOLE_NUMBERS.get)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _misread_rows(table: pa.Table) -> dict[int, str]:
    """Return the rows with a text that is no UTF-8, which Arrow itself does not look for, each with its column."""
    misread: dict[int, str] = {}
    for name in dict.fromkeys(table.column_names):
        for column in (table.column(index) for index in table.schema.get_all_field_indices(name)):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid:
                for row, value in enumerate(column):
                    if not _is_readable(value):
                        misread.setdefault(row, name)
    return misread


def _is_readable(value: pa.Scalar) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return False
    return True
