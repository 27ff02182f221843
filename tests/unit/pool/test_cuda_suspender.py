"""Suspending processes by CUDA's checkpoint calls, over pretend GPUs whose driver keeps the real one's rules."""

import json
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from armillary_hub.pool import cuda_driver, service
from armillary_hub.pool.configuration import GpuSharing
from armillary_hub.pool.cuda_calls import Patience
from armillary_hub.pool.cuda_suspender import CudaSuspender
from armillary_hub.pool.devices import GpuProcess, NvmlInventory, Reading, Readings
from armillary_hub.pool.family import Family
from armillary_hub.pool.host_memory import HostMemory, NotEnoughMemoryError
from armillary_hub.pool.suspender import NoSuspender, SimulatedSuspender, SuspensionError
from armillary_kernels import gpu_environment
from armillary_kernels.processes import Process
from support.cuda_program import Program
from support.fake_cuda_driver import command
from support.fake_gpus import FakeGpus, gpu_uuid
from support.gpu_pool import eventually

FIRST, SECOND = gpu_uuid(0), gpu_uuid(1)
WEIGHTS = [0.1 * n for n in range(50)]


class Memory(HostMemory):
    """Host memory of which so much is left."""

    def __init__(self, mebibytes=10**6):
        super().__init__(margin=1000)
        self.left = mebibytes

    def room(self, pids):
        return self.left


@pytest.fixture
def gpus(tmp_path):
    return FakeGpus.make(tmp_path / "gpus", count=2)


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def inventory(gpus):
    inventory = NvmlInventory(command(gpus.folder, "nvml"), patience=10)
    yield inventory
    inventory.close()


@pytest.fixture
def suspender(gpus, inventory, memory):
    patience = Patience(call=3.0, lock=0.2, copy=1.0)
    made = CudaSuspender(inventory, memory, command=command(gpus.folder, "cuda"), patience=patience, room_patience=0.3)
    made.look_at_driver()
    return made


@pytest.fixture
def program(gpus):
    with Program(gpus.folder, devices=[FIRST]) as program:
        yield program


def state(gpus, program):
    return gpus.process(program.process.pid)["state"]


def suspend(suspender, program, devices=(FIRST,), *, again=False, apart=()):
    return suspender.suspend(Family(program.process, frozenset(apart)), devices, again=again)


def restore(suspender, program, saved, devices=None, *, again=False, apart=()):
    suspender.restore(Family(program.process, frozenset(apart)), devices or {FIRST: FIRST}, saved, again=again)


def refused(action, outcome="unchanged"):
    with pytest.raises(SuspensionError) as caught:
        action()
    assert caught.value.outcome == outcome
    return caught.value.what


def test_a_process_is_suspended_and_goes_on_as_if_nothing_had_happened(suspender, gpus, program):
    program.tell("put", "weights", 6000, WEIGHTS)
    saved = suspend(suspender, program)
    assert saved == {FIRST: 6000}
    assert (state(gpus, program), gpus.free(FIRST)) == ("CHECKPOINTED", 8192)
    with Program(gpus.folder, devices=[FIRST]) as other:
        other.tell("put", "all", 8192, [])
    restore(suspender, program, saved)
    assert state(gpus, program) == "RUNNING"
    assert program.tell("get", "weights") == WEIGHTS


def test_a_call_while_it_is_suspended_would_have_been_its_end(suspender, program):
    program.tell("put", "weights", 10, WEIGHTS)
    suspend(suspender, program)
    program.send("get", "weights")
    assert program.wait() == -signal.SIGSEGV


def test_a_process_without_cuda_has_nothing_to_suspend(suspender, program):
    assert program.tell("pid") == program.process.pid
    assert suspend(suspender, program) == {}
    restore(suspender, program, {})


def test_it_comes_back_on_another_gpu_where_the_driver_can(suspender, gpus, program):
    program.tell("put", "weights", 10, WEIGHTS)
    saved = suspend(suspender, program)
    assert suspender.moves
    restore(suspender, program, saved, {FIRST: SECOND})
    assert (gpus.free(FIRST), gpus.free(SECOND)) == (8192, 8182)
    assert program.tell("get", "weights") == WEIGHTS


def test_an_older_driver_brings_back_to_the_same_gpu_only(suspender, gpus, program):
    gpus.set(driver="570.86.10")
    suspender.look_at_driver()
    assert (suspender.problem, suspender.moves) == (None, False)
    program.tell("put", "weights", 10, WEIGHTS)
    saved = suspend(suspender, program)
    assert "cannot move it" in refused(lambda: restore(suspender, program, saved, {FIRST: SECOND}))
    assert state(gpus, program) == "CHECKPOINTED"
    restore(suspender, program, saved)
    assert program.tell("get", "weights") == WEIGHTS


