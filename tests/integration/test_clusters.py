"""Dask clusters of a real deployment: computing, limits, dashboards, and what survives which death."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

import cloudpickle
import psutil
import pytest
from armillary import cluster
from armillary.errors import ClusterError
from armillary_hub.clusters.stop_all import recorded_processes
from support import patiently
from support.deployment import Deployment, wait_for
from support.hub_client import become
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

# Workers cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def person(deployment: Deployment):
    """Be the notebook of ``clara``; the header that signs her requests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield become(monkeypatch, deployment, "clara")


@pytest.fixture(scope="module")
def running(person):
    """A cluster of two workers."""
    mine = cluster(workers=2)
    yield mine
    mine.close()


def workers_of(mine) -> set[int]:
    return set(mine.client().run(os.getpid, on_error="ignore").values())


def token_of(deployment: Deployment, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {deployment.token(user)}"}


def test_computes_on_its_workers_and_is_found_again(running):
    assert running.client().submit(sum, [1, 2, 3]).result() == 6
    assert running.workers == 2
    assert cluster(workers=1) is running


def test_what_is_left_of_a_closed_cluster_may_be_collected_by_the_loops_own_thread(running):
    other = cluster(workers=1, memory="300 MiB")
    assert other.name != running.name
    gc.disable()  # or it might be collected before
    try:
        other.close()
        del other
        collected = threading.Event()
        running.client().loop.add_callback(lambda: collected.set() if gc.collect() >= 0 else None)
        assert collected.wait(20)
    finally:
        gc.enable()


def test_workers_have_the_persons_environment_and_nothing_else(deployment, running):
    environment = running.client().submit(lambda: dict(os.environ)).result()
    assert environment["HOME"] == str(deployment.settings.users_dir / "clara")
    assert environment["ARMILLARY_DEPLOYMENT"] == str(deployment.home)
    assert environment["OMP_NUM_THREADS"] == "1"
    assert not {"ARMILLARY_HOME", "JUPYTERHUB_API_TOKEN", "DASK_GATEWAY_PROXY_TOKEN"} & set(environment)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"workers": 99}, "workers"),
        ({"workers": 1, "memory": "9 TiB"}, "one worker may have at most"),
        ({"workers": 1, "threads": 512}, "Ask for fewer threads"),
    ],
)
def test_a_limit_says_what_to_do(running, asked, sentence):
    with pytest.raises(ClusterError, match=sentence):
        cluster(**asked)
    assert running.workers == 2


def test_no_third_cluster(running, monkeypatch):
    second = cluster(workers=1, memory="512 MiB")
    try:
        with pytest.raises(ClusterError, match="2 Dask clusters running, and 2 is the limit"):
            cluster(workers=1, memory="768 MiB")
        monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
        with pytest.raises(ClusterError, match="您有 2 个 Dask 集群正在运行，上限为 2 个"):
            cluster(workers=1, memory="768 MiB")
    finally:
        second.close()


def test_the_dashboard_is_its_owners(deployment, person, running):
    dashboard = running.dashboard_link
    assert "Dask" in patiently.get(dashboard, headers=person).text
    assert patiently.get(dashboard, headers=token_of(deployment, "eve")).status_code == 404
    assert patiently.get(dashboard).status_code == 401
    signing_in = patiently.get(dashboard, headers={"Accept": "text/html"})
    assert signing_in.status_code == 302
    assert "/hub/api/oauth2/authorize" in signing_in.headers["location"]


def test_the_dashboards_websocket(deployment, person, running):
    address = running.dashboard_link.replace("http://", "ws://") + "/ws"
    with pytest.raises(InvalidStatus):
        connect(address, subprotocols=["bokeh"], additional_headers=token_of(deployment, "eve"))
    page = patiently.get(running.dashboard_link, headers=person).text
    token = page.split('"token":"')[1].split('"')[0]
    with connect(address, subprotocols=["bokeh", token], additional_headers=person) as socket:
        assert "ACK" in str(socket.recv(timeout=20))


def test_no_port_shows_a_dashboard(deployment, running):
    """Any account of the machine could read it there."""
    web = deployment.settings.port_of("gateway-web")
    for path in ("status", "workers", "info/main/workers.html"):
        assert patiently.get(f"http://127.0.0.1:{web}/clusters/{running.name}/{path}").status_code == 404


def test_others_can_neither_see_nor_stop_it(deployment, running):
    gateway = f"{deployment.settings.service_url('dask-gateway')}/api/v1/clusters/{running.name}"
    page = f"{deployment.settings.service_url('dask-gateway')}/clusters/{running.name}/stop"
    eve = token_of(deployment, "eve")
    as_gateway_wants = {"Authorization": eve["Authorization"].replace("Bearer", "jupyterhub")}
    assert patiently.get(gateway, headers=as_gateway_wants).status_code == 403
    assert patiently.delete(gateway, headers=as_gateway_wants).status_code == 403
    assert patiently.get(gateway).status_code == 401
    assert patiently.get(gateway, headers={"Authorization": "jupyterhub nonsense"}).status_code == 401
    assert patiently.post(page, headers=eve).status_code == 404
    listed = patiently.get(f"{deployment.settings.service_url('dask-gateway')}/", headers=eve).json()
    assert listed == {"clusters": []}
    assert running.client().submit(sum, [1]).result() == 1


def test_a_killed_worker_is_replaced(running):
    dead = min(workers_of(running))
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: len(workers := workers_of(running)) == 2 and dead not in workers, 40, "a new worker")


def test_a_killed_gateway_takes_its_clusters_over(deployment, running):
    before = workers_of(running)
    deployment.wait_back("gateway", deployment.kill("gateway"))
    assert workers_of(running) == before
    assert cluster(workers=1) is running
    running.scale(3)
    assert len(workers_of(running)) == 3


def test_a_dead_scheduler_ends_its_cluster_and_the_next_call_starts_another(person):
    lost = cluster(workers=1, memory="640 MiB")
    pids = workers_of(lost)
    os.kill(lost.client().run_on_scheduler(os.getpid), signal.SIGKILL)
    wait_for(lambda: not any(map(psutil.pid_exists, pids)), 30, "its worker ended")
    with pytest.raises(ClusterError, match="has stopped"):
        lost.scale(2)
    with cluster(workers=1, memory="640 MiB") as fresh:
        assert fresh.name != lost.name
        pids = workers_of(fresh)
    wait_for(lambda: not any(map(psutil.pid_exists, pids)), 30, "its worker ended")


def test_what_the_gateway_recorded_is_what_runs(deployment, running):
    """So `stop_all` finds every cluster, also without a gateway."""
    recorded = {process.pid for process in recorded_processes(deployment.settings)}
    assert workers_of(running) <= recorded
    assert running.client().run_on_scheduler(os.getpid) in recorded
