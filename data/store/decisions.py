"""Statements of reasons: every decision made for an order, none ever changed; called by the routes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Connection, select

from data.errors import NotFound
from data.records import Decision, Judgement, StoredDecision, Thresholds
from data.store import audit_log
from data.store.pending_rows import PendingRows, pending_rows
from data.store.tables import decisions

DECISION: TypeAdapter[Decision] = TypeAdapter(Decision)


def add(
    conn: Connection, order_id: str, decision_id: str, decision: Decision, commitment: str, actor: str
) -> int:
    """Stores one decision; see `put`."""
    with pending_rows(conn) as rows:
        return put(rows, order_id, decision_id, decision, commitment, actor)


def put(
    rows: PendingRows, order_id: str, decision_id: str, decision: Decision, commitment: str, actor: str
) -> int:
    """Stores a decision; `commitment` is that of the order it read. Returns its leaf's index in the log.

    Leaf: order.decided, with the SHA-256 of the stored JSON and the probabilities in parts per million.
    """
    body = DECISION.dump_json(decision).decode("utf-8")
    rows.add(
        decisions,
        id=decision_id,
        order_id=order_id,
        source=decision.source,
        decided_at=decision.decided_at,
        body=body,
        commitment=commitment,
    )
    facts = _facts(decision) | {"decision": decision_id, "digest": digest(body), "commitment": commitment}
    return rows.leaf("order.decided", order_id, actor, decision.decided_at, facts)


def of_order(conn: Connection, order_id: str) -> list[StoredDecision]:
    """Oldest first; the last one is in force. Empty when the order is unknown."""
    query = select(decisions.c.id, decisions.c.body).where(decisions.c.order_id == order_id)
    rows = conn.execute(query.order_by(decisions.c.decided_at, decisions.c.id))
    return [StoredDecision(row.id, DECISION.validate_json(row.body)) for row in rows]


def get(conn: Connection, decision_id: str) -> StoredDecision:
    """Raises:
    NotFound: `decision_not_found`.
    """
    body = conn.execute(select(decisions.c.body).where(decisions.c.id == decision_id)).scalar_one_or_none()
    if body is None:
        raise NotFound("decision_not_found", "没有找到该决定。")
    return StoredDecision(decision_id, DECISION.validate_json(body))


def commitment_of(conn: Connection, decision_id: str) -> str:
    """The commitment to the input that this stored decision rests on."""
    query = select(decisions.c.commitment).where(decisions.c.id == decision_id)
    commitment: str = conn.execute(query).scalar_one()
    return commitment


def digest(body: str) -> str:
    """What the leaf says of a decision: the SHA-256 of its JSON as stored, 64 hex digits."""
    return hashlib.sha256(body.encode("utf-8")).hexdigest()


def by_person(original: Decision, judgement: Judgement, at: datetime) -> Decision:
    """The decision of a person who looked at `original`: pure.

    What was found in the text (rules, flags, versions) stays; what only a model can say is left out,
    and so is a drafted notice that argued for another outcome.
    """
    same = (original.verdict, original.ground) == (judgement.verdict, judgement.ground)
    return replace(
        original,
        decided_at=at,
        source="person",
        verdict=judgement.verdict,
        ground=judgement.ground,
        kind=judgement.kind,
        subject=judgement.subject,
        p_unreasonable=None,
        confidence=None,
        recommended=judgement.disposition,
        disposition=judgement.disposition,
        review_reasons=(),
        thresholds=Thresholds(decline=None, dispatch=None),
        prediction=None,
        fallback=None,
        notice=original.notice if same else None,
    )


def _facts(decision: Decision) -> dict[str, audit_log.Fact]:
    facts: dict[str, audit_log.Fact] = {
        "source": decision.source,
        "verdict": decision.verdict,
        "recommended": decision.recommended,
        "disposition": decision.disposition,
        "flags": list(decision.flags),
        "review_reasons": list(decision.review_reasons),
        "rules": [hit.rule for hit in decision.rule_hits],
        "truncated": int(decision.truncated),
        "traditional": int(decision.traditional),
        "versions": _given(
            {
                "bundle": decision.versions.bundle,
                "rules": decision.versions.rules,
                "taxonomy": decision.versions.taxonomy,
                "canonical": decision.versions.canonical,
                "masking": decision.versions.masking,
                "certificate": decision.versions.certificate,
            }
        ),
        "ppm": _given(
            {
                "unreasonable": _ppm(decision.p_unreasonable),
                "confidence": _ppm(decision.confidence),
                "decline": _ppm(decision.thresholds.decline),
                "dispatch": _ppm(decision.thresholds.dispatch),
                "base_rate": _ppm(decision.thresholds.base_rate),
            }
        ),
    }
    if decision.prediction is not None:
        groups = ("verdict", "kind", "subject", "flags")
        facts["probabilities_ppm"] = {
            group: {code: round(p * 1_000_000) for code, p in getattr(decision.prediction, group).items()}
            for group in groups
        }
    return facts | _given(
        {
            "ground": decision.ground,
            "kind": decision.kind,
            "subject": decision.subject,
            "fallback": decision.fallback,
        }
    )


def _ppm(value: float | None) -> int | None:
    return None if value is None else round(value * 1_000_000)


def _given(fields: Mapping[str, str | int | None]) -> dict[str, audit_log.Fact]:
    # A leaf has no null: what is not known is not there.
    return {name: value for name, value in fields.items() if value is not None}
