"""The same request twice changes things once, also when both come at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from data.errors import BadInput, Conflict
from data.store import audit_log, idempotency, orders
from data.store.idempotency import StoredAnswer
from tests.data.store.stories import INTAKE, NOW, VAULT, an_order, at_once

BODY = '{"裁定":"合理"}'.encode() + bytes([0, 255])
ANSWER = StoredAnswer("r", 201, {"Location": "/v1/orders/1"}, BODY)


def answer(conn, caller="c", key="k", request="r", at=NOW):
    stored = idempotency.start(conn, caller, key, request, at)
    if stored is None:
        idempotency.finish(conn, caller, key, ANSWER.status, ANSWER.body, ANSWER.headers)
    return stored


def test_the_stored_bytes_come_back(connection):
    assert answer(connection) is None
    assert answer(connection) == ANSWER
    assert answer(connection, caller="other") is None
    assert answer(connection, key="other") is None


def test_the_same_key_for_another_request_is_refused(connection):
    answer(connection)
    with pytest.raises(BadInput) as mismatch:
        answer(connection, request="other")
    assert mismatch.value.code == "idempotency_mismatch"


def test_an_unfinished_request_is_running(connection):
    assert idempotency.start(connection, "c", "k", "r", NOW) is None
    with pytest.raises(Conflict) as running:
        idempotency.start(connection, "c", "k", "r", NOW)
    assert running.value.code == "idempotency_running"


def test_a_failed_request_leaves_no_trace(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as conn:  # noqa: PT012
        answer(conn)
        raise ZeroDivisionError
    with database.transaction() as conn:
        assert answer(conn) is None


def test_twins_at_once_do_the_work_once(database):
    def post(_number):
        with database.transaction() as conn:
            stored = idempotency.start(conn, "c", "k", "r", NOW)
            if stored is not None:
                return stored
            orders.add(conn, VAULT, an_order(), INTAKE)
            idempotency.finish(conn, "c", "k", ANSWER.status, ANSWER.body, ANSWER.headers)
            return None

    answers = at_once(6, post)
    assert sorted(answers, key=lambda one: one is None) == [ANSWER] * 5 + [None]
    with database.reading() as conn:
        assert audit_log.size(conn) == 1


def test_old_answers_are_forgotten(connection):
    answer(connection, key="old", at=NOW - timedelta(hours=49))
    answer(connection, key="new")
    assert idempotency.prune(connection, NOW - timedelta(hours=48)) == 1
    assert answer(connection, key="old") is None
    assert answer(connection, key="new") == ANSWER
