"""A person's notebook on a pool: a real kernel, whose cells are begun, looked at and waited for."""

from __future__ import annotations

import os
import signal
import time

from jupyter_client.manager import KernelManager


class Notebook:
    """A kernel of a person. A context manager.

    Parameters
    ----------
    pool
        A `support.gpu_pool.PoolProcess`.
    user
        The person.
    variables
        More for the kernel's environment.
    """

    def __init__(self, pool, user, spec="python-torch", **variables):
        self.user = user
        self._pool = pool
        self._environment = os.environ | pool.environment(user) | variables
        self._manager = KernelManager(kernel_name=spec)

    def __enter__(self):
        # The provisioner, which is here, reads this process's environment; the kernel gets its own.
        before = dict(os.environ)
        os.environ.update(self._environment)
        try:
            self._manager.start_kernel(env=self._environment)
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.pid = self._manager.provisioner.pid
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=120)
        return self

    def __exit__(self, *_):
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def begin(self, code):
        """Begin a cell; returns it."""
        return Cell(self._client, self._client.execute(code))

    def run(self, code, within=150):
        """Run a cell; returns what it printed, and fails where it does."""
        return self.begin(code).result(within)

    def die(self):
        os.kill(self.pid, signal.SIGKILL)

    @property
    def is_alive(self):
        return self._manager.is_alive()

    @property
    def lease(self):
        """The lease that this kernel holds or waits for; None when there is none."""
        state = self._pool.state()
        found = [one for one in [*state["leases"], *state["queue"]] if one["holder"]["pid"] == self.pid]
        return found[0] if found else None


class Cell:
    """A cell that was begun."""

    def __init__(self, client, request):
        self._client = client
        self._request = request
        self._shown = {}
        self.printed = ""
        self.error = None

    @property
    def text(self):
        return self.printed + "".join(self._shown.values())

    def shows(self, text, within=60):
        """Wait until it shows something."""
        deadline = time.monotonic() + within
        while text not in self.text:
            assert self._follow(deadline), f"it ended with {self.text!r} {self.error}"

    def result(self, within=150):
        """Wait until it has ended."""
        deadline = time.monotonic() + within
        while self._follow(deadline):
            pass
        assert self.error is None, self.error
        return self.printed.strip()

    def failure(self, within=150):
        """Wait until it has ended with an error; returns its text."""
        deadline = time.monotonic() + within
        while self._follow(deadline):
            pass
        assert self.error is not None, self.text
        return self.error

    def _follow(self, deadline):
        """Take the next message; returns whether the cell still runs."""
        message = self._client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
        if message["parent_header"].get("msg_id") != self._request:
            return True
        content, kind = message["content"], message["msg_type"]
        if kind == "stream":
            self.printed += content["text"]
        elif kind in ("display_data", "update_display_data"):
            self._shown[content["transient"].get("display_id", len(self._shown))] = content["data"]["text/plain"]
        elif kind == "error":
            self.error = "\n".join(content["traceback"])
        return not (kind == "status" and content["execution_state"] == "idle")
