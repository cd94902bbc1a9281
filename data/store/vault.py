"""Keeps each order's text encrypted under a key of its own, so that it can be erased; called by `orders`."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, delete, select

from data.errors import NotFound, Unavailable
from data.store.database import ERASED
from data.store.pending_rows import PendingRows
from data.store.tables import order_keys, order_texts

NONCE_BYTES = 12
COMMITMENT_INFO = b"mingbian/order-commitment/v1"


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted payload, its wrapped key, and the commitment to it (64 hex digits)."""

    ciphertext: bytes
    wrapped: bytes
    commitment: str


def seal(vault_key: bytes, order_id: str, payload: bytes) -> Sealed:
    """Encrypts a payload: AES-256-GCM (NIST SP 800-38D) under a fresh random key, wrapped by the vault key.

    The order's id is authenticated with both, so neither can be moved to another order.
    """
    key = secrets.token_bytes(32)
    return Sealed(
        ciphertext=encrypt(key, payload, f"text {order_id}"),
        wrapped=encrypt(vault_key, key, f"key {order_id}"),
        commitment=_commitment(key, payload),
    )


def put(rows: PendingRows, order_id: str, sealed: Sealed) -> None:
    rows.add(order_texts, order_id=order_id, ciphertext=sealed.ciphertext)
    rows.add(order_keys, order_id=order_id, wrapped=sealed.wrapped)


def unseal(conn: Connection, vault_key: bytes, order_id: str, commitment: str) -> bytes:
    """The payload as it was sealed.

    Raises:
        NotFound: it has been erased.
        Unavailable: it cannot be opened with this vault key, or is not what the commitment says.
    """
    row = conn.execute(
        select(order_texts.c.ciphertext, order_keys.c.wrapped)
        .join(order_keys, order_keys.c.order_id == order_texts.c.order_id)
        .where(order_texts.c.order_id == order_id)
    ).one_or_none()
    if row is None:
        raise NotFound("order_erased", "该工单的内容已按规定删除。")
    try:
        key = decrypt(vault_key, row.wrapped, f"key {order_id}")
        payload = decrypt(key, row.ciphertext, f"text {order_id}")
    except InvalidTag as error:
        raise _unreadable() from error
    if not hmac.compare_digest(_commitment(key, payload), commitment):
        raise _unreadable()
    return payload


def erase(conn: Connection, order_id: str) -> None:
    """Deletes ciphertext and key; the commitment left in the log can then be linked to nothing."""
    conn.execute(delete(order_texts).where(order_texts.c.order_id == order_id))
    conn.execute(delete(order_keys).where(order_keys.c.order_id == order_id))
    conn.info[ERASED] = True


def encrypt(key: bytes, plain: bytes, purpose: str) -> bytes:
    """AES-256-GCM, its nonce first; `purpose` is authenticated and stored nowhere."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, purpose.encode("utf-8"))


def decrypt(key: bytes, sealed: bytes, purpose: str) -> bytes:
    """Raises:
    InvalidTag: another key or purpose, or it was changed.
    """
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], purpose.encode("utf-8"))


def _commitment(key: bytes, payload: bytes) -> str:
    # Keyed: a plain hash of a short text or a telephone number is found by trying them all.
    subkey = HKDF(algorithm=SHA256(), length=32, salt=None, info=COMMITMENT_INFO).derive(key)
    return hmac.new(subkey, payload, hashlib.sha256).hexdigest()


def _unreadable() -> Unavailable:
    return Unavailable("order_unreadable", "工单内容无法解密或已被改动，请联系管理员。")
