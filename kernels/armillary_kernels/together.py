"""Asks for GPUs that are of use only together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Together:
    """A group of one person's asks that the pool grants in one round or not at all.

    Attributes
    ----------
    id
        A name that the asker chooses, the same in each of them: up to 32 hexadecimal digits.
    size
        How many belong to it; what the newest one says counts.
    """

    id: str
    size: int
