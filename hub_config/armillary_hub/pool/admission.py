"""Who may ask, and for what: asks that can never be granted are refused at once, with what to ask for instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from http import HTTPStatus

from armillary_kernels.processes import Process
from armillary_kernels.texts import translator

from armillary_hub.pool.machine import AccountOf, Machine
from armillary_hub.pool.policy import PolicyStore
from armillary_hub.pool.quotas import quota_of
from armillary_hub.pool.records import BookedDevice, Lease
from armillary_hub.web.errors import WebError

_ = translator(__file__)


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

    def check_holder(self, user: str, holder: Process, *, or_services: bool = False) -> None:
        """Refuse a process that is not the user's, nor a service's (they run as the pool does) where that may be."""
        accounts = {self._account_of(user), *([os.getuid()] if or_services else [])}
        owner = self._machine.owner(holder)
        if owner is None:
            what = f"Process {holder.pid} (started at {holder.start_time}) is not running."
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, "A lease belongs to a living process.")
        if owner not in accounts:
            what = f"Process {holder.pid} is not one of {user}'s."
            raise WebError(HTTPStatus.FORBIDDEN, what, "A lease belongs to a process of its user's account.")

    def check_waiting(self, user: str, standing: Sequence[Lease], most: int) -> None:
        """Refuse another ask of a person who has many in the queue."""
        waiting = sum(lease.user == user and lease.waiting_since is not None for lease in standing)
        if waiting >= most:
            what = _("{n} asks of {user} wait already, as many as one person may have.", n=waiting, user=user)
            raise WebError(
                HTTPStatus.TOO_MANY_REQUESTS, what, _("Give up some of them, or wait until some are served.")
            )

    def check_wanted(self, devices: Sequence[BookedDevice], wanted: int, memory: int | None) -> None:
        """Refuse more than this machine has."""
        if devices and wanted > len(devices):
            what = _("{n} GPUs were asked for; this machine has {count}.", n=wanted, count=len(devices))
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=len(devices)))
        largest = max((device.memory for device in devices), default=0)
        if devices and memory is not None and memory > largest:
            what = _("{n} MiB of a GPU were asked for; the largest one here has {most}.", n=memory, most=largest)
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=largest))

    def check_quota(
        self, devices: Sequence[BookedDevice], user: str, groups: Sequence[str], wanted: int, memory: int | None
    ) -> None:
        """Refuse more than the user's quota ever allows."""
        most = quota_of(user, groups, self._policy.quotas()).gpus
        if most is not None and (wanted > most if memory is None else most <= 0):
            what = _("{n} GPUs were asked for; your quota is {most:g} at once.", n=wanted, most=most)
            remedy = _("Ask for fewer, or ask an admin for a larger quota.")
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, remedy)
