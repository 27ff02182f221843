"""Which processes live."""

import subprocess
import sys
from contextlib import contextmanager

from armillary_kernels.processes import Process, kill_group
from support.gpu_pool import eventually

FIRST_THREAD_ENDS = """
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("started", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)  # exit(2), of this thread alone
"""

LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def running(code):
    """A process that leads a group, and the first that it says."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, text=True, **pipes) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def is_zombie(pid):
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        return stat.read().rpartition(")")[2].split()[0] == "Z"


def test_a_process_lives_as_long_as_a_thread_of_it_does():
    with running(FIRST_THREAD_ENDS) as (started, _):
        process = Process.of(started.pid)
        eventually(lambda: is_zombie(process.pid))
        assert process.is_alive()
        started.kill()
        eventually(lambda: not process.is_alive(), what="the end of all its threads")
        assert is_zombie(process.pid), "nobody has waited for it"


def test_what_a_dead_process_has_left_in_its_group_is_killed():
    with running(LEAVES_A_CHILD) as (started, said):
        leader, child = Process.of(started.pid), Process.of(int(said))
        started.kill()
        started.wait()
        assert child.is_alive()
        kill_group(leader)
        eventually(lambda: not child.is_alive(), what="the end of the child")
