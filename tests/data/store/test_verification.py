"""Every way of tampering with the log, done for real to the database, is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, insert, select, text, update

from data.store import (
    audit_log,
    checkpoints,
    credentials,
    decisions,
    judgements,
    merkle,
    orders,
    promotions,
    reviews,
    tables,
)
from data.store.identifiers import new_id
from data.store.verification import verify_log
from tests.data.store.stories import (
    ADVERSE,
    ANNA,
    DECISION,
    INTAKE,
    JUDGEMENT,
    LEASE,
    NOW,
    VAULT,
    an_order,
    decided,
    judged,
    opened,
    resolved,
)

ORIGIN = "log.test/audit"


@pytest.fixture
def told(database, keyring):
    """A log of several stories with two checkpoints; the first one's note, as if held outside."""
    with database.transaction() as conn:
        credentials.issue(conn, "intake", "a", NOW, "operator")
        key_id, _ = credentials.issue(conn, "admin", "b", NOW, "operator")
        decided(conn, number="n")
        resolved(conn)
        held = checkpoints.sign(conn, keyring.audit, ORIGIN, NOW).note
    with database.transaction() as conn:
        credentials.revoke(conn, key_id, NOW, "operator")
        review = judged(conn)
        reviews.resolve(conn, review.id, ANNA, 1, ADVERSE, "想法变了", NOW)
        opened(conn, number="n", revision=2)
        other = opened(conn)
        reviews.release(conn, other.id, ANNA, reviews.claim(conn, other.id, ANNA, NOW, LEASE).fence, NOW)
        erased = resolved(conn)
        orders.erase(conn, erased.order_id, INTAKE, NOW)
        checkpoints.sign(conn, keyring.audit, ORIGIN, NOW)
        decided(conn)
    return held


def disarm(conn):
    """The attacker owns the database and drops the triggers that refuse."""
    if conn.dialect.name == "postgresql":
        for table in ("audit_leaves", "audit_nodes", "audit_checkpoints"):
            conn.execute(text(f"DROP TRIGGER {table}_append_only ON {table}"))
    else:
        names = conn.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
        for name in list(names):
            conn.execute(text(f"DROP TRIGGER {name}"))


@pytest.fixture
def verify(database, keyring):
    def verify(*held):
        with database.reading() as conn:
            return verify_log(conn, keyring.audit_public, ORIGIN, held)

    return verify


def codes(report):
    return {finding.code for finding in report.findings}


def rewrite_nodes(conn):
    """Recomputes every stored hash from the leaves as they now are: a careful attacker."""
    conn.execute(delete(tables.audit_nodes))
    frontier = merkle.Frontier()
    for leaf in conn.execute(select(tables.audit_leaves.c.leaf).order_by(tables.audit_leaves.c.leaf_index)):
        for level, position, digest in frontier.append(merkle.leaf_hash(leaf.leaf)):
            conn.execute(insert(tables.audit_nodes).values(level=level, position=position, hash=digest))


def change_leaf(conn, index, old, new):
    row = conn.execute(select(tables.audit_leaves).where(tables.audit_leaves.c.leaf_index == index)).one()
    assert old in row.leaf
    conn.execute(
        update(tables.audit_leaves)
        .where(tables.audit_leaves.c.leaf_index == index)
        .values(leaf=row.leaf.replace(old, new))
    )


def first_decided(conn):
    query = select(tables.audit_leaves.c.leaf_index).where(tables.audit_leaves.c.event == "order.decided")
    return conn.execute(query.order_by(tables.audit_leaves.c.leaf_index).limit(1)).scalar_one()


def cut(conn, size):
    """Takes the log back to its first leaves, with every row that later leaves tell of."""
    conn.execute(update(tables.orders).values(superseded_by=None))
    for table, column in (
        (tables.judgements, "review_id"),
        (tables.reviews, "id"),
        (tables.decisions, "id"),
        (tables.order_texts, "order_id"),
        (tables.order_keys, "order_id"),
        (tables.orders, "id"),
    ):
        gone = later(conn, size, table.name)
        conn.execute(delete(table).where(table.c[column].in_(gone)))
    conn.execute(update(tables.api_keys).values(revoked_at=None))
    conn.execute(delete(tables.audit_leaves).where(tables.audit_leaves.c.leaf_index >= size))
    conn.execute(delete(tables.audit_checkpoints).where(tables.audit_checkpoints.c.size > size))
    rewrite_nodes(conn)


