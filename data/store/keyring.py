"""The secret keys of this installation, files in one private folder; opened once at start and passed down."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from data.errors import BadInput

PUBLIC_FILE = "audit.pub.pem"
_BEFORE_SIGNER = ("vault.key", "cookies.key")


@dataclass(frozen=True, slots=True)
class Keyring:
    """Whoever holds these reads every order (`vault`), is anyone (`cookies`) and signs the log (`audit`)."""

    vault: bytes = field(repr=False)
    cookies: bytes = field(repr=False)
    audit: Ed25519PrivateKey = field(repr=False)

    @property
    def audit_public(self) -> Ed25519PublicKey:
        return self.audit.public_key()

    @property
    def audit_public_pem(self) -> str:
        """SubjectPublicKeyInfo in PEM (RFC 8410), as the offline verifier reads it."""
        return _public_pem(self.audit_public).decode("ascii")

    @classmethod
    def open(cls, folder: Path) -> Keyring:
        """Reads the keys, making the missing ones; the audit log's public key is written beside them.

        Raises:
            BadInput: `keys_exposed`: others may read the folder or a key; `keys_damaged`; `keys_missing`.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_exposed(folder)
        _refuse_missing(folder)
        vault = _secret(folder / "vault.key", lambda: secrets.token_bytes(32))
        cookies = _secret(folder / "cookies.key", lambda: secrets.token_bytes(32))
        audit = _secret(folder / "audit.pem", _new_signer)
        if len(vault) != 32 or len(cookies) != 32:
            raise BadInput("keys_damaged", "密钥文件长度不正确。")
        try:
            signer = load_pem_private_key(audit, password=None)
        except ValueError as error:
            raise BadInput("keys_damaged", "审计签名密钥无法读取。") from error
        if not isinstance(signer, Ed25519PrivateKey):
            raise BadInput("keys_damaged", "审计签名密钥不是 Ed25519 密钥。")
        public = _public_pem(signer.public_key())
        if not (folder / PUBLIC_FILE).exists() or (folder / PUBLIC_FILE).read_bytes() != public:
            (folder / PUBLIC_FILE).write_bytes(public)
        return cls(vault=vault, cookies=cookies, audit=signer)


def _refuse_missing(folder: Path) -> None:
    """The signer is made last: where it stands, the others were there, and a new one would open no text."""
    if (folder / "audit.pem").exists() and not all((folder / name).exists() for name in _BEFORE_SIGNER):
        raise BadInput("keys_missing", "密钥文件夹中缺少密钥文件，请从备份恢复，不会另行生成。")


def _secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes; when two processes make it at once, both end up with the same key."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            # A link, unlike a rename, never replaces a key that another process has just made.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    _refuse_exposed(path)
    return path.read_bytes()


def _refuse_exposed(path: Path) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadInput("keys_exposed", "密钥文件夹须为 0700、密钥文件须为 0600 权限，其他用户不得读取。")


def _new_signer() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
