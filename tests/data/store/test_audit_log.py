"""Leaves, roots and proofs as the database keeps them."""

from __future__ import annotations

import json
import re

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from data.errors import BadInput
from data.store import audit_log, merkle
from tests.data.store.stories import INTAKE, NOW


def filled(conn, count):
    """That many leaves; their hashes."""
    for number in range(count):
        audit_log.append(conn, "record.read", f"order-{number}", INTAKE, NOW, {"n": number})
    return [merkle.leaf_hash(audit_log.entries(conn, f"order-{number}")[0].leaf) for number in range(count)]


def test_a_leaf_is_canonical_json(connection):
    facts = {"b": [1, "x"], "a": {"y": -5}}
    assert audit_log.append(connection, "record.read", "order", INTAKE, NOW, facts) == 0
    assert audit_log.append(connection, "record.read", "order", INTAKE, NOW, {}) == 1
    first, second = audit_log.entries(connection, "order")
    content = {
        "v": 1,
        "index": 0,
        "event": "record.read",
        "subject": "order",
        "actor": INTAKE,
        "at": 1_772_443_800_123,
        "facts": facts,
    }
    assert json.loads(first.leaf) == content
    assert first.leaf == rfc8785.dumps(content)
    assert (first.index, first.actor, first.at, first.facts) == (0, INTAKE, NOW, facts)
    assert (second.index, second.facts) == (1, {})
    assert audit_log.entries(connection, "none") == []


@pytest.mark.parametrize(
    "fact",
    [
        *("来电人", "two words", "", "line\n", "x" * 201, 0.5, True, None),
        *([["词"]], {"键": 1}, {"k": {"j": 1.0}}, 2**53, -(2**53)),
    ],
)
def test_a_leaf_takes_codes_and_integers_only(connection, fact):
    with pytest.raises(ValueError, match="audit leaf"):
        audit_log.append(connection, "record.read", "order", INTAKE, NOW, {"fact": fact})
    assert audit_log.size(connection) == 0


CODES = st.from_regex(re.compile(r"[!-~]{1,40}", re.ASCII), fullmatch=True)
FACTS = st.recursive(
    CODES | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CODES, inner, max_size=4),
)


@given(facts=st.dictionaries(CODES, FACTS, max_size=6))
def test_every_leaf_is_canonical_json(facts):
    content = {"v": 1, "subject": "order", "facts": facts}
    audit_log._refuse_text(content)
    assert audit_log._canonical(content) == rfc8785.dumps(content)


def test_an_unknown_event_is_refused(connection):
    with pytest.raises(ValueError, match="event"):
        audit_log.append(connection, "order.forgotten", "order", INTAKE, NOW, {})
    with pytest.raises(ValueError, match="codes"):
        audit_log.append(connection, "record.read", "order", "张三", NOW, {})


def test_every_root_and_proof_agrees_with_the_leaves(connection):
    leaves = filled(connection, 21)
    assert audit_log.size(connection) == 21
    for size in range(22):
        root = audit_log.root(connection, size)
        assert root == merkle.root(leaves[:size])
        for index in range(size):
            proof = audit_log.inclusion(connection, index, size)
            assert (proof.index, proof.size, proof.leaf_hash) == (index, size, leaves[index])
            assert merkle.verify_inclusion(leaves[index], index, size, proof.path, root)
        for old in range(size + 1):
            path = audit_log.consistency(connection, old, size)
            assert merkle.verify_consistency(old, size, merkle.root(leaves[:old]), root, path)


def test_what_lies_outside_the_log_is_refused(connection):
    filled(connection, 3)
    for outside in (
        lambda: audit_log.root(connection, 4),
        lambda: audit_log.root(connection, -1),
        lambda: audit_log.inclusion(connection, 3, 3),
        lambda: audit_log.inclusion(connection, -1, 3),
        lambda: audit_log.inclusion(connection, 0, 4),
        lambda: audit_log.inclusion(connection, 0, 0),
        lambda: audit_log.consistency(connection, 2, 4),
        lambda: audit_log.consistency(connection, 3, 2),
        lambda: audit_log.consistency(connection, -1, 2),
    ):
        with pytest.raises(BadInput) as refusal:
            outside()
        assert refusal.value.code == "audit_range"


def test_appending_and_proving_stay_cheap(connection):
    filled(connection, 255)
    statements = []
    event.listen(connection, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    audit_log.append(connection, "record.read", "last", INTAKE, NOW, {})
    assert len(statements) <= 4
    statements.clear()
    audit_log.inclusion(connection, 100, 256)
    audit_log.consistency(connection, 100, 256)
    audit_log.root(connection, 255)
    assert len(statements) <= 6
