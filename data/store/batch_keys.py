"""Seals a batch's lines while they wait, and knows them when they come again; `serving` calls it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from data.errors import Unavailable
from data.store import vault

DIGEST_INFO = b"mingbian/batch-digest/v1"
NAME_BYTES = 16


class BatchKey:
    """One batch's own key: with it, what is stored of the batch's lines becomes unreadable and unlinkable."""

    def __init__(self, batch_id: str, key: bytes) -> None:
        self._batch_id = batch_id
        self._key = key
        self._mac = HKDF(algorithm=SHA256(), length=32, salt=None, info=DIGEST_INFO).derive(key)

    @classmethod
    def new(cls, batch_id: str) -> BatchKey:
        return cls(batch_id, secrets.token_bytes(32))

    @classmethod
    def unwrap(cls, vault_key: bytes, batch_id: str, wrapped: bytes) -> BatchKey:
        """Raises:
        Unavailable: `batch_unreadable`: this vault key is not the one it was wrapped with.
        """
        try:
            return cls(batch_id, vault.decrypt(vault_key, wrapped, f"batch key {batch_id}"))
        except InvalidTag as error:
            raise Unavailable("batch_unreadable", "批次密钥无法解密，请联系管理员。") from error

    def wrapped(self, vault_key: bytes) -> bytes:
        return vault.encrypt(vault_key, self._key, f"batch key {self._batch_id}")

    def seal(self, line: int, payload: bytes) -> bytes:
        """The payload encrypted; it can be moved neither to another line nor to another batch."""
        return vault.encrypt(self._key, payload, self._purpose(line))

    def unseal(self, line: int, sealed: bytes) -> bytes:
        """Raises:
        Unavailable: `line_unreadable`: it was changed.
        """
        try:
            return vault.decrypt(self._key, sealed, self._purpose(line))
        except InvalidTag as error:
            raise Unavailable("line_unreadable", "该行内容无法解密或已被改动，请另行提交。") from error

    def digest(self, content: bytes, whole: bool) -> bytes:
        """32 bytes that tell whether a line is the one that came before, and to nobody else what it says.

        `whole`: the content is the line itself, not a hash of one too long to be held.
        """
        return self._hmac(b"\x01" if whole else b"\x00", content)

    def name(self, source: str, number: str) -> bytes:
        """What the lines about one order have in common."""
        return self._hmac(b"\x02", json.dumps([source, number]).encode("ascii"))[:NAME_BYTES]

    def _hmac(self, kind: bytes, content: bytes) -> bytes:
        return hmac.digest(self._mac, kind + content, hashlib.sha256)

    def _purpose(self, line: int) -> str:
        return f"batch line {self._batch_id} {line}"
