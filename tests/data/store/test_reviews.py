"""The review desk: queue, leases and fences, blind judgement, resolution."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from data.errors import BadInput, Conflict, NotFound
from data.store import audit_log, decisions, judgements, review_rows, reviews
from data.store.tables import to_millis
from tests.data.store.stories import (
    ADVERSE,
    ANNA,
    BORIS,
    DECISION,
    INTAKE,
    JUDGEMENT,
    LEASE,
    NOW,
    at_once,
    claimed,
    decided,
    judged,
    opened,
    resolved,
)

LATER = NOW + LEASE


def last(conn, review):
    return audit_log.entries(conn, review.order_id)[-1]


def refused(code, action, *arguments):
    with pytest.raises((Conflict, BadInput)) as refusal:
        action(*arguments)
    assert refusal.value.code == code


def test_a_review_opens_for_the_decision_s_reasons(connection):
    review = opened(connection)
    assert (review.status, review.fence, review.version, review.claimed_by) == ("open", 0, 1, None)
    assert review.reasons == ("adverse_needs_person", "protective_flag")
    assert reviews.get(connection, review.id, NOW) == review
    assert reviews.of_order(connection, review.order_id, NOW) == [review]
    entry = last(connection, review)
    assert (entry.event, entry.actor) == ("review.opened", INTAKE)
    assert entry.facts == {
        "review": review.id,
        "decision": review.decision_id,
        "reasons": list(review.reasons),
        "priority": review.priority,
    }
    with pytest.raises(NotFound):
        reviews.get(connection, "none", NOW)


def test_the_queue_puts_harm_first_and_age_before_youth(connection):
    def add(minutes, *reasons, flags=(), fallback=None):
        decision = replace(DECISION, review_reasons=reasons, flags=flags, fallback=fallback)
        return opened(connection, decision, NOW + timedelta(minutes=minutes)).id

    unread = add(40, "degraded", fallback="model_slow")
    young, old, tie = add(9, "uncertain"), add(1, "adverse_needs_person"), add(1, "no_certificate")
    harm, flagged = add(30, "uncertain", "urgent"), add(20, "uncertain", flags=("vulnerable",))
    order = [harm, flagged, unread, *sorted([old, tie]), young]
    assert [review.id for review in reviews.queue(connection, LATER)] == order
    pages, after = [], None
    while page := reviews.queue(connection, LATER, after=after, limit=2):
        pages += [review.id for review in page]
        after = pages[-1]
    assert pages == order
    refused("cursor_unknown", reviews.queue, connection, NOW, None, "none")


def test_the_queue_s_order_does_not_tell_what_the_model_concluded(connection):
    ends = replace(DECISION, flags=(), fallback=None)
    concluded = [
        replace(ends, review_reasons=("uncertain",)),
        replace(ends, review_reasons=("adverse_needs_person",)),
    ]
    assert len({opened(connection, decision).priority for decision in concluded}) == 1


def test_the_queue_by_status_with_leases_running_out(connection):
    free, held, done = opened(connection), claimed(connection), resolved(connection)
    given = judged(connection)

    def ids(status, now):
        return {review.id for review in reviews.queue(connection, now, status)}

    assert ids(None, NOW) == {free.id, held.id, given.id}
    assert ids("open", NOW) == {free.id}
    assert ids("claimed", NOW) == {held.id}
    assert ids("judged", NOW) == {given.id}
    assert ids("resolved", NOW) == ids("resolved", LATER) == {done.id}
    assert ids("open", LATER) == {free.id, held.id, given.id}
    assert ids("claimed", LATER) == ids("judged", LATER) == ids("superseded", LATER) == set()
    lapsed = reviews.get(connection, given.id, LATER)
    assert (lapsed.status, lapsed.claimed_by, lapsed.lease_until) == ("open", None, None)
    assert lapsed.first_judgement is None


@pytest.mark.parametrize("status", [None, "open", "claimed", "judged", "resolved", "superseded"])
def test_what_is_finished_costs_the_queue_nothing(connection, status):
    resolved(connection)
    opened(connection)
    waiting = review_rows.in_status(status, NOW)
    query = review_rows.select_reviews().where(waiting).order_by("priority", "opened_at", "id").limit(50)
    compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL enable_seqscan = off"))  # a handful of rows needs no index
        explain = "EXPLAIN"
    else:
        explain = "EXPLAIN QUERY PLAN"
    plan = "\n".join(str(row) for row in connection.execute(text(f"{explain} {compiled}")))
    finished = status in ("resolved", "superseded")
    assert ("ix_reviews_finished" if finished else "ix_reviews_unfinished") in plan


def test_a_claim_is_a_lease_with_a_fence(connection):
    review = claimed(connection)
    assert (review.status, review.claimed_by, review.lease_until) == ("claimed", ANNA, LATER)
    assert (review.fence, review.version) == (1, 2)
    assert last(connection, review).facts == {
        "review": review.id,
        "fence": 1,
        "lease_until": to_millis(LATER),
    }
    refused("already_claimed", reviews.claim, connection, review.id, BORIS, NOW, LEASE)
    renewed = reviews.claim(connection, review.id, ANNA, NOW + timedelta(minutes=5), LEASE)
    assert (renewed.fence, renewed.lease_until) == (2, LATER + timedelta(minutes=5))
    taken = reviews.claim(connection, review.id, BORIS, LATER + timedelta(minutes=5), LEASE)
    assert (taken.claimed_by, taken.fence) == (BORIS, 3)


def test_of_many_claims_at_once_one_succeeds(database):
    with database.transaction() as conn:
        review = opened(conn)

    def claim(number):
        with database.transaction() as conn:
            return reviews.claim(conn, review.id, f"reviewer-{number}", NOW, LEASE)

    answers = at_once(6, claim)
    refusals = [answer for answer in answers if isinstance(answer, Conflict)]
    assert [refusal.code for refusal in refusals] == ["already_claimed"] * 5
    with database.reading() as conn:
        now = reviews.get(conn, review.id, NOW)
        assert now in answers
        assert now.fence == 1


def test_of_many_resolutions_at_once_one_succeeds(database):
    with database.transaction() as conn:
        review = judged(conn)

    def resolve(_number):
        with database.transaction() as conn:
            return reviews.resolve(conn, review.id, ANNA, 1, JUDGEMENT, None, NOW)

    answers = at_once(4, resolve)
    refusals = [answer for answer in answers if isinstance(answer, Conflict)]
    assert [refusal.code for refusal in refusals] == ["already_resolved"] * 3
    with database.reading() as conn:
        assert len(decisions.of_order(conn, review.order_id)) == 2


def test_a_release_frees_the_review(connection):
    review = claimed(connection)
    refused("lease_lost", reviews.release, connection, review.id, BORIS, 1, NOW)
    free = reviews.release(connection, review.id, ANNA, 1, NOW)
    assert (free.status, free.claimed_by, free.lease_until, free.fence) == ("open", None, None, 1)
    assert last(connection, review).event == "review.released"
    assert reviews.claim(connection, review.id, BORIS, NOW, LEASE).fence == 2


@pytest.mark.parametrize("action", ["release", "judge", "resolve"])
def test_a_lost_lease_changes_nothing(connection, action):
    review = judged(connection) if action == "resolve" else claimed(connection)

    def act(reviewer, fence, now):
        if action == "release":
            reviews.release(connection, review.id, reviewer, fence, now)
        elif action == "judge":
            reviews.judge(connection, review.id, reviewer, fence, JUDGEMENT, now)
        else:
            reviews.resolve(connection, review.id, reviewer, fence, JUDGEMENT, None, now)

    size = audit_log.size(connection)
    refused("lease_lost", act, ANNA, 1, LATER)
    refused("lease_lost", act, ANNA, 2, NOW)
    refused("lease_lost", act, BORIS, 1, NOW)
    assert audit_log.size(connection) == size
    assert reviews.get(connection, review.id, NOW) == review
    act(ANNA, 1, NOW)


def test_a_blind_judgement_is_given_once(connection):
    review = claimed(connection)
    assert not judgements.given_for_order(connection, review.order_id, ANNA)
    given = reviews.judge(connection, review.id, ANNA, 1, ADVERSE, NOW)
    assert (given.status, given.first_judgement, given.claimed_by) == ("judged", ADVERSE, ANNA)
    facts = dict(last(connection, review).facts)
    assert len(facts.pop("commitment")) == 64
    assert facts == {
        "review": review.id,
        "fence": 1,
        "verdict": "unreasonable",
        "ground": "civil_or_market",
        "kind": "complaint",
        "subject": "housing",
        "disposition": "explain",
    }
    refused("already_judged", reviews.judge, connection, review.id, ANNA, 1, JUDGEMENT, NOW)
    assert judgements.given_for_order(connection, review.order_id, ANNA)
    assert not judgements.given_for_order(connection, review.order_id, BORIS)
    assert not judgements.given_for_order(connection, decided(connection)[0].id, ANNA)


def test_each_reviewer_judges_for_themselves(connection):
    review = judged(connection)
    taken = reviews.claim(connection, review.id, BORIS, LATER, LEASE)
    assert (taken.status, taken.first_judgement) == ("claimed", None)
    refused("judge_first", reviews.resolve, connection, review.id, BORIS, 2, JUDGEMENT, None, LATER)
    second = reviews.judge(connection, review.id, BORIS, 2, ADVERSE, LATER)
    assert second.first_judgement == ADVERSE
    assert judgements.of(connection, review.id, ANNA) == JUDGEMENT
    reviews.release(connection, review.id, BORIS, 2, LATER)
    back = reviews.claim(connection, review.id, ANNA, LATER, LEASE)
    assert (back.status, back.first_judgement, back.fence) == ("judged", JUDGEMENT, 3)


@pytest.mark.parametrize(
    ("code", "judgement"),
    [
        ("ground_mismatch", replace(JUDGEMENT, ground="civil_or_market")),
        ("ground_mismatch", replace(ADVERSE, ground=None)),
        ("disposition_open", replace(JUDGEMENT, disposition="review")),
    ],
)
def test_a_judgement_must_be_complete(connection, code, judgement):
    review = claimed(connection)
    refused(code, reviews.judge, connection, review.id, ANNA, 1, judgement, NOW)
    reviews.judge(connection, review.id, ANNA, 1, JUDGEMENT, NOW)
    refused(code, reviews.resolve, connection, review.id, ANNA, 1, judgement, "because", NOW)


def test_a_resolution_becomes_the_order_s_decision(connection):
    review = judged(connection)
    done = reviews.resolve(connection, review.id, ANNA, 1, JUDGEMENT, None, NOW)
    assert (done.status, done.final_judgement, done.resolved_at) == ("resolved", JUDGEMENT, NOW)
    assert (done.claimed_by, done.first_judgement, done.change_reason) == (ANNA, JUDGEMENT, None)
    model, person = decisions.of_order(connection, review.order_id)
    assert (model.decision, person.decision) == (DECISION, decisions.by_person(DECISION, JUDGEMENT, NOW))
    told, end = audit_log.entries(connection, review.order_id)[-2:]
    assert (told.event, told.actor, told.facts["source"]) == ("order.decided", ANNA, "person")
    assert (end.event, end.actor, end.facts["changed"]) == ("review.resolved", ANNA, 0)
    assert end.facts["decision"] == told.facts["decision"] == person.id
    for action in (
        lambda: reviews.claim(connection, review.id, BORIS, NOW, LEASE),
        lambda: reviews.release(connection, review.id, ANNA, 1, NOW),
        lambda: reviews.judge(connection, review.id, ANNA, 1, JUDGEMENT, NOW),
        lambda: reviews.resolve(connection, review.id, ANNA, 1, JUDGEMENT, None, NOW),
    ):
        refused("already_resolved", action)


@pytest.mark.parametrize("changes", [{"disposition": "transfer"}, {"verdict": "unreasonable", "ground": "x"}])
def test_changing_one_s_mind_needs_a_reason(connection, changes):
    review = judged(connection)
    final = replace(JUDGEMENT, **changes)
    for reason in (None, "", "  \n"):
        refused("change_reason_missing", reviews.resolve, connection, review.id, ANNA, 1, final, reason, NOW)
    done = reviews.resolve(connection, review.id, ANNA, 1, final, "看过规则命中后改变", NOW)
    assert done.change_reason == "看过规则命中后改变"
    assert last(connection, review).facts["changed"] == 1


def test_another_subject_or_wording_needs_no_reason(connection):
    review = judged(connection)
    final = replace(JUDGEMENT, subject="traffic", kind="help", reason="补充说明")
    assert reviews.resolve(connection, review.id, ANNA, 1, final, None, NOW).final_judgement == final


def test_a_stale_version_is_refused_everywhere(connection):
    review = opened(connection)
    refused("version_stale", reviews.claim, connection, review.id, ANNA, NOW, LEASE, 9)
    reviews.claim(connection, review.id, ANNA, NOW, LEASE, 1)
    refused("version_stale", reviews.judge, connection, review.id, ANNA, 1, JUDGEMENT, NOW, 1)
    reviews.judge(connection, review.id, ANNA, 1, JUDGEMENT, NOW, 2)
    refused("version_stale", reviews.release, connection, review.id, ANNA, 1, NOW, 2)
    refused("version_stale", reviews.resolve, connection, review.id, ANNA, 1, JUDGEMENT, None, NOW, 2)
    assert reviews.resolve(connection, review.id, ANNA, 1, JUDGEMENT, None, NOW, 3).version == 4


def test_leaves_hold_no_words(connection):
    review = judged(connection, replace(JUDGEMENT, reason="SECRET WORDS"))
    reviews.resolve(connection, review.id, ANNA, 1, replace(ADVERSE, reason="SECRET WORDS"), "SECRET", NOW)
    for entry in audit_log.entries(connection, review.order_id):
        assert b"SECRET" not in entry.leaf
        assert entry.leaf.isascii()