@pytest.mark.parametrize("driver", ["535.183.01", None])
def test_where_the_driver_cannot_it_is_said_once(gpus, inventory, program, caplog, driver):
    gpus.set(driver=driver or "580.65")
    suspender = CudaSuspender(inventory, command=command(gpus.folder, "cuda") if driver else ("false",))
    for _ in range(2):
        suspender.look_at_driver()
    said = "the NVIDIA driver 535 cannot suspend processes; 570 can" if driver else "the CUDA driver cannot be used"
    assert said in suspender.refusal(program.process)
    assert [said in record.message for record in caplog.records] == [True]


def test_what_was_not_asked_yet_is_asked_in_time(gpus, inventory, program):
    suspender = CudaSuspender(inventory, command=command(gpus.folder, "cuda"))
    assert suspender.refusal(program.process) == "the CUDA driver has not been asked yet"
    eventually(lambda: suspender.refusal(program.process) is None)


def change(gpus, pid, **values):
    with gpus.changing():
        process = gpus.process(pid)
        process.update(values)
        gpus.keep(process)


def use_managed_memory(gpus, pid):
    change(
        gpus,
        pid,
        allocations={
            **gpus.process(pid)["allocations"],
            "m": {"uuid": FIRST, "mebibytes": 1, "managed": True, "values": []},
        },
    )


def test_managed_memory_is_refused_and_the_process_runs_on(suspender, gpus, program):
    program.tell("put", "weights", 10, WEIGHTS)
    use_managed_memory(gpus, program.process.pid)
    assert "managed memory" in refused(lambda: suspend(suspender, program))
    assert state(gpus, program) == "RUNNING"
    assert program.tell("get", "weights") == WEIGHTS


def test_what_failed_is_not_tried_again_at_once_and_later_each_time(suspender, gpus, program):
    now = [0.0]
    suspender._backoff._clock = lambda: now[0]
    program.tell("put", "weights", 10, WEIGHTS)
    program.tell("set_busy", True)
    for lasting in (60, 120, 240):
        assert suspender.refusal(program.process) is None
        why = refused(lambda: suspend(suspender, program))
        assert why == "Its work on the GPU did not end in time."
        now[0] += lasting - 1
        assert suspender.refusal(program.process) == why
        now[0] += 1
    program.tell("set_busy", False)
    suspend(suspender, program)
    restore(suspender, program, {FIRST: 10})
    program.tell("set_busy", True)
    refused(lambda: suspend(suspender, program))
    now[0] += 60
    assert suspender.refusal(program.process) is None, "it begins anew after a success"


def test_a_stopped_process_is_refused_before_any_call_could_hang(suspender, gpus, program):
    program.tell("put", "weights", 10, WEIGHTS)
    program.signal(signal.SIGSTOP)
    eventually(program.process.is_stopped)
    assert suspender.refusal(program.process) == "it was stopped by a signal"
    assert refused(lambda: suspend(suspender, program)).endswith("was stopped by a signal.")
    program.signal(signal.SIGCONT)
    assert state(gpus, program) == "RUNNING"


def family(gpus, program, count=2):
    """A process and its children, each with something on the GPU."""
    program.tell("put", "weights", 100, WEIGHTS)
    pids = [program.tell("start", str(gpus.folder)) for _ in range(count)]
    for number in range(count):
        program.tell("child", number, "put", "weights", 100, WEIGHTS)
    return [program.process.pid, *pids]


def states(gpus, pids):
    return [gpus.process(pid)["state"] for pid in pids]


def test_a_process_and_its_children_are_suspended_together(suspender, gpus, program):
    pids = family(gpus, program)
    assert suspend(suspender, program) == {FIRST: 300}
    assert states(gpus, pids) == ["CHECKPOINTED"] * 3
    restore(suspender, program, {FIRST: 300})
    assert states(gpus, pids) == ["RUNNING"] * 3
    assert program.tell("child", 1, "get", "weights") == WEIGHTS


