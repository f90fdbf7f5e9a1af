"""The first schema.

While the project is unreleased this creates whatever `schema.metadata` holds; the release freezes it.
"""

from __future__ import annotations

from alembic import op

from pipeline.store.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
