"""The pool's figures for Prometheus, and the Grafana dashboard that shows them."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.pool_world import World

ADMIN = "admin:root"
DASHBOARD = Path(__file__).parents[3] / "hub_config" / "grafana" / "gpu-pool.json"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=2)
    yield world
    world.close()


def figures(world):
    """Return every figure by its name and the values of its labels, which come by their names."""
    answer = world.request("GET", "metrics", ADMIN)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def granted(world, user, **what):
    answer = world.ask(user, world.processes.start(), **{"devices": 1, **what})
    world.bind(user, answer.json()["id"], world.processes.start())
    return answer.json()["id"]


def test_what_is_held_waited_for_suspended_and_used(world):
    first = granted(world, "alice", purpose="job")
    granted(world, "bob")
    world.pass_time(60)
    waiting = world.ask("carol", world.processes.start(), devices=1).json()["id"]
    world.pass_time(20)
    now = figures(world)
    assert now["armillary_gpu_leases", "job", "granted"] == now["armillary_gpu_leases", "kernel", "granted"] == 1
    assert now["armillary_gpu_leases", "kernel", "queued"] == now["armillary_gpu_waiting", "kernel"] == 1
    assert now["armillary_gpu_longest_wait_seconds",] == 20
    assert (now["armillary_gpu_devices", "working"], now["armillary_gpu_devices", "lost"]) == (2, 0)
    assert now["armillary_gpu_seconds_total", "alice"] == 80
    world.request("POST", f"leases/{first}/suspend", "alice")
    world.finish_task()
    now = figures(world)
    assert now["armillary_gpu_suspensions_total", "done"] == now["armillary_gpu_leases", "job", "suspended"] == 1
    assert now["armillary_gpu_waiting", "kernel"] == 0, "carol has got it"
    world.request("POST", f"leases/{first}/resume", "alice")
    world.pass_time(400)
    world.request("DELETE", f"leases/{waiting}", "carol")
    world.checkpoints.fails = "for now"
    world.finish_task()
    now = figures(world)
    assert (now["armillary_gpu_restorations_total", "failed"], now["armillary_gpu_restorations_total", "done"]) == (
        1,
        0,
    )
    assert [now["armillary_gpu_wait_seconds_bucket", bound] for bound in ("0.1", "15", "60", "300", "900", "+Inf")] == [
        *(2, 2, 3, 3, 4, 4)
    ]
    assert now["armillary_gpu_wait_seconds_sum",] == 420
    assert now["armillary_gpu_seconds_total", "bob"] == 480


def test_the_devices_are_told_as_they_were_last_seen(world):
    granted(world, "alice")
    world.pool.take_sample()
    world.gpus.lost.add("GPU-1")
    world.pool.look_at_devices()
    now = figures(world)
    gpu = ("0", "H100", "GPU-0")
    assert now["armillary_gpu_memory_bytes", *gpu] == 16 * 2**30
    assert now["armillary_gpu_memory_used_bytes", *gpu] > 0
    assert now["armillary_gpu_utilisation_ratio", *gpu] == 1


def test_what_is_counted_survives_a_restart_of_the_pool(world):
    lease = granted(world, "alice")
    world.request("POST", f"leases/{lease}/suspend", "alice")
    world.finish_task()
    before = figures(world)
    assert figures(world) == before, "asking twice counts nothing twice"
    world.kill_pool()
    world.start_pool()
    assert figures(world) == before
    assert before["armillary_gpu_suspensions_total", "done"] == 1


def test_only_admins_and_tokens_with_the_scope_read_them(world):
    refused = world.request("GET", "metrics", "alice")
    assert (refused.status_code, refused.json()["error"]["remedy"]) == (
        403,
        "Use a token with the scope read:metrics.",
    )
    assert world.request("GET", "metrics", "service:prometheus").status_code == 403
    assert world.request("GET", "metrics", "watching:prometheus").status_code == 200


def test_every_figure_of_the_dashboard_is_there(world):
    granted(world, "alice")
    world.pool.take_sample()
    there = {name for name, *_ in figures(world)}
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) >= len(dashboard["panels"]) > 10
    for expression in expressions:
        names = re.findall(r"armillary_\w+", expression)
        assert names
        assert set(names) <= there, expression
    shown = set(re.findall(r"armillary_\w+", " ".join(expressions)))
    assert {name for name in there if name not in shown} <= {"armillary_gpu_wait_seconds_sum"}
