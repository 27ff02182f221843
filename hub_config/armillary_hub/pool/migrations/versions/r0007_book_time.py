"""What the books' time was last, and since which start of the machine it is counted."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "readings",
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("since_boot", sa.Float, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("correction", sa.Float, nullable=False),
    )
