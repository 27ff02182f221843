"""The kernel provisioner: a kernel gets its GPUs by a lease from the pool, and gives them back when it ends.

A kernelspec asks for GPUs in its metadata, for whole ones or for a share of the memory of one::

    "kernel_provisioner": {"provisioner_name": "armillary-provisioner", "config": {"gpus": 1}}
    "kernel_provisioner": {"provisioner_name": "armillary-provisioner", "config": {"gpu_memory": "4GiB"}}

A kernel is started at once, whether its GPUs are free or not: `armillary_kernels.gpu_kernel` waits for them in its
first cell. Another kernel cannot wait; it gets GPUs that are free, or its start fails with the reason.

As the default provisioner (``JUPYTER_DEFAULT_PROVISIONER_NAME=armillary-provisioner``) it also starts kernels whose
specs do not mention it; they get no GPU. Without a hub in the environment a kernel starts on whatever the machine has.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Float, Integer, Type, Unicode, default

from armillary_kernels.connection import Connection
from armillary_kernels.descriptions import announce
from armillary_kernels.gpu_environment import put_into
from armillary_kernels.kernel_notes import Note, Order
from armillary_kernels.launchers import Launcher, SpawnLauncher
from armillary_kernels.leases import (
    Lease,
    LeaseError,
    LeaseLostError,
    PoolUnreachableError,
    QueuePlace,
    new_lease_id,
)
from armillary_kernels.processes import Process, kill_group
from armillary_kernels.restarts import is_restart
from armillary_kernels.server_client import ServerClient, server_client
from armillary_kernels.waiting import NoGpuFreeError
from armillary_kernels.wishes import GpuWish

#: Override what a kernelspec asks for, in the environment that its kernel is started with.
GPUS_VARIABLE = "ARMILLARY_KERNEL_GPUS"
WAIT_VARIABLE = "ARMILLARY_KERNEL_WAIT_SECONDS"
PURPOSE_VARIABLE = "ARMILLARY_KERNEL_PURPOSE"

#: The log that says when a kernel has to wait, and for whom; `armillary run` shows it.
WAITING_LOG = "armillary_kernels.waiting"

#: The kernel that waits by itself, as a kernelspec's command names it.
_WAITS = "armillary_kernels.gpu_kernel"


class LeasedProvisioner(LocalProvisioner):
    """Starts a kernel, and keeps its lease right: bound to the kernel, kept over restarts, given back at the end."""

    gpus = Integer(
        config=True,
        min=0,
        help="GPUs that a kernel asks for. Default: 1 for a kernelspec that names this provisioner, else 0.",
    )
    gpu_memory = Unicode(
        config=True, help="A share of one GPU that a kernel asks for instead, such as 4GiB. Default: whole GPUs."
    )
    wait_seconds = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that a cell waits in the queue for GPUs before it fails. Default: as long as it takes.",
    )
    launcher_class = Type(SpawnLauncher, klass=Launcher, config=True, help="How the kernel's process is started.")

    _connection: Connection | None = None
    _lease: str | None = None
    _leased = GpuWish(0)  # what the lease is for
    _is_granted = False
    _is_booked = True
    _started = False
    _kernel: Process | None = None  # until its end is seen to
    _lost: str | None = None  # a lease that the kernel's note may still name
    _restarted = ""

    @default("gpus")
    def _default_gpus(self) -> int:
        return 1 if "kernel_provisioner" in self.kernel_spec.metadata else 0

    # The life of a kernel, as jupyter_client calls it ----------------------------------------------------

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Ask for the lease, then prepare the launch."""
        self._connection = Connection.from_environment()
        order = None
        if self._connection is not None:
            order, told = await self._order(self._connection, kwargs.get("env", dict(os.environ)))
        try:
            launch = await super().pre_launch(**kwargs)
        except BaseException:
            await self._give_back()
            raise
        for name in (GPUS_VARIABLE, WAIT_VARIABLE, PURPOSE_VARIABLE):  # not for the kernels that this one starts
            launch["env"].pop(name, None)
        if order is not None:
            launch["env"] = {**launch["env"], **(order.variables() if self._waits else {})}
            put_into(launch["env"], told)
        return launch

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the process and tie the lease to it."""
        launcher: Launcher = self.launcher_class()  # type: ignore[abstract] # the trait holds a concrete class
        try:
            self.process = await launcher.launch(cmd, **self._scrub_kwargs(kwargs))
        except BaseException:
            await self._give_back()
            raise
        self._started = True
        self.pid = self.process.pid
        self.pgid = self.pid  # it leads a session of its own
        self._kernel = Process.of(self.pid) or Process(self.pid, 0)
        self.cwd = kwargs.get("cwd", Path.cwd())
        await self._bind_to_kernel()
        return self.connection_info

    async def poll(self) -> int | None:
        """Return the kernel's exit code; None while it runs. What a kernel that died has started ends here."""
        code = await super().poll()
        if code is not None:
            self._end_group()
        return code

    async def send_signal(self, signum: int) -> None:
        """Send a signal; the interrupt that comes before a shutdown would cost a queued kernel its place."""
        ends = signum == signal.SIGINT and self.parent is not None and self.parent.shutting_down
        if not (ends and await self._is_queued()):
            await super().send_signal(signum)

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Keep the lease over a restart, while no kernel is there to hold it."""
        if restart:
            await self._keep()

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel; whether it restarts is only known in `cleanup`, so the lease is kept until then."""
        await self._keep()
        await super().kill(restart=restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Give the lease back, except between the halves of a restart; before that, end all that the kernel started."""
        self._end_group()
        if not restart:
            self._read_note()
            await self._give_back_after(self._kernel)
            self._note_path.unlink(missing_ok=True)
        await super().cleanup(restart=restart)

    # What the kernel is to have --------------------------------------------------------------------------

    async def _order(self, connection: Connection, environment: Mapping[str, str]) -> tuple[Order, dict[str, str]]:
        """Return what the kernel is told, and what its environment must say of GPUs."""
        note = self._read_note()
        wish = note.choice if note is not None and note.choice is not None else self._wish(environment)
        wait = environment.get(WAIT_VARIABLE)
        order = Order(
            wish,
            purpose="job" if environment.get(PURPOSE_VARIABLE) == "job" else "kernel",
            label=self._label(environment),
            wait_seconds=float(wait) if wait else self.wait_seconds,
        )
        answer = await self._answer(order, connection.user)
        self._leased, self._is_granted = wish, isinstance(answer, Lease)
        if note is not None:
            Note(self._lease, wish, note.choice).write(self._note_path)
        order = replace(order, lease=self._lease, is_granted=self._is_granted, is_booked=self._is_booked)
        order = replace(order, restarted=self._restarted)
        self._restarted = ""
        return order, dict(answer.environment) if isinstance(answer, Lease) else {}

    async def _answer(self, order: Order, user: str) -> Lease | QueuePlace | None:
        """Return the lease that outlived a restart, or a new one.

        None where the pool gives none, or does not answer: the kernel asks again, and its first cell says why.
        """
        self._is_booked = True
        kept = await self._keep()
        if kept is not None and self._leased == order.wish:
            return kept
        await self._give_back()
        if not order.wish.devices:
            return None
        try:
            answer = await self._ask(order)
        except LeaseError as error:
            self._is_booked = not isinstance(error, PoolUnreachableError)
            if self._is_booked:
                self._lease = None  # the pool said no
            if not self._waits:
                await self._give_back()
                raise
            self.log.warning("Kernel %s has no lease yet: %s", self.kernel_id, error)
            return None
        except BaseException:
            await self._give_back()
            raise
        if isinstance(answer, QueuePlace):
            logging.getLogger(WAITING_LOG).info(announce(answer, user, order.wait_seconds))
            if not self._waits:
                await self._give_back()
                raise NoGpuFreeError(answer, 0.0)
        return answer

    async def _ask(self, order: Order) -> Lease | QueuePlace:
        """Ask; from now on the lease is ours, whether an answer comes or not."""
        self._lease, wish = new_lease_id(), order.wish
        return await self._pool.ask(
            self._lease, order.purpose, wish.devices, order.label, Process.own(), memory=wish.memory
        )

    @property
    def _waits(self) -> bool:
        """Whether the kernel can wait for its GPUs itself."""
        return any(_WAITS in part for part in self.kernel_spec.argv)

    def _wish(self, environment: Mapping[str, str]) -> GpuWish:
        """Return what the environment asks for, else the kernelspec."""
        if given := environment.get(GPUS_VARIABLE):
            return GpuWish.parse(given)
        return GpuWish.parse(self.gpu_memory) if self.gpu_memory else GpuWish(self.gpus)

    def _label(self, environment: Mapping[str, str]) -> str:
        """Return the notebook's name, or the kernelspec's."""
        notebook = Path(environment.get("JPY_SESSION_NAME", "")).name
        return (notebook or self.kernel_spec.display_name)[:200]

    # The lease -------------------------------------------------------------------------------------------

    @property
    def _pool(self) -> ServerClient:
        if self._connection is None:
            raise RuntimeError("there is no lease without a hub")
        return server_client(self._connection)

    @property
    def _note_path(self) -> Path:
        return Note.path(os.path.realpath(self.parent.connection_file))  # type: ignore[union-attr] # the manager

    def _read_note(self) -> Note | None:
        """Return what the kernel has left, which knows its lease best; nothing before its first start."""
        note = Note.read(self._note_path) if self._started else None
        if note is not None and note.lease != self._lost:
            self._lease, self._leased = note.lease, note.wish
        return note

    async def _bind_to_kernel(self) -> None:
        """Tie the lease to the kernel; where the pool does not answer, the kernel does it itself.

        Raises
        ------
        LeaseLostError
            If it went to somebody else meanwhile; the kernel is ended, for it would use another one's GPU.
        """
        kernel = Process.of(self.pid) if self.pid else None
        if self._lease is None or kernel is None or not self._is_booked:
            return
        try:
            await self._pool.bind(self._lease, kernel)
        except LeaseLostError:
            self._lease = None
            if self._is_granted:
                await super().kill()
                raise
        except LeaseError as error:
            self.log.warning("The lease of kernel %s is not tied to it yet: %s", self.kernel_id, error)

    async def _keep(self) -> Lease | QueuePlace | None:
        """Tie the lease to this process while the kernel is replaced; the pool gives that a minute."""
        self._read_note()
        if self._lease is None:
            return None
        try:
            return await self._pool.bind(self._lease, Process.own(), in_use=False)
        except LeaseLostError:
            await self._lose(self._lease)
        except LeaseError as error:
            self.log.info("The lease of kernel %s is gone: %s", self.kernel_id, error)
            self._lose_sight()
        return None

    async def _lose(self, lease: str) -> None:
        """Learn why a lease ended; that of a suspended kernel ends now, for its state is gone with the process."""
        try:
            await self._pool.look(lease)
            await self._pool.give_back(lease)
        except LeaseLostError as error:
            if error.reason not in ("given back", "its process ended"):
                self._restarted = error.reason if is_restart(error.reason) else error.why
        except LeaseError as error:
            self.log.info("The lease of kernel %s is gone: %s", self.kernel_id, error)
        self._lose_sight()

    def _lose_sight(self) -> None:
        self._lost, self._lease = self._lease, None

    async def _is_queued(self) -> bool:
        """Return whether the kernel waits for GPUs, and so runs nothing that an interrupt could end."""
        self._read_note()
        if self._lease is None:
            return False
        try:
            return isinstance(await self._pool.look(self._lease), QueuePlace)
        except LeaseError:
            return False

    def _end_group(self) -> None:
        """Kill what a dead kernel has left in its process group: the GPUs that it may use are others' soon."""
        if self._kernel is not None and not self._kernel.is_alive():
            kill_group(self._kernel)
            self._kernel = None

    async def _give_back_after(self, kernel: Process | None) -> None:
        """Return the lease, or leave it to a kernel that does not die, in a driver's call; the pool sees its end."""
        if kernel is None or self._lease is None:
            await self._give_back()
            return
        try:
            await self._pool.bind(self._lease, kernel)
        except LeaseError as error:
            self.log.warning("Kernel %s does not end, and its lease is not tied to it: %s", self.kernel_id, error)
        self._lose_sight()

    async def _give_back(self) -> None:
        """Return the lease; a pool that does not answer sees for itself that the kernel is gone."""
        if self._lease is None:
            return
        lease = self._lease
        self._lose_sight()
        try:
            await self._pool.give_back(lease)
        except LeaseError as error:
            self.log.info("The lease of kernel %s was not given back by us: %s", self.kernel_id, error)
