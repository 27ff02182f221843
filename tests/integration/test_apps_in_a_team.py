"""In team mode an app is a Unix account: nobody else reads its release or reaches its sockets."""

import json
import pwd
import subprocess

import httpx
import numpy as np
import psutil
import pytest
from support.apps import api, infer, publish, server_process, settled
from support.deployment import wait_for

pytestmark = pytest.mark.team

NAME = "teamdigits"


def as_account(account, *command):
    return subprocess.run(["runuser", "-u", account, "--", *command], capture_output=True, text=True, timeout=30)


@pytest.fixture(scope="module")
def people(team_deployment):
    return {name: team_deployment.token(name) for name in ("tada", "tbob")}


@pytest.fixture(scope="module")
def app(team_deployment, people):
    answer = publish(team_deployment, people["tada"], NAME, access={"users": ["tbob"]})
    assert answer.status_code == 202, answer.text
    app = settled(team_deployment, people["tada"], NAME)
    assert app["state"] == "ready", app["failure"]
    return app


def test_it_runs_and_answers_as_its_own_account(team_deployment, people, app):
    account = pwd.getpwnam(f"app-{NAME}")
    process = server_process(team_deployment, NAME)
    family = [process, *process.children(recursive=True)]
    assert {each.uids().real for each in family} == {account.pw_uid}
    x = np.zeros((1, 1, 28, 28), np.float32)
    assert infer(team_deployment, people["tbob"], app["api_url"], x).status_code == 200


def test_other_accounts_cannot_read_it(team_deployment, app):
    release = team_deployment.settings.apps_dir / NAME / "releases" / "1"
    assert as_account(f"app-{NAME}", "cat", str(release / "release.json")).returncode == 0
    for path in (release / "model.onnx", release, team_deployment.settings.apps_dir / NAME / "current" / "app.ipynb"):
        assert as_account("tbob", "cat", str(path)).returncode != 0
        assert as_account("tada", "ls", str(release)).returncode != 0
    runtime = team_deployment.settings.runtime_dir(f"app-{NAME}")
    wait_for(lambda: (runtime / "endpoint.sock").exists(), 30)
    assert as_account("tbob", "ls", str(runtime)).returncode != 0


def test_its_own_kernels_cannot_read_its_token(team_deployment, app):
    process = server_process(team_deployment, NAME)
    assert "JUPYTERHUB_API_TOKEN" in process.environ()
    assert as_account(f"app-{NAME}", "cat", f"/proc/{process.pid}/environ").returncode != 0


def test_a_link_in_the_place_of_its_log_shows_nothing_of_roots(team_deployment, people, app):
    """Its log is shown to its owner when it does not start, and root reads it."""
    secret = team_deployment.settings.secrets_dir / "operator"
    log = team_deployment.settings.runtime_dir(f"app-{NAME}") / "server.log"
    assert as_account(f"app-{NAME}", "ln", "-sf", str(secret), str(log)).returncode == 0
    assert publish(team_deployment, people["tada"], NAME).status_code == 202
    failed = settled(team_deployment, people["tada"], NAME)
    assert failed["failure"]["release"] == 2
    assert secret.read_text().strip() not in json.dumps(failed)
    assert as_account(f"app-{NAME}", "rm", str(log)).returncode == 0


def test_unpublishing_removes_the_account(team_deployment, people, app):
    uid = pwd.getpwnam(f"app-{NAME}").pw_uid
    assert api(team_deployment, people["tada"], "DELETE", f"apps/{NAME}").status_code == 204
    with pytest.raises(KeyError):
        pwd.getpwnam(f"app-{NAME}")
    # One that has ended and of which its parent has not taken notice yet is no matter.
    found = [each.info for each in psutil.process_iter(["uids", "status", "cmdline"])]
    alive = [each for each in found if each["uids"] and each["status"] != psutil.STATUS_ZOMBIE]
    assert [each for each in alive if each["uids"].real == uid] == []
    archived = list((team_deployment.settings.apps_dir / ".unpublished").rglob("model.onnx"))
    assert [path.stat().st_uid for path in archived] == [0, 0]


def test_an_apps_gpu_counts_for_its_owner_and_comes_back_when_nobody_visits(team_deployment, people):
    name = "teamgpu"
    assert publish(team_deployment, people["tada"], name, title="On a GPU", gpus=1).status_code == 202
    assert settled(team_deployment, people["tada"], name)["state"] == "ready"
    [lease] = [one for one in pool(team_deployment, people["tada"]) if one["purpose"] == "app"]
    assert (lease["user"], lease["label"]) == ("tada", "On a GPU")
    assert pwd.getpwuid(psutil.Process(lease["holder"]["pid"]).uids().real).pw_name == f"app-{name}"
    owner = team_deployment.settings.apps_dir / name / "owner.json"
    assert as_account(f"app-{name}", "cat", str(owner)).returncode != 0
    assert (owner.stat().st_uid, owner.parent.stat().st_uid) == (0, 0)

    # Half a minute in this deployment, a quarter of an hour by default.
    wait_for(lambda: not pool(team_deployment, people["tada"]), 120, "the unused app gave its GPU back")
    wait_for(lambda: server_process(team_deployment, name) is None, 60, "the unused app sleeps")
    url = f"{team_deployment.url}/user/app-{name}/v2/health/ready"
    headers = {"Authorization": f"Bearer {people['tada']}"}
    wait_for(lambda: httpx.get(url, headers=headers, timeout=30).status_code == 200, 90, "a call wakes it")
    assert api(team_deployment, people["tada"], "DELETE", f"apps/{name}").status_code == 204


def pool(deployment, token):
    """The leases that a person sees."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    answer = httpx.get(f"{deployment.url}/services/gpu-pool/", headers=headers, timeout=30)
    return answer.raise_for_status().json()["leases"]
