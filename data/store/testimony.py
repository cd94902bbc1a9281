"""What the leaves say of orders, decisions, batches and keys, against the rows; used by `verification`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, select

from data.store import batches, decisions, judgements, promotions
from data.store.audit_log import Entry
from data.store.tables import api_keys, batch_lines, orders, reviews
from data.store.tables import batches as batch_rows
from data.store.tables import decisions as decision_rows
from data.store.tables import judgements as judgement_rows

_NO_LINES: Final = (0, 0, batches.EMPTY_CHAIN.hex())


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not agree: `where` is an id, an index or a size; `detail` is Chinese."""

    code: str
    where: str
    detail: str


@dataclass(slots=True)
class Testimony:
    """Hears every leaf once, then looks at the rows."""

    received: dict[str, str] = field(default_factory=dict)
    decided: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    judged: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    resolved: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    promoted: dict[str, tuple[str, str]] = field(default_factory=dict)
    batches: dict[str, tuple[str, int, int, str]] = field(default_factory=dict)

    def hear(self, entry: Entry) -> None:
        """Raises KeyError when a leaf lacks a fact that its event always has."""
        facts, subject = entry.facts, entry.subject
        match entry.event:
            case "order.received":
                self.received[subject] = facts["commitment"]
            case "order.decided":
                self.decided[facts["decision"]] = (subject, facts["digest"], facts["commitment"])
            case "order.erased":
                self.erased.add(subject)
            case "review.judged":
                self.judged[facts["review"], entry.actor] = facts
            case "review.resolved":
                self.resolved[facts["review"]] = facts
            case "key.issued":
                self.keys[subject] = facts["role"]
            case "key.revoked":
                self.revoked.add(subject)
            case "model.promoted" | "model.rolled_back":
                self.promoted[subject] = (facts["digest"], facts["told"])
            case "batch.received":
                told = (entry.actor, facts["lines"], facts["refused"], facts["digest"])
                self.batches[subject] = told

    def contradictions(self, conn: Connection) -> Iterator[Finding]:
        yield from self._orders(conn)
        yield from self._decisions(conn)
        yield from self._judgements(conn)
        yield from self._resolutions(conn)
        yield from self._keys(conn)
        yield from self._promotions(conn)
        yield from self._batches(conn)

    def _promotions(self, conn: Connection) -> Iterator[Finding]:
        missing = set(self.promoted)
        for made in promotions.history(conn):
            missing.discard(made.id)
            if self.promoted.get(made.id) != (made.digest, promotions.told(made.who, made.why)):
                yield Finding("promotion_changed", made.id, "模型启用记录与日志不符，或没有日志。")
        for lost in sorted(missing):
            yield Finding("promotion_missing", lost, "日志中的模型启用记录不在数据库里。")

    def _orders(self, conn: Connection) -> Iterator[Finding]:
        decided = {order_id for order_id, _, _ in self.decided.values()}
        missing = set(self.received)
        for row in conn.execute(select(orders.c.id, orders.c.commitment, orders.c.erased_at)):
            missing.discard(row.id)
            if self.received.get(row.id) != row.commitment:
                yield Finding("order_changed", row.id, "工单与其受理记录不符，或没有受理记录。")
            if row.id not in decided:
                yield Finding("order_undecided", row.id, "工单没有决定记录。")
            if (row.erased_at is not None) != (row.id in self.erased):
                yield Finding("order_erasure", row.id, "工单的删除状态与日志不符。")
        for order_id in sorted(missing):
            yield Finding("order_missing", order_id, "日志中受理过的工单已不在库中。")

    def _decisions(self, conn: Connection) -> Iterator[Finding]:
        missing = set(self.decided)
        c = decision_rows.c
        for row in conn.execute(select(c.id, c.order_id, c.body, c.commitment)):
            missing.discard(row.id)
            if self.decided.get(row.id) != (row.order_id, decisions.digest(row.body), row.commitment):
                yield Finding("decision_changed", row.id, "决定内容与日志中的摘要不符，或没有日志记录。")
        for decision_id in sorted(missing):
            yield Finding("decision_missing", decision_id, "日志中的决定已不在库中。")

    def _judgements(self, conn: Connection) -> Iterator[Finding]:
        missing = set(self.judged)
        query = select(judgement_rows, reviews.c.order_id).join(reviews)
        for row in conn.execute(query):
            missing.discard((row.review_id, row.reviewer))
            facts = self.judged.get((row.review_id, row.reviewer))
            if not self._agrees(facts, row.order_id, row.seal_key, row.body):
                yield Finding("judgement_changed", row.review_id, "初步判断与日志不符，或没有日志记录。")
        for review_id, _ in sorted(missing):
            yield Finding("judgement_missing", review_id, "日志中的初步判断已不在库中。")

    def _resolutions(self, conn: Connection) -> Iterator[Finding]:
        missing = set(self.resolved)
        c = reviews.c
        query = select(c.id, c.order_id, c.final_judgement, c.change_reason, c.seal_key)
        for row in conn.execute(query.where(c.status == "resolved")):
            missing.discard(row.id)
            facts = self.resolved.get(row.id)
            texts = (row.final_judgement, row.change_reason or "")
            if not self._agrees(facts, row.order_id, row.seal_key, *texts):
                yield Finding("resolution_changed", row.id, "复核结论与日志不符，或没有日志记录。")
        for review_id in sorted(missing):
            yield Finding("resolution_missing", review_id, "日志中的复核结论已不在库中。")

    def _keys(self, conn: Connection) -> Iterator[Finding]:
        missing = set(self.keys)
        for row in conn.execute(select(api_keys.c.id, api_keys.c.role, api_keys.c.revoked_at)):
            missing.discard(row.id)
            revoked = row.revoked_at is not None
            if self.keys.get(row.id) != row.role or revoked != (row.id in self.revoked):
                yield Finding("key_changed", row.id, "接口密钥的角色或吊销状态与日志不符，或没有签发记录。")
        for key_id in sorted(missing):
            yield Finding("key_missing", key_id, "日志中签发的接口密钥已不在库中。")

    def _batches(self, conn: Connection) -> Iterator[Finding]:
        """An upload is told of when its last line has come; until then the log knows nothing of it."""
        missing = set(self.batches)
        received = _lines_of_batches(conn)
        for row in conn.execute(select(batch_rows.c.id, batch_rows.c.caller_id, batch_rows.c.completed_at)):
            missing.discard(row.id)
            told = self.batches.get(row.id)
            if (row.completed_at is not None) != (told is not None):
                yield Finding("batch_completion", row.id, "批次的上传状态与日志不符。")
            elif told is not None and told != (row.caller_id, *received.get(row.id, _NO_LINES)):
                yield Finding("batch_changed", row.id, "批次的上传者或各行与日志中的摘要不符。")
        for batch_id in sorted(missing):
            yield Finding("batch_missing", batch_id, "日志中收到的批次已不在库中。")

    def _agrees(
        self, facts: Mapping[str, Any] | None, order_id: str, seal_key: bytes | None, body: str, *more: str
    ) -> bool:
        if facts is None:
            return False
        codes = judgements.facts(judgements.load(body))
        if codes != {name: value for name, value in facts.items() if name in {*codes, "ground"}}:
            return False
        # Once an order is erased the words and their key are gone, and only the codes can be compared.
        if seal_key is None:
            return order_id in self.erased
        return bool(judgements.seal(seal_key, body, *more) == facts["commitment"])


def _lines_of_batches(conn: Connection) -> dict[str, tuple[int, int, str]]:
    """Of each batch: its lines, those refused when they came, and the chain over their digests."""
    c = batch_lines.c
    query = select(c.batch_id, c.digest, c.state).order_by(c.batch_id, c.line)
    found: dict[str, tuple[int, int, str]] = {}
    rows = conn.execute(query.execution_options(yield_per=1000))
    for batch_id, group in groupby(rows, key=lambda row: row.batch_id):
        lines, refused, chain = 0, 0, batches.EMPTY_CHAIN
        for row in group:
            lines, refused = lines + 1, refused + (row.state == "refused")
            chain = batches.chained(chain, [row.digest])
        found[batch_id] = (lines, refused, chain.hex())
    return found
