"""What reviewers said before seeing the model's answer, one judgement each; called by `reviews`."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import replace
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Connection, exists, insert, select, update

from data.errors import BadInput, Conflict
from data.records import Judgement
from data.store.audit_log import Fact
from data.store.tables import judgements, reviews

JUDGEMENT: TypeAdapter[Judgement] = TypeAdapter(Judgement)


def add(conn: Connection, review_id: str, reviewer: str, judgement: Judgement, at: datetime) -> str:
    """Stores a blind judgement and returns the keyed commitment to it, 64 hex digits.

    Raises:
        Conflict: `already_judged`: a judgement given before seeing the answer cannot be given after.
    """
    if of(conn, review_id, reviewer) is not None:
        raise Conflict("already_judged", "您已对该工单作出初步判断，不能更改。")
    body, seal_key = dump(judgement), new_seal_key()
    conn.execute(
        insert(judgements).values(
            review_id=review_id, reviewer=reviewer, judged_at=at, body=body, seal_key=seal_key
        )
    )
    return seal(seal_key, body)


def of(conn: Connection, review_id: str, reviewer: str) -> Judgement | None:
    query = select(judgements.c.body).where(
        judgements.c.review_id == review_id, judgements.c.reviewer == reviewer
    )
    body = conn.execute(query).scalar_one_or_none()
    return None if body is None else load(body)


def given_for_order(conn: Connection, order_id: str, reviewer: str) -> bool:
    """Whether this reviewer has judged some review of the order, and so may see its answer."""
    given = exists().where(
        judgements.c.review_id == reviews.c.id,
        judgements.c.reviewer == reviewer,
        reviews.c.order_id == order_id,
    )
    return bool(conn.execute(select(given)).scalar_one())


def erase_reasons(conn: Connection, review_id: str) -> None:
    """Leaves the codes and takes the words, which may speak of the caller."""
    query = select(judgements.c.reviewer, judgements.c.body).where(judgements.c.review_id == review_id)
    for row in conn.execute(query).all():
        conn.execute(
            update(judgements)
            .where(judgements.c.review_id == review_id, judgements.c.reviewer == row.reviewer)
            .values(body=wordless(row.body), seal_key=None)
        )


def checked(judgement: Judgement) -> Judgement:
    """Raises:
    BadInput: a ground without `unreasonable` or the other way round, or a judgement that leaves it open.
    """
    if (judgement.verdict == "unreasonable") != (judgement.ground is not None):
        raise BadInput("ground_mismatch", "认定为不合理时须选择理由；认定为合理时不得选择理由。")
    if judgement.disposition == "review":
        raise BadInput("disposition_open", "复核结论不能仍为“待复核”。")
    return judgement


def facts(judgement: Judgement) -> dict[str, Fact]:
    """The codes of a judgement as a leaf holds them, without the reason."""
    codes: dict[str, Fact] = {
        "verdict": judgement.verdict,
        "kind": judgement.kind,
        "subject": judgement.subject,
        "disposition": judgement.disposition,
    }
    return codes if judgement.ground is None else codes | {"ground": judgement.ground}


def new_seal_key() -> bytes:
    return secrets.token_bytes(32)


def seal(key: bytes, *texts: str) -> str:
    """HMAC-SHA256 of the texts as a JSON array: says nothing of them once the key is gone."""
    return hmac.new(key, json.dumps(texts).encode("ascii"), hashlib.sha256).hexdigest()


def dump(judgement: Judgement) -> str:
    return JUDGEMENT.dump_json(judgement).decode("utf-8")


def load(body: str) -> Judgement:
    return JUDGEMENT.validate_json(body)


def wordless(body: str) -> str:
    return dump(replace(load(body), reason=""))
