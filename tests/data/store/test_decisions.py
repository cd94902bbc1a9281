"""Decisions are kept whole, in order, and told to the log in codes and integers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from data.errors import NotFound
from data.records import Thresholds
from data.store import audit_log, decisions, orders, tables
from data.store.identifiers import new_id
from tests.data.store.stories import ADVERSE, DECISION, INTAKE, JUDGEMENT, NOW, VAULT, an_order, decided


def test_a_decision_comes_back_bit_for_bit(connection):
    order, decision_id = decided(connection)
    (stored,) = decisions.of_order(connection, order.id)
    assert (stored.id, stored.decision) == (decision_id, DECISION)
    assert decisions.get(connection, decision_id) == stored
    assert decisions.commitment_of(connection, decision_id) == orders.header(connection, order.id).commitment
    assert decisions.of_order(connection, "none") == []
    with pytest.raises(NotFound):
        decisions.get(connection, "none")


def test_the_leaf_says_what_was_decided(connection):
    order = an_order()
    commitment = orders.add(connection, VAULT, order, INTAKE)
    decision_id = new_id()
    index = decisions.add(connection, order.id, decision_id, DECISION, commitment, INTAKE)
    body = connection.execute(select(tables.decisions.c.body)).scalar_one()
    entry = audit_log.entries(connection, order.id)[-1]
    assert (entry.index, entry.event, entry.at) == (index, "order.decided", NOW)
    assert entry.facts == {
        "decision": decision_id,
        "digest": hashlib.sha256(body.encode()).hexdigest(),
        "commitment": commitment,
        "source": "model",
        "verdict": "unreasonable",
        "ground": "civil_or_market",
        "kind": "complaint",
        "subject": "housing",
        "recommended": "explain",
        "disposition": "review",
        "flags": ["vulnerable"],
        "review_reasons": ["adverse_needs_person", "protective_flag"],
        "rules": ["old_people"],
        "truncated": 0,
        "traditional": 0,
        "versions": {
            "bundle": "sha256:b",
            "rules": "sha256:r",
            "taxonomy": "sha256:t",
            "canonical": "1",
            "masking": "1",
        },
        "ppm": {"unreasonable": 812_500, "confidence": 700_000, "decline": 950_000},
        "probabilities_ppm": {
            "verdict": {"reasonable": 187_500, "civil_or_market": 812_500},
            "kind": {"complaint": 1_000_000},
            "subject": {"housing": 333_333, "other": 666_667},
            "flags": {"vulnerable": 250_000, "emergency": 15_625},
        },
    }


def test_a_decision_by_rules_alone_fits_too(connection):
    by_rules = replace(
        DECISION,
        source="rules",
        p_unreasonable=None,
        confidence=None,
        prediction=None,
        kind=None,
        subject=None,
        fallback="model_missing",
        versions=replace(DECISION.versions, bundle=None),
    )
    order, _ = decided(connection, by_rules)
    assert decisions.of_order(connection, order.id)[0].decision == by_rules
    facts = audit_log.entries(connection, order.id)[-1].facts
    assert facts["fallback"] == "model_missing"
    assert not {"probabilities_ppm", "kind", "subject"} & set(facts)
    assert facts["ppm"] == {"decline": 950_000}


def test_the_newest_decision_is_last(connection):
    order, first = decided(connection)
    later, second = replace(DECISION, decided_at=NOW + timedelta(hours=1)), new_id()
    decisions.add(connection, order.id, second, later, "c", INTAKE)
    assert [stored.id for stored in decisions.of_order(connection, order.id)] == [first, second]


def test_a_person_s_decision_keeps_the_findings_and_drops_the_model(connection):
    at = NOW + timedelta(hours=1)
    other = decisions.by_person(DECISION, JUDGEMENT, at)
    assert (other.source, other.verdict, other.ground) == ("person", "reasonable", None)
    assert (other.disposition, other.recommended, other.review_reasons) == ("dispatch", "dispatch", ())
    assert (other.p_unreasonable, other.confidence, other.prediction) == (None, None, None)
    assert other.thresholds == Thresholds(None, None)
    assert other.notice is None
    assert (other.flags, other.rule_hits, other.versions) == (
        DECISION.flags,
        DECISION.rule_hits,
        DECISION.versions,
    )
    assert other.decided_at == at
    assert decisions.by_person(DECISION, ADVERSE, at).notice == DECISION.notice
