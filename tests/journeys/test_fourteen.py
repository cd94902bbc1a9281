"""The seven published situations and their twins over HTTP: all answered, none declined without a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data.taxonomy import Taxonomy
from tests.journeys.fourteen import Row, main, table, triaged
from tests.journeys.real_process import Installation
from tests.journeys.situations import SITUATIONS

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("fourteen")
    (folder / "mingbian.db").write_bytes(sqlite_template.read_bytes())
    installation = Installation(folder, f"sqlite:///{folder / 'mingbian.db'}", deadline_ms="30000")
    installation.start()
    yield installation
    installation.kill()


@pytest.fixture(scope="module")
def rows(installed: Installation) -> list[Row]:
    with installed.caller("intake") as client:
        rows = triaged(client)
    print(table(rows))
    return rows


def test_all_are_answered_and_none_is_declined_without_a_person(rows: list[Row]) -> None:
    assert len(rows) == 2 * len(SITUATIONS) + 2
    for name, _, decision in rows:
        assert decision["disposition"] in ("dispatch", "review", "transfer"), name
        if decision["disposition"] != "dispatch":
            assert decision["review_id"], name
        if decision["verdict"] == "unreasonable":
            assert decision["review_id"], name


def test_the_insulted_caller_is_protected(rows: list[Row]) -> None:
    _, _, decision = rows[-2]
    assert "staff_conduct" in [flag["code"] for flag in decision["flags"]]
    assert decision["disposition"] in ("dispatch", "review")


def test_the_self_harm_sentence_is_sent_on_at_once(rows: list[Row]) -> None:
    _, _, decision = rows[-1]
    assert "self_harm" in [flag["code"] for flag in decision["flags"]]
    assert decision["disposition"] == "transfer"
    assert decision["review_reasons"][0]["code"] == "urgent"


def test_twins_share_their_words() -> None:
    """Else a keyword would give the answer away."""
    for situation in SITUATIONS:
        one, other = (
            {text[place : place + 2] for place in range(len(text) - 1)}
            for text in (situation.unreasonable, situation.reasonable)
        )
        assert len(one & other) / min(len(one), len(other)) > 0.3, situation.name


def test_the_situations_are_of_seven_grounds_of_the_taxonomy(taxonomy: Taxonomy) -> None:
    assert {situation.ground for situation in SITUATIONS} < {ground.code for ground in taxonomy.grounds}
    assert len({situation.ground for situation in SITUATIONS}) == 7


def test_the_table_is_printed_for_people_too(
    installed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([installed.url, installed.keys["intake"]]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2 * len(SITUATIONS) + 3
    assert main([]) == 2
