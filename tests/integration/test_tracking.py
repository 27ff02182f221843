"""MLflow of a real deployment: it works with plain clients, and shows nobody what is another's."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import HTTPError
from support import patiently
from support.deployment import Deployment, wait_for
from support.hub_client import become


@pytest.fixture(scope="module")
def url(deployment: Deployment) -> str:
    return deployment.settings.service_url("mlflow")


@pytest.fixture(scope="module")
def annas(deployment: Deployment, url: str):
    """A run, an artifact and a registered model of ``anna``."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        headers = become(monkeypatch, deployment, "anna")
        mlflow.set_tracking_uri(url)
        mlflow.set_experiment("digits")
        with mlflow.start_run() as run:
            mlflow.log_metric("loss", 0.5, step=1)
            mlflow.log_text("secret", "note.txt")
        client = MlflowClient()
        client.create_registered_model("classifier")
        client.create_model_version("classifier", f"runs:/{run.info.run_id}/note.txt", run.info.run_id)
        yield SimpleNamespace(
            run=run.info.run_id, experiment=run.info.experiment_id, uri=run.info.artifact_uri, headers=headers
        )
    mlflow.set_tracking_uri(None)


@pytest.fixture
def berts(deployment: Deployment, annas, url: str, monkeypatch):
    """Be ``bert``; the header that signs his requests, made to ask for anna's workspace."""
    return {**become(monkeypatch, deployment, "bert"), "X-MLFLOW-WORKSPACE": "anna-user"}


def test_a_browser_sees_that_it_starts_and_then_signs_in(url):
    assert patiently.get(f"{url}/health").json() == {"status": "ok"}
    answer = patiently.get(f"{url}/", headers={"Accept": "text/html"})
    assert answer.status_code == 302
    assert "/hub/api/oauth2/authorize" in answer.headers["location"]
    assert patiently.post(f"{url}/api/2.0/mlflow/experiments/search", json={"max_results": 9}).status_code == 401


def test_what_was_logged_can_be_read(annas, url):
    assert mlflow.artifacts.load_text(f"{annas.uri}/note.txt") == "secret"
    page = patiently.get(f"{url}/", headers={**annas.headers, "Accept": "text/html"})
    assert "<title>MLflow</title>" in page.text
    assert "workspaces/anna-user" in annas.uri


def test_names_of_two_people_do_not_collide(annas, berts):
    client = MlflowClient()
    assert [found.name for found in client.search_experiments() if found.name == "digits"] == []
    mine = client.create_experiment("digits")
    assert mine != annas.experiment
    client.create_registered_model("classifier")
    assert client.search_model_versions("name = 'classifier'") == []
    client.delete_experiment(mine)


CLIENT_CALLS = {
    "read a run": lambda c, a: c.get_run(a.run),
    "write a metric": lambda c, a: c.log_metric(a.run, "loss", 9),
    "write an artifact": lambda c, a: c.log_text(a.run, "evil", "note.txt"),
    "delete a run": lambda c, a: c.delete_run(a.run),
    "start a run in an experiment": lambda c, a: c.create_run(a.experiment),
    "read an experiment": lambda c, a: c.get_experiment(a.experiment),
    "rename an experiment": lambda c, a: c.rename_experiment(a.experiment, "mine"),
    "delete an experiment": lambda c, a: c.delete_experiment(a.experiment),
    "list artifacts": lambda c, a: c.list_artifacts(a.run),
    "read metrics": lambda c, a: c.get_metric_history(a.run, "loss"),
    "register another's artifact": lambda c, a: c.create_model_version("classifier", a.uri, a.run),
    "register a file of the machine": lambda c, a: c.create_model_version("classifier", "file:///etc"),
    "keep artifacts anywhere": lambda c, a: c.create_experiment("anywhere", artifact_location="file:///etc"),
}


@pytest.mark.parametrize("call", CLIENT_CALLS)
def test_nobody_can(call, annas, berts):
    with pytest.raises((MlflowException, HTTPError)):
        CLIENT_CALLS[call](MlflowClient(), annas)


def test_nobody_finds_anothers_runs(annas, berts):
    assert MlflowClient().search_runs([annas.experiment]) == []


PATHS = [
    "api/2.0/mlflow/runs/get?run_id={run}",
    "of/anna/api/2.0/mlflow/runs/get?run_id={run}",
    "api/2.0/mlflow/model-versions/get-download-uri?name=classifier&version=1",
    "api/2.0/mlflow-artifacts/artifacts/workspaces/anna-user/{experiment}/{run}/artifacts/note.txt",
    "api/2.0/mlflow-artifacts/artifacts/%2e%2e/anna-user/{experiment}/{run}/artifacts/note.txt",
    "api/2.0/mlflow-artifacts/artifacts?path=workspaces/anna-user",
    "get-artifact?run_id={run}&path=note.txt",
    "ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run}&metric_key=loss&max_results=9",
    # Parts that are switched off for all.
    "api/3.0/mlflow/workspaces",
    "ajax-api/3.0/mlflow/workspaces/anna-user",
    "api/2.0/mlflow/webhooks",
    "ajax-api/3.0/mlflow/assistant/config",
    "ajax-api/3.0/mlflow/jobs/1",
    "gateway/any/mlflow/invocations",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_address_shows_what_is_anothers(path, annas, berts, url):
    answer = patiently.get(f"{url}/{path.format(**vars(annas))}", headers=berts)
    assert answer.status_code in (400, 404)
    assert "secret" not in answer.text


def test_an_admin_may_choose_a_workspace(deployment, annas, url):
    deployment.add_user("boss", admin=True)
    headers = {"Authorization": f"Bearer {deployment.token('boss')}"}
    address = f"{url}/api/2.0/mlflow/runs/get?run_id={annas.run}"
    assert patiently.get(address, headers=headers).status_code == 404
    chosen = patiently.get(address, headers={**headers, "X-MLFLOW-WORKSPACE": "anna-user"})
    assert chosen.json()["run"]["info"]["run_id"] == annas.run
    annas_own = patiently.get(address.replace("/mlflow/api", "/mlflow/of/anna/api"), headers=headers)
    assert annas_own.json()["run"]["info"]["run_id"] == annas.run


def test_nothing_saved_is_lost_when_it_is_killed(deployment, annas, url):
    deployment.wait_back("mlflow", deployment.kill("mlflow"))
    wait_for(lambda: httpx.get(f"{url}/health").status_code == 200, 60, "MLflow is back")
    assert MlflowClient().get_run(annas.run).data.metrics == {"loss": 0.5}
    assert mlflow.artifacts.load_text(f"{annas.uri}/note.txt") == "secret"
