"""What a first look at files gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from armillary.datasets.recognising.samples import Sample
from armillary.datasets.recognising.ways import Way

#: Of a table, and of files that are listed.
ROWS = 20


@dataclass(frozen=True)
class Preview:
    """What files would give: how they are understood, examples per class, and some examples.

    Attributes
    ----------
    way
        How they are understood: which import, and what it is told.
    ways
        All the ways to understand them, the likeliest first.
    note
        A sentence about all of them.
    class_counts
        Examples per class (of boxes: boxes), of a table by the values of its target.
    samples
        Pictures, evenly from all of them.
    columns
        What the target, or the arrays, can be chosen from.
    rows
        The first rows.
    divided
        Whether folders named train, validation and test divide them already.
    """

    way: Way
    ways: tuple[Way, ...] = ()
    note: str = ""
    class_counts: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    columns: tuple[str, ...] = ()
    rows: pd.DataFrame | None = None
    divided: bool = False

    @property
    def kind(self) -> str:
        """The kind of the way: ``"table"``, ``"images"``, ``"boxes"`` and so on."""
        return self.way.kind

    @property
    def target(self) -> str | None:
        """The column with the class, of a table."""
        return self.way.settings.get("target")