@pytest.mark.parametrize("trouble", ["busy", "managed"])
def test_all_of_them_or_none(suspender, gpus, program, trouble):
    pids = family(gpus, program)
    program.tell("child", 1, "put", "more", 6000, [])  # what is undone needs no room for what was never moved
    last = max(pids)
    if trouble == "busy":
        change(gpus, last, busy=True)
    else:
        use_managed_memory(gpus, last)
    refused(lambda: suspend(suspender, program))
    assert states(gpus, pids) == ["RUNNING"] * 3
    assert program.tell("child", 0, "get", "weights") == WEIGHTS


def test_host_memory_is_reserved_before_anything_is_done(suspender, gpus, program, memory):
    program.tell("put", "weights", 6000, WEIGHTS)
    memory.left = 6500
    said = refused(lambda: suspend(suspender, program))
    assert said == "5500 MiB of host memory are left, and 6000 MiB are needed."
    assert state(gpus, program) == "RUNNING"
    memory.left = 7000
    suspend(suspender, program)


def test_what_others_have_reserved_counts(memory):
    memory.left = 3000
    with memory.reserved(1500, []):
        too_much = memory.reserved(600, [])
        with pytest.raises(NotEnoughMemoryError, match="500 MiB of host memory are left"), too_much:
            raise AssertionError
        with memory.reserved(500, []):
            pass
    assert memory._reserved == 0


def test_a_restore_waits_for_memory_and_is_not_tried_without(suspender, gpus, program):
    program.tell("put", "weights", 6000, WEIGHTS)
    saved = suspend(suspender, program)
    gpus.set(lingers={FIRST: 3000})
    said = refused(lambda: restore(suspender, program, saved))
    assert said == f"5192 MiB of the GPU {FIRST} are free, and 6000 MiB are needed."
    assert state(gpus, program) == "CHECKPOINTED"
    suspender._gpus._patience = 20.0
    letting_go = threading.Timer(0.5, lambda: gpus.set(lingers={}))
    letting_go.start()
    restore(suspender, program, saved)
    letting_go.join()
    assert program.tell("get", "weights") == WEIGHTS


def test_a_restore_that_finds_too_little_memory_all_the_same_is_fatal(suspender, gpus, program):
    program.tell("put", "weights", 6000, WEIGHTS)
    saved = suspend(suspender, program)
    gpus.set(lingers={FIRST: 3000})
    assert "state was lost" in refused(lambda: restore(suspender, program, {FIRST: 10}), "lost")
    gpus.set(lingers={})
    assert "state was lost" in refused(lambda: restore(suspender, program, saved, again=True), "lost")
    assert state(gpus, program) == "CHECKPOINTED", "the driver says no more of it than that"


def test_a_restore_wants_all_that_was_saved(suspender, gpus, program):
    program.tell("put", "weights", 8100, WEIGHTS)
    saved = suspend(suspender, program)
    gpus.set(lingers={FIRST: 800})
    assert "7392 MiB" in refused(lambda: restore(suspender, program, saved))
    gpus.set(lingers={})
    restore(suspender, program, saved)
    assert program.tell("get", "weights") == WEIGHTS


@pytest.mark.parametrize("listed", ["not", "foreign"])
def test_what_was_reckoned_generously_is_no_more_than_can_be_had(suspender, gpus, program, listed):
    gpus.set(listed=listed, lingers={FIRST: 300})
    program.tell("put", "weights", 7800, WEIGHTS)
    saved = suspend(suspender, program)
    assert saved == {FIRST: 7892}, "8100 MiB were in use, and 300 of them never become free"
    restore(suspender, program, saved)
    assert program.tell("get", "weights") == WEIGHTS


