"""The page that shows the GPUs, who holds them and who waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from armillary_kernels.texts import language_of, translator
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from armillary_hub.pool.records import BookedDevice, Lease
from armillary_hub.pool.views import Books, may_see_details
from armillary_hub.web.pages import render

_ = translator(__file__)


@dataclass(frozen=True)
class _Row:
    """One lease or ask, in words."""

    id: str
    user: str
    mine: bool
    purpose: str
    label: str
    wanted: int
    since: str
    duration: str
    in_use: bool


def gpus_page(request: Request, books: Books) -> Response:
    """Return the page as one person may see it."""
    language = language_of(request.headers.get("accept-language"))
    queue = [_row(lease, books, language) for lease in books.queue]
    page = render(
        "gpus.html",
        identity=books.identity,
        language=language,
        folder=Path(__file__).parent,
        devices=[_device(device, books, language) for device in books.devices],
        queue=queue,
        places=[place for place, row in enumerate(queue, start=1) if row.mine],
        on_cpu=sum(1 for lease in books.leases if lease.state == "granted" and not lease.devices),
        xsrf=books.identity.xsrf,
    )
    return HTMLResponse(page)


def _device(device: BookedDevice, books: Books, language: str) -> dict[str, object]:
    return {
        "index": device.index,
        "name": device.name,
        "memory": f"{device.memory / 2**10:.0f} GiB" if device.memory else "",
        "state": device.state,
        "trouble": device.trouble,
        "holders": [_row(holder, books, language) for holder in books.holders_of(device)],
    }


def _row(lease: Lease, books: Books, language: str) -> _Row:
    since = lease.since
    return _Row(
        id=lease.id,
        user=lease.user,
        mine=lease.user == books.identity.name,
        purpose=_purpose(lease.purpose, language),
        label=lease.label if may_see_details(books.identity, lease) else "",
        wanted=lease.wanted,
        since=f"{since:%Y-%m-%d %H:%M} UTC",
        duration=_duration(since, language),
        in_use=lease.in_use,
    )


def _purpose(purpose: str, language: str) -> str:
    names = {
        "kernel": _("Kernel", language=language),
        "worker": _("Cluster worker", language=language),
        "app": _("App", language=language),
        "job": _("Job", language=language),
    }
    return names[purpose]


def _duration(since: datetime, language: str) -> str:
    """Return how long ago a moment was, in the two units that matter."""
    minutes = max(0, int((datetime.now(UTC) - since).total_seconds() // 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return _("{days} d {hours} h", language=language, days=days, hours=hours)
    if hours:
        return _("{hours} h {minutes} min", language=language, hours=hours, minutes=minutes)
    return _("{minutes} min", language=language, minutes=minutes) if minutes else _("just now", language=language)
