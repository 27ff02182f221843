"""A process that answers questions one line at a time, so that a driver that hangs in it stops nobody else."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any


class NoAnswerError(Exception):
    """The process gave no answer in time, or ended. It is ended then; the next question starts another."""


class ChildProcess:
    """A process that reads a line and writes one of JSON. It is started by the first question; threads may share it.

    Parameters
    ----------
    command
        How it is started.
    name
        Who does not answer, for the message.
    """

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._command = tuple(command)
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._has_answered = False
        self._asking = threading.Lock()

    def ask(self, question: str, patience: float, first_patience: float | None = None) -> Any:
        """Ask one question, and wait some seconds for the answer; other ones for the first answer of a process.

        Raises
        ------
        NoAnswerError
            If none comes.
        """
        with self._asking:
            process = self._running()
            if not self._has_answered and first_patience is not None:
                patience = first_patience
            try:
                answer = json.loads(self._answer(process, question, time.monotonic() + patience))
                self._has_answered = True
                return answer
            except TimeoutError:
                problem = f"{self._name} has not answered for {patience:.0f} s"
            except OSError:
                problem = f"the process that asks {self._name} ended"
            except ValueError:
                problem = f"the process that asks {self._name} answers nonsense"
            self.close()
            raise NoAnswerError(problem)

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)  # where it hangs in the driver it stays until that lets it go
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._has_answered = False
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], question: str, deadline: float) -> bytes:
        if process.stdin is None or process.stdout is None:
            raise OSError("it has no pipes")
        process.stdin.write(question.encode() + b"\n")
        answer, ready = b"", select.poll()  # `select.select` fails where a process has many files open
        ready.register(process.stdout, select.POLLIN)
        while not answer.endswith(b"\n"):
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            part = process.stdout.read(65536)
            if not part:
                raise OSError("no answer")
            answer += part
        return answer
