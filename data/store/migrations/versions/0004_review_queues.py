"""Reviews that wait apart from finished ones in the index of the queue; run by `Database.migrate`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_reviews_queue", "reviews")
    for name, statuses in (
        ("ix_reviews_unfinished", "'open', 'claimed', 'judged'"),
        ("ix_reviews_finished", "'resolved', 'superseded'"),
    ):
        those = sa.text(f"status IN ({statuses})")
        columns = ["priority", "opened_at", "id"]
        op.create_index(name, "reviews", columns, sqlite_where=those, postgresql_where=those)
