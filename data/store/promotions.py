"""Which model is in force, since when, by whose word and why; `models` and `serving` call it.

A promotion is a row that is never changed: going back to an earlier model is another row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import rfc8785
from sqlalchemy import Connection, Row, insert, select

from data.errors import Conflict, NotFound
from data.store import audit_log
from data.store.identifiers import new_id
from data.store.tables import promotions

Action = Literal["promote", "roll_back"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """By whose word a model changes, why and when."""

    who: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the model in force; `digest` names the bundle that came into force."""

    id: str
    at: datetime
    action: Action
    digest: str
    name: str
    who: str
    why: str


def current(conn: Connection) -> Promotion | None:
    """The newest; None where none was ever promoted."""
    newest = select(promotions).order_by(promotions.c.position.desc()).limit(1)
    row = conn.execute(newest).one_or_none()
    return None if row is None else _promotion(row)


def history(conn: Connection) -> list[Promotion]:
    """All of them, oldest first."""
    rows = conn.execute(select(promotions).order_by(promotions.c.position))
    return [_promotion(row) for row in rows]


def promote(conn: Connection, digest: str, name: str, instruction: Instruction) -> Promotion:
    """Put a bundle in force. Leaf: model.promoted.

    Raises:
        Conflict: `model_in_force` already.
    """
    return _record(conn, "promote", digest, name, instruction)


def roll_back(conn: Connection, instruction: Instruction, digest: str | None = None) -> Promotion:
    """Put back the bundle that was in force before, or the earlier one with `digest`.

    Leaf: model.rolled_back.

    Raises:
        NotFound: `promotion_not_found`: there is none to go back to.
        Conflict: `model_in_force` already.
    """
    now = current(conn)
    earlier = [past for past in history(conn) if now is not None and past.digest != now.digest]
    wanted = [past for past in earlier if digest in (None, past.digest)]
    if not wanted:
        raise NotFound("promotion_not_found", "没有可以退回的模型。")
    return _record(conn, "roll_back", wanted[-1].digest, wanted[-1].name, instruction)


def told(who: str, why: str) -> str:
    """What a leaf holds in place of the two sentences: it commits to them, and they are no citizen's."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps({"who": who, "why": why})).hexdigest()


def _record(conn: Connection, action: Action, digest: str, name: str, instruction: Instruction) -> Promotion:
    before = current(conn)
    if before is not None and before.digest == digest:
        raise Conflict("model_in_force", "这个模型已经在用。")
    who, why, at = instruction.who, instruction.why, instruction.at
    made = Promotion(new_id(), at, action, digest, name, who, why)
    position = len(history(conn))
    conn.execute(
        insert(promotions).values(
            position=position,
            id=made.id,
            at=at,
            action=action,
            digest=digest,
            name=name,
            who=who,
            why=why,
        )
    )
    facts: dict[str, audit_log.Fact] = {"digest": digest, "told": told(who, why)}
    if before is not None:
        facts["before"] = before.digest
    event: audit_log.Event = "model.promoted" if action == "promote" else "model.rolled_back"
    audit_log.append(conn, event, made.id, "operator", at, facts)
    return made


def _promotion(row: Row[tuple[object, ...]]) -> Promotion:
    fields = dict(row._mapping)
    del fields["position"]
    return Promotion(**fields)
