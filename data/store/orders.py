"""Work orders as received: stored, found, superseded, erased; called by the HTTP routes and pages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Row, Text, bindparam, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY

from data.errors import Conflict, NotFound
from data.records import OrderHeader, WorkOrder
from data.store import audit_log, review_rows, vault
from data.store.pending_rows import PendingRows, pending_rows
from data.store.tables import from_millis, orders, to_millis

_NEWEST: Final = (
    select(orders.c.source, orders.c.number, func.max(orders.c.revision).label("newest"))
    .where(tuple_(orders.c.source, orders.c.number).in_(bindparam("names", expanding=True)))
    .group_by(orders.c.source, orders.c.number)
)
# PostgreSQL, while it has no statistics, compares a list of pairs with every order of a source. Asked for one
# pair after the other, it goes by the index whatever it believes.
_ASKED: Final = (
    func.unnest(bindparam("sources", type_=ARRAY(Text)), bindparam("numbers", type_=ARRAY(Text)))
    .table_valued("source", "number", name="asked")
    .render_derived()
)
_NEWEST_OF_EACH: Final = select(
    _ASKED.c.source,
    _ASKED.c.number,
    select(func.max(orders.c.revision))
    .where(orders.c.source == _ASKED.c.source, orders.c.number == _ASKED.c.number)
    .scalar_subquery()
    .label("newest"),
)


def add(conn: Connection, vault_key: bytes, order: WorkOrder, actor: str) -> str:
    """Stores one order; see `put`."""
    with pending_rows(conn) as rows:
        return put(rows, vault_key, order, actor, newest_revisions(conn, [order]).get(_name(order)))


def put(rows: PendingRows, vault_key: bytes, order: WorkOrder, actor: str, newest: int | None) -> str:
    """Stores an order and returns its commitment (64 hex digits), which its decision carries.

    Times are kept to the millisecond. A revision above the newest supersedes it and closes its reviews.
    Leaves: order.received, then order.superseded on the revision before.

    Args:
        newest: what `newest_revisions` says of this order.

    Raises:
        Conflict: `order_exists`, or `revision_stale` when a newer revision is here already.
    """
    if newest is not None and order.revision <= newest:
        known = select(orders.c.id).where(_same(order), orders.c.revision == order.revision)
        if rows.conn.execute(known).first() is not None:
            raise Conflict("order_exists", "该来源、编号与版次的工单已经受理。")
        raise Conflict("revision_stale", "已有更新版次的工单，不能再提交较旧的版次。")
    sealed = vault.seal(vault_key, order.id, _payload(order))
    rows.add(
        orders,
        id=order.id,
        source=order.source,
        number=order.number,
        revision=order.revision,
        channel=order.channel,
        region=order.region,
        received_at=order.received_at,
        received_by=actor,
        commitment=sealed.commitment,
    )
    vault.put(rows, order.id, sealed)
    facts: audit_log.Facts = {"commitment": sealed.commitment, "revision": order.revision}
    rows.leaf("order.received", order.id, actor, order.received_at, facts)
    if newest is not None:
        rows.write()  # the older revision will point to this one
        _supersede(rows, order, actor)
    return sealed.commitment


def newest_revisions(conn: Connection, wanted: Iterable[WorkOrder]) -> dict[tuple[str, str], int]:
    """The highest revision stored of each (source, number) among these orders; absent: none is."""
    names = [_name(order) for order in wanted]
    if conn.dialect.name == "postgresql":
        sources, numbers = ([name[part] for name in names] for part in (0, 1))
        found = conn.execute(_NEWEST_OF_EACH, {"sources": sources, "numbers": numbers})
    else:
        found = conn.execute(_NEWEST, {"names": names})
    return {(row.source, row.number): row.newest for row in found if row.newest is not None}


def get(conn: Connection, vault_key: bytes, order_id: str) -> WorkOrder:
    """Raises:
    NotFound: `order_not_found`, or `order_erased`.
    Unavailable: the text cannot be decrypted.
    """
    found = header(conn, order_id)
    return _read(vault.unseal(conn, vault_key, order_id, found.commitment))


def header(conn: Connection, order_id: str) -> OrderHeader:
    """Raises:
    NotFound: `order_not_found`.
    """
    row = conn.execute(select(orders).where(orders.c.id == order_id)).one_or_none()
    if row is None:
        raise NotFound("order_not_found", "没有找到该工单。")
    return _header(row)


def find(conn: Connection, source: str, number: str) -> list[OrderHeader]:
    """Every revision of one order, newest first; empty when there is none."""
    query = select(orders).where(orders.c.source == source, orders.c.number == number)
    return [_header(row) for row in conn.execute(query.order_by(orders.c.revision.desc()))]


def recent(
    conn: Connection, vault_key: bytes, after: str | None, limit: int
) -> list[tuple[OrderHeader, WorkOrder | None]]:
    """A page of orders, newest first, beginning behind the id `after`; the text is None once erased."""
    query = select(orders).order_by(orders.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(orders.c.id < after)
    headers = [_header(row) for row in conn.execute(query)]
    return [
        (found, None if found.erased_at else _read(vault.unseal(conn, vault_key, found.id, found.commitment)))
        for found in headers
    ]


def erase(conn: Connection, order_id: str, actor: str, at: datetime) -> None:
    """Deletes the order's text and what reviewers wrote about it; codes, times and the log remain.

    Leaf: order.erased.

    Raises:
        NotFound: `order_not_found`.
        Conflict: `order_erased` already.
    """
    if header(conn, order_id).erased_at is not None:
        raise Conflict("order_erased", "该工单的内容已经删除。")
    vault.erase(conn, order_id)
    closed = review_rows.close(conn, [order_id])
    review_rows.erase_reasons(conn, order_id)
    conn.execute(update(orders).where(orders.c.id == order_id).values(erased_at=at))
    audit_log.append(conn, "order.erased", order_id, actor, at, {"reviews": closed})


def _name(order: WorkOrder) -> tuple[str, str]:
    return (order.source, order.number)


def _same(order: WorkOrder) -> ColumnElement[bool]:
    return (orders.c.source == order.source) & (orders.c.number == order.number)


def _supersede(rows: PendingRows, order: WorkOrder, actor: str) -> None:
    conn = rows.conn
    older = conn.execute(
        select(orders.c.id, orders.c.superseded_by)
        .where(_same(order), orders.c.revision < order.revision)
        .order_by(orders.c.revision)
    ).all()
    for row in older:
        closed = review_rows.close(conn, [row.id])
        if row.superseded_by is not None and not closed:
            continue
        conn.execute(update(orders).where(orders.c.id == row.id).values(superseded_by=order.id))
        facts: audit_log.Facts = {"by": order.id, "revision": order.revision, "reviews": closed}
        rows.leaf("order.superseded", row.id, actor, order.received_at, facts)


def _payload(order: WorkOrder) -> bytes:
    # Escaped to ASCII, so that every string can be stored: a lone surrogate has no UTF-8.
    fields = {
        "id": order.id,
        "source": order.source,
        "number": order.number,
        "revision": order.revision,
        "title": order.title,
        "content": order.content,
        "received_at": to_millis(order.received_at),
        "channel": order.channel,
        "region": order.region,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")


def _read(payload: bytes) -> WorkOrder:
    fields = json.loads(payload)
    return WorkOrder(**{**fields, "received_at": from_millis(fields["received_at"])})


def _header(row: Row[*tuple[object, ...]]) -> OrderHeader:
    fields = row._asdict()
    del fields["superseded_by"]
    return OrderHeader(**fields)
