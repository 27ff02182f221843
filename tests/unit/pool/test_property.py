"""Whatever happens in whatever order, the pool's books balance: the real service on a real database, driven at random.

``ARMILLARY_POOL_EXAMPLES`` and ``ARMILLARY_POOL_STEPS`` ask for more sequences, or longer ones.
"""

import math
import os
import tempfile
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

from armillary_hub.pool.pool import QUEUE_SILENCE
from armillary_hub.pool.scheduling import Rules
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.pool_world import World, moment

EXAMPLES = int(os.environ.get("ARMILLARY_POOL_EXAMPLES", "30"))
STEPS = int(os.environ.get("ARMILLARY_POOL_STEPS", "50"))

GROUPS = {"alice": "class", "bob": "class", "carol": "", "dan": ""}
MEMORY = 16 * 1024

#: A second of waiting makes up for hours of use, so that turns come within some rounds of pretended time.
RULES = Rules(ageing=10000.0, idle_after=60.0, head_start=30.0)

#: Seconds of a round: less than the pool lets pass without a word.
ROUND = 0.8 * QUEUE_SILENCE

#: More leases than this say nothing new, and take long.
CROWD = 10

users = st.sampled_from(sorted(GROUPS))
which = st.integers(0, 1000)
wants = st.lists(st.sampled_from([1, 1, 1, 1, 1, 2, 2, 3, 4, 5]), min_size=1, max_size=3)


