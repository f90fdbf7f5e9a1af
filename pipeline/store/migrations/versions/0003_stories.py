"""An article's story never changes, and whether it is an advertisement is a fact of each version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("article_versions", sa.Column("is_ad", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute(
        "UPDATE article_versions v SET is_ad = true FROM articles a "
        "WHERE a.id = v.article_id AND a.version = v.version AND a.is_ad"
    )
    # Its keys are made in another way now. What is in it is only for articles still to come, for a few days.
    op.execute("DELETE FROM fingerprint_bands")
    op.execute("UPDATE articles SET story_id = NULL WHERE story_id = id")


def downgrade() -> None:
    op.execute("DELETE FROM fingerprint_bands")
    op.drop_column("article_versions", "is_ad")
