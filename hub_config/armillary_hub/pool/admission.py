"""Who may ask, and for what: asks that can never be granted are refused at once, with what to ask for instead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from armillary_kernels.processes import Process
from armillary_kernels.texts import translator
from armillary_kernels.together import Together

from armillary_hub.pool.machine import AccountOf, Machine
from armillary_hub.pool.policy import PolicyStore
from armillary_hub.pool.quotas import NOTHING, quota_of
from armillary_hub.pool.records import SERVICES, BookedDevice, Lease, gpus_of
from armillary_hub.web.errors import WebError

_ = translator(__file__)


def wanted_at_once(user: str, wanted: int, together: Together | None, standing: Iterable[Lease]) -> int:
    """Return how many GPUs must be free at once for an ask: those of all that belong together with it, too."""
    if together is None:
        return wanted
    group = (user, together.id)
    waiting = (one for one in standing if one.state == "queued" and one.group == group)
    return max(wanted * together.size, wanted + sum(one.wanted for one in waiting))


class Admission:
    """The checks. Each raises a `WebError` that says what may be asked for instead.

    Parameters
    ----------
    policy
        The quotas.
    account_of
        The uid of a hub user's processes.
    machine
        What is asked about processes.
    """

    def __init__(self, policy: PolicyStore, account_of: AccountOf, machine: Machine) -> None:
        self._policy = policy
        self._account_of = account_of
        self._machine = machine

    def check_holder(self, user: str, asker: str, holder: Process, in_use: bool = False) -> None:
        """Refuse a process that is neither the user's nor the asker's; a service never uses a GPU itself."""
        accounts = {self._account_of(user)}
        if not asker.startswith(SERVICES):
            accounts.add(self._account_of(asker))
        elif not in_use:
            accounts.add(os.getuid())  # services run as the pool does
        owner = self._machine.owner(holder)
        if owner is None:
            what = _("Process {pid} (started at {start}) is not running.", pid=holder.pid, start=holder.start_time)
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for a process that lives."))
        if owner not in accounts:
            what = _("Process {pid} is not one of {user}'s.", pid=holder.pid, user=user)
            raise WebError(HTTPStatus.FORBIDDEN, what, _("Ask for a process of the account that the lease is for."))

    def check_waiting(self, user: str, waiting: int, most: int) -> None:
        """Refuse another ask of a person who has many in the queue."""
        if waiting >= most:
            what = _("{n} asks of {user} wait already, as many as one person may have.", n=waiting, user=user)
            raise WebError(
                HTTPStatus.TOO_MANY_REQUESTS, what, _("Give up some of them, or wait until some are served.")
            )

    def check_amount(
        self,
        devices: Sequence[BookedDevice],
        user: str,
        groups: Sequence[str],
        wanted: int,
        at_once: int,
        memory: int | None,
    ) -> None:
        """Refuse more than this machine has or the user's quota ever allows; ``at_once``: see `wanted_at_once`."""
        self._check_wanted(devices, at_once, memory)
        self._check_apiece(devices, wanted)
        self._check_quota(devices, user, groups, at_once, memory)

    def _check_wanted(self, devices: Sequence[BookedDevice], wanted: int, memory: int | None) -> None:
        """Refuse more than this machine has."""
        if devices and wanted > len(devices):
            what = _("{n} GPUs were asked for; this machine has {count}.", n=wanted, count=len(devices))
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=len(devices)))
        largest = max((device.memory for device in devices), default=0)
        if devices and memory is not None and memory > largest:
            what = _("{n} MiB of a GPU were asked for; the largest one here has {most}.", n=memory, most=largest)
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=largest))

    def _check_apiece(self, devices: Sequence[BookedDevice], wanted: int) -> None:
        """Refuse several GPUs for one process where there are only parts of some, of which a process sees one."""
        whole = [device for device in devices if not device.is_part]
        if devices and wanted > 1 and len(whole) < wanted:
            what = _(
                "{n} GPUs were asked for; {count} of those of this machine are whole, and a process can use but one "
                "MIG instance.",
                n=wanted,
                count=len(whole),
            )
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=max(1, len(whole))))

    def _check_quota(
        self, devices: Sequence[BookedDevice], user: str, groups: Sequence[str], wanted: int, memory: int | None
    ) -> None:
        """Refuse more than the user's quota ever allows."""
        quota, amount = quota_of(user, groups, self._policy.quotas()), gpus_of(wanted, memory, devices)
        if quota.gpus is not None and amount > quota.gpus + NOTHING:
            numbers = {"n": wanted, "memory": memory, "part": amount, "most": quota.gpus}
            if memory is not None:
                what = _(
                    "{memory} MiB of a GPU were asked for, {part:.6g} of it; your quota is {most:g} GPUs at once.",
                    **numbers,
                )
            elif wanted == 1:
                what = _("A whole GPU was asked for; your quota is {most:g} GPUs at once.", **numbers)
            else:
                what = _("{n} GPUs were asked for; your quota is {most:g} at once.", **numbers)
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _less_than(quota.gpus))
        if quota.gpu_hours == 0:
            what = _("Your quota is 0 GPU-hours a day.")
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask an admin for a larger quota."))


def _less_than(most: float) -> str:
    """Return what to do about a quota of GPUs that an ask goes beyond."""
    if most == 0:
        return _("Ask an admin for a larger quota.")
    if most < 1:
        return _("Ask for less, such as some of one GPU's memory, or ask an admin for a larger quota.")
    return _("Ask for fewer, or ask an admin for a larger quota.")
