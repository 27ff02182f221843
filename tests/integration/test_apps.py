"""An app from publishing to unpublishing, on a real deployment."""

import os
import signal

import numpy as np
import psutil
import pytest
import tritonclient.http as triton
from support import patiently
from support.apps import NAME, api, infer, publish, server_process, settled
from support.deployment import wait_for
from support.onnx_models import brightness_model, unknown_operator_model
from support.person import sign_in


@pytest.fixture(scope="module")
def people(deployment):
    return {name: deployment.token(name) for name in ("ada", "bob", "eve")}


@pytest.fixture(scope="module")
def app(deployment, people):
    answer = publish(deployment, people["ada"], access={"users": ["bob"], "groups": []}, title="Handwritten digits")
    assert answer.status_code == 202, answer.text
    return settled(deployment, people["ada"])


def test_it_serves(app):
    assert (app["state"], app["release"], app["failure"]) == ("ready", 1, None)


def test_people_with_access_use_the_api_and_others_do_not(deployment, people, app):
    x = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    answers = {name: infer(deployment, token, app["api_url"], x) for name, token in people.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == {"ada": 200, "bob": 200, "eve": 403}
    assert infer(deployment, None, app["api_url"], x).status_code == 401
    assert isinstance(answers["eve"].json()["error"], str)


def test_triton_client_with_the_second_persons_token(deployment, people, app):
    address = app["url"].removeprefix("http://").rstrip("/")
    headers = {"Authorization": f"Bearer {people['bob']}"}
    client = triton.InferenceServerClient(address)
    assert client.is_server_ready(headers=headers)
    assert client.is_model_ready(NAME, headers=headers)
    assert client.get_model_metadata(NAME, headers=headers)["versions"] == ["1"]
    x = np.random.default_rng(1).random((2, 1, 28, 28), np.float32)
    tensor = triton.InferInput("input", x.shape, "FP32")
    tensor.set_data_from_numpy(x, binary_data=True)
    got = client.infer(NAME, [tensor], headers=headers).as_numpy("probabilities")
    assert got.shape == (2, 10)
    client.close()


def test_signed_out_the_link_leads_to_sign_in(app):
    answer = patiently.get(app["url"], headers={"Accept": "text/html"}, follow_redirects=True)
    assert answer.url.path == "/hub/login"


def test_each_person_sees_the_apps_they_may_open(deployment, people, app):
    names = {
        person: [each["name"] for each in api(deployment, token, "GET", "apps").json()]
        for person, token in people.items()
    }
    assert names == {"ada": [NAME], "bob": [NAME], "eve": []}
    seen = api(deployment, people["bob"], "GET", f"apps/{NAME}").json()
    assert "access" not in seen
    assert "releases" not in seen
    assert api(deployment, people["eve"], "GET", f"apps/{NAME}").status_code == 404


def test_others_cannot_change_it(deployment, people, app):
    taken = publish(deployment, people["bob"])
    assert taken.status_code == 409
    assert taken.json()["error"]["what"] == "The name 'digits' is taken by an app of ada."
    for method, path in (("DELETE", ""), ("POST", "/rollback"), ("PUT", "/access")):
        refused = api(deployment, people["bob"], method, f"apps/{NAME}{path}", language="zh-CN", json="me")
        assert refused.status_code == 403
        assert refused.json()["error"]["remedy"] == "只有其发布者或管理员可以更改。"


def test_a_release_that_does_not_fit_changes_nothing(deployment, people, app):
    wrong = publish(deployment, people["ada"], model=brightness_model())
    assert wrong.status_code == 400
    assert "there are 10 class names" in wrong.json()["error"]["what"]
    unknown = publish(deployment, people["ada"], access={"users": ["nobody-here"]})
    assert unknown.status_code == 404
    assert "'nobody-here'" in unknown.json()["error"]["what"]
    assert api(deployment, people["ada"], "GET", f"apps/{NAME}").json()["releases"] == [1]


def test_killed_the_server_comes_back(deployment, people, app):
    process = server_process(deployment)
    children = process.children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    x = np.zeros((1, 1, 28, 28), np.float32)

    def answers():
        again = server_process(deployment)
        return again and again.pid != process.pid and infer(deployment, people["ada"], app["api_url"], x).is_success

    wait_for(answers, 90, "the app answers again")
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "its page or kernels outlived it"


def test_a_sleeping_app_wakes_on_a_visit(deployment, people, app):
    deployment.stop_server(f"app-{NAME}")
    x = np.zeros((1, 1, 28, 28), np.float32)
    refused = infer(deployment, people["eve"], app["api_url"], x)
    assert refused.status_code == 403
    browser = {"Authorization": f"Bearer {people['bob']}", "Accept": "text/html"}
    opening = patiently.get(f"{deployment.url}/services/apps/open/{NAME}", headers=browser)
    assert opening.status_code == 200
    assert "The app “Handwritten digits” is starting" in opening.text
    waking = infer(deployment, people["bob"], app["api_url"], x)
    assert waking.status_code in (200, 503)
    if waking.status_code == 503:
        assert waking.headers["retry-after"]
        assert waking.json()["error"] == "The app 'digits' is starting. Try again in a moment."
    wait_for(lambda: infer(deployment, people["bob"], app["api_url"], x).is_success, 90, "the app is awake")
    opened = patiently.get(f"{deployment.url}/services/apps/open/{NAME}", headers=browser)
    assert (opened.status_code, opened.headers["location"]) == (307, f"/user/app-{NAME}/")


def test_the_next_release_and_back(deployment, people, app):
    classes = ["dark", "middling", "bright"]
    answer = publish(deployment, people["ada"], model=brightness_model(), title="Brightness", class_names=classes)
    assert answer.status_code == 202, answer.text
    assert settled(deployment, people["ada"])["release"] == 2
    bright = infer(deployment, people["bob"], app["api_url"], np.ones((1, 1, 28, 28), np.float32)).json()
    assert bright["model_version"] == "2"
    assert np.argmax(bright["outputs"][0]["data"]) == 2
    assert api(deployment, people["ada"], "POST", f"apps/{NAME}/rollback", json={}).status_code == 202
    back = settled(deployment, people["ada"])
    assert (back["release"], back["title"]) == (1, "Handwritten digits")


def test_a_release_that_does_not_start_leaves_the_one_before(deployment, people, app):
    answer = publish(deployment, people["ada"], model=unknown_operator_model(), title="Broken", language="zh-CN")
    assert answer.status_code == 202, answer.text
    kept = settled(deployment, people["ada"])
    assert (kept["state"], kept["release"], kept["title"]) == ("ready", 1, "Handwritten digits")
    assert kept["failure"]["release"] == kept["releases"][-1]
    assert kept["failure"]["what"] == f"应用“digits”的版本 {kept['releases'][-1]} 无法启动。", (
        "in its publisher's language"
    )
    assert "NoSuchOperator" in kept["failure"]["log"]
    x = np.zeros((1, 1, 28, 28), np.float32)
    assert infer(deployment, people["bob"], app["api_url"], x).json()["model_version"] == "1"


def test_a_start_that_is_cut_off_is_taken_up_again(deployment, people, app):
    assert publish(deployment, people["ada"], title="Cut off").status_code == 202
    deployment.wait_back("apps", deployment.kill("apps"))
    wait_for(lambda: api(deployment, people["ada"], "GET", "apps").is_success, 60, "the service is back")
    again = settled(deployment, people["ada"])
    assert (again["state"], again["failure"]) == ("ready", None)
    x = np.zeros((1, 1, 28, 28), np.float32)
    assert infer(deployment, people["ada"], app["api_url"], x).json()["model_version"] == str(again["release"])


def test_a_notebooks_own_token_calls_the_apps_of_its_owner(deployment, people, app):
    token = sign_in(deployment, "bob").environment["JUPYTERHUB_API_TOKEN"]
    x = np.zeros((1, 1, 28, 28), np.float32)
    assert infer(deployment, token, app["api_url"], x).status_code == 200
    assert deployment.request("GET", "/users/ada", token=token).status_code in (403, 404)
    deployment.stop_server("bob")


def test_access_taken_away_is_taken_at_once_for_new_requests(deployment, people, app):
    changed = api(deployment, people["ada"], "PUT", f"apps/{NAME}/access", json="everyone")
    assert changed.json()["access"] == {"users": [], "groups": ["everyone"]}
    x = np.zeros((1, 1, 28, 28), np.float32)
    wait_for(lambda: infer(deployment, people["eve"], app["api_url"], x).is_success, 60, "eve has access")
    api(deployment, people["ada"], "PUT", f"apps/{NAME}/access", json="me")
    wait_for(lambda: infer(deployment, people["bob"], app["api_url"], x).status_code == 403, 60, "bob has none")
    assert infer(deployment, people["ada"], app["api_url"], x).status_code == 200


def test_unpublishing_removes_everything_but_keeps_the_releases(deployment, people, app):
    process = server_process(deployment)
    assert api(deployment, people["ada"], "DELETE", f"apps/{NAME}").status_code == 204
    wait_for(lambda: not process.is_running(), 30, "the server has ended")
    assert deployment.request("GET", f"/users/app-{NAME}").status_code == 404
    assert api(deployment, people["ada"], "GET", "apps").json() == []
    folder = deployment.settings.apps_dir
    assert not (folder / NAME).exists()
    archived = list((folder / ".unpublished").glob(f"{NAME}-*/releases/*/model.onnx"))
    assert len(archived) == 4
