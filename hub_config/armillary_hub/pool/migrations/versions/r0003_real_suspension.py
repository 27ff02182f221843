"""What a suspended lease needs to come back, and when an idle one that cannot be suspended ends."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("leases", sa.Column("saved", sa.JSON))
    op.add_column("leases", sa.Column("ends_at", sa.DateTime(timezone=True)))
