"""One app's server with a stand-in for the hub: for tests of the server and of its page alone."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.asgi import running
from support.deployment import wait_for
from support.fake_hub import FakeHub
from support.onnx_models import APPS
from support.ports import free_port

ROBOT = "app-digits"
ACCESS = f"access:servers!server={ROBOT}/"


@dataclass
class AppServer:
    """A running app and its hub."""

    url: str
    hub: FakeHub
    process: subprocess.Popen
    runtime_dir: Path
    hub_url: str


def write_release(folder: Path, model: bytes, about: dict, notebook: str = "image_classifier") -> None:
    """Write a release as the apps service does."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model)
    (folder / "release.json").write_text(json.dumps({"name": "digits", "owner": "ada", "number": 1, **about}))
    content = json.loads((APPS / f"{notebook}.ipynb").read_text())
    content["metadata"].update(title=about["title"], description=about.get("description", ""))
    (folder / "app.ipynb").write_text(json.dumps(content))


@contextlib.contextmanager
def app_server(base: Path, model: bytes, about: dict, notebook: str = "image_classifier", **variables: str):
    """Run an app's server for a release with this model, with more environment variables."""
    write_release(base / "release", model, about, notebook)
    for name in ("run", "home"):
        (base / name).mkdir(mode=0o700)
    hub = FakeHub()
    with running(hub.app) as hub_port, contextlib.ExitStack() as stack:
        prefix = f"/user/{ROBOT}/"
        url = f"http://127.0.0.1:{free_port()}{prefix}"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(base / "home"),
            "LANG": "C.UTF-8",
            "JUPYTERHUB_USER": ROBOT,
            "JUPYTERHUB_SERVICE_PREFIX": prefix,
            "JUPYTERHUB_SERVICE_URL": url,
            "JUPYTERHUB_API_TOKEN": "the-robots-own-secret",
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub_port}/hub/api",
            "JUPYTERHUB_ACTIVITY_URL": f"http://127.0.0.1:{hub_port}/hub/api/users/{ROBOT}/activity",
            "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{ROBOT}",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([ACCESS, f"access:servers!user={ROBOT}"]),
            "ARMILLARY_RELEASE": str(base / "release"),
            "JUPYTER_RUNTIME_DIR": str(base / "run"),
            **variables,
        }
        log = stack.enter_context((base / "server.log").open("wb"))
        command = [sys.executable, "-m", "armillary_hub.app_server"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        wait_for(lambda: httpx.get(f"{url}v2/health/live").status_code == 401, 60, "the app's server answers")
        yield AppServer(url, hub, process, base / "run", f"http://127.0.0.1:{hub_port}")
