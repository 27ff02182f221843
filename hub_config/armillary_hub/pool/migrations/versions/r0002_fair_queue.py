"""Devices, shares, suspension, use, quotas and reservations; the database counts what is held of each device."""

import sqlalchemy as sa
from alembic import op

from armillary_hub.pool.migrations.triggers import statements

revision = "0002"
down_revision = "0001"

_INDEXES = {"leases": ("ix_leases_user", "ix_leases_state"), "holdings": ("ix_holdings_lease_id",)}


def upgrade() -> None:
    """Make the new tables and move what stands into them."""
    for table, indexes in _INDEXES.items():
        for index in indexes:
            op.drop_index(index, table)
        op.rename_table(table, f"old_{table}")
    for make in (_make_devices, _make_leases, _make_holdings, _make_usage, _make_policy):
        make()
    _move()
    op.drop_table("old_holdings")
    op.drop_table("old_leases")
    for statement in statements(op.get_bind().dialect.name):
        op.execute(statement)


def _make_devices() -> None:
    op.create_table(
        "devices",
        sa.Column("uuid", sa.String(96), primary_key=True),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("memory", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("trouble", sa.String(200), nullable=False),
        sa.Column("exclusives", sa.Integer, nullable=False),
        sa.Column("shared", sa.Integer, nullable=False),
        sa.CheckConstraint("state IN ('working', 'failing', 'lost')", name="a_device_state"),
        sa.CheckConstraint("exclusives BETWEEN 0 AND 1", name="one_exclusive_lease"),
        sa.CheckConstraint("shared >= 0 AND (shared = 0 OR shared <= memory)", name="shares_fit"),
        sa.CheckConstraint("exclusives = 0 OR shared = 0", name="exclusive_or_shared"),
    )


def _make_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("user", sa.String(255), nullable=False, index=True),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.Column("memory", sa.Integer),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("in_use", sa.Boolean, nullable=False),
        sa.Column("gpus", sa.Float, nullable=False),
        sa.Column("came_from", sa.JSON, nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=name != "asked_at")
            for name in ("asked_at", "granted_at", "waiting_since", "idle_since", "released_at")
        ),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.CheckConstraint("state IN ('queued', 'granted', 'suspended', 'released')", name="a_lease_state"),
        sa.CheckConstraint("step IN ('', 'suspending', 'restoring')", name="a_lease_step"),
        sa.CheckConstraint("step = '' OR state = 'granted'", name="steps_hold_devices"),
        sa.CheckConstraint("(waiting_since IS NOT NULL OR state <> 'queued')", name="queued_wait"),
        sa.CheckConstraint("(waiting_since IS NULL OR state IN ('queued', 'suspended'))", name="only_these_wait"),
        sa.CheckConstraint("wanted > 0 AND (memory IS NULL OR (memory > 0 AND wanted = 1))", name="whole_or_share"),
    )


def _make_holdings() -> None:
    op.create_table(
        "holdings",
        sa.Column("device", sa.String(96), sa.ForeignKey("devices.uuid"), primary_key=True),
        sa.Column("lease_id", sa.String(32), sa.ForeignKey("leases.id"), primary_key=True, index=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("memory", sa.Integer),
        sa.CheckConstraint("memory IS NULL OR memory > 0", name="a_share_is_something"),
    )


def _make_usage() -> None:
    op.create_table(
        "uses",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("lease_id", sa.String(32), nullable=False, index=True),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("gpus", sa.Float, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.CheckConstraint("until >= since", name="time_goes_forward"),
    )
    op.create_table(
        "usage",
        sa.Column("user", sa.String(255), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recent", sa.Float, nullable=False),
        sa.Column("total", sa.Float, nullable=False),
    )


def _make_policy() -> None:
    op.create_table(
        "quotas",
        sa.Column("scope", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("gpus", sa.Float),
        sa.Column("gpu_hours", sa.Float),
        sa.Column("weight", sa.Float),
        sa.CheckConstraint("scope IN ('user', 'group', 'default')", name="a_scope"),
        sa.CheckConstraint("gpus >= 0 AND gpu_hours >= 0 AND weight > 0", name="quotas_are_sane"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("devices", sa.Integer, nullable=False),
        sa.Column("starts", sa.String(32), nullable=False),
        sa.Column("ends", sa.String(32), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("weekly", sa.Boolean, nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("made_by", sa.String(255), nullable=False),
        sa.CheckConstraint("scope IN ('user', 'group')", name="a_person_or_a_group"),
        sa.CheckConstraint("devices > 0", name="reserves_something"),
    )


def _move() -> None:
    """Take over leases and what they hold; NVML says at the pool's first look what the devices are."""
    op.execute(
        'INSERT INTO devices (uuid, "index", name, memory, state, trouble, exclusives, shared) '
        "SELECT device, 0, '', 0, 'lost', 'not seen yet', 1, 0 FROM old_holdings"
    )
    op.execute(
        'INSERT INTO leases (number, id, "user", groups, purpose, label, wanted, state, step, pid, start_time, in_use, '
        "gpus, came_from, asked_at, granted_at, waiting_since, released_at, reason) "
        "SELECT number, id, \"user\", '[]', purpose, label, wanted, state, '', pid, start_time, in_use, "
        "(SELECT COUNT(*) FROM old_holdings WHERE lease_id = old_leases.id), '[]', asked_at, granted_at, "
        "CASE WHEN state = 'queued' THEN asked_at END, released_at, reason FROM old_leases"
    )
    op.execute("INSERT INTO holdings (device, lease_id, position) SELECT device, lease_id, position FROM old_holdings")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('leases', 'number'), COALESCE(MAX(number), 0) + 1, false) FROM leases"
        )
