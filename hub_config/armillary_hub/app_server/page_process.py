"""Keeping the page's process running, without tokens in its environment."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping

from armillary_kernels.gpu_environment import NO_GPU

from armillary_hub.app_server.environment import AppEnvironment

log = logging.getLogger("armillary.app")

#: Nothing else of the server's environment reaches the page and its kernels.
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("ARMILLARY_LANGUAGE", "ARMILLARY_DEPLOYMENT", "JUPYTER_RUNTIME_DIR"),
)

_LONGEST_PAUSE = 30.0
#: A page that ran this many seconds is started again at once.
_STEADY = 60.0


def page_environment(own: Mapping[str, str], environment: AppEnvironment) -> dict[str, str]:
    """Return the environment for the page and its kernels."""
    passed = {name: value for name, value in own.items() if name in _PASSED_ON}
    return {
        **passed,
        "ARMILLARY_RELEASE": str(environment.release_dir),
        "ARMILLARY_ENDPOINT_SOCKET": str(environment.endpoint_socket),
        # A kernel only passes values on: the arithmetic, and the GPU, are the server's.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        **NO_GPU,
    }


class PageProcess:
    """The page's process, started again whenever it ends."""

    def __init__(self, environment: AppEnvironment) -> None:
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    def start(self) -> None:
        """Start it and keep it running."""
        self._keeper = asyncio.create_task(self._keep())

    async def wait_ready(self, seconds: float) -> bool:
        """Return whether it answers within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End it, its kernels included."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 8)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _keep(self) -> None:
        pause = 1.0
        while True:
            started = time.monotonic()
            try:
                how = f"code {await self._run_once()}"
            except OSError as error:  # too many processes, for one
                how = str(error)
            pause = 1.0 if time.monotonic() - started > _STEADY else min(2 * pause, _LONGEST_PAUSE)
            log.error("The page ended with %s; it starts again in %.0f s.", how, pause)
            await asyncio.sleep(pause)

    async def _run_once(self) -> int:
        """Start it, note when it answers, and return its exit code when it has ended."""
        self._process = await self._started()
        noticed = asyncio.create_task(self._notice_ready())
        try:
            return await self._process.wait()
        finally:
            noticed.cancel()
            self._ready.clear()

    async def _started(self) -> asyncio.subprocess.Process:
        place = self._environment
        place.page_socket.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "armillary_hub.app_server.page"]
        paths = [place.prefix, str(place.release_dir), str(place.page_socket)]
        arguments = [str(os.getpid()), *paths, str(place.most_visitors)]
        return await asyncio.create_subprocess_exec(
            *command, *arguments, env=page_environment(os.environ, place), stdin=asyncio.subprocess.DEVNULL
        )

    async def _notice_ready(self) -> None:
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(str(self._environment.page_socket))
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                self._ready.set()
                return
