"""The kernel provisioner: a kernel gets its GPUs by a lease from the pool, and gives them back when it ends.

A kernelspec asks for GPUs in its metadata::

    "kernel_provisioner": {"provisioner_name": "armillary-provisioner", "config": {"gpus": 1, "wait_seconds": 20}}

As the default provisioner (``JUPYTER_DEFAULT_PROVISIONER_NAME=armillary-provisioner``) it also starts kernels whose
specs do not mention it; they get no GPU. Without a hub in the environment a kernel starts on whatever the machine has.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Float, Integer, Type, default

from armillary_kernels.connection import Connection
from armillary_kernels.launchers import Launcher, SpawnLauncher
from armillary_kernels.lease_client import AsyncLeaseClient, Lease, LeaseError, LeaseLostError, QueuePlace
from armillary_kernels.processes import Process
from armillary_kernels.reason import COMMAND, Reason
from armillary_kernels.waiting import announce, explain, obtain

#: Hides every GPU from a process.
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}

#: Overrides what a kernelspec asks for, in the environment that its kernel is started with: a job may wait long.
GPUS_VARIABLE = "ARMILLARY_KERNEL_GPUS"
WAIT_VARIABLE = "ARMILLARY_KERNEL_WAIT_SECONDS"


class LeasedProvisioner(LocalProvisioner):
    """Starts a kernel on the GPUs that it has a lease for.

    A kernel that gets no lease in time is replaced by one that says why (`armillary_kernels.fallback`); restarting that
    one asks again and starts the kernel that the spec describes.
    """

    gpus = Integer(
        config=True,
        min=0,
        help="GPUs that a kernel asks for. Default: 1 for a kernelspec that names this provisioner, else 0.",
    )
    wait_seconds = Float(
        20.0,
        config=True,
        min=0,
        help="Seconds that a kernel waits in the queue for GPUs before it opens as one that says why it has none.",
    )
    launcher_class = Type(SpawnLauncher, klass=Launcher, config=True, help="How the kernel's process is started.")

    _connection: Connection | None = None
    _lease: Lease | None = None
    _must_bind = False

    @default("gpus")
    def _default_gpus(self) -> int:
        return 1 if "kernel_provisioner" in self.kernel_spec.metadata else 0

    # The life of a kernel, as jupyter_client calls it ----------------------------------------------------

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Get the lease, then prepare the launch; without a lease, that of the fallback kernel."""
        reason = None
        variables: dict[str, str] = {}
        self._connection = Connection.from_environment()
        if self._connection is not None:
            try:
                variables = await self._variables(self._connection, kwargs)
            except LeaseError as error:
                self.log.warning("Kernel %s gets no GPU: %s", self.kernel_id, error)
                reason = explain(error, self._connection.user)
                variables = {**NO_GPU, **reason.environment()}
        try:
            launch = await super().pre_launch(**kwargs)
        except BaseException:
            await self._give_back()
            raise
        launch["env"] = {**launch["env"], **variables}
        if reason is not None:
            launch["cmd"] = self._fallback_command(reason, launch["cmd"])
        return launch

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the process and tie the lease to it."""
        launcher: Launcher = self.launcher_class()  # type: ignore[abstract] # the trait holds a concrete class
        try:
            self.process = await launcher.launch(cmd, **self._scrub_kwargs(kwargs))
        except BaseException:
            await self._give_back()
            raise
        self.pid = self.process.pid
        self.pgid = self.pid  # it leads a session of its own
        self.cwd = kwargs.get("cwd", Path.cwd())
        await self._bind_to_kernel()
        return self.connection_info

    async def poll(self) -> int | None:
        """Return None while the kernel runs; also catches up on a lease that the pool was too dead to tie."""
        if self._must_bind:
            try:
                await self._bind_to_kernel()
            except LeaseLostError as error:
                self.log.error("Kernel %s was ended, for its GPUs are no longer its own: %s", self.kernel_id, error)
        return await super().poll()

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Keep the lease over a restart, while no kernel is there to hold it."""
        if restart:
            await self._keep()

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel; whether it restarts is only known in `cleanup`, so the lease is kept until then."""
        await self._keep()
        await super().kill(restart=restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Give the lease back, except between the halves of a restart."""
        if not restart:
            await self._give_back()
        await super().cleanup(restart=restart)

    # The lease -------------------------------------------------------------------------------------------

    async def _variables(self, connection: Connection, kwargs: dict[str, Any]) -> dict[str, str]:
        """Return what the kernel's environment must say, once there is a lease."""
        environment = kwargs.get("env", os.environ)
        gpus = int(environment.get(GPUS_VARIABLE) or self.gpus)
        if gpus == 0:
            return NO_GPU
        seconds = float(environment.get(WAIT_VARIABLE) or self.wait_seconds)
        await self._keep()
        if self._lease is None:
            self._lease = await obtain(
                connection,
                purpose="kernel",
                devices=gpus,
                label=self._label(kwargs.get("env", {})),
                seconds=seconds,
                report=lambda place: self._report(place, connection.user, seconds),
            )
        return {**NO_GPU, **self._lease.environment}

    def _label(self, env: dict[str, str]) -> str:
        """Return the notebook's name, or the kernelspec's."""
        notebook = Path(env.get("JPY_SESSION_NAME", "")).name
        return (notebook or self.kernel_spec.display_name)[:200]

    def _report(self, place: QueuePlace, user: str, seconds: float) -> None:
        announce(place, user, seconds)
        holders = ", ".join(f"{holder.user} since {holder.since:%H:%M} UTC" for holder in place.holders)
        self.log.info("Kernel %s waits for a GPU, place %d. Held by: %s", self.kernel_id, place.position, holders)

    async def _bind_to_kernel(self) -> None:
        """Tie the lease to the kernel.

        Raises
        ------
        LeaseLostError
            If it went to somebody else meanwhile; the kernel is ended, for it would use another one's GPU.
        """
        self._must_bind = False
        kernel = Process.of(self.pid) if self.pid else None
        if self._lease is None or self._connection is None or kernel is None:
            return
        try:
            async with AsyncLeaseClient(self._connection) as pool:
                await pool.bind(self._lease.id, kernel)
        except LeaseLostError:
            self._lease = None
            await super().kill()
            raise
        except LeaseError as error:
            self._must_bind = True
            self.log.warning("The lease of kernel %s is not tied to it yet: %s", self.kernel_id, error)

    async def _keep(self) -> None:
        """Tie the lease to this process while the kernel is replaced; the pool gives that half a minute."""
        if self._lease is None or self._connection is None:
            return
        self._must_bind = False
        try:
            async with AsyncLeaseClient(self._connection) as pool:
                await pool.bind(self._lease.id, Process.own(), in_use=False)
        except LeaseError as error:
            self.log.info("The lease of kernel %s is gone: %s", self.kernel_id, error)
            self._lease = None

    async def _give_back(self) -> None:
        """Return the lease; a pool that does not answer sees for itself that the kernel is gone."""
        lease, self._lease, self._must_bind = self._lease, None, False
        if lease is None or self._connection is None:
            return
        try:
            async with AsyncLeaseClient(self._connection) as pool:
                await pool.give_back(lease.id)
        except LeaseError as error:
            self.log.info("The lease of kernel %s was not given back by us: %s", self.kernel_id, error)

    def _fallback_command(self, reason: Reason, command: list[str]) -> list[str]:
        """Return the fallback kernel's command on the same connection file."""
        self.log.info("Kernel %s opens as one that says: %s", self.kernel_id, reason.summary)
        connection_file = os.path.realpath(self.parent.connection_file) if self.parent else command[-1]
        return [*COMMAND, "-f", connection_file]
