"""How far a check is: a bar after a second, or a function of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[int, int], None]


class Progress:
    """Counts the work done; a check is as many units of work as it has examples, and as many again afterwards."""

    def __init__(self, total: int, report: Report | None, bar: Any) -> None:
        self._total = total
        self._report = report
        self._bar = bar
        self._done = 0

    def doing(self, what: str) -> None:
        """Say in words what is done now."""
        self._bar.set_description_str(what, refresh=False)

    def advance(self, units: int) -> None:
        """Say that so much more is done."""
        self._done = min(self._total, self._done + units)
        self._bar.update(units)
        if self._report:
            self._report(self._done, self._total)


@contextmanager
def progress_of(total: int, report: Report | None) -> Iterator[Progress]:
    """Yield what counts the work; a bar shows it after a second, unless ``report`` does."""
    from tqdm.auto import tqdm

    with tqdm(total=total, delay=1, leave=False, disable=report is not None) as bar:
        yield Progress(total, report, bar)
