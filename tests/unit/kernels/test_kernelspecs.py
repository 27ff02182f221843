"""Which kernels JupyterLab offers on which machine."""

import asyncio
import socket
import time

import pytest
from armillary_kernels.kernelspecs import PoolKernelSpecManager, is_possible
from support.gpu_pool import PoolProcess

ALWAYS = {"python-cpu", "python-torch", "python-tensorflow"}


def offered(names):
    return {name for name in names if name.startswith("python-")}


@pytest.mark.parametrize(
    ("memories", "more"),
    [
        ((), set()),
        ((2048,), set()),
        ((16384,), {"python-torch-share"}),
        ((16384, 16384), {"python-torch-share", "python-torch-2"}),
        (None, {"python-torch-share", "python-torch-2"}),
    ],
)
async def test_what_the_machine_can_never_serve_is_hidden(memories, more, monkeypatch):
    monkeypatch.setattr("armillary_kernels.kernelspecs._ask", lambda: memories)
    manager = PoolKernelSpecManager()
    assert offered(await manager.get_all_specs()) == ALWAYS | more
    assert manager.get_kernel_spec("python-torch-2").display_name == "Python (PyTorch, 2 GPUs)"


@pytest.mark.parametrize("config", [{"gpu_memory": "lots"}, {"gpu_memory": 4}, {"gpus": "two"}, None, []])
def test_a_wish_that_cannot_be_read_hides_neither_its_kernel_nor_the_others(config):
    assert is_possible({"kernel_provisioner": {"config": config}}, (16384,))


async def test_an_environment_without_the_pools_address_hides_nothing(tmp_path, monkeypatch):
    for name, value in PoolProcess(tmp_path).environment("ann").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ARMILLARY_POOL_URL")
    assert "python-torch-2" in await PoolKernelSpecManager().get_all_specs()


async def test_the_pool_says_what_there_is(tmp_path, monkeypatch):
    pool = PoolProcess(tmp_path, simulate_gpus=1)
    for name, value in pool.environment("ann").items():
        monkeypatch.setenv(name, value)
    assert "python-torch-2" in await PoolKernelSpecManager().get_all_specs(), (
        "a pool that does not answer hides nothing"
    )
    pool.start()
    try:
        assert offered(await PoolKernelSpecManager().get_all_specs()) == ALWAYS | {"python-torch-share"}
    finally:
        pool.kill()


async def test_a_pool_that_hangs_does_not_hang_the_server(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and answers nothing
        for name, value in PoolProcess(tmp_path).environment("ann").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("ARMILLARY_POOL_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("armillary_kernels.lease_client.TIMEOUT", 1.0)
        asking = asyncio.create_task(PoolKernelSpecManager().get_all_specs())
        await asyncio.sleep(0)
        begun = time.monotonic()
        await asyncio.sleep(0.01)
        assert time.monotonic() - begun < 0.5
        assert not asking.done()
        assert "python-torch-2" in await asking