def later(conn, size, table):
    query = select(tables.audit_leaves.c.leaf).where(tables.audit_leaves.c.leaf_index >= size)
    told = [audit_log.read(leaf) for leaf in conn.execute(query).scalars()]
    if table == "decisions":
        return [entry.facts["decision"] for entry in told if entry.event == "order.decided"]
    if table in ("judgements", "reviews"):
        return [entry.facts["review"] for entry in told if entry.event == "review.opened"]
    return [entry.subject for entry in told if entry.event == "order.received"]


def test_an_honest_log_is_sound(database, told, verify, keyring):
    report = verify(told)
    assert report.findings == ()
    assert report.sound
    with database.reading() as conn:
        assert (report.size, report.root) == (audit_log.size(conn), audit_log.root(conn, report.size))
    assert (report.checkpoints, report.orders, report.decisions) == (3, 7, 10)


def test_an_empty_log_is_sound(verify):
    report = verify()
    assert (report.size, report.root, report.sound) == (0, merkle.EMPTY_ROOT, True)


def test_a_changed_leaf_is_found(database, told, verify):
    with database.transaction() as conn:
        disarm(conn)
        index = first_decided(conn)
        change_leaf(conn, index, b'"disposition":"review"', b'"disposition":"dispatch"')
    report = verify()
    assert {"leaf_changed", "node_changed", "checkpoint_root"} <= codes(report)
    assert str(index) in {finding.where for finding in report.findings if finding.code == "leaf_changed"}


def test_a_changed_leaf_with_every_hash_rewritten_is_found(database, told, verify):
    with database.transaction() as conn:
        disarm(conn)
        change_leaf(conn, first_decided(conn), b'"disposition":"review"', b'"disposition":"dispatch"')
        rewrite_nodes(conn)
    assert codes(verify()) == {"checkpoint_root"}


def test_a_column_that_says_other_than_its_leaf_is_found(database, told, verify):
    for change in (
        {"actor": "someone"},
        {"subject": "x"},
        {"at": NOW + timedelta(1)},
        {"event": "order.erased"},
    ):
        with database.transaction() as conn:
            if change == {"actor": "someone"}:
                disarm(conn)
            index = first_decided(conn)
            row = conn.execute(
                select(tables.audit_leaves).where(tables.audit_leaves.c.leaf_index == index)
            ).one()
            at_index = tables.audit_leaves.c.leaf_index == index
            conn.execute(update(tables.audit_leaves).where(at_index).values(**change))
        assert "leaf_unreadable" in codes(verify())
        with database.transaction() as conn:
            kept = {name: getattr(row, name) for name in change}
            conn.execute(update(tables.audit_leaves).where(at_index).values(**kept))
    assert verify().sound


@pytest.mark.parametrize("leaf", [b"", b"{}", b"[]", b"null", b"\xff", b'{"facts":{}}'])
def test_a_leaf_that_says_nothing_is_found(database, told, verify, leaf):
    with database.transaction() as conn:
        disarm(conn)
        conn.execute(
            update(tables.audit_leaves).where(tables.audit_leaves.c.leaf_index == 3).values(leaf=leaf)
        )
        rewrite_nodes(conn)
    assert {"leaf_unreadable", "checkpoint_root"} <= codes(verify())


def test_a_removed_leaf_is_found(database, told, verify):
    with database.transaction() as conn:
        disarm(conn)
        index = first_decided(conn)
        conn.execute(delete(tables.audit_leaves).where(tables.audit_leaves.c.leaf_index == index))
    report = verify()
    assert {"leaf_missing", "decision_changed", "order_undecided", "checkpoint_root"} <= codes(report)
    assert report.root is None


def test_a_removed_last_leaf_is_found(database, told, verify):
    with database.transaction() as conn:
        disarm(conn)
        size = audit_log.size(conn)
        conn.execute(delete(tables.audit_leaves).where(tables.audit_leaves.c.leaf_index == size - 1))
    assert {"node_unexplained", "decision_changed", "order_undecided"} <= codes(verify())


@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_changed_or_removed_node_is_found(database, told, verify, level):
    at = (tables.audit_nodes.c.level == level) & (tables.audit_nodes.c.position == 0)
    with database.transaction() as conn:
        disarm(conn)
        conn.execute(update(tables.audit_nodes).where(at).values(hash=bytes(32)))
    assert codes(verify()) == {"node_changed" if level else "leaf_changed"}
    with database.transaction() as conn:
        conn.execute(delete(tables.audit_nodes).where(at))
    assert codes(verify()) == {"node_missing"}


