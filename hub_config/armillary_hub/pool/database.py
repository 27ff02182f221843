"""The pool's tables. How they came to be is in ``migrations``; a test compares the two.

The database itself keeps the books honest, whatever the code above it does: triggers (``migrations/triggers.py``) count
on each device what ``holdings`` say of it, and a CHECK refuses a second exclusive lease, an exclusive lease on a shared
device, and shares beyond its memory. A lease that is not granted holds nothing; what does not work is not given away.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite drops the zone, which is added again here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment with its zone."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


devices = Table(
    "devices",
    metadata,
    Column("uuid", String(96), primary_key=True),
    Column("index", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("memory", Integer, nullable=False),  # MiB
    Column("state", String(16), nullable=False),
    Column("trouble", String(200), nullable=False),
    Column("exclusives", Integer, nullable=False),
    Column("shared", Integer, nullable=False),  # MiB
    CheckConstraint("state IN ('working', 'failing', 'lost')", name="a_device_state"),
    CheckConstraint("exclusives BETWEEN 0 AND 1", name="one_exclusive_lease"),
    CheckConstraint("shared >= 0 AND (shared = 0 OR shared <= memory)", name="shares_fit"),
    CheckConstraint("exclusives = 0 OR shared = 0", name="exclusive_or_shared"),
)

leases = Table(
    "leases",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order in which they were asked for
    Column("id", String(32), nullable=False, unique=True),
    Column("user", String(255), nullable=False),
    Column("groups", JSON, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("label", String(200), nullable=False),
    Column("wanted", Integer, nullable=False),  # GPUs
    Column("memory", Integer),  # MiB of one GPU, for a share
    Column("state", String(16), nullable=False, index=True),
    Column("step", String(16), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("in_use", Boolean, nullable=False),
    Column("gpus", Float, nullable=False),
    Column("counted_since", Moment),  # from when these GPUs are used
    Column("came_from", JSON, nullable=False),
    Column("saved", JSON),  # MiB of each GPU, by UUID, that a suspended lease needs to come back
    Column("asked_at", Moment, nullable=False),
    Column("granted_at", Moment),
    Column("waiting_since", Moment),
    Column("ages_since", Moment),  # from when its waiting counts
    Column("idle_since", Moment),
    Column("ends_at", Moment),
    Column("together", String(32)),  # the group that it was asked for with, named by its user
    Column("together_size", Integer),
    Column("released_at", Moment, index=True),
    Column("reason", String(200), nullable=False),
    CheckConstraint("state IN ('queued', 'granted', 'suspended', 'released')", name="a_lease_state"),
    CheckConstraint("step IN ('', 'suspending', 'restoring')", name="a_lease_step"),
    CheckConstraint("step = '' OR state = 'granted'", name="steps_hold_devices"),
    CheckConstraint("(waiting_since IS NOT NULL OR state <> 'queued')", name="queued_wait"),
    CheckConstraint("(waiting_since IS NULL OR state IN ('queued', 'suspended'))", name="only_these_wait"),
    CheckConstraint("wanted > 0 AND (memory IS NULL OR (memory > 0 AND wanted = 1))", name="whole_or_share"),
    Index("ix_leases_user_state", "user", "state"),
)

holdings = Table(
    "holdings",
    metadata,
    Column("device", ForeignKey("devices.uuid"), primary_key=True),
    Column("lease_id", ForeignKey("leases.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),  # its place among the lease's GPUs
    Column("memory", Integer),  # MiB of a share; NULL for the whole device
    CheckConstraint("memory IS NULL OR memory > 0", name="a_share_is_something"),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("lease_id", String(32), nullable=False, index=True),
    Column("user", String(255), nullable=False),
    Column("before", String(16)),
    Column("after", String(16), nullable=False),
    Column("devices", JSON, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("reason", String(200), nullable=False),
    Index("ix_audit_user_number", "user", "number"),
)

#: What the audit counts up to some line of it, in one row; lines before it may be forgotten.
counted = Table(
    "counted",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("counts", JSON, nullable=False),
)

#: The last reading of the books' time, in one row; see `armillary_hub.pool.clock`.
readings = Table(
    "readings",
    metadata,
    Column("boot", String(64), nullable=False),
    Column("since_boot", Float, nullable=False),
    Column("at", Moment, nullable=False),
    Column("correction", Float, nullable=False),
)

#: Each time that a lease held GPUs, from its grant to its suspension or its end.
uses = Table(
    "uses",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("lease_id", String(32), nullable=False, index=True),
    Column("user", String(255), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("gpus", Float, nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False, index=True),
    CheckConstraint("until >= since", name="time_goes_forward"),
)

#: What each user has used, in GPU-seconds: ``recent`` fades with the half-life and is true at ``at``.
usage = Table(
    "usage",
    metadata,
    Column("user", String(255), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("recent", Float, nullable=False),
    Column("total", Float, nullable=False),
)

quotas = Table(
    "quotas",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("name", String(255), primary_key=True),  # empty for the default
    Column("gpus", Float),  # at once
    Column("gpu_hours", Float),  # in any 24 hours
    Column("weight", Float),
    CheckConstraint("scope IN ('user', 'group', 'default')", name="a_scope"),
    CheckConstraint("gpus >= 0 AND gpu_hours >= 0 AND weight > 0", name="quotas_are_sane"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("devices", Integer, nullable=False),
    Column("starts", String(32), nullable=False),  # local time in the zone, as ISO 8601 without an offset
    Column("ends", String(32), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("weekly", Boolean, nullable=False),
    Column("note", String(200), nullable=False),
    Column("made_by", String(255), nullable=False),
    CheckConstraint("scope IN ('user', 'group')", name="a_person_or_a_group"),
    CheckConstraint("devices > 0", name="reserves_something"),
)
