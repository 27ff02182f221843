"""A machine for the pool to live on, in which everything that can happen can be made to happen: see `World`."""

from __future__ import annotations

import asyncio
import json
import pickle
import sqlite3
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from unittest import mock
from urllib.parse import urlencode

import httpx
from armillary_hub.pool.clock import BookClock
from armillary_hub.pool.devices import Device, NvmlSilentError
from armillary_hub.pool.opening import OpenDatabase
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.service import PREFIX, pool_app
from armillary_hub.pool.situation import Rules
from armillary_hub.pool.store import LeaseStore
from armillary_hub.pool.suspender import SuspensionError
from armillary_kernels.processes import Process
from sqlalchemy import event
from starlette.middleware import Middleware

from support.gpu_pool import TokenIsTheName

#: The account that everybody's processes run as.
UID = 1000


#: Moments before which a pool is killed in the middle of what it does.
_WHEN_IT_DIES = ("before_cursor_execute", "commit")


class Killed(BaseException):
    """The pool's process is killed here."""


class Processes:
    """The processes of the machine: pids are used again, as Linux does it, but never with the same start time."""

    def __init__(self):
        self.forget()

    def forget(self):
        self.running, self.children = {}, {}
        self._started = 0

    def start(self, pid=None):
        self._started += 1
        pid = 100 + self._started if pid is None else pid
        self.running[pid] = self._started
        return Process(pid, self._started)

    def is_alive(self, process):
        return self.running.get(process.pid) == process.start_time

    def owner(self, process):
        return UID if self.is_alive(process) else None

    def end(self, process):
        if self.is_alive(process):
            del self.running[process.pid]

    def start_child(self, parent):
        """Let a process start another, which outlives it."""
        child = self.start()
        self.children.setdefault(parent, []).append(child)
        return child

    def end_family(self, family):
        self.end(family.holder)
        self.kill_left_behind(family)

    def kill_left_behind(self, family):
        """They end at once; one that does not is looked for the next time."""
        left = [] if self.is_alive(family.holder) else self.living_children(family.holder)
        for child in set(left) - family.apart:
            self.end(child)
        return bool(set(left) - family.apart)

    def living_children(self, parent):
        return [child for child in self.children.get(parent, ()) if self.is_alive(child)]


class Gpus:
    """The machine's GPUs, which may fail, fall off the bus, or hang with the driver."""

    def __init__(self, count, memory=16 * 2**30):
        self.all = tuple(Device(f"GPU-{index}", index, "H100", memory) for index in range(count))
        self.lost, self.failing, self.hangs, self.driver = set(), set(), False, ""

    def devices(self):
        if self.hangs:
            raise NvmlSilentError("NVML has not answered for 3 s")
        there = (replace(one, driver=self.driver) for one in self.all if one.uuid not in self.lost)
        return tuple(replace(one, trouble="ERR!") if one.uuid in self.failing else one for one in there)

    def readings(self):
        """Return nothing: the books tell what they do, as of pretend GPUs."""


class Checkpoints:
    """Suspends processes as CUDA does: the state lives in the process, so it outlives the pool and dies with it."""

    moves, problem = True, None

    def __init__(self, processes):
        self._processes = processes
        self.suspended, self.unable, self.fails = set(), set(), ""

    def refusal(self, process):
        return "it uses managed memory" if process in self.unable else None

    def suspend(self, family, devices, *, again=False):
        self._may_fail(family.holder, family.holder not in self.suspended, again)
        self.suspended.add(family.holder)
        self._may_be_silent()
        return dict.fromkeys(devices, 1024)

    def restore(self, family, devices, saved, *, again=False):
        self._may_fail(family.holder, family.holder in self.suspended, again)
        assert len(set(devices.values())) == len(devices)
        assert not saved or saved.keys() == devices.keys()
        self.suspended.discard(family.holder)
        self._may_be_silent()

    def _may_fail(self, process, is_as_before, again):
        if not self._processes.is_alive(process):
            raise SuspensionError("The process has ended.", "lost")
        assert is_as_before or again, "only a step that was begun before may have been taken already"
        outcome = {"for now": "unchanged" if is_as_before else "unknown", "fatally": "lost", "silent": "unknown"}
        if self.fails in outcome:
            raise SuspensionError("There is not enough memory.", outcome[self.fails])

    def _may_be_silent(self):
        if self.fails == "silent when it is done":
            raise SuspensionError("The CUDA driver has not answered for 15 s.", "unknown")


@dataclass(frozen=True)
class Saved:
    """A world at one moment, its pool killed."""

    database: bytes
    machine: bytes
    wall: datetime
    ticks: float


