"""Why a kernel could not be started, told from the provisioner to the kernel that runs in its place."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass

#: The environment variable that carries it.
VARIABLE = "ARMILLARY_FALLBACK"

#: The names of those reasons that are about GPUs.
WITHOUT_GPU = ("NoGpuFreeError", "NoGpuError", "GpuPoolDownError")

#: The command that runs the kernel that says why; jupyter_client's own options follow.
COMMAND = (sys.executable, "-m", "armillary_kernels.fallback")


@dataclass(frozen=True)
class Reason:
    """Why there is no kernel.

    Attributes
    ----------
    name
        In one word, as an exception's name.
    summary
        In one sentence.
    details
        More lines: who holds the GPUs, what to do.
    """

    name: str
    summary: str
    details: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the variable that tells the fallback kernel the reason."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Reason:
        """Return the reason that this process was started with."""
        told = json.loads(os.environ.get(VARIABLE, "{}"))
        return cls(told.get("name", "NoKernelError"), told.get("summary", ""), tuple(told.get("details", ())))
