"""Whatever happens in whatever order, the pool's books balance: the real service on a real database, driven at random.

Thousands of short sequences, each of which begins in the middle of a busy day, and some long ones that begin with
nothing. ``ARMILLARY_POOL_EXAMPLES`` asks for more of the short ones.
"""

import logging
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from armillary_hub.pool import opening
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.pool_ledger import Ledger
from support.pool_people import DAYS, GROUPS, MEMORY, RULES, People, a_day
from support.pool_world import World

EXAMPLES = int(os.environ.get("ARMILLARY_POOL_EXAMPLES", "2000"))

users = st.sampled_from(sorted(GROUPS))
which = st.integers(0, 1000)
wants = st.lists(st.sampled_from([1, 1, 1, 1, 1, 2, 2, 3, 4, 5]), min_size=1, max_size=3)
names, absent = st.sampled_from("ab"), st.sampled_from([0, 0, 0, 1])
often, seldom = st.sampled_from([True] * 3 + [False]), st.sampled_from([False] * 9 + [True])


class Pool(RuleBasedStateMachine):
    """Ask, grant, die, restart, suspend, resume, quotas, reservations, device loss and clock jumps, in any order."""

    def __init__(self):
        super().__init__()
        self.folder = _folder()
        self.world = None

    def begin(self, day=None):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.world = World(self.folder, rules=RULES, saved=None if day is None else a_day(day))
        self.people, self.ledger = People(self.world), Ledger(self.world)
        self.ends = True

    def teardown(self):
        if not self.world:
            return
        try:
            if self.ends:
                self.people.serve_everybody()
            self.ledger.check_thoroughly()
        finally:
            self.world.close()

    def pick(self, which, *states):
        return self.people.pick(which, *states)

    # What people do ------------------------------------------------------------------------------------------

    @rule(user=users, wants=wants)
    def ask(self, user, wants):
        self.people.ask(user, wants)

    # Rules are drawn alike; what fills the pool is there more than once.
    ask_again = rule(user=users, wants=wants)(lambda self, user, wants: self.people.ask(user, wants))

    @rule(user=users, name=names, wants=st.lists(st.sampled_from([1, 1, 1, 2]), min_size=1, max_size=3), absent=absent)
    def ask_together(self, user, name, wants, absent):
        self.people.ask_together(user, name, wants, len(wants) + absent)

    @rule(user=users, memory=st.sampled_from([1, MEMORY // 4, MEMORY // 2, MEMORY, MEMORY + 1]))
    def ask_for_a_share(self, user, memory):
        self.people.ask_for_a_share(user, memory)

    @rule(user=users)
    def ask_for_a_dead_process(self, user):
        self.people.ask_for_a_dead_process(user)

    @rule(user=users)
    def ask_for_somebody(self, user):
        self.people.ask_for_somebody(user)

    @rule(busy=st.booleans())
    def kernels_start_and_all_idle(self, busy):
        self.people.start_kernels(busy)

    @rule(which=which, in_use=st.booleans())
    def bind(self, which, in_use):
        if lease := self.pick(which):
            self.people.bind(lease, in_use)

    @rule(which=which)
    def give_back(self, which):
        if lease := self.pick(which):
            self.people.give_back(lease)

    @rule(which=which)
    def a_kernel_ends(self, which):
        if lease := self.pick(which, "granted"):
            self.people.give_back(lease)

    @rule(which=which)
    def admin_takes(self, which):
        if lease := self.pick(which):
            self.people.admin_takes(lease)

    @rule(which=which, busy=st.booleans())
    def say_whether_busy(self, which, busy):
        if lease := self.pick(which, "granted", "suspended"):
            self.people.say(lease, busy)

    @rule(which=which, at_once=st.booleans())
    def suspend(self, which, at_once):
        if lease := self.pick(which, "granted"):
            self.people.suspend(lease)
            if at_once:
                self.people.finish_steps()

    @rule(which=which, at_once=st.booleans())
    def resume(self, which, at_once):
        if lease := self.pick(which, "suspended"):
            self.people.resume(lease)
            if at_once:
                self.people.finish_steps()

    # What befalls the machine --------------------------------------------------------------------------------

    @rule(which=which, reuse=st.booleans())
    def die(self, which, reuse):
        if lease := self.pick(which):
            self.people.die(lease, reuse)

    @rule(seconds=st.sampled_from([0.5, 0.5, 5.0, 61.0, 3600.0]), polled=often)
    def time_passes(self, seconds, polled):
        self.world.pass_time(seconds)
        if polled:
            self.people.poll()

    @rule()
    def look(self):
        self.people.look()

    @rule()
    def what_is_long_over_is_forgotten(self):
        self.ledger.check()  # what happened before is known
        self.world.pool.pruning.prune()

    @rule(hours=st.sampled_from([-48, -1, 1, 48]))
    def clock_is_set(self, hours):
        self.world.wall += timedelta(hours=hours)

    @rule(
        lost=st.sampled_from([(), (), (), (1,), (2, 3)]),
        failing=st.sampled_from([(), (), (), (0,), (1, 2)]),
        hangs=st.sampled_from([False] * 4 + [True]),
    )
    def gpus_change(self, lost, failing, hangs):
        self.people.change_gpus(lost, failing, hangs)

    @rule(which=which)
    def a_kernel_starts_a_child(self, which):
        if (lease := self.pick(which, "granted", "suspended")) and lease["in_use"]:
            self.people.start_child(lease)

    @rule(fails=st.sampled_from(["", "", "", "for now", "fatally", "silent", "silent when it is done"]))
    def steps_end(self, fails):
        self.people.finish_steps(fails)

    @rule()
    def pool_is_killed_and_started(self):
        self.world.kill_pool()
        self.world.start_pool()

    @rule(statements=st.integers(0, 25), what=st.sampled_from(["ask", "end", "resume", "look", "step"]), which=which)
    def pool_is_killed_in_the_middle(self, statements, what, which):
        lease, suspended = self.pick(which), self.pick(which, "suspended")
        actions = {
            "ask": lambda: self.people.ask("carol", [1]),
            "end": lambda: lease and self.people.give_back(lease),
            "resume": lambda: suspended and self.people.resume(suspended),
            "look": self.world.pool.watch,
            "step": self.world.finish_task,
        }
        self.world.kill_during(statements, actions[what])

    # What admins decide --------------------------------------------------------------------------------------

    @rule(
        whose=st.sampled_from(["user/alice", "user/dan", "group/class", "default"]),
        gpus=st.sampled_from([None, 0.5, 1, 2, 3]),
        hours=st.sampled_from([None, None, None, 2]),
        weight=st.sampled_from([None, 0.5, 4]),
    )
    def set_quota(self, whose, gpus, hours, weight):
        self.people.set_quota(whose, gpus, hours, weight)

    @precondition(lambda self: self.world.rows("SELECT * FROM quotas"))
    @rule()
    def remove_quotas(self):
        self.people.remove_quotas()

    @rule(whose=st.sampled_from([("user", "alice"), ("group", "class")]), devices=st.integers(1, 4))
    def reserve(self, whose, devices):
        self.people.remove_reservations()
        self.ledger.check()  # what is granted before the new one is made need not keep to it
        self.people.reserve(*whose, devices)

    @precondition(lambda self: self.world.rows("SELECT * FROM reservations"))
    @rule(whose=st.sampled_from([("user", "carol"), ("user", "bob"), ("group", "class")]), devices=st.integers(1, 3))
    def reserve_at_the_same_time(self, whose, devices):
        self.ledger.check()
        self.people.reserve(*whose, devices)

    @precondition(lambda self: self.world.rows("SELECT * FROM reservations"))
    @rule()
    def remove_reservations(self):
        self.people.remove_reservations()

    @invariant()
    def books_balance(self):
        self.ledger.check()


class ShortSequence(Pool):
    """In the middle of a day; one in some ends with everybody being served."""

    @initialize(day=st.integers(0, DAYS - 1), ends=seldom)
    def a_day_is_under_way(self, day, ends):
        self.begin(day)
        self.ends = ends


class LongSequence(Pool):
    """From nothing."""

    @initialize(asks=st.lists(st.tuples(users, wants), min_size=2, max_size=5))
    def a_day_begins(self, asks):
        self.begin()
        for user, wanted in asks:
            self.people.ask(user, wanted)
        self.people.start_kernels(busy=True)


@cache
def _folder():
    """Return a folder for this process's worlds, in memory: a killed pool's database must outlive it, no power cut."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="armillary-pool-", dir=memory if memory.is_dir() else None)) / "world"


def _drive(machine, examples, steps):
    logging.disable()
    # SQLAlchemy keeps what it made of each statement with the engine; it would be made anew for each pool.
    opening._engine = cache(opening._engine)
    checked = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    try:
        run_state_machine_as_test(machine, settings=checked)
    finally:
        shutil.rmtree(_folder().parent)


def _in_processes(machine, examples, steps):
    """Drive a machine in a process for each processor."""
    count = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(count, get_context("spawn")) as processes:
        driven = [processes.submit(_drive, machine, -(-examples // count), steps) for _ in range(count)]
    for one in driven:
        one.result()


def test_the_books_balance_after_thousands_of_short_sequences():
    _in_processes(ShortSequence, EXAMPLES, 10)


def test_the_books_balance_after_long_sequences():
    _in_processes(LongSequence, 20, 60)
