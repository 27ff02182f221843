"""Whether a pool's books balance, found out from the database alone, past all of the pool's code."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from datetime import timedelta

from armillary_hub.pool.together import PATIENCE
from armillary_kernels.processes import Process

from support.pool_people import GROUPS, MEMORY, RULES
from support.pool_world import moment

_OF_A_GPU = re.compile(r"GPU (\d+) (was lost|works again|is failing)")
_BEGINS = moment("2026-11-24T08:00")


class Books:
    """The books, read anew where they changed; the audit, to which lines are only ever added, line by line.

    Parameters
    ----------
    database
        An open database of the pool's.
    """

    def __init__(self, database):
        self._database = database
        self._seen = None
        self.audit, self.fresh = [], []
        self.told, self.since, self.ended = {}, {}, []
        self.lost = defaultdict(set)  # GPUs that went, by the lease that holds them
        self.due = set()

    def check(self):
        """Assert all that must always hold."""
        if self._read():
            self.no_device_is_given_twice_or_oversold()
            self.leases_have_what_they_asked_for()
            self.the_audit_replays_to_the_state()
            self.time_never_runs_back()

    def check_thoroughly(self):
        """Assert it once more, on everything."""
        self.check()
        assert self.audit == self._lines(0), "no line of the audit ever changes"
        assert self.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert self.rows("PRAGMA foreign_key_check") == []

    # Reading -------------------------------------------------------------------------------------------------

    def _read(self):
        """Read what changed; returns whether anything did."""
        if (version := self.rows("PRAGMA data_version")) == self._seen:
            return False
        self._seen = version
        self.leases = {row["id"]: row for row in self.rows("SELECT * FROM leases ORDER BY number")}
        self.devices = {row["uuid"]: row for row in self.rows("SELECT * FROM devices")}
        self.held = defaultdict(list)
        for row in self.rows("SELECT * FROM holdings ORDER BY position"):
            self.held[row["lease_id"]].append(row)
        self.fresh = self._lines(self.audit[-1]["number"] if self.audit else 0)
        self.audit += self.fresh
        self._forget_what_the_pool_forgot()
        for line in self.fresh:
            self._expect_the_rest_of_a_group(line)
            self._replay(line)
        assert not self.due, "of asks that belong together all are granted in one round, or none"
        return True

    def _forget_what_the_pool_forgot(self):
        """Forget leases of which nothing is left; each had ended."""
        gone = self.told.keys() - self.leases.keys()
        assert {self.told[one][0] for one in gone} <= {"released"}, "who stands is not forgotten"
        for one in gone:
            del self.told[one]
        if gone:
            self.audit = [line for line in self.audit if line["lease_id"] not in gone]

    def _lines(self, after):
        lines = self.rows(f"SELECT * FROM audit WHERE number > {after} ORDER BY number")
        return [{**line, "devices": json.loads(line["devices"]), "at": moment(line["at"])} for line in lines]

    def _expect_the_rest_of_a_group(self, line):
        """Note who is granted next when the first of a group is, whether it was complete, and that it is so."""
        is_grant = line["before"] == "queued" and line["reason"] == "granted"
        if self.due:
            assert is_grant, "nothing comes between the grants of a group"
            self.due.remove(line["lease_id"])
        elif is_grant and (name := self.leases[line["lease_id"]]["together"]):
            group = [row for row in self.leases.values() if (row["user"], row["together"]) == (line["user"], name)]
            states = {row["id"]: self.told[row["id"]][0] for row in group if row["id"] in self.told}
            if not {"granted", "suspended"} & set(states.values()):
                waiting = [row for row in group if states.get(row["id"]) == "queued"]
                newest = waiting[-1]
                is_old = line["at"] - moment(newest["asked_at"]) >= PATIENCE
                assert is_old or len(waiting) >= newest["together_size"], "who is to come yet is waited for"
                self.due = {row["id"] for row in waiting} - {line["lease_id"]}

    def _replay(self, line):
        self.told[line["lease_id"]] = (line["after"], line["devices"])
        one, change = line["lease_id"], _OF_A_GPU.match(line["reason"])
        if (line["after"] != "granted" or change) and (begun := self.since.pop(one, None)):
            self.ended.append((self.leases[one]["user"], self.used(one), begun, line["at"]))
        if line["after"] != "granted":
            self.lost.pop(one, None)
            return
        self.since.setdefault(one, line["at"])
        if change:
            uuid = f"GPU-{change[1]}"
            self.lost[one].add(uuid) if change[2] == "was lost" else self.lost[one].discard(uuid)

    def used(self, one):
        """Return how many GPUs a granted lease uses, without those that were lost."""
        lease = self.leases[one]
        return _gpus(lease) * (1 - len(self.lost.get(one, ())) / lease["wanted"])

    def rows(self, query):
        return [dict(row) for row in self._database.execute(query)]

    def no_device_is_given_twice_or_oversold(self):
        shares = defaultdict(list)
        for lease, rows in self.held.items():
            assert self.leases[lease]["state"] == "granted"
            for row in rows:
                shares[row["device"]].append(row["memory"])
        for held in shares.values():
            assert len(held) == 1 if None in held else sum(held) <= MEMORY
        for uuid, row in self.devices.items():
            assert bool(row["exclusives"] or row["shared"]) == (uuid in shares), "every device is free or held"

    def leases_have_what_they_asked_for(self):
        held = Counter({lease: len(rows) for lease, rows in self.held.items()})
        for lease in self.leases.values():
            assert held[lease["id"]] == (lease["wanted"] if lease["state"] == "granted" else 0)

    def the_audit_replays_to_the_state(self):
        devices = {one: [row["device"] for row in rows] for one, rows in self.held.items()}
        assert self.told == {one: (lease["state"], devices.get(one, [])) for one, lease in self.leases.items()}

    def time_never_runs_back(self):
        times = [line["at"] for line in self.audit[-len(self.fresh) - 1 :]]
        assert times == sorted(times)


class Ledger(Books):
    """The books of a world, which must agree with its machine, too."""

    def __init__(self, world):
        super().__init__(world.reader)
        self.world = world

    def check(self):
        """Assert all that must always hold."""
        super().check()
        self.grants_keep_to_quotas_and_reservations()
        self.devices_that_work_are_given_and_no_others()
        self.who_is_suspended_is_so_in_the_books()
        self.what_a_lease_left_behind_has_ended()

    def check_thoroughly(self):
        """Assert it once more, on everything."""
        super().check_thoroughly()
        self.use_is_what_the_audit_says()

    def uses(self):
        """Yield who had how many GPUs from when until when, as the audit tells it."""
        yield from self.ended
        now = self.world.store.clock.now()
        for one, begun in self.since.items():
            yield self.leases[one]["user"], self.used(one), begun, now

    def granted(self, *users):
        """Return the granted leases, of everybody or of some."""
        every = (lease for lease in self.leases.values() if lease["state"] == "granted")
        return [lease for lease in every if not users or lease["user"] in users]

    def devices_that_work_are_given_and_no_others(self):
        if not self.world.gpus.hangs:
            working = {row["uuid"] for row in self.devices.values() if row["state"] == "working"}
            assert working == {one.uuid for one in self.world.gpus.devices() if not one.trouble}

    def who_is_suspended_is_so_in_the_books(self):
        suspended = {(one.pid, one.start_time) for one in self.world.checkpoints.suspended}
        for lease in self.leases.values():
            holder = (lease["pid"], lease["start_time"])
            if lease["state"] in ("queued", "granted") and not lease["step"]:
                assert holder not in suspended, "whoever has GPUs runs"
            if lease["state"] == "suspended":
                assert holder in suspended, "whoever runs has GPUs"

    def what_a_lease_left_behind_has_ended(self):
        processes = self.world.processes
        for lease in self.leases.values():
            holder = Process(lease["pid"], lease["start_time"])
            if lease["state"] == "released" and not processes.is_alive(holder):
                left = processes.living_children(holder)
                assert not left, "whoever was on a GPU has gone when the next gets it"

    def use_is_what_the_audit_says(self):
        expected = defaultdict(float)
        for user, gpus, since, until in self.uses():
            expected[user] += gpus * (until - since).total_seconds()
        counted = self.world.store.gpu_seconds()
        for user in counted.keys() | expected:
            assert math.isclose(counted.get(user, 0), expected[user], abs_tol=1e-3)

    def grants_keep_to_quotas_and_reservations(self):
        granted = {line["lease_id"] for line in self.fresh if line["reason"] == "granted"}
        self.fresh = []
        leases = [lease for lease in self.granted() if lease["id"] in granted]
        if leases and (quotas := self.rows("SELECT * FROM quotas")):
            for user in {lease["user"] for lease in leases}:
                self._check_quota(user, {(row["scope"], row["name"]): row for row in quotas})
        whole = [lease for lease in leases if lease["memory"] is None]
        if whole and (reservations := self.rows("SELECT * FROM reservations ORDER BY id")):
            self._check_reservations(whole, reservations)

    def _check_quota(self, user, quotas):
        levels = [("user", user), ("group", GROUPS.get(user)), ("default", "")]
        found = [quotas[level] for level in levels if level in quotas]
        most = next((row["gpus"] for row in found if row["gpus"] is not None), math.inf)
        assert sum(self.used(lease["id"]) for lease in self.granted(user)) <= most + 1e-9
        hours = next((row["gpu_hours"] for row in found if row["gpu_hours"] is not None), math.inf)
        day_ago = self.world.store.clock.now() - timedelta(days=1)
        used = [
            gpus * (until - max(since, day_ago)).total_seconds()
            for one, gpus, since, until in self.uses()
            if one == user and until > day_ago
        ]
        assert sum(used) / 3600 < hours + 1e-9

    def _check_reservations(self, granted, reservations):
        now = self.world.wall
        begun = _BEGINS - timedelta(seconds=RULES.lead) <= now
        if not begun or not timedelta(0) <= (now - _BEGINS) % timedelta(days=7) < timedelta(hours=10):
            return
        members = [{name for name in GROUPS if one["name"] in (name, GROUPS[name])} for one in reservations]
        if all(lease["user"] in set().union(*members) for lease in granted):
            return
        left = [row for row in self.devices.values() if row["state"] == "working"]
        free, missing = [row for row in left if not row["exclusives"] and not row["shared"]], 0
        working = len(left)
        for one, names in zip(reservations, members, strict=True):
            keeps = min(one["devices"], working)  # what those before it leave
            working -= keeps
            missing += max(0, math.ceil(keeps - sum(self.used(lease["id"]) for lease in self.granted(*names)) - 1e-9))
        assert len(free) >= missing


def _gpus(lease):
    return lease["wanted"] if lease["memory"] is None else lease["memory"] / MEMORY
