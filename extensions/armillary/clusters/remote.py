"""The user's cluster on a hub: found, started and scaled through Dask Gateway."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import aiohttp
import httpx
from armillary_kernels.connection import Connection
from armillary_kernels.texts import own_language, translator
from dask_gateway import Gateway, GatewayCluster
from dask_gateway.auth import JupyterHubAuth
from dask_gateway.client import ClusterReport, GatewayClusterError, GatewayServerError
from distributed import Client
from distributed.utils import silence_logging_cmgr

from armillary.clusters.base import Cluster
from armillary.clusters.gpu_queue import GpuQueue, gpu_queue, pool_size
from armillary.clusters.progress import Report
from armillary.errors import ClusterError

_ = translator(__file__)

#: Seconds for which an unreachable gateway is tried again: it restarts by itself within these.
PATIENCE = 15.0

#: The clusters that this process is connected to, by name. Held, for what ends a connection waits for the event loop,
#: which the garbage collector must not do: it may run on the loop's own thread.
_known: dict[str, RemoteCluster] = {}


@dataclass(frozen=True)
class WorkerSize:
    """What each worker has: memory in bytes (None for whatever there is), threads and GPUs."""

    memory: int | None
    threads: int = 1
    gpus: int = 0

    def fits(self, options: dict[str, Any]) -> bool:
        """Return whether a cluster that was started with some options has such workers."""
        same = (options.get("threads"), options.get("gpus", 0)) == (self.threads, self.gpus)
        return same and self.memory in (None, options.get("memory"))

    def options(self) -> dict[str, int]:
        """Return the options of a cluster with such workers."""
        return {"memory": self.memory or 0, "threads": self.threads, "gpus": self.gpus}


def remote_cluster(
    connection: Connection, workers: int, size: WorkerSize, report: Report | None = None
) -> RemoteCluster:
    """Return the user's running cluster with at least ``workers`` workers; start one where none fits."""
    door = _door(connection)
    reports = door.clusters()
    _let_go_of_stopped(door, {report.name for report in reports})
    running = [report for report in reports if size.fits(report.options)]
    if running:
        newest = max(running, key=lambda report: report.start_time)
        cluster = _known.get(newest.name) or RemoteCluster(door, newest.name, size.gpus, started_here=False)
        cluster.started_here = False
    else:
        cluster = RemoteCluster(door, door.start(size), size.gpus, started_here=True)
    try:
        cluster.grow(workers, report)
    except BaseException:
        if cluster.started_here:
            cluster.close()
        raise
    return cluster


def _let_go_of_stopped(door: GatewayDoor, running: set[str]) -> None:
    for cluster in [one for one in _known.values() if one._door is door and one.name not in running]:
        cluster._let_go()


@cache
def _door(connection: Connection) -> GatewayDoor:
    door = GatewayDoor(connection)
    atexit.register(door.close)
    return door


class _TokenAndLanguage(JupyterHubAuth):  # type: ignore[misc]
    """Signs in with the hub's token, and asks for refusals in the person's language."""

    def pre_request(self, resp: aiohttp.ClientResponse) -> tuple[dict[str, str], None]:
        headers, context = super().pre_request(resp)
        return {**headers, "Accept-Language": own_language()}, context


