"""Why a Dask worker was ended for its memory, or gets no GPU: told by the gateway over Dask's events."""

from __future__ import annotations

from dataclasses import dataclass

#: The topic of the scheduler's event log; an event is `WorkerEnd` as a dict.
TOPIC = "armillary-worker-ended"

#: That of workers to which the GPU pool gives no GPU; an event is ``{"reason": ...}``.
REFUSED_TOPIC = "armillary-worker-refused"


@dataclass(frozen=True)
class WorkerEnd:
    """One worker that had more memory than it was given.

    Attributes
    ----------
    worker
        Its Dask address.
    used, limit
        Bytes that its processes had together, and those that it was given.
    """

    worker: str
    used: int
    limit: int
