"""What people, admins and the machine do to a pool, each act with what the service must answer to it."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

from armillary_hub.pool.situation import Rules
from armillary_hub.pool.suspension import LONGEST_RETRY
from armillary_kernels.processes import Process

from support.pool_world import World

GROUPS = {"alice": "class", "bob": "class", "carol": "", "dan": ""}
ADMIN = "admin:root"

#: MiB of each GPU.
MEMORY = 16 * 1024

#: What ended is forgotten after days, of which a clock that is set may be several.
RULES = Rules(idle_after=60.0, head_start=30.0, keep=3 * 86400.0)

#: More leases than this say nothing new, and take long.
CROWD = 10

#: Seconds of a round in which one lease ends. Those who wait are heard of at its end.
ROUND = 1800.0

#: Days of which each is begun in its own way.
DAYS = 24


class People:
    """Everybody in a world."""

    def __init__(self, world):
        self.world = world

    # Looking -------------------------------------------------------------------------------------------------

    def standing(self, *states):
        chosen = "'" + "','".join(states or ("queued", "granted", "suspended")) + "'"
        return self.world.rows(f"SELECT * FROM leases WHERE state IN ({chosen}) ORDER BY number")

    def pick(self, which, *states):
        found = self.standing(*states)
        return found[which % len(found)] if found else None

    # Asking --------------------------------------------------------------------------------------------------

    def send(self, method, path, user, body=None):
        answer = self.world.request(method, path, user, body)
        assert answer.status_code < 500, answer.text
        return answer

    def do(self, lease, method, path, body=None):
        return self.send(method, f"leases/{lease['id']}{path}", _as_user(lease["user"]), body)

    def ask(self, user, wants):
        for wanted in wants if len(self.standing()) < CROWD else ():
            answer = self.world.ask(_as_user(user), self.world.processes.start(), devices=wanted)
            assert answer.status_code in (201, 202, 422), answer.text
            assert wanted <= len(self.world.gpus.all) or answer.status_code == 422

    def ask_together(self, user, name, wants, size):
        group = {"id": name, "size": size}
        for wanted in wants if len(self.standing()) < CROWD else ():
            answer = self.world.ask(_as_user(user), self.world.processes.start(), devices=wanted, together=group)
            assert answer.status_code in (201, 202, 422), answer.text
            assert wanted * size <= len(self.world.gpus.all) or answer.status_code == 422

    def ask_for_a_share(self, user, memory):
        if len(self.standing()) >= CROWD:
            return
        answer = self.world.ask(_as_user(user), self.world.processes.start(), memory=memory)
        assert answer.status_code in (201, 202, 422), answer.text
        assert memory <= MEMORY or answer.status_code == 422

    def ask_for_a_dead_process(self, user):
        process = self.world.processes.start()
        self.world.processes.end(process)
        self.world.processes.start(process.pid)  # another one has its pid now
        assert self.world.ask(_as_user(user), process, devices=1).status_code == 422

    def ask_for_somebody(self, user):
        if len(self.standing()) >= CROWD:
            return
        worker = self.world.processes.start()
        holder = {"pid": worker.pid, "start_time": worker.start_time}
        body = {"purpose": "worker", "user": user, "groups": [GROUPS[user]] if GROUPS[user] else [], "holder": holder}
        answer = self.send("POST", "leases", "asking:dask-gateway", body)
        assert answer.status_code in (201, 202, 422), answer.text

    # Using and ending ----------------------------------------------------------------------------------------

    def start_kernels(self, busy):
        for lease in self.standing("granted"):
            if not lease["in_use"]:
                self.world.bind(_as_user(lease["user"]), lease["id"], self.world.processes.start())
            self.say(lease, busy)

    def bind(self, lease, in_use):
        lost = self.world.rows(
            "SELECT device FROM holdings JOIN devices ON uuid = device "
            f"WHERE state = 'lost' AND lease_id = '{lease['id']}'"
        )
        kernel = self.world.processes.start()
        answer = self.world.bind(_as_user(lease["user"]), lease["id"], kernel, in_use)
        assert answer.status_code == (410 if lost or lease["state"] == "suspended" else 200)

    def say(self, lease, busy):
        self.do(lease, "PUT", "/activity", {"busy": busy})

    def poll(self):
        """Let everybody whose lease would else be ended for silence look at it."""
        for lease in self.standing("queued", "granted"):
            if not lease["in_use"]:
                self.world.pool.look(lease["user"], lease["id"])

    def give_back(self, lease):
        assert self.do(lease, "DELETE", "").json()["state"] == "released"

    def admin_takes(self, lease):
        assert self.send("DELETE", f"leases/{lease['id']}", ADMIN).json()["state"] == "released"

    def suspend(self, lease):
        self.say(lease, busy=False)
        assert self.do(lease, "POST", "/suspend").status_code in (200, 409)

    def resume(self, lease):
        assert self.do(lease, "POST", "/resume").status_code in (200, 202)

    def start_child(self, lease):
        self.world.processes.start_child(Process(lease["pid"], lease["start_time"]))

    def die(self, lease, reuse):
        self.world.processes.running.pop(lease["pid"], None)
        if reuse:
            self.world.processes.start(lease["pid"])

    # The machine ---------------------------------------------------------------------------------------------

    def look(self):
        for _ in range(3):
            self.world.pool.watch()
        alive = self.world.processes.is_alive
        found = "the dead are found in two looks, and what they left behind has gone by the third"
        assert all(alive(lease.holder) for lease in self.world.store.active()), found

    def change_gpus(self, lost=(), failing=(), hangs=False):
        gpus = self.world.gpus
        gpus.lost, gpus.failing, gpus.hangs = {f"GPU-{n}" for n in lost}, {f"GPU-{n}" for n in failing}, hangs
        self.world.pool.look_at_devices()

    def finish_steps(self, fails=""):
        self.world.checkpoints.fails = fails
        for _ in range(len(self.world.tasks)):
            self.world.finish_task()
        self.world.checkpoints.fails = ""

    # Admins --------------------------------------------------------------------------------------------------

    def set_quota(self, whose, gpus, hours, weight):
        body = {"gpus": gpus, "gpu_hours": hours, "weight": weight}
        assert self.send("PUT", f"quotas/{whose}", ADMIN, body).status_code == 200

    def remove_quotas(self):
        for quota in self.world.rows("SELECT * FROM quotas"):
            path = "quotas/default" if quota["scope"] == "default" else f"quotas/{quota['scope']}/{quota['name']}"
            assert self.send("DELETE", path, ADMIN).status_code == 204

    def reserve(self, scope, name, devices):
        times = {"starts": "2026-11-24T08:00", "ends": "2026-11-24T18:00", "weekly": True}
        body = {"scope": scope, "name": name, "devices": devices, **times}
        known = len(self.world.rows("SELECT * FROM devices"))
        reserved = sum(row["devices"] for row in self.world.rows("SELECT * FROM reservations"))  # all at the same time
        expected = 201 if reserved + devices <= known else 422
        assert self.send("POST", "reservations", ADMIN, body).status_code == expected

    def remove_reservations(self):
        for reservation in self.world.rows("SELECT * FROM reservations"):
            assert self.send("DELETE", f"reservations/{reservation['id']}", ADMIN).status_code == 204

    # A whole day ---------------------------------------------------------------------------------------------

    def begin_a_day(self, day):
        """Fill the pool in one of `DAYS` ways: people wait, use, share, do nothing, are suspended and come back."""
        chance = random.Random(day)
        for _ in range(chance.randint(2, 6)):
            user, wanted = chance.choice(sorted(GROUPS)), chance.choice((1, 1, 1, 2, 2, 3, 4))
            self.ask_for_a_share(user, MEMORY // wanted) if chance.random() < 0.3 else self.ask(user, [wanted])
        self.start_kernels(busy=chance.random() < 0.5)
        for lease in self.standing("granted"):
            if chance.random() < 0.4:
                self.suspend(lease)
        if chance.random() < 0.6:
            self.finish_steps()
            for lease in self.standing("suspended"):
                if chance.random() < 0.5:
                    self.resume(lease)
        self.world.pass_time(chance.choice((1.0, 5.0, 61.0)))

    def serve_everybody(self):
        """Let all work again: then everybody who waits gets a turn, however many newcomers ask meanwhile."""
        self.change_gpus()
        self.remove_quotas()
        self.remove_reservations()
        for _ in range(2):
            # What is not known is found out when the step is taken again, and what could not be restored asks again.
            self.world.pass_time(LONGEST_RETRY)
            self.poll()
            self.look()
            while self.world.tasks:
                self.world.finish_task()
        assert not any(lease["step"] for lease in self.standing()), "what was begun has an end"
        for lease in self.standing("suspended"):
            self.resume(lease)
        waiting = {lease["id"] for lease in self.standing() if lease["waiting_since"]}
        for _ in range(self._bound()):
            if not waiting:
                break
            self._go_round()
            waiting -= {lease["id"] for lease in self.standing("granted")}
        assert not waiting
        for lease in self.standing():
            self.give_back(lease)
        assert {row["exclusives"] + row["shared"] for row in self.world.rows("SELECT * FROM devices")} == {0}

    def _bound(self):
        """Rounds within which everybody must be served: each ask in its turn, once a wait has made up for all use."""
        behind = max(self.world.store.situation().recent.values(), default=0.0) + RULES.charge * 4
        rounds_of_a_turn = 2 + behind / (RULES.ageing - 4) / ROUND  # four GPUs may be held meanwhile
        asks = Counter(lease["user"] for lease in self.standing())
        return 10 + round(2 * (len(self.standing()) + max(asks.values(), default=0) * rounds_of_a_turn))

    def _go_round(self):
        """The lease that has stood longest ends, a newcomer asks, some seconds pass."""
        if held := self.standing("granted"):
            self.give_back(min(held, key=lambda lease: lease["granted_at"]))
        self.world.ask(f"new{self.world.ticks:.0f}", self.world.processes.start(), devices=1)
        self.world.pass_time(ROUND)
        self.poll()
        self.world.pool.watch()
        while self.world.tasks:
            self.world.finish_task()


@cache
def a_day(day):
    """Return a world in which one of `DAYS` was begun."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), rules=RULES)
        People(world).begin_a_day(day)
        saved = world.saved()
        world.close()
    return saved


def _as_user(name):
    return f"{name}@{GROUPS[name]}" if GROUPS.get(name) else name
