"""Writers that come together share a commit; each gets its own result, or its own error."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from data.errors import Conflict, Unavailable
from data.store import audit_log, group_commit
from data.store.database import Database
from data.store.group_commit import GroupCommit
from tests.data.store.stories import INTAKE, NOW


class Writer:
    """Appends a leaf for each item; the first group waits at a gate, so that others gather behind it."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()

    def __call__(self, conn, items: Sequence[str]):
        self.groups.append(list(items))
        self.entered.set()
        self.gate.wait(20)
        return [self.written(conn, item) for item in items]

    def written(self, conn, item: str):
        if item.startswith("refused"):
            return Conflict("refused", "不行。")
        if item.startswith("defect"):
            raise ZeroDivisionError(item)
        return audit_log.append(conn, "record.read", item, INTAKE, NOW, {})


def kept_together(database: Database, writer: Writer, items: Sequence[str], most: int = 128):
    """What becomes of items that come while a first one commits, in order."""
    sizes: list[int] = []
    group = GroupCommit(database, writer, lambda size, seconds: sizes.append(size), most)
    with ThreadPoolExecutor(len(items) + 1) as pool:
        first = pool.submit(group.keep, "first")
        assert writer.entered.wait(20)
        rest = []
        for item in items:
            rest.append(pool.submit(group.keep, item))
            while len(group._waiting) < len(rest):
                threading.Event().wait(0.001)
        writer.gate.set()
        assert first.result(20) == 0
        return [future.exception(20) or future.result() for future in rest], sizes


def leaves(database: Database) -> int:
    with database.reading() as conn:
        return audit_log.size(conn)


def test_who_comes_meanwhile_shares_the_next_commit(database):
    writer = Writer()
    results, sizes = kept_together(database, writer, ["a", "b", "c"])
    assert results == [1, 2, 3]
    assert writer.groups == [["first"], ["a", "b", "c"]]
    assert sizes == [1, 3]


def test_a_group_is_no_larger_than_it_may_be(database):
    writer = Writer()
    results, sizes = kept_together(database, writer, list("abcde"), most=2)
    assert results == [1, 2, 3, 4, 5]
    assert sizes == [1, 2, 2, 1]


def test_an_item_s_own_error_costs_the_others_nothing(database):
    results, _ = kept_together(database, Writer(), ["a", "refused", "b"])
    assert results[0] == 1
    assert isinstance(results[1], Conflict)
    assert results[2] == 2
    assert leaves(database) == 3


def test_a_defect_fails_its_own_item_and_leaves_nothing_of_it(database):
    results, _ = kept_together(database, Writer(), ["a", "defect", "b"])
    assert results[0] == 1
    assert isinstance(results[1], ZeroDivisionError)
    assert results[2] == 2
    assert leaves(database) == 3


def test_when_the_database_is_away_everybody_in_the_group_is_told(database, monkeypatch):
    def away(conn, items):
        raise Unavailable("database_unavailable", "不可用。")

    group = GroupCommit(database, away)
    for _ in range(2):  # and the next group is led again
        with pytest.raises(Unavailable):
            group.keep("a")


def test_many_writers_lose_nothing_and_keep_their_order(database):
    writer = Writer()
    writer.gate.set()
    group: GroupCommit[str, int] = GroupCommit(database, writer)
    with ThreadPoolExecutor(16) as pool:
        places = list(pool.map(group.keep, (f"item-{number}" for number in range(200))))
    assert sorted(places) == list(range(200))
    with database.reading() as conn:
        for number in (0, 77, 199):
            (entry,) = audit_log.entries(conn, f"item-{number}")
            assert entry.index == places[number]


def test_in_a_crowd_a_leader_waits_a_moment_for_those_who_are_about_to_come(database):
    writer = Writer()
    writer.gate.set()
    crowd = threading.Event()
    group: GroupCommit[str, int] = GroupCommit(database, writer, crowded=crowd.is_set)
    group.keep("alone")
    crowd.set()
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(group.keep, "abcd"))
    assert sorted(places) == [1, 2, 3, 4]
    assert [len(items) for items in writer.groups] == [1, 4]
    group.keep("nobody-came-after-all")
    assert len(writer.groups) == 3


def test_a_crowd_that_is_gone_is_not_waited_for(database, monkeypatch):
    monkeypatch.setattr(group_commit, "_LINGER_S", 60.0)
    writer = Writer()
    writer.gate.set()
    said = iter([True, False])
    group: GroupCommit[str, int] = GroupCommit(database, writer, crowded=lambda: next(said))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(group.keep, "first")
        while next(iter(group._waiting), None) is None:
            threading.Event().wait(0.001)
        second = pool.submit(group.keep, "second")
        assert sorted([first.result(20), second.result(20)]) == [0, 1]
    assert [sorted(items) for items in writer.groups] == [["first", "second"]]
