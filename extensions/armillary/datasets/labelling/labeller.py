"""The widget in which a person labels example after example: classes, boxes or spans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from armillary_kernels.texts import translator

from armillary.datasets.labelling.items import item_of, state_of
from armillary.datasets.labelling.session import Session
from armillary.errors import ArmillaryError
from armillary.esm import together

_ = translator(__file__)

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("classes.js", "boxes.js", "spans.js", "labeller.js")


def _texts() -> dict[str, str]:
    return {
        "previous": _("Previous"),
        "next": _("Next"),
        "skip": _("Skip"),
        "undo": _("Undo"),
        "remove": _("Remove example"),
        "restore": _("Keep example"),
        "removed": _("removed"),
        "keys": _("Keys"),
        "where": _("{place} of {total}"),
        "done": _("{done} done"),
        "nothing": _("There is nothing to label here."),
        "last": _("That was the last one."),
        "first": _("This is the first one."),
        "undone": _("Undone."),
        "nothing_to_undo": _("There is nothing to undo."),
        "skipped": _("Skipped."),
        "loading": _("Loading …"),
        "present": _("Label: {label}"),
        "unlabelled": _("no label yet"),
        "labels": _("Classes"),
        "filter": _("Find a class"),
        "votes": _("Answers: {votes}"),
        "no_parts": _("nothing marked"),
        "new_box": _("New box"),
        "delete": _("Delete"),
        "box": _("Box {n}: {label}, left {x}, top {y}, width {width}, height {height}"),
        "boxes": _("Boxes"),
        "box_gone": _("Box deleted."),
        "selected": _("Selected: {text}"),
        "marked": _("{text} is {label}."),
        "unmarked": _("Mark removed: {text}"),
        "select_first": _("Select a part of the text first."),
        "key_class": _("choose the class and go on"),
        "key_arrows": _("previous, next"),
        "key_enter": _("accept as it is and go on"),
        "key_undo": _("undo"),
        "key_skip": _("skip"),
        "key_remove": _("remove the example, or keep it after all"),
        "key_filter": _("find a class by its name"),
        "key_help": _("show or hide these keys"),
        "key_box_class": _("class of the selected box, or of the next one"),
        "key_new_box": _("new box in the middle"),
        "key_next_box": _("select the next box"),
        "key_move_box": _("move the selected box; with Shift, its size; without one, previous and next example"),
        "key_delete_box": _("delete the selected box"),
        "key_escape": _("select nothing"),
        "key_word": _("select the previous or next word"),
        "key_extend": _("more or fewer words; with Alt, characters"),
        "key_span_class": _("mark the selection as a class"),
        "key_delete_span": _("remove the marks in the selection"),
        "key_updown": _("previous, next example"),
    }


class Labeller(anywidget.AnyWidget):
    """Shows one example at a time and takes answers, by keys alone if one likes.

    The browser asks for examples when it comes near them and keeps a few, so neither side holds many.

    Attributes
    ----------
    place
        Of the example shown, in the session's rows.
    """

    _esm = together(*(_STATIC / name for name in _SCRIPTS))
    _css = _STATIC / "labeller.css"

    texts = traitlets.Dict().tag(sync=True)
    kind = traitlets.Unicode("classes").tag(sync=True)
    unit = traitlets.Unicode("character").tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    done = traitlets.Int(0).tag(sync=True)
    place = traitlets.Int(0).tag(sync=True)
    may_remove = traitlets.Bool(False).tag(sync=True)
    generation = traitlets.Int(0).tag(sync=True)

    def __init__(self, session: Session | None = None, title: str = "") -> None:
        super().__init__(texts=_texts())
        self.session: Session | None = None
        #: Whether an answer is being taken, so that who listens for changes knows whose it is.
        self.busy = False
        self.on_msg(self._receive)
        if session is not None:
            self.show(session, title)

    def show(self, session: Session | None, title: str = "") -> None:
        """Label something else, from the first example that is not done; None shows nothing."""
        self.session = session
        rows = session.rows if session else np.empty(0, np.int64)
        open_places = (place for place, row in enumerate(rows) if session and not session.is_done(int(row)))
        with self.hold_sync():
            self.title, self.total = title, len(rows)
            self.place = next(open_places, max(0, len(rows) - 1))
            if session:
                self.kind, self.unit = session.task.kind, session.task.unit
                self.labels, self.may_remove = list(session.task.labels), session.may_remove
                self.done = session.done
            self.generation += 1

    def refresh(self) -> None:
        """Show what was changed elsewhere."""
        if self.session is not None:
            self.done = self.session.done
            self.send({"type": "stale", "generation": self.generation})

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: list[memoryview]) -> None:
        if self.session is None or content.get("generation") != self.generation:
            return  # a straggler of what was labelled before
        acts: dict[str, Callable[[dict[str, Any]], None]] = {
            "item": self._send_item,
            "answer": self._answer,
            "skip": self._skip,
            "remove": self._remove,
            "undo": self._undo,
        }
        self.busy = True
        try:
            acts[content["type"]](content)
        except ArmillaryError as error:
            state = {"place": content["place"]} if content["type"] == "item" else self._state(content)
            self._say({"type": "refused", "message": str(error), **state})
        except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
            place = {"place": content.get("place")} if content.get("type") == "item" else {}
            self._say({"type": "refused", "message": f"{type(error).__name__}: {error}", **place})
        finally:
            self.busy = False

    def _say(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        self.send({**content, "generation": self.generation}, buffers)

    def _state(self, content: dict[str, Any]) -> dict[str, Any]:
        assert self.session is not None  # noqa: S101 (_receive sees to it)
        return {"place": content["place"], **state_of(self.session, self._row(content))} if "place" in content else {}

    def _row(self, content: dict[str, Any]) -> int:
        assert self.session is not None  # noqa: S101
        place = content["place"]
        if not isinstance(place, (int, np.integer)) or not 0 <= place < len(self.session.rows):
            raise IndexError(place)
        return int(self.session.rows[place])

    def _send_item(self, content: dict[str, Any]) -> None:
        assert self.session is not None  # noqa: S101
        self._row(content)
        item, buffers = item_of(self.session, content["place"])
        self._say({"type": "item", "item": item}, buffers)

    def _answer(self, content: dict[str, Any]) -> None:
        assert self.session is not None  # noqa: S101
        self.session.give(self._row(content), content["answer"], content.get("seconds"))
        self._done(content)

    def _skip(self, content: dict[str, Any]) -> None:
        assert self.session is not None  # noqa: S101
        self.session.skip(self._row(content))
        self._done(content)

    def _remove(self, content: dict[str, Any]) -> None:
        assert self.session is not None  # noqa: S101
        self.session.remove(self._row(content))
        self._done(content)

    def _done(self, content: dict[str, Any]) -> None:
        assert self.session is not None  # noqa: S101
        self.done = self.session.done
        self._say({"type": "noted", **self._state(content)})

    def _undo(self, _content: dict[str, Any]) -> None:
        assert self.session is not None  # noqa: S101
        row = self.session.undo()
        self.done = self.session.done
        if row is None:
            self._say({"type": "undone", "place": -1})
            return
        place = int(next(iter(np.flatnonzero(self.session.rows == row)), -1))
        state = state_of(self.session, row) if place >= 0 else {}
        self._say({"type": "undone", "place": place, "elsewhere": place < 0, **state})