def test_two_that_come_back_to_one_gpu_do_so_one_after_the_other(suspender, gpus, program):
    suspender._gpus._patience = 1.0
    with Program(gpus.folder, devices=[FIRST]) as other:
        saved = []
        for one in (program, other):
            for part in range(3):
                one.tell("put", f"part{part}", 1500, WEIGHTS)
            saved.append(suspend(suspender, one))
        gpus.set(slow=0.1)
        outcomes = []

        def come_back(one, need):
            try:
                restore(suspender, one, need)
                outcomes.append("restored")
            except SuspensionError as error:
                outcomes.append(error.outcome)

        threads = [threading.Thread(target=come_back, args=both) for both in zip((program, other), saved, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["restored", "unchanged"]
        assert sorted([state(gpus, program), state(gpus, other)]) == ["CHECKPOINTED", "RUNNING"]


@pytest.mark.parametrize(("call", "when", "goes"), [("lock", "before", False), ("checkpoint", "after", True)])
def test_a_suspension_that_hangs_is_given_up_and_its_end_found_out(suspender, gpus, program, call, when, goes):
    program.tell("put", "weights", 100, WEIGHTS)
    gpus.set(hang={call: when})
    if goes:
        assert suspend(suspender, program) == {FIRST: 100}
    else:
        assert "has not answered" in refused(lambda: suspend(suspender, program))
    assert state(gpus, program) == ("CHECKPOINTED" if goes else "RUNNING")


@pytest.mark.parametrize(
    ("call", "when", "goes"),
    [("restore", "before", False), ("restore", "after", False), ("unlock", "before", False), ("unlock", "after", True)],
)
def test_a_restore_that_hangs_is_given_up_and_its_end_found_out(suspender, gpus, program, call, when, goes):
    program.tell("put", "weights", 100, WEIGHTS)
    saved = suspend(suspender, program)
    gpus.set(hang={call: when})
    if goes:
        restore(suspender, program, saved)
    else:
        assert "has not answered" in refused(lambda: restore(suspender, program, saved))
        assert state(gpus, program) == "CHECKPOINTED"
        gpus.set(hang={})
        restore(suspender, program, saved)
    assert program.tell("get", "weights") == WEIGHTS


def test_a_process_that_is_neither_restored_nor_suspended_is_not_lost(suspender, gpus, program):
    program.tell("put", "weights", 100, WEIGHTS)
    saved = suspend(suspender, program)
    gpus.set(hang={"unlock": "before", "checkpoint": "before"})
    refused(lambda: restore(suspender, program, saved), "unknown")
    assert state(gpus, program) == "LOCKED"
    gpus.set(hang={})
    restore(suspender, program, saved, again=True)
    assert program.tell("get", "weights") == WEIGHTS


def test_a_driver_that_answers_nothing_at_all_changes_nothing(suspender, gpus, program):
    program.tell("put", "weights", 100, WEIGHTS)
    gpus.set(hang={"state": "before"})
    suspender._patience = Patience(call=0.7, lock=0.1, copy=0.1)
    assert "has not answered" in refused(lambda: suspend(suspender, program))
    assert "has not answered" in refused(lambda: suspend(suspender, program, again=True), "unknown")
    assert state(gpus, program) == "RUNNING"


def test_a_driver_that_hangs_when_it_is_locked_leaves_nobody_knows_what(suspender, gpus, program):
    program.tell("put", "weights", 100, WEIGHTS)
    gpus.set(hang={"checkpoint": "before", "unlock": "before"})
    refused(lambda: suspend(suspender, program), "unknown")
    assert state(gpus, program) == "LOCKED"
    assert suspender.refusal(program.process) is None, "it is not put off: its cells wait for that"
    gpus.set(hang={})
    assert suspend(suspender, program, again=True) == {FIRST: 100}


@pytest.mark.parametrize("silent", ["driver", "nvml", "stopped"])
def test_a_restore_that_is_taken_again_is_not_taken_for_undone(suspender, gpus, inventory, program, silent):
    program.tell("put", "weights", 100, WEIGHTS)
    saved = suspend(suspender, program)
    restore(suspender, program, saved)  # the pool is killed before it has written that down
    inventory._patience = 0.3
    suspender._patience = Patience(call=0.7, lock=0.1, copy=0.1)
    if silent == "stopped":
        program.signal(signal.SIGSTOP)
        eventually(program.process.is_stopped)
    gpus.set(hang={"driver": {"state": "before"}, "nvml": {"nvml": True}}.get(silent, {}))
    if silent != "nvml":
        refused(lambda: restore(suspender, program, saved, again=True), "unknown")
    program.signal(signal.SIGCONT)
    gpus.set(hang={} if silent != "nvml" else {"nvml": True})
    restore(suspender, program, saved, again=True)
    assert state(gpus, program) == "RUNNING"


def test_a_process_that_moved_is_where_it_is_also_for_a_pool_that_has_not_asked_the_driver_yet(
    suspender, gpus, inventory, memory, program
):
    program.tell("put", "weights", 100, WEIGHTS)
    saved = suspend(suspender, program)
    restore(suspender, program, saved, {FIRST: SECOND})
    fresh = CudaSuspender(inventory, memory, command=command(gpus.folder, "cuda"), room_patience=0.3)
    restore(fresh, program, saved, {FIRST: SECOND}, again=True)
    assert state(gpus, program) == "RUNNING"
    suspend(fresh, program, [SECOND])
    fresh = CudaSuspender(inventory, memory, command=command(gpus.folder, "cuda"), room_patience=0.3)
    restore(fresh, program, saved, {SECOND: FIRST})
    assert gpus.free(FIRST) == 8092


def test_one_that_was_moved_and_not_unlocked_is_not_taken_for_one_that_still_comes_from_elsewhere(
    suspender, gpus, program
):
    program.tell("put", "weights", 100, WEIGHTS)
    saved = suspend(suspender, program)
    gpus.set(hang={"restore": "after"})
    refused(lambda: restore(suspender, program, saved, {FIRST: SECOND}), "unknown")
    gpus.set(hang={})
    restore(suspender, program, saved, {FIRST: SECOND}, again=True)
    assert (gpus.free(FIRST), gpus.free(SECOND)) == (8192, 8092)
    assert program.tell("get", "weights") == WEIGHTS


def test_of_a_family_that_was_moved_in_part_the_rest_is_moved_too(suspender, gpus, program):
    pids = family(gpus, program)
    program.tell("child", 0, "put", "more", 4500, [])
    saved = suspend(suspender, program)
    with gpus.changing():  # the pool is killed when it has restored the largest
        moved = gpus.process(pids[1])
        for one in moved["allocations"].values():
            one["uuid"] = SECOND
        gpus.keep({**moved, "state": "LOCKED"})
    restore(suspender, program, saved, {FIRST: SECOND}, again=True)
    assert states(gpus, pids) == ["RUNNING"] * 3
    assert (gpus.free(FIRST), gpus.free(SECOND)) == (8192, 8192 - 4800)


def test_what_may_not_be_looked_into_is_not_taken_for_a_process_without_cuda(suspender, gpus, program):
    program.tell("put", "weights", 100, WEIGHTS)
    gpus.set(unreadable=[program.process.pid])
    said = refused(lambda: suspend(suspender, program))
    assert "CAP_SYS_PTRACE" in said
    assert state(gpus, program) == "RUNNING"
    gpus.set(unreadable=[])
    suspender._backoff.forget(program.process)
    saved = suspend(suspender, program)
    gpus.set(unreadable=[program.process.pid])
    assert "CAP_SYS_PTRACE" in refused(lambda: restore(suspender, program, saved))
    assert "CAP_SYS_PTRACE" in refused(lambda: restore(suspender, program, saved, again=True), "unknown")


def test_a_process_of_another_account_that_cannot_be_read_is_not_one_without_cuda(program, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(PermissionError):
        cuda_driver.uses_cuda(program.process.pid)
    monkeypatch.undo()
    assert not cuda_driver.uses_cuda(program.process.pid)
    assert not cuda_driver.uses_cuda(2**22 + 1)


def test_a_gpu_that_is_open_without_cuda_is_not_taken_for_free(suspender, program, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_environment, "DEVICE_FILES", str(tmp_path / "nvidia"))
    program.tell("open", str(tmp_path / "nvidia0"))
    assert refused(lambda: suspend(suspender, program)) == "It uses a GPU otherwise than by CUDA."


def test_what_stays_on_the_gpu_is_not_given_away(suspender, gpus, program, inventory, monkeypatch):
    program.tell("put", "weights", 100, WEIGHTS)
    stays = Readings((), (GpuProcess(program.process.pid, FIRST, 100),))
    monkeypatch.setattr(inventory, "readings", lambda: replace(stays, devices=(Reading(FIRST, 100, 0.0, 8092),)))
    assert "stays on the GPU" in refused(lambda: suspend(suspender, program))
    assert state(gpus, program) == "RUNNING"


def test_a_child_with_a_lease_of_its_own_goes_on(suspender, gpus, program):
    pids = family(gpus, program)
    apart = [Process.of(pids[1])]
    saved = suspend(suspender, program, apart=apart)
    assert saved == {FIRST: 200}
    assert states(gpus, pids) == ["CHECKPOINTED", "RUNNING", "CHECKPOINTED"]
    restore(suspender, program, saved, apart=apart)
    assert states(gpus, pids) == ["RUNNING"] * 3


@pytest.mark.parametrize("step", ["suspend", "restore"])
def test_a_process_that_ends_meanwhile_is_gone_for_good(suspender, gpus, program, step):
    program.tell("put", "weights", 100, WEIGHTS)
    saved = suspend(suspender, program) if step == "restore" else {}
    program.signal(signal.SIGKILL)
    program.wait()
    action = suspend if step == "suspend" else restore
    arguments = () if step == "suspend" else (saved,)
    assert refused(lambda: action(suspender, program, *arguments), "lost") == "The process has ended."


def test_one_that_host_memory_kills_is_gone_for_good(suspender, gpus, program):
    program.tell("put", "weights", 100, WEIGHTS)
    gpus.set(host=50)
    assert refused(lambda: suspend(suspender, program), "lost") == "The process has ended."


@pytest.mark.parametrize("reached", ["LOCKED", "CHECKPOINTED"])
def test_a_step_that_the_pool_was_killed_in_is_taken_again(suspender, gpus, program, reached):
    program.tell("put", "weights", 100, WEIGHTS)
    change(gpus, program.process.pid, state=reached)
    saved = suspend(suspender, program, again=True)
    assert state(gpus, program) == "CHECKPOINTED"
    assert saved[FIRST] > 0
    restore(suspender, program, saved)
    change(gpus, program.process.pid, state=reached)
    restore(suspender, program, saved, again=True)
    assert program.tell("get", "weights") == WEIGHTS


def test_what_nvml_does_not_say_of_a_process_is_reckoned_generously(suspender, gpus, program):
    program.tell("put", "weights", 0, WEIGHTS)
    gpus.set(lingers={FIRST: 700})
    assert suspend(suspender, program) == {FIRST: 700}


def test_while_nvml_is_silent_nothing_is_tried(suspender, gpus, program, inventory):
    program.tell("put", "weights", 100, WEIGHTS)
    gpus.set(hang={"nvml": True})
    inventory._patience = 0.3
    assert "NVML has not answered" in refused(lambda: suspend(suspender, program))
    assert state(gpus, program) == "RUNNING"


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(("simulated", "kind"), [(2, SimulatedSuspender), (0, CudaSuspender)])
def test_the_service_suspends_as_the_machine_can_and_the_admin_wants(inventory, program, simulated, wanted, kind):
    sharing = GpuSharing(suspend=wanted, host_memory_margin=0.5)
    made = service._suspender(SimpleNamespace(simulate_gpus=simulated), sharing, inventory)
    assert type(made) is kind
    assert ("admin does not want it" in str(made.refusal(program.process))) is not wanted


def test_what_is_suspended_when_the_admin_turns_that_off_still_comes_back(suspender, gpus, inventory, memory, program):
    program.tell("put", "weights", 100, WEIGHTS)
    saved = suspend(suspender, program)
    unwanted = CudaSuspender(inventory, memory, unwanted="the admin does not want it", command=suspender._command)
    restore(unwanted, program, saved, {FIRST: SECOND})
    assert unwanted.refusal(program.process) == unwanted.problem == "the admin does not want it"
    assert state(gpus, program) == "RUNNING"


@pytest.mark.parametrize(("again", "outcome"), [(False, "unchanged"), (True, "unknown")])
def test_a_machine_that_cannot_suspend_does_not_guess_what_another_has_begun(program, again, outcome):
    refused(lambda: suspend(NoSuspender(), program, again=again), outcome)
    refused(lambda: restore(NoSuspender(), program, {}, again=again), outcome)


def test_idle_kernels_are_restarted_only_where_the_admin_says_so():
    assert GpuSharing(restart_warning=5).rules().restart_warning is None
    assert GpuSharing(restart_warning=5, restart_idle=True).rules().restart_warning == 300.0


def test_a_call_that_a_killed_pool_left_behind_is_waited_for(suspender, gpus, program):
    program.tell("put", "weights", 100, WEIGHTS)
    gpus.set(hang={"checkpoint": "after"})
    change(gpus, program.process.pid, state="LOCKED")
    left = subprocess.Popen(command(gpus.folder, "cuda"), stdin=subprocess.PIPE, text=True)
    print(json.dumps({"do": "checkpoint", "pid": program.process.pid}), file=left.stdin, flush=True)
    eventually(lambda: state(gpus, program) == "CHECKPOINTED")
    gpus.set(hang={})
    done = []
    waiting = threading.Thread(target=lambda: done.append(suspend(suspender, program, again=True)))
    waiting.start()
    eventually(lambda: _locks_waited_for(program), what="the wait for its lock")
    assert done == []
    left.kill()
    left.wait()
    left.stdin.close()
    waiting.join()
    assert len(done) == 1
    restore(suspender, program, done[0])
    assert program.tell("get", "weights") == WEIGHTS


def _locks_waited_for(program):
    """Whether somebody waits for a lock on the program's folder in /proc."""
    inode = Path(f"/proc/{program.process.pid}").stat().st_ino
    return any(f":{inode} " in line and "->" in line for line in Path("/proc/locks").read_text().splitlines())
