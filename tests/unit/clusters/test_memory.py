"""How much memory a worker's processes have, by Linux's books."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from armillary_hub.clusters.memory import exceeds, families, freeze, proportional, resident, send
from armillary_kernels.processes import Process
from support.gpu_pool import eventually

MIB = 2**20

#: A parent that fills 200 MiB, and a forked child that shares them and leads a session of its own, as a rank does.
FAMILY = """
import os, signal
filled = os.urandom(1024) * (200 * 1024)
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
signal.pause()
"""


@pytest.fixture
def family():
    """Pids of a parent and its child."""
    parent = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    yield parent.pid, child
    for pid in (child, parent.pid):
        send(pid, signal.SIGKILL)
    parent.communicate()


def test_children_count_wherever_they_lead_a_session(family):
    parent, child = family
    assert families([parent]) == {parent: {parent, child}}
    assert families([child]) == {child: {child}}


def test_what_processes_share_counts_once(family):
    assert all(resident(pid) > 200 * MIB for pid in family)
    together = sum(map(proportional, family))
    assert 200 * MIB < together < 300 * MIB
    assert exceeds(family, 300 * MIB) is None
    assert exceeds(family, 150 * MIB) == pytest.approx(together, rel=0.1)


def test_mapped_files_do_not_count(tmp_path):
    path = tmp_path / "dataset"
    path.write_bytes(bytes(100 * MIB))
    script = (
        "import mmap, sys\n"
        "mapped = mmap.mmap(open(sys.argv[1], 'rb').fileno(), 0, access=mmap.ACCESS_READ)\n"
        "print(sum(mapped[::4096]), flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, path], **pipes) as reader:
        reader.stdout.readline()
        assert exceeds([reader.pid], 60 * MIB) is None


def test_a_stopped_family_starts_no_others(family):
    parent, child = family
    assert freeze(parent) == [parent, child]
    eventually(lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in family))


def test_a_process_that_has_ended_has_no_memory_and_no_family():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert Process.of(ended.pid) is None
    assert (resident(ended.pid), proportional(ended.pid), freeze(ended.pid)) == (0, 0, [])
    assert families([ended.pid, os.getpid()])[ended.pid] == set()
