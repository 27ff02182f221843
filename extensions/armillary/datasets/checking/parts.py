"""What a check keeps of each leaf while it goes through the row groups once.

Of every row a fingerprint of 8 bytes is kept, and of pictures, sounds and texts about 256 bytes more, by which near
duplicates are found. Everything else is kept of a sample of rows only, so that memory stays bounded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.columns import Leaf
from armillary.datasets.checking.findings import Finding, removal
from armillary.datasets.dataset import Dataset

_ = translator(__file__)

#: So many findings of one kind in one column are kept, the worst ones.
MOST_FINDINGS = 1000
NO_PAIRS = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Scope:
    """What is checked.

    Attributes
    ----------
    sample
        The rows that are looked at closely, in order: all of them, or as many as the limit allows.
    pool
        Decodes media side by side.
    wanted
        The kinds of findings that are asked for: what only others need is not looked at.
    """

    dataset: Dataset
    sample: NDArray[np.int64]
    seed: int
    pool: Executor
    wanted: frozenset[str]

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return len(self.dataset)

    @property
    def compares_closely(self) -> bool:
        """Whether what is nearly the same is asked for."""
        return not self.wanted.isdisjoint(("leak", "near_duplicate"))

    def places(self, first: int, count: int) -> slice:
        """Return which places of the sample lie in a row group."""
        return slice(*np.searchsorted(self.sample, [first, first + count]))


class Part(ABC):
    """What is known of one leaf; of each row group it sees the values once."""

    #: Whether examples with the same content are the same, whatever else stands beside it (an id, a file name).
    is_content = False
    #: The kinds of findings there can be of it.
    kinds: frozenset[str] = frozenset({"missing", "duplicate", "outlier"})

    def __init__(self, leaf: Leaf, scope: Scope) -> None:
        self.leaf = leaf
        self.scope = scope
        self.fingerprints = np.zeros(scope.rows, np.uint64)
        self.missing = np.zeros(scope.rows, bool)

    @property
    def name(self) -> str:
        """The leaf's name."""
        return self.leaf.name

    @abstractmethod
    def see(self, first: int, values: pa.Array) -> None:
        """Look at the values of a row group, whose first row is number ``first``; it is known which are missing."""

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with single values."""
        yield from self.missing_findings()

    def notes(self) -> Iterator[str]:
        """Yield what is to be said of the leaf as a whole."""
        return iter(())

    def near_pairs(self) -> NDArray[np.int64]:
        """Return pairs of rows ``(m, 2)`` that may be nearly the same."""
        return NO_PAIRS

    def alike(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell of each pair whether its values are the same or nearly so."""
        return self.fingerprints[pairs[:, 0]] == self.fingerprints[pairs[:, 1]]

    def block(self) -> Any:
        """Return the features of the sample's rows ``(n, d)``, dense or sparse; no columns where it has none.

        A row of a dense block that has no value is NaN.
        """
        return np.empty((len(self.scope.sample), 0), np.float32)

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Return numbers of the sample's rows that ought not to tell the class, by what they measure."""
        return {}

    def missing_findings(self) -> Iterator[Finding]:
        """Yield one finding for all rows without a value."""
        rows = np.flatnonzero(self.missing)
        if not len(rows):
            return
        n, share = len(rows), len(rows) / self.scope.rows
        yield Finding(
            "missing",
            tuple(rows[:MOST_FINDINGS].tolist()),
            share,
            _("{column}: {n} values are missing ({share:.1%}).", column=self.name, n=f"{n:,}", share=share),
            _("Remove these examples.") if self.is_content else _("Fill them with a recipe's impute step."),
            removal(rows[:MOST_FINDINGS].tolist()) if self.is_content else (),
            self.name,
        )


def hash_of(data: bytes) -> int:
    """Return 64 bits that tell contents apart."""
    from hashlib import blake2b

    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
