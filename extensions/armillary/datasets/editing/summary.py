"""What is changed, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from armillary_kernels.texts import translator

_ = translator(__file__)


@dataclass(frozen=True)
class Summary:
    """What is changed, all told: a class that was changed and changed back does not count.

    Attributes
    ----------
    values
        Per column other than the target, the number of rows with a new value.
    columns
        Those that are added.
    """

    relabelled: int = 0
    removed: int = 0
    moved: int = 0
    values: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.relabelled or self.removed or self.moved or self.values or self.columns)

    def __str__(self) -> str:
        parts = [
            _("{n:,} relabelled", n=self.relabelled) if self.relabelled else "",
            _("{n:,} removed", n=self.removed) if self.removed else "",
            _("{n:,} moved to another split", n=self.moved) if self.moved else "",
            *(_("{column} changed in {n:,}", n=n, column=column) for column, n in self.values.items()),
            *(_("new column {column}", column=column) for column in self.columns),
        ]
        return _(", ").join(part for part in parts if part) or _("no changes")
