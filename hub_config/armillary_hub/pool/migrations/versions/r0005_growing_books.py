"""Books that grow: what is asked of them is found by an index, and what is long over may be forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the indexes and the table of what was counted."""
    op.create_index("ix_audit_user_number", "audit", ["user", "number"])
    op.create_index("ix_leases_released_at", "leases", ["released_at"])
    op.create_table(
        "counted",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("counts", sa.JSON, nullable=False),
    )
