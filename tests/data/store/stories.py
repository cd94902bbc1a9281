"""Orders, decisions and whole stories that the store's tests tell."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

from sqlalchemy import Connection

from data.records import (
    Decision,
    Judgement,
    Prediction,
    Review,
    RuleHit,
    Span,
    Thresholds,
    Versions,
    WorkOrder,
)
from data.store import decisions, orders, reviews
from data.store.identifiers import new_id

NOW = datetime(2026, 3, 2, 9, 30, 0, 123_000, tzinfo=UTC)
LEASE = timedelta(minutes=15)
VAULT = bytes(range(32))
INTAKE, ANNA, BORIS = "intake-1", "reviewer-anna", "reviewer-boris"

ORDER = WorkOrder(
    id="",
    source="city-12345",
    number="20260302-0007",
    revision=1,
    title="小区电梯停运",
    content="来电人反映三号楼电梯已停运六天，老人上下楼困难，希望尽快维修。",
    received_at=NOW,
    channel="phone",
    region="城东区",
)

DECISION = Decision(
    decided_at=NOW,
    source="model",
    verdict="unreasonable",
    ground="civil_or_market",
    kind="complaint",
    subject="housing",
    p_unreasonable=0.8125,
    confidence=0.7,
    flags=("vulnerable",),
    recommended="explain",
    disposition="review",
    review_reasons=("adverse_needs_person", "protective_flag"),
    rule_hits=(RuleHit("old_people", "protect", Span("content", 16, 18), "涉及老年人", flag="vulnerable"),),
    thresholds=Thresholds(decline=0.95, dispatch=None),
    prediction=Prediction(
        verdict={"reasonable": 0.1875, "civil_or_market": 0.8125},
        kind={"complaint": 1.0},
        subject={"housing": 1 / 3, "other": 2 / 3},
        logits={"verdict": (-0.1, 1.7), "kind": (3.0,), "subject": (0.5, 1.25)},
        truncated=False,
        flags={"vulnerable": 0.25, "emergency": 0.015625},
    ),
    versions=Versions("sha256:b", "sha256:r", "sha256:t", "1", "1", None),
    truncated=False,
    traditional=False,
    fallback=None,
    notice="您反映的事项属于市场主体之间的约定。",
)

JUDGEMENT = Judgement(
    verdict="reasonable",
    ground=None,
    kind="complaint",
    subject="housing",
    disposition="dispatch",
    reason="电梯维修属于物业与监管职责，应当受理。",
)
ADVERSE = replace(JUDGEMENT, verdict="unreasonable", ground="civil_or_market", disposition="explain")


def an_order(**changes: object) -> WorkOrder:
    return replace(ORDER, **{"id": new_id(), "number": f"n-{new_id()}", **changes})


def decided(conn: Connection, decision: Decision = DECISION, **changes: object) -> tuple[WorkOrder, str]:
    """A received and decided order, and its decision's id."""
    order, decision_id = an_order(**changes), new_id()
    commitment = orders.add(conn, VAULT, order, INTAKE)
    decisions.add(conn, order.id, decision_id, decision, commitment, INTAKE)
    return order, decision_id


def opened(conn: Connection, decision: Decision = DECISION, at: datetime = NOW, **changes: object) -> Review:
    """A received and decided order's open review."""
    order, decision_id = decided(conn, decision, **changes)
    return reviews.open(conn, new_id(), order.id, decision_id, decision, at, INTAKE)


def claimed(conn: Connection, reviewer: str = ANNA) -> Review:
    return reviews.claim(conn, opened(conn).id, reviewer, NOW, LEASE)


def judged(conn: Connection, judgement: Judgement = JUDGEMENT) -> Review:
    review = claimed(conn)
    return reviews.judge(conn, review.id, ANNA, review.fence, judgement, NOW)


def resolved(conn: Connection) -> Review:
    review = judged(conn)
    return reviews.resolve(conn, review.id, ANNA, review.fence, JUDGEMENT, None, NOW)


def at_once(count: int, action):
    """Runs `action(number)` on as many threads, started together; what each returned or raised, in order."""
    barrier = Barrier(count)

    def run(number: int) -> object:
        barrier.wait()
        try:
            return action(number)
        except Exception as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
