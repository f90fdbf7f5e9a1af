"""Feeds that moved for good keep their old addresses; one that is gone is disabled with a reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feeds", sa.Column("hint_s", sa.Float(), server_default=sa.text("0"), nullable=False))
    op.add_column("feeds", sa.Column("disabled_why", sa.Text(), nullable=True))
    op.create_table(
        "feed_moves",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("feed_id", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["feed_id"], ["feeds.id"], name=op.f("fk_feed_moves_feed_id")),
        sa.UniqueConstraint("url", name=op.f("uq_feed_moves_url")),
    )
    op.create_index(op.f("ix_feed_moves_feed_id"), "feed_moves", ["feed_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_feed_moves_feed_id"), table_name="feed_moves")
    op.drop_table("feed_moves")
    op.drop_column("feeds", "disabled_why")
    op.drop_column("feeds", "hint_s")
