"""Changes by hand as plain data: what the journal keeps and undo takes back.

A *step* is what one call, or one key of a person, does: it is undone as one, and consists of changes. A change gives
the same value to some rows of the version that is edited. Rows are always called by their numbers in that version,
however many of them are removed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from armillary.datasets.features import Feature
from armillary.datasets.schemas import feature_from_json

Kind = Literal["set", "remove", "move", "add_column"]
#: An added column is a change of no row.
NO_ROW = -1
_ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One value for some rows.

    Attributes
    ----------
    kind
        ``"set"`` a column to a value, ``"remove"`` rows (True) or take them back (False), ``"move"`` them to a split,
        ``"add_column"``.
    column
        Of ``"set"`` and ``"add_column"``.
    value
        As the feature stores it; the name of a split; of a column, its feature as JSON and whether it is the target.
    source
        Who or what it comes from, such as ``"check"``, empty for the person's own hand.
    """

    kind: Kind
    rows: tuple[int, ...]
    column: str = ""
    value: Any = None
    source: str = ""


Step = tuple[Change, ...]


class Overlay:
    """What differs from the version that is edited, with the way back."""

    def __init__(self) -> None:
        self._state: dict[tuple[Kind, str], dict[int, Any]] = {}
        self._done: list[tuple[Step, list[tuple[dict[int, Any], int, Any]]]] = []
        self._undone: list[Step] = []

    @property
    def done(self) -> list[Step]:
        """The steps that stand, oldest first."""
        return [step for step, _before in self._done]

    @property
    def last_undone(self) -> Step | None:
        """The step that `redo` would do."""
        return self._undone[-1] if self._undone else None

    def do(self, step: Step) -> None:
        """Do a step; what was undone before cannot be redone after it."""
        self._apply(step)
        self._undone.clear()

    def undo(self) -> Step:
        """Take the last step back and return it."""
        step, before = self._done.pop()
        for where, row, value in reversed(before):
            if value is _ABSENT:
                del where[row]
            else:
                where[row] = value
        self._undone.append(step)
        return step

    def redo(self) -> Step:
        """Do again what was undone last and return it."""
        step = self._undone.pop()
        self._apply(step)
        return step

    def _apply(self, step: Step) -> None:
        before = []
        for change in step:
            where = self._state.setdefault((change.kind, change.column), {})
            for row in change.rows:
                before.append((where, row, where.get(row, _ABSENT)))
                where[row] = change.value
        self._done.append((step, before))

    @property
    def removed(self) -> set[int]:
        """The rows that are to go."""
        return {row for row, gone in self._state.get(("remove", ""), {}).items() if gone}

    @property
    def splits(self) -> Mapping[int, str]:
        """The new split of rows."""
        return self._state.get(("move", ""), {})

    @property
    def values(self) -> dict[str, Mapping[int, Any]]:
        """Per column, the new stored values of rows."""
        return {column: rows for (kind, column), rows in self._state.items() if kind == "set" and rows}

    @property
    def added(self) -> dict[str, tuple[Feature, bool]]:
        """The new columns, and whether each is the target."""
        entries = {
            column: rows[NO_ROW] for (kind, column), rows in self._state.items() if kind == "add_column" and rows
        }
        return {column: (feature_from_json(entry["feature"]), entry["target"]) for column, entry in entries.items()}


def step_to_json(step: Step, features: Mapping[str, Feature]) -> list[dict[str, Any]]:
    """Return a step as plain JSON values."""
    return [_change_to_json(change, features.get(change.column)) for change in step]


def _change_to_json(change: Change, feature: Feature | None) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": change.kind, "rows": list(change.rows)}
    described |= {name: getattr(change, name) for name in ("column", "source") if getattr(change, name)}
    try:
        json.dumps(change.value)
    except TypeError:  # a time, a decimal number, bytes: what JSON has no form for
        assert feature is not None  # noqa: S101 (other kinds of changes have plain values)
        return {**described, "arrow": _packed(change.value, feature)}
    return {**described, "value": change.value}


def step_from_json(entries: Iterable[Mapping[str, Any]]) -> Step:
    """Return the step that `step_to_json` described.

    Raises
    ------
    KeyError, ValueError, TypeError
        When it is none.
    """
    return tuple(
        Change(
            entry["kind"],
            tuple(int(row) for row in entry["rows"]),
            entry.get("column", ""),
            _unpacked(entry["arrow"]) if "arrow" in entry else entry["value"],
            entry.get("source", ""),
        )
        for entry in entries
    )


def _packed(value: Any, feature: Feature) -> str:
    batch = pa.record_batch({"value": pa.array([value], feature.arrow_type)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return base64.b64encode(sink.getvalue()).decode()


def _unpacked(text: str) -> Any:
    with pa.ipc.open_stream(base64.b64decode(text)) as reader:
        return reader.read_all().column("value")[0].as_py()
