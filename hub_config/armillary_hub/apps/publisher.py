"""Publishing, rolling back and unpublishing: the steps, in an order that never leaves an app half-changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from typing import Any, BinaryIO

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.release import MODEL, NOTEBOOK, Release
from armillary_kernels.texts import translator
from starlette.concurrency import run_in_threadpool

from armillary_hub.apps.access import Access
from armillary_hub.apps.database import App, Database
from armillary_hub.apps.hub_client import HubAway, HubClient
from armillary_hub.apps.owner import AppOwner
from armillary_hub.apps.release_store import ReleaseStore
from armillary_hub.apps.uploads import Upload
from armillary_hub.log_files import last_lines
from armillary_hub.settings import Settings
from armillary_hub.web.errors import WebError

_ = translator(__file__)

log = logging.getLogger("armillary.apps")

#: Lines of an app's own log that a failure shows.
_LOG_TAIL = 30


class Publisher:
    """Changes apps, one step after the other for each app."""

    def __init__(self, settings: Settings, database: Database, store: ReleaseStore, hub: HubClient) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._hub = hub
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()

    def busy(self, name: str) -> bool:
        """Return whether an app is being changed, or is about to be."""
        return self._locks[name].locked() or any(task.get_name() == name for task in self._tasks)

    async def close(self) -> None:
        """Wait for changes under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What people ask for ---------------------------------------------------------------------------------

    async def publish(self, upload: Upload) -> App:
        """Save a release and start it; returns at once, with the app ``starting``.

        Raises
        ------
        WebError
            409 when the name belongs to somebody else, 404 for unknown people, 422 for a GPU that cannot be used, 507
            for a full disk.
        """
        name, owner = upload.release.name, upload.release.owner
        if upload.release.gpus and not self._settings.simulate_gpus:
            await run_in_threadpool(_require_gpu_runtime)
        async with self._locks[name]:
            app = self._own(name, owner)
            if upload.access is not None:
                await self._check_known(upload.access)
            files: dict[str, BinaryIO | bytes] = {MODEL: upload.model, NOTEBOOK: upload.notebook}
            release = await run_in_threadpool(self._store.save, upload.release, files)
            app = self._entered(app, release, upload.access)
        self._begin(name, release.number)
        return app

    async def rollback(self, name: str, number: int | None) -> App:
        """Let an earlier release serve again (default: the one before the current one).

        Raises
        ------
        WebError
            404 when there is no such release.
        """
        app = self.existing(name)
        numbers = self._store.numbers(name)
        chosen = max((n for n in numbers if n < app.release), default=0) if number is None else number
        if chosen not in numbers:
            known = ", ".join(str(n) for n in numbers)
            what = _("App '{name}' has no release before the current one.", name=name)
            if chosen:
                what = _("App '{name}' has no release {n}.", name=name, n=chosen)
            raise WebError(404, what, _("Known: {releases}.", releases=known))
        app = self._database.update(name, state="starting", failure=None) or app
        self._begin(name, chosen)
        return app

    async def change_access(self, name: str, access: Access) -> App:
        """Let exactly these people and groups, and the owner, open the app from now on."""
        async with self._locks[name]:
            app = self.existing(name)
            await self._check_known(access)
            await self._hub.share(app.robot, _with_owner(access, app.owner))
            return self._database.update(name, access=access.model_dump(mode="json")) or app

    async def unpublish(self, name: str) -> None:
        """Stop an app and remove its account and everybody's access; its releases are kept out of the way."""
        async with self._locks[name]:
            app = self.existing(name)
            await self._hub.stop(app.robot)
            await self._hub.remove_robot(app.robot)
            await run_in_threadpool(self._store.archive, name)
            self._database.delete(name)

    def resume(self, app: App) -> None:
        """Take up again a change that the end of this service cut off, from the release that the app's link names."""
        newest = max(self._store.numbers(app.name), default=0)
        self._begin(app.name, self._store.current(app.name) or newest)

    async def wake(self, name: str) -> bool:
        """Start an app that does not run; returns whether it answers."""
        if self.busy(name):
            return False
        async with self._locks[name]:
            app = self.existing(name)
            await self._note_owner(app)
            return await self._hub.start(app.robot)

    async def put_to_sleep(self, name: str) -> None:
        """Stop an app's server until the next visit."""
        async with self._locks[name]:
            await self._hub.stop(self.existing(name).robot)

    def has_gpu(self, app: App) -> bool:
        """Return whether an app's current release leases a GPU."""
        try:
            return bool(self._store.read(app.name, app.release).gpus)
        except (OSError, ValueError, ArmillaryError):  # damaged, perhaps by its own code
            return False

    def existing(self, name: str) -> App:
        """Return an app.

        Raises
        ------
        WebError
            404 when there is none.
        """
        if app := self._database.get(name):
            return app
        what = _("There is no app '{name}'.", name=name)
        raise WebError(404, what, _("See the Apps page for those that you may open."))

    # Steps -----------------------------------------------------------------------------------------------

    def _own(self, name: str, owner: str) -> App | None:
        app = self._database.get(name)
        if app is not None and app.owner != owner:
            what = _("The name '{name}' is taken by an app of {owner}.", name=name, owner=app.owner)
            raise WebError(409, what, _("Choose another name."))
        return app

    def _entered(self, app: App | None, release: Release, access: Access | None) -> App:
        values = {"title": release.title, "description": release.description, "state": "starting", "failure": None}
        given = {} if access is None else {"access": access.model_dump(mode="json")}
        if app is None:
            default = {"access": Access().model_dump(mode="json")}
            self._database.put(App(name=release.name, owner=release.owner, **{**default, **values, **given}))
        else:
            self._database.update(release.name, **values, **given)
        return self.existing(release.name)

    async def _check_known(self, access: Access) -> None:
        if unknown := await self._hub.unknown(access):
            listed = ", ".join(f"'{name}'" for name in unknown)
            what = _("The hub knows nobody called {names}.", names=listed)
            raise WebError(404, what, _("Check the names of people and groups."))

    def _begin(self, name: str, number: int) -> None:
        task = asyncio.create_task(self._serve(name, number), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, name: str, number: int) -> None:
        async with self._locks[name]:
            app = self._database.get(name)
            if app is None:  # unpublished meanwhile
                return
            try:
                await self._serve_or_go_back(app, number)
            except HubAway:
                log.warning("The hub went away while %s started; `resume` takes it up when the hub is back", name)

    async def _serve_or_go_back(self, app: App, number: int) -> None:
        """Let a release serve; when it does not start, the one before serves again."""
        failure = await self._attempt(app, number)
        if failure is None:
            self._serves(app.name, number)
        elif app.release and await self._attempt(app, app.release) is None:
            self._serves(app.name, app.release, {"release": number, **failure})
        else:
            self._database.update(app.name, state="failed", failure={"release": number, **failure})

    async def _attempt(self, app: App, number: int) -> dict[str, str] | None:
        """Start a release; returns what went wrong, or None. Only the hub's absence is left to the caller."""
        try:
            return await self._switch(app, number)
        except HubAway:
            raise
        except ArmillaryError as error:
            return {"what": error.what, "remedy": error.remedy, "log": ""}
        except Exception as error:
            log.exception("Release %s of %s cannot be started", number, app.name)
            what = _("Release {n} could not be started: {error}.", n=number, error=error)
            return {"what": what, "remedy": "", "log": ""}

    def _serves(self, name: str, number: int, failure: dict[str, Any] | None = None) -> None:
        """Note which release serves, and what became of the one that should have served instead of it."""
        about = {}
        with contextlib.suppress(OSError, ValueError):  # the app's own code may have damaged it
            release = self._store.read(name, number)
            about = {"title": release.title, "description": release.description}
        self._database.update(name, release=number, state="ready", failure=failure, **about)

    async def _switch(self, app: App, number: int) -> dict[str, str] | None:
        """Start a release; returns what went wrong, or None."""
        await self._hub.add_robot(app.robot)
        # First of all, for what is cut off here goes on with the release that the link names (`resume`).
        await run_in_threadpool(self._store.activate, app.name, number)
        await self._hub.stop(app.robot)
        await self._note_owner(app)
        if not await self._hub.start(app.robot):
            what = _("Release {n} of app '{name}' does not start.", n=number, name=app.name)
            return {"what": what, "remedy": _("Its log says why."), "log": self.log_tail(app)}
        await self._hub.share(app.robot, _with_owner(Access.parse(app.access), app.owner))
        return None

    async def _note_owner(self, app: App) -> None:
        """Write down whose quota an app's GPU counts for, where the app itself cannot change it."""
        owner = AppOwner(app.owner, await self._hub.groups(app.owner))
        await run_in_threadpool(owner.write, self._settings.apps_dir, app.robot)

    def log_tail(self, app: App) -> str:
        """Return the last lines that an app's server wrote."""
        folder = self._settings.runtime_dir(app.robot)
        # The app's code may have put a link to a file of root's there, for its owner to read here.
        owner = folder.stat().st_uid if folder.exists() else None
        return last_lines(folder / "server.log", _LOG_TAIL, owner=owner)


def _require_gpu_runtime() -> None:
    from armillary_hub.app_server.model import can_use_gpu  # a large library, which little needs

    if not can_use_gpu():
        what = _("This machine's ONNX Runtime cannot use a GPU.")
        raise WebError(422, what, _("Publish without gpus, or ask an admin to install onnxruntime-gpu."))


def _with_owner(access: Access, owner: str) -> Access:
    return Access(users=tuple({*access.users, owner}), groups=access.groups)
