"""Checkpoints as C2SP writes them, and what is refused of them."""

from __future__ import annotations

import base64
import hashlib
import string

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from data.errors import BadInput
from data.store import audit_log, checkpoints
from data.store.checkpoints import Checkpoint
from data.store.tables import audit_checkpoints
from tests.data.store.stories import INTAKE, NOW

ORIGIN = "log.test/audit"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOT = bytes(range(32))
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def append(conn):
    audit_log.append(conn, "record.read", "order", INTAKE, NOW, {})


def test_a_note_is_laid_out_as_c2sp_says():
    note = checkpoints.write(KEY, ORIGIN, 42, ROOT)
    text, _, signature = note.partition("\n\n")
    assert text == f"{ORIGIN}\n42\n{base64.b64encode(ROOT).decode()}"
    dash, name, encoded = signature.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    assert (dash, name, len(raw)) == ("—", ORIGIN, 68)
    public = KEY.public_key().public_bytes_raw()
    assert raw[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + public).digest()[:4]
    KEY.public_key().verify(raw[4:], f"{text}\n".encode())
    assert note.endswith("\n")
    assert not note.endswith("\n\n")


def test_a_verifier_key_is_the_one_c2sp_publishes():
    """The example of the signed-note specification: PeterNeumann's key."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    name, key_hash, encoded = text.split("+", 2)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
    assert checkpoints.key_id(name, key).hex() == key_hash
    assert checkpoints.verifier_key(name, key) == text


def test_a_checkpoint_signs_the_log_as_it_is(connection, keyring):
    empty = checkpoints.sign(connection, keyring.audit, ORIGIN, NOW)
    assert (empty.size, empty.root) == (0, hashlib.sha256(b"").digest())
    append(connection)
    first = checkpoints.sign(connection, keyring.audit, ORIGIN, NOW)
    assert (first.size, first.root) == (1, audit_log.root(connection, 1))
    assert checkpoints.verify(first.note, keyring.audit_public, ORIGIN) == first
    assert checkpoints.newest(connection) == first
    assert checkpoints.sign(connection, keyring.audit, ORIGIN, NOW) == first
    assert connection.execute(select(func.count()).select_from(audit_checkpoints)).scalar_one() == 2
    assert audit_log.size(connection) == 1
    other = checkpoints.sign(connection, KEY, ORIGIN, NOW)
    assert (other.size, other.root) == (first.size, first.root)
    assert checkpoints.verify(other.note, KEY.public_key(), ORIGIN)


def test_there_may_be_no_checkpoint_yet(connection):
    assert checkpoints.newest(connection) is None


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb"])
def test_an_origin_is_a_key_s_name(origin):
    with pytest.raises(BadInput) as refusal:
        checkpoints.write(KEY, origin, 1, ROOT)
    assert refusal.value.code == "origin_form"


def refused(code, note, key=None, origin=ORIGIN):
    with pytest.raises(BadInput) as refusal:
        checkpoints.verify(note, key or KEY.public_key(), origin)
    assert refusal.value.code == code


def test_what_is_not_signed_by_this_key_for_this_log_is_refused():
    note = checkpoints.write(KEY, ORIGIN, 42, ROOT)
    other = Ed25519PrivateKey.generate()
    refused("checkpoint_origin", note, origin="another.log")
    refused("checkpoint_signature", note, other.public_key())
    refused("checkpoint_signature", note.replace("\n42\n", "\n43\n"))
    text, _, signature = note.partition("\n\n")
    forged = checkpoints.write(other, ORIGIN, 42, ROOT).partition("\n\n")[2]
    refused("checkpoint_signature", f"{text}\n\n{forged}")
    both = f"{text}\n\n{forged}{signature}"
    assert checkpoints.verify(both, KEY.public_key(), ORIGIN) == Checkpoint(42, ROOT, both)
    refused("checkpoint_signature", f"{text}\n\n{signature}not a signature\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        f"{ORIGIN}\n1\n\n— x y\n",
        f"{ORIGIN}\n01\n{base64.b64encode(ROOT).decode()}\n\n— x y\n",
        f"{ORIGIN}\n-1\n{base64.b64encode(ROOT).decode()}\n\n— x y\n",
        f"{ORIGIN}\n1\nAAAA\n\n— x y\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(note):
    refused("checkpoint_form", note)


@given(st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(size, root):
    note = checkpoints.write(KEY, ORIGIN, size, root)
    assert checkpoints.verify(note, KEY.public_key(), ORIGIN) == Checkpoint(size, root, note)


@given(st.data())
def test_no_changed_character_passes(data):
    note = checkpoints.write(KEY, ORIGIN, 42, ROOT)
    place = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != note[place]))
    changed = note[:place] + other + note[place + 1 :]
    with pytest.raises(BadInput):
        checkpoints.verify(changed, KEY.public_key(), ORIGIN)


def test_a_signature_is_written_in_one_way_only():
    note = checkpoints.write(KEY, ORIGIN, 42, ROOT)
    last = len(note.rstrip("=\n")) - 1  # before one padding sign the last two of its six bits say nothing
    bits = BASE64.index(note[last])
    assert bits & 0b11 == 0
    refused("checkpoint_signature", f"{note[:last]}{BASE64[bits | 0b01]}{note[last + 1 :]}")
