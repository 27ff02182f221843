"""The kernel that runs in place of one that got no GPU: it answers every cell with the reason.

``python -m armillary_kernels.fallback -f <connection file>``, with the reason in ``ARMILLARY_FALLBACK``. It answers
with an error rather than a text, so that a run without a person (papermill, nbclient) ends there.
"""

from __future__ import annotations

from typing import Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

from armillary_kernels.reason import Reason


class FallbackKernel(Kernel):
    """A kernel that runs nothing and says why."""

    implementation = "armillary-fallback"
    implementation_version = "1"
    language_info = {"name": "python", "mimetype": "text/x-python", "file_extension": ".py"}  # noqa: RUF012 (a trait)
    banner = "No kernel could be started."

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """Answer with the reason."""
        reason = Reason.from_environment()
        error = {
            "ename": reason.name,
            "evalue": reason.summary,
            "traceback": [f"{reason.name}: {reason.summary}", *reason.details],
        }
        if not silent:
            self.send_response(self.iopub_socket, "error", error)
        return {"status": "error", "execution_count": self.execution_count, **error}

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Let a console send every line, so that it gets its answer."""
        return {"status": "complete"}


if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=FallbackKernel)
