"""Publishing and calling an app on a real deployment."""

import httpx
import psutil

from support.deployment import wait_for
from support.onnx_models import digits_model, release, upload

NAME = "digits"


def api(deployment, token, method, path, language="en", **options):
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": language}
    address = f"{deployment.url}/services/apps/api/{path}"
    return httpx.request(method, address, headers=headers, timeout=60, **options)


def publish(deployment, token, name=NAME, model=None, access=None, language="en", **about):
    files = upload(model or digits_model(), release(**about), access)
    return api(deployment, token, "POST", f"apps/{name}/releases", language, files=files)


def settled(deployment, token, name=NAME):
    def ready():
        app = api(deployment, token, "GET", f"apps/{name}").json()
        return app if app["state"] != "starting" else None

    return wait_for(ready, 150, f"app {name} serves")


def server_process(deployment, name=NAME):
    """Return the process of an app's server."""
    named = {"JUPYTERHUB_USER": f"app-{name}", "ARMILLARY_DEPLOYMENT": str(deployment.home)}
    for process in psutil.process_iter(["cmdline", "environ"]):
        is_server = "armillary_hub.app_server" in (process.info["cmdline"] or [])
        if is_server and named.items() <= (process.info["environ"] or {}).items():
            return process
    return None


def infer(deployment, token, url, x):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = {
        "inputs": [{"name": "input", "datatype": "FP32", "shape": list(x.shape), "data": x.reshape(-1).tolist()}],
    }
    return httpx.post(f"{url}/infer", json=body, headers=headers, timeout=30)
