"""The pool's REST API and watcher: a real server and real processes, with a stand-in for the hub's sign-in."""

import os
import signal
import subprocess
import sys

import httpx
import pytest
from armillary_hub.pool.clock import BookClock
from armillary_hub.pool.devices import SimulatedInventory
from armillary_hub.pool.hearing import SILENCE
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.store import LeaseStore
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.leases import Lease, LeaseRefusedError, QueuePlace
from armillary_kernels.processes import Process
from support.gpu_pool import PoolProcess, eventually


@pytest.fixture(scope="module")
def running_pool(tmp_path_factory):
    pool = PoolProcess(tmp_path_factory.mktemp("pool"))
    pool.start()
    yield pool
    pool.kill()


@pytest.fixture
def pool(running_pool):
    yield running_pool
    running_pool.clear()


@pytest.fixture
def sleeper():
    """Start processes that live until they are ended."""
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]))
        return Process.of(started[-1].pid)

    yield start
    for process in started:
        process.kill()
        process.wait()


def ask(pool, user, holder=None, devices=1, in_use=True, label="digits.ipynb"):
    """Ask as a kernel's provisioner does: for oneself, then tie the lease to the kernel."""
    with LeaseClient(pool.connection(user)) as client:
        answer = client.ask("kernel", devices, label, Process.own())
        if holder and isinstance(answer, Lease):
            client.bind(answer.id, holder, in_use)
        return answer


def request(pool, method, path, user="alice", **options):
    return httpx.request(
        method, f"{pool.url}/{path}", headers={"Authorization": f"Bearer {user}"}, trust_env=False, **options
    )


def test_grant_queue_and_next_in_line(pool, sleeper):
    first, second = ask(pool, "alice", sleeper()), ask(pool, "bob", sleeper())
    assert (first.devices, second.devices) == ((0,), (1,))
    assert first.environment == {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    third = ask(pool, "carol")
    assert isinstance(third, QueuePlace)
    assert third.position == 1
    assert [(holder.user, holder.devices) for holder in third.holders] == [("alice", (0,)), ("bob", (1,))]
    with LeaseClient(pool.connection("alice")) as client:
        client.give_back(first.id)
    with LeaseClient(pool.connection("carol")) as client:
        assert client.look(third.id).devices == (0,)


def test_more_gpus_than_exist(pool):
    with pytest.raises(LeaseRefusedError, match=r"3 GPUs were asked for; this machine has 2\. Ask for 2 at most\."):
        ask(pool, "alice", devices=3)


def test_a_dead_or_reused_pid_gets_no_lease(pool, sleeper):
    alive = sleeper()
    reused = Process(alive.pid, alive.start_time - 1)
    with LeaseClient(pool.connection("alice")) as client, pytest.raises(LeaseRefusedError, match="is not running"):
        client.ask("kernel", 1, "", reused)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another account")
def test_another_accounts_process_gets_no_lease(pool):
    other = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], user=65534, cwd="/")
    try:
        with (
            LeaseClient(pool.connection("alice")) as client,
            pytest.raises(LeaseRefusedError, match="not one of alice"),
        ):
            client.ask("kernel", 1, "", Process.of(other.pid))
    finally:
        other.kill()
        other.wait()


def test_a_killed_holder_loses_the_lease_and_the_next_in_line_gets_it(pool, sleeper):
    holder = sleeper()
    ask(pool, "alice", holder, devices=2)
    waiting = ask(pool, "bob")
    os.kill(holder.pid, signal.SIGKILL)  # nobody reaps it yet: a zombie holds nothing
    with LeaseClient(pool.connection("bob")) as client:
        assert eventually(lambda: isinstance(client.look(waiting.id), Lease), within=5)


def test_a_killed_pool_keeps_the_leases_of_the_living_only(pool, sleeper):
    living, dying = sleeper(), sleeper()
    ask(pool, "alice", living)
    ask(pool, "bob", dying)
    pool.kill()
    os.kill(dying.pid, signal.SIGKILL)
    pool.start()
    assert pool.holders()[0] == "alice"
    eventually(lambda: pool.holders() == {0: "alice"}, within=5)


def test_an_asker_that_dies_leaves_the_queue(pool, sleeper):
    ask(pool, "alice", sleeper(), devices=2)
    asker = sleeper()
    with LeaseClient(pool.connection("bob")) as client:
        client.ask("kernel", 1, "", asker)
    os.kill(asker.pid, signal.SIGKILL)
    eventually(lambda: pool.state()["queue"] == [], within=5)