class World:
    """The real service on a real database file, and a machine around it whose clock, processes and GPUs obey.

    The pool's long tasks wait in ``tasks`` until `finish_task`; a kill of the pool ends them.

    Parameters
    ----------
    folder
        For the database.
    gpus
        How many.
    rules
        The scheduler's.
    saved
        What `saved` returned: the pool is started on what was there then.
    """

    def __init__(self, folder: Path, gpus=4, rules=None, saved=None):
        self.database = folder / "gpu-pool.sqlite"
        self.rules, self.boot = rules or Rules(), "a boot"
        if saved:
            self.wall, self.ticks = saved.wall, saved.ticks
            self.processes, self.gpus, self.checkpoints = pickle.loads(saved.machine)
        else:
            self.wall, self.ticks = datetime(2026, 11, 24, 9, tzinfo=UTC), 0.0
            self.processes, self.gpus = Processes(), Gpus(gpus)
            self.checkpoints = Checkpoints(self.processes)
        self._loop = asyncio.new_event_loop()
        self._statements = None
        self.database.write_bytes(saved.database if saved else _empty_database())
        self.start_pool()
        self.reader = sqlite3.connect(self.database, isolation_level=None)
        self.reader.row_factory = sqlite3.Row

    def close(self):
        self.reader.close()
        self.kill_pool()
        self._loop.close()

    def saved(self):
        machine = pickle.dumps((self.processes, self.gpus, self.checkpoints))
        return Saved(self.reader.serialize(), machine, self.wall, self.ticks)

    # The pool ------------------------------------------------------------------------------------------------

    def start_pool(self):
        self.tasks = []
        clock = BookClock(lambda: self.wall, lambda: self.ticks, lambda: self.ticks, self.boot)
        self.store = LeaseStore(f"sqlite:///{self.database}", clock, self.rules)
        self.pool = GpuPool(
            self.store,
            self.gpus,
            lambda user: UID,
            machine=self.processes,
            suspender=self.checkpoints,
            start=self.tasks.append,
        )
        for when in _WHEN_IT_DIES:
            event.listen(self.store.database.engine, when, self._count_statement)
        self._app = pool_app(self.pool, [Middleware(TokenIsTheName)])
        self.pool.recover()

    def kill_pool(self):
        """End it as kill -9 does: what is not committed is gone, and so are its threads."""
        self._statements = None
        self.tasks = []
        for when in _WHEN_IT_DIES:
            event.remove(self.store.database.engine, when, self._count_statement)
        self.store.close()

    def kill_during(self, statements, action):
        """Kill the pool before a statement or commit of what it is about to do, then start it again."""
        self._statements = statements
        try:
            return action()
        except Killed:
            return None
        finally:
            self.kill_pool()
            self.start_pool()

    def restart_machine(self, off=60.0):
        """Switch it off and on: nothing runs any more, and pids and start times begin anew."""
        self.kill_pool()
        self.processes.forget()
        self.checkpoints.suspended.clear()
        self.wall += timedelta(seconds=off)
        self.boot, self.ticks = f"after {self.boot}", 5.0
        self.start_pool()

    def _count_statement(self, *_):
        if self._statements is not None:
            self._statements -= 1
            if self._statements < 0:
                raise Killed

    def finish_task(self):
        if self.tasks:
            self.tasks.pop(0)()

    def request(self, method, path, user, body=None, headers=None):
        """Send a request as the server would, past the network."""
        path, _, query = f"{PREFIX}/{path}".partition("?")
        said = {"host": "pool", "authorization": f"Bearer {user}", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in said.items()],
        }
        content, sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode(), []

        async def receive():
            return {"type": "http.request", "body": content}

        async def send(message):
            sent.append(message)

        with mock.patch("anyio.to_thread.run_sync", _at_once):
            self._loop.run_until_complete(self._app(scope, receive, send))
        answered = b"".join(message["body"] for message in sent[1:])
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=answered)

    def page(self, path, user, language="en"):
        """Open a page as a person's browser does."""
        return self.request("GET", path, user, headers={"accept": "text/html", "accept-language": language})

    def send_form(self, user, values, language="en"):
        """Send a form of the page as a person's browser does."""
        headers = {"accept": "text/html", "accept-language": language}
        headers["content-type"] = "application/x-www-form-urlencoded"
        return self.request("POST", "", user, urlencode(values).encode(), headers)

    def pass_time(self, seconds):
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds

    # What people do ------------------------------------------------------------------------------------------

    def ask(self, user, holder, **what):
        body = {"purpose": "kernel", "holder": _named(holder), **what}
        return self.request("POST", "leases", user, body)

    def bind(self, user, lease, holder, in_use=True):
        return self.request("PATCH", f"leases/{lease}", user, {"holder": _named(holder), "in_use": in_use})

    def suspend(self, user, lease):
        """Suspend a lease whose kernel says that it does nothing."""
        self.request("PUT", f"leases/{lease}/activity", user, {"busy": False})
        return self.request("POST", f"leases/{lease}/suspend", user)

    # What the database says, read past all of the pool's code ------------------------------------------------

    def rows(self, query):
        return [dict(row) for row in self.reader.execute(query)]

    def audit(self):
        lines = self.rows("SELECT * FROM audit ORDER BY number")
        return [{**line, "devices": json.loads(line["devices"]), "at": moment(line["at"])} for line in lines]


async def _at_once(function, *arguments, **_options):
    """Call what would be called in a thread: one thing happens at a time here, and threads would take most of it."""
    return function(*arguments)


@cache
def _empty_database():
    """Return a database as the revisions make it: to make each anew would be most of a test's time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite"
        OpenDatabase(f"sqlite:///{path}").close()
        return path.read_bytes()


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _named(process):
    return {"pid": process.pid, "start_time": process.start_time}
