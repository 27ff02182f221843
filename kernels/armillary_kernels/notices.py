"""A few lines in a cell's output that change in place while the cell waits."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from armillary_kernels.descriptions import Text, describe
from armillary_kernels.waiting import Standing

Send = Callable[[str, dict[str, Any], dict[str, Any]], None]


class Notice:
    """What a cell that waits shows.

    Parameters
    ----------
    send
        Sends a message of a type, with a content, for a cell's request.
    parent
        That request.
    user
        Whom it is shown to.
    keeps_output
        Whether the cell has run already, so that the rest of its output must stay.
    """

    def __init__(self, send: Send, parent: dict[str, Any], user: str, *, keeps_output: bool = False) -> None:
        self._send, self._parent, self._user = send, parent, user
        self._keeps_output = keeps_output
        self._id = uuid.uuid4().hex
        self._shown: Text | None = None

    def show(self, standing: Standing) -> None:
        """Show how the lease stands; a change is seen in place."""
        self._put(describe(standing, self._user))

    def end(self, text: Text) -> None:
        """Show something that stays."""
        self._put(text)

    def _put(self, text: Text) -> None:
        if text == self._shown or not self._parent:
            return
        kind = "display_data" if self._shown is None else "update_display_data"
        self._shown = text
        self._display(kind, text.bundle())

    def clear(self) -> None:
        """Show nothing any more."""
        if self._shown is None:
            return
        self._shown = None
        if self._keeps_output:
            self._display("update_display_data", {"text/plain": "", "text/html": ""})
        else:
            self._send("clear_output", {"wait": False}, self._parent)

    def _display(self, kind: str, data: dict[str, str]) -> None:
        self._send(kind, {"data": data, "metadata": {}, "transient": {"display_id": self._id}}, self._parent)
