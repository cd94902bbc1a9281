"""The audit log: leaves appended in the transaction of what they tell, and proofs; used by all the store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, bindparam, func, insert, select, tuple_

from data.errors import BadInput
from data.store import merkle
from data.store.tables import audit_leaves, audit_nodes, from_millis, to_millis

Event = Literal[
    "order.received",
    "order.decided",
    "order.superseded",
    "order.erased",
    "review.opened",
    "review.claimed",
    "review.released",
    "review.judged",
    "review.resolved",
    "record.read",
    "key.issued",
    "key.revoked",
    "model.promoted",
    "model.rolled_back",
    "batch.received",
]
EVENTS: tuple[Event, ...] = get_args(Event)

Fact = str | int | Sequence["Fact"] | Mapping[str, "Fact"]
Facts = Mapping[str, Fact]

LEAF_VERSION = 1
# Ids, codes, digests and versions: nothing that could hold a sentence, least of all a Chinese one.
CODE = re.compile(r"[!-~]{1,200}", re.ASCII)
MAX_INTEGER = 2**53 - 1  # RFC 7493: beyond it a reader with floating-point numbers would see another one

_NEWEST: Final = select(func.max(audit_leaves.c.leaf_index))
_NODES: Final = select(audit_nodes).where(
    tuple_(audit_nodes.c.level, audit_nodes.c.position).in_(bindparam("wanted", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf: `leaf` is the exact bytes that were hashed, the rest is what they say."""

    index: int
    event: Event
    subject: str
    actor: str
    at: datetime
    facts: Mapping[str, Any]
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Proof that a log of `size` leaves holds this leaf hash at `index`: 32-byte hashes, nearest first."""

    index: int
    size: int
    leaf_hash: bytes
    path: tuple[bytes, ...]


class Tail:
    """The growing end of the log in one transaction: leaves get their place at once, rows wait for `write`.

    Between the two nothing else may append; writers hold the database's one lock, so nobody else can.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._size: int | None = None
        self._peaks: dict[int, bytes] = {}  # the complete subtrees that no larger one holds yet, by level
        self._leaves: list[dict[str, object]] = []
        self._nodes: list[dict[str, object]] = []

    def append(self, event: Event, subject: str, actor: str, at: datetime, facts: Facts) -> int:
        """See the function `append`."""
        if event not in EVENTS:
            raise ValueError("unknown audit event")
        index = self._open()
        content = {
            "v": LEAF_VERSION,
            "index": index,
            "event": event,
            "subject": subject,
            "actor": actor,
            "at": to_millis(at),
            "facts": facts,
        }
        _refuse_text(content)
        leaf = _canonical(content)
        self._leaves.append(
            {"leaf_index": index, "event": event, "subject": subject, "actor": actor, "at": at, "leaf": leaf}
        )
        self._complete(index, merkle.leaf_hash(leaf))
        self._size = index + 1
        return index

    def write(self) -> None:
        if self._leaves:
            self._conn.execute(insert(audit_leaves), self._leaves)
            self._conn.execute(insert(audit_nodes), self._nodes)
        self._leaves, self._nodes = [], []

    def _open(self) -> int:
        """The next leaf's index; the log is read once, when the first leaf comes."""
        if self._size is None:
            self._size = size(self._conn)
            stored = _nodes(self._conn, merkle.cover(0, self._size))
            self._peaks = {level: digest for (level, _), digest in stored.items()}
        return self._size

    def _complete(self, index: int, digest: bytes) -> None:
        """Keep the leaf's hash and those of the subtrees that it completes, whose left halves are peaks."""
        self._nodes.append({"level": 0, "position": index, "hash": digest})
        for level in range(_trailing_ones(index)):
            digest = merkle.node_hash(self._peaks.pop(level), digest)
            self._nodes.append({"level": level + 1, "position": index >> (level + 1), "hash": digest})
        self._peaks[_trailing_ones(index)] = digest


