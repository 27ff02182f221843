"""Which example belongs to train, validation or test: stratified by class and a pure function of the seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.errors import DatasetError

_ = translator(__file__)

NAMES = ("train", "validation", "test")
_OTHER_NAMES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "eval": "test"}
DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


@dataclass(frozen=True)
class Assignment:
    """The split of every row: ``codes[row]`` is an index into ``names``."""

    names: tuple[str, ...]
    codes: NDArray[np.int64]

    def rows(self, name: str) -> NDArray[np.int64]:
        """Return the rows of one split, in stored order."""
        return np.flatnonzero(self.codes == self.names.index(name))

    def counts(self) -> dict[str, int]:
        """Return the number of rows per split."""
        return {name: int((self.codes == code).sum()) for code, name in enumerate(self.names)}

    def class_counts(self, labels: NDArray[np.int64], classes: int) -> dict[str, tuple[int, ...]]:
        """Return, per split, the number of rows of each class."""
        counted = {name: np.bincount(labels[self.rows(name)], minlength=classes) for name in self.names}
        return {name: tuple(int(count) for count in counts) for name, counts in counted.items()}


def known_name(name: str) -> str | None:
    """Return the split that a column, a folder or another library calls so; None where that is no split."""
    plain = name.strip().lower()
    known = _OTHER_NAMES.get(plain, plain)
    return known if known in NAMES else None


def checked_shares(shares: Mapping[str, float] | None) -> dict[str, float]:
    """Return the shares above 0, in the order train, validation, test.

    ``None`` puts every example into train.

    Raises
    ------
    DatasetError
        For unknown names, negative shares, no training share, or a sum other than 1.
    """
    given = _numbers(shares) if shares is not None else {"train": 1.0}
    unknown = sorted(set(given) - set(NAMES))
    if unknown:
        raise DatasetError(
            _("Unknown split {names}.", names=", ".join(map(repr, unknown))), _("Use {names}.", names=", ".join(NAMES))
        )
    numbers = {name: given.get(name, 0.0) for name in NAMES}
    if not all(math.isfinite(share) and share >= 0 for share in numbers.values()) or numbers["train"] == 0:
        what = _("The shares {shares} must not be negative, and train must be more than 0.", shares=given)
        raise DatasetError(what, _("Change them."))
    if not math.isclose(sum(numbers.values()), 1, abs_tol=1e-6):
        what = _("The shares {shares} add up to {sum:g}.", shares=given, sum=sum(numbers.values()))
        raise DatasetError(what, _("Make them add up to 1."))
    return {name: share for name, share in numbers.items() if share > 0}


def _numbers(shares: Any) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in dict(shares).items()}
    except (TypeError, ValueError):
        what = _("The split {shares!r} is no share for each of {names}.", shares=shares, names=", ".join(NAMES))
        raise DatasetError(what, _("Write it as {example}.", example='{"train": 0.8, "test": 0.2}')) from None


def stratified(
    labels: NDArray[np.int64], class_names: Sequence[str], shares: Mapping[str, float] | None, seed: int
) -> Assignment:
    """Split rows so that each class has the same shares everywhere.

    Parameters
    ----------
    labels
        The class of every row, ``(n,)``.
    shares
        Share per split; ``None`` puts all rows into train.
    seed
        The same seed and labels give the same split.

    Raises
    ------
    DatasetError
        When a class has fewer examples than there are splits, so that it could not stand in each of them, or the
        shares or the seed are wrong.
    """
    parts = checked_shares(shares)
    check_seed(seed)
    _refuse_rare_classes(labels, class_names, parts)
    codes = np.zeros(len(labels), np.int64)
    random = np.random.default_rng(seed)
    for label in range(len(class_names)):
        rows = random.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum(apportioned(len(rows), list(parts.values())))
        codes[rows] = np.searchsorted(ends, np.arange(len(rows)), side="right")
    return Assignment(tuple(parts), codes)


def at_random(examples: int, shares: Mapping[str, float] | None, seed: int) -> Assignment:
    """Split rows that have no class; parameters and errors as of `stratified`, but few examples are no error."""
    parts = checked_shares(shares)
    check_seed(seed)
    codes = np.zeros(examples, np.int64)
    ends = np.cumsum(apportioned(examples, list(parts.values())))
    order = np.random.default_rng(seed).permutation(examples)
    codes[order] = np.searchsorted(ends, np.arange(examples), side="right")
    return Assignment(tuple(parts), codes)


def given(names: Sequence[str], known: Sequence[str] = ()) -> Assignment:
    """Return the split that names one for every row; train, validation and test come first.

    Parameters
    ----------
    known
        Names of splits that are there even where they have no row.
    """
    distinct = sorted({*names, *known}, key=lambda name: (NAMES.index(name) if name in NAMES else len(NAMES), name))
    index = {name: code for code, name in enumerate(distinct)}
    return Assignment(tuple(distinct), np.array([index[name] for name in names], np.int64))


def check_seed(seed: Any) -> None:
    """Raise DatasetError unless a seed is a whole number from 0."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DatasetError(_("The seed is {seed!r}.", seed=seed), _("Give a whole number, 0 or more."))


def _refuse_rare_classes(labels: NDArray[np.int64], class_names: Sequence[str], parts: Mapping[str, float]) -> None:
    counts = np.bincount(labels, minlength=len(class_names))
    rare = [(name, int(count)) for name, count in zip(class_names, counts, strict=True) if 0 < count < len(parts)]
    if not rare:
        return
    listed = ", ".join(f"{name!r} ({count})" for name, count in rare[:5]) + (", …" if len(rare) > 5 else "")
    raise DatasetError(
        _(
            "Too few examples to split: class {classes} has fewer than {n}, so it cannot stand in each of {splits}.",
            classes=listed,
            n=len(parts),
            splits=", ".join(parts),
        ),
        _(
            "Add examples of it, leave the class out, or ask for fewer splits, for instance "
            'split={"train": 0.8, "test": 0.2}, or split=None to keep everything in train.'
        ),
    )


def apportioned(total: int, shares: Sequence[float]) -> list[int]:
    """Divide ``total`` by largest remainder; each share gets at least one when there are enough.

    The shares need not add up to 1 exactly: of very many, the millionth that is missing would be many, too.
    """
    exact = [total * share / math.fsum(shares) for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    for index, count in enumerate(counts):
        if count == 0 and total >= len(shares):
            counts[counts.index(max(counts))] -= 1
            counts[index] = 1
    return counts
