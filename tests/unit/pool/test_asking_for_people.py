"""Services that ask for people: who may, whose quota counts, whose processes hold the lease, and what the books say."""

import os

import pytest
from armillary_hub.pool.devices import SimulatedInventory
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.store import LeaseStore
from armillary_hub.web.errors import WebError
from armillary_kernels.processes import Process
from support.pool_world import UID, World

ADMIN, GATEWAY, OTHER = "admin:root", "asking:dask-gateway", "asking:jobs"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=2)
    yield world
    world.close()


def ask(world, service=GATEWAY, **what):
    process = world.processes.start()
    holder = {"pid": process.pid, "start_time": process.start_time}
    body = {"purpose": "worker", "user": "alice", "holder": holder, **what}
    return world.request("POST", "leases", service, body)


def test_the_lease_is_the_persons_and_the_books_know_who_asked(world):
    lease = ask(world, label="Dask 1a2b").json()
    assert (lease["user"], lease["state"], lease["purpose"]) == ("alice", "granted", "worker")
    assert [line["actor"] for line in world.audit()] == ["services/dask-gateway", "pool"]
    mine = world.request("GET", f"leases/{lease['id']}", "alice").json()
    assert mine["label"] == "Dask 1a2b"


def test_the_service_looks_binds_and_gives_back_what_it_asked_for_and_nothing_else(world):
    lease = ask(world).json()["id"]
    own = world.ask("alice", world.processes.start()).json()["id"]
    assert world.request("GET", f"leases/{lease}", GATEWAY).status_code == 200
    assert world.bind(GATEWAY, lease, world.processes.start()).status_code == 200
    for service, other in ((GATEWAY, own), (OTHER, lease), ("bob", lease)):
        assert world.request("GET", f"leases/{other}", service).status_code == 404
        assert world.bind(service, other, world.processes.start()).status_code == 404
        assert world.request("DELETE", f"leases/{other}", service).status_code == 404
    assert world.request("DELETE", f"leases/{lease}", GATEWAY).json()["state"] == "released"
    assert world.audit()[-1]["actor"] == "services/dask-gateway"


@pytest.mark.parametrize(
    ("who", "what", "status"),
    [
        ("alice", {"user": "bob"}, 403),
        ("alice", {"groups": ["class"]}, 403),
        ("alice", {"user": "alice"}, 201),
        (ADMIN, {"user": "alice"}, 403),
        ("service:mlflow", {"user": "alice"}, 403),
        (GATEWAY, {"user": None}, 422),
    ],
)
def test_who_may_name_whom(world, who, what, status):
    answer = ask(world, who, **{"user": None, **what})
    assert answer.status_code == status, answer.text
    assert (world.audit() == []) == (status != 201)


def test_a_service_without_the_scope_cannot_look_either(world):
    lease = ask(world).json()["id"]
    for method in ("GET", "DELETE"):
        assert world.request(method, f"leases/{lease}", "service:dask-gateway").status_code == 403


def test_the_persons_groups_and_quota_count(world):
    world.request("PUT", "quotas/group/class", ADMIN, {"gpus": 1})
    refused = ask(world, groups=["class"], devices=2)
    assert refused.json()["error"]["what"] == "2 GPUs were asked for; your quota is 1 at once."
    assert ask(world, groups=["class"]).status_code == 201
    assert ask(world, groups=["class"]).json()["waits_for"] == "quota"
    assert world.request("GET", "quotas?user=alice&group=class", GATEWAY).json()["yours"]["gpus"] == 1
    assert world.request("GET", "quotas?user=alice&group=class", "bob").json()["yours"]["gpus"] is None


class Owners:
    """A machine on which the pool's account has process 1000, alice 2000, bob 3000."""

    def owner(self, process):
        return {1000: os.getuid(), 2000: UID, 3000: UID + 1}[process.pid]

    def is_alive(self, process):
        return True


def test_while_it_waits_the_holder_is_the_services_process_then_the_persons(tmp_path):
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    pool = GpuPool(store, SimulatedInventory(1), lambda user: UID, machine=Owners())
    service, alices, bobs = Process(1000, 1), Process(2000, 1), Process(3000, 1)
    actor = "services/dask-gateway"
    lease = pool.ask("alice", "worker", "", 1, service, asked_by=actor)
    with pytest.raises(WebError, match="not one of alice"):
        pool.ask("alice", "worker", "", 1, service)
    with pytest.raises(WebError, match="not one of alice"):
        pool.ask("alice", "worker", "", 1, bobs, asked_by=actor)
    for wrong in (service, bobs):
        with pytest.raises(WebError, match="not one of alice"):
            pool.bind(actor, lease.id, wrong, True)
    assert pool.bind(actor, lease.id, service, False).holder == service
    with pytest.raises(WebError, match="not one of alice"):
        pool.bind("alice", lease.id, service, False)
    assert pool.bind(actor, lease.id, alices, True).holder == alices
    store.close()
