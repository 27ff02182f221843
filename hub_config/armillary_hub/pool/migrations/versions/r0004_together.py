"""Asks that are granted together or not at all."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("leases", sa.Column("together", sa.String(32)))
    op.add_column("leases", sa.Column("together_size", sa.Integer))
