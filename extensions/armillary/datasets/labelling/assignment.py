"""Who labels what, so that each row is labelled by as many people as wished, and all have as much to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def assign(rows: Sequence[int], people: Sequence[str], overlap: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each person, in the order to label them: a pure function of the seed.

    Each row goes to the ``overlap`` people who have fewest so far, at random among equals, so that every two people
    share some rows and can be compared. The order is random, too: examples of one class often lie together, and who
    sees a hundred cats in a row sees a cat in everything.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(np.asarray(rows, np.int64))
    loads = np.zeros(len(people))
    chosen = np.zeros((len(order), overlap), np.int64)
    for index in range(len(order)):
        chosen[index] = np.argsort(loads + random.random(len(people)) / 2)[:overlap]
        loads[chosen[index]] += 1
    return {person: order[(chosen == number).any(axis=1)] for number, person in enumerate(people)}


def open_queue(
    rows: Sequence[int], person: str, answered: Mapping[str, Iterable[int]], overlap: int, seed: int
) -> NDArray[np.int64]:
    """Return the rows that a person may still label where nobody was named: those that too few others have answered.

    Rows that others have begun come first, so that they are finished soon.
    """
    numbers = np.asarray(rows, np.int64)
    counts = np.zeros(int(numbers.max(initial=-1)) + 1, np.int64)
    for other, theirs in answered.items():
        if other != person:
            known = np.fromiter(theirs, np.int64)
            np.add.at(counts, known[known < len(counts)], 1)
    own = np.fromiter(answered.get(person, ()), np.int64)
    mixed = np.random.default_rng(seed).permutation(numbers)
    left = mixed[(counts[mixed] < overlap) & ~np.isin(mixed, own)]
    return left[np.argsort(-counts[left], kind="stable")]
