"""Keys are made once, kept private, and refused when they are not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from data.errors import BadInput
from data.store.keyring import PUBLIC_FILE, Keyring
from tests.data.store.stories import at_once


def test_keys_are_made_private_and_found_again(tmp_path):
    folder = tmp_path / "deep" / "keys"
    first, second = Keyring.open(folder), Keyring.open(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = {path.name for path in folder.iterdir()} - {PUBLIC_FILE}
    assert secrets == {"vault.key", "cookies.key", "audit.pem"}
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in secrets} == {0o600}
    assert (first.vault, first.cookies) == (second.vault, second.cookies)
    assert len(first.vault) == len(first.cookies) == 32
    assert first.vault != first.cookies
    assert first.audit_public_pem == second.audit_public_pem == (folder / PUBLIC_FILE).read_text()


def test_a_keyring_shows_no_key(keyring):
    assert repr(keyring) == "Keyring()"


def test_processes_that_start_together_share_the_keys(tmp_path):
    keyrings = at_once(8, lambda _: Keyring.open(tmp_path / "keys"))
    assert len({(ring.vault, ring.cookies, ring.audit_public_pem) for ring in keyrings}) == 1
    assert len(list((tmp_path / "keys").iterdir())) == 4


@pytest.mark.parametrize("exposed", [".", "vault.key", "cookies.key", "audit.pem"])
def test_exposed_keys_are_refused(tmp_path, exposed):
    Keyring.open(tmp_path / "keys")
    path: Path = tmp_path / "keys" / exposed
    path.chmod(path.stat().st_mode | stat.S_IRGRP)
    with pytest.raises(BadInput) as refusal:
        Keyring.open(tmp_path / "keys")
    assert refusal.value.code == "keys_exposed"


def other_kind() -> bytes:
    return X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vault.key", b"short"),
        ("cookies.key", bytes(33)),
        ("audit.pem", b"no key"),
        ("audit.pem", other_kind()),
    ],
)
def test_damaged_keys_are_refused(tmp_path, name, content):
    Keyring.open(tmp_path / "keys")
    (tmp_path / "keys" / name).write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        Keyring.open(tmp_path / "keys")
    assert refusal.value.code == "keys_damaged"


@pytest.mark.parametrize("name", ["vault.key", "cookies.key"])
def test_a_lost_key_is_not_replaced_in_silence(tmp_path, name):
    Keyring.open(tmp_path / "keys")
    (tmp_path / "keys" / name).unlink()
    with pytest.raises(BadInput) as refusal:
        Keyring.open(tmp_path / "keys")
    assert refusal.value.code == "keys_missing"
    assert not (tmp_path / "keys" / name).exists()
