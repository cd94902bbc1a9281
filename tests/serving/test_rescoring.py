"""A row is answered as triage answers it, or refused with a code where intake would refuse it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from data.errors import BadInput
from models.triage import Triage
from serving.messages import NewOrder
from serving.record_files import Columns, Record
from serving.rescoring import ANSWER, Tally, check_columns, rescored

LIMIT = 100
GOOD = Record(id="1", title="反映路灯", content="幸福路的路灯坏了三天。", kept={"region": "城东"})


def test_an_answer_is_that_of_triage(tiny_triage: Triage) -> None:
    for content in ("幸福路的路灯坏了三天。", "法院裁定不算数，裁裁裁裁", "着火了", "x" * LIMIT):
        for title in (None, "", "反映路灯"):
            row = rescored(replace(GOOD, title=title, content=content), tiny_triage, LIMIT)
            decision = tiny_triage.decide(title or "", content, datetime.now(UTC), "bulk")
            assert list(row) == ["id", "region", *ANSWER]
            assert (row["id"], row["region"]) == ("1", "城东")
            for name in ("verdict", "p_unreasonable", "confidence", "ground", "kind", "subject"):
                assert row[name] == getattr(decision, name)
            for name in ("recommended", "disposition", "fallback", "truncated"):
                assert row[name] == getattr(decision, name)
            assert row["flags"] == list(decision.flags)
            assert row["review_reasons"] == list(decision.review_reasons)
            assert row["bundle"] == tiny_triage.versions.bundle
            assert (row["problem"], row["detail"]) == (None, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": None}, "id_missing"),
        ({"id": ""}, "id_missing"),
        ({"content": None}, "content_missing"),
        ({"content": ""}, "content_missing"),
        ({"content": 5}, "content_not_text"),
        ({"content": ["路灯"]}, "content_not_text"),
        ({"content": "灯" * (LIMIT + 1)}, "content_too_long"),
        ({"content": "路\0灯"}, "text_nul"),
        ({"content": "路\ud800灯"}, "text_lone_surrogate"),
        ({"title": 5}, "title_not_text"),
        ({"title": "灯" * 201}, "title_too_long"),
        ({"title": "\0"}, "text_nul"),
        ({"title": "\udfff"}, "text_lone_surrogate"),
        ({"problem": "row_malformed", "detail": "坏行"}, "row_malformed"),
    ],
)
def test_a_bad_row_says_why(no_model: Triage, changes: dict[str, Any], code: str) -> None:
    record = replace(GOOD, **changes)
    row = rescored(record, no_model, LIMIT)
    assert list(row) == ["id", "region", *ANSWER]
    assert row["problem"] == code
    assert row["detail"]
    assert {row[name] for name in ANSWER if name not in ("problem", "detail")} == {None}
    assert row["region"] == "城东"


def test_ids_are_kept_as_they_are(no_model: Triage) -> None:
    for value in (0, False, 12345678901234567890, " ", ["a", 1]):
        assert rescored(replace(GOOD, id=value), no_model, LIMIT)["id"] == value


def test_a_title_is_as_long_as_intake_allows(no_model: Triage) -> None:
    for length in (200, 201):
        title = "灯" * length
        taken = rescored(replace(GOOD, title=title), no_model, LIMIT)["problem"] is None
        try:
            NewOrder(source="a", number="1", title=title, content="路灯")
            assert taken
        except ValidationError:
            assert not taken


def test_rows_are_counted_by_what_became_of_them(no_model: Triage, tiny_triage: Triage) -> None:
    tally = Tally()
    for triage in (no_model, tiny_triage, tiny_triage):
        tally.add(rescored(GOOD, triage, LIMIT))
    for content in (None, None, 5):
        tally.add(rescored(replace(GOOD, content=content), tiny_triage, LIMIT))
    assert (tally.rows, tally.degraded, tally.refused) == (6, 1, 3)
    assert tally.problems == {"content_missing": 2, "content_not_text": 1}


def test_a_kept_column_is_not_called_like_a_result() -> None:
    check_columns(Columns(id="编号", kept=("编号", "content", "region")))
    for name in ("id", "verdict", "problem"):
        with pytest.raises(BadInput):
            check_columns(Columns(id="编号", kept=(name,)))
