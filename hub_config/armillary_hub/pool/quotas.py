"""How much one person may have: quotas of users and groups, and which of them counts. Pure functions.

A quota bounds each person, not a group together. A person's own quota counts before those of groups, the most generous
of the groups' before the default, each number by itself; what nobody set is not bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: GPUs are counted in parts; this much is nothing.
NOTHING = 1e-9

QuotaScope = Literal["user", "group", "default"]


@dataclass(frozen=True)
class Quota:
    """The limits of one person; None where there is none.

    Attributes
    ----------
    gpus
        GPUs at once. A share of a GPU counts by its part of the memory.
    gpu_hours
        GPU-hours in any 24 hours.
    weight
        The person's part when many want GPUs: who weighs two gets twice as much as who weighs one.
    """

    gpus: float | None = None
    gpu_hours: float | None = None
    weight: float | None = None


@dataclass(frozen=True)
class QuotaRule:
    """A quota, and whom it is for; the default's name is empty."""

    scope: QuotaScope
    name: str
    quota: Quota


def quota_of(user: str, groups: Sequence[str], rules: Sequence[QuotaRule]) -> Quota:
    """Return the quota that counts for a person."""
    own = [rule.quota for rule in rules if rule.scope == "user" and rule.name == user]
    of_groups = [rule.quota for rule in rules if rule.scope == "group" and rule.name in groups]
    default = [rule.quota for rule in rules if rule.scope == "default"]
    levels = (own, of_groups, default)
    return Quota(
        _most(*([quota.gpus for quota in level] for level in levels)),
        _most(*([quota.gpu_hours for quota in level] for level in levels)),
        _most(*([quota.weight for quota in level] for level in levels)),
    )


def _most(*levels: Sequence[float | None]) -> float | None:
    """Return the largest number of the first level that has any."""
    for level in levels:
        if given := [number for number in level if number is not None]:
            return max(given)
    return None
