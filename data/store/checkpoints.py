"""Signed statements of the log's size and root (C2SP tlog-checkpoint); called by the audit routes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, insert, select

from data.errors import BadInput
from data.store import audit_log
from data.store.tables import audit_checkpoints

ED25519 = b"\x01"
ORIGIN = re.compile(r"[^\s+]+")
BODY = re.compile(r"([^\n]+)\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*", re.ASCII)
SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`note` is the signed text as it is published; `root` is 32 bytes over the first `size` leaves."""

    size: int
    root: bytes
    note: str


def sign(conn: Connection, key: Ed25519PrivateKey, origin: str, at: datetime) -> Checkpoint:
    """Signs the log as it is now and keeps the note; when nothing was added since, the note there is.

    Called inside `Database.transaction()`. It appends no leaf: it would change what it has just signed.
    """
    size = audit_log.size(conn)
    last = conn.execute(select(audit_checkpoints).order_by(audit_checkpoints.c.id.desc()).limit(1)).first()
    if last is not None and last.size == size and is_signed(last.note, key.public_key(), origin):
        return Checkpoint(last.size, last.root, last.note)
    root = audit_log.root(conn, size)
    note = write(key, origin, size, root)
    number = 1 if last is None else last.id + 1
    conn.execute(insert(audit_checkpoints).values(id=number, size=size, root=root, note=note, signed_at=at))
    return Checkpoint(size, root, note)


def newest(conn: Connection) -> Checkpoint | None:
    query = select(audit_checkpoints).order_by(audit_checkpoints.c.id.desc()).limit(1)
    row = conn.execute(query).first()
    return None if row is None else Checkpoint(row.size, row.root, row.note)


def write(key: Ed25519PrivateKey, origin: str, size: int, root: bytes) -> str:
    """A signed note (https://c2sp.org/signed-note) whose text is a checkpoint, the key named as the origin.

    Raises:
        BadInput: `origin_form`: the origin is empty or holds spaces or plus signs.
    """
    if not ORIGIN.fullmatch(origin):
        raise BadInput("origin_form", "审计日志来源标识不能为空，也不能含空格或加号。")
    text = f"{origin}\n{size}\n{_base64(root)}\n"
    signature = key_id(origin, key.public_key()) + key.sign(text.encode("utf-8"))
    return f"{text}\n— {origin} {_base64(signature)}\n"


def parse(note: str) -> Checkpoint:
    """Reads a note without asking who signed it.

    Raises:
        BadInput: `checkpoint_form`.
    """
    text, gap, _ = note.rpartition("\n\n")
    body = BODY.fullmatch(text + "\n") if gap else None
    if body is None:
        raise BadInput("checkpoint_form", "检查点格式不正确。")
    return Checkpoint(int(body[2]), base64.b64decode(body[3]), note)


def verify(note: str, key: Ed25519PublicKey, origin: str) -> Checkpoint:
    """The checkpoint, when it is of this log and signed by this key; other keys' signatures are passed over.

    Raises:
        BadInput: `checkpoint_form`, `checkpoint_origin` or `checkpoint_signature`.
    """
    checkpoint = parse(note)
    if note.partition("\n")[0] != origin:
        raise BadInput("checkpoint_origin", "检查点不属于本审计日志。")
    if not is_signed(note, key, origin):
        raise BadInput("checkpoint_signature", "检查点签名无效。")
    return checkpoint


def is_signed(note: str, key: Ed25519PublicKey, origin: str) -> bool:
    """Whether the note bears a valid signature by this key under the origin's name."""
    text, gap, signatures = note.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        return False
    expected, valid = key_id(origin, key), False
    for line in signatures[:-1].split("\n"):
        form = SIGNATURE.fullmatch(line)
        if form is None:
            return False
        try:
            raw = base64.b64decode(form[2], validate=True)
        except binascii.Error:
            return False
        if _base64(raw) != form[2]:  # the last character has bits to spare, which a decoder passes over
            return False
        if form[1] == origin and raw[:4] == expected:
            try:
                key.verify(raw[4:], f"{text}\n".encode())
            except InvalidSignature:
                return False
            valid = True
    return valid


def key_id(name: str, key: Ed25519PublicKey) -> bytes:
    """Four bytes that tell keys of one name apart (signed-note, "Signatures")."""
    return hashlib.sha256(f"{name}\n".encode() + ED25519 + key.public_bytes_raw()).digest()[:4]


def verifier_key(name: str, key: Ed25519PublicKey) -> str:
    """The public key in the text form that C2SP tools read (signed-note, "Verifier keys")."""
    return f"{name}+{key_id(name, key).hex()}+{_base64(ED25519 + key.public_bytes_raw())}"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
