"""A real Jupyter server with the activity extension: a silent busy kernel does not look idle."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest
from armillary_kernels import activity
from support.gpu_pool import eventually
from support.ports import free_port
from websockets.sync.client import connect

TOKEN = "a-token-of-the-test"


@pytest.fixture
def server(tmp_path):
    port = free_port()
    launch = (
        "from armillary_kernels import activity; activity.INTERVAL = 0.1\n"
        "from jupyter_server.serverapp import main; main()"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", launch, f"--port={port}", "--port-retries=0", "--no-browser", "--allow-root"),
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={tmp_path}",
            '--ServerApp.jpserver_extensions={"armillary_kernels.activity": True}',
        ],
        env=os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "run"), "JUPYTER_CONFIG_DIR": str(tmp_path / "config")},
        stderr=(tmp_path / "log").open("wb"),
    )
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}/api/", headers={"Authorization": f"token {TOKEN}"}, trust_env=False
    )

    def answers():
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return client.get("status").is_success
        except httpx.TransportError:
            return False

    eventually(answers, within=60, what="the server")
    yield client
    client.close()
    process.terminate()
    process.wait(20)


def last_activity(server):
    return datetime.fromisoformat(server.get("status").json()["last_activity"])


def state(server, kernel):
    return server.get(f"kernels/{kernel}").json()["execution_state"]


def test_a_silent_busy_kernel_is_activity(server):
    kernel = server.post("kernels", json={"name": "python3"}, timeout=60).json()["id"]
    address = f"{server.base_url}kernels/{kernel}/channels".replace("http", "ws", 1)
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": "", "version": "5.4"}
    content = {"code": "import time; time.sleep(300)", "silent": False, "user_expressions": {}}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    with connect(address, additional_headers={"Authorization": f"token {TOKEN}"}) as socket:
        socket.send(json.dumps(message))
        eventually(lambda: state(server, kernel) == "busy")
    looked = datetime.now(UTC)
    eventually(lambda: last_activity(server) > looked, what="activity of the busy kernel")
    server.delete(f"kernels/{kernel}", timeout=60).raise_for_status()


def test_an_idle_kernel_is_none():
    class Kernel:
        execution_state = "idle"

    class Kernels:
        def list_kernel_ids(self):
            return ["1"]

        def get_kernel(self, _):
            return Kernel()

    class Server:
        kernel_manager = Kernels()

    assert not activity.is_busy(Server())
    Kernel.execution_state = "busy"
    assert activity.is_busy(Server())
