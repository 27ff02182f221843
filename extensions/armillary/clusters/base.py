"""What every Dask cluster of a user can do, wherever it runs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, Self

from armillary_kernels.texts import translator
from distributed import Client

from armillary.clusters.gpu_queue import GpuQueue
from armillary.clusters.progress import Arrival, Report, waiting_for_workers
from armillary.clusters.worker_ends import last_refusal, tell
from armillary.errors import ClusterError

_ = translator(__file__)

#: Seconds that asked-for workers get to come.
PATIENCE = 120.0

#: Seconds between looks, while waiting, whether the cluster still exists.
LOOK_PERIOD = 2.0


class Cluster(ABC):
    """A running Dask cluster.

    Attributes
    ----------
    started_here
        Whether the call that returned this object started the cluster (and did not find it running).
    gpus
        GPUs of each worker, leased from the pool.
    """

    def __init__(self, started_here: bool) -> None:
        self.started_here = started_here
        self.gpus = 0
        self._client: Client | None = None
        self._widget: Any = None

    # What the two kinds bring ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """The cluster's name."""

    @property
    @abstractmethod
    def dashboard_link(self) -> str | None:
        """Address of Dask's dashboard, or None where there is none."""

    @abstractmethod
    def _connect(self) -> Client:
        """Return a new client of the scheduler."""

    @abstractmethod
    def _request_workers(self, count: int) -> None:
        """Ask for a number of workers, without waiting for them."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop the cluster with all its workers."""

    @abstractmethod
    def _require_running(self) -> None:
        """Raise ClusterError when the cluster is known to have stopped."""

    # What a person does with it -----------------------------------------------------------------------------

    def client(self) -> Client:
        """Return the client through which work is given to the cluster; it becomes Dask's default.

        Raises
        ------
        ClusterError
            If the cluster has stopped.
        """
        if self._client is None or self._client.status != "running":
            self._require_running()
        if self._client is None or self._client.status in ("closed", "closing"):
            self._client = self._connect()
            tell(self._client, self)
        return self._client

    def is_shared(self) -> bool:
        """Return whether others than this process are connected: another notebook, or a run that goes on.

        Raises
        ------
        ClusterError
            If the cluster has stopped.
        """
        client = self.client()
        connected = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.clients))
        return any(name not in (client.id, "fire-and-forget") for name in connected)

    @property
    def workers(self) -> int:
        """Number of workers at work now."""
        try:
            return len(self.client().nthreads())
        except OSError:  # the scheduler is away
            return 0

    @property
    def memory(self) -> int:
        """Memory limit of all workers together, in bytes."""
        return sum(int(info.get("memory_limit") or 0) for info in self.worker_infos())

    @property
    def memory_used(self) -> int:
        """Memory that the workers' processes use now, in bytes."""
        return sum(int(info.get("metrics", {}).get("memory") or 0) for info in self.worker_infos())

    def worker_infos(self) -> list[dict[str, Any]]:
        """Return what the scheduler knows of each worker; an empty list while it is away."""
        client = self.client()
        return list(client.sync(worker_infos, client).values())

    def gpu_queue(self) -> GpuQueue | None:
        """Return where the workers stand that wait for GPUs, or None where none does."""
        return None

    def gpus_offered(self) -> int:
        """Return how many GPUs a worker can have at most."""
        return 0

    def restart(self, workers: int, gpus: int) -> None:
        """Start anew with workers that have ``gpus`` GPUs each; what the old ones hold in memory is lost.

        Does not wait for the workers.

        Raises
        ------
        ClusterError
            If that is not possible; the cluster goes on as it is.
        """
        raise ClusterError(_("There is no GPU pool here, so no worker can have GPUs of its own."))

    def scale(self, workers: int, report: Report | None = None) -> None:
        """Change the number of workers, and wait until they are there.

        Workers that stand in the queue for GPUs are waited for without end; an interrupt gives up their places.

        Parameters
        ----------
        workers
            How many there are to be.
        report
            Is told how many have come, see `wait_for_workers`; default: a line in the notebook.

        Raises
        ------
        ClusterError
            If a limit is reached, or the workers do not come.
        """
        self._request_workers(workers)
        try:
            with waiting_for_workers() as line:
                self.wait_for_workers(workers, report=report or line)
        except BaseException:
            if self.gpus:
                with suppress(ClusterError):
                    self._request_workers(self.workers)
            raise

    def grow(self, workers: int, report: Report | None = None) -> None:
        """See to it that there are at least ``workers`` workers; see `scale`."""
        if self.workers < workers:
            self.scale(workers, report)

    def wait_for_workers(self, workers: int, timeout: float = PATIENCE, report: Report | None = None) -> None:
        """Wait until at least ``workers`` workers are there.

        Parameters
        ----------
        workers
            Number of workers to wait for.
        timeout
            Seconds to wait at most; time in the queue for GPUs does not count.
        report
            Is told every two seconds, and whenever it changes, how many have come. What it raises ends the wait.

        Raises
        ------
        ClusterError
            If they have not come in time, or the cluster stopped.
        """
        deadline = time.monotonic() + timeout
        next_look = time.monotonic() + LOOK_PERIOD
        begun, seen, queue, refusal = time.time(), -1, None, ""
        while (here := self.workers) < workers:
            looks = time.monotonic() > next_look
            if looks:
                self._require_running()
                queue = self.gpu_queue()
                refusal = last_refusal(self.client(), begun) if self.gpus and not queue else ""
                next_look = time.monotonic() + LOOK_PERIOD
                if queue:
                    deadline = time.monotonic() + timeout
            if report and (looks or here != seen):
                report(Arrival(here, workers, queue, refusal))
            seen = here
            if time.monotonic() > deadline:
                what = _(
                    "{here} of {wanted} workers came within {seconds:.0f} seconds.",
                    here=here,
                    wanted=workers,
                    seconds=timeout,
                )
                raise ClusterError(
                    f"{what} {refusal}".strip(),
                    _("Ask for fewer, or close the cluster and try again."),
                )
            time.sleep(0.1)

    def close(self) -> None:
        """Stop the cluster with all its workers, whoever started it."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._stop()
        if self._widget is not None:
            self._widget.show_closed()

    def show_warning(self, text: str) -> None:
        """Show a sentence in the cluster's widget, if there is one."""
        if self._widget is not None:
            self._widget.show_warning(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.started_here:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from armillary.clusters.panel import ClusterPanel

        if self._widget is None:
            self._widget = ClusterPanel(self)
        return self._widget._repr_mimebundle_(**options)


async def worker_infos(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of each worker, by address; none while it is away.

    Not by ``client.scheduler_info()``: its periodic refresh may put an answer without workers in between.
    """
    try:
        identity = await client.scheduler.identity(n_workers=-1)
    except OSError:
        return {}
    workers: dict[str, dict[str, Any]] = identity["workers"]
    return workers
