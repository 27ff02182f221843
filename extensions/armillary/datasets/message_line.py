"""A line that says what has become of what a person did, and why not if it could not be done."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from armillary.datasets import balance
from armillary.errors import ArmillaryError


class MessageLine(widgets.HTML):
    """Read out by a screen reader when it changes."""

    def say(self, text: str, kind: str = "note") -> None:
        """Show a text: a ``"note"``, something that is ``"done"``, or an ``"error"``; nothing for an empty one."""
        role = "alert" if kind == "error" else "status"
        body = f'<p role="{role}" class="arm-data-{kind}">{escape(text)}</p>' if text else ""
        self.value = balance.styled(body)

    def guard(self, act: Callable[[], Any]) -> None:
        """Do something, and show the error if it fails."""
        self.say("")
        try:
            act()
        except ArmillaryError as error:
            self.say(str(error), kind="error")
        except Exception as error:
            self.say(f"{type(error).__name__}: {error}", kind="error")
