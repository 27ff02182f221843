"""What people ask of the GPUs, how it is handed on, and what a process's environment says of it."""

import sys
from types import SimpleNamespace

import pytest
from armillary_hub.pool.bodies import AskBody
from armillary_kernels import gpu_environment
from armillary_kernels.gpu_environment import ShareLimit, put_into, uses_cuda
from armillary_kernels.kernel_notes import Note, Order
from armillary_kernels.magics import own_lines
from armillary_kernels.wishes import MOST_GPUS, MOST_MEMORY, GpuWish, GpuWishError
from pydantic import ValidationError

SHARE = {"CUDA_VISIBLE_DEVICES": "GPU-1", "ARMILLARY_GPU_MEMORY_MIB": "4096", "ARMILLARY_GPU_TOTAL_MIB": "16384"}


@pytest.mark.parametrize(
    ("text", "wish", "shown"),
    [
        ("0", GpuWish(0), "no GPU"),
        ("1", GpuWish(1), "1 GPU"),
        (" 2 ", GpuWish(2), "2 GPUs"),
        ("4GiB", GpuWish(1, 4096), "4 GiB of a GPU"),
        ("4 gb", GpuWish(1, 4096), "4 GiB of a GPU"),
        ("1.5G", GpuWish(1, 1536), "1.5 GiB of a GPU"),
        ("700MiB", GpuWish(1, 700), "700 MiB of a GPU"),
    ],
)
def test_wishes_are_read_and_shown(text, wish, shown):
    assert GpuWish.parse(text) == wish
    assert str(wish) == shown
    assert GpuWish.from_json(wish.to_json()) == wish


@pytest.mark.parametrize("text", ["", "two", "-1", "4TiB", "0GiB", "²"])
def test_what_is_no_wish_is_refused(text):
    with pytest.raises(GpuWishError, match="Write 2 for two GPUs"):
        GpuWish.parse(text)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("2000", "2000 GPUs"),
        ("20000GiB", "20000 GiB of a GPU"),
        ("9" * 5000, f"{'9' * 40}…"),
        ("9" * 400 + "GiB", f"{'9' * 40}…"),
    ],
)
def test_more_than_any_machine_has_is_refused_in_words(text, asked):
    with pytest.raises(GpuWishError) as refused:
        GpuWish.parse(text)
    assert refused.value.what == f"No machine has as much as was asked for: {asked}."
    assert refused.value.remedy == "Write 2 for two GPUs, 0 for none, or 4GiB for a share of one."


def test_what_somebody_wrote_is_quoted_in_short():
    with pytest.raises(GpuWishError, match=rf"^'{'x' * 40}…' is no number"):
        GpuWish.parse("x" * 50_000)


@pytest.mark.parametrize("most", [{"devices": MOST_GPUS}, {"memory": MOST_MEMORY}])
def test_no_more_is_asked_for_than_the_pool_reads(most):
    ask = {"purpose": "kernel", "holder": {"pid": 2, "start_time": 0}}
    ((name, number),) = most.items()
    assert GpuWish(**most)
    assert AskBody(**ask, **most)
    with pytest.raises(ValidationError):
        AskBody(**ask, **{name: number + 1})
    with pytest.raises(GpuWishError):
        GpuWish(**{name: number + 1})


def test_an_order_goes_through_the_environment_and_leaves_nothing_there():
    order = Order(GpuWish(1, 4096), "job", "train.ipynb", 3.5, "abc", is_granted=True, restarted="restarted: idle")
    environment = {"HOME": "/h", **order.variables()}
    assert environment["ARMILLARY_LEASE"] == "abc"
    assert Order.take(environment) == order
    assert environment == {"HOME": "/h"}
    assert Order.take(environment) is None


def test_a_note_is_read_as_it_was_written(tmp_path):
    path = Note.path(str(tmp_path / "kernel-1.json"))
    assert not path.match("kernel-*.json"), "it would be taken for a connection file"
    note = Note("abc", GpuWish(1), GpuWish(2))
    note.write(path)
    assert Note.read(path) == note
    for unread in ("{", '{"lease": null, "choice": null, "wish": {"devices": 5000}}'):
        path.write_text(unread)
        assert Note.read(path) is None


def test_a_share_is_a_fraction_for_pytorch_and_goes_with_the_lease():
    environment = {"PYTORCH_ALLOC_CONF": "max_split_size_mb:64", "PATH": "/bin"}
    put_into(environment, SHARE)
    assert environment["PYTORCH_ALLOC_CONF"] == "max_split_size_mb:64,per_process_memory_fraction:0.2500"
    put_into(environment, {"CUDA_VISIBLE_DEVICES": "GPU-2"})
    assert environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-2",
        "PYTORCH_ALLOC_CONF": "max_split_size_mb:64",
        "PATH": "/bin",
    }
    environment = {}
    put_into(environment, SHARE)
    put_into(environment, {})
    assert environment == {"CUDA_VISIBLE_DEVICES": ""}


def test_frameworks_that_are_there_are_told_of_a_share_once(monkeypatch):
    told = []
    torch = SimpleNamespace(_C=SimpleNamespace(_accelerator_setAllocatorSettings=told.append))
    config = SimpleNamespace(
        list_physical_devices=lambda kind: [kind],
        LogicalDeviceConfiguration=lambda memory_limit: memory_limit,
        set_logical_device_configuration=lambda device, limits: told.append((device, limits)),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    limit = ShareLimit()
    limit.hold()
    assert told == []
    for name, value in SHARE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "per_process_memory_fraction:0.2500")
    limit.hold()
    limit.hold()
    assert told == ["per_process_memory_fraction:0.2500", ("GPU", [4096])]


def test_an_open_device_file_means_that_cuda_is_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_environment, "DEVICE_FILES", f"{tmp_path}/nvidia")
    assert not uses_cuda()
    with (tmp_path / "nvidia0").open("w"):
        assert uses_cuda()


@pytest.mark.parametrize(
    ("code", "mine", "rest"),
    [
        ("%armillary gpu", ["gpu"], ""),
        ("\n# two\n  %armillary gpu 2 \n\n", ["gpu 2"], ""),
        ("%armillary", [""], ""),
        ("%armillary gpu 2\nimport torch\n", ["gpu 2"], "# %armillary gpu 2\nimport torch\n"),
        ("import torch\n%armillary gpu 2", [], "import torch\n%armillary gpu 2"),
        ("%armillaryx\n", [], "%armillaryx\n"),
        ("# nothing", [], "# nothing"),
        ("", [], ""),
    ],
)
def test_the_lines_at_a_cells_beginning_are_taken_out(code, mine, rest):
    assert own_lines(code) == (mine, rest)
