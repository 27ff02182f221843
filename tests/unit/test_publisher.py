"""Starting releases while the hub comes and goes, with a stand-in for the hub."""

import io

import pytest
from armillary_hub.apps.database import Database
from armillary_hub.apps.hub_client import HubAway
from armillary_hub.apps.publisher import Publisher
from armillary_hub.apps.release_store import ReleaseStore
from armillary_hub.apps.uploads import Upload
from armillary_hub.apps.watcher import Watcher
from armillary_hub.settings import Settings
from armillary_hub.web.errors import WebError
from armillary_kernels.release import Release
from support.onnx_models import release


class Hub:
    """Starts servers of releases, but for those in ``broken``; while ``away`` it answers nothing."""

    def __init__(self, folder):
        self.folder = folder
        self.away = False
        self.broken = set()
        self.serving = 0

    def answer(self):
        if self.away:
            raise HubAway

    async def add_robot(self, robot):
        self.answer()

    async def server(self, robot):
        self.answer()
        return {"ready": bool(self.serving)}

    async def stop(self, robot):
        self.answer()
        self.serving = 0

    async def start(self, robot):
        self.answer()
        number = int((self.folder / "digits" / "current").readlink().name)
        self.serving = 0 if number in self.broken else number
        return bool(self.serving)

    async def groups(self, person):
        self.answer()
        return ()

    async def share(self, robot, access):
        self.answer()


class Service:
    """The apps service without its pages."""

    def __init__(self, folder):
        settings = Settings(folder)
        settings.make_folders()
        self.database = Database(settings.database_url("apps"))
        self.hub = Hub(settings.apps_dir)
        self.publisher = Publisher(settings, self.database, ReleaseStore(settings.apps_dir, team=False), self.hub)
        self.watcher = Watcher(settings, self.database, self.hub, self.publisher)

    async def publish(self, title, **values):
        about = Release.model_validate({**release(title=title, **values), "name": "digits", "owner": "ada"})
        await self.publisher.publish(Upload(about, None, io.BytesIO(b"model"), b"{}"))
        return await self.settled()

    async def settled(self):
        await self.publisher.close()
        return self.publisher.existing("digits")


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path / "home")


async def test_a_release_that_does_not_start_leaves_the_one_before(service):
    assert (await service.publish("One")).state == "ready"
    service.hub.broken = {2}
    kept = await service.publish("Two")
    assert (kept.state, kept.release, kept.title, service.hub.serving) == ("ready", 1, "One", 1)
    assert kept.failure["what"] == "Release 2 of app 'digits' does not start."
    assert (await service.publish("Three")).failure is None


async def test_a_first_release_that_does_not_start_has_failed(service):
    service.hub.broken = {1}
    app = await service.publish("One")
    assert (app.state, app.release, app.failure["release"]) == ("failed", 0, 1)


async def test_what_the_hubs_absence_cut_off_goes_on_when_it_is_back(service):
    service.hub.away = True
    assert (await service.publish("One")).state == "starting"
    await service.watcher._look()
    assert (await service.settled()).state == "starting"
    service.hub.away = False
    await service.watcher._look()
    app = await service.settled()
    assert (app.state, app.release, service.hub.serving) == ("ready", 1, 1)


async def test_an_app_that_is_unpublished_meanwhile_is_not_started(service):
    await service.publish("One")
    service.publisher._begin("digits", 1)
    service.database.delete("digits")
    service.hub.serving = 0
    await service.publisher.close()
    assert service.hub.serving == 0


async def test_a_gpu_that_onnx_runtime_cannot_use_is_refused_before_anything_is_written(service, monkeypatch):
    monkeypatch.setattr("armillary_hub.app_server.model.can_use_gpu", lambda: False)
    with pytest.raises(WebError, match="This machine's ONNX Runtime cannot use a GPU") as refusal:
        await service.publish("One", gpus=1)
    assert refusal.value.status == 422
    assert service.database.get("digits") is None
    assert (await service.publish("One")).state == "ready"
