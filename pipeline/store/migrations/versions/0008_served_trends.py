"""A generation says which trend weights it serves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("trend_weights_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(None, "generations", "trend_weights", ["trend_weights_id"], ["id"])
    op.create_index("ix_generations_trend_weights_id", "generations", ["trend_weights_id"])
    op.add_column("generations", sa.Column("trend_model", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("generations", "trend_model")
    op.drop_column("generations", "trend_weights_id")
