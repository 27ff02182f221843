"""What a check found, as plain data and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
from armillary_kernels.texts import translator

from armillary.datasets.checking.findings import KINDS, Finding, Suggestion, merged, title
from armillary.datasets.dataset import Dataset
from armillary.datasets.names import one_or_several
from armillary.errors import DatasetError

if TYPE_CHECKING:
    from armillary.datasets.checking.check_view import CheckView

_ = translator(__file__)


@dataclass(frozen=True, repr=False)
class CheckReport:
    """The findings of one check of one version of a dataset.

    Attributes
    ----------
    dataset
        What was checked.
    kinds
        The kinds of findings that were looked for.
    found
        All findings, the gravest kinds and the surest first.
    notes
        What else is to be known: what was looked at in a sample only, and what could not be looked for.
    totals
        Per kind, how many findings there were; of a kind with very many, ``found`` has the worst.

    Examples
    --------
    >>> report = datasets.check("digits@1")
    >>> report.findings("label_error")[0].explanation
    'Labelled “7”; a model that never saw it says “1” (98%; “7”: 0%).'
    """

    dataset: Dataset
    kinds: tuple[str, ...]
    found: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    totals: Mapping[str, int] = field(default_factory=dict)

    def findings(self, kind: str | None = None) -> list[Finding]:
        """Return the findings of one kind, or all.

        Raises
        ------
        DatasetError
            When there is no such kind.
        """
        if kind is None:
            return list(self.found)
        return [finding for finding in self.found if finding.kind in checked_kinds([kind])]

    def suggestions(self, kind: str | None = None) -> list[Suggestion]:
        """Return the changes that the findings suggest, one for each row; look at them before you apply them."""
        return merged(suggestion for finding in self.findings(kind) for suggestion in finding.suggestions)

    def to_pandas(self) -> pd.DataFrame:
        """Return the findings as a table: ``kind``, ``column``, ``rows``, ``score``, ``explanation``, ``advice``."""
        columns = ["kind", "column", "rows", "score", "explanation", "advice"]
        rows = [[getattr(finding, column) for column in columns] for finding in self.found]
        return pd.DataFrame(rows, columns=columns)

    def view(self) -> CheckView:
        """Return the view in which a person goes through the findings and accepts suggestions."""
        from armillary.datasets.checking.check_view import CheckView

        return CheckView(self)

    def __len__(self) -> int:
        return len(self.found)

    def __bool__(self) -> bool:
        return True  # a report without findings is a report

    def __repr__(self) -> str:
        listed = ", ".join(f"{title(kind)} {count:,}" for kind, count in self.totals.items() if count)
        return f"<CheckReport {self.dataset.reference}: {listed or _('nothing found')}>"

    def _repr_html_(self) -> str:
        from armillary.datasets.checking.page import page

        return page(self)


def checked_kinds(kinds: Iterable[str] | None) -> tuple[str, ...]:
    """Return the kinds in their order; all of them for ``None``.

    Raises
    ------
    DatasetError
        When there is no such kind.
    """
    wanted = KINDS if kinds is None else one_or_several(kinds)
    unknown = [kind for kind in wanted if kind not in KINDS]
    if unknown:
        what = _("There is no kind of finding {kinds}.", kinds=", ".join(map(repr, unknown)))
        raise DatasetError(what, _("Use {kinds}.", kinds=", ".join(KINDS)))
    return tuple(kind for kind in KINDS if kind in wanted)