def test_an_added_node_is_found(database, told, verify):
    with database.transaction() as conn:
        conn.execute(insert(tables.audit_nodes).values(level=9, position=5, hash=bytes(32)))
    assert codes(verify()) == {"node_unexplained"}


def test_a_swapped_decision_is_found(database, told, verify):
    with database.transaction() as conn:
        body = decisions.DECISION.dump_json(replace(DECISION, disposition="dispatch", review_reasons=()))
        one = conn.execute(select(tables.decisions.c.id).limit(1)).scalar_one()
        conn.execute(update(tables.decisions).where(tables.decisions.c.id == one).values(body=body.decode()))
    report = verify()
    assert [(finding.code, finding.where) for finding in report.findings] == [("decision_changed", one)]


def test_a_decision_moved_to_another_order_is_found(database, told, verify):
    with database.transaction() as conn:
        rows = conn.execute(select(tables.decisions.c.id, tables.decisions.c.order_id)).all()
        one = rows[0]
        other = next(row for row in rows if row.order_id != one.order_id)
        conn.execute(
            update(tables.decisions).where(tables.decisions.c.id == one.id).values(order_id=other.order_id)
        )
    assert codes(verify()) == {"decision_changed"}


def test_a_removed_decision_is_found(database, told, verify):
    with database.transaction() as conn:
        unreviewed = select(tables.reviews.c.decision_id)
        conn.execute(delete(tables.decisions).where(tables.decisions.c.id.not_in(unreviewed)))
    assert codes(verify()) == {"decision_missing"}


def test_a_slipped_in_order_and_decision_are_found(database, told, verify):
    with database.transaction() as conn:
        order_id, donor = new_id(), conn.execute(select(tables.orders).limit(1)).one()._asdict()
        conn.execute(insert(tables.orders).values(donor | {"id": order_id, "number": "x"}))
        body = decisions.DECISION.dump_json(DECISION).decode()
        conn.execute(
            insert(tables.decisions).values(
                id="x", order_id=order_id, source="model", decided_at=NOW, body=body, commitment="c"
            )
        )
    assert codes(verify()) == {"order_changed", "order_undecided", "decision_changed"}


def test_a_changed_commitment_and_a_removed_order_are_found(database, told, verify):
    with database.transaction() as conn:
        last = select(tables.orders.c.id).order_by(tables.orders.c.id.desc()).limit(1)
        order_id = conn.execute(last).scalar_one()
        conn.execute(update(tables.orders).where(tables.orders.c.id == order_id).values(commitment="0" * 64))
    assert codes(verify()) == {"order_changed"}
    with database.transaction() as conn:
        for table in (tables.decisions, tables.order_texts, tables.order_keys):
            conn.execute(delete(table).where(table.c.order_id == order_id))
        conn.execute(delete(tables.orders).where(tables.orders.c.id == order_id))
    assert codes(verify()) == {"order_missing", "decision_missing"}


def test_an_order_received_but_never_decided_is_found(database, verify):
    with database.transaction() as conn:
        orders.add(conn, VAULT, an_order(), INTAKE)
    assert codes(verify()) == {"order_undecided"}


def test_an_unlogged_erasure_is_found(database, told, verify):
    with database.transaction() as conn:
        conn.execute(update(tables.orders).values(erased_at=NOW))
    assert codes(verify()) == {"order_erasure"}


@pytest.mark.parametrize("wordless", [False, True])
def test_changed_judgements_and_resolutions_are_found(database, told, verify, wordless):
    with database.transaction() as conn:
        changed = judgements.dump(replace(JUDGEMENT, reason="另一番话"))
        conn.execute(update(tables.judgements).values(body=changed))
        done = tables.reviews.c.status == "resolved"
        conn.execute(update(tables.reviews).where(done).values(change_reason="另一番话"))
        if wordless:
            conn.execute(update(tables.judgements).values(seal_key=None))
            conn.execute(update(tables.reviews).values(seal_key=None))
    assert codes(verify()) == {"judgement_changed", "resolution_changed"}


