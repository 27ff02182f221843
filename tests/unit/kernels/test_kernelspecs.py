"""Which kernels JupyterLab offers on which machine."""

import pytest
from armillary_kernels.kernelspecs import PoolKernelSpecManager
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
def test_what_the_machine_can_never_serve_is_hidden(memories, more, monkeypatch):
    monkeypatch.setattr("armillary_kernels.kernelspecs._ask", lambda: memories)
    manager = PoolKernelSpecManager()
    assert offered(manager.get_all_specs()) == ALWAYS | more
    assert manager.get_kernel_spec("python-torch-2").display_name == "Python (PyTorch, 2 GPUs)"


def test_the_pool_says_what_there_is(tmp_path, monkeypatch):
    pool = PoolProcess(tmp_path, simulate_gpus=1)
    for name, value in pool.environment("ann").items():
        monkeypatch.setenv(name, value)
    assert "python-torch-2" in PoolKernelSpecManager().get_all_specs(), "a pool that does not answer hides nothing"
    pool.start()
    try:
        assert offered(PoolKernelSpecManager().get_all_specs()) == ALWAYS | {"python-torch-share"}
    finally:
        pool.kill()
