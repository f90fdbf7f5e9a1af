"""Dense vectors are kept by text, and the query table's statistics by day; models keep no vectors of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "dense_vectors",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("texts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dense_vectors")),
        sa.UniqueConstraint("artifact", name=op.f("uq_dense_vectors_artifact")),
    )
    op.create_index("ix_dense_vectors_encoder", "dense_vectors", ["encoder"], unique=False)
    op.create_table(
        "learning_sums",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("recipe_hash", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("article_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("versions", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_learning_sums")),
        sa.UniqueConstraint("recipe_hash", "day", "artifact", name=op.f("uq_learning_sums_recipe_hash_day_artifact")),
    )
    op.create_index("ix_learning_sums_recipe_hash_day", "learning_sums", ["recipe_hash", "day"], unique=False)
    op.drop_column("models", "vectors")


def downgrade() -> None:
    op.add_column("models", sa.Column("vectors", sa.Text(), nullable=True))
    op.drop_table("learning_sums")
    op.drop_table("dense_vectors")
