"""One row of a file to one row of results, through the triage that is served, here as on Ray."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from data.errors import BadInput
from data.records import Decision
from models.triage import Triage
from serving.messages import MAX_TITLE
from serving.record_files import Columns, Kind, Record

# The columns of a result behind the id and what was carried through; those that do not apply are null.
ANSWER: Final[Mapping[str, Kind]] = {
    "verdict": "text",
    "p_unreasonable": "number",
    "confidence": "number",
    "ground": "text",
    "kind": "text",
    "subject": "text",
    "flags": "texts",
    "recommended": "text",
    "disposition": "text",
    "review_reasons": "texts",
    "fallback": "text",
    "truncated": "truth",
    "bundle": "text",
    "problem": "text",
    "detail": "text",
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

Result = dict[str, Any]


def check_columns(columns: Columns) -> None:
    """Raises:
    BadInput: `column_taken`: a column to be carried through is called like one of the results'.
    """
    taken = [name for name in columns.kept if name in ANSWER or name == "id"]
    if taken:
        raise BadInput("column_taken", f"这些列与结果的列同名，不能保留：{'、'.join(taken)}。")


def rescored(record: Record, triage: Triage, text_limit: int) -> Result:
    """The id, the columns carried through and `ANSWER`: a decision, or a problem where there is none.

    An order is refused where intake refuses it too, so what has an answer here could have one there.
    """
    result: Result = {"id": record.id, **record.kept, **dict.fromkeys(ANSWER)}
    try:
        title, content = _texts(record, text_limit)
    except BadInput as error:
        return result | {"problem": error.code, "detail": error.detail}
    return result | _answer(triage.decide(title, content, datetime.now(UTC), "bulk"))


@dataclass(slots=True)
class Tally:
    """How many results there are, of what kind, and how many of them an earlier run left."""

    rows: int = 0
    before: int = 0
    degraded: int = 0
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        self.rows += 1
        self.degraded += result["fallback"] is not None
        if result["problem"] is not None:
            self.problems[result["problem"]] += 1

    @property
    def refused(self) -> int:
        return self.problems.total()


def _texts(record: Record, text_limit: int) -> tuple[str, str]:
    """Raises:
    BadInput: with the code of what is wrong with the row.
    """
    if record.problem is not None:
        raise BadInput(record.problem, record.detail or "")
    if record.id is None or record.id == "":
        raise BadInput("id_missing", "缺少编号。")
    title, content = record.title, record.content
    if content is None or content == "":
        raise BadInput("content_missing", "缺少正文。")
    if not isinstance(content, str):
        raise BadInput("content_not_text", "正文不是文字。")
    if title is None:
        title = ""
    if not isinstance(title, str):
        raise BadInput("title_not_text", "标题不是文字。")
    if len(title) > MAX_TITLE:
        raise BadInput("title_too_long", f"标题不得超过 {MAX_TITLE} 个字符。")
    if len(content) > text_limit:
        raise BadInput("content_too_long", f"正文不得超过 {text_limit} 个字符。")
    if "\0" in title or "\0" in content:
        raise BadInput("text_nul", "文本中含有空字符（U+0000）。")
    if _SURROGATE.search(title) or _SURROGATE.search(content):
        raise BadInput("text_lone_surrogate", "文本中含有不成对的代理码位，无法作为文字保存。")
    return title, content


def _answer(decision: Decision) -> Result:
    return {
        "verdict": decision.verdict,
        "p_unreasonable": decision.p_unreasonable,
        "confidence": decision.confidence,
        "ground": decision.ground,
        "kind": decision.kind,
        "subject": decision.subject,
        "flags": list(decision.flags),
        "recommended": decision.recommended,
        "disposition": decision.disposition,
        "review_reasons": list(decision.review_reasons),
        "fallback": decision.fallback,
        "truncated": decision.truncated,
        "bundle": decision.versions.bundle,
    }
