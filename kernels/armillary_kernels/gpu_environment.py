"""What a process's environment says of its GPUs, and what keeps it within its share of one.

A share of a GPU's memory is made to hold where the frameworks let it: PyTorch's allocator reads a fraction from
``PYTORCH_ALLOC_CONF`` when it is imported, and TensorFlow takes a limit until it first uses the GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

#: Hides every GPU from a process.
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}

#: How many MiB the lease is for, and how many the GPU has, where it is for a share of one.
SHARE_VARIABLE, TOTAL_VARIABLE = "ARMILLARY_GPU_MEMORY_MIB", "ARMILLARY_GPU_TOTAL_MIB"

_OURS = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", SHARE_VARIABLE, TOTAL_VARIABLE)
_ALLOCATOR, _FRACTION = "PYTORCH_ALLOC_CONF", "per_process_memory_fraction"

#: Device files that a process has open once it has used CUDA (or NVML) begin so.
DEVICE_FILES = "/dev/nvidia"


def uses_cuda(pid: int | None = None) -> bool:
    """Return whether CUDA is initialised in a process, this one by default: it can no longer be given other GPUs.

    Raises
    ------
    OSError
        If the process has ended, or is not ours to look into.
    """
    for descriptor in Path(f"/proc/{pid or 'self'}/fd").iterdir():
        try:
            if str(descriptor.readlink()).startswith(DEVICE_FILES):
                return True
        except OSError:  # closed meanwhile, as that of the folder itself is
            continue
    return False


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU; where it has none a lease is for a pretended one."""
    folder, begin = os.path.split(DEVICE_FILES)
    return any(Path(folder).glob(f"{begin}[0-9]*"))


def put_into(environment: MutableMapping[str, str], told: Mapping[str, str]) -> None:
    """Let an environment say what a lease's says, and nothing of an earlier lease's."""
    for name in _OURS:
        environment.pop(name, None)
    environment.update({**NO_GPU, **told})
    options = [one for one in environment.get(_ALLOCATOR, "").split(",") if one and not one.startswith(_FRACTION)]
    if fraction := _fraction(told):
        options.append(f"{_FRACTION}:{fraction:.4f}")
    environment[_ALLOCATOR] = ",".join(options)
    if not options:
        del environment[_ALLOCATOR]


def _fraction(told: Mapping[str, str]) -> float | None:
    share, total = int(told.get(SHARE_VARIABLE) or 0), int(told.get(TOTAL_VARIABLE) or 0)
    return min(1.0, share / total) if share and total else None


class ShareLimit:
    """Tells frameworks that are imported already how much of the GPU's memory is this process's."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def hold(self) -> None:
        """Tell those that were imported since the last call, or whose limit is another now."""
        share = os.environ.get(SHARE_VARIABLE, "")
        for name, tell in (("torch", self._tell_torch), ("tensorflow", self._tell_tensorflow)):
            if name in sys.modules and self._told.get(name, "") != share:
                self._told[name] = share
                tell(share)

    def _tell_torch(self, share: str) -> None:
        """Set the allocator's limit; where the variable stood before the import it says the same."""
        settings = os.environ.get(_ALLOCATOR) or f"{_FRACTION}:1.0"
        sys.modules["torch"]._C._accelerator_setAllocatorSettings(settings)

    def _tell_tensorflow(self, share: str) -> None:
        """Set the limit of the only GPU there is, as long as TensorFlow has not used it."""
        config = sys.modules["tensorflow"].config
        for device in config.list_physical_devices("GPU")[: 1 if share else 0]:
            limit = config.LogicalDeviceConfiguration(memory_limit=int(share))
            config.set_logical_device_configuration(device, [limit])
