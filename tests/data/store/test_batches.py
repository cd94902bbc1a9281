"""Batches, their keys, their queue and what the log says of them, on the real databases."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, update

from data.errors import Conflict, NotFound, Unavailable
from data.store import audit_log, batch_queue, batches, tables
from data.store.batch_keys import BatchKey
from data.store.batch_queue import Settled
from data.store.batches import DecidedLine, NewLine, RefusedLine
from data.store.identifiers import new_id
from data.store.verification import verify_log
from tests.data.store.stories import DECISION, INTAKE, NOW, VAULT, at_once, decided, opened

LEASE = timedelta(seconds=30)
SOON = timedelta(seconds=1)
PROBLEM = '{"code":"json_malformed"}'


def waiting(number, name=None):
    return NewLine(number, b"d%d" % number, f"ref-{number}", b"sealed %d" % number, name or b"n%d" % number)


def refused(number):
    return NewLine(number, b"d%d" % number, None, problem=PROBLEM)


def a_batch(conn, lines, key="k", at=NOW, complete=True):
    """The id of a batch of these lines."""
    batch_id = new_id()
    secret = BatchKey.new(batch_id)
    batches.create(conn, batch_id, secret.wrapped(VAULT), INTAKE, key, at)
    batches.append(conn, batch_id, lines, at)
    if complete:
        batches.complete(conn, batch_id, len(lines), INTAKE, at)
    return batch_id


def claim(conn, holder="a", at=NOW, most=100):
    return batch_queue.claim(conn, holder, at, at + LEASE, most)


def lines_of(found):
    return [line.line for line in found.lines]


def queued(conn):
    return conn.scalar(select(func.count()).select_from(tables.batch_queue))


def test_a_batch_is_found_under_its_caller_s_key(database):
    with database.transaction() as conn:
        batch_id = a_batch(conn, [waiting(1), refused(2), waiting(3)])
    with database.reading() as conn:
        batch = batches.find(conn, INTAKE, "k")
        assert batch == batches.get(conn, batch_id)
        assert (batch.received, batch.refused, batch.failed, batch.decided, batch.pending) == (3, 1, 0, 0, 2)
        assert (batch.begun_at, batch.completed_at, batch.finished_at) == (NOW, NOW, None)
        assert batches.find(conn, INTAKE, "other") is None
        assert batches.find(conn, "other", "k") is None
        with pytest.raises(NotFound):
            batches.get(conn, new_id())


def test_lines_follow_each_other_without_a_gap_or_a_twin(database):
    with database.transaction() as conn:
        batch_id = a_batch(conn, [waiting(1)], complete=False)
    for numbers in ([1], [3], [0]):
        with pytest.raises(Conflict) as refusal, database.transaction() as conn:
            batches.append(conn, batch_id, [waiting(number) for number in numbers], NOW)
        assert refusal.value.code == "batch_in_progress"
    with database.transaction() as conn:
        batches.append(conn, batch_id, [waiting(2), waiting(3)], NOW)
        assert batches.get(conn, batch_id).received == 3
        assert batches.digests(conn, batch_id, 2, 3) == [b"d2", b"d3"]


def test_two_who_begin_a_batch_at_once_make_one(database):
    def begin(_number):
        with database.transaction() as conn:
            a_batch(conn, [waiting(1)], complete=False)

    assert [type(made) for made in at_once(4, begin)].count(type(None)) == 1
    with database.reading() as conn:
        assert len(list(batches.listed(conn, None, None, None, 10))) == 1


def test_a_complete_batch_takes_no_more_and_ends_once(database):
    with database.transaction() as conn:
        batch_id = a_batch(conn, [waiting(1)])
    with pytest.raises(Conflict), database.transaction() as conn:
        batches.append(conn, batch_id, [waiting(2)], NOW)
    with pytest.raises(Conflict), database.transaction() as conn:
        batches.complete(conn, batch_id, 1, INTAKE, NOW)


def test_an_upload_that_another_overtook_completes_nothing(database):
    with database.transaction() as conn:
        batch_id = a_batch(conn, [waiting(1), waiting(2)], complete=False)
    with pytest.raises(Conflict), database.transaction() as conn:
        batches.complete(conn, batch_id, 1, INTAKE, NOW)


def test_completion_leaves_a_leaf_over_every_line(database):
    with database.transaction() as conn:
        batch_id = a_batch(conn, [waiting(1), refused(2), waiting(3)])
    chain = bytes(32)
    for digest in (b"d1", b"d2", b"d3"):
        chain = hashlib.sha256(chain + digest).digest()
    with database.reading() as conn:
        (entry,) = audit_log.entries(conn, batch_id)
    assert (entry.event, entry.actor, entry.at) == ("batch.received", INTAKE, NOW)
    assert entry.facts == {"lines": 3, "refused": 1, "digest": chain.hex()}


def test_lists_are_newest_first_and_of_one_caller_or_key(database):
    with database.transaction() as conn:
        made = [a_batch(conn, [waiting(1)], key=f"k{number}") for number in range(3)]
        other = new_id()
        batches.create(conn, other, b"w", "someone", "k0", NOW)

    def ids(*terms):
        with database.reading() as conn:
            return [batch.id for batch in batches.listed(conn, *terms)]

    assert ids(None, None, None, 10) == [other, *reversed(made)]
    assert ids(INTAKE, None, None, 2) == [made[2], made[1]]
    assert ids(INTAKE, None, made[1], 2) == [made[0]]
    assert ids(None, "k0", None, 10) == [other, made[0]]


def test_a_claim_takes_what_is_free_of_the_oldest_batch(database):
    with database.transaction() as conn:
        assert not batch_queue.any_free(conn, NOW)
        assert claim(conn) is None
        first = a_batch(conn, [waiting(1), refused(2), waiting(3), waiting(4)], key="1")
        second = a_batch(conn, [waiting(1)], key="2")
        assert batch_queue.any_free(conn, NOW)
        got = claim(conn, "a", most=2)
        assert (got.batch_id, got.caller_id, lines_of(got)) == (first, INTAKE, [1, 3])
        assert [line.sealed for line in got.lines] == [b"sealed 1", b"sealed 3"]
        assert [line.received_at for line in got.lines] == [NOW, NOW]
        assert lines_of(claim(conn, "b")) == [4]
        assert claim(conn, "a").batch_id == second
        assert claim(conn, "a") is None
        assert not batch_queue.any_free(conn, NOW)


def test_a_lease_runs_out_unless_it_is_renewed(database):
    with database.transaction() as conn:
        a_batch(conn, [waiting(1), waiting(2)])
        claim(conn, "a", most=1)
        claim(conn, "b", most=1)
        batch_queue.renew(conn, "b", NOW + 2 * LEASE)
        assert claim(conn, "c", NOW + LEASE - SOON) is None
        assert lines_of(claim(conn, "c", NOW + LEASE)) == [1]
        batch_queue.release(conn, "b")
        assert lines_of(claim(conn, "c", NOW)) == [2]


def test_who_lost_a_line_cannot_keep_it(database):
    with database.transaction() as conn:
        batch_id = a_batch(conn, [waiting(1), waiting(2)])
        claim(conn, "a", most=2)
        claim(conn, "b", NOW + LEASE, most=1)
        again_at = NOW + LEASE + SOON
        assert batch_queue.in_turn(conn, "a", batch_id, [1, 2], again_at) == {2}
        assert batch_queue.in_turn(conn, "b", batch_id, [1], again_at) == {1}
        assert batch_queue.in_turn(conn, "c", batch_id, [1, 2], again_at) == frozenset()


def test_an_order_s_later_line_waits_for_its_earlier_one(database):
    with database.transaction() as conn:
        lines = [waiting(1, b"x"), waiting(2, b"y"), waiting(3, b"x"), waiting(4, b"z"), waiting(5, b"x")]
        batch_id = a_batch(conn, lines)
        claim(conn, "a", most=2)
        claim(conn, "b")
        assert batch_queue.in_turn(conn, "b", batch_id, [3, 4, 5], NOW + SOON) == {4}
        assert claim(conn, "c", NOW) is None, "put back for a moment"
        assert lines_of(claim(conn, "c", NOW + SOON)) == [3, 5]
        assert batch_queue.in_turn(conn, "a", batch_id, [1, 2], NOW + SOON) == {1, 2}
        batch_queue.settle(conn, batch_id, [Settled(1, problem=PROBLEM), Settled(2, problem=PROBLEM)], NOW)
        assert batch_queue.in_turn(conn, "c", batch_id, [3, 5], NOW + SOON) == {3, 5}


def test_what_is_settled_is_counted_and_its_text_is_gone(database):
    with database.transaction() as conn:
        _, decision_id = decided(conn)
        batch_id = a_batch(conn, [waiting(1), refused(2), waiting(3)], complete=False)
        claim(conn)
        batch_queue.settle(conn, batch_id, [Settled(1, decision_id)], NOW + SOON)
        batch = batches.get(conn, batch_id)
        assert (batch.decided, batch.failed, batch.pending, batch.changed_at) == (1, 0, 1, NOW + SOON)
        assert (queued(conn), batches.pending(conn)) == (1, 1)
        batch_queue.settle(conn, batch_id, [Settled(3, problem=PROBLEM)], NOW)
        batch = batches.get(conn, batch_id)
        assert (batch.decided, batch.failed, batch.pending) == (1, 1, 0)
        assert batch.finished_at is None, "more lines may come"
        assert batches.complete(conn, batch_id, 3, INTAKE, NOW + SOON).finished_at == NOW + SOON
        assert (queued(conn), batches.pending(conn)) == (0, 0)


def test_a_complete_batch_is_finished_with_its_last_line(database):
    with database.transaction() as conn:
        _, decision_id = decided(conn)
        batch_id = a_batch(conn, [waiting(1), waiting(2)])
        claim(conn)
        batch_queue.settle(conn, batch_id, [Settled(2, decision_id)], NOW)
        assert batches.get(conn, batch_id).finished_at is None
        batch_queue.settle(conn, batch_id, [Settled(1, decision_id)], NOW + SOON)
        assert batches.get(conn, batch_id).finished_at == NOW + SOON


def test_results_are_given_up_to_the_first_line_that_waits(database):
    with database.transaction() as conn:
        review = opened(conn)
        order, decision_id = decided(conn)
        batch_id = a_batch(conn, [waiting(1), refused(2), waiting(3), waiting(4), waiting(5)])
        claim(conn)
        assert batches.done_until(conn, batches.get(conn, batch_id)) == 0
        batch_queue.settle(conn, batch_id, [Settled(1, review.decision_id), Settled(4, decision_id)], NOW)
        assert batches.done_until(conn, batches.get(conn, batch_id)) == 2
        batch_queue.settle(conn, batch_id, [Settled(3, problem='{"code":"order_exists"}')], NOW)
        assert batches.done_until(conn, batches.get(conn, batch_id)) == 4
        first, second, third, fourth = batches.results(conn, batch_id, 0, 4)
        assert list(batches.results(conn, batch_id, 1, 2)) == [second]
    assert isinstance(first, DecidedLine)
    assert (first.line, first.client_ref, first.decision_id) == (1, "ref-1", review.decision_id)
    assert (first.order.id, first.review_id, first.decision) == (review.order_id, review.id, DECISION)
    assert second == RefusedLine(2, None, PROBLEM)
    assert third == RefusedLine(3, "ref-3", '{"code":"order_exists"}')
    assert (fourth.order.id, fourth.order.number, fourth.review_id) == (order.id, order.number, None)


def test_a_forgotten_batch_can_be_linked_to_nothing_and_keeps_its_results(database):
    with database.transaction() as conn:
        _, decision_id = decided(conn)
        done = a_batch(conn, [waiting(1)], key="1")
        claim(conn)
        batch_queue.settle(conn, done, [Settled(1, decision_id)], NOW)
        late = a_batch(conn, [waiting(1)], key="2", at=NOW - timedelta(days=9))
        broken = a_batch(conn, [refused(1)], key="3", at=NOW - timedelta(days=9), complete=False)
        assert batches.forget(conn, NOW) == 1
        with pytest.raises(Conflict) as closed:
            batches.wrapped_key(conn, broken)
        assert closed.value.code == "batch_closed"
        with pytest.raises(Conflict):
            batches.append(conn, broken, [waiting(2)], NOW)
        assert batches.forget(conn, NOW + SOON) == 1
        assert conn.execute(select(tables.batch_keys.c.batch_id)).scalars().all() == [late]
        assert len(list(batches.results(conn, done, 0, 1))) == 1


def test_a_key_seals_one_line_of_one_batch():
    secret, other = BatchKey.new("b1"), BatchKey.new("b1")
    sealed = secret.seal(7, "路灯不亮".encode())
    again = BatchKey.unwrap(VAULT, "b1", secret.wrapped(VAULT))
    assert again.unseal(7, sealed).decode() == "路灯不亮"
    assert secret.seal(7, b"x") != secret.seal(7, b"x")
    for reader, line, text in ((secret, 8, sealed), (other, 7, sealed), (secret, 7, sealed[:-1] + b"\x00")):
        with pytest.raises(Unavailable) as unreadable:
            reader.unseal(line, text)
        assert unreadable.value.code == "line_unreadable"
    for vault_key, batch_id in ((bytes(32), "b1"), (VAULT, "b2")):
        with pytest.raises(Unavailable) as unreadable:
            BatchKey.unwrap(vault_key, batch_id, secret.wrapped(VAULT))
        assert unreadable.value.code == "batch_unreadable"


def test_digests_and_names_compare_under_one_key_only():
    secret, other = BatchKey.new("b1"), BatchKey.new("b1")
    again = BatchKey.unwrap(VAULT, "b1", secret.wrapped(VAULT))
    assert secret.digest(b"x", True) == again.digest(b"x", True)
    assert secret.name("s", "n") == again.name("s", "n")
    found = {
        secret.digest(b"x", True), secret.digest(b"x", False), secret.digest(b"y", True),
        other.digest(b"x", True), secret.name("s", "n"), secret.name("sn", ""), other.name("s", "n"),
    }  # fmt: skip
    assert len(found) == 7


@pytest.fixture
def verify(database, keyring):
    def verify():
        with database.reading() as conn:
            report = verify_log(conn, keyring.audit_public, "log.test/audit")
        return {(finding.code, finding.where) for finding in report.findings}

    return verify


def test_the_log_vouches_for_what_was_received(database, verify):
    with database.transaction() as conn:
        _, decision_id = decided(conn)
        batch_id = a_batch(conn, [waiting(1), refused(2), waiting(3)])
        unfinished = a_batch(conn, [waiting(1)], key="2", complete=False)
        claim(conn)
        settled = [Settled(1, decision_id), Settled(3, problem=PROBLEM)]
        batch_queue.settle(conn, batch_id, settled, NOW)
    assert verify() == set()
    mine = tables.batch_lines.c.batch_id == batch_id
    second = mine & (tables.batch_lines.c.line == 2)
    for change, undo in (
        (update(tables.batch_lines).where(second).values(digest=b"other"), {"digest": b"d2"}),
        (update(tables.batch_lines).where(second).values(state="failed"), {"state": "refused"}),
        (update(tables.batch_lines).where(second).values(line=9), {"line": 2}),
    ):
        with database.transaction() as conn:
            conn.execute(change)
        assert verify() == {("batch_changed", batch_id)}
        with database.transaction() as conn:
            place = mine & tables.batch_lines.c.line.in_([2, 9])
            conn.execute(update(tables.batch_lines).where(place).values(undo))
    assert verify() == set()
    with database.transaction() as conn:
        conn.execute(update(tables.batches).where(tables.batches.c.id == batch_id).values(caller_id="x"))
        conn.execute(update(tables.batches).where(tables.batches.c.id == unfinished).values(completed_at=NOW))
    assert verify() == {("batch_changed", batch_id), ("batch_completion", unfinished)}
    with database.transaction() as conn:
        for table in (tables.batch_queue, tables.batch_lines, tables.batch_keys, tables.batches):
            conn.execute(delete(table))
    assert verify() == {("batch_missing", batch_id)}
