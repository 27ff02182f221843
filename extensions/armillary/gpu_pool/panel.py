"""The panel of the hub's GPUs in a notebook: one's own first, then each GPU's last hour, holders and the queue."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from armillary_kernels import gate_passes
from armillary_kernels.errors import ArmillaryError
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.texts import translator

from armillary.esm import in_place
from armillary.gpu_pool import page

if TYPE_CHECKING:
    from armillary.gpu_pool.books import Gpus

_ = translator(__file__)

_STATIC = Path(__file__).parent / "static"


class GpuPanel(anywidget.AnyWidget):
    """Shows the GPUs for as long as somebody can see it: the browser asks for news, the kernel never by itself.

    Parameters
    ----------
    gpus
        What is shown first.
    """

    _esm = in_place(_STATIC / "gpus.js")
    _css = (_STATIC / "gpus.css").read_text(encoding="utf-8")
    html = traitlets.Unicode().tag(sync=True)
    spoken = traitlets.Unicode().tag(sync=True)
    news = traitlets.Int(0).tag(sync=True)

    def __init__(self, gpus: Gpus) -> None:
        super().__init__()
        self._gpus = gpus
        self._problem = ""
        self.on_msg(self._message)
        # It touches none of the person's objects: it works while the kernel waits for a GPU, and keeps no kernel busy.
        gate_passes.add(self.comm.comm_id)
        self._show()

    def refresh(self) -> None:
        """Show the GPUs as they are now."""
        self._try(lambda: None)

    def close(self) -> None:
        """Show nothing any more."""
        if self.comm is not None:
            gate_passes.discard(self.comm.comm_id)
        super().close()

    def _message(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        action, lease = content.get("action"), str(content.get("lease", ""))
        acts = {"suspend": LeaseClient.suspend, "end": LeaseClient.end, "leave": LeaseClient.leave}
        if action in acts and lease in {one.id for one in self._gpus.mine}:
            self._try(lambda: self._with_pool(acts[action], lease))
        else:
            self.refresh()

    def _with_pool(self, act: Any, lease: str) -> None:
        with LeaseClient(self._gpus._connection) as pool:
            act(pool, lease)

    def _try(self, act: Any) -> None:
        self._problem = ""
        try:
            act()
        except ArmillaryError as error:
            self._problem = str(error)
        try:
            self._gpus = self._gpus.refresh()
        except ArmillaryError as error:
            self._problem = str(error)
        self._show()

    def _show(self) -> None:
        with self.hold_sync():
            self.html = page.html(self._gpus, self._problem)
            self.spoken = page.places(self._gpus)
            self.news += 1
        with contextlib.suppress(AttributeError):
            # See RunView._hear_in_subshell: the next message must not wait for a cell that runs.
            self.comm.__dict__.pop("_reply_subshell_id", None)
