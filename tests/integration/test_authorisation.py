"""Who gets what: anonymous, a visitor of the app, another user, the owner and an admin, at every endpoint (team mode).

Rows name a request and the status of each. `test_every_route_has_a_row` fails when a service gains an endpoint that
has none.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from armillary_hub.apps.service import application as apps_app
from armillary_hub.clusters.front import front_app
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.service import PoolApi
from armillary_hub.tracking.service import tracking_app
from armillary_kernels.release import MODEL, NOTEBOOK
from onnx import TensorProto, helper, numpy_helper
from starlette.routing import Mount, Route
from support import patiently
from support.deployment import Deployment, wait_for
from support.person import sign_in

pytestmark = pytest.mark.team

OWNER, VISITOR, OTHER, ADMIN = "owen", "vera", "otis", "adam"
ROLES = ("anonymous", VISITOR, OTHER, OWNER, ADMIN)


@dataclass(frozen=True)
class Row:
    """One request and who gets which status: anonymous, visitor, other user, owner, admin."""

    method: str
    path: str
    statuses: tuple[int, int, int, int, int]
    body: Any = None
    form: bool = False

    @property
    def id(self) -> str:
        return f"{self.method} {self.path}{f' {self.body}' if self.form else ''}"


def everyone_signed_in(status: int = 200) -> tuple[int, int, int, int, int]:
    return (401, status, status, status, status)


OPEN = (200, 200, 200, 200, 200)
POOL, GATEWAY, MLFLOW, APPS = ("/services/gpu-pool", "/services/dask-gateway", "/services/mlflow", "/services/apps")
CLUSTER = f"{GATEWAY}/api/v1/clusters/{{cluster}}"
ASK = {"purpose": "kernel", "devices": 1, "label": "x", "holder": {"pid": 1, "start_time": 1}}
RUNS = f"{MLFLOW}/api/2.0/mlflow/runs"
APP = "/user/app-guarded"
INFER = {"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}

# {lease}, {cluster}, {run}… are the owner's. What destroys comes as others first: those who may not must not succeed.
ROWS = [
    # GPU pool
    Row("GET", f"{POOL}/health", OPEN),
    Row("GET", f"{POOL}/", everyone_signed_in()),
    Row("POST", f"{POOL}/", everyone_signed_in(400)),
    Row("POST", f"{POOL}/", (401, 404, 404, None, None), {"action": "suspend", "lease": "{lease}"}, form=True),  # type: ignore[arg-type]
    *(
        Row("POST", f"{POOL}/", (401, 403, 403, 403, refused), {"action": action}, form=True)
        for action, refused in (
            ("set-quota", 422),
            ("remove-quota", 422),
            ("reserve", 422),
            ("remove-reservation", 404),
        )
    ),
    Row("GET", f"{POOL}/utilisation", everyone_signed_in()),
    Row("GET", f"{POOL}/metrics", (401, 403, 403, 403, 200)),
    Row("POST", f"{POOL}/leases", everyone_signed_in(422), {"purpose": "none"}),
    Row("GET", f"{POOL}/leases/{{lease}}", (401, 404, 404, 200, 404)),
    Row("PATCH", f"{POOL}/leases/{{lease}}", (401, 404, 404, 200, 404), "{holder}"),
    Row("DELETE", f"{POOL}/leases/{{lease}}", (401, 404, 404, None, None)),  # type: ignore[arg-type]
    Row("POST", f"{POOL}/leases/{{lease}}/leave", (401, 404, 404, 409, 404)),
    Row("POST", f"{POOL}/leases/{{lease}}/release", (401, 404, 404, None, None)),  # type: ignore[arg-type]
    Row("PUT", f"{POOL}/leases/{{lease}}/activity", (401, 404, 404, 200, 404), {"busy": True}),
    Row("POST", f"{POOL}/leases/{{lease}}/suspend", (401, 404, 404, None, None)),  # type: ignore[arg-type]
    Row("POST", f"{POOL}/leases/{{lease}}/resume", (401, 404, 404, 200, 404)),
    Row("GET", f"{POOL}/history", everyone_signed_in()),
    Row("GET", f"{POOL}/openapi.json", everyone_signed_in()),
    Row("GET", f"{POOL}/api", everyone_signed_in()),
    Row("GET", f"{POOL}/quotas", everyone_signed_in()),
    Row("PUT", f"{POOL}/quotas/default", (401, 403, 403, 403, 200), {"gpus": 1000}),
    Row("DELETE", f"{POOL}/quotas/default", (401, 403, 403, 403, 204)),
    Row("PUT", f"{POOL}/quotas/user/nobody", (401, 403, 403, 403, 200), {"gpus": 1}),
    Row("DELETE", f"{POOL}/quotas/user/nobody", (401, 403, 403, 403, 204)),
    Row("GET", f"{POOL}/reservations", everyone_signed_in()),
    Row("POST", f"{POOL}/reservations", (401, 403, 403, 403, 422), {}),
    Row("DELETE", f"{POOL}/reservations/none", (401, 403, 403, 403, 404)),
    Row("GET", f"{POOL}/oauth_callback", (403, 403, 403, 403, 403)),
    # Dask Gateway
    Row("GET", f"{GATEWAY}/health", OPEN),
    Row("GET", f"{GATEWAY}/", everyone_signed_in()),
    Row("GET", f"{GATEWAY}/api/addresses", everyone_signed_in()),
    Row("GET", f"{GATEWAY}/api/health", OPEN),
    Row("GET", f"{GATEWAY}/api/version", OPEN),
    Row("GET", f"{GATEWAY}/api/v1/options", everyone_signed_in()),
    Row("GET", f"{GATEWAY}/api/v1/clusters/", everyone_signed_in()),
    Row("GET", CLUSTER, (401, 403, 403, 200, 403)),
    Row("POST", f"{CLUSTER}/scale", (401, 403, 403, 200, 403), {"count": 1}),
    Row("POST", f"{CLUSTER}/adapt", (401, 403, 403, 200, 403), {"minimum": 1, "maximum": 1}),
    Row("DELETE", CLUSTER, (401, 403, 403, None, None)),  # type: ignore[arg-type] # the owner's comes last
    Row("GET", f"{GATEWAY}/clusters/{{cluster}}/status", (401, 404, 404, 200, 404)),
    Row("POST", f"{GATEWAY}/clusters/{{cluster}}/stop", (401, 404, 404, None, None)),  # type: ignore[arg-type]
    Row("GET", f"{GATEWAY}/api/v1/heartbeat", (404, 404, 404, 404, 404)),
    # MLflow
    Row("GET", f"{MLFLOW}/health", OPEN),
    Row("POST", f"{MLFLOW}/api/2.0/mlflow/experiments/search", everyone_signed_in(), {"max_results": 5}),
    Row("GET", f"{RUNS}/get?run_id={{run}}", (401, 404, 404, 200, 404)),
    Row("POST", f"{RUNS}/log-metric", (401, 404, 404, 200, 404), "{metric}"),
    Row("GET", f"{MLFLOW}/get-artifact?path=note.txt&run_uuid={{run}}", (401, 404, 404, 200, 404)),
    Row("GET", f"{MLFLOW}/api/3.0/mlflow/workspaces", (401, 404, 404, 404, 200)),
    Row("GET", f"{MLFLOW}/ajax-api/3.0/jobs", (401, 404, 404, 404, 404)),
    # Apps service
    Row("GET", f"{APPS}/health", OPEN),
    Row("GET", f"{APPS}/", everyone_signed_in()),
    Row("GET", f"{APPS}", everyone_signed_in(307)),
    Row("GET", f"{APPS}/open/guarded", (401, 307, 403, 307, 307)),
    Row("GET", f"{APPS}/api/apps", everyone_signed_in()),
    Row("GET", f"{APPS}/api/apps/guarded", (401, 200, 404, 200, 200)),
    Row("POST", f"{APPS}/api/apps/guarded/releases", (401, 400, 400, 400, 400), {}),
    Row("POST", f"{APPS}/api/apps/guarded/rollback", (401, 403, 403, 400, 400), {"release": "none"}),
    Row("PUT", f"{APPS}/api/apps/guarded/access", (401, 403, 403, 200, 200), {"users": [VISITOR]}),
    Row("DELETE", f"{APPS}/api/apps/guarded", (401, 403, 403, None, None)),  # type: ignore[arg-type]
    # The app itself
    Row("GET", f"{APP}/v2/health/live", (401, 200, 403, 200, 200)),
    Row("GET", f"{APP}/v2/health/ready", (401, 200, 403, 200, 200)),
    Row("GET", f"{APP}/v2", (401, 200, 403, 200, 200)),
    Row("GET", f"{APP}/v2/models/guarded", (401, 200, 403, 200, 200)),
    Row("GET", f"{APP}/v2/models/guarded/ready", (401, 200, 403, 200, 200)),
    Row("POST", f"{APP}/v2/models/guarded/infer", (401, 200, 403, 200, 200), INFER),
    Row("GET", f"{APP}/", (401, 200, 403, 200, 200)),
    # An app that does not run, or is not there
    Row("GET", "/user/app-asleep", (401, 403, 403, 403, 404)),
    Row("POST", "/user/app-asleep", (401, 403, 403, 403, 404)),
    Row("GET", "/user/app-asleep/v2/health/ready", (401, 403, 403, 403, 404)),
    Row("POST", "/user/app-asleep/v2/models/asleep/infer", (401, 403, 403, 403, 404), INFER),
    # A person's own server
    Row("GET", f"/user/{OWNER}/api/kernels", (403, 403, 403, 200, 200)),
    Row("GET", f"/user/{OWNER}/api/contents/", (403, 403, 403, 200, 200)),
    # The hub
    Row("GET", "/hub/api/users", (403, 403, 403, 403, 200)),
    Row("GET", f"/hub/api/users/{OWNER}", (403, 404, 404, 200, 200)),
    Row("POST", "/hub/api/users/mallory", (403, 403, 403, 403, 201)),
    Row("DELETE", "/hub/api/users/mallory", (403, 403, 403, 403, 204)),
    Row("POST", f"/hub/api/users/{OWNER}/tokens", (403, 403, 403, 201, 201), {"expires_in": 60}),
    Row("POST", "/hub/api/users/app-guarded/tokens", (403, 403, 403, 403, 201), {"expires_in": 60}),
    Row("DELETE", f"/hub/api/users/{OWNER}/server", (403, 404, 404, None, None)),  # type: ignore[arg-type]
    Row("GET", "/hub/api/proxy", (403, 403, 403, 403, 200)),
    Row("POST", "/hub/api/shutdown", (403, 403, 403, 403, None), {"servers": False}),  # type: ignore[arg-type]
]


@dataclass
class Scene:
    """The owner's things, and everybody's tokens."""

    deployment: Deployment
    tokens: dict[str, str]
    values: dict[str, Any]

    def send(self, row: Row, role: str, base: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}
        path = row.path.format(**self.values)
        body = self.values[row.body.strip("{}")] if isinstance(row.body, str) else row.body
        if row.form:
            sent = {"data": {name: text.format(**self.values) for name, text in body.items()}}
        else:
            sent = {"json": body}
        return httpx.request(row.method, f"{base or self.deployment.url}{path}", headers=headers, timeout=90, **sent)


def _tiny_model() -> bytes:
    """Return an ONNX classifier of two numbers into two classes."""
    weights = numpy_helper.from_array(np.eye(2, dtype=np.float32), "weights")
    nodes = [
        helper.make_node("MatMul", ["input", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("input", "probabilities")]
    graph = helper.make_graph(nodes, "tiny", values[:1], values[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString()


def _publish(deployment: Deployment, headers: dict[str, str]) -> None:
    release = {
        "title": "Guarded",
        "class_names": ["a", "b"],
        "input": {"kind": "table", "shape": [2], "dtype": "float32", "names": ["x", "y"]},
    }
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
    answer = httpx.post(
        f"{deployment.url}{APPS}/api/apps/guarded/releases",
        headers=headers,
        data={"release": json.dumps(release), "access": json.dumps({"users": [VISITOR]})},
        files={MODEL: _tiny_model(), NOTEBOOK: json.dumps(notebook).encode()},
        timeout=90,
    )
    assert answer.status_code == 202, answer.text
    wait_for(
        lambda: httpx.get(f"{deployment.url}{APP}/v2/health/ready", headers=headers).status_code == 200, 120, "the app"
    )


def _log_run(deployment: Deployment, headers: dict[str, str]) -> str:
    api = f"{deployment.url}{MLFLOW}/api/2.0/mlflow"
    with httpx.Client(headers=headers, timeout=180) as client:
        experiment = client.post(f"{api}/experiments/create", json={"name": "guarded"}).raise_for_status().json()
        body = {"experiment_id": experiment["experiment_id"], "start_time": int(time.time() * 1000)}
        run = client.post(f"{api}/runs/create", json=body).raise_for_status().json()["run"]["info"]
        artifacts = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        client.put(f"{api}-artifacts/artifacts/{artifacts}/note.txt", content=b"secret").raise_for_status()
    return run["run_id"]


@pytest.fixture(scope="module")
def scene(team_deployment: Deployment) -> Iterator[Scene]:
    """An owner with a server, a lease, a Dask cluster, an MLflow run and an app that a visitor may open."""
    team_deployment.add_user(ADMIN, admin=True)
    tokens = {name: team_deployment.token(name) for name in ROLES[1:]}
    headers = {"Authorization": f"Bearer {tokens[OWNER]}"}
    owner = sign_in(team_deployment, OWNER)
    command = "python -c 'import armillary; print(armillary.cluster(workers=1).name)'"
    made = owner.shell(command)
    assert made.returncode == 0, made.stderr
    run = _log_run(team_deployment, headers)
    _publish(team_deployment, headers)
    holder = {"pid": owner.server.pid, "start_time": _start_ticks(owner.server)}
    ask = {**ASK, "holder": holder}
    lease = patiently.post(f"{team_deployment.url}{POOL}/leases", json=ask, headers=headers)
    assert lease.status_code == 201, lease.text
    bound = {"json": {"holder": holder}, "headers": headers}
    patiently.patch(f"{team_deployment.url}{POOL}/leases/{lease.json()['id']}", **bound).raise_for_status()
    metric = {"run_id": run, "key": "loss", "value": 1.0, "timestamp": 1, "step": 1}
    values = {
        "lease": lease.json()["id"],
        "cluster": made.stdout.split()[-1],
        "run": run,
        "holder": {"holder": holder},
        "metric": metric,
    }
    yield Scene(team_deployment, tokens, values)
    patiently.delete(f"{team_deployment.url}{POOL}/leases/{values['lease']}", headers=headers).raise_for_status()
    httpx.delete(f"{team_deployment.url}{APPS}/api/apps/guarded", headers=headers, timeout=90).raise_for_status()
    patiently.post(
        f"{team_deployment.url}{GATEWAY}/clusters/{values['cluster']}/stop", headers=headers
    ).raise_for_status()


def _start_ticks(process: psutil.Process) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_everybody_gets_what_the_table_says(scene: Scene, row: Row) -> None:
    answers = {
        role: scene.send(row, role) for role, expected in zip(ROLES, row.statuses, strict=True) if expected is not None
    }
    expected = {role: status for role, status in zip(ROLES, row.statuses, strict=True) if status is not None}
    texts = {role: answer.text[:200] for role, answer in answers.items()}
    assert {role: answer.status_code for role, answer in answers.items()} == expected, texts


@pytest.mark.parametrize("row", [row for row in ROWS if row.path.startswith("/services/")], ids=lambda row: row.id)
def test_the_services_own_ports_are_no_way_around(scene: Scene, row: Row) -> None:
    service = row.path.split("/")[2]
    base = f"http://127.0.0.1:{scene.deployment.settings.port_of(service)}"
    for role, expected in zip(ROLES[:3], row.statuses, strict=False):
        assert scene.send(row, role, base).status_code == expected, role


@pytest.mark.parametrize(
    ("secret", "statuses"),
    [("dask-gateway", (422, 200, 404)), ("operator", (403, 200, 403)), ("mlflow", (403, 403, 403))],
)
def test_which_services_lease_gpus_for_people(scene: Scene, secret: str, statuses: tuple[int, ...]) -> None:
    headers = {"Authorization": f"Bearer {scene.deployment.settings.secret(secret)}"}
    base = f"{scene.deployment.url}{POOL}"
    ask = {**ASK, "user": OWNER, "groups": [], "holder": {"pid": 2, "start_time": 1}}  # a process that never was
    answers = [
        patiently.post(f"{base}/leases", json=ask, headers=headers),
        patiently.get(f"{base}/quotas?user={OWNER}", headers=headers),
        patiently.get(f"{base}/leases/{scene.values['lease']}", headers=headers),
    ]
    assert tuple(answer.status_code for answer in answers) == statuses


@pytest.mark.parametrize("port", ["gateway-server", "gateway-web", "gateway-scheduler", "traefik"])
def test_inner_ports_answer_nobody_without_their_own_token(scene: Scene, port: str) -> None:
    base = f"http://127.0.0.1:{scene.deployment.settings.port_of(port)}"
    paths = ["/", "/api/v1/clusters/", f"/clusters/{scene.values['cluster']}/status", "/api/rawdata", "/api/routes"]
    for path in paths:
        try:
            status = httpx.get(f"{base}{path}", headers={"Authorization": f"Bearer {scene.tokens[OTHER]}"}).status_code
        except httpx.TransportError:
            continue  # it speaks TLS, not HTTP
        if port.startswith("gateway") and path == "/api/v1/clusters/":
            assert status == 200, "the gateway itself knows hub tokens; it lists the caller's own clusters"
        else:
            assert status in (401, 403, 404), (port, path, status)


def test_every_route_has_a_row(team_deployment: Deployment) -> None:
    settings = team_deployment.settings
    pool: GpuPool = None  # type: ignore[assignment] # only the list of routes is read
    routes = [
        *PoolApi(pool).routes(),
        *front_app(settings).routes,
        *tracking_app(settings).routes,
        *apps_app(settings).routes,
    ]
    missing = [route for route in _requests(routes) if not any(_matches(route, row) for row in ROWS)]
    assert missing == []


def _requests(routes: list[Any]) -> Iterator[tuple[str, str]]:
    """Yield each method and path template of a list of routes; what is mounted stands for one path."""
    for route in routes:
        if isinstance(route, Mount) and route.routes:
            yield from ((method, f"{route.path}{path}") for method, path in _requests(route.routes))
        elif isinstance(route, Mount):
            yield "GET", f"{route.path}/{{rest:path}}"
        elif isinstance(route, Route):
            shown = (route.methods or set()) - {"HEAD", "OPTIONS"}
            if route.path.startswith("/user/app-"):
                shown = {"GET", "POST"}  # every method leads to the same function
            yield from ((method, route.path) for method in shown)


def _matches(route: tuple[str, str], row: Row) -> bool:
    method, template = route
    pattern = re.sub(r"\\{\w+:path\\}", ".*", re.escape(template))
    pattern = re.sub(r"\\{\w+\\}", "[^/]+", pattern)
    path = row.path.partition("?")[0]
    return (row.method == method and re.fullmatch(pattern, path) is not None) or template.endswith("oauth_callback")