def test_who_says_nothing_loses_what_is_not_in_use(tmp_path):
    clock = [1000.0]
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite", BookClock(monotonic=lambda: clock[0]))
    pool = GpuPool(store, SimulatedInventory(2), lambda user: os.getuid())
    used, unused, waiting, polling = (pool.ask(user, "kernel", "", 1, Process.own()) for user in "abcd")
    pool.bind("a", used.id, Process.own(), in_use=True)
    for _ in range(4):
        clock[0] += SILENCE / 2
        pool.look("d", polling.id)
        pool.watch()
    states = [store.get(lease.id).state for lease in (used, unused, waiting, polling)]
    assert states == ["granted", "released", "released", "granted"]
    assert store.get(waiting.id).reason == "its asker was not heard of any more"
    store.close()


def test_others_see_who_holds_but_not_what(pool, sleeper):
    ask(pool, "alice", sleeper())
    seen = request(pool, "GET", "", user="bob").json()["leases"][0]
    assert (seen["user"], seen["devices"], seen["label"]) == ("alice", [0], "")
    assert "holder" not in seen
    assert request(pool, "GET", "", user="alice").json()["leases"][0]["label"] == "digits.ipynb"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_anothers_lease_is_out_of_reach(pool, sleeper, method):
    lease = ask(pool, "alice", sleeper())
    body = {"holder": {"pid": os.getpid(), "start_time": Process.own().start_time}}
    answer = request(pool, method, f"leases/{lease.id}", user="bob", **({"json": body} if method == "PATCH" else {}))
    assert answer.status_code == 404
    assert pool.holders() == {0: "alice"}


def test_an_admin_ends_a_lease_and_the_process_that_uses_it(pool, sleeper):
    holder = sleeper()
    lease = ask(pool, "alice", holder)
    answer = request(pool, "DELETE", f"leases/{lease.id}", user="admin:root")
    assert (answer.json()["state"], answer.json()["reason"]) == ("released", "released by root")
    assert not holder.is_alive()
    assert pool.holders() == {}


def test_an_admin_ends_no_process_that_only_waits(pool, sleeper):
    server = sleeper()
    lease = ask(pool, "alice", server, in_use=False)
    request(pool, "DELETE", f"leases/{lease.id}", user="admin:root").raise_for_status()
    assert server.is_alive()
    assert pool.holders() == {}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "body"),
        (b'{"purpose": "kernel", "devices": 0, "holder": {"pid": 2, "start_time": 1}}', "devices"),
        (b'{"purpose": "mining", "devices": 1, "holder": {"pid": 2, "start_time": 1}}', "purpose"),
        (b'{"purpose": "kernel", "devices": 1, "holder": {"pid": "2", "start_time": 1}}', "holder.pid"),
        (b'{"purpose": "kernel", "devices": 1}', "holder"),
    ],
)
def test_a_request_that_cannot_be_read(pool, body, named):
    answer = request(pool, "POST", "leases", content=body)
    assert answer.status_code == 422
    assert named in answer.json()["error"]["what"]
    assert pool.state()["queue"] == []


def test_services_look_but_hold_no_leases(pool, sleeper):
    ask(pool, "alice", sleeper())
    holder = {"pid": os.getpid(), "start_time": Process.own().start_time}
    body = {"purpose": "kernel", "devices": 1, "holder": holder}
    assert request(pool, "POST", "leases", user="service:operator", json=body).status_code == 403
    assert request(pool, "GET", "", user="service:operator").json()["leases"][0]["user"] == "alice"


@pytest.mark.parametrize(
    ("language", "heading", "place"), [("en", "GPUs", "place 1 of 1"), ("zh-CN", "队列", "排第 1 位")]
)
def test_the_page_shows_holders_and_my_place(pool, sleeper, language, heading, place):
    ask(pool, "alice", sleeper(), devices=2, label="secret.ipynb")
    ask(pool, "bob")
    headers = {"Accept": "text/html", "Accept-Language": language}
    page, admins = (
        httpx.get(f"{pool.url}/", headers=headers | {"Authorization": f"Bearer {user}"}, trust_env=False).text
        for user in ("bob", "admin:root")
    )
    assert "alice" in page
    assert "secret.ipynb" not in page
    assert "digits.ipynb" in page
    assert heading in page
    assert place in page
    assert page.count("/release?_xsrf=") == 1, "bob may leave the queue"
    assert "secret.ipynb" in admins
    assert admins.count("/release?_xsrf=") == 3, "alice's on each GPU, and bob's place"


def test_health_says_nothing_else_to_strangers(pool):
    assert httpx.get(f"{pool.url}/health", trust_env=False).json() == {"status": "ok"}
    assert httpx.get(f"{pool.url}/", trust_env=False).status_code == 401


def test_without_gpus_everyone_gets_the_cpu_at_once(tmp_path, sleeper):
    pool = PoolProcess(tmp_path, simulate_gpus=0)
    pool.start()
    try:
        leases = [ask(pool, "alice", sleeper(), devices=2) for _ in range(3)]
    finally:
        pool.kill()
    assert all(lease.devices == () and lease.environment["CUDA_VISIBLE_DEVICES"] == "" for lease in leases)
