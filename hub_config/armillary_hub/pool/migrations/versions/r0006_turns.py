"""From when the waiting of a lease counts."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; who waits now has waited all the time."""
    op.add_column("leases", sa.Column("ages_since", sa.DateTime(timezone=True)))
    op.execute("UPDATE leases SET ages_since = waiting_since WHERE state IN ('queued', 'suspended')")
