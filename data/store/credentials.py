"""API keys: issued once, kept as hashes, checked on every call; called by `serving/access` and the CLI."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Any, Final, get_args

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from data.errors import Conflict, NotAllowed, NotFound
from data.records import ApiKey, Caller, Role
from data.store import audit_log
from data.store.identifiers import new_id
from data.store.tables import api_keys, to_millis

ROLES: tuple[Role, ...] = get_args(Role)
FORM = re.compile(r"mb_([0-9a-f-]{36})_([0-9a-f]{64})", re.ASCII)
NO_SECRET = bytes(32)

_KEY: Final = select(api_keys).where(api_keys.c.id == bindparam("key_id"))


def issue(
    conn: Connection, role: Role, name: str, at: datetime, actor: str, expires_at: datetime | None = None
) -> tuple[str, str]:
    """A new key's id, and the key itself, which nobody can read again. Leaf: key.issued.

    The secret has 256 random bits, so one round of SHA-256 keeps it: there is nothing to guess.
    """
    key_id, secret = new_id(), secrets.token_hex(32)
    conn.execute(
        insert(api_keys).values(
            id=key_id,
            role=role,
            name=name,
            secret_hash=_hash(secret),
            issued_at=at,
            expires_at=expires_at,
        )
    )
    facts: dict[str, audit_log.Fact] = {"role": role}
    if expires_at is not None:
        facts["expires_at"] = to_millis(expires_at)
    audit_log.append(conn, "key.issued", key_id, actor, at, facts)
    return key_id, f"mb_{key_id}_{secret}"


def authenticate(conn: Connection, plain: str, now: datetime) -> Caller:
    """Raises:
    NotAllowed: `key_unknown`, `key_expired` or `key_revoked`.
    """
    form = FORM.fullmatch(plain)
    key_id, secret = form.groups() if form else ("", "")
    row = conn.execute(_KEY, {"key_id": key_id}).one_or_none()
    known = NO_SECRET if row is None else row.secret_hash
    if not hmac.compare_digest(_hash(secret), known) or row is None:
        raise _unknown()
    return _caller(row, now)


def caller(conn: Connection, key_id: str, now: datetime) -> Caller:
    """Who a key belongs to, for a cookie that was given for it earlier.

    Raises:
        NotAllowed: `key_unknown`, `key_expired` or `key_revoked`.
    """
    row = conn.execute(_KEY, {"key_id": key_id}).one_or_none()
    if row is None:
        raise _unknown()
    return _caller(row, now)


def revoke(conn: Connection, key_id: str, at: datetime, actor: str) -> None:
    """Leaf: key.revoked.

    Raises:
        NotFound: `key_not_found`.
        Conflict: `key_revoked` already.
    """
    row = conn.execute(_KEY, {"key_id": key_id}).one_or_none()
    if row is None:
        raise NotFound("key_not_found", "没有找到该密钥。")
    if row.revoked_at is not None:
        raise Conflict("key_revoked", "该密钥已经吊销。")
    conn.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=at))
    audit_log.append(conn, "key.revoked", key_id, actor, at, {})


def issued(conn: Connection) -> list[ApiKey]:
    """Every key ever issued, oldest first: also the names behind the ids in the log."""
    rows = conn.execute(select(api_keys).order_by(api_keys.c.id))
    return [ApiKey(row.id, row.name, row.role, row.issued_at, row.expires_at, row.revoked_at) for row in rows]


def _caller(row: Row[*tuple[Any, ...]], now: datetime) -> Caller:
    if row.revoked_at is not None:
        raise NotAllowed("key_revoked", "密钥已被吊销。")
    if row.expires_at is not None and row.expires_at <= now:
        raise NotAllowed("key_expired", "密钥已过期。")
    return Caller(row.id, row.name, row.role)


def _unknown() -> NotAllowed:
    return NotAllowed("key_unknown", "密钥无效。")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()
