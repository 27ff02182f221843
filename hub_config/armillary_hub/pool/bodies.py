"""What requests to the pool say: checked, and refused in one sentence that names every wrong field."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from armillary_kernels.plain_texts import is_plain
from armillary_kernels.processes import Process
from armillary_kernels.together import Together
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from armillary_hub.pool.quotas import Quota
from armillary_hub.pool.reservations import Reservation, exists

#: Years of reservations: what lies near the ends of the calendar cannot be put into another time zone.
FIRST_YEAR, LAST_YEAR = 2000, 2999


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @field_validator("*")
    @classmethod
    def _is_plain(cls, value: Any) -> Any:
        texts = value if isinstance(value, list) else [value]
        if not all(is_plain(text) for text in texts if isinstance(text, str)):
            raise ValueError("no control characters, such as line breaks, can be here")
        return value


class HolderBody(_Body):
    """A process, as a request names it."""

    pid: int = Field(gt=1, lt=2**31)
    start_time: int = Field(ge=0, lt=2**63)

    def process(self) -> Process:
        """Return the process."""
        return Process(self.pid, self.start_time)


class TogetherBody(_Body):
    """The asks of one person that are granted together or not at all; the newest one says how many they are."""

    id: str = Field(pattern=r"^[0-9a-f]{1,32}$", description="any name, the same in each of them")
    size: int = Field(ge=1, le=1024, description="how many there are, each for as many devices")

    def together(self) -> Together:
        """Return the group."""
        return Together(self.id, self.size)


class AskBody(_Body):
    """An ask for whole GPUs, or for some of the memory of one."""

    id: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$", description="the lease's; said again, nothing new")
    purpose: Literal["kernel", "worker", "app", "job"]
    devices: int = Field(default=1, ge=1, le=1024)
    memory: int | None = Field(default=None, ge=1, le=2**24, description="MiB of one GPU, shared with others")
    label: str = Field(default="", max_length=200)
    holder: HolderBody
    user: str | None = Field(default=None, min_length=1, max_length=255, description="for whom; services alone say it")
    groups: list[str] | None = Field(default=None, max_length=1000, description="that user's groups")
    together: TogetherBody | None = None

    @model_validator(mode="after")
    def _share_of_one(self) -> Self:
        if self.memory is not None and self.devices != 1:
            raise ValueError("a share is of one GPU: leave out devices")
        if self.memory is not None and self.together is not None:
            raise ValueError("shares are asked for one by one: leave out together")
        return self


class BindBody(_Body):
    """The process that a lease is tied to from now on, and whether it uses the GPUs already."""

    holder: HolderBody
    in_use: bool = True


class ActivityBody(_Body):
    """Whether the process that uses the GPUs does anything."""

    busy: bool


class QuotaBody(_Body):
    """The limits of one person; null for none."""

    gpus: float | None = Field(default=None, ge=0, le=1e6, description="GPUs at once")
    gpu_hours: float | None = Field(default=None, ge=0, le=1e6, description="GPU-hours in any 24 hours")
    weight: float | None = Field(default=None, gt=0, le=1e6, description="part when many want GPUs; 1 by default")

    def quota(self) -> Quota:
        """Return the quota."""
        return Quota(self.gpus, self.gpu_hours, self.weight)


class ReservationBody(_Body):
    """Some GPUs kept for one person, or for the members of a group together."""

    scope: Literal["user", "group"]
    name: str
    devices: int = Field(ge=1, le=1024)
    timezone: str = Field(default="UTC", max_length=64, description="name in the IANA database, such as Europe/Berlin")
    starts: str = Field(description="local time, such as 2026-11-24T09:00")
    ends: str = Field(description="local time")
    weekly: bool = False
    note: str = Field(default="", max_length=200)

    @field_validator("starts", "ends")
    @classmethod
    def _is_local_time(cls, value: str, others: ValidationInfo) -> str:
        moment, timezone = datetime.fromisoformat(value), others.data.get("timezone")
        if moment.tzinfo is not None:
            raise ValueError("a local time has no offset; name the timezone")
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError(f"the year must be between {FIRST_YEAR} and {LAST_YEAR}")
        if timezone and not exists(moment, timezone):
            raise ValueError(f"this time does not exist in {timezone}: the clocks are put forward then")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no timezone {value!r}") from None
        return value

    @model_validator(mode="after")
    def _ends_in_time(self) -> Self:
        starts, ends = datetime.fromisoformat(self.starts), datetime.fromisoformat(self.ends)
        if ends <= starts:
            raise ValueError("it must end after it starts")
        if self.weekly and ends - starts > timedelta(days=7):
            raise ValueError("what comes every week lasts a week at most")
        return self

    def reservation(self, made_by: str) -> Reservation:
        """Return the reservation, which gets an id."""
        return Reservation(
            id=uuid.uuid4().hex,
            **self.model_dump(exclude={"starts", "ends"}),
            starts=datetime.fromisoformat(self.starts),
            ends=datetime.fromisoformat(self.ends),
            made_by=made_by,
        )
