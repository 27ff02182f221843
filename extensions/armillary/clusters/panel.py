"""The widget of a cluster: workers, memory, the way to the dashboard, and buttons to scale and close."""

from __future__ import annotations

import asyncio
import weakref
from html import escape
from typing import Any
from urllib.parse import urlsplit

import ipywidgets as widgets
from armillary_kernels.texts import translator
from dask.utils import format_bytes
from tornado.ioloop import PeriodicCallback

from armillary.clusters.base import Cluster, worker_infos
from armillary.clusters.gpu_queue import GpuQueue
from armillary.clusters.remote import RemoteCluster
from armillary.errors import ClusterError
from armillary.form import field, form

_ = translator(__file__)

#: Milliseconds between looks at the workers.
_PERIOD = 2000


class ClusterPanel(widgets.VBox):
    """Shows a cluster and lets a person scale and close it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._wanted: int | None = None
        self._figures = widgets.HTML()
        self._memory = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="20em"))
        self._count = field(
            widgets.BoundedIntText,
            _("Workers"),
            label="70px",
            width="170px",
            value=max(cluster.workers, 1),
            min=1,
            max=1024,
        )
        self._gpus = field(
            widgets.BoundedIntText,
            _("GPUs of each"),
            label="100px",
            width="200px",
            value=cluster.gpus,
            min=0,
            max=max(cluster.gpus, cluster.gpus_offered()),
        )
        self._gpus.tooltip = _("A change starts the cluster anew: what its workers hold in memory is lost")
        self._gpus.layout.display = "" if self._gpus.max else "none"
        self._scale = widgets.Button(description=_("Scale"), tooltip=_("Change the number of workers"))
        self._close = widgets.Button(
            description=_("Close cluster"), button_style="danger", tooltip=_("Stop the cluster with all its workers")
        )
        self._queue = widgets.HTML()
        self._message = widgets.HTML()
        self._scale.on_click(lambda _button: self._try(self._request))
        self._close.on_click(lambda _button: self._try(cluster.close))
        controls = form(
            widgets.HBox([self._count, self._gpus, self._scale, self._close], layout={"flex_flow": "row wrap"})
        )
        self._dashboard = self._link()
        title = widgets.HTML(f'<h3 style="margin:0">{escape(_("Dask cluster"))}</h3>')
        super().__init__([title, self._figures, self._memory, controls, self._dashboard, self._queue, self._message])
        self._show(cluster.worker_infos())
        self._follow()

    def show_closed(self) -> None:
        """Say that the cluster is closed, and leave nothing to press."""
        for control in (self._count, self._gpus, self._scale, self._close):
            control.disabled = True
        for useless in (self._memory, self._figures, self._dashboard, self._queue):
            useless.layout.display = "none"
        self._say(_("This cluster is closed."))

    def show_warning(self, text: str) -> None:
        """Say what went wrong with the cluster."""
        self._wanted = None
        self._say(text, alert=True)

    def _request(self) -> None:
        if self._gpus.value == self._cluster.gpus:
            self._cluster._request_workers(self._count.value)
        else:
            self._cluster.restart(self._count.value, self._gpus.value)
            self._dashboard.value = self._link().value
            self._follow()
        self._wanted = self._count.value
        self._say(_("Workers asked for: {n}.", n=self._wanted))

    def _try(self, action: Any) -> None:
        try:
            action()
        except ClusterError as error:
            self._say(str(error), alert=True)

    def _say(self, text: str, alert: bool = False) -> None:
        role = "alert" if alert else "status"
        sign = "⚠ " if alert else ""
        self._message.value = f'<div role="{role}">{sign}{escape(text)}</div>'

    def _link(self) -> widgets.HTML:
        link = self._cluster.dashboard_link
        if link is None:
            return widgets.HTML()
        # Without the host, so that it leads to the hub by whatever address this page came.
        address = urlsplit(link).path if isinstance(self._cluster, RemoteCluster) else link
        text = escape(_("Open Dask's dashboard"))
        style = "color:var(--jp-content-link-color, LinkText);text-decoration:underline"
        return widgets.HTML(f'<a href="{escape(address)}" target="_blank" rel="noopener" style="{style}">{text}</a>')

    def _show_queue(self, queue: GpuQueue | None) -> None:
        """Say where workers stand that wait for GPUs."""
        self._queue.value = f'<div role="status">{escape(str(queue))}</div>' if queue else ""

    def _show(self, workers: list[dict[str, Any]]) -> None:
        if len(workers) == self._wanted:
            self._wanted = None
            self._say("")
        limit = sum(int(worker.get("memory_limit") or 0) for worker in workers)
        used = sum(int(worker.get("metrics", {}).get("memory") or 0) for worker in workers)
        figures = {
            _("Workers"): str(len(workers)),
            _("Threads"): str(sum(worker["nthreads"] for worker in workers)),
            _("Memory"): _("{used} of {limit}", used=format_bytes(used), limit=format_bytes(limit)),
        }
        if self._cluster.gpus:
            figures[_("GPUs")] = str(self._cluster.gpus * len(workers))
        # The widths are against Jupyter's own style for lists of terms, which breaks short words.
        cells = "".join(
            f'<dt style="font-weight:600;width:auto;white-space:nowrap">{escape(name)}</dt>'
            f'<dd style="margin:0 1.5em 0 0;width:auto">{escape(value)}</dd>'
            for name, value in figures.items()
        )
        self._figures.value = f'<dl style="display:flex;flex-wrap:wrap;gap:.5em;margin:.3em 0">{cells}</dl>'
        self._memory.value = used / limit if limit else 0
        self._memory.bar_style = "danger" if self._memory.value > 0.8 else "info"
        self._memory.tooltip = _("Memory in use")

    def _follow(self) -> None:
        """Look at the workers again and again until the client closes or nobody holds the panel any more."""
        client = self._cluster.client()
        reference = weakref.ref(self)

        async def look() -> None:
            panel = reference()
            if panel is None or client.status in ("closing", "closed"):
                callback.stop()
                return
            if client.status == "running":
                panel._show(list((await worker_infos(client)).values()))
                # The pool is asked by a blocking call, and clusters without GPUs ask nobody.
                panel._show_queue(await asyncio.to_thread(panel._cluster.gpu_queue) if panel._cluster.gpus else None)

        callback = PeriodicCallback(look, _PERIOD)
        client.loop.add_callback(callback.start)
