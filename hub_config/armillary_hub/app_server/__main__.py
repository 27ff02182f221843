"""``python -m armillary_hub.app_server``: what the hub's spawner starts for ``app-<name>``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from armillary_kernels.connection import Connection
from armillary_kernels.errors import ArmillaryError
from armillary_kernels.release import MODEL, Release
from jupyterhub.services.auth import HubOAuth
from starlette.applications import Starlette

from armillary_hub.app_server.activity import Activity
from armillary_hub.app_server.application import application
from armillary_hub.app_server.endpoint import Endpoint
from armillary_hub.app_server.environment import AppEnvironment
from armillary_hub.app_server.gpu import GpuWait
from armillary_hub.app_server.model import OnnxModel
from armillary_hub.app_server.page_process import PageProcess
from armillary_hub.app_server.processes import hide_from_own_account
from armillary_hub.app_server.waiting import Door, waiting_application
from armillary_hub.web.identity import CACHE_SECONDS
from armillary_hub.web.reverse_proxy import ReverseProxy
from armillary_hub.web.server import configure_logging, uvicorn_options
from armillary_hub.web.sign_in import SignIn

log = logging.getLogger("armillary.app")


class _Server(uvicorn.Server):
    """A server that leaves signals to the main one."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def unix_listener(path: Path) -> socket.socket:
    """Return a listening Unix socket that only this account may open."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(128)
    return listener


async def serve_app(place: AppEnvironment) -> None:
    """Serve a release until SIGTERM.

    Raises
    ------
    ArmillaryError
        When the release cannot be read or its model cannot be loaded.
    """
    release = Release.read(place.release_dir)
    auth = HubOAuth(cache_max_age=CACHE_SECONDS)
    sign_in = SignIn(auth.base_url, lambda: auth)
    door = Door()
    server = uvicorn.Server(
        uvicorn.Config(door, host=place.host, port=place.port, **{**uvicorn_options(), "lifespan": "off"})
    )
    serving: asyncio.Task[None] | None = None
    if release.gpus:
        serving = await _wait_for_gpu(place, release, sign_in, door, server)
        if serving is not None and serving.done():
            return
    model = await asyncio.to_thread(OnnxModel, place.release_dir / MODEL, on_gpu=bool(release.gpus))
    activity = Activity(place.activity_url, auth.api_token)
    endpoint = Endpoint(model, release.name, str(release.number), activity.used)
    proxy = ReverseProxy("http://page", unix_socket=place.page_socket)
    public = application(release, endpoint, PageProcess(place), proxy, sign_in, activity)
    kernels = _Server(uvicorn.Config(Starlette(routes=[*endpoint.routes()]), **uvicorn_options()))
    async with public.router.lifespan_context(public):
        with contextlib.closing(unix_listener(place.endpoint_socket)) as listener:
            beside = [
                asyncio.create_task(kernels.serve(sockets=[listener])),
                asyncio.create_task(activity.report()),
            ]
            log.info("Serving %s, release %s, on %s:%s", release.name, release.number, place.host, place.port)
            door.open_to(public)
            await (serving or server.serve())
            kernels.should_exit = True
            beside[1].cancel()
            await asyncio.gather(*beside, return_exceptions=True)
    place.endpoint_socket.unlink(missing_ok=True)


async def _wait_for_gpu(
    place: AppEnvironment, release: Release, sign_in: SignIn, door: Door, server: uvicorn.Server
) -> asyncio.Task[None] | None:
    """Lease a GPU for this process; who visits meanwhile is told at which place the app stands.

    Returns
    -------
    asyncio.Task or None
        The server, if it had to be started to tell that; it has ended if the app was stopped meanwhile.
    """
    connection = Connection.from_environment()
    if connection is None:
        raise ArmillaryError("The environment does not say where the GPU pool is.", "The hub starts this program.")
    wait = GpuWait(connection, release.title, place.gpu_wait)
    obtaining = asyncio.create_task(wait.obtain())
    asked = asyncio.create_task(wait.asked.wait())
    await asyncio.wait({obtaining, asked}, return_when=asyncio.FIRST_COMPLETED)
    serving = None
    if not obtaining.done():
        door.open_to(waiting_application(release, wait, sign_in))
        serving = asyncio.create_task(server.serve())
        await asyncio.wait({obtaining, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not obtaining.done():
        obtaining.cancel()
        await asyncio.gather(obtaining, return_exceptions=True)
        return serving
    lease = obtaining.result()
    if not lease.devices:
        raise ArmillaryError("This machine has no GPU.", "Publish the app without gpus.")
    log.info("%s has GPU %s", release.name, lease.devices)
    os.environ.update(lease.environment)
    return serving


def main() -> None:
    """Start the app's server in the environment that the hub made."""
    configure_logging()
    try:
        place = AppEnvironment.read()
        if place.has_own_account:
            hide_from_own_account()
        asyncio.run(serve_app(place))
    except (ArmillaryError, OSError, ValueError) as error:
        log.error("The app cannot start: %s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
