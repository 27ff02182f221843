"""IPython's kernel behind the gate: nothing of the person's runs before its GPUs are there.

Named by a kernelspec with ``--IPKernelApp.kernel_class=armillary_kernels.gpu_kernel.GpuKernel``. Cells and what widgets
send wait; what only helps to write code is answered empty meanwhile, for it may touch the person's objects, too, and a
CUDA call in a suspended process crashes it. Cells with nothing but ``%armillary`` never wait.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ipykernel.ipkernel import IPythonKernel

from armillary_kernels import gate_passes
from armillary_kernels.connection import Connection
from armillary_kernels.gate import Gate
from armillary_kernels.gpu_environment import ShareLimit, put_into
from armillary_kernels.held_messages import CONTROL, HeldMessages, asks_for_state
from armillary_kernels.kernel_lease import KernelLease
from armillary_kernels.kernel_notes import Note, Order
from armillary_kernels.leases import LeaseError
from armillary_kernels.magics import GpuMagic, MagicError, own_lines, without_hub
from armillary_kernels.texts import translator
from armillary_kernels.waiting import Wait, WaitInterruptedError

if TYPE_CHECKING:  # what a cell that does not wait needs no time to load
    from armillary_kernels.descriptions import Text
    from armillary_kernels.notices import Notice

_ = translator(__file__)

#: What a debugger is asked that looks at the person's objects.
_LOOKING = ("variables", "inspectVariables", "richInspectVariables", "evaluate", "copyToGlobals")

#: Seconds in which the pool says whether a word may be completed.
_SOON = 0.5


class GpuKernel(IPythonKernel):
    """IPython's kernel on leased GPUs. Without a hub it is IPython's kernel."""

    _gate: Gate
    _magic: GpuMagic

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._is_guarded = False
        self._user = ""
        self._restarted = ""
        self._limit = ShareLimit()
        self._cell: dict[str, Any] = {}
        self._held = HeldMessages()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Task[None] | None = None
        order, connection = Order.take(os.environ), Connection.from_environment()
        if order is not None and connection is not None:
            self._guard(order, connection)
        magic = self._magic.misplaced if self._is_guarded else without_hub
        self.shell.register_magic_function(magic, "line", "armillary")  # type: ignore[union-attr] # it is there by now

    def _guard(self, order: Order, connection: Connection) -> None:
        """Put the gate before everything of the person's."""
        path = Note.path(self.parent.abs_connection_file)  # type: ignore[union-attr] # the application
        lease = KernelLease(connection, order, keep=lambda note: note.write(path))
        self._user, self._restarted = connection.user, order.restarted
        self._gate = Gate(lease, is_open=order.is_granted, wait_seconds=order.wait_seconds, warn=self._warn)
        self._magic = GpuMagic(self._gate, connection.user)
        self._is_guarded = True
        #: Made now, for there may be no file descriptor left to read a translation when it is needed.
        self._trouble = _("The cell did not run: its GPUs could not be asked for.")
        for kind in ("comm_open", "comm_msg", "comm_close"):
            self.shell_handlers[kind] = self._gated(self.shell_handlers[kind])
        # Between two messages; while one is handled ipykernel has another.
        signal.signal(signal.SIGINT, lambda number, frame: self._stop_waiting())

    # Cells -----------------------------------------------------------------------------------------------

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Run a cell once its GPUs are there, or say why it cannot run."""
        rest = {"cell_meta": cell_meta, "cell_id": cell_id}
        if not self._is_guarded:
            return await super().do_execute(code, silent, store_history, user_expressions, allow_stdin, **rest)
        mine, code = own_lines(code)
        interrupted, passed = threading.Event(), False
        try:
            with _on_interrupt(interrupted.set):
                reply = await self._before(mine, bool(code.strip()) or not mine, silent, store_history)
                if reply is not None:
                    return reply
                passed = True
            if interrupted.is_set():
                raise KeyboardInterrupt
            self._prepare(silent)
            return await super().do_execute(code, silent, store_history, user_expressions, allow_stdin, **rest)
        except KeyboardInterrupt:  # came before IPython was ready for it; without a reply the cell would never end
            return self._failed("KeyboardInterrupt", _("Interrupted before the cell ran."), (), silent)
        finally:
            if passed:
                self._gate.leave()

    async def _before(self, mine: list[str], more: bool, silent: bool, store_history: bool) -> dict[str, Any] | None:
        """Do what stands before the gate and pass it; return the reply to a cell that ends there."""
        if not silent:
            self._cell = self.get_parent("shell")
        try:
            for line in mine:
                await self._run_magic(line)
            if not more:
                return self._done(store_history)
            await self._pass(silent)
        except MagicError as error:
            return self._failed("UsageError", error.what, (error.remedy,), silent)
        except LeaseError as error:
            from armillary_kernels.descriptions import explain

            failure = explain(error, self._user)
            return self._failed(failure.name, failure.summary, failure.details, silent)
        except Exception as error:  # without a reply the cell would never end
            self.log.exception("A cell could not pass the gate")
            return self._failed("NoGpuError", self._trouble, (f"{type(error).__name__}: {error}",), silent)
        return None

    async def _run_magic(self, line: str) -> None:
        """Do what a line of ``%armillary`` says, waiting for GPUs that it asks for."""
        if await self._magic.run(line):
            await self._pass(silent=False)
            self._gate.leave()
            self._apply()
        self.send_response(self.iopub_socket, "stream", {"name": "stdout", "text": self._magic.answer() + "\n"})

    async def _pass(self, silent: bool) -> None:
        """Pass the gate, waiting with a notice for it to open."""
        while not self._gate.enter():
            opening, notice = self._gate.opening(), None if silent else self._notice(self.get_parent("shell"))
            if notice is not None:
                opening.wait.watch(notice.show)
            try:
                await self._interruptible(asyncio.wrap_future(opening.done), opening.wait)
            finally:
                if notice is not None:
                    notice.clear()
        self._apply()
        self._held.deliver()

    async def _interruptible(self, done: asyncio.Future[None], wait: Wait) -> None:
        """Wait for an end; an interrupt of the kernel ends the wait first."""
        loop = asyncio.get_running_loop()
        with _on_interrupt(lambda: loop.call_soon_threadsafe(wait.cancel)):
            await asyncio.shield(done)
        if wait.is_cancelled:
            raise WaitInterruptedError(_("Interrupted just when the GPU came."), _("Run the cell again."))

    def _apply(self) -> None:
        """Let this process's environment say what the lease's says."""
        told, self._gate.environment = self._gate.environment, None
        if told is not None:
            put_into(os.environ, told)

    def _prepare(self, silent: bool) -> None:
        try:
            if not silent:
                self._tell_of_restart()
                self._tell_of_loss()
            self._limit.hold()
        except Exception:  # the cell can run all the same
            self.log.warning("Not all could be done that comes before a cell", exc_info=True)

    def _tell_of_restart(self) -> None:
        if self._restarted:
            from armillary_kernels.descriptions import restarted_text

            self._show(restarted_text(self._restarted))
            self._restarted = ""

    def _tell_of_loss(self) -> None:
        """Say that a GPU is gone; the cell runs all the same, for it may save what there is."""
        if lost := self._gate.fresh_losses():
            from armillary_kernels.descriptions import lost_text

            self._show(lost_text(lost))

    # Other messages --------------------------------------------------------------------------------------

    def _gated(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Return a handler of what widgets send that waits beside the shell, so that cells can be run meanwhile."""

        def handle(stream: Any, ident: Any, message: dict[str, Any]) -> Any:
            if not self._gate.was_open or self._is_for_nobody(message):
                return handler(stream, ident, message)
            call = partial(handler, stream, ident, message)
            if not self._held and self._gate.enter():
                return self._inside(call)
            self._hold(call, is_request=asks_for_state(message))
            return None

        return handle

    def _is_for_nobody(self, message: dict[str, Any]) -> bool:
        """Return whether no code of the person's is behind a message."""
        content = message["content"]
        if gate_passes.passes(content.get("comm_id", "")):
            return True
        target = content.get("target_name")
        return message["header"]["msg_type"] == "comm_open" and (
            target == CONTROL or target not in self.comm_manager.targets
        )

    def _inside(self, call: Callable[[], Any]) -> Any:
        try:
            self._apply()
            return call()
        finally:
            self._gate.leave()

    def _hold(self, call: Callable[[], Any], *, is_request: bool) -> None:
        """Hold a message until the gate is open; a page that is loaded does not make a kernel ask for its GPU."""
        self._held.add(call, is_request=is_request)
        if is_request:
            self._begin(self._let_in_now())
        elif self._waiting is None or self._waiting.done():
            self._waiting = self._begin(self._let_in(self._cell))

    def _begin(self, waits: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(waits)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _let_in(self, cell: dict[str, Any]) -> None:
        """Wait for the gate to open, and handle what is held; ``cell`` was the last one when it came."""
        notice = self._notice(cell, keeps_output=True)
        try:
            while not self._gate.enter():
                opening = self._gate.opening()
                opening.wait.watch(notice.show)
                await asyncio.shield(asyncio.wrap_future(opening.done))
        except Exception as error:
            self._drop(error, notice)
            return
        notice.clear()
        self._inside(self._held.deliver)

    async def _let_in_now(self) -> None:
        if await self._is_let_in():
            self._inside(self._held.deliver)

    def _drop(self, error: Exception, notice: Notice) -> None:
        """Say that what widgets sent has no effect, and why."""
        self._held.drop()
        self.log.warning("Messages of widgets were dropped", exc_info=not isinstance(error, LeaseError))
        from armillary_kernels.descriptions import dropped_text

        notice.end(dropped_text(error))

    def _stop_waiting(self) -> None:
        """End the wait of widgets, as the interrupt of a cell ends that of the cell."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.get_loop().call_soon_threadsafe(self._gate.stop_waiting)

    async def do_complete(self, code: str, cursor_pos: int | None) -> dict[str, Any]:
        """Complete code, or nothing while the person's objects may not be touched."""
        if await self._enter_now():
            try:
                return super().do_complete(code, cursor_pos)
            finally:
                self._leave()
        cursor = len(code) if cursor_pos is None else cursor_pos
        return {"matches": [], "cursor_start": cursor, "cursor_end": cursor, "metadata": {}, "status": "ok"}

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> dict[str, Any]:
        """Describe an object, or nothing while the person's objects may not be touched."""
        if await self._enter_now():
            try:
                return super().do_inspect(code, cursor_pos, detail_level, omit_sections)
            finally:
                self._leave()
        return {"status": "ok", "data": {}, "metadata": {}, "found": False}

    async def do_debug_request(self, msg: dict[str, Any]) -> Any:
        """Answer the debugger, or refuse while the person's objects may not be touched."""
        if msg.get("command") not in _LOOKING:
            return await super().do_debug_request(msg)
        if await self._enter_now():
            try:
                return await super().do_debug_request(msg)
            finally:
                self._leave()
        refused = {"type": "response", "request_seq": msg.get("seq", 0), "command": msg["command"]}
        return {**refused, "success": False, "message": _("This kernel's GPU is lent to others."), "body": {}}

    async def _enter_now(self) -> bool:
        """Pass the gate if that needs no wait; an interrupt meanwhile would else end the kernel."""
        if not self._is_guarded:
            return True
        with _on_interrupt(lambda: None):
            return await self._is_let_in()

    async def _is_let_in(self) -> bool:
        if self._gate.enter():
            return True
        try:
            is_open = await asyncio.wait_for(asyncio.wrap_future(self._gate.open_if_usable()), _SOON)
        except Exception as error:
            self.log.info("Nothing is answered meanwhile: %r", error)
            return False
        return is_open and self._gate.enter()

    def _leave(self) -> None:
        if self._is_guarded:
            self._gate.leave()

    def do_shutdown(self, restart: bool) -> dict[str, Any]:  # type: ignore[override] # as IPython's is
        """End; the provisioner has the lease from here on."""
        if self._is_guarded:
            self._gate.stop()
        return super().do_shutdown(restart)

    # What is shown ---------------------------------------------------------------------------------------

    def _notice(self, parent: dict[str, Any], *, keeps_output: bool = False) -> Notice:
        from armillary_kernels.notices import Notice

        return Notice(self._send, parent, self._user, keeps_output=keeps_output)

    def _warn(self, at: datetime) -> None:
        """Show in the last cell's output that the kernel is going to be restarted."""
        from armillary_kernels.descriptions import restart_warning

        self._show(restart_warning(at), self._cell)

    def _show(self, text: Text, parent: dict[str, Any] | None = None) -> None:
        content = {"data": text.bundle(), "metadata": {}, "transient": {}}
        self._send("display_data", content, parent or self.get_parent("shell"))

    def _send(self, kind: str, content: dict[str, Any], parent: dict[str, Any]) -> None:
        if self.session is not None:
            self.session.send(self.iopub_socket, kind, content, parent, ident=self._topic(kind))

    def _done(self, store_history: bool) -> dict[str, Any]:
        """Return the reply to a cell that IPython has not seen."""
        count = self.execution_count
        if store_history and self.shell is not None:
            self.shell.execution_count += 1
        return {"status": "ok", "execution_count": count, "user_expressions": {}, "payload": []}

    def _failed(self, name: str, summary: str, details: tuple[str, ...], silent: bool) -> dict[str, Any]:
        error = {"ename": name, "evalue": summary, "traceback": [f"{name}: {summary}", *details]}
        if not silent:
            self.send_response(self.iopub_socket, "error", error, ident=self._topic("error"))
        return {"status": "error", **error, "execution_count": self.execution_count, "user_expressions": {}}


@contextmanager
def _on_interrupt(act: Callable[[], Any]) -> Iterator[None]:
    """Do something when the process is interrupted, rather than raise KeyboardInterrupt anywhere."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
