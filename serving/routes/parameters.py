"""Path and query parameters that several routes share."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Header, Path, Query
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from data.errors import BadInput

_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_ETAG: Final = re.compile(r'"([0-9]{1,15})"')

# A parameter may be left out; none can be null, since `null` in an address or a header is a word of text.
Absent = SkipJsonSchema[None]
OrderId = Annotated[str, Path(pattern=_UUID, description="工单 id（UUIDv7）。")]
ReviewId = Annotated[str, Path(pattern=_UUID, description="复核任务 id（UUIDv7）。")]
BatchId = Annotated[str, Path(pattern=_UUID, description="批次 id（UUIDv7）。")]
After = Annotated[
    Annotated[str, Field(pattern=_UUID)] | Absent, Query(description="上一页的 `next`。A cursor.")
]
Limit = Annotated[int, Query(ge=1, le=200, description="每页条数。")]
TreeNumber = Annotated[int, Query(ge=0, le=2**53 - 1)]
IfMatch = Annotated[
    str | Absent,
    Header(
        alias="If-Match",
        description="上次读到的 ETag；内容已更新则得 412。",
        json_schema_extra={"pattern": rf"^({_ETAG.pattern}|\*)$"},
    ),
]

# A header of every answer to a POST.
REPLAYED: Final = {
    "Idempotent-Replayed": {
        "description": "`true`：这是重复请求，答复与第一次逐字节相同。",
        "schema": {"type": "string", "const": "true"},
    }
}


def etag(version: int) -> str:
    return f'"{version}"'


def version_of(if_match: str | None) -> int | None:
    """The version that an If-Match names; None when it asks for none (absent or `*`).

    Raises:
        BadInput: `if_match_form`.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    form = _ETAG.fullmatch(if_match.strip())
    if form is None:
        raise BadInput("if_match_form", "If-Match 应为读取时得到的 ETag")
    return int(form[1])