class GatewayDoor:
    """Dask Gateway as one user sees it, with errors that say what to do.

    Parameters
    ----------
    connection
        How this process finds the hub.
    """

    def __init__(self, connection: Connection) -> None:
        self.url = connection.gateway_url
        self._connection = connection
        self._gateway: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The client of the gateway, made when it is first needed."""
        if self._gateway is None:
            self._gateway = Gateway(
                self.url,
                proxy_address=self._scheduler_proxy(),
                public_address=self.url,
                auth=_TokenAndLanguage(api_token=self._connection.token),
            )
        return self._gateway

    def clusters(self) -> list[ClusterReport]:
        """Return the user's clusters that run or start."""
        return self.ask(lambda: self.gateway.list_clusters(status=["running", "pending"]))

    def start(self, size: WorkerSize) -> str:
        """Start a cluster without workers and return its name."""
        return self.ask(lambda: self.gateway.submit(**size.options()))

    def connect(self, name: str) -> GatewayCluster:
        """Return a cluster, which outlives this process."""
        return self.ask(lambda: self.gateway.connect(name, shutdown_on_close=False))

    def scale(self, name: str, workers: int) -> None:
        """Ask for a number of workers."""
        self.ask(lambda: self.gateway.scale_cluster(name, workers))

    def stop(self, name: str) -> None:
        """Stop a cluster."""
        self.ask(lambda: self.gateway.stop_cluster(name))

    def pool_size(self) -> int:
        """Return how many GPUs the pool has, 0 where it does not answer."""
        return pool_size(self._connection) or 0

    def gpu_queue(self, name: str) -> GpuQueue | None:
        """Return where a cluster's workers stand that wait for GPUs."""
        return gpu_queue(self._connection, name)

    def is_running(self, name: str) -> bool:
        """Return whether a cluster of the user runs or starts."""
        return any(report.name == name for report in self.clusters())

    def close(self) -> None:
        """Close the connection to the gateway."""
        if self._gateway is not None:
            # Not `close()`: it stops the loop, which the clusters' own clients still want when they are deleted.
            self._gateway.sync(self._gateway._cleanup)
            self._gateway = None

    def ask(self, question: Callable[[], Any]) -> Any:
        """Return the gateway's answer; while it cannot be reached, try again for `PATIENCE` seconds.

        Raises
        ------
        ClusterError
            If it stays away, or refuses.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return question()
            except (ValueError, GatewayClusterError) as error:
                raise ClusterError(str(error)) from error
            except GatewayServerError as error:
                raise ClusterError(_("Dask Gateway failed."), _("Ask an admin to look into its log.")) from error
            except (aiohttp.ClientError, httpx.HTTPError, TimeoutError) as error:
                status = getattr(error, "status", 0)
                if status in (401, 403):
                    raise self._not_admitted() from error
                if time.monotonic() > deadline:
                    raise self._away() from error
            time.sleep(0.5)

    def _scheduler_proxy(self) -> str:
        answer = httpx.get(f"{self.url}/api/addresses", headers=self._connection.headers, timeout=10, trust_env=False)
        if answer.status_code in (401, 403):
            raise self._not_admitted()
        return str(answer.raise_for_status().json()["scheduler_proxy"])

    def _not_admitted(self) -> ClusterError:
        return ClusterError(
            _(
                "Dask Gateway does not let {user} in: this server's token is not valid any more.",
                user=self._connection.user,
            ),
            _("Stop and start your server from the hub's home page."),
        )

    def _away(self) -> ClusterError:
        return ClusterError(
            _("Dask Gateway at {url} does not answer.", url=self.url),
            _("It restarts by itself: try again in a minute; if it stays away, tell an admin."),
        )


class RemoteCluster(Cluster):
    """A cluster of the user behind Dask Gateway."""

    def __init__(self, door: GatewayDoor, name: str, gpus: int, started_here: bool) -> None:
        super().__init__(started_here)
        self.gpus = gpus
        self._door = door
        self._cluster = door.connect(name)
        _known[name] = self

    @property
    def name(self) -> str:
        """The cluster's name at the gateway."""
        return str(self._cluster.name)

    @property
    def dashboard_link(self) -> str | None:
        """Address of Dask's dashboard, behind the hub's sign-in."""
        return f"{self._door.url}/clusters/{self.name}/status"

    def gpu_queue(self) -> GpuQueue | None:
        """Return where the workers stand that wait for GPUs, or None where none does."""
        return self._door.gpu_queue(self.name) if self.gpus else None

    def gpus_offered(self) -> int:
        """Return how many GPUs a worker can have at most: all of the pool's."""
        return self._door.pool_size()

    def restart(self, workers: int, gpus: int) -> None:
        """Start anew with workers that have ``gpus`` GPUs each; see `Cluster.restart`."""
        reports = {report.name: report for report in self._door.clusters()}
        if self.name not in reports:
            raise self._lost()
        options = reports[self.name].options
        name = self._door.start(WorkerSize(options.get("memory"), options.get("threads", 1), gpus))
        try:
            fresh = self._door.connect(name)
            self._door.scale(name, workers)
        except ClusterError:
            self._door.stop(name)
            raise
        self._stop()
        self._cluster, self.gpus = fresh, gpus
        _known[name] = self

    def _connect(self) -> Client:
        try:
            return self._cluster.get_client()
        except (OSError, TimeoutError) as error:
            raise self._lost() from error

    def _require_running(self) -> None:
        if self._cluster.status == "closed" or not self._door.is_running(self.name):
            self._let_go()
            raise self._lost()

    def _let_go(self) -> None:
        """Give up the connections, which would look for the lost scheduler for ever."""
        _known.pop(self.name, None)
        with silence_logging_cmgr(logging.CRITICAL):  # it would show that its attempts to connect are cancelled
            if self._client is not None:
                self._client.close(timeout=1)
                self._client = None
            self._cluster.close(shutdown=False)
        # When it is collected, dask-gateway's client closes once more and waits for it, unless it is asynchronous.
        self._cluster.gateway._asynchronous = True

    def _lost(self) -> ClusterError:
        return ClusterError(
            _(
                "The Dask cluster {name} has stopped (closed, idle for too long, or its scheduler died).",
                name=self.name[:8],
            ),
            _("Start another with `armillary.cluster()`."),
        )

    def _request_workers(self, count: int) -> None:
        try:
            self._door.scale(self.name, count)
        except ClusterError:
            self._require_running()
            raise

    def _stop(self) -> None:
        self._let_go()
        self._door.stop(self.name)
