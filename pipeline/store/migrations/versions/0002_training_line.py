"""A model leaves the training line at a time and for a reason, instead of by a flag that nothing set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("unhealthy_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("models", sa.Column("unhealthy_why", sa.Text(), nullable=True))
    op.drop_column("models", "healthy")


def downgrade() -> None:
    op.add_column("models", sa.Column("healthy", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.execute("UPDATE models SET healthy = unhealthy_at IS NULL")
    op.drop_column("models", "unhealthy_why")
    op.drop_column("models", "unhealthy_at")
