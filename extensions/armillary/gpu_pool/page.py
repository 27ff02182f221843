"""The hub's GPUs as HTML."""

from __future__ import annotations

from html import escape
from statistics import fmean

from armillary_kernels.lease_words import memory_words
from armillary_kernels.sparkline import sparkline
from armillary_kernels.texts import translator

from armillary.gpu_pool.books import Gpu, GpuLease, Gpus, ago, amount, lasting, load_words, waiting_words

_ = translator(__file__)

_MIB = 2**20


def html(gpus: Gpus, problem: str = "") -> str:
    """Return everything, one's own first; ``problem`` is what went wrong with a button or the pool."""
    alarm = f'<p class="arm-gpus-problem" role="alert">{escape(problem)}</p>' if problem else ""
    if not gpus.devices:
        return f"{alarm}<p>{escape(_('This hub has no GPUs: kernels run on the CPU.'))}</p>"
    return "".join([alarm, _mine(gpus), _devices(gpus), _suspended(gpus), _queue(gpus)])


def places(gpus: Gpus) -> str:
    """Return one's own places in the queue, which a screen reader hears when they change."""
    waiting = [lease for lease in gpus.queue if lease.mine]
    return " ".join(
        _("You wait for {amount}: place {place} of {n} in the queue.", amount=amount(one), place=one.place, n=_n(gpus))
        for one in waiting
    )


def _n(gpus: Gpus) -> int:
    return len(gpus.queue)


def _mine(gpus: Gpus) -> str:
    rows = "".join(_own_row(lease) for lease in gpus.mine)
    title = f"<h4>{escape(_('Yours'))}</h4>"
    if not rows:
        return f"{title}<p>{escape(_('You hold no GPU and wait for none.'))}</p>"
    return f'{title}<ul class="arm-gpus-own">{rows}</ul>'


def _own_row(lease: GpuLease) -> str:
    where = ", ".join(f"GPU {index}" for index in lease.devices)
    here = f' <span class="arm-gpus-badge">{escape(_("this notebook"))}</span>' if lease.is_this_process else ""
    held = [amount(lease), where, lease.condition, lasting(lease)]
    more = f"<div>{escape(waiting_words(lease))}</div>" if lease.place is not None else _kept(lease)
    text = escape(" · ".join(one for one in held if one))
    return f"<li><div><strong>{escape(lease.what)}</strong>{here}<div>{text}</div>{more}</div>{_buttons(lease)}</li>"


def _kept(lease: GpuLease) -> str:
    if lease.state != "suspended":
        return ""
    kept = _("Its memory is kept in the host’s memory; it comes back when you run the next cell.")
    return f"<div>{escape(kept)}</div>"


def _buttons(lease: GpuLease) -> str:
    """Return what one may do with a lease; this notebook's own is chosen with ``%armillary gpu``."""
    if lease.state == "queued":
        return _button("leave", lease, _("Leave the queue"), _("Give up its place in the queue?"))
    if lease.is_this_process or lease.step:
        return ""
    suspend = _button("suspend", lease, _("Suspend now")) if lease.idle_since and lease.devices else ""
    warning = _("Its program is ended; what it has not saved is lost. Go on?")
    return f'<span class="arm-gpus-buttons">{suspend}{_button("end", lease, _("Give back"), warning)}</span>'


def _button(action: str, lease: GpuLease, text: str, question: str = "") -> str:
    asked = f' data-question="{escape(question)}"' if question else ""
    return (
        f'<button type="button" data-action="{action}" data-lease="{lease.id}"{asked} '
        f'aria-label="{escape(text)}: {escape(lease.what)}">{escape(text)}</button>'
    )


def _devices(gpus: Gpus) -> str:
    heads = (_("GPU"), _("Last hour"), _("Held by"))
    return _table(_("GPUs and who holds them"), heads, [_device(gpu, gpus) for gpu in gpus.devices])


def _device(gpu: Gpu, gpus: Gpus) -> list[str]:
    name = f"<strong>GPU {gpu.index}</strong><br><small>{escape(gpu.name)} · {memory_words(gpu.memory / _MIB)}</small>"
    return [name, _chart(gpu), _holders(gpu, gpus.holders(gpu))]


def _chart(gpu: Gpu) -> str:
    known = [part for part in gpu.utilisation_history if part is not None]
    if not known and not any(gpu.memory_history):
        return ""
    now = load_words(gpu)
    most = max([*known, gpu.utilisation or 0.0])  # a minute's mean is less than what it is just now
    mean = known and _("mean {mean}, max {most}", mean=f"{fmean(known):.0%}", most=f"{most:.0%}")
    figures = "; ".join(text for text in (now, mean) if text)
    area = [None if used is None or not gpu.memory else used / gpu.memory for used in gpu.memory_history]
    label = _("GPU {n} in the last hour: {figures}", n=gpu.index, figures=figures)
    lines = "".join(f"<br><small>{escape(text)}</small>" for text in (now, mean) if text)
    return sparkline(gpu.utilisation_history, area, label) + lines.removeprefix("<br>")


def _holders(gpu: Gpu, holders: tuple[GpuLease, ...]) -> str:
    if gpu.state != "working":
        return f'<span class="arm-gpus-bad">{escape(_("out of order"))}</span> <small>{escape(gpu.trouble)}</small>'
    if not holders:
        return f'<span class="arm-gpus-free">{escape(_("free"))}</span>'
    lines = [
        f"<div>{_who(one)} · {escape(one.what)}<br>"
        f"<small>{escape(' · '.join((amount(one), one.condition, lasting(one))))}</small></div>"
        for one in holders
    ]
    return "".join(lines)


def _suspended(gpus: Gpus) -> str:
    others = [lease for lease in gpus.leases if lease.state == "suspended" and not lease.mine]
    if not others:
        return ""
    rows = [[_who(one), escape(one.what), escape(amount(one)), ago(one.since)] for one in others]
    heads = (_("Who"), _("For"), _("Wants"), _("Suspended for"))
    return f"<h4>{escape(_('Suspended'))}</h4>{_table(_('Suspended'), heads, rows)}"


def _queue(gpus: Gpus) -> str:
    title = f"<h4>{escape(_('Queue'))}</h4>"
    if not gpus.queue:
        return f"{title}<p>{escape(_('Nobody waits.'))}</p>"
    rows = [
        [str(one.place), _who(one), escape(one.what), escape(amount(one)), ago(one.since), escape(waiting_words(one))]
        for one in gpus.queue
    ]
    heads = (_("Place"), _("Who"), _("For"), _("Wants"), _("Waiting"), "")
    return f"{title}{_table(_('Who waits for GPUs, the next in line first'), heads, rows)}"


def _who(lease: GpuLease) -> str:
    you = f' <span class="arm-gpus-badge">{escape(_("you"))}</span>' if lease.mine else ""
    return f"<strong>{escape(lease.user)}</strong>{you}"


def _table(caption: str, heads: tuple[str, ...], rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="arm-gpus-scroll"><table><caption class="arm-gpus-hidden">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
