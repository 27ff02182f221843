"""From when the waiting of a lease counts, and how many of one person wait."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column and the index; who waits now has waited all the time."""
    op.drop_index("ix_leases_user", "leases")
    op.create_index("ix_leases_user_state", "leases", ["user", "state"])
    op.add_column("leases", sa.Column("ages_since", sa.DateTime(timezone=True)))
    op.execute("UPDATE leases SET ages_since = waiting_since WHERE state IN ('queued', 'suspended')")