class Pool(RuleBasedStateMachine):
    """Ask, grant, die, restart, suspend, resume, quotas, reservations, device loss and clock jumps, in any order."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name), rules=RULES)
        self.lines = 0
        self.found_dead = {}

    def teardown(self):
        self.everybody_is_served_in_the_end()
        self.books_balance()
        self.the_database_is_sound()
        self.world.close()
        self.folder.cleanup()

    # What there is -------------------------------------------------------------------------------------------

    def standing(self, *states):
        chosen = "'" + "','".join(states or ("queued", "granted", "suspended")) + "'"
        return self.world.rows(f"SELECT * FROM leases WHERE state IN ({chosen}) ORDER BY number")

    def pick(self, which, *states):
        found = self.standing(*states)
        return found[which % len(found)] if found else None

    def send(self, method, path, user, body=None):
        answer = self.world.request(method, path, user, body)
        assert answer.status_code < 500, answer.text
        return answer

    def as_user(self, name):
        return f"{name}@{GROUPS[name]}" if GROUPS.get(name) else name

    def do(self, lease, method, path, body=None):
        return self.send(method, f"leases/{lease['id']}{path}", self.as_user(lease["user"]), body)

    def poll(self):
        for lease in self.standing("queued", "granted"):
            if not lease["in_use"]:
                self.do(lease, "GET", "")

    # What people do ------------------------------------------------------------------------------------------

    @initialize(asks=st.lists(st.tuples(users, wants), min_size=2, max_size=5))
    def a_day_begins(self, asks):
        for user, wanted in asks:
            self.ask(user, wanted)
        self.kernels_start_and_all_idle(busy=True)

    @rule(user=users, wants=wants)
    def ask(self, user, wants):
        for wanted in wants if len(self.standing()) < CROWD else ():
            answer = self.world.ask(self.as_user(user), self.world.processes.start(), devices=wanted)
            assert answer.status_code in (201, 202, 422), answer.text
            assert wanted <= len(self.world.gpus.all) or answer.status_code == 422

    # Rules are drawn alike; what fills the pool is there more than once.
    ask_again = rule(user=users, wants=wants)(lambda self, user, wants: self.ask(user, wants))
    ask_once_more = rule(user=users, wants=wants)(lambda self, user, wants: self.ask(user, wants))

    @rule(user=users, memory=st.sampled_from([1, MEMORY // 4, MEMORY // 2, MEMORY, MEMORY + 1]))
    def ask_for_a_share(self, user, memory):
        answer = self.world.ask(self.as_user(user), self.world.processes.start(), memory=memory)
        assert answer.status_code in (201, 202, 422), answer.text
        assert memory <= MEMORY or answer.status_code == 422

    @rule(user=users)
    def ask_for_a_dead_process(self, user):
        process = self.world.processes.start()
        self.world.processes.end(process)
        self.world.processes.start(process.pid)  # another one has its pid now
        assert self.world.ask(self.as_user(user), process, devices=1).status_code == 422

    @rule(busy=st.booleans())
    def kernels_start_and_all_idle(self, busy):
        for lease in self.standing("granted"):
            if not lease["in_use"]:
                self.world.bind(self.as_user(lease["user"]), lease["id"], self.world.processes.start())
            self.do(lease, "PUT", "/activity", {"busy": busy})

    @rule(which=which, in_use=st.booleans())
    def bind(self, which, in_use):
        if lease := self.pick(which, "queued", "granted", "suspended"):
            kernel = self.world.processes.start()
            answer = self.world.bind(self.as_user(lease["user"]), lease["id"], kernel, in_use)
            assert answer.status_code == (410 if lease["state"] == "suspended" else 200)

    @rule(which=which)
    def give_back(self, which):
        if lease := self.pick(which):
            assert self.do(lease, "DELETE", "").json()["state"] == "released"

    @rule(which=which)
    def a_kernel_ends(self, which):
        if lease := self.pick(which, "granted"):
            self.do(lease, "DELETE", "")

    @rule(which=which)
    def admin_takes(self, which):
        if lease := self.pick(which):
            assert self.send("DELETE", f"leases/{lease['id']}", "admin:root").json()["state"] == "released"

    @rule(which=which, busy=st.booleans())
    def say_whether_busy(self, which, busy):
        if lease := self.pick(which, "granted", "suspended"):
            self.do(lease, "PUT", "/activity", {"busy": busy})

    @rule(which=which, at_once=st.booleans())
    def suspend(self, which, at_once):
        if lease := self.pick(which, "granted"):
            assert self.do(lease, "POST", "/suspend").status_code in (200, 409)
            if at_once:
                self.steps_end("")

    @rule(which=which, at_once=st.booleans())
    def resume(self, which, at_once):
        if lease := self.pick(which, "suspended"):
            assert self.do(lease, "POST", "/resume").status_code in (200, 202)
            if at_once:
                self.steps_end("")

    # What befalls the machine --------------------------------------------------------------------------------

    @rule(which=which, reuse=st.booleans())
    def die(self, which, reuse):
        if lease := self.pick(which):
            self.world.processes.running.pop(lease["pid"], None)
            if reuse:
                self.world.processes.start(lease["pid"])

    @rule(seconds=st.sampled_from([0.5, 0.5, 5.0, 61.0, 3600.0]), polled=st.sampled_from([True, True, True, False]))
    def time_passes(self, seconds, polled):
        self.world.pass_time(seconds)
        if polled:
            self.poll()

    @rule()
    def look(self):
        self.world.pool.watch()
        self.world.pool.watch()
        alive = self.world.processes.is_alive
        assert all(alive(lease.holder) for lease in self.world.store.active()), "the dead are found in two looks"

    @rule(hours=st.sampled_from([-48, -1, 1, 48]))
    def clock_is_set(self, hours):
        self.world.wall += timedelta(hours=hours)

    @rule(
        lost=st.sampled_from([(), (), (), (1,), (2, 3)]),
        failing=st.sampled_from([(), (), (), (0,), (1, 2)]),
        hangs=st.sampled_from([False, False, False, False, True]),
    )
    def gpus_change(self, lost, failing, hangs):
        gpus = self.world.gpus
        gpus.lost, gpus.failing, gpus.hangs = {f"GPU-{n}" for n in lost}, {f"GPU-{n}" for n in failing}, hangs
        self.world.pool.look_at_devices()

    @rule(fails=st.sampled_from(["", "", "", "for now", "fatally"]))
    def steps_end(self, fails):
        self.world.checkpoints.fails = fails
        for _ in range(len(self.world.tasks)):
            self.world.finish_task()
        self.world.checkpoints.fails = ""

    @rule()
    def pool_is_killed_and_started(self):
        self.world.kill_pool()
        self.world.start_pool()

    @rule(statements=st.integers(0, 25), what=st.sampled_from(["ask", "end", "resume", "look", "step"]), which=which)
    def pool_is_killed_in_the_middle(self, statements, what, which):
        lease = self.pick(which)
        actions = {
            "ask": lambda: self.ask("carol", [1]),
            "end": lambda: lease and self.give_back(which),
            "resume": lambda: self.resume(which, False),
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
        body = {"gpus": gpus, "gpu_hours": hours, "weight": weight}
        assert self.send("PUT", f"quotas/{whose}", "admin:root", body).status_code == 200

    @precondition(lambda self: self.world.rows("SELECT * FROM quotas"))
    @rule()
    def remove_quotas(self):
        for quota in self.world.rows("SELECT * FROM quotas"):
            path = "quotas/default" if quota["scope"] == "default" else f"quotas/{quota['scope']}/{quota['name']}"
            assert self.send("DELETE", path, "admin:root").status_code == 204

    @rule(whose=st.sampled_from([("user", "alice"), ("group", "class")]), devices=st.integers(1, 4))
    def reserve(self, whose, devices):
        self.remove_reservations()
        self.books_balance()  # what is granted before the new one is made need not keep to it
        times = {"starts": "2026-11-24T08:00", "ends": "2026-11-24T18:00", "weekly": True}
        body = {"scope": whose[0], "name": whose[1], "devices": devices, **times}
        known = len(self.world.rows("SELECT * FROM devices"))
        assert self.send("POST", "reservations", "admin:root", body).status_code == (201 if devices <= known else 422)

    @rule()
    def remove_reservations(self):
        for reservation in self.world.rows("SELECT * FROM reservations"):
            self.send("DELETE", f"reservations/{reservation['id']}", "admin:root")

    # What must always hold -----------------------------------------------------------------------------------

    @invariant()
    def books_balance(self):
        self.no_device_is_given_twice_or_oversold()
        self.every_device_is_free_held_or_out_of_order()
        self.leases_have_what_they_asked_for()
        self.the_audit_replays_to_the_state()
        self.time_never_runs_back()
        self.use_is_what_the_audit_says()
        self.grants_keep_to_quotas_and_reservations()

    def the_database_is_sound(self):
        assert self.world.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert self.world.rows("PRAGMA foreign_key_check") == []

    def no_device_is_given_twice_or_oversold(self):
        held = defaultdict(list)
        for row in self.world.rows("SELECT holdings.*, leases.state FROM holdings JOIN leases ON id = lease_id"):
            assert row["state"] == "granted"
            held[row["device"]].append(row["memory"])
        for shares in held.values():
            assert len(shares) == 1 if None in shares else sum(shares) <= MEMORY

    def every_device_is_free_held_or_out_of_order(self):
        gpus = self.world.gpus
        held = {row["device"] for row in self.world.rows("SELECT device FROM holdings")}
        devices = {row["uuid"]: row for row in self.world.rows("SELECT * FROM devices")}
        for uuid, row in devices.items():
            assert bool(row["exclusives"] or row["shared"]) == (uuid in held)
        if not gpus.hangs:
            working = {row["uuid"] for row in devices.values() if row["state"] == "working"}
            assert working == {one.uuid for one in gpus.devices() if not one.trouble}

    def leases_have_what_they_asked_for(self):
        held = Counter(row["lease_id"] for row in self.world.rows("SELECT lease_id FROM holdings"))
        for lease in self.world.rows("SELECT * FROM leases"):
            assert held[lease["id"]] == (lease["wanted"] if lease["state"] == "granted" else 0)

    def the_audit_replays_to_the_state(self):
        told = {line["lease_id"]: (line["after"], line["devices"]) for line in self.world.audit()}
        held = defaultdict(list)
        for row in self.world.rows("SELECT * FROM holdings ORDER BY position"):
            held[row["lease_id"]].append(row["device"])
        leases = self.world.rows("SELECT * FROM leases")
        assert told == {lease["id"]: (lease["state"], held[lease["id"]]) for lease in leases}

    def time_never_runs_back(self):
        times = [line["at"] for line in self.world.audit()]
        assert times == sorted(times)

    def use_is_what_the_audit_says(self):
        expected = defaultdict(float)
        for user, gpus, since, until in self.uses():
            expected[user] += gpus * (until - since).total_seconds()
        counted = self.world.store.gpu_seconds()
        assert all(
            math.isclose(counted.get(user, 0), expected[user], abs_tol=1e-3) for user in counted.keys() | expected
        )

    def grants_keep_to_quotas_and_reservations(self):
        audit = self.world.audit()
        fresh, self.lines = audit[self.lines :], len(audit)
        granted = {line["lease_id"] for line in fresh if line["reason"] == "granted"}
        leases = [lease for lease in self.standing("granted") if lease["id"] in granted]
        for lease in leases:
            self.check_quota(lease["user"])
        self.check_reservation([lease for lease in leases if lease["memory"] is None])

    def uses(self):
        """Yield who had how many GPUs from when until when, as the audit tells it."""
        leases = {lease["id"]: lease for lease in self.world.rows("SELECT * FROM leases")}
        since = {}
        for line in self.world.audit():
            lease = leases[line["lease_id"]]
            if line["after"] == "granted":
                since.setdefault(lease["id"], line["at"])
            elif begun := since.pop(lease["id"], None):
                yield lease["user"], _gpus(lease), begun, line["at"]
        now = self.world.store.clock.now()
        yield from ((leases[one]["user"], _gpus(leases[one]), begun, now) for one, begun in since.items())

    def check_quota(self, user):
        quotas = {(row["scope"], row["name"]): row for row in self.world.rows("SELECT * FROM quotas")}
        levels = [("user", user), ("group", GROUPS.get(user)), ("default", "")]
        found = [quotas[level] for level in levels if level in quotas]
        most = next((row["gpus"] for row in found if row["gpus"] is not None), math.inf)
        assert sum(_gpus(lease) for lease in self.standing("granted") if lease["user"] == user) <= most + 1e-9
        hours = next((row["gpu_hours"] for row in found if row["gpu_hours"] is not None), math.inf)
        day_ago = self.world.store.clock.now() - timedelta(days=1)
        used = [
            gpus * (until - max(since, day_ago)).total_seconds()
            for one, gpus, since, until in self.uses()
            if one == user and until > day_ago
        ]
        assert sum(used) / 3600 < hours + 1e-9

    def check_reservation(self, granted):
        now = self.world.wall
        found = self.world.rows("SELECT * FROM reservations")
        begun = moment("2026-11-24T08:00") - timedelta(seconds=RULES.lead) <= now
        if (
            not found
            or not begun
            or not timedelta(0) <= (now - moment("2026-11-24T08:00")) % timedelta(days=7) < timedelta(hours=10)
        ):
            return
        members = {name for name in GROUPS if found[0]["name"] in (name, GROUPS[name])}
        if all(lease["user"] in members for lease in granted):
            return
        held = sum(_gpus(lease) for lease in self.standing("granted") if lease["user"] in members)
        free = self.world.rows("SELECT * FROM devices WHERE state = 'working' AND exclusives = 0 AND shared = 0")
        assert len(free) >= math.ceil(found[0]["devices"] - held - 1e-9)

    # Nobody starves ------------------------------------------------------------------------------------------

    def everybody_is_served_in_the_end(self):
        """Let everything work again: then everybody who waits gets a turn, however many newcomers ask meanwhile."""
        self.gpus_change((), (), False)
        self.remove_quotas()
        self.remove_reservations()
        self.poll()
        self.look()
        while self.world.tasks:
            self.world.finish_task()
        assert not any(lease["step"] for lease in self.standing()), "what was begun has an end"
        for lease in self.standing("suspended"):
            self.do(lease, "POST", "/resume")
        waiting = {lease["id"] for lease in self.standing() if lease["waiting_since"]}
        behind = max(self.world.store.situation().recent.values(), default=0.0) + RULES.charge * 4
        bound = 2 * (len(self.standing()) + math.ceil(behind / (RULES.ageing * ROUND))) + 10
        note(f"{len(waiting)} wait; they must be served within {bound} rounds")
        for _ in range(bound):
            if not waiting:
                break
            self.a_round()
            waiting -= {lease["id"] for lease in self.standing("granted")}
        assert not waiting
        for lease in self.standing():
            self.do(lease, "DELETE", "")
        assert {row["exclusives"] + row["shared"] for row in self.world.rows("SELECT * FROM devices")} == {0}

    def a_round(self):
        """The lease that has stood longest ends, a newcomer asks, a minute passes."""
        held = self.standing("granted")
        if held:
            self.do(min(held, key=lambda lease: lease["granted_at"]), "DELETE", "")
        self.world.ask(f"new{self.world.ticks:.0f}", self.world.processes.start(), devices=1)
        self.world.pass_time(ROUND)
        self.poll()
        self.world.pool.watch()
        while self.world.tasks:
            self.world.finish_task()


def _gpus(lease):
    return lease["wanted"] if lease["memory"] is None else lease["memory"] / MEMORY


Pool.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
)
test_the_books_balance = Pool.TestCase
