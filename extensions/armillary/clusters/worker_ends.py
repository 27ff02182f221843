"""Workers that the gateway ended for their memory, or that got no GPU: why, in a person's words."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING

from armillary_kernels.texts import translator
from armillary_kernels.worker_end import REFUSED_TOPIC, TOPIC, WorkerEnd
from dask.utils import format_bytes

if TYPE_CHECKING:
    from distributed import Client

    from armillary.clusters.base import Cluster

_ = translator(__file__)


def worker_ends(client: Client) -> dict[str, WorkerEnd]:
    """Return the workers of a cluster that were ended for their memory, by Dask address."""
    events = client.get_events(TOPIC)
    return {event["worker"]: WorkerEnd(**event) for _time, event in events}


def describe(end: WorkerEnd) -> str:
    """Say why a worker was ended, and what to do."""
    return _(
        "A worker of your Dask cluster was ended: it used {used} of its {limit} of memory. Close the cluster and start "
        'one with more memory, such as `armillary.cluster(memory="{twice}")`, or give it smaller tasks.',
        used=format_bytes(end.used),
        limit=format_bytes(end.limit),
        twice=format_bytes(2 * end.limit),
    )


def last_refusal(client: Client, since: float) -> str:
    """Say why the GPU pool gave a worker no GPU; nothing where it has refused none since then (seconds, Unix time)."""
    reasons = [event["reason"] for at, event in client.get_events(REFUSED_TOPIC) if at >= since]
    return _("The GPU pool gave a worker no GPU: {reason}", reason=reasons[-1]) if reasons else ""


def tell(client: Client, cluster: Cluster) -> None:
    """Warn, where the cluster is used, of each worker that is ended from now on; its widget says so too."""
    reference = weakref.ref(cluster)  # the client must not keep the cluster

    def on_event(event: tuple[float, dict[str, int | str]]) -> None:
        text = describe(WorkerEnd(**event[1]))  # type: ignore[arg-type] # the fields that the gateway wrote
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        if (known := reference()) is not None:
            known.show_warning(text)

    client.subscribe_topic(TOPIC, on_event)
