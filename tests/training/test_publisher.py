from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from data.errors import BadInput
from models.bundle import public_text
from training.publisher import open_publisher_key


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = open_publisher_key(tmp_path / "keys")
    again = open_publisher_key(tmp_path / "keys")
    assert public_text(first.public_key()) == public_text(again.public_key())
    assert (tmp_path / "keys" / "publisher.pem").stat().st_mode & 0o077 == 0


def test_anything_else_in_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "publisher.pem"
    path.write_text("not a key", encoding="utf-8")
    with pytest.raises(BadInput, match="publisher_key_invalid"):
        open_publisher_key(tmp_path)
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(BadInput, match="Ed25519"):
        open_publisher_key(tmp_path)