def test_removed_judgements_and_resolutions_are_found(database, told, verify):
    with database.transaction() as conn:
        conn.execute(delete(tables.judgements))
        conn.execute(update(tables.reviews).values(status="open"))
    assert codes(verify()) == {"judgement_missing", "resolution_missing"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            update(tables.api_keys).where(tables.api_keys.c.role == "intake").values(role="auditor"),
            "key_changed",
        ),
        (update(tables.api_keys).values(revoked_at=None), "key_changed"),
        (delete(tables.api_keys).where(tables.api_keys.c.role == "admin"), "key_missing"),
        (
            insert(tables.api_keys).values(id="x", role="admin", name="x", secret_hash=b"x", issued_at=NOW),
            "key_changed",
        ),
    ],
)
def test_keys_given_behind_the_log_s_back_are_found(database, told, verify, change, code):
    with database.transaction() as conn:
        conn.execute(change)
    assert codes(verify()) == {code}


def test_a_changed_checkpoint_is_found(database, told, verify):
    table = tables.audit_checkpoints
    with database.transaction() as conn:
        disarm(conn)
        note = conn.execute(select(table.c.note).where(table.c.id == 1)).scalar_one()
        size = note.split("\n")[1]
        forged = note.replace(f"\n{size}\n", f"\n{int(size) - 1}\n", 1)
        conn.execute(update(table).where(table.c.id == 1).values(note=forged))
    assert codes(verify()) == {"checkpoint_signature"}
    with database.transaction() as conn:
        conn.execute(update(table).where(table.c.id == 1).values(note=note, root=bytes(32)))
    assert codes(verify()) == {"checkpoint_changed"}
    with database.transaction() as conn:
        conn.execute(update(table).where(table.c.id == 1).values(note="nothing"))
    assert codes(verify()) == {"checkpoint_form"}


def test_a_removed_checkpoint_is_found(database, told, verify):
    with database.transaction() as conn:
        disarm(conn)
        conn.execute(delete(tables.audit_checkpoints).where(tables.audit_checkpoints.c.id == 1))
    assert codes(verify()) == {"checkpoint_changed"}


def test_checkpoints_of_another_key_or_log_are_found(database, told, verify):
    with database.transaction() as conn:
        checkpoints.sign(conn, Ed25519PrivateKey.generate(), ORIGIN, NOW)
    assert codes(verify()) == {"checkpoint_signature"}


def test_a_log_rolled_back_is_found_with_a_checkpoint_held_outside(database, told, verify, keyring):
    with database.transaction() as conn:
        latest = checkpoints.sign(conn, keyring.audit, ORIGIN, NOW).note
        held = checkpoints.parse(told)
        disarm(conn)
        cut(conn, held.size)
    # Without it the shorter log is as good as any: that is why checkpoints are held outside.
    assert verify(told).sound
    assert codes(verify(told, latest)) == {"log_rolled_back"}


def test_a_log_rewritten_and_signed_anew_is_found_with_a_checkpoint_held_outside(
    database, told, verify, keyring
):
    with database.transaction() as conn:
        disarm(conn)
        change_leaf(conn, 0, b'"role":"intake"', b'"role":"admin"')
        conn.execute(update(tables.api_keys).where(tables.api_keys.c.role == "intake").values(role="admin"))
        rewrite_nodes(conn)
        conn.execute(delete(tables.audit_checkpoints))
        checkpoints.sign(conn, keyring.audit, ORIGIN, NOW)
    assert verify().sound
    assert codes(verify(told)) == {"checkpoint_root"}


def test_a_held_note_must_itself_be_good(told, verify):
    assert codes(verify("nothing")) == {"checkpoint_form"}
    assert codes(verify(told.replace(ORIGIN, "other.log"))) == {"checkpoint_origin"}


def test_a_promotion_that_the_log_does_not_tell_of_is_found(database, verify):
    with database.transaction() as conn:
        word = promotions.Instruction("陈工", "首轮评测通过", NOW)
        promotions.promote(conn, "sha256:" + "1" * 64, "default", word)
    assert codes(verify()) == set()
    with database.transaction() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("DROP TRIGGER promotions_append_only ON promotions"))
        disarm(conn)
        conn.execute(text("UPDATE promotions SET who = '别人'"))
    assert codes(verify()) == {"promotion_changed"}
    with database.transaction() as conn:
        conn.execute(text("DELETE FROM promotions"))
    assert codes(verify()) == {"promotion_missing"}
