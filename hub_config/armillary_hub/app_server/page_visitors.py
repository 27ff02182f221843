"""How many visitors' kernels a page may have, and the answer to one visitor too many.

Each visitor's page has a kernel of its own. One that its visitor has left makes room at once; else Voilà keeps it for
a while, for a page that has only lost its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from armillary_kernels.texts import language_of, translator
from voila.tornado.handler import TornadoVoilaHandler
from voila.utils import ENV_VARIABLE

from armillary_hub.web.pages import render_error

_ = translator(__file__)

#: Time that the browser of a visitor has for its first connection to the kernel, or for one after a lost one.
FIRST_CONNECTION = timedelta(seconds=20)


class Places:
    """The kernels that belong to visitors, and not to the pool of warm ones.

    Parameters
    ----------
    manager
        Voilà's kernel manager.
    most
        Places for visitors.
    """

    def __init__(self, manager: Any, most: int) -> None:
        self._manager = manager
        self._most = most
        self._opening = 0
        self._leaving: dict[str, asyncio.Task[None]] = {}

    @contextlib.contextmanager
    def take(self) -> Iterator[bool]:
        """Keep a place while a page opens; its kernel then holds it. Gives False when there is none."""
        if len(self._visitors()) + self._opening >= self._most and not self._make_room():
            yield False
            return
        self._opening += 1
        # The visitor's kernel may have waited for longer than an idle one is kept.
        for kernel_id in self._warm():
            self._manager.get_kernel(kernel_id).last_activity = datetime.now(UTC)
        try:
            yield True
        finally:
            self._opening -= 1

    def _visitors(self) -> set[str]:
        others = set(self._manager.list_kernel_ids()) - self._warm() - set(self._leaving)
        return {kernel_id for kernel_id in others if not self._becomes_warm(kernel_id)}

    def _becomes_warm(self, kernel_id: str) -> bool:
        """Return whether it is still starting for the pool, which has no name for it until it has started."""
        started = any(kernel_id in notebook["kernel_ids"] for notebook in self._manager.notebook_data.values())
        env = self._manager.get_kernel(kernel_id)._launch_args["env"]  # jupyter_client keeps it for a restart
        return not started and env[ENV_VARIABLE.VOILA_PREHEAT] == "True"

    def _warm(self) -> set[str]:
        pools = getattr(self._manager, "_pools", {})  # Voilà has no public name for it
        warm = (item for pool in pools.values() for item in pool if item.done() and not item.cancelled())
        return {item.result()["kernel_id"] for item in warm if item.exception() is None}

    def _make_room(self) -> bool:
        """Begin to end the kernel that was left first; returns False when every visitor is there."""
        latest = datetime.now(UTC) - FIRST_CONNECTION
        models = [self._manager.kernel_model(kernel_id) for kernel_id in self._visitors()]
        left = [model for model in models if not model["connections"] and _moment(model) < latest]
        if not left:
            return False
        kernel_id = min(left, key=_moment)["id"]
        self._leaving[kernel_id] = asyncio.create_task(self._end(kernel_id))
        return True

    async def _end(self, kernel_id: str) -> None:
        try:
            await self._manager.shutdown_kernel(kernel_id, now=True)
        finally:
            del self._leaving[kernel_id]


def _moment(model: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(model["last_activity"])


class VisitorHandler(TornadoVoilaHandler):
    """Voilà's page, for as many visitors as there are places."""

    def initialize(self, places: Places, **kwargs: Any) -> None:
        """Take what Voilà gives its own handler, and the places."""
        super().initialize(**kwargs)
        self._places = places

    async def get(self, path: str | None = None) -> None:
        """Open a page with a kernel of its own, or say that there is no place."""
        with self._places.take() as free:
            if free:
                await super().get(path)
            else:
                self._refuse()

    def _refuse(self) -> None:
        language = language_of(self.request.headers.get("Accept-Language"))
        what = _("All places in this app are taken.", language=language)
        remedy = _("Try again in a few minutes, when somebody has left.", language=language)
        self.set_status(503)
        self.set_header("Retry-After", "60")
        self.set_header("Cache-Control", "no-store")
        self.finish(render_error(503, what, remedy, identity=None, language=language))
