"""Keys let in whom they were issued to, until they expire or are revoked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from data.errors import Conflict, NotAllowed, NotFound
from data.records import ApiKey, Caller
from data.store import audit_log, credentials
from data.store.tables import api_keys, to_millis
from tests.data.store.stories import NOW


def refused(code, action, *arguments):
    with pytest.raises(NotAllowed) as refusal:
        action(*arguments)
    assert refusal.value.code == code


@pytest.mark.parametrize("role", credentials.ROLES)
def test_a_key_tells_who_is_calling(connection, role):
    key_id, plain = credentials.issue(connection, role, "城东呼叫中心", NOW, "operator")
    assert plain.startswith(f"mb_{key_id}_")
    assert credentials.authenticate(connection, plain, NOW) == Caller(key_id, "城东呼叫中心", role)
    assert credentials.caller(connection, key_id, NOW) == Caller(key_id, "城东呼叫中心", role)
    (entry,) = audit_log.entries(connection, key_id)
    assert (entry.event, entry.actor, entry.facts) == ("key.issued", "operator", {"role": role})


def test_the_secret_is_not_stored(connection):
    _, plain = credentials.issue(connection, "intake", "a", NOW, "operator")
    secret = plain.rsplit("_", 1)[1]
    stored = repr(connection.execute(select(api_keys)).all())
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in stored
    assert repr(bytes.fromhex(secret)) not in stored


def test_other_keys_are_unknown(connection):
    key_id, plain = credentials.issue(connection, "admin", "a", NOW, "operator")
    _, other = credentials.issue(connection, "intake", "b", NOW, "operator")
    secret = other.rsplit("_", 1)[1]
    for wrong in (
        "",
        "mb_",
        plain[:-1],
        plain + "0",
        plain + "\n",
        plain.upper(),
        f"mb_{key_id}_{secret}",
        f"mb_{'0' * 36}_{secret}",
        f"mb_{key_id}_{'0' * 64}",
        f"mb_{'0' * 36}_{'0' * 64}",
        "密钥",
    ):
        refused("key_unknown", credentials.authenticate, connection, wrong, NOW)
    refused("key_unknown", credentials.caller, connection, "none", NOW)


def test_a_key_expires(connection):
    end = NOW + timedelta(days=1)
    key_id, plain = credentials.issue(connection, "unit", "a", NOW, "operator", end)
    assert credentials.authenticate(connection, plain, end - timedelta(milliseconds=1)).id == key_id
    refused("key_expired", credentials.authenticate, connection, plain, end)
    refused("key_expired", credentials.caller, connection, key_id, end)
    assert audit_log.entries(connection, key_id)[0].facts["expires_at"] == to_millis(end)


def test_a_key_is_revoked_once(connection):
    key_id, plain = credentials.issue(connection, "unit", "a", NOW, "operator")
    credentials.revoke(connection, key_id, NOW, "admin-1")
    refused("key_revoked", credentials.authenticate, connection, plain, NOW)
    refused("key_revoked", credentials.caller, connection, key_id, NOW)
    entry = audit_log.entries(connection, key_id)[-1]
    assert (entry.event, entry.actor) == ("key.revoked", "admin-1")
    with pytest.raises(Conflict):
        credentials.revoke(connection, key_id, NOW, "admin-1")
    with pytest.raises(NotFound):
        credentials.revoke(connection, "none", NOW, "admin-1")
    assert credentials.issued(connection) == [ApiKey(key_id, "a", "unit", NOW, None, NOW)]
