"""A process that uses a pretend GPU as it is told, with children that do too: what a kernel is to the pool.

It is told over its standard input: a line of JSON, ``[method, arguments...]`` of `FakeCuda`; or ``["start"]`` a child,
and ``["child", number, method, ...]`` tell that one; ``["open", path]`` keeps a file open.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from armillary_kernels.processes import Process


class Program:
    """The process, as the one who tells it sees it."""

    def __init__(self, folder, devices=()):
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(devices)}
        command = [sys.executable, "-m", "support.cuda_program", str(folder)]
        self._run = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env=environment,
        )
        assert self._run.stdout.readline() == '"ready"\n'
        self.process = Process.of(self._run.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._run.kill()
        self.wait()
        self._run.stdin.close()
        self._run.stdout.close()

    def tell(self, *what):
        """Return its answer; None when it died of it."""
        self.send(*what)
        answer = self._run.stdout.readline()
        return json.loads(answer) if answer else None

    def send(self, *what):
        print(json.dumps(what), file=self._run.stdin, flush=True)

    def signal(self, number):
        os.kill(self._run.pid, number)

    def wait(self):
        """Return how it ended."""
        return self._run.wait(20)


def answer(line, cuda, children):
    do, *arguments = line
    if do == "start":
        children.append(Program(*arguments, devices=os.environ["CUDA_VISIBLE_DEVICES"].split(",")))
        return children[-1].process.pid
    if do == "child":
        return children[arguments[0]].tell(*arguments[1:])
    if do == "open":
        cuda[arguments[0]] = Path(arguments[0]).open("w")  # noqa: SIM115 - until the process ends
        return None
    if do == "pid":
        return os.getpid()
    if "cuda" not in cuda:
        from support.fake_gpus import FakeCuda

        cuda["cuda"] = FakeCuda(sys.argv[1])
    return getattr(cuda["cuda"], do)(*arguments)


def main():
    cuda, children = {}, []
    print('"ready"', flush=True)
    for line in sys.stdin:
        try:
            done = answer(json.loads(line), cuda, children)
        except RuntimeError as error:
            done = {"error": str(error)}
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
