"""The order of an epoch: a pure function of seed, epoch and the version's row groups.

The row groups are laid end to end in a seeded order, and each row then moves by up to half a buffer, to where chance
takes it; rows that would leave at an end are reflected there, so that every part of the epoch is mixed alike. All uses
of a row group thus lie within one buffer's length: whoever reads in this order reads each group once, keeps it for
that long, and needs no more memory however large the dataset is. A split that fits into the buffer is shuffled wholly.

The order is dealt out like cards: of ``p``, rank ``r`` of ``w`` reads ``p[r::w]``. So step k of all ranks together is
step k of one process with ``w`` times the batch size, no example comes twice, none is missing, and every rank takes
the same number of steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def epoch_order(rows: Rows, group_starts: Rows, buffer: int, *, seed: int, epoch: int) -> Rows:
    """Return the rows of a split in the order of an epoch.

    Parameters
    ----------
    rows
        The rows of the split, ascending.
    group_starts
        The first row of each row group, ascending, from 0.
    buffer
        The rows that are mixed with each other at a time.
    seed, epoch
        The same two give the same order.
    """
    random = np.random.default_rng([seed, epoch])
    if len(rows) <= buffer:
        return rows[random.permutation(len(rows))]
    places = _places(rows, group_starts, random) + buffer * (random.random(len(rows)) - 0.5)
    places = np.abs(places)
    places = len(rows) - np.abs(len(rows) - places)
    return rows[np.argsort(places, kind="stable")]


def _places(rows: Rows, group_starts: Rows, random: np.random.Generator) -> Rows:
    """Return where each row stands when its group has been moved to a place by chance."""
    groups = np.searchsorted(group_starts, rows, side="right") - 1
    _present, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = random.permutation(len(counts))
    moved = np.empty(len(counts), np.int64)
    moved[shuffled] = np.cumsum(counts[shuffled]) - counts[shuffled]
    stood = np.cumsum(counts) - counts
    return np.arange(len(rows)) + (moved - stood)[group]


def dealt(order: Rows, rank: int, world_size: int) -> Rows:
    """Return the part of an order that one rank reads."""
    return order[rank::world_size]
