"""Trend weights: which tokens ask for today's articles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trend_weights",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("day", sa.Date(), nullable=False, index=True),
        sa.Column("known_by", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "token_version_id", sa.BigInteger(), sa.ForeignKey("counting_versions.id"), nullable=False, index=True
        ),
        sa.Column(
            "word_version_id", sa.BigInteger(), sa.ForeignKey("counting_versions.id"), nullable=False, index=True
        ),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("vocabulary_hash", sa.Text(), nullable=False),
        sa.Column("gates", sa.LargeBinary(), nullable=False),
        sa.Column("words", JSONB(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.UniqueConstraint("day", "known_by", "token_version_id", "word_version_id", "config_hash"),
    )


def downgrade() -> None:
    op.drop_table("trend_weights")
