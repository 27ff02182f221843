"""Where clusters run: processes of this machine, as one account (solo) or as each person's own (team)."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
from armillary_kernels.errors import ArmillaryError
from armillary_kernels.processes import Process, kill_group
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import JobStatus
from dask_gateway_server.backends.local import LocalBackend
from dask_gateway_server.options import Integer as IntegerOption
from dask_gateway_server.options import Options
from dask_gateway_server.traitlets import MemoryLimit
from traitlets import Dict, Integer, Unicode, default

from armillary_hub.accounts import unix_accounts
from armillary_hub.clusters import inventory
from armillary_hub.clusters.folders import Account, ClusterFolder
from armillary_hub.clusters.gpu_leases import gpus_of
from armillary_hub.clusters.gpu_workers import GpuBackend
from armillary_hub.clusters.limits import (
    SMALLEST_WORKER,
    Limits,
    Usage,
    affordable_workers,
    check_new_cluster,
    check_workers,
)
from armillary_hub.clusters.memory_watch import MemoryWatch
from armillary_hub.clusters.process_groups import ask_to_end, recorded_process
from armillary_hub.clusters.scheduler_preload import DESCRIPTOR
from armillary_hub.settings import Settings

#: Seconds between looks whether the schedulers live.
WATCH_PERIOD = 2.0

#: Seconds that a process gets to end by itself.
GRACE = 5.0

_LARGEST_DEFAULT_WORKER = 2 * 2**30


class PersonalBackend(GpuBackend):
    """Clusters as processes of this machine, with limits for each person."""

    max_clusters_per_user = Integer(2, min=0, config=True, help="Clusters that a person may have at a time.")

    max_workers_per_user = Integer(
        8, min=0, config=True, help="Workers that a person may have at a time, over all clusters."
    )

    max_memory_per_user = MemoryLimit(
        config=True,
        help="Bytes (or with suffix K, M, G, T) that a person's workers may have together. Default: half of the "
        "machine's memory.",
    )

    max_memory_per_worker = MemoryLimit(
        config=True,
        help="Bytes (or with suffix K, M, G, T) that one worker may have. Default: `max_memory_per_user`.",
    )

    max_threads_per_worker = Integer(
        min=1, config=True, help="Threads that one worker may have. Default: the machine's CPU count."
    )

    default_worker_memory = MemoryLimit(
        config=True,
        help="Bytes (or with suffix K, M, G, T) of a worker for which nobody asked otherwise. Default: 2 GiB, or less "
        "so that two workers fit into `max_memory_per_user`.",
    )

    users_directory = Unicode(config=True, help="Folder of the users' homes.")

    shared_environment = Dict(config=True, help="Environment variables of every scheduler and worker.")

    front_token = Unicode(config=True, help="Token with which our front asks for all clusters.")

    @default("max_memory_per_user")
    def _half_of_the_machine(self) -> int:
        return int(psutil.virtual_memory().total) // 2

    @default("max_memory_per_worker")
    def _all_of_a_user(self) -> int:
        return int(self.max_memory_per_user)

    @default("max_threads_per_worker")
    def _all_cores(self) -> int:
        return os.cpu_count() or 1

    @default("default_worker_memory")
    def _half_of_a_user(self) -> int:
        return max(SMALLEST_WORKER, min(_LARGEST_DEFAULT_WORKER, int(self.max_memory_per_user) // 2))

    @default("cluster_options")
    def _worker_size(self) -> Options:
        return Options(
            IntegerOption("threads", default=1, min=1, label="Threads of a worker"),
            IntegerOption("memory", default=0, min=0, label="Memory of a worker in bytes; 0 for the default"),
            IntegerOption("gpus", default=0, min=0, label="GPUs of a worker"),
            handler=lambda options: {
                "worker_cores": options.threads,
                "worker_threads": options.threads,
                "worker_memory": options.memory or self.default_worker_memory,
                "worker_gpus": options.gpus,
                **({"idle_timeout": self.gpu_idle_timeout} if options.gpus else {}),
            },
        )

    # Limits -------------------------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """The limits of each person."""
        return Limits(
            clusters=self.max_clusters_per_user,
            workers=self.max_workers_per_user,
            memory=self.max_memory_per_user,
            worker_memory=self.max_memory_per_worker,
            worker_threads=self.max_threads_per_worker,
        )

    def usage(self, username: str, beside: str = "") -> Usage:
        """Return what a person's clusters have, but for the one named ``beside``."""
        clusters = [c for c in self.db.list_clusters(username=username) if c.name != beside]
        workers = {c: self._workers_of(c) for c in clusters}
        memory = sum(count * c.config.worker_memory for c, count in workers.items())
        return Usage(len(clusters), sum(workers.values()), memory)

    def _workers_of(self, cluster: Any) -> int:
        # Granted counts until the scheduler's next heartbeat reports it as asked for.
        return max(cluster.count, len(cluster.active_workers()), getattr(cluster, "granted", 0))

    async def process_cluster_options(self, user: Any, request: Any) -> tuple[Any, Any]:
        """Check what a person asks for before a cluster is made."""
        requested, config = await super().process_cluster_options(user, request)
        self.account_of(user.name)
        check_new_cluster(self.limits, self.usage(user.name), config.worker_memory, config.worker_threads)
        await self.check_gpus(user.name, config.worker_gpus)
        return requested, config

    async def forward_message_to_scheduler(self, cluster: Any, msg: dict[str, Any]) -> None:
        """Check a request for workers before the scheduler gets it."""
        asked = msg["count"] if msg["op"] == "scale" else msg.get("maximum")
        record = self.db.get_cluster(cluster.name)
        usage = self.usage(cluster.username, beside=cluster.name)
        if asked is None:
            asked = msg["maximum"] = await self._most_workers(cluster, usage)
        check_workers(self.limits, usage, cluster.config.worker_memory, asked)
        await self.check_gpus(cluster.username, gpus_of(cluster), asked)
        record.granted = asked
        try:
            await super().forward_message_to_scheduler(cluster, msg)
        except PublicException:
            record.granted = 0
            raise

    async def _most_workers(self, cluster: Any, usage: Usage) -> int:
        """Return how many workers a cluster may have that adapts itself and for which nobody said how many."""
        most = affordable_workers(self.limits, usage, cluster.config.worker_memory)
        allowance = await self.check_gpus(cluster.username, gpus_of(cluster))
        return most if allowance is None else min(most, allowance.most // gpus_of(cluster))

    async def on_cluster_heartbeat(self, cluster_name: str, msg: dict[str, Any]) -> None:
        """Take a scheduler's report; what it asks for beyond the limits is not granted, for its owner rules it."""
        if cluster := self.db.get_cluster(cluster_name):
            usage = self.usage(cluster.username, beside=cluster_name)
            most = affordable_workers(self.limits, usage, cluster.config.worker_memory)
            msg = {**msg, "count": min(msg["count"], most)}
        await super().on_cluster_heartbeat(cluster_name, msg)

    # Life of the gateway ------------------------------------------------------------------------------------

    async def setup(self, app: Any) -> None:
        """Start, and take over the clusters that outlived the last gateway."""
        app.add_routes(inventory.routes(self))
        await super().setup(app)

    async def do_setup(self) -> None:
        """Begin to watch the schedulers and the workers' memory."""
        await super().do_setup()
        self.task_pool.spawn(self._watch_schedulers())
        self.task_pool.spawn(MemoryWatch(self).run())

    async def _watch_schedulers(self) -> None:
        while True:
            running = [c for c in self.db.active_clusters() if c.status == JobStatus.RUNNING]
            for cluster in running:
                if not self._check_status(cluster):
                    self.log.warning("The scheduler of cluster %s has died", cluster.name)
                    await self.stop_cluster(cluster.name, failed=True)
            await asyncio.sleep(WATCH_PERIOD)

    # Processes ----------------------------------------------------------------------------------------------

    def account_of(self, username: str) -> Account | None:
        """Return the Unix account that a user's clusters run as, or None for this process's own."""
        return None

    def folder_of(self, cluster: Any) -> ClusterFolder:
        """Return the folder of a cluster."""
        return ClusterFolder(Path(self.clusters_directory) / cluster.name[:12], self.account_of(cluster.username))

    def get_tls_paths(self, cluster: Any) -> tuple[str, str]:
        """Return the paths of the cluster's certificate and key."""
        folder = self.folder_of(cluster)
        return str(folder.certificate), str(folder.key)

    def get_env(self, cluster: Any) -> dict[str, str]:
        """Return the environment of a cluster's processes; nothing of this process's own is in it."""
        account = self.account_of(cluster.username)
        home = account.home if account else Path(self.users_directory) / cluster.username
        threads = str(cluster.config.worker_threads)
        numerical = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return {
            **self.shared_environment,
            **dict.fromkeys(numerical, threads),
            "HOME": str(home),
            "USER": account.name if account else pwd.getpwuid(os.getuid()).pw_name,
            "JUPYTERHUB_USER": cluster.username,
            # A worker sees the GPUs that its lease adds, and no other.
            "CUDA_VISIBLE_DEVICES": "",
            **super(LocalBackend, self).get_env(cluster),
        }

    def get_scheduler_command(self, cluster: Any) -> list[str]:
        """Return the command line of a scheduler, which takes in why a worker was ended."""
        command: list[str] = super().get_scheduler_command(cluster)
        # After Dask Gateway's own preload, whose routes it adds to.
        return [*command, "--preload", "armillary_hub.clusters.worker_end_preload"]

    def get_worker_command(self, cluster: Any, worker_name: str, scheduler_address: str | None = None) -> list[str]:
        """Return the command line of a worker, which listens on loopback only."""
        command: list[str] = super().get_worker_command(cluster, worker_name, scheduler_address)
        return [*command, "--host", self.default_host]

    async def start_process(
        self,
        cluster: Any,
        cmd: list[str],
        env: dict[str, str],
        name: str,
        descriptors: tuple[int, ...] = (),
        stdin: int = asyncio.subprocess.DEVNULL,
    ) -> dict[str, int]:
        """Start a scheduler or worker as its owner; return what finds the process again."""
        folder = self.folder_of(cluster)
        account = folder.account
        identity: dict[str, Any] = (
            {"user": account.uid, "group": account.gid, "extra_groups": account.groups} if account else {}
        )
        with folder.open_log(name) as log:
            started = await asyncio.create_subprocess_exec(
                *cmd,
                env=env,
                cwd=folder.work,
                stdin=stdin,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                pass_fds=descriptors,
                **identity,
            )
        process = Process.of(started.pid)
        return {"pid": started.pid, "start_time": process.start_time if process else 0}

    async def do_start_cluster(self, cluster: Any) -> AsyncIterator[dict[str, Any]]:
        """Make the cluster's folder and start its scheduler."""
        folder = self.folder_of(cluster)
        folder.make(cluster.tls_cert, cluster.tls_key)
        yield {"workdir": str(folder.path)}
        with folder.bind_dashboard() as listener:
            env = self.get_scheduler_env(cluster) | {DESCRIPTOR: str(listener.fileno())}
            command = self.get_scheduler_command(cluster)
            found = await self.start_process(cluster, command, env, "scheduler", (listener.fileno(),))
        yield {"workdir": str(folder.path), **found}

    async def do_stop_cluster(self, cluster: Any) -> None:
        """End the scheduler and remove the cluster's folder."""
        await self._end(cluster.state)
        folder = self.folder_of(cluster)
        if cluster.target == JobStatus.FAILED and (lines := folder.last_lines("scheduler")):
            self.log.warning("Last lines of the scheduler of %s:\n%s", cluster.name, lines)
        await asyncio.to_thread(folder.remove)

    async def do_stop_worker(self, worker: Any) -> None:
        """End a worker with all that it started."""
        await self._end(worker.state)
        if worker.target == JobStatus.FAILED:
            lines = self.folder_of(worker.cluster).last_lines(f"worker-{worker.name}")
            self.log.warning("Last lines of worker %s:\n%s", worker.name, lines)

    def _check_status(self, o: Any) -> bool:
        process = recorded_process(o.state)
        return process is not None and process.is_alive()

    async def _end(self, state: dict[str, Any]) -> None:
        """Ask a process to end, and end what is left of its group: ranks, for one."""
        process = recorded_process(state)
        if process is None:
            return
        ask_to_end(process)
        deadline = time.monotonic() + GRACE
        while process.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.05)
        kill_group(process)


class SoloBackend(PersonalBackend):
    """All clusters run as the account that started the deployment."""


class TeamBackend(PersonalBackend):
    """Each cluster runs as the Unix account of its owner; needs root."""

    process_limit = Integer(
        unix_accounts.MOST_PROCESSES,
        min=0,
        config=True,
        help="Processes and threads that one person may have at a time (RLIMIT_NPROC); 0 for no limit. As "
        "`TeamSpawner.process_limit`.",
    )

    async def do_setup(self) -> None:
        """Take on the limits of a person's server: every scheduler and worker inherits them."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.process_limit:
            resource.setrlimit(resource.RLIMIT_NPROC, (self.process_limit, self.process_limit))
        await super().do_setup()

    def account_of(self, username: str) -> Account | None:
        """Return the person's account, which must be one that this deployment made.

        Raises
        ------
        PublicException
            If there is none.
        """
        try:
            entry = unix_accounts.account_of(Settings.load(), username)
        except ArmillaryError as error:
            raise PublicException(str(error)) from error
        groups = tuple(os.getgrouplist(username, entry.pw_gid))
        return Account(username, entry.pw_uid, entry.pw_gid, groups, Path(entry.pw_dir))
