"""Kernels started through the hub's JupyterLab hold leases of the person who started them."""

import contextlib
import html
import json
import os
import re
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from armillary_hub.accounts.invitations import recovery_link
from support import device_files, patiently
from support.deployment import wait_for
from support.remote_kernel import SOCKET
from support.visitor import Visitor
from websockets.sync.client import connect


class Notebook:
    """A person's Jupyter server, used over its REST API as JupyterLab does."""

    def __init__(self, deployment, name):
        self.name = name
        self.url = deployment.start_server(name)
        self.headers = {"Authorization": f"Bearer {deployment.token(name)}"}
        self.pool = f"{deployment.url}/services/gpu-pool"

    def start_kernel(self, spec="python-torch"):
        answer = httpx.post(f"{self.url}api/kernels", headers=self.headers, json={"name": spec}, timeout=120)
        return answer.raise_for_status().json()["id"]

    def end_kernel(self, kernel):
        self._delete(kernel).raise_for_status()

    def end_killed_kernel(self, kernel):
        """End a kernel that Jupyter starts anew: while it does so, its server fails to delete the kernel."""
        wait_for(lambda: self._delete(kernel).status_code in (204, 404), 120, "the kernel is deleted")

    def _delete(self, kernel):
        return httpx.delete(f"{self.url}api/kernels/{kernel}", headers=self.headers, timeout=60)

    def restart_kernel(self, kernel):
        httpx.post(f"{self.url}api/kernels/{kernel}/restart", headers=self.headers, timeout=120).raise_for_status()

    def run(self, kernel, code, until=None):
        """Run a cell; return all that it showed, as one text, at its end or once ``until`` is shown."""
        address = f"{self.url}api/kernels/{kernel}/channels".replace("http", "ws", 1)
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex}
        header |= {"username": "", "version": "5.4"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        shown = ""
        with connect(address, additional_headers=self.headers, **SOCKET) as socket:
            socket.send(json.dumps(message))
            while True:
                answer = json.loads(socket.recv(timeout=60))
                if answer["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                content = answer["content"]
                shown += content.get("text", "") + "\n".join(
                    content.get("traceback", []) if answer["msg_type"] == "error" else []
                )
                shown += content.get("data", {}).get("text/plain", "")
                if until is not None and until in shown:
                    return shown
                if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                    return shown

    def books(self):
        return patiently.get(f"{self.pool}/", headers=self.headers).raise_for_status().json()

    def holders(self):
        return {index: lease["user"] for lease in self.books()["leases"] for index in lease["devices"]}


@pytest.fixture(params=["deployment", pytest.param("team_deployment", marks=pytest.mark.team)])
def running(request):
    return request.getfixturevalue(request.param)


def test_kernels_of_two_people_share_the_gpus(running):
    ada, ben = Notebook(running, "ada"), Notebook(running, "ben")
    wait_for(lambda: ada.holders() == {}, 30, "no GPU is held")
    assert {"python-torch", "python-tensorflow"} <= set(
        patiently.get(f"{ada.url}api/kernelspecs", headers=ada.headers).json()["kernelspecs"]
    )
    kernels = [(who, who.start_kernel(spec)) for who, spec in ((ada, "python-torch"), (ben, "python-tensorflow"))]
    assert ada.holders() == {0: "ada", 1: "ben"}
    for index, (who, kernel) in enumerate(kernels):
        code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.getpid(), os.getuid())"
        visible, pid, uid = who.run(kernel, code).split()
        assert (visible, int(pid)) == (str(index), _holder_of(who, who.name)["pid"])
        assert Path(f"/proc/{pid}").stat().st_uid == int(uid)
    waiting = ben.start_kernel()
    shown = ben.run(waiting, "1 + 1", until="GPU 1: you, since")
    assert "Waiting for a GPU: place 1 in the queue" in shown
    assert "GPU 0: ada, since" in shown
    assert "GPU 1: you, since" in shown
    seen = ada.run(kernels[0][1], "!armillary gpus"), running.armillary("gpus").stdout
    for text in seen:
        assert re.search(r"│ 0 .* (in use|idle) .* ada .* kernel", text), text
        assert re.search(r"│ 1 .* (in use|idle) .* ben .* kernel", text), text

    ben.end_kernel(waiting)  # else what ada's kernel leaves were ben's
    killed = _holder_of(ada, "ada")
    os.kill(killed["pid"], signal.SIGKILL)  # Jupyter starts it again: in time to keep the lease, or with a new one
    wait_for(lambda: _is_another_in_use(_holder_of(ada, "ada"), killed), 30, "ada's kernel is back on a lease")
    old = running.kill("gpu-pool")
    running.wait_back("gpu-pool", old)
    wait_for(lambda: httpx.get(f"{ada.pool}/health").status_code == 200, 60, "the pool answers")
    assert ada.holders() == {0: "ada", 1: "ben"}
    waiting = ben.start_kernel()
    ada.end_kernel(kernels[0][1])
    assert ben.run(waiting, "print(6 * 7)").strip() == "42"
    assert ben.holders() == {0: "ben", 1: "ben"}
    ben.end_kernel(waiting)
    ben.end_kernel(kernels[1][1])
    assert ben.holders() == {}


def test_a_killed_hub_leaves_leases_and_the_queue_alone(running):
    ada, ben = Notebook(running, "ada"), Notebook(running, "ben")
    wait_for(lambda: ada.holders() == {}, 30, "no GPU is held")
    kept, ended, waiting = ada.start_kernel(), ada.start_kernel(), ben.start_kernel()
    before = _lease_of(ada, "ada")
    with ThreadPoolExecutor() as aside:
        cell = aside.submit(ben.run, waiting, "print(6 * 7)", "42")
        old = running.kill("hub")
        ada.end_kernel(ended)
        assert "42" in cell.result(120), "its turn came, whether the hub was there or not"
        running.wait_back("hub", old)
    after = _lease_of(ada, "ada")
    stands = ("id", "since", "devices", "holder", "state")
    assert [after[name] for name in stands] == [before[name] for name in stands]
    assert ben.holders() == {0: "ada", 1: "ben"}
    queued = ada.start_kernel()
    assert "place 1 in the queue" in ada.run(queued, "1 + 1", until="GPU 1: ben, since")
    ben.end_kernel(waiting)
    assert ada.run(queued, "print(6 * 7)").strip() == "42"
    for kernel in (kept, queued):
        ada.end_kernel(kernel)


@pytest.mark.team
def test_linux_lets_a_kernel_open_its_own_gpu_only(team_deployment, tmp_path):
    ada, ben = Notebook(team_deployment, "ada"), Notebook(team_deployment, "ben")
    wait_for(lambda: ada.holders() == {}, 30, "no GPU is held")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    look = device_files.make(tmp_path, (0, 1)) + "look()"
    first, second, without = ada.start_kernel(), ben.start_kernel(), ben.start_kernel("python-cpu")
    assert ada.holders() == {0: "ada", 1: "ben"}
    assert ada.run(first, look).split() == ["ENXIO", "EPERM"], "the first is let through, though no GPU is there"
    assert ben.run(second, look).split() == ["EPERM", "ENXIO"]
    child = f"import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', {look!r}], text=True))"
    assert ada.run(first, child).split() == ["ENXIO", "EPERM"], "so it is for what a kernel starts"
    wait_for(lambda: ben.run(without, look).split() == ["EPERM", "EPERM"], 30, "who has no lease opens none")
    old = team_deployment.kill("gpu-pool")
    assert ada.run(first, look).split() == ["ENXIO", "EPERM"], "while there is no pool, too"
    team_deployment.wait_back("gpu-pool", old)
    wait_for(lambda: httpx.get(f"{ada.pool}/health").status_code == 200, 60, "the pool answers")
    ben.end_kernel(second)
    ada.restart_kernel(first)
    assert ada.run(first, look).split() == ["ENXIO", "EPERM"]
    ada.end_kernel(first)
    ben.end_kernel(without)


def _lease_of(notebook, user):
    return next((lease for lease in notebook.books()["leases"] if lease["user"] == user), None)


def _holder_of(notebook, user):
    lease = _lease_of(notebook, user)
    return lease and lease["holder"]


def _is_another_in_use(holder, than):
    return holder and holder["in_use"] and holder["pid"] != than["pid"]


def test_people_release_only_their_own_leases(running):
    ada, ben = Notebook(running, "ada"), Notebook(running, "ben")
    wait_for(lambda: ada.holders() == {}, 30, "no GPU is held")
    kernel = ada.start_kernel()
    lease = ada.books()["leases"][0]["id"]
    assert patiently.delete(f"{ben.pool}/leases/{lease}", headers=ben.headers).status_code == 404
    assert patiently.get(f"{ben.pool}/").status_code == 401
    assert ada.holders() == {0: "ada"}
    with admin_of(running) as admin:
        page = admin.get("/services/gpu-pool/").text
        assert "ada" in page
        release = html.unescape(re.search(r'action="([^"]+/release[^"]*)"', page)[1])
        assert admin.client.post(release.partition("?")[0]).status_code == 403, "the XSRF token is missing"
        assert ada.holders() == {0: "ada"}
        assert admin.client.post(release).status_code == 200
    ada.end_killed_kernel(kernel)
    wait_for(lambda: ada.holders() == {}, 30, "ada's kernel is gone")


@contextlib.contextmanager
def admin_of(deployment):
    name = f"admin{uuid.uuid4().hex[:8]}"
    deployment.add_user(name, admin=True)
    with Visitor(deployment.url) as visitor:
        visitor.accept(recovery_link(deployment.settings, name))
        yield visitor
    deployment.remove_user(name)
