"""What widgets send while a kernel's gate is closed: held, and handled in its order when the gate is open."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)

#: Over which a page that is loaded asks for the state of all widgets at once; ipywidgets' own code answers.
CONTROL = "jupyter.widget.control"

#: How it asks, and how it asks a single widget.
_STATE_REQUESTS = ("request_states", "request_state")


def asks_for_state(message: dict[str, Any]) -> bool:
    """Return whether a message comes from a page that is loaded, not from a person who does something."""
    data = message["content"].get("data")
    return isinstance(data, dict) and data.get("method") in _STATE_REQUESTS


@dataclass(frozen=True)
class _Held:
    handle: Callable[[], Any]
    context: Context  # says which message, so that what its handler prints goes where it belongs
    is_request: bool


class HeldMessages:
    """The messages."""

    def __init__(self) -> None:
        self._held: deque[_Held] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, handle: Callable[[], Any], *, is_request: bool) -> None:
        """Hold what handles a message; ``is_request`` where it only asks for a widget's state."""
        self._held.append(_Held(handle, copy_context(), is_request))

    def deliver(self) -> None:
        """Handle all; the gate is open."""
        while self._held:
            held = self._held.popleft()
            try:
                held.context.run(held.handle)
            except (Exception, KeyboardInterrupt):  # the next message, or the cell, must come to its turn
                _log.exception("A widget's message could not be handled")

    def drop(self) -> None:
        """Forget all but requests for a state, which wait for the next cell."""
        self._held = deque(held for held in self._held if held.is_request)
