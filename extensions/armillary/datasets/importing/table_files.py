"""Rows of CSV, JSON, Parquet and Arrow files; each bad row is told by its place in the file."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from armillary_kernels.texts import translator

from armillary.datasets.importing.archive_check import MAX_UNPACKED_BYTES, too_large
from armillary.datasets.importing.arrow_files import ARROW_SUFFIXES, PARQUET_SUFFIXES
from armillary.datasets.importing.arrow_tables import as_frame, read_arrow
from armillary.datasets.importing.columns import PLACE
from armillary.datasets.importing.rejects import Rejects
from armillary.errors import DatasetError

_ = translator(__file__)

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"})
MAX_FIELD = 16 * 2**20
#: A longer line is passed over without ever being in memory.
MAX_LINE = 4 * MAX_FIELD
#: Of a CSV file, what is looked at to find what divides its columns, and what may do so; the first, where two do.
_BEGINNING = 2**16
_MARKS = "\t,;|"
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".json", *PARQUET_SUFFIXES, *ARROW_SUFFIXES, *_JSON_LINES})
_ESCAPED = range(0xDC80, 0xDD00)  # where surrogateescape puts bytes that do not fit the encoding
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def is_table(path: str | Path) -> bool:
    """Return whether a file is a table by its name."""
    return _suffix(Path(path)) in SUFFIXES


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in _OPENERS else "".join(suffixes[-1:])


def read_rows(path: Path, encoding: str, rejects: Rejects) -> pd.DataFrame:
    """Return a table as it is; its column `PLACE` says where each row stands in the file.

    CSV columns are text. Rows that cannot be read are added to ``rejects``.

    Raises
    ------
    DatasetError
        When the file cannot be read as a table, or has no rows.
    """
    frame = read_part(path, encoding, rejects)
    refuse_empty(frame, path, rejects)
    return frame


def refuse_empty(frame: pd.DataFrame, path: Path, rejects: Rejects) -> None:
    """Refuse a table without a row; where it had some that could not be read, these are named."""
    if frame.empty or list(frame.columns) == [PLACE]:
        rejects.check(len(rejects))
        raise DatasetError(
            _("{file} has no rows.", file=path.name), _("Give a table with a header and at least one row.")
        )


def read_part(path: Path, encoding: str, rejects: Rejects) -> pd.DataFrame:
    """Return what `read_rows` does, of a file that may have no rows."""
    suffix = _suffix(path)
    with _explained(path, encoding):
        if suffix in PARQUET_SUFFIXES:
            frame = as_frame(pq.read_table(path), path, rejects)
        elif suffix in ARROW_SUFFIXES:
            frame = as_frame(read_arrow(path), path, rejects)
        elif suffix in _JSON_LINES:
            frame = _frame(_json_lines(path, encoding, rejects))
        elif suffix == ".json":
            frame = _frame(_json_list(path, encoding, rejects))
        else:
            frame = _read_csv(path, encoding, rejects)
    frame.columns = [str(column) for column in frame.columns]
    return frame


def _frame(rows: Iterator[tuple[str, dict[str, Any]]]) -> pd.DataFrame:
    found = list(rows)
    names = dict.fromkeys(name for _place, row in found for name in row)
    columns = {name: _column([row.get(name) for _place, row in found]) for name in names}
    return pd.DataFrame({**columns, PLACE: [place for place, _row in found]}) if found else pd.DataFrame()


def _column(values: list[Any]) -> pd.Series:
    """Return whole numbers as such, also where some are missing: as floats they would lose their last digits."""
    kinds = {type(value) for value in values}
    if kinds == {int, type(None)}:
        try:
            return pd.Series(values, dtype="Int64")
        except OverflowError:
            pass
    return pd.Series(values)


def _json_lines(path: Path, encoding: str, rejects: Rejects) -> Iterator[tuple[str, dict[str, Any]]]:
    with _open_text(path, encoding) as file:
        lines = _Lines(file, path)
        in_words = _("line {line}")  # translated once, not for every row
        while True:
            lines.last = []
            place = in_words.format(line=lines.number + 1)
            try:
                line = next(lines)
                if not line.strip():
                    continue
                row = json.loads(line)
                reason = _text_fault([line], encoding) or _json_fault(row, "\\u" in line)
            except StopIteration:
                return
            except _LongLineError as error:
                line, reason = "", str(error)
            except (ValueError, RecursionError) as error:
                reason = _("it is no JSON ({error})", error=error)
            if reason:
                rejects.add(place, reason, partial(_bytes, [line]))
            else:
                yield place, row


def _json_list(path: Path, encoding: str, rejects: Rejects) -> Iterator[tuple[str, dict[str, Any]]]:
    with _open_text(path, encoding, errors="strict") as file:
        text = file.read(MAX_UNPACKED_BYTES + 1)
        if len(text) > MAX_UNPACKED_BYTES:
            raise too_large(path.name, len(text), MAX_UNPACKED_BYTES)
        if not text:
            raise ValueError(_("it is empty"))
        rows = json.loads(text)
    if not isinstance(rows, list):
        raise ValueError(_("it is no list of objects"))
    has_escapes = "\\u" in text
    for number, row in enumerate(rows, 1):
        place = _("row {row}", row=number)
        if reason := _json_fault(row, has_escapes):
            rejects.add(place, reason, lambda row=row: json.dumps(row).encode())  # type: ignore[misc]
        else:
            yield place, row


def _json_fault(row: Any, has_escapes: bool) -> str:
    """Return what is wrong with a row; only an escape can hide a NUL byte or half a character in it."""
    if not isinstance(row, dict):
        return _("it is no object with columns")
    if "" in row:
        return _("a column has no name")
    if not has_escapes:
        return ""
    wrong = next((text for text in _texts_in(row) if not text.isprintable() and _NO_TEXT.search(text)), None)
    if wrong is None:
        return ""
    return _("there is a NUL byte in it") if "\0" in wrong else _("there is half a character in it")


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part)


def _read_csv(path: Path, encoding: str, rejects: Rejects) -> pd.DataFrame:
    with _open_text(path, encoding) as file, _field_limit():
        mark = _mark_in(file.read(_BEGINNING))
        file.seek(0)
        lines = _Lines(file, path)
        reader = csv.reader(lines, delimiter=mark, strict=True)
        header = _header(reader, encoding)
        rows = _csv_rows(reader, lines, len(header), encoding, rejects)
        columns: list[list[str | None]] = [[] for _name in header]
        places: list[str] = []
        for place, row in rows:
            places.append(place)
            for column, value in zip(columns, row, strict=True):
                column.append(None if value in MISSING else value)
    frame = pd.DataFrame({index: pd.Series(column, dtype="str") for index, column in enumerate(columns)})
    frame.columns = pd.Index(header)
    return frame.assign(**{PLACE: places}) if places else frame


def _mark_in(beginning: str) -> str:
    """Return what divides columns: what gives the most rows as many as it gives the header, and most of them."""
    return max(_MARKS, key=partial(_fit, beginning))


def _fit(beginning: str, mark: str) -> tuple[bool, int, int]:
    sizes: list[int] = []
    with suppress(csv.Error):  # which is told when the file is read
        sizes.extend(len(row) for row in csv.reader(StringIO(beginning, newline=""), delimiter=mark) if row)
    if len(beginning) == _BEGINNING:
        del sizes[-1:]  # perhaps half a row
    columns = sizes[0] if sizes else 0
    return columns > 1, sizes.count(columns), columns


def _header(reader: Any, encoding: str) -> list[str]:
    header = next(reader, None)
    if not header:
        raise ValueError(_("it is empty"))
    if fault := _text_fault(header, encoding):
        raise DatasetError(
            _("The header cannot be read: {reason}.", reason=fault),
            _('Name its encoding, such as encoding="gb18030" or encoding="latin-1".'),
        )
    return [name or f"column {number}" for number, name in enumerate(header, 1)]


class _LongLineError(csv.Error):
    """A line is longer than any that is read."""


class _Lines:
    """The lines of a file; ``last`` keeps those of the row that was read last, ``number`` counts all of them.

    Of a line that is far too long, nothing is kept; a file that unpacks to far too much ends it.
    """

    def __init__(self, file: IO[str], path: Path) -> None:
        self._file = file
        self._path = path
        self._left = MAX_UNPACKED_BYTES if path.suffix.lower() in _OPENERS else None
        self.last: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        if self._left is not None:
            self._count(line)
        self.number += 1
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            while (rest := self._file.readline(MAX_LINE)) and rest[-1] not in "\r\n":
                self._count(rest)
            raise _LongLineError(_("it has more than the allowed {limit:,} characters", limit=MAX_LINE))
        self.last.append(line)
        return line

    def _count(self, text: str) -> None:
        if self._left is not None:
            self._left -= len(text)
            if self._left < 0:
                raise too_large(self._path.name, MAX_UNPACKED_BYTES - self._left, MAX_UNPACKED_BYTES)


def _csv_rows(
    reader: Any, lines: _Lines, columns: int, encoding: str, rejects: Rejects
) -> Iterator[tuple[str, list[str]]]:
    """Yield each good row with its first line in the file; a bad one with all its lines."""
    in_words = _("line {line}")  # translated once, not for every row
    while True:
        lines.last = []
        first = lines.number + 1
        place = in_words.format(line=first)
        row: list[str] = []
        try:
            row = next(reader)
            fault = _row_fault(row, columns) or _text_fault(row, encoding) if row else None
        except StopIteration:
            return
        except csv.Error as error:
            fault = _("it cannot be divided into columns ({error})", error=error)
        if fault:
            if lines.number > first:  # a quote that is never closed takes all that follows with it
                place = _("lines {first} to {last}", first=first, last=lines.number)
            rejects.add(place, fault, partial(_bytes, lines.last))
        elif row:
            yield place, row


def _row_fault(row: list[str], columns: int) -> str:
    if len(row) == columns:
        return ""
    return _("{n} values for {columns} columns", n=len(row), columns=columns)


def _text_fault(row: list[str], encoding: str) -> str:
    text = "".join(row)
    if "\0" in text:
        return _("there is a NUL byte in it")
    if not text.isascii() and any(ord(character) in _ESCAPED for character in text):
        return _("it is not encoded in {encoding}", encoding=encoding)
    return ""


def _bytes(lines: list[str]) -> bytes:
    return "".join(lines).encode("utf-8", "surrogateescape")


@contextmanager
def _field_limit() -> Iterator[None]:
    """Let a field be as long as a book; beyond that the csv module reports its row."""
    before = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _open_text(path: Path, encoding: str, errors: str = "surrogateescape") -> IO[str]:
    """Open a text file, perhaps compressed; a byte order mark of UTF-16 says its encoding itself."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as file:
        mark = file.read(2)
    if mark in (b"\xff\xfe", b"\xfe\xff"):
        encoding, errors = "utf-16", "strict"
    return opener(path, "rt", encoding=encoding, errors=errors, newline="")


@contextmanager
def _explained(path: Path, encoding: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(_("There is no file {path}.", path=path), _("Check the path.")) from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            _("{file} is not encoded in {encoding} (byte {n}).", file=path.name, encoding=encoding, n=error.start),
            _('Name its encoding, such as encoding="gb18030" or encoding="latin-1".'),
        ) from error
    except DatasetError:
        raise
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        ValueError,
        LookupError,
        RecursionError,
        pa.ArrowException,
    ) as error:
        raise DatasetError(
            _("{file} cannot be read as a table: {error}.", file=path.name, error=error),
            _('Repair the file, or name its encoding, such as encoding="gb18030".'),
        ) from error
