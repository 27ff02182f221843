"""What the books' time was last, counted since which start of the machine; and from when a lease's GPUs count."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table and the column; what is held now has counted from its grant on."""
    op.create_table(
        "readings",
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("since_boot", sa.Float, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("correction", sa.Float, nullable=False),
    )
    op.add_column("leases", sa.Column("counted_since", sa.DateTime(timezone=True)))
    op.execute("UPDATE leases SET counted_since = granted_at WHERE state = 'granted'")
