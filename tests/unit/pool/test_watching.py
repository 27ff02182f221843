"""``armillary gpus --watch`` in a person's terminal: a real one, of a real pool."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.processes import Process
from support.gpu_pool import PoolProcess, eventually


class Terminal:
    """A program in a terminal, and what it has shown there."""

    def __init__(self, *command, environment):
        self._own, programs = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=programs, stdout=programs, stderr=programs, env=environment, start_new_session=True
        )
        os.close(programs)
        self.shown = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # Linux's end of a terminal whose program has ended
            while part := os.read(self._own, 4096):
                self.shown += part.decode(errors="replace")

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._own)


@pytest.fixture
def pool(tmp_path):
    pool = PoolProcess(tmp_path)
    pool.start()
    yield pool
    pool.kill()


def test_it_shows_what_becomes_of_the_gpus_until_ctrl_c(pool):
    size = {"TERM": "xterm", "COLUMNS": "160", "LINES": "40", "LANG": "C.UTF-8"}
    watching = "from armillary_hub.cli import main; main()"
    terminal = Terminal(
        *(sys.executable, "-c", watching, "gpus", "--watch"),
        environment=os.environ | pool.environment("alice") | size,
    )
    try:
        eventually(lambda: "Nobody waits." in terminal.shown, within=60, what="the books in the terminal")
        with LeaseClient(pool.connection("bob")) as client:
            client.ask("kernel", 2, "", Process.own())
            client.ask("kernel", 1, "", Process.own())
        eventually(lambda: "bob" in terminal.shown and "turn" in terminal.shown, what="bob's lease and place")
        pool.kill()
        eventually(lambda: f"The GPU pool at {pool.url} does not answer" in terminal.shown, what="why")
        seen = len(terminal.shown)
        pool.start()
        eventually(lambda: "bob" in terminal.shown[seen:], what="the books again")
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.process.wait(20) == 0
        assert "Traceback" not in terminal.shown
    finally:
        terminal.close()
