from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from data.errors import Conflict, NotFound
from data.store import audit_log, promotions
from data.store.database import Database
from data.store.promotions import Instruction
from tests.data.store.stories import NOW

BACK = Instruction("李工", "误报增多", NOW)
ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")


def promoted(database: Database, *digests: str) -> None:
    for number, digest in enumerate(digests):
        with database.transaction() as conn:
            at = NOW + timedelta(hours=number)
            promotions.promote(conn, digest, "default", Instruction("陈工", "首轮评测通过", at))


def test_nothing_is_in_force_until_something_is_promoted(database: Database) -> None:
    with database.reading() as conn:
        assert promotions.current(conn) is None
    promoted(database, ONE, TWO)
    with database.reading() as conn:
        now = promotions.current(conn)
        assert now is not None
        assert (now.digest, now.who, now.why, now.action) == (TWO, "陈工", "首轮评测通过", "promote")
        assert [past.digest for past in promotions.history(conn)] == [ONE, TWO]
        assert [past.at for past in promotions.history(conn)] == [NOW, NOW + timedelta(hours=1)]


def test_each_change_leaves_a_leaf_that_commits_to_who_and_why(database: Database) -> None:
    promoted(database, ONE, TWO)
    with database.reading() as conn:
        made = promotions.history(conn)[1]
        (entry,) = audit_log.entries(conn, made.id)
    assert entry.event == "model.promoted"
    assert entry.facts == {"digest": TWO, "before": ONE, "told": promotions.told("陈工", "首轮评测通过")}


def test_going_back_is_a_row_of_its_own(database: Database) -> None:
    promoted(database, ONE, TWO, THREE)
    with database.transaction() as conn:
        made = promotions.roll_back(conn, BACK)
        assert (made.digest, made.action) == (TWO, "roll_back")
    with database.transaction() as conn:
        assert promotions.roll_back(conn, BACK, ONE).digest == ONE
        assert len(promotions.history(conn)) == 5
        (entry,) = audit_log.entries(conn, made.id)
        assert entry.event == "model.rolled_back"


def test_there_must_be_something_to_change_to(database: Database) -> None:
    with pytest.raises(NotFound, match="promotion_not_found"), database.transaction() as conn:
        promotions.roll_back(conn, BACK)
    promoted(database, ONE)
    with pytest.raises(Conflict, match="model_in_force"), database.transaction() as conn:
        promotions.promote(conn, ONE, "default", BACK)
    with pytest.raises(NotFound, match="promotion_not_found"), database.transaction() as conn:
        promotions.roll_back(conn, BACK, THREE)
    with database.reading() as conn:
        assert audit_log.size(conn) == 1


@pytest.mark.parametrize("statement", ["UPDATE promotions SET who = 'x'", "DELETE FROM promotions"])
def test_history_cannot_be_changed(database: Database, statement: str) -> None:
    promoted(database, ONE)
    with pytest.raises(DatabaseError), database.transaction() as conn:
        conn.execute(text(statement))
