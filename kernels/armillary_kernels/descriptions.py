"""How a lease stands, and why there is none, in a person's words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from armillary_kernels.leases import (
    DeviceHolder,
    Lease,
    LeaseError,
    LeaseLostError,
    PoolFaultError,
    PoolUnreachableError,
    QueuePlace,
)
from armillary_kernels.restarts import is_restart
from armillary_kernels.texts import translator
from armillary_kernels.waiting import NoGpuFreeError, Standing, WaitInterruptedError
from armillary_kernels.wishes import GpuWish

_ = translator(__file__)

#: The names of those errors of a cell that are about GPUs: nothing of the person's ran.
WITHOUT_GPU = ("NoGpuFreeError", "NoGpuError", "GpuPoolDownError")

_MINUTE, _HOUR = 60, 3600

_STYLE = (
    "border-left: 3px solid var(--jp-brand-color1, #1976d2); padding: 2px 10px; margin: 2px 0;"
    " font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: var(--jp-ui-font-size1, 13px);"
    " line-height: 1.5; color: var(--jp-ui-font-color1, inherit);"
)
_QUIET = "color: var(--jp-ui-font-color2, #616161);"


@dataclass(frozen=True)
class Text:
    """A few lines of which the first says it all."""

    summary: str
    details: tuple[str, ...] = ()

    def bundle(self) -> dict[str, str]:
        """Return it as a notebook shows it, by MIME type."""
        details = "".join(f'<div style="{_QUIET}">{escape(line)}</div>' for line in self.details if line)
        html = f'<div role="status" style="{_STYLE}"><div><b>{escape(self.summary)}</b></div>{details}</div>'
        return {"text/plain": "\n".join((self.summary, *self.details)), "text/html": html}


@dataclass(frozen=True)
class Failure(Text):
    """Why a cell did not run: ``name`` in one word, as an exception's name."""

    name: str = "NoGpuError"


def describe(standing: Standing, user: str) -> Text:
    """Say what a cell that does not run yet waits for."""
    if isinstance(standing, PoolFaultError):
        what = _("Waiting for the GPU pool, which cannot work at the moment.")
        return Text(what, (standing.what, standing.remedy, _stop()))
    if isinstance(standing, PoolUnreachableError):
        again = _("It is usually back within some seconds; the cell then goes on by itself.")
        return Text(_("Waiting for the GPU pool, which does not answer."), (again, _stop()))
    if isinstance(standing, QueuePlace):
        return _waiting(standing, user)
    if standing.step == "restoring":
        return Text(_("Bringing this kernel's state back to the GPU …"), (_("The cell runs right after that."),))
    if standing.step == "suspending":
        lent = _("It was idle and somebody else waits for a GPU. Nothing is lost; it asks for a GPU right after that.")
        return Text(_("This kernel's state is just being put aside …"), (lent,))
    return Text(_("Getting a GPU …"))


def _waiting(place: QueuePlace, user: str) -> Text:
    first = _("Waiting for a GPU: place {position} in the queue", position=place.position)
    if place.estimate is not None:
        first += _(", {time}", time=_about(place.estimate))
    lent = _("The GPU was lent to others while this kernel was idle; its state is kept.")
    why = {
        "quota": _("Your own quota is used up: shut down another kernel of yours, or wait until it counts less."),
        "devices": _("GPUs are reserved for others, or out of order, at the moment."),
        "gathering": _("GPUs are free, but kept for somebody ahead of you who needs more of them."),
    }.get(place.waits_for)
    reasons = [lent if place.is_suspended else "", why or ""]
    return Text(first, (*filter(None, reasons), *holders_text(place.holders, user), _stop()))


def _stop() -> str:
    return _("Interrupt the kernel (■) to stop waiting.")


def _about(seconds: float) -> str:
    if seconds < _MINUTE:
        return _("less than a minute")
    if seconds < 2 * _HOUR:
        return _("about {n} min", n=math.ceil(seconds / _MINUTE))
    return _("about {n} h", n=round(seconds / _HOUR))


def holders_text(holders: Sequence[DeviceHolder], user: str) -> list[str]:
    """Return a line for each who holds GPUs."""
    return [_holder(holder, user) for holder in holders]


