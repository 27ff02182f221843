"""An app with a GPU: it leases one while it runs, its visitors see that it waits, and it gives it back when it ends."""

import contextlib
from pathlib import Path

import httpx
import pytest
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.processes import Process
from support import patiently
from support.app_server import ACCESS, app_server
from support.deployment import wait_for
from support.gpu_pool import PoolProcess
from support.onnx_models import digits_model, release

BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = PoolProcess(tmp_path_factory.mktemp("pool"), simulate_gpus=1)
    pool.start()
    yield pool
    pool.kill()


@contextlib.contextmanager
def app_with_gpu(pool: PoolProcess, folder: Path, **variables: str):
    """Run an app's server on a release with a GPU; yields it and a client that has access."""
    found = {name: value for name, value in pool.environment("ada").items() if "TOKEN" not in name}
    surroundings = {name: value for name, value in found.items() if not name.startswith("JUPYTERHUB")}
    about = release(title="Digits", gpus=1)
    with app_server(folder, digits_model(), about, **surroundings, **variables) as app:
        headers = {"Authorization": f"Bearer {app.hub.person('bob', ACCESS)}"}
        with httpx.Client(base_url=app.url, headers=headers, timeout=60) as bob:
            yield app, bob


def test_visitors_see_that_an_app_waits_for_its_gpu(pool, tmp_path):
    with LeaseClient(pool.connection("ada")) as ada:
        lease = ada.ask("kernel", 1, "x", Process.own())
        ada.bind(lease.id, Process.own())
        with app_with_gpu(pool, tmp_path) as (app, bob):
            page = bob.get("", headers=BROWSER)
            assert (page.status_code, page.headers["refresh"]) == (503, "3")
            assert "“Digits” waits for a GPU." in page.text
            assert "Place 1 in the queue" in page.text
            assert "“Digits”正在等待 GPU。" in bob.get("", headers={**BROWSER, "Accept-Language": "zh-CN"}).text
            program = bob.get("v2/health/ready")
            assert (program.status_code, program.headers["retry-after"]) == (503, "3")
            assert "waits for a GPU" in program.json()["error"]
            assert patiently.get(f"{app.url}v2/health/ready").status_code == 401

            ada.give_back(lease.id)
            wait_for(lambda: bob.get("v2/health/ready").status_code == 200, 30, "the app has its GPU")
            [held] = pool.state()["leases"]
            assert (held["purpose"], held["label"], held["user"]) == ("app", "Digits", "the-robots-own-secret")
            assert (held["holder"]["pid"], held["holder"]["in_use"]) == (app.process.pid, True)
            assert bob.get("", headers=BROWSER).status_code == 200
        wait_for(lambda: not pool.state()["leases"], 20, "an app that ended holds no GPU")


def test_a_wait_that_takes_too_long_ends_with_a_reason(pool, tmp_path):
    with LeaseClient(pool.connection("ada")) as ada:
        lease = ada.ask("kernel", 1, "x", Process.own())
        ada.bind(lease.id, Process.own())
        with app_with_gpu(pool, tmp_path, ARMILLARY_APP_GPU_WAIT="0.5") as (_app, bob):
            failed = wait_for(lambda: (it := bob.get("", headers=BROWSER)).headers.get("refresh") is None and it, 20)
            assert (failed.status_code, failed.headers["retry-after"]) == (503, "60")
            assert "“Digits” gets no GPU." in failed.text
            assert "Try again later." in failed.text
            assert pool.state()["queue"] == []
        ada.give_back(lease.id)
