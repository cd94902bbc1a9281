"""The key that signs bundles made on this machine; `python -m training run` opens it."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from data.errors import BadInput

_FILE = "publisher.pem"


def open_publisher_key(folder: Path) -> Ed25519PrivateKey:
    """Read the key in `folder`, or make one there (mode 0600).

    Raises:
        BadInput: the file holds something else.
    """
    path = folder / _FILE
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise BadInput("publisher_key_invalid", "发布密钥文件无法读取。") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput("publisher_key_invalid", "发布密钥不是 Ed25519。")
    return key
