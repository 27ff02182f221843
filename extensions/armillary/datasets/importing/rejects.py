"""Examples that cannot be used: the import stops, leaves them out, or sets them aside; each is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from armillary_kernels.texts import translator

from armillary.datasets.durable_files import new_file
from armillary.datasets.manifest import StoredFile
from armillary.errors import DatasetError

_ = translator(__file__)

FILE = "skipped.parquet"
OnError = Literal["stop", "skip", "set_aside"]
#: So many are listed in an error and in the manifest; all of them stand in the file.
LISTED_IN_ERROR, LISTED_IN_MANIFEST = 10, 100
#: An import that is to stop reads on to report what else is wrong, but not for ever.
ENOUGH_TO_STOP = 1000
_BATCH_BYTES = 32 * 2**20
_SCHEMA = pa.schema({"place": pa.string(), "reason": pa.string(), "data": pa.large_binary()})


class BadExampleError(ValueError):
    """An example that cannot be used; the message says why, in a person's words."""


@dataclass(frozen=True)
class Reject:
    """One example that cannot be used: its file or row, the reason, and how to read it again."""

    place: str
    reason: str
    raw: Callable[[], bytes] | None = None


def first_of(left_out: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return as many files that were left out as a manifest lists, and how many more there are."""
    more = len(left_out) - LISTED_IN_MANIFEST
    rest = [{"file": "…", "reason": _("and {n} more", n=more)}] if more > 0 else []
    return left_out[:LISTED_IN_MANIFEST] + rest


class Rejects:
    """The examples of one import that cannot be used.

    Parameters
    ----------
    on_error
        ``"stop"``: one of them ends the import, which saves nothing and lists them. ``"skip"``: they are left out;
        place and reason are kept. ``"set_aside"``: the data are kept too.
    source
        What is being imported, as an error calls it.

    Raises
    ------
    DatasetError
        When ``on_error`` is none of the three.
    """

    def __init__(self, on_error: OnError, source: str) -> None:
        if on_error not in ("stop", "skip", "set_aside"):
            raise DatasetError(_("on_error is {value!r}.", value=on_error), _('Use "stop", "skip" or "set_aside".'))
        self._on_error = on_error
        self._source = source
        self._file = ""
        self._found: list[Reject] = []

    def __len__(self) -> int:
        return len(self._found)

    @contextmanager
    def within(self, file: str) -> Iterator[None]:
        """Name the file, too, where an example stands that is noted meanwhile."""
        self._file = file
        try:
            yield
        finally:
            self._file = ""

    def add(self, place: str, reason: str, raw: Callable[[], bytes] | None = None) -> None:
        """Note an example; ends an import that is to stop as soon as enough is wrong to be reported."""
        place = _("{file}, {place}", file=self._file, place=place) if self._file else place
        self._found.append(Reject(place, reason, raw if self._on_error == "set_aside" else None))
        if self._on_error == "stop" and len(self._found) >= ENOUGH_TO_STOP:
            self.check(None)

    def check(self, total: int | None) -> None:
        """Stop the import if it is to, or if none of its ``total`` examples is good.

        Raises
        ------
        DatasetError
            With the first of the examples and their reasons.
        """
        if not self._found or (self._on_error != "stop" and total is not None and len(self._found) < total):
            return
        listed = [f"{reject.place}: {reject.reason}" for reject in self._found[:LISTED_IN_ERROR]]
        if len(self._found) > LISTED_IN_ERROR:
            listed.append(_("and {n} more", n=len(self._found) - LISTED_IN_ERROR))
        values = {"n": len(self._found), "source": self._source, "listed": "; ".join(listed)}
        if total is None:
            what = _("At least {n} examples in {source} cannot be used: {listed}.", **values)
        else:
            what = _("{n} of {total} examples in {source} cannot be used: {listed}.", total=total, **values)
        raise DatasetError(
            what, _('Repair or remove them, or leave them out with on_error="skip" or on_error="set_aside".')
        )

    def report(self) -> dict[str, Any]:
        """Return what a manifest says of them."""
        if not self._found:
            return {}
        first = [{"file": reject.place, "reason": reject.reason} for reject in self._found[:LISTED_IN_MANIFEST]]
        return {"skipped": first, "skipped_examples": len(self._found)}

    def write(self, folder: Path) -> StoredFile | None:
        """Write them into a version's folder; None when there are none."""
        if not self._found:
            return None
        with new_file(folder / FILE) as file:
            with pq.ParquetWriter(pa.PythonFile(file, "w"), _SCHEMA, compression="zstd") as writer:
                for batch in self._batches():
                    writer.write_batch(batch)
            return file.commit(len(self._found))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, Any]] = []
        size = 0
        for reject in self._found:
            data = self._data(reject)
            rows.append({"place": reject.place, "reason": reject.reason, "data": data})
            size += len(data or b"")
            if size > _BATCH_BYTES:
                yield pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)
                rows, size = [], 0
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)

    def _data(self, reject: Reject) -> bytes | None:
        if reject.raw is None:
            return None
        try:
            return reject.raw()
        except (OSError, ValueError):  # what cannot be read cannot be kept
            return None
