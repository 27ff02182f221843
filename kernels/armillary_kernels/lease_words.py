"""What the pool says of leases, in words: on its page, in notebooks and in the live line of a cell that waits."""

from __future__ import annotations

from armillary_kernels.texts import translator

_ = translator(__file__)

_DAY, _HOUR, _MINUTE = 86400, 3600, 60
_GIB = 1024


def purpose_words(purpose: str, language: str | None = None) -> str:
    """Return what a lease is for: ``"kernel"``, ``"worker"``, ``"app"`` or ``"job"``."""
    names = {
        "kernel": _("Kernel", language=language),
        "worker": _("Cluster worker", language=language),
        "app": _("App", language=language),
        "job": _("Job", language=language),
    }
    return names.get(purpose, purpose)


def duration_words(seconds: float, language: str | None = None) -> str:
    """Return a duration in the two units that matter; less than a minute is "less than a minute"."""
    days, hours, minutes = int(seconds // _DAY), int(seconds % _DAY // _HOUR), int(seconds % _HOUR // _MINUTE)
    if seconds >= _DAY:
        return _("{days} d {hours} h", language=language, days=days, hours=hours)
    if seconds >= _HOUR:
        return _("{hours} h {minutes} min", language=language, hours=hours, minutes=minutes)
    if seconds >= _MINUTE:
        return _("{minutes} min", language=language, minutes=minutes)
    return _("less than a minute", language=language)


def amount_words(wanted: int, memory: int | None, language: str | None = None) -> str:
    """Return how much a lease is of: ``wanted`` GPUs, or ``memory`` MiB of one."""
    if memory is not None:
        return _("{size} of a GPU", language=language, size=memory_words(memory))
    return _("1 GPU", language=language) if wanted == 1 else _("{n} GPUs", language=language, n=wanted)


def memory_words(mebibytes: float) -> str:
    """Return memory in the unit that fits."""
    return f"{mebibytes / _GIB:.3g} GiB" if mebibytes >= _GIB else f"{mebibytes:.0f} MiB"


def waits_for_words(waits_for: str, language: str | None = None) -> str:
    """Return what a lease in the queue waits for: ``"turn"``, ``"quota"``, ``"devices"`` or ``"gathering"``."""
    reasons = {
        "turn": _("its turn", language=language),
        "quota": _("room in its owner's quota", language=language),
        "devices": _("GPUs that are out of order or reserved for others", language=language),
        "gathering": _("free GPUs that are kept for somebody ahead who needs more", language=language),
    }
    return reasons.get(waits_for, waits_for)


def estimate_words(seconds: float | None, language: str | None = None) -> str:
    """Return how long it will probably take; None for where nobody can say."""
    if seconds is None:
        return _("nobody can say yet", language=language)
    if seconds < _MINUTE:
        return _("in less than a minute", language=language)
    return _("in about {duration}", language=language, duration=duration_words(seconds, language))
