"""What all of these forms do: show what a way is told, and say when a person tells it otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.ways import Way
from armillary.form import field

LABEL, WIDTH = "170px", "440px"


class WayForm:
    """The fields of one way.

    Parameters
    ----------
    changed
        Called with the way as a person has told it.

    Attributes
    ----------
    rows
        The widgets, one below the other.
    """

    def __init__(self, changed: Callable[[Way], None]) -> None:
        self._changed = changed
        self._way: Way | None = None
        self._quiet = False
        self.rows: tuple[Any, ...] = self.build()

    def build(self) -> tuple[Any, ...]:
        """Make the widgets and return them."""
        raise NotImplementedError

    def fill(self, found: Preview) -> None:
        """Show what the way is told."""
        raise NotImplementedError

    def told(self, way: Way) -> Way:
        """Return the way as the fields say."""
        raise NotImplementedError

    def show(self, found: Preview) -> None:
        """Show what the way of a preview is told."""
        self._way = found.way
        with self._unheard():
            self.fill(found)

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def field(self, kind: Any, description: str, **options: Any) -> Any:
        """Return a field whose changes are heard; a text's when it is left."""
        if issubclass(kind, (widgets.Text, widgets.Textarea)):
            options = {"continuous_update": False, **options}
        made = field(kind, description, **{"label": LABEL, "width": WIDTH, **options})
        made.observe(self._heard, "value")
        return made

    def _heard(self, _change: Any) -> None:
        if not self._quiet and self._way is not None:
            self._changed(self.told(self._way))
