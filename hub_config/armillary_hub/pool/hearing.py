"""Of whom the pool has heard, and how long ago: an asker that hangs must not keep others waiting."""

from __future__ import annotations

from collections.abc import Callable, Set

#: Seconds without a word after which an ask, or a granted lease that is not in use, ends. Where forty kernels start at
#: once on few processors, it takes half of it until they look after their places.
SILENCE = 60.0


class Heard:
    """When each asker was heard of. Its methods may be called from several threads.

    Parameters
    ----------
    clock
        The monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: dict[str, float] = {}

    def __len__(self) -> int:
        """Return of how many something is known."""
        return len(self._heard)

    def hear(self, lease_id: str) -> None:
        """Note that the asker of a lease is there."""
        self._heard[lease_id] = self._clock()

    def is_silent(self, lease_id: str) -> bool:
        """Return whether an asker has said nothing for `SILENCE`; who was never heard of has the whole time anew.

        So has everybody after a restart of the pool.
        """
        return self._clock() - self._heard.setdefault(lease_id, self._clock()) > SILENCE

    def keep(self, standing: Set[str]) -> None:
        """Forget all leases but these."""
        for lease_id in list(self._heard):  # a copy, for others hear something meanwhile
            if lease_id not in standing:
                self._heard.pop(lease_id, None)