def _holder(holder: DeviceHolder, user: str) -> str:
    devices = ", ".join(str(index) for index in holder.devices)
    since = holder.since.astimezone()
    minutes = max(0, int((datetime.now(UTC) - holder.since).total_seconds() // 60))
    who = _("you") if holder.user == user else holder.user
    text = _(
        "GPU {devices}: {user}, since {since} ({minutes} min)",
        devices=devices,
        user=who,
        since=f"{since:%Y-%m-%d %H:%M}",
        minutes=minutes,
    )
    return f"{text} · {holder.label}" if holder.label else text


def explain(error: LeaseError, user: str) -> Failure:
    """Say why a cell did not run, who holds the GPUs, and what to do."""
    if isinstance(error, NoGpuFreeError):
        return _none_free(error, user)
    if isinstance(error, WaitInterruptedError):
        return Failure(error.what, (error.remedy,), "KeyboardInterrupt")
    if isinstance(error, PoolUnreachableError):
        again = _("Run the cell again in a minute; if this stays, tell the admin that the GPU pool is down.")
        if isinstance(error, PoolFaultError):
            what = _("The GPU pool cannot work at the moment, so no GPU could be had.")
            return Failure(what, (error.what, error.remedy, again), "GpuPoolDownError")
        what = _("The GPU pool does not answer, so no GPU could be had.")
        return Failure(what, (error.what, again), "GpuPoolDownError")
    if isinstance(error, LeaseLostError):
        return Failure(error.what, (error.remedy,), "GpuLostError")
    choose = _("`%armillary gpu 1` asks for another number of GPUs, `%armillary gpu 0` goes on without one.")
    return Failure(_("The GPU pool gave no GPU."), (error.what, error.remedy, choose))


def _none_free(error: NoGpuFreeError, user: str) -> Failure:
    place = error.place
    where = () if place is None else (_("Your place in the queue was {position}.", position=place.position),)
    holders = () if place is None else holders_text(place.holders, user)
    advice = (
        _("What you can do:"),
        "  - " + _("Run the cell again to ask anew."),
        "  - " + _("Shut down kernels that you no longer need (the Running tab on the left)."),
        "  - " + _("Run a job that needs no GPU with `armillary run --gpus 0`, or let it wait longer with `--wait`."),
    )
    return Failure(error.what, (*where, *holders, "", *advice), "NoGpuFreeError")


def dropped_text(error: Exception) -> Text:
    """Say that what a person did with a widget has no effect, and why."""
    what = _("What you did with a widget just now had no effect.")
    return Text(what, (getattr(error, "what", str(error)), _("Use the widget again.")))


def state_text(lease: Lease | QueuePlace | None, wish: GpuWish, user: str) -> str:
    """Say which GPUs a kernel has, as `%armillary gpu` does."""
    if not wish.devices:
        return _("This kernel has no GPU. `%armillary gpu 1` asks for one.")
    if isinstance(lease, QueuePlace):
        return "\n".join((_waiting(lease, user).summary, *holders_text(lease.holders, user)))
    if lease is None:
        return _("This kernel has no GPU now; the next cell asks for {wish}.", wish=wish)
    if lease.state == "suspended":
        return _("This kernel's GPU is lent to others; its state is kept, and the next cell gets it back.")
    if not lease.devices:
        return _("This machine has no GPU; cells run without.")
    devices = ", ".join(str(index) for index in lease.devices)
    return _("This kernel has {wish}: GPU {devices}.", wish=wish, devices=devices)


def announce(place: QueuePlace, user: str, seconds: float | None) -> str:
    """Say that a job waits, and for whom."""
    waits = (
        _("Waiting for a GPU, place {position} in the queue.", position=place.position)
        if seconds is None
        else _(
            "Waiting {seconds:.0f} s at most for a GPU, place {position} in the queue.",
            seconds=seconds,
            position=place.position,
        )
    )
    return "\n".join([waits, *(f"  {line}" for line in holders_text(place.holders, user))])


def restart_warning(at: datetime) -> Text:
    """Say that the pool is going to restart an idle kernel."""
    when = f"{at.astimezone():%H:%M}"
    why = _("It is idle, somebody waits for its GPU, and its state cannot be put aside on this machine.")
    do = _("Save what you need, or run a cell to keep it.")
    return Text(_("This kernel will be restarted at {time} unless it is used.", time=when), (why, do))


def lost_text(lost: Sequence[int]) -> Text:
    """Say that a kernel's GPUs are gone while it runs on."""
    gone = ", ".join(map(str, lost))
    do = _("Cells still run, so save what you need first; what uses this GPU fails.")
    return Text(_("GPU {n} was lost: restart the kernel to get another.", n=gone), (do,))


def restarted_text(reason: str) -> Text:
    """Say why the state of an earlier kernel is gone."""
    again = _("Variables are gone: run the cells above again.")
    if is_restart(reason):
        return Text(_("This kernel was restarted while it was idle, for somebody waited for its GPU."), (again,))
    return Text(_("This kernel was ended and started anew: {reason}", reason=reason), (again,))
