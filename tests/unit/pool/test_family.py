"""The processes of a lease: its holder and what that has started, alive or ended, without holders of other leases."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from armillary_hub.pool.family import Family, own_pids
from armillary_hub.pool.machine import ThisMachine
from armillary_kernels.processes import Process, left_behind
from support.gpu_pool import eventually

#: A process that starts two others, tells their pids, and sleeps; they ignore SIGTERM where that is said.
HOLDER = textwrap.dedent("""
    import signal, subprocess, sys, time
    sleep = ["sh", "-c", "trap '' TERM; sleep 60 & wait"] if "deaf" in sys.argv else ["sleep", "60"]
    children = [subprocess.Popen(sleep), subprocess.Popen(["sleep", "60"])]
    print(*(child.pid for child in children), flush=True)
    time.sleep(60)
""")


@pytest.fixture
def start():
    started = []

    def start(*words):
        run = subprocess.Popen([sys.executable, "-c", HOLDER, *words], stdout=subprocess.PIPE, start_new_session=True)
        started.append(run)
        children = [Process.of(int(pid)) for pid in run.stdout.readline().split()]
        return run, Process.of(run.pid), children

    yield start
    for run in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        run.stdout.close()


def are_alive(processes):
    return [process.is_alive() for process in processes]


def test_it_is_the_holder_first_and_all_that_it_has_started(start):
    _, holder, children = start()
    assert Family(holder).members() == [holder, *sorted(children, key=lambda one: one.pid)]
    assert own_pids([holder.pid]) == {holder.pid: {holder.pid, *(one.pid for one in children)}}


def test_who_holds_a_lease_of_its_own_is_left_out(start):
    _run, holder, (first, second) = start()
    assert Family(holder, frozenset([first])).members() == [holder, second]
    assert own_pids([holder.pid, first.pid]) == {holder.pid: {holder.pid, second.pid}, first.pid: {first.pid}}
    another = Process(first.pid, first.start_time + 1)  # it had the pid before
    assert Family(holder, frozenset([another])).members() == [holder, first, second]
    assert Family(first, frozenset([holder])).members() == [first], "whoever started it is no part of it either"


def test_what_a_holder_left_behind_is_found(start):
    run, holder, children = start()
    assert left_behind(holder) == []
    run.kill()
    eventually(lambda: not holder.is_alive())
    assert sorted(one.pid for one in Family(holder).members()) == sorted(one.pid for one in children)
    assert Family(holder, frozenset(children[:1])).members() == children[1:]
    run.wait()
    assert len(left_behind(holder)) == 2, "its pid is not used again meanwhile"


def test_it_is_ended_whole_however_deaf_some_are(start, monkeypatch):
    monkeypatch.setattr("armillary_hub.pool.machine.TERMINATION_GRACE", 0.3)
    _, holder, _children = start("deaf")
    _, bystander, others = start()
    family = Family(holder)
    whole = family.members()
    assert len(whole) >= 3
    ThisMachine().end_family(family)
    assert not any(are_alive(whole))
    assert all(are_alive([bystander, *others]))


def test_a_job_with_a_lease_of_its_own_outlives_its_kernel(start):
    _, holder, (job, child) = start()
    ThisMachine().end_family(Family(holder, frozenset([job])))
    assert are_alive([holder, job, child]) == [False, True, False]


def test_what_was_left_behind_is_killed_once_the_holder_is_dead(start):
    run, holder, children = start("deaf")
    machine = ThisMachine()
    assert not machine.kill_left_behind(Family(holder))
    assert all(are_alive(children))
    run.kill()
    eventually(lambda: not holder.is_alive())
    assert machine.kill_left_behind(Family(holder))
    eventually(lambda: not machine.kill_left_behind(Family(holder)))
    assert not any(are_alive(children))
