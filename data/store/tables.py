"""The tables as SQLAlchemy sees them; used by the whole store. A test compares them with the migrations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_millis(at: datetime) -> int:
    """Whole milliseconds since 1970 in UTC, rounded down; `at` must carry its offset."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def from_millis(millis: int) -> datetime:
    return EPOCH + timedelta(milliseconds=millis)


class Instant(TypeDecorator[datetime]):
    """A point in time, kept as milliseconds since 1970 so that both databases order and compare it alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else to_millis(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_millis(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

orders = Table(
    "orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("channel", Text),
    Column("region", Text),
    Column("received_at", Instant, nullable=False),
    Column("received_by", Text, nullable=False),
    Column("commitment", Text, nullable=False),
    Column("superseded_by", Text, ForeignKey("orders.id")),
    Column("erased_at", Instant),
    UniqueConstraint("source", "number", "revision"),
)

order_texts = Table(
    "order_texts",
    metadata,
    Column("order_id", Text, ForeignKey("orders.id"), primary_key=True),
    Column("ciphertext", LargeBinary, nullable=False),
)

# Apart from the texts, so that the two can be backed up and restored under different rules: a text
# whose key is gone stays unreadable even where an old copy of the ciphertext survives.
order_keys = Table(
    "order_keys",
    metadata,
    Column("order_id", Text, ForeignKey("orders.id"), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    Column("commitment", Text, nullable=False),
    Index(None, "order_id"),
)

UNFINISHED: Final = ("open", "claimed", "judged")
FINISHED: Final = ("resolved", "superseded")

reviews = Table(
    "reviews",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    Column("decision_id", Text, ForeignKey("decisions.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("claimed_by", Text),
    Column("lease_until", Instant),
    Column("fence", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("final_judgement", Text),
    Column("change_reason", Text),
    Column("seal_key", LargeBinary),
    Column("resolved_at", Instant),
    UniqueConstraint("decision_id"),
    CheckConstraint("status IN ('open', 'claimed', 'judged', 'resolved', 'superseded')", name="status"),
    Index(None, "order_id"),
    # Two, so that finished reviews, which pile up, cost the queue of the others nothing.
    *(
        Index(name, "priority", "opened_at", "id", sqlite_where=those, postgresql_where=those)
        for name, those in (
            ("ix_reviews_unfinished", text(f"status IN {UNFINISHED}")),
            ("ix_reviews_finished", text(f"status IN {FINISHED}")),
        )
    ),
)

# One blind judgement per reviewer and review: a second reviewer never overwrites a first one's.
judgements = Table(
    "judgements",
    metadata,
    Column("review_id", Text, ForeignKey("reviews.id"), primary_key=True),
    Column("reviewer", Text, primary_key=True),
    Column("judged_at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    Column("seal_key", LargeBinary),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("status", Integer),
    Column("headers", Text),
    Column("body", LargeBinary),
    Index(None, "started_at"),
)

# No foreign keys: the log outlives what it speaks of.
audit_leaves = Table(
    "audit_leaves",
    metadata,
    Column("leaf_index", BigInteger, primary_key=True, autoincrement=False),
    Column("event", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Index(None, "subject"),
)

audit_nodes = Table(
    "audit_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("signed_at", Instant, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("action", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    CheckConstraint("action IN ('promote', 'roll_back')", name="action"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("begun_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("completed_at", Instant),
    Column("finished_at", Instant),
    Column("received", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("decided", BigInteger, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    UniqueConstraint("caller_id", "key"),
)

# Apart from the lines for the reason that `order_keys` are.
batch_keys = Table(
    "batch_keys",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id"), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)

# What became of each line; never what it says.
batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id"), primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("client_ref", Text),
    Column("digest", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("decision_id", Text, ForeignKey("decisions.id")),
    Column("problem", Text),
    CheckConstraint("state IN ('pending', 'decided', 'refused', 'failed')", name="state"),
)

# Lines that wait; the text goes with the row once the line is decided.
batch_queue = Table(
    "batch_queue",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("name", LargeBinary, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("holder", Text),
    Column("lease_until", Instant),
    Column("sealed", LargeBinary, nullable=False),
    ForeignKeyConstraint(["batch_id", "line"], ["batch_lines.batch_id", "batch_lines.line"]),
)
