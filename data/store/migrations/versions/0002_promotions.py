"""Which model is in force: rows that are only added; run by `Database.migrate`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_promotions"),
        sa.CheckConstraint("action IN ('promote', 'roll_back')", name="ck_promotions_action"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER promotions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
        )
        return
    refuse = "BEGIN SELECT RAISE(ABORT, 'promotions are only added to'); END"
    op.execute(f"CREATE TRIGGER promotions_no_update BEFORE UPDATE ON promotions {refuse}")
    op.execute(f"CREATE TRIGGER promotions_no_delete BEFORE DELETE ON promotions {refuse}")
    exists = "EXISTS (SELECT 1 FROM promotions WHERE position = NEW.position)"
    op.execute(f"CREATE TRIGGER promotions_no_replace BEFORE INSERT ON promotions WHEN {exists} {refuse}")
