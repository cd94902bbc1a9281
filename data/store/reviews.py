"""Orders that need a person: claimed on a lease, judged blind, then resolved; called by the review desk."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, tuple_, update

from data.errors import BadInput, Conflict, NotFound
from data.records import Decision, Judgement, Review, ReviewStatus
from data.store import audit_log, decisions, judgements, review_rows
from data.store.identifiers import new_id
from data.store.pending_rows import PendingRows, pending_rows
from data.store.tables import reviews, to_millis


def open(  # noqa: A001
    conn: Connection,
    review_id: str,
    order_id: str,
    decision_id: str,
    decision: Decision,
    at: datetime,
    actor: str,
) -> Review:
    """Opens one review; see `put`."""
    with pending_rows(conn) as rows:
        put(rows, review_id, order_id, decision_id, decision, at, actor)
    return get(conn, review_id, at)


def put(
    rows: PendingRows,
    review_id: str,
    order_id: str,
    decision_id: str,
    decision: Decision,
    at: datetime,
    actor: str,
) -> None:
    """Opens a review of a stored decision, for the reasons it gives. Leaf: review.opened."""
    reasons = decision.review_reasons
    priority = review_rows.priority_of(decision)
    rows.add(
        reviews,
        id=review_id,
        order_id=order_id,
        decision_id=decision_id,
        status="open",
        reasons=json.dumps(reasons),
        priority=priority,
        opened_at=at,
        fence=0,
        version=1,
    )
    facts: audit_log.Facts = {
        "review": review_id,
        "decision": decision_id,
        "reasons": list(reasons),
        "priority": priority,
    }
    rows.leaf("review.opened", order_id, actor, at, facts)


def queue(
    conn: Connection,
    now: datetime,
    status: ReviewStatus | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[Review]:
    """A page of reviews by priority, then age, beginning behind the review `after`.

    Without a status: all that are not finished. A review whose lease has run out counts as open.

    Raises:
        BadInput: `cursor_unknown`.
    """
    place = (reviews.c.priority, reviews.c.opened_at, reviews.c.id)
    query = (
        review_rows.select_reviews().where(review_rows.in_status(status, now)).order_by(*place).limit(limit)
    )
    if after is not None:
        cursor = conn.execute(select(*place).where(reviews.c.id == after)).one_or_none()
        if cursor is None:
            raise BadInput("cursor_unknown", "翻页位置无效，请从头查看。")
        query = query.where(tuple_(*place) > tuple_(cursor.priority, to_millis(cursor.opened_at), cursor.id))
    return [review_rows.read(row, now) for row in conn.execute(query)]


def get(conn: Connection, review_id: str, now: datetime) -> Review:
    """Raises:
    NotFound: `review_not_found`.
    """
    row = conn.execute(review_rows.select_reviews().where(reviews.c.id == review_id)).one_or_none()
    if row is None:
        raise NotFound("review_not_found", "没有找到该复核任务。")
    return review_rows.read(row, now)


def of_order(conn: Connection, order_id: str, now: datetime) -> list[Review]:
    """Every review of one order, oldest first."""
    query = (
        review_rows.select_reviews()
        .where(reviews.c.order_id == order_id)
        .order_by(reviews.c.opened_at, reviews.c.id)
    )
    return [review_rows.read(row, now) for row in conn.execute(query)]


def claim(
    conn: Connection,
    review_id: str,
    reviewer: str,
    now: datetime,
    lease: timedelta,
    version: int | None = None,
) -> Review:
    """Takes an open review, or renews one's own claim, with a new fence. Leaf: review.claimed.

    `version`, here and below, is the one the caller has seen (HTTP's If-Match).

    Raises:
        Conflict: `already_claimed`, `already_resolved`, `review_superseded`, `version_stale`.
    """
    review = _unfinished(conn, review_id, now, version)
    if review.claimed_by not in (None, reviewer):
        raise Conflict("already_claimed", "该复核任务已由其他人员领取。")
    judged = judgements.of(conn, review_id, reviewer) is not None
    change = {
        "status": "judged" if judged else "claimed",
        "claimed_by": reviewer,
        "lease_until": now + lease,
        "fence": review.fence + 1,
    }
    facts: audit_log.Facts = {"fence": review.fence + 1, "lease_until": to_millis(now + lease)}
    return _change(conn, review, change, "review.claimed", reviewer, now, facts)


def release(
    conn: Connection, review_id: str, reviewer: str, fence: int, now: datetime, version: int | None = None
) -> Review:
    """Gives a claimed review back. Leaf: review.released.

    Raises:
        Conflict: `lease_lost`, `already_resolved`, `review_superseded`, `version_stale`.
    """
    review = _held(conn, review_id, reviewer, fence, now, version)
    change = {"status": "open", "claimed_by": None, "lease_until": None}
    return _change(conn, review, change, "review.released", reviewer, now, {"fence": fence})


def judge(
    conn: Connection,
    review_id: str,
    reviewer: str,
    fence: int,
    judgement: Judgement,
    now: datetime,
    version: int | None = None,
) -> Review:
    """The first judgement, given before the model's answer is shown. Leaf: review.judged.

    Raises:
        BadInput: `ground_mismatch`, `disposition_open`.
        Conflict: `already_judged`, `lease_lost`, `already_resolved`, `review_superseded`, `version_stale`.
    """
    judgements.checked(judgement)
    review = _held(conn, review_id, reviewer, fence, now, version)
    commitment = judgements.add(conn, review_id, reviewer, judgement, now)
    facts = judgements.facts(judgement) | {"fence": fence, "commitment": commitment}
    return _change(conn, review, {"status": "judged"}, "review.judged", reviewer, now, facts)


def resolve(
    conn: Connection,
    review_id: str,
    reviewer: str,
    fence: int,
    judgement: Judgement,
    change_reason: str | None,
    now: datetime,
    version: int | None = None,
) -> Review:
    """The final judgement, which becomes a decision whose source is a person.

    Leaves: order.decided, review.resolved.

    Raises:
        BadInput: `change_reason_missing` when verdict, ground or disposition differ from the reviewer's
            first judgement and no reason is given; `ground_mismatch`, `disposition_open`.
        Conflict: `judge_first`, `lease_lost`, `already_resolved`, `review_superseded`, `version_stale`.
    """
    judgements.checked(judgement)
    review = _held(conn, review_id, reviewer, fence, now, version)
    first = review.first_judgement
    if first is None:
        raise Conflict("judge_first", "请先作出初步判断，再查看系统意见并作出结论。")
    changed = (first.verdict, first.ground, first.disposition) != (
        judgement.verdict,
        judgement.ground,
        judgement.disposition,
    )
    if changed and not (change_reason and change_reason.strip()):
        raise BadInput("change_reason_missing", "结论与初步判断不同，请填写更改理由。")
    decision_id = new_id()
    original = decisions.get(conn, review.decision_id).decision
    decided = decisions.by_person(original, judgement, now)
    commitment = decisions.commitment_of(conn, review.decision_id)
    decisions.add(conn, review.order_id, decision_id, decided, commitment, reviewer)
    body, seal_key = judgements.dump(judgement), judgements.new_seal_key()
    change = {
        "status": "resolved",
        "lease_until": None,
        "final_judgement": body,
        "change_reason": change_reason,
        "seal_key": seal_key,
        "resolved_at": now,
    }
    facts = judgements.facts(judgement) | {
        "fence": fence,
        "decision": decision_id,
        "changed": int(changed),
        "commitment": judgements.seal(seal_key, body, change_reason or ""),
    }
    return _change(conn, review, change, "review.resolved", reviewer, now, facts)


def _unfinished(conn: Connection, review_id: str, now: datetime, version: int | None) -> Review:
    review = get(conn, review_id, now)
    if review.status == "resolved":
        raise Conflict("already_resolved", "该复核任务已经办结。")
    if review.status == "superseded":
        raise Conflict("review_superseded", "工单已有新版次或已删除，该复核任务已关闭。")
    if version is not None and version != review.version:
        raise Conflict("version_stale", "该复核任务已被更新，请刷新后再试。")
    return review


def _held(
    conn: Connection, review_id: str, reviewer: str, fence: int, now: datetime, version: int | None
) -> Review:
    review = _unfinished(conn, review_id, now, version)
    if review.claimed_by != reviewer or review.fence != fence:
        raise Conflict("lease_lost", "领取已过期或已由他人领取，请重新领取。")
    return review


def _change(
    conn: Connection,
    review: Review,
    change: dict[str, Any],
    event: audit_log.Event,
    actor: str,
    at: datetime,
    facts: audit_log.Facts,
) -> Review:
    conn.execute(
        update(reviews).where(reviews.c.id == review.id).values(**change, version=review.version + 1)
    )
    audit_log.append(conn, event, review.order_id, actor, at, {"review": review.id, **facts})
    return get(conn, review.id, at)
