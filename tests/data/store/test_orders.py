"""Orders come in once, supersede each other, and can be erased."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import Conflict, NotFound
from data.records import OrderHeader
from data.store import audit_log, decisions, judgements, orders, reviews
from tests.data.store.stories import (
    ADVERSE,
    ANNA,
    BORIS,
    INTAKE,
    JUDGEMENT,
    LEASE,
    NOW,
    VAULT,
    an_order,
    at_once,
    claimed,
    decided,
    judged,
    opened,
)


def events(conn, subject):
    return [entry.event for entry in audit_log.entries(conn, subject)]


def test_an_order_comes_back_as_it_was(connection):
    order = an_order(received_at=NOW.astimezone(timezone(timedelta(hours=8))))
    commitment = orders.add(connection, VAULT, order, INTAKE)
    assert orders.get(connection, VAULT, order.id) == order
    assert orders.header(connection, order.id) == OrderHeader(
        id=order.id,
        source=order.source,
        number=order.number,
        revision=1,
        channel="phone",
        region="城东区",
        received_at=NOW,
        received_by=INTAKE,
        commitment=commitment,
        erased_at=None,
    )
    (entry,) = audit_log.entries(connection, order.id)
    assert (entry.event, entry.actor, entry.at) == ("order.received", INTAKE, NOW)
    assert entry.facts == {"commitment": commitment, "revision": 1}


@given(title=st.text(), content=st.text(alphabet=st.characters()))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_can_be_stored(database, title, content):
    order = an_order(title=title, content=content + "\ud800\x00")
    with database.transaction() as conn:
        orders.add(conn, VAULT, order, INTAKE)
        assert orders.get(conn, VAULT, order.id) == order


def test_the_same_order_twice_is_a_conflict(connection):
    order = an_order()
    orders.add(connection, VAULT, order, INTAKE)
    with pytest.raises(Conflict) as twice:
        orders.add(connection, VAULT, an_order(number=order.number), INTAKE)
    assert twice.value.code == "order_exists"
    orders.add(connection, VAULT, an_order(number=order.number, source="other city"), INTAKE)


def test_two_at_once_with_one_number_make_one_order(database):
    order = an_order()

    def send(_number):
        with database.transaction() as conn:
            return orders.add(conn, VAULT, an_order(number=order.number), INTAKE)

    answers = at_once(6, send)
    refusals = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(refusals) == 5
    assert {refusal.code for refusal in refusals} == {"order_exists"}
    with database.reading() as conn:
        (stored,) = orders.find(conn, order.source, order.number)
        assert stored.commitment in answers
        assert audit_log.size(conn) == 1


def test_a_stale_revision_is_refused(connection):
    order = an_order(revision=3)
    orders.add(connection, VAULT, order, INTAKE)
    with pytest.raises(Conflict) as stale:
        orders.add(connection, VAULT, an_order(number=order.number, revision=2), INTAKE)
    assert stale.value.code == "revision_stale"


def test_a_revision_closes_the_older_one_s_reviews(connection):
    old = opened(connection, number="n")
    other = opened(connection)
    reviews.claim(connection, old.id, ANNA, NOW, LEASE)
    new, _ = decided(connection, number="n", revision=2)
    assert reviews.get(connection, old.id, NOW).status == "superseded"
    assert reviews.get(connection, old.id, NOW).version == 3
    assert reviews.get(connection, other.id, NOW).status == "open"
    superseded = audit_log.entries(connection, old.order_id)[-1]
    assert superseded.event == "order.superseded"
    assert superseded.facts == {"by": new.id, "revision": 2, "reviews": [old.id]}
    with pytest.raises(Conflict) as closed:
        reviews.judge(connection, old.id, ANNA, 1, JUDGEMENT, NOW)
    assert closed.value.code == "review_superseded"
    decided(connection, number="n", revision=4)
    assert events(connection, old.order_id).count("order.superseded") == 1
    assert events(connection, new.id)[-1] == "order.superseded"
    assert [header.revision for header in orders.find(connection, new.source, "n")] == [4, 2, 1]


def test_a_resolved_review_stays_resolved(connection):
    review = judged(connection)
    done = reviews.resolve(connection, review.id, ANNA, 1, JUDGEMENT, None, NOW)
    number = orders.header(connection, review.order_id).number
    decided(connection, number=number, revision=2)
    assert reviews.get(connection, review.id, NOW) == done


def test_unknown_orders_are_not_found(connection):
    for look in (
        lambda: orders.get(connection, VAULT, "none"),
        lambda: orders.header(connection, "none"),
        lambda: orders.erase(connection, "none", ANNA, NOW),
    ):
        with pytest.raises(NotFound) as missing:
            look()
        assert missing.value.code == "order_not_found"
    assert orders.find(connection, "none", "none") == []


def test_recent_orders_page_by_page(connection):
    made = [an_order() for _ in range(5)]
    for order in made:
        orders.add(connection, VAULT, order, INTAKE)
    orders.erase(connection, made[3].id, ANNA, NOW)
    first = orders.recent(connection, VAULT, None, 2)
    second = orders.recent(connection, VAULT, first[-1][0].id, 9)
    assert [header.id for header, _ in first + second] == [order.id for order in reversed(made)]
    assert [text for _, text in first] == [made[4], None]
    assert [text for _, text in second] == [made[2], made[1], made[0]]


def test_erasure_takes_every_word_and_leaves_the_story(database, database_url):
    with database.transaction() as conn:
        review = judged(conn, replace(JUDGEMENT, reason="机密甲"))
        order_id = review.order_id
        final = replace(ADVERSE, reason="机密乙")
        reviews.resolve(conn, review.id, ANNA, 1, final, "机密丙", NOW)
        before = audit_log.entries(conn, order_id)
    with database.transaction() as conn:
        orders.erase(conn, order_id, BORIS, NOW + timedelta(days=1))
    with database.reading() as conn:
        with pytest.raises(NotFound) as erased:
            orders.get(conn, VAULT, order_id)
        assert erased.value.code == "order_erased"
        assert orders.header(conn, order_id).erased_at == NOW + timedelta(days=1)
        kept = reviews.get(conn, review.id, NOW)
        assert kept.final_judgement == replace(final, reason="")
        assert kept.first_judgement == replace(JUDGEMENT, reason="")
        assert kept.change_reason is None
        assert judgements.of(conn, review.id, ANNA) == replace(JUDGEMENT, reason="")
        assert [stored.decision.source for stored in decisions.of_order(conn, order_id)] == [
            "model",
            "person",
        ]
        after = audit_log.entries(conn, order_id)
        assert after[:-1] == before
        assert (after[-1].event, after[-1].actor, after[-1].facts) == ("order.erased", BORIS, {"reviews": []})
    with pytest.raises(Conflict), database.transaction() as conn:
        orders.erase(conn, order_id, BORIS, NOW)
    if database_url.startswith("sqlite"):
        file = Path(database_url.removeprefix("sqlite:///"))
        stored = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))  # its journal, too
        assert not [word for word in ("机密甲", "机密乙", "机密丙") if word.encode() in stored]


def test_erasure_closes_an_open_review(connection):
    review = claimed(connection)
    orders.erase(connection, review.order_id, BORIS, NOW)
    assert reviews.get(connection, review.id, NOW).status == "superseded"
    assert audit_log.entries(connection, review.order_id)[-1].facts == {"reviews": [review.id]}


def test_times_need_an_offset(connection):
    with pytest.raises(TypeError, match="offset-naive"):
        orders.add(connection, VAULT, an_order(received_at=NOW.replace(tzinfo=None)), INTAKE)
