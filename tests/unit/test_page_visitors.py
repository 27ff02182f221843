"""Places for visitors of an app's page: who holds one, and whose is taken when all are."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from armillary_hub.app_server.page_visitors import FIRST_CONNECTION, Places

LONG_AGO = 10 * FIRST_CONNECTION


class Kernels:
    """Voilà's kernel manager, as far as places go."""

    def __init__(self):
        self.kernels = {}
        self.connections = {}
        self._pools = {"app.ipynb": []}
        self.notebook_data = {"app.ipynb": {"kernel_ids": set()}}

    def add(self, name, *, connections=0, idle=timedelta(0), preheated=False):
        args = {"env": {"VOILA_PREHEAT": str(preheated)}}
        self.kernels[name] = SimpleNamespace(last_activity=datetime.now(UTC) - idle, _launch_args=args)
        self.connections[name] = connections

    def starting(self, name):
        self.add(name, idle=LONG_AGO, preheated=True)
        self._pools["app.ipynb"].append(asyncio.get_running_loop().create_future())

    def warm(self, name):
        self.add(name, idle=LONG_AGO, preheated=True)
        self.notebook_data["app.ipynb"]["kernel_ids"].add(name)
        item = asyncio.get_running_loop().create_future()
        item.set_result({"kernel_id": name})
        self._pools["app.ipynb"].append(item)

    def list_kernel_ids(self):
        return list(self.kernels)

    def get_kernel(self, name):
        return self.kernels[name]

    def kernel_model(self, name):
        moment = self.kernels[name].last_activity.isoformat()
        return {"id": name, "connections": self.connections[name], "last_activity": moment}

    async def shutdown_kernel(self, name, now=False):
        await asyncio.sleep(0)
        del self.kernels[name]


@pytest.fixture
def kernels():
    return Kernels()


async def test_warm_kernels_take_no_place_and_are_fresh_when_they_are_given_out(kernels):
    kernels.warm("a")
    kernels.warm("b")
    with Places(kernels, 1).take() as free:
        assert free
        assert all(datetime.now(UTC) - each.last_activity < FIRST_CONNECTION for each in kernels.kernels.values())


async def test_kernels_that_start_for_the_pool_take_no_place_and_are_left_alone(kernels):
    kernels.starting("a")
    kernels.add("there", connections=1)
    with Places(kernels, 2).take() as free:
        assert free
    with Places(kernels, 1).take() as free:
        assert not free
    assert set(kernels.kernels) == {"a", "there"}


async def test_pages_that_open_at_the_same_time_share_the_places(kernels):
    places = Places(kernels, 2)
    with places.take() as first, places.take() as second, places.take() as third:
        assert (first, second, third) == (True, True, False)
    with places.take() as again:
        assert again


async def test_who_is_there_or_has_just_come_keeps_the_place(kernels):
    kernels.add("there", connections=1, idle=LONG_AGO)
    kernels.add("just come")
    with Places(kernels, 2).take() as free:
        assert not free
    assert set(kernels.kernels) == {"there", "just come"}


async def test_who_left_first_makes_room_first(kernels):
    kernels.add("there", connections=1, idle=2 * LONG_AGO)
    kernels.add("left later", idle=LONG_AGO)
    kernels.add("left first", idle=2 * LONG_AGO)
    places = Places(kernels, 3)
    with places.take() as first, places.take() as second, places.take() as third:
        assert (first, second, third) == (True, True, False)
        await asyncio.gather(*places._leaving.values())
    assert set(kernels.kernels) == {"there"}