def append(conn: Connection, event: Event, subject: str, actor: str, at: datetime, facts: Facts) -> int:
    """Adds a leaf inside `Database.transaction()` and returns its index, counted from zero.

    The leaf is the canonical JSON (RFC 8785) of the arguments, `at` in milliseconds. `subject` is an
    order's id, or a key's, a promotion's or a batch's for their events; `actor` is a caller's id.

    Raises:
        ValueError: an unknown event, or a fact that is neither an integer nor a code: a defect of the caller.
    """
    tail = Tail(conn)
    index = tail.append(event, subject, actor, at, facts)
    tail.write()
    return index


def size(conn: Connection) -> int:
    newest = conn.execute(_NEWEST).scalar_one()
    return 0 if newest is None else newest + 1


def entries(conn: Connection, subject: str) -> list[Entry]:
    """Everything the log says of one order or key, oldest first."""
    query = select(audit_leaves.c.leaf).where(audit_leaves.c.subject == subject)
    return [read(leaf) for leaf in conn.execute(query.order_by(audit_leaves.c.leaf_index)).scalars()]


def read(leaf: bytes) -> Entry:
    """What a leaf says; raises ValueError or KeyError when it is none."""
    content = json.loads(leaf)
    return Entry(
        index=content["index"],
        event=content["event"],
        subject=content["subject"],
        actor=content["actor"],
        at=from_millis(content["at"]),
        facts=content["facts"],
        leaf=leaf,
    )


def root(conn: Connection, size: int) -> bytes:
    """The root over the first `size` leaves, 32 bytes, in O(log size).

    Raises:
        BadInput: `audit_range`.
    """
    _refuse_range(conn, 0, size)
    return _roots(conn, [(0, size)])[0]


def inclusion(conn: Connection, index: int, size: int) -> Inclusion:
    """Raises:
    BadInput: `audit_range`.
    """
    _refuse_range(conn, index, size)
    if index == size:
        raise _out_of_range()
    own, *path = _roots(conn, [(index, index + 1), *merkle.inclusion_ranges(index, size)])
    return Inclusion(index, size, own, tuple(path))


def consistency(conn: Connection, old: int, new: int) -> tuple[bytes, ...]:
    """The path that proves that the log of size `new` begins with the log of size `old`.

    Raises:
        BadInput: `audit_range`.
    """
    _refuse_range(conn, old, new)
    return tuple(_roots(conn, merkle.consistency_ranges(old, new)))


def _roots(conn: Connection, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
    """The root over each range of leaves, from the stored subtrees, in one query."""
    covers = [merkle.cover(start, end) for start, end in ranges]
    stored = _nodes(conn, [node for cover in covers for node in cover])
    return [merkle.fold([stored[node] for node in cover]) for cover in covers]


def _nodes(conn: Connection, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    if not wanted:
        return {}
    return {(row.level, row.position): row.hash for row in conn.execute(_NODES, {"wanted": wanted})}


def _refuse_range(conn: Connection, low: int, high: int) -> None:
    if not 0 <= low <= high <= size(conn):
        raise _out_of_range()


def _out_of_range() -> BadInput:
    return BadInput("audit_range", "审计日志的位置或长度超出范围。")


def _canonical(content: Mapping[str, Fact]) -> bytes:
    """RFC 8785's form of what `_refuse_text` lets through: ASCII names and integers need sorting, no more.

    A general canonicaliser took a third of the time that keeping an order takes.
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")


def _refuse_text(fact: object) -> None:
    if isinstance(fact, str):
        if not CODE.fullmatch(fact):
            raise ValueError("an audit leaf holds codes only")
    elif isinstance(fact, dict):  # not any Mapping: the check of an abstract class costs ten times this one
        for name, value in fact.items():
            _refuse_text(name)
            _refuse_text(value)
    elif isinstance(fact, list | tuple):
        for value in fact:
            _refuse_text(value)
    elif isinstance(fact, bool) or not isinstance(fact, int):
        raise ValueError("an audit leaf holds integers and strings only")
    elif abs(fact) > MAX_INTEGER:
        raise ValueError("an integer of an audit leaf is exact in every reader's JSON")


def _trailing_ones(number: int) -> int:
    return (number ^ (number + 1)).bit_length() - 1
