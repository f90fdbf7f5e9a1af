"""Articles that got a date after they were taken in are found to be counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_articles_dated_later", "articles", ["id"], postgresql_where=sa.text("published_rule = 'later'"))


def downgrade() -> None:
    op.drop_index("ix_articles_dated_later", "articles")
